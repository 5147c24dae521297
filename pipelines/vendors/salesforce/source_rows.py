"""What a Salesforce record becomes: the raw tables, the fields that are asked for, and one row function per object.

Records come from the REST API with `attributes` and parents inside, or from Bulk API 2.0 with every value as a text; both
make the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines.landing import Fields, Job, Table, deletion, row
from pipelines.vendors.salesforce import CARD

Row = dict[str, Any]
RECORD_TYPE = "RecordType.Name"
# A percentage above this does not fit into the column of a share.
MAX_PERCENT = 99_999

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("accounts", {
            "id": "text", "name": "text", "website": "text", "billing_email": "text", "person_email": "text", "street": "text",
            "city": "text", "state": "text", "postal_code": "text", "country": "text", "owner_id": "text", "parent_id": "text",
            "currency": "text", "customer_ids": "text", "merged_into": "text", "url": "text", "modified_at": "timestamp",
        }),
        Table("contacts", {
            "id": "text", "account_id": "text", "email": "text", "first_name": "text", "last_name": "text",
            "modified_at": "timestamp",
        }),
        Table("users", {
            "id": "text", "email": "text", "first_name": "text", "last_name": "text", "active": "flag",
            "modified_at": "timestamp",
        }),
        Table("opportunity_stages", {
            "id": "text", "api_name": "text", "label": "text", "is_active": "flag", "is_closed": "flag", "is_won": "flag",
            "default_probability": "share", "sort_order": "integer",
        }),
        Table("opportunities", {
            "id": "text", "name": "text", "account_id": "text", "owner_id": "text", "record_type_id": "text",
            "record_type": "text", "stage_name": "text", "amount": "money", "currency": "text", "close_date": "date",
            "probability": "share", "is_won": "flag", "is_closed": "flag", "deal_type": "text", "payment_terms": "text",
            "contract_start": "date", "contract_end": "date", "invoice_numbers": "text", "url": "text", "modified_at": "timestamp",
        }),
        Table("record_types", {"id": "text", "name": "text"}),
        Table("opportunity_lines", {
            "id": "text", "opportunity_id": "text", "product_id": "text", "product_code": "text", "name": "text",
            "quantity": "quantity", "unit_price": "money", "discount_percent": "quantity", "total_price": "money",
            "currency": "text", "service_date": "date", "billing_frequency": "text", "billing_start": "date",
            "billing_periods": "integer", "modified_at": "timestamp",
        }),
        Table("products", {
            "id": "text", "name": "text", "product_code": "text", "family": "text", "active": "flag",
            "modified_at": "timestamp",
        }),
        Table("organization", {
            "id": "text", "name": "text", "currency": "text", "multicurrency": "flag", "recurring_total": "text",
        }),
        Table("currency_types", {
            "id": "text", "iso_code": "text", "conversion_rate": "rate", "is_corporate": "flag", "is_active": "flag",
        }),
        Table("dated_conversion_rates", {
            "id": "text", "iso_code": "text", "conversion_rate": "rate", "start_date": "date", "next_start_date": "date",
        }),
    )
}


@dataclass(frozen=True)
class Kind:
    """A Salesforce object that is read by its changes: raw table, {raw column: field, or the setting that names it},
    its row function, and the fields that it is not read without (the others are left out where the org has none)."""

    name: str
    table: str
    columns: Mapping[str, str]
    row_of: Callable[[Row, Job], Row]
    needed: frozenset[str]

    def fields(self, options: Mapping[str, Any]) -> dict[str, str]:
        """{raw column: API name}, without the columns for which no field is configured."""
        named = {column: options.get(field, field) for column, field in self.columns.items()}
        return {column: field for column, field in named.items() if field}


def account_row(item: Row, job: Job) -> Row:
    """An account as its raw row. One that is a person has an e-mail address of its own (Object reference, Account)."""
    fields, options = Fields(item), job.settings.values[CARD.slug]
    return row(
        fields, id=item["Id"], name=fields.text("Name"), website=fields.text("Website"),
        billing_email=fields.text(options["billing_email_field"]), person_email=fields.text("PersonEmail"),
        street=fields.text("BillingStreet"), city=fields.text("BillingCity"), state=fields.text("BillingState"),
        postal_code=fields.text("BillingPostalCode"), country=fields.text("BillingCountry"), owner_id=fields.text("OwnerId"),
        parent_id=fields.text("ParentId"), currency=fields.text("CurrencyIsoCode"), customer_ids=fields.text(options["customer_ids_field"]),
        merged_into=fields.text("MasterRecordId"), url=url(item, job), modified_at=fields.timestamp("SystemModstamp"),
    )


def deleted_row(item: Row, kind: Kind) -> Row:
    """The row that says that a record is gone, and of a merged account in which one it lives on: merging deletes the others
    and writes the survivor's id into their MasterRecordId (SOAP API developer guide, merge(); Object reference, Account)."""
    table, survivor = TABLES[kind.table], Fields(item).text("MasterRecordId")
    known = {"merged_into": survivor} if survivor and "merged_into" in table.columns else {}
    return deletion(table, item["Id"]) | known


