"""The shapes that Xero's objects are made of in the sandbox: ids, dates, amounts, lines, payments, and what every organisation has.

Shapes follow the vendor's recorded examples and its OpenAPI file; where the two differ, the recordings.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

from pipelines.sandbox.entities import ZERO, DocLine
from pipelines.sandbox.world import World

CENT, TENTH, QUOTE = Decimal("0.01"), Decimal("0.1"), Decimal("0.000001")
CURRENCY_NAMES = {"USD": "United States Dollar", "EUR": "Euro"}
# The first group of a GUID names the kind, the last one is the number: the order of ids as text is that of the numbers.
KINDS = {
    "customer": "c0000000", "invoice": "10000000", "credit_note": "c1000000", "refund_note": "c2000000",
    "payment": "9a000000", "refund": "9b000000", "overpayment": "0e000000", "prepayment": "0f000000",
    "receipt": "10000000", "journal": "c1000000",  # what is an invoice and a credit note here
    "line": "11000000", "allocation": "a1000000", "account": "ac000000", "answer": "ee000000",
}  # fmt: skip
ACCOUNTS = {  # name: (number, code, type, class, system account)
    "Business Bank Account": (1, "090", "BANK", "ASSET", None),
    "Sales": (2, "200", "REVENUE", "REVENUE", None),
    "Accounts Receivable": (3, "610", "CURRENT", "ASSET", "DEBTORS"),
    "Accounts Payable": (4, "800", "CURRLIAB", "LIABILITY", "CREDITORS"),
    "Sales Tax": (5, "820", "CURRLIAB", "LIABILITY", "GST"),
    "Historical Adjustment": (6, "840", "CURRLIAB", "LIABILITY", "HISTORICAL"),
}  # fmt: skip
MAX_NAME = 255
Json = dict[str, Any]


def guid(kind: str, number: int, part: int = 0) -> str:
    """The id of the `part`th Xero record that stands for one record of the world."""
    return f"{KINDS[kind]}-{part:04x}-4000-8000-{number:012d}"


def record_id(kind: str, world_id: str) -> str:
    """See `Sandbox.record_id`."""
    return guid(kind, int(world_id)) if world_id.isdigit() else world_id


def exact(value: Any) -> orjson.Fragment:
    """How orjson writes a Decimal: as its own text, with a decimal point as Xero does (40.0, 32.5).

    Raises TypeError for anything else that JSON does not have.
    """
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} has no place in a Xero record")
    return _text(value)


@lru_cache(maxsize=50_000)
def _text(value: Decimal) -> orjson.Fragment:
    plain = value.normalize() if value else ZERO
    return orjson.Fragment(format(plain.quantize(TENTH) if plain == plain.to_integral_value() else plain, "f"))


def dumps(value: Any) -> bytes:
    """JSON with Decimals as their exact text.

    The copy is for what is kept: orjson's own bytes hold on to their whole buffer, 8 KB for a record of one.
    """
    return bytes(memoryview(orjson.dumps(value, default=exact)))


def milliseconds(moment: datetime) -> int:
    """Unix time."""
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def stamp(moment: datetime) -> str:
    """A moment as Xero writes it in JSON."""
    return f"/Date({milliseconds(moment)}+0000)/"


@lru_cache(maxsize=10_000)
def day_fields(name: str, day: date) -> Json:
    """A calendar date, both ways that Xero writes it side by side: as its midnight in UTC, and as text."""
    midnight = datetime.combine(day, time_of_day(), UTC)
    return {f"{name}String": f"{day.isoformat()} 00:00:00", name: stamp(midnight)}


def updated_fields(moment: datetime) -> Json:
    """The stamp of the last change, both ways."""
    return {"UpdatedDateUTC": stamp(moment), "UpdatedDateUTCString": moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S+00:00")}


def quoted(rate: Decimal) -> Decimal:
    """Foreign units per one base unit, to 6 decimals, of a rate that is base units per foreign unit."""
    return Decimal(1) if rate == 1 else (1 / rate).quantize(QUOTE)


def contact_ref(contact_id: str, name: str) -> Json:
    """The contact as a document shows it."""
    lists = {"Addresses": [], "Phones": [], "ContactGroups": [], "ContactPersons": []}
    return {"ContactID": contact_id, "Name": name, **lists, "HasValidationErrors": False}


def empty_document(fields: Json) -> Json:
    """A document within another object: its lists are always empty there."""
    lists = {"Payments": [], "CreditNotes": [], "Prepayments": [], "Overpayments": [], "LineItems": []}
    return {**fields, **lists, "HasErrors": False, "IsDiscounted": False}


def payment_object(
    payment_id: str, day: date, amount: Decimal, rate: Decimal, moment: datetime, kind: str, document: Json, deleted: bool,
    key: str = "Invoice",
) -> Json:
    """A Payment of a document, which stands under `key`; one that was deleted stays in the list and keeps its amount."""
    return {
        "PaymentID": payment_id, "Date": day_fields("Date", day)["Date"], "BankAmount": (amount * rate).quantize(CENT),
        "Amount": amount, "Reference": "", "CurrencyRate": quoted(rate), "PaymentType": kind,
        "Status": "DELETED" if deleted else "AUTHORISED", **updated_fields(moment), "HasAccount": True, "IsReconciled": False,
        "Account": {"AccountID": guid("account", 1), "Code": "090"},
        key: empty_document(document) if key == "Invoice" else document,
        "HasValidationErrors": False,
    }  # fmt: skip


def payout(payment_id: str, day: date, amount: Decimal, rate: Decimal) -> Json:
    """A payment as the credit shows it that it gave back."""
    return {"PaymentID": payment_id, "Date": day_fields("Date", day)["Date"], "Amount": amount, "CurrencyRate": quoted(rate),
            "HasAccount": False, "HasValidationErrors": False}  # fmt: skip


def refunded_note(note_id: str, number: str, contact: Json, currency: str) -> Json:
    """A credit note as the payment names it that gave it back: under Invoice, by its type, as recorded (ARCREDITPAYMENT)."""
    return {"Type": "ACCRECCREDIT", "InvoiceID": note_id, "InvoiceNumber": number, "Contact": contact, "CurrencyCode": currency}


LINE_KINDS = ("invoice", "credit_note", "refund", "overpayment", "prepayment", "noise")


def line_items(lines: list[DocLine], tax: Decimal, first_id: str, kind: str) -> list[Json]:
    """LineItems; a discount is a line with a negative amount. The document's tax is shared out by amount, the last cent last."""
    net, left, shown = sum((line.amount for line in lines), ZERO), tax, []
    group = LINE_KINDS.index(kind) << 12
    for position, line in enumerate(lines):
        last = position == len(lines) - 1
        share = left if last else (tax * line.amount / net).quantize(CENT) if net else ZERO
        left -= share
        priced = line.unit_price is not None and line.quantity is not None
        shown.append({
            **({"ItemCode": line.sku} if line.sku else {}), "Description": line.description or line.name,
            "UnitAmount": line.unit_price if priced else line.amount, "TaxType": "OUTPUT" if tax else "NONE", "TaxAmount": share,
            "LineAmount": line.amount, "AccountCode": "200", "Tracking": [], "Quantity": line.quantity if priced else Decimal(1),
            "LineItemID": f"{first_id[:9]}{group + position:04x}{first_id[13:]}", "ValidationErrors": [],
        })  # fmt: skip
    return shown


