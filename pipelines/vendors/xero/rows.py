"""Xero's records as raw rows: one plain function for each object.

A record keeps what the vendor said: statuses as text, amounts with their sign, the rate as foreign units for one unit of
the base currency. Numbers and flags are read from text too; the vendor writes both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from urllib.parse import quote

from pipelines.landing import Fields, row

Row = dict[str, Any]
Rows = list[tuple[str, list[Row]]]

# What is bought and paid has no place here. A type that nobody enumerated is kept, with its name in the row's problem.
RECEIVABLE = frozenset({
    "ACCREC", "ACCRECCREDIT", "RECEIVE-OVERPAYMENT", "AROVERPAYMENT", "RECEIVE-PREPAYMENT", "ARPREPAYMENT",
    "ACCRECPAYMENT", "ARCREDITPAYMENT", "AROVERPAYMENTPAYMENT", "ARPREPAYMENTPAYMENT",
})
PAYABLE = frozenset({
    "ACCPAY", "ACCPAYCREDIT", "SPEND-OVERPAYMENT", "APOVERPAYMENT", "SPEND-PREPAYMENT", "APPREPAYMENT",
    "ACCPAYPAYMENT", "APCREDITPAYMENT", "APOVERPAYMENTPAYMENT", "APPREPAYMENTPAYMENT",
})
# What a payment was made for, by its type. Apart from invoices the vendor names it under "Invoice" too, with the id of the
# credit note (recorded for ARCREDITPAYMENT) in "InvoiceID".
PAID = {
    "ACCRECPAYMENT": ("invoice_id", "Invoice", "InvoiceID"),
    "ARCREDITPAYMENT": ("credit_note_id", "CreditNote", "CreditNoteID"),
    "AROVERPAYMENTPAYMENT": ("overpayment_id", "Overpayment", "OverpaymentID"),
    "ARPREPAYMENTPAYMENT": ("prepayment_id", "Prepayment", "PrepaymentID"),
}
CONTACT_PAGE = "/Contacts/View/"
INVOICE_PAGE = "/AccountsReceivable/View.aspx?InvoiceID="
# The documentation shows the page of a supplier's credit note only; this one stands in many integrations (unverified).
CREDIT_NOTE_PAGE = "/AccountsReceivable/ViewCreditNote.aspx?creditNoteID="
# The vendor's JSON dates: milliseconds since 1970 in UTC, and the offset at which they are to be read.
# https://developer.xero.com/documentation/api/requests-and-responses
_JSON_DATE = re.compile(r"/Date\((-?\d{1,15})(?:([+-])(\d\d)(\d\d))?\)/", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Tenant:
    """One organisation: the id that calls name it by, its name, and the short code that links to it carry."""

    id: str
    name: str
    short_code: str = ""


class Record(Fields):
    """A record's fields, with the vendor's own way of writing dates."""

    __slots__ = ()

    def date(self, name: str, zone: tzinfo = UTC) -> date | None:
        """The calendar date that the organisation means: DateString beside Date says it in plain, where there is one."""
        text = str(self.record.get(f"{name}String") or self.record.get(name) or "")
        if not text:
            return None
        try:
            found = _json_moment(text)
            return found.date() if found else date.fromisoformat(text[:10])
        except (ValueError, OverflowError):
            return self._wrong(name, text, "date")

    def timestamp(self, name: str) -> datetime | None:
        text = str(self.record.get(name) or "")
        try:
            found = _json_moment(text)
        except (ValueError, OverflowError):
            return self._wrong(name, text, "time")
        return found.astimezone(UTC) if found else super().timestamp(name)

    def inner(self, name: str) -> Record:
        """An object inside the record; empty where there is none. What is wrong in it is this record's problem."""
        value = self.record.get(name)
        inside = Record(value if isinstance(value, dict) else {})
        inside.problems = self.problems
        return inside

    def each(self, name: str) -> list[Row]:
        """The objects of a list inside the record."""
        value = self.record.get(name)
        return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []

    def needs(self, *names: str) -> None:
        """Names what the record cannot do without and does not have: absent is never 0. "Contact.ContactID" is inside Contact."""
        for name in names:
            outer, _, inner = name.partition(".")
            value = self.inner(outer).record.get(inner) if inner else self.record.get(name)
            if value in (None, ""):
                self.problems.append(f"{name}: is missing")

    def is_gone(self) -> bool:
        """Whether the status says that the record counts for nothing, whatever its amounts are."""
        return self.text("Status") in ("VOIDED", "DELETED")

    def is_payable(self, name: str = "Type") -> bool:
        kind = self.text(name)
        if kind not in RECEIVABLE | PAYABLE:
            self.problems.append(f"{name}: {str(kind)[:80]!r} is not known")
        return kind in PAYABLE