def contact_row(item: Row, job: Job) -> Row:
    """A contact as its raw row."""
    fields = Fields(item)
    return row(
        fields, id=item["Id"], account_id=fields.text("AccountId"), email=fields.text("Email"),
        first_name=fields.text("FirstName"), last_name=fields.text("LastName"), modified_at=fields.timestamp("SystemModstamp"),
    )


def user_row(item: Row, job: Job) -> Row:
    """A user as its raw row; an inactive one keeps its name, since old records still carry it."""
    fields = Fields(item)
    return row(
        fields, id=item["Id"], email=fields.text("Email"), first_name=fields.text("FirstName"),
        last_name=fields.text("LastName"), active=fields.flag("IsActive"), modified_at=fields.timestamp("SystemModstamp"),
    )


def product_row(item: Row, job: Job) -> Row:
    """A product as its raw row."""
    fields = Fields(item)
    return row(
        fields, id=item["Id"], name=fields.text("Name"), product_code=fields.text("ProductCode"), family=fields.text("Family"),
        active=fields.flag("IsActive"), modified_at=fields.timestamp("SystemModstamp"),
    )


def opportunity_row(item: Row, job: Job) -> Row:
    """An opportunity as its raw row; `amount` may be null even when it is won, the record type where there is none."""
    fields, options, zone = Fields(item), job.settings.values[CARD.slug], job.settings.zone
    return row(
        fields, id=item["Id"], name=fields.text("Name"), account_id=fields.text("AccountId"), owner_id=fields.text("OwnerId"),
        record_type_id=fields.text("RecordTypeId"), record_type=Fields(item.get("RecordType") or {}).text("Name"),
        stage_name=fields.text("StageName"), amount=fields.number("Amount"), currency=fields.text("CurrencyIsoCode"),
        close_date=fields.date("CloseDate", zone),
        probability=percent(fields, "Probability"), is_won=fields.flag("IsWon"), is_closed=fields.flag("IsClosed"),
        deal_type=fields.text("Type"), payment_terms=fields.text(options["payment_terms_field"]),
        contract_start=fields.date(options["contract_start_field"], zone),
        contract_end=fields.date(options["contract_end_field"], zone),
        invoice_numbers=fields.text(options["invoice_numbers_field"]), url=url(item, job),
        modified_at=fields.timestamp("SystemModstamp"),
    )


def opportunity_line_row(item: Row, job: Job) -> Row:
    """An opportunity product as its raw row: `total_price` is net of its discount, which is a percentage."""
    fields, options, zone = Fields(item), job.settings.values[CARD.slug], job.settings.zone
    return row(
        fields, id=item["Id"], opportunity_id=fields.text("OpportunityId"), product_id=fields.text("Product2Id"),
        product_code=fields.text("ProductCode"), name=fields.text("Name"), quantity=fields.number("Quantity", "quantity"),
        unit_price=fields.number("UnitPrice"), discount_percent=fields.number("Discount", "quantity"),
        total_price=fields.number("TotalPrice"), currency=fields.text("CurrencyIsoCode"),
        service_date=fields.date("ServiceDate", zone), billing_frequency=fields.text(options["billing_frequency_field"]),
        billing_start=fields.date(options["billing_start_field"], zone),
        billing_periods=fields.integer(options["billing_periods_field"]), modified_at=fields.timestamp("SystemModstamp"),
    )


def stage_row(item: Row) -> Row:
    """An opportunity stage as its raw row."""
    fields = Fields(item)
    return row(
        fields, id=item["Id"], api_name=fields.text("ApiName"), label=fields.text("MasterLabel"),
        is_active=fields.flag("IsActive"), is_closed=fields.flag("IsClosed"), is_won=fields.flag("IsWon"),
        default_probability=percent(fields, "DefaultProbability"), sort_order=fields.integer("SortOrder"),
    )


