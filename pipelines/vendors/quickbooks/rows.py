"""QuickBooks' records as flat rows of its raw tables."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import product
from typing import Any

from pipelines.landing import Fields, Job, row
from pipelines.vendors.quickbooks import CARD

# The customer field that holds the CRM's record id; QuickBooks customers have no custom fields over REST.
CRM_ID_FIELD = "ResaleNum"
SUBTOTAL = "SubTotalLineDetail"
GROUP = "GroupLineDetail"
DISCOUNT = "DiscountLineDetail"
# What a payment may link (TxnTypeEnum in Intuit's schema, and what its pages add): what pays, and what may do either. The rest is paid.
CREDITS = frozenset({"CreditMemo", "Deposit"})
EITHER_WAY = frozenset({"JournalEntry", "CreditCardCredit"})
# A payment links few of those; more would take too many tries.
MAX_EITHER_WAY = 12
# What may stand on receivables besides documents and payments: its raw tables, the
# column of its lines that names it, and their detail.
ENTRIES = {
    "Deposit": ("deposits", "deposit_lines", "deposit_id", "DepositLineDetail"),
    "Purchase": ("purchases", "purchase_lines", "purchase_id", "AccountBasedExpenseLineDetail"),
    "JournalEntry": ("journal_entries", "journal_entry_lines", "journal_entry_id", "JournalEntryLineDetail"),
}
ZERO = Decimal(0)

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
    """A payment term as its raw row: so many days after the bill, or a day of the month (`day_of_month`), which is the next
    month's where the bill comes within `next_month_days` of it (Term in Intuit's schema)."""
    fields = Fields(item)
    return row(fields, id=item["Id"], name=fields.text("Name"), kind=fields.text("Type"), due_days=fields.integer("DueDays"),
               day_of_month=fields.integer("DayOfMonthDue"), next_month_days=fields.integer("DueNextMonthDays"),
               active=fields.flag("Active"), modified_at=modified(item))


def invoice_rows(item: Row, job: Job) -> list[tuple[str, list[Row]]]:
    """An invoice as its raw row, and its lines."""
    fields = Fields(item)
    invoice = document_row(item, fields, job, "invoice?txnId", due_date=fields.date("DueDate"),
                           email_status=fields.text("EmailStatus"), deposit=fields.number("Deposit"), less_cis=fields.number("LessCIS"),
                           required=("Balance",))
    return [("invoices", [invoice]), ("invoice_lines", line_rows(item, "invoice_id"))]


def sales_receipt_rows(item: Row, job: Job) -> list[tuple[str, list[Row]]]:
    """A sale that was paid at once as its raw row, and its lines. It may name no customer: Intuit's schema does not ask for one."""
    fields = Fields(item)
    receipt = document_row(item, fields, job, "salesreceipt?txnId", email_status=fields.text("EmailStatus"),
                           less_cis=fields.number("LessCIS"), required=())
    return [("sales_receipts", [receipt]), ("sales_receipt_lines", line_rows(item, "sales_receipt_id"))]


def credit_memo_rows(item: Row, job: Job) -> list[tuple[str, list[Row]]]:
    """A credit memo as its raw row, and its lines."""
    fields = Fields(item)
    memo = document_row(item, fields, job, "creditmemo?txnId", remaining_credit=fields.number("RemainingCredit"),
                        required=() if item.get("RemainingCredit") is not None else ("Balance",))
    return [("credit_memos", [memo]), ("credit_memo_lines", line_rows(item, "credit_memo_id"))]


def document_row(item: Row, fields: Fields, job: Job, page: str, *, required: tuple[str, ...], **more: Any) -> Row:
    """What invoices, credit memos and sales receipts have in common. `required` are amounts that its status rests on, besides its
    total."""
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
    fields.problems += tax.problems + missing(item, *required)
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
    fields.problems += missing(item, "UnappliedAmt", "CustomerRef")
    links = [(line, linked) for line in item.get("Line") or [] for linked in line.get("LinkedTxn") or []]
    found = sides([(linked["TxnType"], Fields(line).number("Amount")) for line, linked in links],
                  (fields.number("TotalAmt") or ZERO) - (fields.number("UnappliedAmt") or ZERO))
    if found is None:
        fields.problems.append("Line: what it links does not come to what it pays, whichever way its journal entries are taken")
    payment = row(
        fields, id=item["Id"], txn_date=fields.date("TxnDate"), customer_id=ref(item, "CustomerRef"),
        currency=ref(item, "CurrencyRef"), exchange_rate=fields.number("ExchangeRate", "rate"),
        total=fields.number("TotalAmt"), unapplied=fields.number("UnappliedAmt"), private_note=fields.text("PrivateNote"),
        sync_token=fields.text("SyncToken"), url=_url("recvpayment?txnId", item), modified_at=modified(item),
    )
    applications = []
    for number, (line, linked) in enumerate(links, 1):
        part = Fields(line)
        applications.append(row(
            part, payment_id=item["Id"], sync_token=item.get("SyncToken"), line_number=number, amount=part.number("Amount"),
            txn_id=linked["TxnId"], txn_type=linked["TxnType"], side=found[number - 1] if found else None,
        ))
    return [("payments", [payment]), ("payment_applications", applications)]


