"""QuickBooks Online: the ledger's card. Facts: https://developer.intuit.com/app/developer/qbo/docs/api/accounting."""

from pipelines.card import Card, Limit, Secret, Setting

CARD = Card(
    slug="quickbooks",
    name="QuickBooks Online",
    side="ledger",
    documentation="https://developer.intuit.com/app/developer/qbo/docs/api/accounting",
    base_url="https://quickbooks.api.intuit.com",
    secrets=(
        Secret("client_id", "QUICKBOOKS_CLIENT_ID", "the app's client id", "sandbox-client"),
        Secret("client_secret", "QUICKBOOKS_CLIENT_SECRET", "the app's client secret", "sandbox-secret"),
        Secret("refresh_token", "QUICKBOOKS_REFRESH_TOKEN",
               "the first refresh token; later ones are kept in the journal", "sandbox-refresh-0"),
        Secret("realm_id", "QUICKBOOKS_REALM_ID", "the company's realm id", "4620816365000000001"),
    ),
    settings=(
        Setting("quickbooks", "environment", "choice:production|sandbox", "production", "Intuit's production or sandbox host."),
        Setting("quickbooks", "deal_id_field", "text", "CRM Deal ID", "Name of the invoice's custom field that holds the deal id."),
        Setting("quickbooks", "overlap_seconds", "integer", 120,
                "How far a night reads back before the last one, because changes settle late."),
    ),
    page_sizes={"query": 1000, "cdc": 1000},
    # 500 calls a minute and 10 a second for a realm (Intuit developer blog, 2025-08-13).
    limits=(Limit("minute", 500, 60), Limit("second", 10, 1)),
    objects=(
        "customers", "invoices", "invoice_lines", "sales_receipts", "sales_receipt_lines", "credit_memos", "credit_memo_lines", "payments",
        "payment_applications", "refund_receipts", "accounts", "deposits", "deposit_lines", "purchases", "purchase_lines",
        "journal_entries", "journal_entry_lines", "terms", "preferences", "exchange_rates", "counts", "aged_receivables",
    ),
    scopes=("com.intuit.quickbooks.accounting",),
)
