"""HubSpot's raw tables and how its records become their rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipelines.http_answer import need
from pipelines.landing import Fields, Job, Table, row
from pipelines.vendors.hubspot import CARD

Row = dict[str, Any]
_DURATION = re.compile(r"P(?:(\d{1,3})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,5})D)?", re.ASCII)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("companies", {
            "id": "text", "name": "text", "domain": "text", "billing_email": "text", "address": "text", "city": "text",
            "state": "text", "zip": "text", "country": "text", "owner_id": "text", "parent_id": "text",
            "customer_ids": "text", "merged_ids": "text", "url": "text", "modified_at": "timestamp",
        }),
        Table("contacts", {
            "id": "text", "email": "text", "first_name": "text", "last_name": "text", "company_id": "text",
            "modified_at": "timestamp",
        }),
        Table("owners", {"id": "text", "email": "text", "first_name": "text", "last_name": "text", "archived": "flag",
                         "modified_at": "timestamp"}),
        Table("deal_stages", {
            "id": "text", "pipeline_id": "text", "pipeline_label": "text", "label": "text", "is_closed": "flag",
            "probability": "share", "display_order": "integer",
        }),
        Table("deals", {
            "id": "text", "name": "text", "pipeline_id": "text", "stage_id": "text", "amount": "money", "currency": "text",
            "home_amount": "money", "close_date": "date", "probability": "share", "is_won": "flag", "is_closed": "flag",
            "owner_id": "text", "deal_type": "text", "payment_terms": "text", "contract_start": "date",
            "contract_end": "date", "invoice_numbers": "text", "url": "text", "modified_at": "timestamp",
        }),
        Table("deal_companies", {"deal_id": "text", "company_id": "text", "is_primary": "flag"}),
        Table("deal_line_items", {"deal_id": "text", "line_item_id": "text"}),
        Table("line_items", {
            "id": "text", "sku": "text", "name": "text", "quantity": "quantity", "unit_price": "money", "discount": "money",
            "amount": "money", "currency": "text", "billing_frequency": "text", "billing_start": "date",
            "billing_periods": "integer", "billing_end": "date", "term_months": "integer", "term_days": "integer",
            "delay_months": "integer", "delay_days": "integer", "contract_value": "money", "modified_at": "timestamp",
        }),
        Table("exchange_rates", {
            "id": "text", "from_currency": "text", "to_currency": "text", "rate": "rate", "effective_at": "timestamp",
        }),
        Table("company_currency", {"id": "text", "currency": "text"}),
    )
}


def field(answer: Any, name: str, about: str) -> Any:
    """The field of an answer; FieldMissing where it is missing or null."""
    return need(answer, name, f"{CARD.slug}: {about}")


def company_row(record: Row, options: Mapping[str, Any]) -> Row:
    """A company as its raw row."""
    fields = Fields(field(record, "properties", "companies"))
    return row(
        fields, id=field(record, "id", "companies"), name=fields.text("name"), domain=fields.text("domain"),
        billing_email=fields.text(options["billing_email_property"]), address=fields.text("address"),
        city=fields.text("city"), state=fields.text("state"), zip=fields.text("zip"), country=fields.text("country"),
        owner_id=fields.text("hubspot_owner_id"), parent_id=fields.text("hs_parent_company_id"),
        customer_ids=fields.text("crossfoot_customer_ids"),
        merged_ids=fields.text("hs_merged_object_ids"), url=url(options, "0-2", field(record, "id", "companies")),
        modified_at=fields.timestamp("hs_lastmodifieddate"),
    )


def contact_row(record: Row) -> Row:
    """A contact as its raw row."""
    fields = Fields(field(record, "properties", "contacts"))
    return row(
        fields, id=field(record, "id", "contacts"), email=fields.text("email"), first_name=fields.text("firstname"),
        last_name=fields.text("lastname"), company_id=fields.text("associatedcompanyid"),
        modified_at=fields.timestamp("lastmodifieddate"),
    )


def owner_row(record: Row) -> Row:
    """An owner as its raw row; an archived owner keeps its name, since old records still carry it."""
    fields = Fields(record)
    return row(
        fields, id=str(field(record, "id", "owners")), email=fields.text("email"), first_name=fields.text("firstName"),
        last_name=fields.text("lastName"), archived=fields.flag("archived"),
        modified_at=fields.timestamp("updatedAt"),
    )


def stage_row(pipeline: Row, stage: Row) -> Row:
    """A pipeline's stage as its raw row; isClosed and probability are texts inside `metadata`."""
    fields = Fields(field(stage, "metadata", "deal stages"))
    return row(
        fields, id=field(stage, "id", "deal stages"), pipeline_id=field(pipeline, "id", "deal pipelines"),
        pipeline_label=pipeline.get("label"), label=stage.get("label"), is_closed=fields.flag("isClosed"),
        probability=fields.number("probability", "share"), display_order=stage.get("displayOrder"),
    )


