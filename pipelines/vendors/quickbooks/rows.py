"""QuickBooks' records as flat rows of its raw tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipelines.landing import Fields, Job, row
from pipelines.vendors.quickbooks import CARD

# The customer field that holds the CRM's record id; QuickBooks customers have no custom fields over REST.
CRM_ID_FIELD = "ResaleNum"
SUBTOTAL = "SubTotalLineDetail"
GROUP = "GroupLineDetail"
DISCOUNT = "DiscountLineDetail"

Row = dict[str, Any]


def customer_row(item: Row) -> Row:
    """A customer as its raw row."""
    fields = Fields(item)
    return row(
        fields, id=item["Id"], display_name=fields.text("DisplayName"), company_name=fields.text("CompanyName"),
        fully_qualified_name=fields.text("FullyQualifiedName"), email=inner(item, "PrimaryEmailAddr").get("Address"),
        website=inner(item, "WebAddr").get("URI"), parent_id=ref(item, "ParentRef"), is_job=fields.flag("Job"),
        active=fields.flag("Active"), currency=ref(item, "CurrencyRef"), balance=fields.number("Balance"),
        terms_id=ref(item, "SalesTermRef"), crm_id=fields.text(CRM_ID_FIELD), url=_url("customerdetail?nameId", item),
        modified_at=modified(item),
    )


def term_row(item: Row) -> Row:
    """A payment term as its raw row; `due_days` is absent on terms by day of the month."""
    fields = Fields(item)
    return row(fields, id=item["Id"], name=fields.text("Name"), due_days=fields.integer("DueDays"),
               active=fields.flag("Active"), modified_at=modified(item))


def invoice_rows(item: Row, job: Job) -> list[tuple[str, list[Row]]]:
    """An invoice as its raw row, and its lines."""
    fields = Fields(item)
    invoice = document_row(item, fields, job, "invoice?txnId", due_date=fields.date("DueDate"),
                           email_status=fields.text("EmailStatus"))
    return [("invoices", [invoice]), ("invoice_lines", line_rows(item, "invoice_id"))]


def credit_memo_rows(item: Row, job: Job) -> list[tuple[str, list[Row]]]:
    """A credit memo as its raw row, and its lines."""
    fields = Fields(item)
    memo = document_row(item, fields, job, "creditmemo?txnId", remaining_credit=fields.number("RemainingCredit"))
    return [("credit_memos", [memo]), ("credit_memo_lines", line_rows(item, "credit_memo_id"))]


def document_row(item: Row, fields: Fields, job: Job, page: str, **more: Any) -> Row:
    """What invoices and credit memos have in common."""
    wanted = job.settings.get(CARD.slug, "deal_id_field")
    deal = next((custom.get("StringValue") for custom in item.get("CustomField") or [] if custom.get("Name") == wanted), None)
    tax = Fields(inner(item, "TxnTaxDetail"))
    columns = dict(
        id=item["Id"], doc_number=fields.text("DocNumber"), txn_date=fields.date("TxnDate"),
        customer_id=ref(item, "CustomerRef"), currency=ref(item, "CurrencyRef"),
        exchange_rate=fields.number("ExchangeRate", "rate"), total=fields.number("TotalAmt"),
        tax=tax.number("TotalTax"), balance=fields.number("Balance"), home_total=fields.number("HomeTotalAmt"),
        private_note=fields.text("PrivateNote"), memo=inner(item, "CustomerMemo").get("value"),
        terms_id=ref(item, "SalesTermRef"), crm_deal_id=deal or None, sync_token=fields.text("SyncToken"),
        url=_url(page, item), modified_at=modified(item), **more,
    )
    fields.problems += tax.problems + _missing(item)
    return row(fields, **columns)


def line_rows(item: Row, owner: str) -> list[Row]:
    """A document's lines: groups opened, sub-totals left out, discounts negative."""
    lines: list[Row] = []
    for line in item.get("Line") or []:
        inside = inner(line, GROUP).get("Line") or [] if line.get("DetailType") == GROUP else [line]
        lines += [one for one in inside if one.get("DetailType") != SUBTOTAL]
    return [{owner: item["Id"], "sync_token": item.get("SyncToken"), **line_row(line, number)}
            for number, line in enumerate(lines, 1)]