def sides(links: Sequence[tuple[str, Decimal | None]], money: Decimal) -> list[str] | None:
    """Of each link of a payment whether it is a debit (what is paid) or a credit (what pays), so that the debits less the credits
    are the payment's own `money`. Only what can be either way is decided by that; None where no way comes to it."""
    certain = [None if kind in EITHER_WAY or amount is None else "credit" if kind in CREDITS else "debit" for kind, amount in links]
    open_links = [place for place, side in enumerate(certain) if side is None]
    if not open_links or any(amount is None for _, amount in links):
        return [side or "debit" for side in certain]
    if len(open_links) > MAX_EITHER_WAY:
        return None
    rest = money - sum((amount or ZERO) * (1 if side == "debit" else -1) for (_, amount), side in zip(links, certain, strict=True) if side)
    for ways in product(("credit", "debit"), repeat=len(open_links)):
        if sum((links[place][1] or ZERO) * (1 if way == "debit" else -1) for place, way in zip(open_links, ways, strict=True)) == rest:
            chosen = dict(zip(open_links, ways, strict=True))
            return [side or chosen[place] for place, side in enumerate(certain)]
    return None


def entry_rows(item: Row, entity: str, accounts: Container[str]) -> list[tuple[str, list[Row]]]:
    """A deposit, purchase or journal entry as its raw row, with those of its lines that stand on an account of receivables; without
    such a line nothing."""
    table, lines_table, owner, detail = ENTRIES[entity]
    lines = []
    for number, line in enumerate(item.get("Line") or [], 1):
        inside, part = inner(line, detail), Fields(line)
        if ref(inside, "AccountRef") not in accounts:
            continue
        columns = {owner: item["Id"], "sync_token": item.get("SyncToken"), "line_number": number, "amount": part.number("Amount"),
                   "account_id": ref(inside, "AccountRef"), "customer_id": _customer_of(entity, item, inside)}
        if entity == "JournalEntry":
            columns["posting"] = Fields(inside).text("PostingType")
        part.problems += [] if columns["customer_id"] else ["its line on receivables names no customer"]
        lines.append(row(part, **columns))
    if not lines:
        return []
    fields = Fields(item)
    columns = dict(
        id=item["Id"], doc_number=fields.text("DocNumber"), txn_date=fields.date("TxnDate"), currency=ref(item, "CurrencyRef"),
        exchange_rate=fields.number("ExchangeRate", "rate"), private_note=fields.text("PrivateNote"),
        sync_token=fields.text("SyncToken"), url=_url(f"{entity.lower()}?txnId", item), modified_at=modified(item),
    )
    if entity == "Purchase":
        columns |= {"payment_type": fields.text("PaymentType"), "is_credit": fields.flag("Credit")}
    fields.problems += missing(item, amount=None)
    return [(table, [row(fields, **columns)]), (lines_table, lines)]


def _customer_of(entity: str, item: Row, detail: Row) -> str | None:
    """The customer of a line on receivables, where Intuit's schema has it: a journal's and a deposit's line name theirs (EntityTypeRef,
    ReferenceType), a purchase's line may, else its payee is the customer."""
    if entity == "JournalEntry":
        return ref(inner(detail, "Entity"), "EntityRef")
    return ref(detail, "Entity") if entity == "Deposit" else ref(detail, "CustomerRef") or ref(item, "EntityRef")


def account_row(item: Row) -> Row:
    """An account of receivables as its raw row."""
    fields = Fields(item)
    return row(fields, id=item["Id"], name=fields.text("Name"), active=fields.flag("Active"), modified_at=modified(item))


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
    fields.problems += tax.problems + missing(item)
    return row(fields, **columns)


def missing(item: Row, *required: str, amount: str | None = "TotalAmt") -> list[str]:
    """What a transaction cannot do without, and has not: its date, its total, and what else `required` names."""
    wanted = ("TxnDate", *((amount,) if amount else ()), *required)
    return [f"{name}: is missing" for name in wanted if item.get(name) in (None, "", {})]


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