def accounts(moment: datetime) -> list[Json]:
    """The chart of accounts, as much of it as the books need."""
    shown = []
    for name, (number, code, kind, group, system) in ACCOUNTS.items():
        account = {
            "AccountID": guid("account", number), "Code": code, "Name": name, "Status": "ACTIVE", "Type": kind, "TaxType": "NONE",
            "Class": group, "EnablePaymentsToAccount": False, "ShowInExpenseClaims": False, "ReportingCode": "",
            "ReportingCodeName": "", "HasAttachments": False, "UpdatedDateUTC": stamp(moment), "AddToWatchlist": False,
        }  # fmt: skip
        if kind == "BANK":
            account |= {"BankAccountNumber": "0209087654321050", "BankAccountType": "BANK", "CurrencyCode": "USD"}
        shown.append(account | ({"SystemAccount": system} if system else {}))
    return shown


def organisation(world: World, tenant_id: str, name: str) -> Json:
    """The one Organisation of a tenant."""
    return {
        "Name": name, "LegalName": name, "PaysTax": True, "Version": "US", "OrganisationType": "COMPANY",
        "BaseCurrency": world.base_currency, "CountryCode": "US", "IsDemoCompany": False, "OrganisationStatus": "ACTIVE",
        "FinancialYearEndDay": 31, "FinancialYearEndMonth": 12, "SalesTaxBasis": "ACCRUALS", "SalesTaxPeriod": "QUARTERLY1",
        "DefaultSalesTax": "Tax Exclusive", "DefaultPurchasesTax": "Tax Exclusive",
        "PeriodLockDate": f"/Date({milliseconds(datetime(2025, 3, 31, tzinfo=UTC))}+0000)/",
        "EndOfYearLockDate": f"/Date({milliseconds(datetime(2024, 12, 31, tzinfo=UTC))}+0000)/",
        "CreatedDateUTC": f"/Date({milliseconds(datetime(2020, 1, 6, 8, tzinfo=UTC))})/", "OrganisationEntityType": "COMPANY",
        "Timezone": "PACIFICSTANDARDTIME", "ShortCode": f"!s{tenant_id[-4:]}", "OrganisationID": tenant_id, "Edition": "BUSINESS",
        "Class": "PREMIUM", "Addresses": [], "Phones": [], "ExternalLinks": [], "PaymentTerms": {},
    }  # fmt: skip


def currencies(world: World) -> list[Json]:
    """The base currency and all that the rates know."""
    codes = dict.fromkeys((world.base_currency, *(rate.source for rate in world.rates)))
    return [{"Code": code, "Description": CURRENCY_NAMES.get(code, code)} for code in codes]


def mark_gone(document: Json, moment: datetime) -> Json:
    """The object after a person deleted it: nothing disappears, the status changes."""
    name = "ContactStatus" if "ContactStatus" in document else "Status"
    changed = {name: "ARCHIVED" if name == "ContactStatus" else "DELETED", "UpdatedDateUTC": stamp(moment)}
    if "UpdatedDateUTCString" in document:
        changed |= updated_fields(moment)
    return {**document, **changed}