def line_row(line: Row, number: int) -> Row:
    """One line of a document as its raw row."""
    detail = inner(line, "SalesItemLineDetail")
    fields, details = Fields(line), Fields(detail)
    amount = fields.number("Amount")
    columns = dict(
        line_number=number, line_id=fields.text("Id"), detail_type=fields.text("DetailType"),
        description=fields.text("Description"), item_id=ref(detail, "ItemRef"), item_name=inner(detail, "ItemRef").get("name"),
        quantity=details.number("Qty", "quantity"), unit_price=details.number("UnitPrice"),
        amount=-amount if amount is not None and line.get("DetailType") == DISCOUNT else amount,
        service_date=details.date("ServiceDate"),
    )
    fields.problems += details.problems
    return row(fields, **columns)


def payment_rows(item: Row) -> list[tuple[str, list[Row]]]:
    """A payment as its raw row, and what it was applied to."""
    fields = Fields(item)
    fields.problems += _missing(item)
    payment = row(
        fields, id=item["Id"], txn_date=fields.date("TxnDate"), customer_id=ref(item, "CustomerRef"),
        currency=ref(item, "CurrencyRef"), exchange_rate=fields.number("ExchangeRate", "rate"),
        total=fields.number("TotalAmt"), unapplied=fields.number("UnappliedAmt"), private_note=fields.text("PrivateNote"),
        sync_token=fields.text("SyncToken"), url=_url("recvpayment?txnId", item), modified_at=modified(item),
    )
    applications = []
    for line in item.get("Line") or []:
        for linked in line.get("LinkedTxn") or []:
            part = Fields(line)
            applications.append(row(
                part, payment_id=item["Id"], sync_token=item.get("SyncToken"), line_number=len(applications) + 1,
                amount=part.number("Amount"), txn_id=linked["TxnId"], txn_type=linked["TxnType"],
            ))
    return [("payments", [payment]), ("payment_applications", applications)]


def refund_row(item: Row) -> Row:
    """A refund receipt as its raw row."""
    fields = Fields(item)
    tax = Fields(inner(item, "TxnTaxDetail"))
    columns = dict(
        id=item["Id"], doc_number=fields.text("DocNumber"), txn_date=fields.date("TxnDate"),
        customer_id=ref(item, "CustomerRef"), currency=ref(item, "CurrencyRef"),
        exchange_rate=fields.number("ExchangeRate", "rate"), total=fields.number("TotalAmt"), tax=tax.number("TotalTax"),
        private_note=fields.text("PrivateNote"), sync_token=fields.text("SyncToken"),
        url=_url("refundreceipt?txnId", item), modified_at=modified(item),
    )
    fields.problems += tax.problems + _missing(item)
    return row(fields, **columns)


def _missing(item: Row) -> list[str]:
    """What a transaction cannot do without."""
    return [f"{name}: is missing" for name in ("TxnDate", "TotalAmt") if item.get(name) in (None, "")]


def rate_row(item: Row) -> Row:
    """A rate as its raw row: home units for one source unit."""
    fields = Fields(item)
    start, end, day = fields.text("SourceCurrencyCode"), fields.text("TargetCurrencyCode"), fields.date("AsOfDate")
    return row(fields, id=f"{start}>{end}@{day}", source_currency=start, target_currency=end,
               rate=fields.number("Rate", "rate"), as_of=day, modified_at=modified(item))


def modified(item: Row) -> datetime | None:
    return Fields(inner(item, "MetaData")).timestamp("LastUpdatedTime")


def ref(item: Row, name: str) -> str | None:
    return inner(item, name).get("value") or None


def inner(item: Row, name: str) -> Row:
    """An object inside a record; absent is the rule, null is possible."""
    return item.get(name) or {}


def _url(page: str, item: Row) -> str:
    return f"https://app.qbo.intuit.com/app/{page}={item['Id']}"
