"""What else is in real books: bills and their payments, drafts, a deleted payment, a supplier that was archived.

None of it changes what any customer owes. Bills carry the numbers of our own invoices, as suppliers' numbers do.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from pipelines.sandbox.entities import ZERO, DocLine, Invoice
from pipelines.vendors.xero.sandbox_render import Renderer
from pipelines.vendors.xero.sandbox_shapes import (
    MAX_NAME,
    Json,
    contact_ref,
    day_fields,
    guid,
    line_items,
    payment_object,
    record_id,
    stamp,
    updated_fields,
)

FIRST = 900_000_000_001  # numbers of noise begin here, behind all of the world's
SUPPLIERS = (("Northgate Hosting", "ACTIVE"), ("Old Harbour Stationers", "ARCHIVED"))
ONE = Decimal(1)


def noise(render: Renderer, invoices: list[Invoice], moment: datetime) -> list[tuple[str, Json]]:
    """(endpoint, object): beside `invoices`, the first ones of an organisation. Nothing where there are fewer than two."""
    if len(invoices) < 2:
        return []
    day, first, second = moment.date(), invoices[0], invoices[1]
    contact = render.contact_of(first.customer_id)
    buyer = contact_ref(record_id("customer", contact.id), contact.name[:MAX_NAME])
    supplier = contact_ref(guid("customer", FIRST), SUPPLIERS[0][0])
    # A customer may send bills too; its balances then have both sides.
    render.bills[contact.id] = [Decimal(350), Decimal(350)]
    bill, paid = guid("invoice", FIRST + 1), guid("payment", FIRST)
    settled = {"PaymentID": paid, "Date": day_fields("Date", day)["Date"], "Amount": Decimal("89.5"), "CurrencyRate": ONE,
               "HasAccount": False, "HasValidationErrors": False}  # fmt: skip
    document = {"Type": "ACCPAY", "InvoiceID": bill, "InvoiceNumber": second.number, "Contact": supplier, "CurrencyCode": "USD"}
    ours = {"Type": "ACCREC", "InvoiceID": record_id("invoice", first.id), "InvoiceNumber": first.number, "Contact": buyer,
            "CurrencyCode": first.currency}  # fmt: skip
    return [
        *(("Contacts", _supplier(FIRST + n, name, status, moment)) for n, (name, status) in enumerate(SUPPLIERS)),
        ("Invoices", _document(FIRST, "ACCPAY", "AUTHORISED", buyer, "350", day, moment, number=first.number)),
        ("Invoices", _document(FIRST + 1, "ACCPAY", "PAID", supplier, "89.5", day, moment, number=second.number, payments=(settled,))),
        ("Invoices", _document(FIRST + 2, "ACCREC", "DRAFT", buyer, "123.45", day, moment)),
        ("Invoices", _document(FIRST + 3, "ACCREC", "SUBMITTED", buyer, "4321", day, moment, number="INV-TO-APPROVE")),
        ("Payments", payment_object(paid, day, Decimal("89.5"), ONE, moment, "ACCPAYPAYMENT", document, False)),
        ("Payments", payment_object(guid("payment", FIRST + 1), day, Decimal(77), ONE, moment, "ACCRECPAYMENT", ours, True)),
        ("CreditNotes", _bill_credit(supplier, day, moment)),
        ("Overpayments", _spent_too_much(supplier, day, moment)),
    ]


def _supplier(number: int, name: str, status: str, moment: datetime) -> Json:
    return {
        "ContactID": guid("customer", number), "ContactStatus": status, "Name": name, "EmailAddress": "", "BankAccountDetails": "",
        "Addresses": [], "Phones": [], "UpdatedDateUTC": stamp(moment), "ContactGroups": [], "IsSupplier": True,
        "IsCustomer": False, "ContactPersons": [], "HasAttachments": False, "HasValidationErrors": False,
    }  # fmt: skip


def _amounts(amount: str, day: date, moment: datetime, number: int) -> Json:
    total = Decimal(amount)
    line = DocLine(None, "Services", "Services", ONE, total, total)
    return {
        **day_fields("Date", day), "LineAmountTypes": "Exclusive",
        "LineItems": line_items([line], ZERO, guid("line", number), "noise"), "SubTotal": total, "TotalTax": ZERO, "Total": total,
        **updated_fields(moment), "CurrencyCode": "USD", "CurrencyRate": ONE, "Reference": "",
    }  # fmt: skip


def _document(
    place: int, kind: str, status: str, contact: Json, amount: str, day: date, moment: datetime, number: str = "",
    payments: tuple[Json, ...] = (),
) -> Json:
    """A bill, or an invoice that is not issued: a draft has neither number nor due date."""
    shown = _amounts(amount, day, moment, place)
    paid = shown["Total"] if payments else ZERO
    shown |= {
        "Type": kind, "InvoiceID": guid("invoice", place), "Payments": [*payments], "CreditNotes": [], "Prepayments": [],
        "Overpayments": [], "AmountDue": shown["Total"] - paid, "AmountPaid": paid, "AmountCredited": ZERO, "HasErrors": False,
        "IsDiscounted": False, "HasAttachments": False, "Contact": contact, "Status": status,
    }  # fmt: skip
    if number:
        shown |= {"InvoiceNumber": number, **day_fields("DueDate", day + timedelta(days=14))}
    return shown


def _bill_credit(supplier: Json, day: date, moment: datetime) -> Json:
    credit_id = guid("credit_note", FIRST)
    return {
        "CreditNoteID": credit_id, "CreditNoteNumber": "", "Payments": [], "ID": credit_id, "Type": "ACCPAYCREDIT",
        "RemainingCredit": Decimal(46), "Allocations": [], "HasAttachments": False, "Contact": supplier, "Status": "AUTHORISED",
        **_amounts("46", day, moment, FIRST + 4),
    }  # fmt: skip


def _spent_too_much(supplier: Json, day: date, moment: datetime) -> Json:
    credit_id = guid("overpayment", FIRST)
    return {
        "OverpaymentID": credit_id, "ID": credit_id, "Type": "SPEND-OVERPAYMENT", "RemainingCredit": Decimal(12), "Allocations": [],
        "Payments": [], "HasAttachments": False, "Contact": supplier, "Status": "AUTHORISED",
        **_amounts("12", day, moment, FIRST + 5), "LineAmountTypes": "NoTax",
    }  # fmt: skip