def _json_moment(text: str) -> datetime | None:
    """The moment of "/Date(1539993600000+0000)/" at its offset; None for a text of another form."""
    found = _JSON_DATE.fullmatch(text)
    if not found:
        return None
    moment = _EPOCH + timedelta(milliseconds=int(found[1]))
    offset = timedelta(hours=int(found[3] or 0), minutes=int(found[4] or 0))
    return moment.astimezone(timezone(-offset if found[2] == "-" else offset)) if offset else moment


def modified(item: Row) -> datetime | None:
    """When the record last changed."""
    return Record(item).timestamp("UpdatedDateUTC")


def organisation_row(item: Row, tenant_id: str) -> Row:
    """An organisation as its raw row, with its two lock dates: the last days on which nobody but an adviser, and nobody at
    all, may change what is dated. An organisation that locks nothing has none."""
    fields = Record(item)
    fields.needs("BaseCurrency")
    return row(fields, tenant_id=tenant_id, name=fields.text("Name"), base_currency=fields.text("BaseCurrency"),
               country=fields.text("CountryCode"), short_code=fields.text("ShortCode"),
               period_lock_date=fields.date("PeriodLockDate"), end_of_year_lock_date=fields.date("EndOfYearLockDate"))


def currency_row(item: Row, tenant: Tenant) -> Row:
    """A currency that the organisation uses as its raw row."""
    fields = Record(item)
    return row(fields, tenant_id=tenant.id, code=fields.text("Code"), description=fields.text("Description"))


def contact_row(item: Row, tenant: Tenant, crm_id_field: str = "ContactNumber") -> Row:
    """A contact as its raw row: customers, suppliers and both; archived and merged ones too. `crm_id_field` is the field
    that holds the CRM's record id."""
    fields = Record(item)
    fields.needs("ContactID", "Name")
    terms = fields.inner("PaymentTerms").inner("Sales")
    return row(
        fields, id=fields.text("ContactID"), tenant_id=tenant.id, crm_id=fields.text(crm_id_field),
        name=fields.text("Name"), email=fields.text("EmailAddress"),
        website=fields.text("Website"), status=fields.text("ContactStatus"), merged_to_id=fields.text("MergedToContactID"),
        is_customer=fields.flag("IsCustomer"), is_supplier=fields.flag("IsSupplier"), currency=fields.text("DefaultCurrency"),
        sales_terms_day=terms.integer("Day"), sales_terms_type=terms.text("Type"), url=_url(tenant, CONTACT_PAGE, fields.text("ContactID")),
        modified_at=fields.timestamp("UpdatedDateUTC"),
    )


def balance_row(item: Row, tenant: Tenant, report_date: date) -> Row | None:
    """What the vendor says that a contact owes, None where it is nothing. The amounts are the sum of the documents' own
    currencies, not converted (specification of Balances)."""
    fields = Record(item)
    receivable = fields.inner("Balances").inner("AccountsReceivable")
    if receivable.record:
        receivable.needs("Outstanding")
    outstanding, overdue = receivable.number("Outstanding"), receivable.number("Overdue")
    if not outstanding and not overdue and not fields.problems:
        return None
    return row(fields, contact_id=fields.text("ContactID"), tenant_id=tenant.id, contact_name=fields.text("Name"),
               outstanding=outstanding, overdue=overdue, report_date=report_date)


def invoice_rows(item: Row, tenant: Tenant) -> Rows:
    """A sales invoice as its raw row, and its lines; a bill gives nothing."""
    fields = Record(item)
    if fields.is_payable():
        return []
    invoice = document_row(
        fields, tenant, "Invoice", "AmountDue", url=_url(tenant, INVOICE_PAGE, fields.text("InvoiceID")),
        due_date=fields.date("DueDate"), amount_due=fields.number("AmountDue"), amount_paid=fields.number("AmountPaid"),
        amount_credited=fields.number("AmountCredited"),
    )
    return [("invoices", [invoice]), ("invoice_lines", line_rows(fields, "invoice_id", invoice["id"]))]


