"""Salesforce: the CRM's card. Facts: https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/."""

from pipelines.card import Call, Card, Secret, Setting

# The newest version that was supported in Winter '27; every version is supported for three years at least.
VERSION = "v68.0"


def _field(key: str, name: str, meaning: str) -> Setting:
    return Setting("salesforce", f"{key}_field", "text", name, f"API name of the {meaning}; \"\" or absent in the org: not read.")


CARD = Card(
    slug="salesforce",
    name="Salesforce",
    side="crm",
    account="org",
    documentation="https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/intro_rest.htm",
    base_url="https://login.salesforce.com",  # every org has a host of its own: [salesforce] instance_url
    secrets=(
        Secret("client_id", "SALESFORCE_CLIENT_ID", "the external client app's consumer key", "sandbox-client", is_public=True),
        Secret("client_secret", "SALESFORCE_CLIENT_SECRET", "the external client app's consumer secret", "sandbox-secret",
               only_for=("auth", "client_credentials")),
        Secret("private_key", "SALESFORCE_PRIVATE_KEY", "PEM of the key whose certificate the app holds", "",
               only_for=("auth", "jwt_bearer")),
    ),
    settings=(
        Setting("salesforce", "instance_url", "text", "", "The org's My Domain address, such as https://acme.my.salesforce.com."),
        Setting("salesforce", "auth", "choice:client_credentials|jwt_bearer", "client_credentials",
                "client_credentials: the app's secret and run-as user. jwt_bearer: a private key and a user name."),
        Setting("salesforce", "username", "text", "", "The user that a JWT signs in as; only for jwt_bearer."),
        Setting("salesforce", "login_url", "text", "https://login.salesforce.com",
                "Audience of the JWT; https://test.salesforce.com for a Salesforce sandbox. Only for jwt_bearer."),
        Setting("salesforce", "task_owner_id", "text", "",
                "Id of the user who gets the tasks of accounts without an active owner; empty: the user that signs in."),
        Setting("salesforce", "bulk_threshold", "integer", 50000,
                "An object with more changed records than this is read by Bulk API 2.0 instead of page by page."),
        Setting("salesforce", "overlap_seconds", "integer", 120,
                "How far a night reads back before the last one, because changes settle late."),
        _field("billing_email", "Billing_Email__c", "account field that holds the billing e-mail"),
        _field("customer_ids", "Crossfoot_Customer_Ids__c", "account field that names the ledger's customers"),
        _field("invoice_numbers", "Invoice_Numbers__c", "opportunity field where people note invoice numbers"),
        _field("payment_terms", "Payment_Terms__c", "opportunity field with the agreed payment terms"),
        _field("contract_start", "Contract_Start__c", "opportunity field with the start of the contract"),
        _field("contract_end", "Contract_End__c", "opportunity field with the end of the contract"),
        _field("billing_frequency", "Billing_Frequency__c", "opportunity product field that says how often it is billed"),
        _field("billing_start", "Billing_Start__c", "opportunity product field with the first day that is billed"),
        _field("billing_periods", "Billing_Periods__c", "opportunity product field with the number of billing periods"),
        Setting("salesforce", "recurring_total", "choice:term|period", "term",
                "What TotalPrice of an opportunity product with a billing frequency is of: the whole term, or one billing period, "
                "which then counts for all of them; without their number for twelve months."),
    ),
    # A query answers with 2,000 records; a page of Bulk results holds as many as are asked for; 200 records a collection.
    page_sizes={"query": 2000, "bulk": 20000, "collection": 200},
    # No limit by the second or minute; the org's calls in 24 hours are its own, and it says when they are used up.
    limits=(),
    objects=(
        "accounts", "contacts", "users", "opportunity_stages", "record_types", "opportunities", "opportunity_lines", "products",
        "organization", "currency_types", "dated_conversion_rates",
    ),
    scopes=("api",),
    allowed=(
        # Reading: records by id, and query jobs.
        Call("POST", f"services/data/{VERSION}/composite/sobjects/(Account|Opportunity)"),
        Call("POST", f"services/data/{VERSION}/jobs/query"),
        # Writing: records and tasks, a task's end, fields and who may see them.
        Call("PATCH", f"services/data/{VERSION}/composite/sobjects"),
        Call("POST", f"services/data/{VERSION}/composite/sobjects"),
        Call("DELETE", rf"services/data/{VERSION}/sobjects/Task/\w+"),
        Call("POST", f"services/data/{VERSION}/tooling/sobjects/CustomField"),
        Call("PATCH", rf"services/data/{VERSION}/tooling/sobjects/CustomField/\w+"),
        Call("POST", f"services/data/{VERSION}/sobjects/(FieldPermissions|PermissionSet|PermissionSetAssignment)"),
        Call("PATCH", rf"services/data/{VERSION}/sobjects/FieldPermissions/\w+"),
    ),
)
