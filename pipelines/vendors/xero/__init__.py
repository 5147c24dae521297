"""Xero: the ledger's card. Facts: https://developer.xero.com/documentation/api/accounting/overview."""

from pipelines.card import Card, Limit, Secret, Setting

IDENTITY_URL = "https://identity.xero.com"
TOKEN_PATH = "connect/token"

CARD = Card(
    slug="xero",
    name="Xero",
    side="ledger",
    account="organisation",
    documentation="https://developer.xero.com/documentation/api/accounting/overview",
    base_url="https://api.xero.com",
    secrets=(
        Secret("client_id", "XERO_CLIENT_ID", "the app's client id", "sandbox-client", is_public=True),
        Secret("client_secret", "XERO_CLIENT_SECRET", "the app's client secret", "sandbox-secret"),
        Secret("refresh_token", "XERO_REFRESH_TOKEN",
               "the first refresh token; later ones are kept in the journal", "sandbox-refresh-0",
               only_for=("auth", "authorisation_code")),
    ),
    settings=(
        Setting("xero", "auth", "choice:custom_connection|authorisation_code", "custom_connection",
                "How the app signs in: a custom connection (one organisation, no refresh token), or a person's consent."),
        Setting("xero", "tenant_ids", "list", (), "Ids of the organisations to read; empty: all that the connection reaches."),
        Setting("xero", "crm_id_field", "choice:ContactNumber|AccountNumber", "ContactNumber",
                "The contact's field that holds the CRM's record id."),
        Setting("xero", "overlap_seconds", "integer", 120,
                "How far a night reads back before the last one, because changes settle late."),
    ),
    # 100 unless asked for, 1,000 at most on every list that is paged (Xero developer e-mail of June 2024, quoted in
    # https://github.com/calcinai/xero-php/issues/915).
    page_sizes={"list": 1000},
    # For one organisation: 60 calls a minute, 5,000 a day (1,000 on the starter tier), 5 at once; calls go one at a time.
    # https://developer.xero.com/documentation/guides/oauth2/limits
    limits=(Limit("minute", 60, 60), Limit("day", 5000, 86_400)),
    objects=(
        "organisations", "contacts", "contact_balances", "invoices", "invoice_lines", "credit_notes", "credit_note_lines",
        "allocations", "payments", "overpayments", "prepayments", "currencies", "trial_balance", "unread",
    ),
    # Granular scopes, which apps since March 2026 have to use: https://developer.xero.com/faq/granular-scopes.
    # Overpayments and prepayments come with the payments (https://www.apideck.com/blog/xero-scopes).
    scopes=(
        "accounting.invoices.read", "accounting.payments.read", "accounting.contacts.read", "accounting.settings.read",
        "accounting.reports.trialbalance.read",
    ),
    # What the vendor grants in a day, less a margin for whatever else uses the connection.
    calls_a_night=4500,
)
