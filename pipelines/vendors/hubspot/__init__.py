"""HubSpot: the CRM's card. Facts: https://developers.hubspot.com/docs/api-reference/latest/overview."""

from pipelines.card import Call, Card, Limit, Secret, Setting

# HubSpot's APIs carry their release date in the path; a version is supported for 18 months.
VERSION = "2026-09"

CARD = Card(
    slug="hubspot",
    name="HubSpot",
    side="crm",
    account="portal",
    documentation="https://developers.hubspot.com/docs/api-reference/latest/overview",
    base_url="https://api.hubapi.com",
    secrets=(
        Secret("access_token", "HUBSPOT_ACCESS_TOKEN", "a service key or a private app's token", "sandbox-hubspot-token"),
    ),
    settings=(
        Setting("hubspot", "portal_id", "text", "", "Account number, for links to records; empty: no links."),
        Setting("hubspot", "billing_email_property", "text", "billing_email", "Company property that holds the billing e-mail."),
        Setting("hubspot", "invoice_numbers_property", "text", "invoice_numbers", "Deal property where people note invoice numbers."),
        Setting("hubspot", "payment_terms_property", "text", "payment_terms", "Deal property with the agreed payment terms."),
        Setting("hubspot", "contract_start_property", "text", "contract_start_date", "Deal property with the start of the contract."),
        Setting("hubspot", "contract_end_property", "text", "contract_end_date", "Deal property with the end of the contract."),
        Setting("hubspot", "task_owner_id", "text", "",
                "Id of the owner who gets the tasks of companies without an active owner; empty: nobody."),
        Setting("hubspot", "index_lag_seconds", "integer", 600,
                "How far a night reads back before the last one, because search lists changes late."),
    ),
    # Search: 200 records; lists: 100 (unverified); associations: 1,000 inputs (HubSpot changelog, 2025-02-10).
    page_sizes={"search": 200, "list": 100, "owners": 500, "associations": 1000, "batch": 100},
    # 190 calls in 10 s (Professional and up); search has a bucket of its own, 5 a second (usage guidelines).
    limits=(
        Limit("ten_secondly_rolling", 190, 10, unless="/search"),
        Limit("secondly", 5, 1, match="/search"),
    ),
    objects=(
        "companies", "contacts", "owners", "deal_stages", "deals", "deal_companies", "deal_line_items", "line_items",
        "exchange_rates", "company_currency",
    ),
    scopes=(
        "crm.objects.companies.read", "crm.objects.companies.write", "crm.objects.contacts.read", "crm.objects.contacts.write",
        "crm.objects.deals.read",
        "crm.objects.deals.write", "crm.objects.line_items.read", "crm.objects.owners.read", "crm.schemas.companies.write",
        "crm.schemas.deals.write", "settings.currencies.read",
    ),
    allowed=(
        # Reading: search, records and associations by id.
        Call("POST", f"crm/objects/{VERSION}/(companies|contacts|deals|line_items)/search"),
        Call("POST", f"crm/objects/{VERSION}/(companies|contacts|deals|line_items|tasks)/batch/read"),
        Call("POST", rf"crm/associations/{VERSION}/(companies|deals)/\w+/batch/read"),
        # Writing: fields, tasks, and the fields' own definitions. `doctor` sends batches without inputs to see its rights.
        Call("POST", f"crm/objects/{VERSION}/(companies|deals|tasks)/batch/update"),
        Call("POST", f"crm/objects/{VERSION}/tasks"),
        Call("PATCH", rf"crm/objects/{VERSION}/tasks/\d+"),
        Call("DELETE", rf"crm/objects/{VERSION}/tasks/\d+"),
        Call("POST", f"crm/properties/{VERSION}/(companies|deals)/(groups|batch/create)"),
        Call("PATCH", rf"crm/properties/{VERSION}/(companies|deals)/crossfoot_\w+"),
    ),
)
