"""One entity of the QuickBooks sandbox: its objects as they are served, and what queries see of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from pipelines.sandbox.entities import ZERO
from pipelines.vendors.quickbooks.sandbox_query import (
    Query,
    invalid,
    test_of,
)

KEPT_VIEWS = 16
# Raw table by entity. Entities that the world does not have are served from records, else empty.
ENTITIES = {
    "Customer": "customers", "Invoice": "invoices", "CreditMemo": "credit_memos", "Payment": "payments",
    "RefundReceipt": "refund_receipts", "Term": "terms", "ExchangeRate": "exchange_rates",
    "CompanyInfo": "company_info", "Preferences": "preferences", "Estimate": "estimates", "Item": "items",
    "SalesReceipt": "sales_receipts", "Vendor": "vendors", "Account": "accounts", "Deposit": "deposits",
    "Purchase": "purchases", "JournalEntry": "journal_entries",
}  # fmt: skip
# What Intuit's schema has besides: a query of it is right, and nobody here holds any.
NOT_SERVED = (
    "Attachable", "Bill", "BillPayment", "Budget", "Class", "CompanyCurrency", "CreditCardPayment", "CustomerType", "Department",
    "Employee", "InventoryAdjustment", "PaymentMethod", "PurchaseOrder", "RecurringTransaction", "ReimburseCharge", "TaxAgency",
    "TaxCode", "TaxRate", "TimeActivity", "Transfer", "VendorCredit",
)
NAME_LISTS = ("Customer", "Term", "Item", "Vendor", "Account")  # their inactive rows are hidden unless asked for
SINGLES = ("CompanyInfo", "Preferences")
COMMON = (
    "Id", "SyncToken", "MetaData.LastUpdatedTime", "MetaData.CreateTime", "CurrencyRef", "domain", "sparse", "MetaData",
)  # fmt: skip
_SALES = (
    "DocNumber", "TxnDate", "TotalAmt", "Balance", "CustomerRef", "PrivateNote", "CustomField", "Line", "TxnTaxDetail",
    "CustomerMemo", "EmailStatus", "PrintStatus", "ExchangeRate", "HomeTotalAmt", "SalesTermRef", "BillEmail",
    "BillAddr", "ShipAddr", "LinkedTxn", "ApplyTaxAfterDiscount", "DepositToAccountRef",
)  # fmt: skip
PROPERTIES = {
    "Customer": (
        "Active", "DisplayName", "GivenName", "MiddleName", "FamilyName", "CompanyName", "FullyQualifiedName",
        "PrintOnCheckName", "Balance", "BalanceWithJobs", "Taxable", "Job", "BillWithParent", "ParentRef", "Level",
        "PrimaryEmailAddr", "WebAddr", "ResaleNum", "SalesTermRef", "PrimaryPhone", "Mobile", "Fax", "BillAddr",
        "ShipAddr", "PreferredDeliveryMethod", "DefaultTaxCodeRef", "Notes",
    ),
    "Invoice": (
        *_SALES, "DueDate", "AllowIPNPayment", "AllowOnlinePayment", "AllowOnlineCreditCardPayment",
        "AllowOnlineACHPayment", "ShipDate", "TrackingNum", "Deposit", "DeliveryInfo",
    ),
    "CreditMemo": (*_SALES, "RemainingCredit"),
    "Payment": (
        "TxnDate", "TotalAmt", "UnappliedAmt", "CustomerRef", "PrivateNote", "ExchangeRate", "Line", "ProcessPayment",
        "DepositToAccountRef", "PaymentMethodRef", "PaymentRefNum",
    ),
    "RefundReceipt": _SALES,
    "Term": ("Name", "Active", "Type", "DueDays", "DiscountDays", "DiscountPercent"),
    "ExchangeRate": ("SourceCurrencyCode", "TargetCurrencyCode", "AsOfDate", "Rate"),
}  # fmt: skip


class Refused(Exception):
    """A request that QuickBooks answers with a `Fault`."""

    def __init__(self, code: str, message: str, detail: str, element: str | None = None):
        super().__init__(detail)
        self.code, self.message, self.detail, self.element = code, message, detail, element


def not_found() -> Refused:
    """610, with the element empty, as recorded."""
    detail = (
        "Object Not Found : Something you're trying to use has been made inactive. Check the fields with accounts, "
        "customers, items, vendors or employees."
    )
    return Refused("610", "Object Not Found", detail, "")


def loads(body: bytes) -> Any:
    """JSON with every fraction as Decimal."""
    return json.loads(body, parse_float=Decimal)


@dataclass(slots=True)
class Record:
    """One object as it is served: its exact bytes, and beside them what queries on it need."""

    id: str
    body: bytes
    updated: datetime
    active: bool = True
    parsed: Any = None

    def value(self, name: str) -> Any:
        """A field's value for a query; None where it is absent."""
        if name == "MetaData.LastUpdatedTime":
            return self.updated
        if name == "Id":
            return self.id
        document = self.document()
        if name == "MetaData.CreateTime":
            created = document.get("MetaData", {}).get("CreateTime")
            return datetime.fromisoformat(created) if created else self.updated
        return document.get(name)

    def document(self) -> dict[str, Any]:
        """The object, parsed once."""
        if self.parsed is None:
            self.parsed = loads(self.body)
        return self.parsed