def deal_row(record: Row, job: Job, options: Mapping[str, Any]) -> Row:
    """A deal as its raw row; the close date is the day in the company's time zone."""
    fields = Fields(field(record, "properties", "deals"))
    return row(
        fields, id=field(record, "id", "deals"), name=fields.text("dealname"), pipeline_id=fields.text("pipeline"),
        stage_id=fields.text("dealstage"), amount=fields.number("amount"), currency=fields.text("deal_currency_code"),
        home_amount=fields.number("amount_in_home_currency"), close_date=fields.date("closedate", job.settings.zone),
        probability=fields.number("hs_deal_stage_probability", "share"), is_won=fields.flag("hs_is_closed_won"),
        is_closed=fields.flag("hs_is_closed"), owner_id=fields.text("hubspot_owner_id"), deal_type=fields.text("dealtype"),
        payment_terms=fields.text(options["payment_terms_property"]),
        contract_start=fields.date(options["contract_start_property"]),
        contract_end=fields.date(options["contract_end_property"]),
        invoice_numbers=fields.text(options["invoice_numbers_property"]), url=url(options, "0-3", field(record, "id", "deals")),
        modified_at=fields.timestamp("hs_lastmodifieddate"),
    )


def line_item_row(record: Row, job: Job) -> Row:
    """A deal's line item as its raw row; what its `amount` means is the staging model's to say. The term is
    hs_recurring_billing_period, an ISO 8601 duration as PnYnMnD or PnW (HubSpot's line items guide)."""
    fields = Fields(field(record, "properties", "line items"))
    months, days = term(fields, "hs_recurring_billing_period")
    return row(
        fields, id=field(record, "id", "line items"), sku=fields.text("hs_sku"), name=fields.text("name"),
        quantity=fields.number("quantity", "quantity"), unit_price=fields.number("price"),
        discount=fields.number("hs_total_discount"), amount=fields.number("amount"),
        currency=fields.text("hs_line_item_currency_code"), billing_frequency=fields.text("recurringbillingfrequency"),
        billing_start=fields.date("hs_recurring_billing_start_date"),
        billing_periods=fields.integer("hs_recurring_billing_number_of_payments"),
        billing_end=fields.date("hs_recurring_billing_end_date"), term_months=months, term_days=days,
        delay_months=fields.integer("hs_billing_start_delay_months"), delay_days=fields.integer("hs_billing_start_delay_days"),
        contract_value=fields.number("hs_tcv"), modified_at=fields.timestamp("hs_lastmodifieddate"),
    )


def term(fields: Fields, name: str) -> tuple[int | None, int | None]:
    """(months, days) of an ISO 8601 duration; a problem of the record where it is none."""
    text = fields.text(name)
    if text is None:
        return None, None
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        fields.problems.append(f"{name}: {text[:80]!r} is not a duration such as P12M")
        return None, None
    years, months, weeks, days = (int(part or 0) for part in found.groups())
    return (12 * years + months) or None, (7 * weeks + days) or None


def home_currency_row(answer: Row) -> Row:
    """The portal's home currency as its raw row. The three-letter code is the answer's `id`: HubSpot's reference,
    https://developers.hubspot.com/docs/api-reference/latest/account/settings/multicurrency/get-company-currency"""
    return row(Fields(answer), id="home", currency=field(answer, "id", "the company currency"))


def rate_row(rate: Row) -> Row:
    """A current exchange rate as its raw row: units of `to_currency` for one of `from_currency`."""
    fields = Fields(rate)
    start, end = (field(rate, name, "exchange rates") for name in ("fromCurrencyCode", "toCurrencyCode"))
    return row(
        fields, id=f"{start}>{end}", from_currency=start, to_currency=end, rate=fields.number("conversionRate", "rate"),
        effective_at=fields.timestamp("effectiveAt"),
    )


def url(options: Mapping[str, Any], kind: str, record_id: str) -> str | None:
    """The record's page in HubSpot, where the portal's number is configured."""
    portal = options["portal_id"]
    return f"https://app.hubspot.com/contacts/{portal}/record/{kind}/{record_id}" if portal else None