def credit_note_rows(item: Row, tenant: Tenant) -> Rows:
    """A sales credit note as its raw row, its lines and what it was allocated to; a supplier's gives nothing."""
    fields = Record(item)
    if fields.is_payable():
        return []
    note = document_row(
        fields, tenant, "CreditNote", "RemainingCredit", url=_url(tenant, CREDIT_NOTE_PAGE, fields.text("CreditNoteID")),
        remaining_credit=fields.number("RemainingCredit"),
    )
    return [("credit_notes", [note]), ("credit_note_lines", line_rows(fields, "credit_note_id", note["id"])),
            ("allocations", allocation_rows(fields, "credit_note", note["id"]))]


def document_row(fields: Record, tenant: Tenant, kind: str, left: str, **more: Any) -> Row:
    """What invoices and credit notes have in common; `left` names what is still open. Numbers repeat and may be missing: only
    the id identifies one."""
    fields.needs(f"{kind}ID", "Date", "Status", "Total")
    if not fields.is_gone():
        fields.needs("Contact.ContactID", "TotalTax", left)
    if fields.each("LineItems"):
        fields.needs("LineAmountTypes")
    columns = dict(
        id=fields.text(f"{kind}ID"), tenant_id=tenant.id, number=fields.text(f"{kind}Number"),
        reference=fields.text("Reference"), contact_id=fields.inner("Contact").text("ContactID"),
        issue_date=fields.date("Date"), status=fields.text("Status"), line_amount_types=fields.text("LineAmountTypes"),
        currency=fields.text("CurrencyCode"), currency_rate=fields.number("CurrencyRate", "rate"),
        sub_total=fields.number("SubTotal"), total_tax=fields.number("TotalTax"), total=fields.number("Total"),
        cis_deduction=fields.number("CISDeduction"), sent=fields.flag("SentToContact"), version=fields.text("UpdatedDateUTC"),
        modified_at=fields.timestamp("UpdatedDateUTC"), **more,
    )
    return row(fields, **columns)


def line_rows(document: Record, owner: str, owner_id: str | None) -> list[Row]:
    """A document's lines. `line_amount` and `tax_amount` as they stand: the document's line_amount_types says whether the
    one includes the other."""
    lines = []
    for number, line in enumerate(document.each("LineItems"), 1):
        fields = Record(line)
        if fields.number("UnitAmount"):
            fields.needs("LineAmount")  # a line that is only described has no amount
        if document.text("LineAmountTypes") == "Inclusive" and fields.number("LineAmount"):
            fields.needs("TaxAmount")
        columns = dict(
            line_number=number, line_id=fields.text("LineItemID"), item_code=fields.text("ItemCode"),
            description=fields.text("Description"), quantity=fields.number("Quantity", "quantity"),
            unit_price=fields.number("UnitAmount"), discount_rate=fields.number("DiscountRate", "quantity"),
            discount_amount=fields.number("DiscountAmount"), line_amount=fields.number("LineAmount"),
            tax_type=fields.text("TaxType"), tax_amount=fields.number("TaxAmount"),
        )
        lines.append(row(fields, **{owner: owner_id}, version=document.text("UpdatedDateUTC"), **columns))
    return lines


def allocation_rows(document: Record, source_type: str, source_id: str | None) -> list[Row]:
    """What a credit was allocated to. A deleted allocation is said to be deleted, or is no longer in the list."""
    found = []
    for number, allocation in enumerate(document.each("Allocations"), 1):
        fields = Record(allocation)
        fields.needs("Amount", "Date", "Invoice.InvoiceID")
        columns = dict(
            line_number=number, invoice_id=fields.inner("Invoice").text("InvoiceID"), amount=fields.number("Amount"),
            allocated_on=fields.date("Date"), is_deleted=fields.flag("IsDeleted") or False,
        )
        found.append(row(fields, source_type=source_type, source_id=source_id, version=document.text("UpdatedDateUTC"), **columns))
    return found