def record_of(body: bytes) -> Record:
    """A record from bytes that must not change."""
    document = loads(body)
    updated = datetime.fromisoformat(document.get("MetaData", {}).get("LastUpdatedTime", "2015-01-01T00:00:00-08:00"))
    return Record(str(document.get("Id", "")), body, updated, document.get("Active", True) is not False, document)


@dataclass
class Table:
    """The objects of one entity, its deletions, and the views that queries made of it since it last changed."""

    entity: str
    records: dict[str, Record] = field(default_factory=dict)
    deleted: dict[str, datetime] = field(default_factory=dict)
    as_given: bool = False
    views: dict[object, list[Record]] = field(default_factory=dict)

    def put(self, key: str, record: Record) -> None:
        """Add or replace one."""
        self.records[key] = record
        self.views.clear()

    def drop(self, key: str, at: datetime) -> None:
        """Delete one for good; only change data capture remembers it."""
        if self.records.pop(key, None) is not None:
            self.deleted[key] = at
            self.views.clear()

    def view(self, query: Query) -> list[Record]:
        """Records that fit the conditions, in order. Kept, because clients page through the same view."""
        key = (query.conditions, query.order)
        if key not in self.views:
            while len(self.views) >= KEPT_VIEWS:
                self.views.pop(next(iter(self.views)))
            self.views[key] = self._select(query)
        return self.views[key]

    def _select(self, query: Query) -> list[Record]:
        tests = [(self._field(c.field), test_of(c)) for c in query.conditions]
        asks_active = any(name == "Active" for name, _ in tests)
        hide_inactive = self.entity in NAME_LISTS and not asks_active
        found = [r for r in self._in_order(query) if r.active or not hide_inactive]
        for name, test in tests:
            found = [record for record in found if test(record.value(name))]
        return found

    def _in_order(self, query: Query) -> list[Record]:
        """As asked; else name lists by name and transactions newest first, records from a folder as they stand."""
        rows = list(self.records.values())
        if query.order:
            rows.sort(key=_by_id)
            for name, descending in reversed(query.order):
                rows.sort(key=_sort_key(self._field(name)), reverse=descending)
        elif not self.as_given and self.entity == "Customer":
            rows.sort(key=lambda record: str(record.value("DisplayName")).lower())
        elif not self.as_given:
            rows.sort(key=lambda record: record.updated, reverse=self.entity not in NAME_LISTS)
        return rows

    def _field(self, name: str) -> str:
        """The property as it is spelled; names are accepted in any case."""
        if self.entity not in PROPERTIES:
            return name
        for known in (*COMMON, *PROPERTIES[self.entity]):
            if known.lower() == name.lower():
                return known
        raise invalid(f"Property {name} not found for Entity {self.entity}")

    def columns(self, query: Query) -> tuple[str, ...]:
        """The asked columns as they are spelled."""
        return tuple(self._field(name) for name in query.columns or ())


def _by_id(record: Record) -> tuple[int, str]:
    return (int(record.id), "") if record.id.isdigit() else (0, record.id)


def _sort_key(name: str) -> Callable[[Record], tuple]:
    if name == "Id":
        return _by_id
    if name == "MetaData.LastUpdatedTime":
        return lambda record: (record.updated,)

    def key(record: Record) -> tuple:
        value = record.value(name)
        if isinstance(value, dict):
            value = value.get("value")
        if isinstance(value, bool | int | Decimal):
            return (1, Decimal(value), "")
        return (0, ZERO, "") if value is None else (2, ZERO, str(value).lower())

    return key