def record_type_row(item: Row) -> Row:
    """A record type as its raw row: opportunities name theirs by id, since renaming one changes none of them."""
    fields = Fields(item)
    return row(fields, id=item["Id"], name=fields.text("Name"))


def currency_row(item: Row) -> Row:
    """A currency of the org as its raw row: `conversion_rate` of its units for one of the corporate currency."""
    fields = Fields(item)
    return row(
        fields, id=item["Id"], iso_code=fields.text("IsoCode"), conversion_rate=fields.number("ConversionRate", "rate"),
        is_corporate=fields.flag("IsCorporate"), is_active=fields.flag("IsActive"),
    )


def dated_rate_row(item: Row) -> Row:
    """A dated rate as its raw row: in force from `start_date` until the day before `next_start_date`."""
    fields = Fields(item)
    return row(
        fields, id=item["Id"], iso_code=fields.text("IsoCode"), conversion_rate=fields.number("ConversionRate", "rate"),
        start_date=fields.date("StartDate"), next_start_date=fields.date("NextStartDate"),
    )


def percent(fields: Fields, name: str) -> Decimal | None:
    """A percentage as a share: 75 becomes 0.75."""
    number = fields.number(name, "quantity")
    if number is not None and abs(number) > MAX_PERCENT:
        fields.problems.append(f"{name}: {str(fields.record[name])[:80]!r} is not a percentage")
        return None
    return None if number is None else (number / 100).quantize(Decimal("0.000001"))


def url(item: Row, job: Job) -> str:
    """The record's page in Salesforce."""
    home = job.settings.get(CARD.slug, "instance_url").rstrip("/") or job.api.base_url
    return f"{home}/{item['Id']}"


KINDS = (
    Kind("User", "users", {
        "email": "Email", "first_name": "FirstName", "last_name": "LastName", "active": "IsActive",
    }, user_row, frozenset({"SystemModstamp"})),
    Kind("Account", "accounts", {
        "name": "Name", "website": "Website", "billing_email": "billing_email_field", "person_email": "PersonEmail",
        "street": "BillingStreet", "city": "BillingCity", "state": "BillingState", "postal_code": "BillingPostalCode",
        "country": "BillingCountry", "owner_id": "OwnerId", "parent_id": "ParentId", "currency": "CurrencyIsoCode",
        "customer_ids": "customer_ids_field",
    }, account_row, frozenset({"SystemModstamp", "IsDeleted", "Name"})),
    Kind("Contact", "contacts", {
        "account_id": "AccountId", "email": "Email", "first_name": "FirstName", "last_name": "LastName",
    }, contact_row, frozenset({"SystemModstamp", "IsDeleted", "AccountId", "Email"})),
    Kind("Product2", "products", {
        "name": "Name", "product_code": "ProductCode", "family": "Family", "active": "IsActive",
    }, product_row, frozenset({"SystemModstamp"})),
    Kind("Opportunity", "opportunities", {
        "name": "Name", "account_id": "AccountId", "owner_id": "OwnerId", "record_type_id": "RecordTypeId", "record_type": RECORD_TYPE,
        "stage_name": "StageName", "amount": "Amount", "currency": "CurrencyIsoCode", "close_date": "CloseDate",
        "probability": "Probability", "is_won": "IsWon", "is_closed": "IsClosed", "deal_type": "Type",
        "payment_terms": "payment_terms_field", "contract_start": "contract_start_field",
        "contract_end": "contract_end_field", "invoice_numbers": "invoice_numbers_field",
    }, opportunity_row, frozenset({"SystemModstamp", "IsDeleted", "AccountId", "StageName", "Amount", "CloseDate", "IsWon", "IsClosed"})),
    Kind("OpportunityLineItem", "opportunity_lines", {
        "opportunity_id": "OpportunityId", "product_id": "Product2Id", "product_code": "ProductCode", "name": "Name",
        "quantity": "Quantity", "unit_price": "UnitPrice", "discount_percent": "Discount", "total_price": "TotalPrice",
        "currency": "CurrencyIsoCode", "service_date": "ServiceDate", "billing_frequency": "billing_frequency_field",
        "billing_start": "billing_start_field", "billing_periods": "billing_periods_field",
    }, opportunity_line_row, frozenset({"SystemModstamp", "IsDeleted", "OpportunityId", "Quantity", "UnitPrice", "TotalPrice"})),
)
# Objects whose records are looked for in the log of deletions.
DELETABLE = tuple(kind for kind in KINDS if kind.name in ("Account", "Contact", "Opportunity", "OpportunityLineItem"))