def payment_rows(item: Row, tenant: Tenant) -> Rows:
    """A payment from a customer, or a refund to one, as its raw row; what suppliers were paid gives nothing. A deleted
    payment stays, and its status says so. Amounts are in the currency of what was paid."""
    fields = Record(item)
    if fields.is_payable("PaymentType"):
        return []
    fields.needs("PaymentID", "Date", "Status", "Amount")
    column, key, id_name = PAID.get(fields.text("PaymentType") or "", PAID["ACCRECPAYMENT"])
    named, invoice = fields.inner(key), fields.inner("Invoice")
    subject = named if named.record else invoice
    if not (subject.text(id_name) or subject.text("InvoiceID")):
        fields.problems.append(f"{key}.{id_name}: is missing")
    targets = dict.fromkeys(("invoice_id", "credit_note_id", "overpayment_id", "prepayment_id"))
    targets[column] = subject.text(id_name) or subject.text("InvoiceID")
    payment = row(
        fields, id=fields.text("PaymentID"), tenant_id=tenant.id, payment_type=fields.text("PaymentType"),
        status=fields.text("Status"), payment_date=fields.date("Date"), amount=fields.number("Amount"),
        currency=subject.text("CurrencyCode"), currency_rate=fields.number("CurrencyRate", "rate"),
        reference=fields.text("Reference"), contact_id=subject.inner("Contact").text("ContactID"),
        modified_at=fields.timestamp("UpdatedDateUTC"), **targets,
    )
    return [("payments", [payment])]


def overpayment_rows(item: Row, tenant: Tenant) -> Rows:
    """A customer's overpayment as its raw row, and what it was allocated to."""
    return _credit_rows(item, tenant, "Overpayment")


def prepayment_rows(item: Row, tenant: Tenant) -> Rows:
    """A customer's prepayment as its raw row, and what it was allocated to."""
    return _credit_rows(item, tenant, "Prepayment")


def _credit_rows(item: Row, tenant: Tenant, kind: str) -> Rows:
    fields = Record(item)
    if fields.is_payable():
        return []
    fields.needs(f"{kind}ID", "Date", "Status", "Total")
    if not fields.is_gone():
        fields.needs("Contact.ContactID", "RemainingCredit")
    credit = row(
        fields, id=fields.text(f"{kind}ID"), tenant_id=tenant.id, contact_id=fields.inner("Contact").text("ContactID"),
        payment_date=fields.date("Date"), status=fields.text("Status"), currency=fields.text("CurrencyCode"),
        currency_rate=fields.number("CurrencyRate", "rate"), total=fields.number("Total"),
        total_tax=fields.number("TotalTax"), remaining_credit=fields.number("RemainingCredit"),
        version=fields.text("UpdatedDateUTC"), url=None, modified_at=fields.timestamp("UpdatedDateUTC"),
    )
    return [(f"{kind.lower()}s", [credit]), ("allocations", allocation_rows(fields, kind.lower(), credit["id"]))]


# What a record adds to receivables, by its list: a field and its sign. Payments have moved what their documents say is due.
_OPEN = {"Invoices": ("AmountDue", 1), "CreditNotes": ("RemainingCredit", -1), "Overpayments": ("RemainingCredit", -1),
         "Prepayments": ("RemainingCredit", -1)}  # fmt: skip


def nameless_row(item: Row, listed: str, tenant: Tenant, read_on: date) -> Row | None:
    """A record without an id, which is in no table of its kind, as a row of what was not read; a supplier's gives None."""
    fields = Record(item)
    if PAYABLE & {fields.text("Type"), fields.text("PaymentType")}:
        return None
    name, sign = _OPEN.get(listed, ("", 0))
    amount = None if fields.is_gone() else fields.number(name)
    return row(fields, tenant_id=tenant.id, listed=listed, contact_id=fields.inner("Contact").text("ContactID"),
               posted_on=fields.date("Date"), currency=fields.text("CurrencyCode"), amount=None if amount is None else sign * amount,
               record_count=1, reason="the record has no id", read_on=read_on)


def unlisted_row(count: int, listed: str, tenant: Tenant, read_on: date) -> Row:
    """Records that a list counts and does not give, as a row of what was not read."""
    return row(Record({}), tenant_id=tenant.id, listed=listed, contact_id=None, posted_on=None, currency=None, amount=None,
               record_count=count, reason="the list counts them and does not give them", read_on=read_on)


def by_table(groups: Iterable[Rows]) -> Rows:
    """The rows of many records, gathered by table."""
    gathered: dict[str, list[Row]] = {}
    for group in groups:
        for name, found in group:
            gathered.setdefault(name, []).extend(found)
    return list(gathered.items())


def _url(tenant: Tenant, page: str, record_id: str | None) -> str | None:
    """Where a person opens the record; https://developer.xero.com/documentation/api-guides/deep-link-xero."""
    if not tenant.short_code or not record_id:
        return None
    code = quote(tenant.short_code, safe="!")
    return f"https://go.xero.com/organisationlogin/default.aspx?shortcode={code}&redirecturl={page}{quote(record_id, safe='')}"
