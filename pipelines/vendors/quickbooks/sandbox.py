"""QuickBooks Online for the sandbox: its records and rules (`QuickBooksState`), and thin routes over them (`Sandbox`).

Sources: Intuit's API reference and developer blog, and recorded exchanges of a live sandbox company. What neither shows
is marked (unverified). Ten calls at a time are allowed there; here every call is answered before the next one starts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.entities import ZERO
from pipelines.sandbox.world import World
from pipelines.vendors.quickbooks.sandbox_query import (
    PACIFIC,
    BadQuery,
    Query,
    invalid,
    local_time,
    parse,
    test_of,
)
from pipelines.vendors.quickbooks.sandbox_render import Renderer, dumps, stamp, zeroed

REALM = "4620816365000000001"
CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH_TOKEN = "sandbox-client", "sandbox-secret", "sandbox-refresh-0"
ACCESS_SECONDS = 3600
CDC_DAYS, CDC_OBJECTS = 30, 1000  # Intuit developer blog, 2023-08-24
KEPT_VIEWS = 16
# Raw table by entity. Entities that the world does not have are served from records, else empty.
ENTITIES = {
    "Customer": "customers", "Invoice": "invoices", "CreditMemo": "credit_memos", "Payment": "payments",
    "RefundReceipt": "refund_receipts", "Term": "terms", "ExchangeRate": "exchange_rates",
    "CompanyInfo": "company_info", "Preferences": "preferences", "Estimate": "estimates", "Item": "items",
    "SalesReceipt": "sales_receipts", "Vendor": "vendors", "Account": "accounts", "Deposit": "deposits",
    "Purchase": "purchases", "JournalEntry": "journal_entries",
}  # fmt: skip
NAME_LISTS = ("Customer", "Term", "Item", "Vendor", "Account")  # their inactive rows are hidden unless asked for
SINGLES = ("CompanyInfo", "Preferences")
_COMMON = (
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
# The account of receivables that every company has; an id of its own (unverified).
RECEIVABLES = {
    "Id": "84", "SyncToken": "0", "Name": "Accounts Receivable (A/R)", "Active": True, "Classification": "Asset",
    "AccountType": "Accounts Receivable", "AccountSubType": "AccountsReceivable", "domain": "QBO",
    "MetaData": {"CreateTime": "2020-01-06T08:00:00-08:00", "LastUpdatedTime": "2020-01-06T08:00:00-08:00"},
}
BUCKETS = ("Current", "1 - 30", "31 - 60", "61 - 90", "91 and over")


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
        for known in (*_COMMON, *PROPERTIES[self.entity]):
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


@dataclass
class Tokens:
    """OAuth tokens: access tokens end after an hour, refresh tokens change with every use.

    An older refresh token works until a newer one has been used once (Intuit answers alike: the newest must be stored).
    """

    clock: Clock
    refresh: list[str] = field(default_factory=lambda: [FIRST_REFRESH_TOKEN])
    access: dict[str, datetime] = field(default_factory=dict)
    issued: int = 0

    def renew(self, token: str) -> dict[str, object] | None:
        """A new pair for a refresh token that is still good, else None."""
        if token not in self.refresh:
            return None
        self.issued += 1
        self.refresh = [*self.refresh[self.refresh.index(token) :], f"sandbox-refresh-{self.issued}"]
        access = f"sandbox-access-{self.issued}"
        self.access[access] = self.clock.now() + timedelta(seconds=ACCESS_SECONDS)
        return {
            "x_refresh_token_expires_in": 8726400, "refresh_token": self.refresh[-1], "access_token": access,
            "token_type": "bearer", "expires_in": ACCESS_SECONDS,
        }  # fmt: skip

    def good(self, token: str) -> bool:
        """Whether an access token is known and not expired."""
        return token in self.access and self.clock.now() < self.access[token]


class QuickBooksState:
    """Every object of the company, without HTTP. With `records` it holds those, else the world's, kept up with it."""

    def __init__(self, world: World, clock: Clock, records: dict[str, list[bytes]] | None):
        self.world, self.clock, self.from_records = world, clock, records is not None
        self.tables = {entity: Table(entity, as_given=self.from_records) for entity in ENTITIES}
        self.render = Renderer(world)
        self._seen: dict[tuple[str, str], tuple[int, datetime]] = {}
        if records is None:
            self.sync()
        for entity, name in ENTITIES.items():
            for line in (records or {}).get(name, ()):
                record = record_of(line)
                self.tables[entity].records[record.id or str(len(self.tables[entity].records))] = record
        # A company always has these two, also one of which only some records are known.
        several = bool(self.tables["ExchangeRate"].records)
        for entity, document in (
            ("CompanyInfo", self.render.company_info()),
            ("Preferences", self.render.preferences(several)),
            ("Account", RECEIVABLES),
        ):
            if not self.tables[entity].records:
                self.tables[entity].put("1", record_of(dumps(document)))

    # -- the world --------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Render what the world has changed since the last time."""
        self.render.refresh()
        world, render = self.world, self.render
        self._sync("Customer", world.customers.values(), render.customer)
        self._sync("Invoice", world.invoices.values(), render.invoice)
        self._sync("CreditMemo", world.credit_notes.values(), render.credit_memo)
        self._sync("Payment", world.payments.values(), render.payment)
        self._sync("RefundReceipt", world.refunds.values(), render.refund_receipt)
        self._sync("Term", world.terms.values(), render.term)
        rates = self.tables["ExchangeRate"].records
        for position, rate in enumerate(world.rates[len(rates) :], len(rates)):
            rates[str(position)] = record_of(dumps(render.exchange_rate(rate)))
        for customer in world.customers.values():
            # A job's balance is part of its parent's, whose own stamp does not move.
            if customer.id in render.children:
                self._put("Customer", customer, render.customer)

    def _sync(self, entity: str, rows: Iterable[Any], shape: Callable[[Any], dict]) -> None:
        table, seen = self.tables[entity], self._seen
        for row in rows:
            key, now = (entity, row.id), (getattr(row, "version", 0), row.modified)
            if seen.get(key) == now:
                continue
            seen[key] = now
            if getattr(row, "deleted", False):
                table.drop(row.id, row.modified)
            else:
                self._put(entity, row, shape)

    def _put(self, entity: str, row: Any, shape: Callable[[Any], dict]) -> None:
        updated = row.modified.replace(microsecond=0)
        self.tables[entity].put(row.id, Record(row.id, dumps(shape(row)), updated, getattr(row, "active", True)))

    # -- reading ----------------------------------------------------------------------------------------------------

    def entity(self, name: str) -> Table:
        """The table of an entity, named in any case; `BadQuery` 4001 as recorded for one that does not exist."""
        for known, table in self.tables.items():
            if known.lower() == name.lower():
                return table
        raise invalid(f"invalid context declaration: {name}")

    def query(self, text: str) -> bytes:
        """The `QueryResponse` object of a query, as JSON; an empty page has no keys at all."""
        query = parse(text)
        table = self.entity(query.entity)
        rows = table.view(query)
        if query.count:
            return b'{"totalCount":%d}' % len(rows)
        page = rows[query.start - 1 : query.start - 1 + query.limit]
        if not page:
            return b"{}"
        bodies = [r.body for r in page] if query.columns is None else _cut(page, table.columns(query))
        return b'{"%s":[%s],"startPosition":%d,"maxResults":%d}' % (
            table.entity.encode(), b",".join(bodies), query.start, len(page),
        )  # fmt: skip

    def changes(self, entities: list[str], since: datetime) -> bytes:
        """The `CDCResponse` list: per entity what changed or was deleted since, oldest first, 1,000 objects in all."""
        if since < self.clock.now() - timedelta(days=CDC_DAYS):
            detail = f"changedSince must be within {CDC_DAYS} days of the current time"  # the exact words are unverified
            raise Refused("2030", "Invalid Date", detail, "changedSince")
        left, parts = CDC_OBJECTS, []
        for name in entities:
            table = self.entity(name)
            found = [(r.updated, r.body) for r in table.records.values() if r.updated >= since]
            for gone, at in table.deleted.items():
                if at.replace(microsecond=0) >= since:
                    tombstone = {"domain": "QBO", "status": "Deleted", "Id": gone}
                    found.append((at, dumps(tombstone | {"MetaData": {"LastUpdatedTime": stamp(at)}})))
            found.sort(key=lambda change: change[0])
            page = [body for _, body in found[:left]]
            left -= len(page)
            shape = b'{"%s":[%s],"startPosition":1,"maxResults":%d}'
            parts.append(shape % (table.entity.encode(), b",".join(page), len(page)) if page else b"{}")
        return b'[{"QueryResponse":[%s]}]' % b",".join(parts)

    def get(self, entity: str, record_id: str) -> Record:
        """One object by id."""
        if not record_id.isdigit():
            raise Refused("2030", "Invalid ID", f"Id should be a valid number. Supplied value:{record_id}", "Id")
        record = self.entity(entity).records.get(record_id)
        if record is None:
            raise not_found()
        return record

    # -- writing, as little as the recorded requests need --------------------------------------------------------------

    def save(self, entity: str, body: dict[str, Any]) -> bytes:
        """Create (no Id) or update (Id and SyncToken) a customer or an invoice; the new object's JSON."""
        table = self.entity(entity)
        known = {*_COMMON, *PROPERTIES.get(table.entity, body)}
        for name in body:
            if name not in known:
                raise Refused(
                    "2010", "Request has invalid or unsupported property",
                    f'Property Name:Unrecognized field "{name}" specified is unsupported or invalid',
                )  # fmt: skip
        now = self.clock.now()
        if "Id" in body:
            document = self._current(entity, body) | body
            document["SyncToken"] = str(int(body["SyncToken"]) + 1)
        else:
            document = self._new(table, body, now)
        if table.entity == "Customer":
            self._named(table, document)
        document["MetaData"] = {**document["MetaData"], "LastUpdatedTime": stamp(now)}
        record = record_of(dumps(document))
        table.put(record.id, record)
        return record.body

    def _named(self, table: Table, document: dict[str, Any]) -> None:
        name = document.get("DisplayName")
        if not name:
            raise Refused("2020", "Required param missing, need to supply the required value for the API",
                          "Required parameter DisplayName is missing in the request", "DisplayName")  # fmt: skip
        if any(r.value("DisplayName") == name and r.id != document["Id"] for r in table.records.values()):
            raise Refused("6240", "Duplicate Name Exists Error", "The name supplied already exists. : null")
        document["FullyQualifiedName"] = document["PrintOnCheckName"] = name

    def _new(self, table: Table, body: dict[str, Any], now: datetime) -> dict[str, Any]:
        if self.from_records:
            new_id = str(1 + max((int(r.id) for r in table.records.values() if r.id.isdigit()), default=0))
        else:
            new_id = self.world.new_id("customer" if table.entity == "Customer" else "transaction")
        head = {
            "domain": "QBO", "sparse": False, "Id": new_id, "SyncToken": "0",
            "MetaData": {"CreateTime": stamp(now), "LastUpdatedTime": stamp(now)},
        }  # fmt: skip
        currency = {"CurrencyRef": {"value": "USD", "name": "United States Dollar"}}
        if table.entity == "Customer":
            return {
                "Taxable": True, "Job": False, "BillWithParent": False, "Balance": 0, "BalanceWithJobs": 0, **currency,
                "PreferredDeliveryMethod": "Print", **head, "Active": True, "DefaultTaxCodeRef": {"value": "2"}, **body,
            }  # fmt: skip
        return self._new_invoice(body, head | currency, now.astimezone(PACIFIC).date())

    def _new_invoice(self, body: dict[str, Any], head: dict[str, Any], today: date) -> dict[str, Any]:
        customer = self.get("Customer", str(body.get("CustomerRef", {}).get("value", ""))).document()
        lines = []
        for position, line in enumerate(body.get("Line", ()), 1):
            detail = {**line["SalesItemLineDetail"], "TaxCodeRef": {"value": "NON"}}
            lines.append({"Id": str(position), "LineNum": position, **line, "SalesItemLineDetail": detail})
        total = sum((Decimal(line["Amount"]) for line in lines), ZERO)
        lines.append({"Amount": total, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}})
        number = self.world.new_id("number")
        addresses = {name: customer[name] for name in ("BillAddr", "ShipAddr") if name in customer}
        return {
            "AllowIPNPayment": False, "AllowOnlinePayment": False, "AllowOnlineCreditCardPayment": False,
            "AllowOnlineACHPayment": False, **head, "CustomField": [
                {"DefinitionId": "1", "Name": "CRM Deal ID", "Type": "StringType"}
            ], "DocNumber": number, "TxnDate": today.isoformat(), "LinkedTxn": [], **body, "Line": lines,
            "TxnTaxDetail": {"TotalTax": 0}, "CustomerRef": {"value": customer["Id"], "name": customer["DisplayName"]},
            **addresses, "DueDate": (today + timedelta(days=30)).isoformat(), "TotalAmt": total,
            "ApplyTaxAfterDiscount": False, "PrintStatus": "NeedToPrint", "EmailStatus": "NotSet", "Balance": total,
        }  # fmt: skip

    def _current(self, entity: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object that a write is about; 5010 when somebody has changed it since the writer read it."""
        document = self.get(entity, str(body.get("Id", ""))).document()
        if body.get("SyncToken") != document["SyncToken"]:
            detail = (
                "Stale Object Error : You and another user were working on this at the same time. The other user "
                "finished before you did, so your work was not saved."
            )
            raise Refused("5010", "Stale Object Error", detail, "")
        return dict(document)

    def void(self, entity: str, body: dict[str, Any]) -> bytes:
        """Void a transaction: it stays, worth nothing, and has no status that says so. Its new JSON."""
        document = self._current(entity, body)
        table, now = self.entity(entity), self.clock.now()
        invoice = self.world.invoices.get(document["Id"])
        if table.entity == "Invoice" and invoice is not None and not self.from_records:
            self.world.void_invoice(invoice, self.clock.today)
            invoice.modified = now
            self.sync()
            return table.records[invoice.id].body
        document = zeroed(document) | {"SyncToken": str(int(document["SyncToken"]) + 1)}
        document["MetaData"] = {**document["MetaData"], "LastUpdatedTime": stamp(now)}
        table.put(document["Id"], record_of(dumps(document)))
        return dumps(document)

    def delete(self, entity: str, body: dict[str, Any]) -> bytes:
        """Delete a transaction for good; the stub that QuickBooks answers."""
        record_id = self._current(entity, body)["Id"]
        self.remove(entity, record_id)
        return dumps({"domain": "QBO", "status": "Deleted", "Id": record_id})

    def remove(self, entity: str, record_id: str) -> None:
        """Delete a record here and, where it is the world's invoice, there."""
        now, table = self.clock.now(), self.entity(entity)
        invoice = self.world.invoices.get(record_id)
        if table.entity == "Invoice" and invoice is not None and not self.from_records:
            self.world.delete_invoice(invoice, self.clock.today)
            invoice.modified = now
            self.sync()
        else:
            table.drop(record_id, now)

    # -- the ageing report ------------------------------------------------------------------------------------------

    def open_items(self, on: date) -> Iterable[tuple[str, date, Decimal]]:
        """(customer, date that it ages from, amount in home currency) of all that is open at the end of `on`.

        Invoices age from their due date; credits and unapplied payments are negative and age from their own date.
        """
        world = self.world
        for invoice in world.invoices.values():
            if not invoice.deleted and invoice.issued <= on:
                yield invoice.customer_id, world.due_date(invoice), world.open_amount(invoice, on) * invoice.rate
        for note in world.credit_notes.values():
            if not note.deleted and note.issued <= on:
                yield note.customer_id, note.issued, -world.open_amount(note, on) * note.rate
        for payment in world.payments.values():
            if not payment.deleted and payment.date <= on:
                yield payment.customer_id, payment.date, -payment.unapplied * payment.rate

    def open_records(self, on: date) -> Iterable[tuple[str, date, Decimal]]:
        """The same from given records, by their balances as they stand."""
        signs = (("Invoice", "DueDate", "Balance", 1), ("CreditMemo", "TxnDate", "RemainingCredit", -1),
                 ("Payment", "TxnDate", "UnappliedAmt", -1))  # fmt: skip
        for entity, age_from, open_field, sign in signs:
            for record in self.tables[entity].records.values():
                document = record.document()
                if document["TxnDate"] <= on.isoformat():
                    day = date.fromisoformat(document.get(age_from, document["TxnDate"]))
                    rate = Decimal(document.get("ExchangeRate", 1))
                    yield document["CustomerRef"]["value"], day, sign * Decimal(document.get(open_field, 0)) * rate

    def aged_receivables(self, on: date) -> dict[str, Any]:
        """The AgedReceivables report of a date: strings, "" for a zero cell, jobs as sections of their parent."""
        cells: dict[str, list[Decimal]] = {}
        for customer_id, day, value in self.open_records(on) if self.from_records else self.open_items(on):
            if value:
                bucket = min(4, max(0, ((on - day).days + 29) // 30))
                cells.setdefault(customer_id, [ZERO] * 5)[bucket] += value
        cells = {customer_id: row for customer_id, row in cells.items() if any(row)}
        rows = _report_rows(self.tables["Customer"].records, cells)
        totals = [sum((row[n] for row in cells.values()), ZERO) for n in range(5)]
        if rows:
            rows.append({"Summary": _cells("TOTAL", None, totals, "0.00"), "type": "Section", "group": "GrandTotal"})
        options = {"report_date": on.isoformat(), "NoReportData": "false" if cells else "true"}
        columns = [("", "Customer"), *((title, "Money") for title in (*BUCKETS, "Total"))]
        return {
            "Header": {
                "Time": stamp(self.clock.now()), "ReportName": "AgedReceivables", "EndPeriod": on.isoformat(),
                "SummarizeColumnsBy": "Total", "Currency": self.world.base_currency,
                "Option": [{"Name": name, "Value": value} for name, value in options.items()],
            },
            "Columns": {"Column": [{"ColTitle": title, "ColType": kind} for title, kind in columns]},
            "Rows": {"Row": rows} if rows else {},
        }  # fmt: skip


def _cut(page: list[Record], columns: tuple[str, ...]) -> list[bytes]:
    """Only the asked columns, with the domain and the mark that the object is not whole."""
    top = {column.partition(".")[0] for column in columns}
    cut = []
    for record in page:
        document = record.document()
        cut.append(dumps({"domain": "QBO", "sparse": True} | {k: v for k, v in document.items() if k in top}))
    return cut


def _cells(title: str, customer_id: str | None, row: list[Decimal], zero: str = "") -> dict[str, Any]:
    first = {"value": title} | ({"id": customer_id} if customer_id else {})
    texts = [format(value.quantize(Decimal("0.01")), "f") if value else zero for value in (*row, sum(row, ZERO))]
    return {"ColData": [first, *({"value": text} for text in texts)]}


def _report_rows(customers: dict[str, Record], cells: dict[str, list[Decimal]]) -> list[dict[str, Any]]:
    """Rows by name; a parent whose jobs owe is a section: its own amounts in the header, the jobs as rows below."""
    names = {customer_id: str(record.value("DisplayName")) for customer_id, record in customers.items()}
    children: dict[str | None, list[str]] = {}
    for customer_id, record in customers.items():
        parent = (record.value("ParentRef") or {}).get("value") if b'"ParentRef"' in record.body else None
        children.setdefault(parent, []).append(customer_id)

    def below(parent: str | None) -> tuple[list[dict[str, Any]], list[Decimal]]:
        rows, total = [], [ZERO] * 5
        for customer_id in sorted(children.get(parent, ()), key=lambda c: names[c].lower()):
            own = cells.get(customer_id)
            inner, inner_total = below(customer_id) if customer_id in children else ([], [ZERO] * 5)
            if own is None and not inner:
                continue
            whole = [a + b for a, b in zip(own or [ZERO] * 5, inner_total, strict=True)]
            total = [a + b for a, b in zip(total, whole, strict=True)]
            name = names[customer_id]
            if inner:
                rows.append({
                    "Header": _cells(name, customer_id, own or [ZERO] * 5), "Rows": {"Row": inner},
                    "Summary": _cells(f"Total {name}", None, whole), "type": "Section",
                })  # fmt: skip
            else:
                rows.append(_cells(name, customer_id, own or [ZERO] * 5) | {"type": "Data"})
        return rows, total

    return below(None)[0]


# -- HTTP -----------------------------------------------------------------------------------------------------------


def _answer(body: bytes, status: int = 200) -> Response:
    return Response(body, status, {"intuit_tid": "1-sandbox"}, media_type="application/json")


def covers(path: str) -> bool:
    """Which paths count against the realm's limits: the accounting API, not the sign-in."""
    return path.startswith("/v3/")


class Sandbox:
    """The routes under /quickbooks. See `pipelines.sandbox.server.Sandbox` for what the server asks of it."""

    # 500 calls a minute and 10 a second for a realm (Intuit developer blog, 2025-08-13).
    limits = (("minute", 500, 60, covers), ("second", 10, 1, covers))

    def __init__(self, world: World, clock: Clock, records: dict[str, list[bytes]] | None = None):
        self.clock = clock
        self.state = QuickBooksState(world, clock, records)
        self.tokens = Tokens(clock)

    @staticmethod
    def record_id(kind: str, world_id: str) -> str:
        """Ids are the world's own."""
        return world_id

    def routes(self) -> list[Route]:
        """All routes, relative to the vendor's prefix."""
        company = "/v3/company/{realm}"
        return [
            Route("/oauth2/v1/tokens/bearer", self._token, methods=["POST"]),
            Route(f"{company}/query", self._guarded(self._query), methods=["GET", "POST"]),
            Route(f"{company}/cdc", self._guarded(self._cdc), methods=["GET"]),
            Route(f"{company}/reports/AgedReceivables", self._guarded(self._report), methods=["GET"]),
            Route(f"{company}/preferences", self._guarded(self._preferences), methods=["GET"]),
            Route(f"{company}/companyinfo/{{id}}", self._guarded(self._company), methods=["GET"]),
            Route(f"{company}/{{entity}}/{{id}}", self._guarded(self._get), methods=["GET"]),
            Route(f"{company}/{{entity}}", self._guarded(self._post), methods=["POST"]),
            Route("/v3/company/{realm}/{rest:path}", self._guarded(self._unsupported), methods=["GET", "POST"]),
        ]

    def advance(self, day: date) -> None:
        """The world has moved to `day`: render what changed. Given records stay as they are."""
        if not self.state.from_records:
            self.state.sync()

    def tables(self) -> list[str]:
        """Names that a folder of records may use."""
        return list(ENTITIES.values())

    def remove(self, kind: str | None, record_id: str | None) -> None:
        """Delete a record of an entity or raw table in the middle of a run; the first one where none is named."""
        entity = next((e for e, table in ENTITIES.items() if (kind or "Invoice") in (e, table)), "Invoice")
        record_id = record_id or next(iter(self.state.tables[entity].records), None)
        if record_id is not None:
            self.state.remove(entity, record_id)

    def error(self, status: int, kind: str) -> Response:
        """An error in the vendor's own shape. 401 ends every access token, so that asking again does not help."""
        if status == 401:
            self.tokens.access.clear()
            return self._lower_case(401, "AuthenticationFailed", "3200", "Token expired: sandbox", "AUTHENTICATION")
        if status == 429:
            return self._lower_case(429, "ThrottleExceeded", "3001", f"Too many requests ({kind})", "THROTTLE")
        if status == 403:
            return self._lower_case(403, "ApplicationAuthorizationFailed", "3100", "Wrong realm", "AUTHORIZATION")
        if status >= 500:
            detail = "An application error has occurred while processing your request"
            return self._fault(Refused("10000", "An application error", detail), status, "SystemFault")
        return self._fault(Refused("2010", "Request has invalid or unsupported property", kind), status)

    # -- answers ----------------------------------------------------------------------------------------------------

    def _time(self) -> bytes:
        return self.clock.now().astimezone(PACIFIC).isoformat(timespec="milliseconds").encode()

    def _wrapped(self, key: str, body: bytes) -> Response:
        return _answer(b'{"%s":%s,"time":"%s"}' % (key.encode(), body, self._time()))

    def _fault(self, refused: Refused | BadQuery, status: int = 400, kind: str = "ValidationFault") -> Response:
        """Upper-case `Fault`, as recorded; the one for an invalid id has no `time`."""
        error = {"Message": refused.message, "Detail": refused.detail, "code": refused.code}
        element = getattr(refused, "element", None)
        if element is not None:
            error["element"] = element
        body: dict[str, Any] = {"Fault": {"Error": [error], "type": kind}}
        if element != "Id":
            body["time"] = self._time().decode()
        return _answer(dumps(body), status)

    def _lower_case(self, status: int, word: str, code: str, detail: str, kind: str) -> Response:
        """Lower-case `fault`, with everything else null and the time in milliseconds, as recorded for 401."""
        message = f"message={word}; errorCode={code:0>6}; statusCode={status}"
        error = {"message": message, "detail": detail, "code": code, "element": None}
        body = {
            "warnings": None, "intuitObject": None, "fault": {"error": [error], "type": kind}, "report": None,
            "queryResponse": None, "batchItemResponse": [], "attachableResponse": [], "syncErrorResponse": None,
            "requestId": None, "time": int(self.clock.now().timestamp() * 1000), "status": None, "cdcresponse": [],
        }  # fmt: skip
        return _answer(dumps(body), status)

    def _guarded(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the bearer token and the realm, its refusals in the vendor's shape."""

        async def guarded(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not self.tokens.good(token):
                detail = f"Token expired: {token[:14]}"
                return self._lower_case(401, "AuthenticationFailed", "3200", detail, "AUTHENTICATION")
            if request.path_params["realm"] != REALM:
                return self.error(403, "realm")
            try:
                return await handler(request)
            except (Refused, BadQuery) as refused:
                return self._fault(refused)

        return guarded

    # -- routes -----------------------------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        expected = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if request.headers.get("authorization") != expected:
            return _answer(b'{"error":"invalid_client"}', 401)
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
        if form.get("grant_type") != "refresh_token":
            return _answer(b'{"error":"unsupported_grant_type"}', 400)
        pair = self.tokens.renew(form.get("refresh_token", ""))
        if pair is None:
            return _answer(b'{"error":"invalid_grant","error_description":"Incorrect or invalid refresh token"}', 400)
        return _answer(dumps(pair))

    async def _query(self, request: Request) -> Response:
        text = request.query_params.get("query") or (await request.body()).decode()
        return self._wrapped("QueryResponse", self.state.query(text))

    async def _cdc(self, request: Request) -> Response:
        entities = [name.strip() for name in request.query_params.get("entities", "").split(",") if name.strip()]
        since = request.query_params.get("changedSince")
        if not entities or not since:
            detail = "Required parameter entities or changedSince is missing in the request"
            raise Refused("2020", "Required param missing, need to supply the required value for the API", detail)
        return self._wrapped("CDCResponse", self.state.changes(entities, local_time(since.replace(" ", "+"))))

    async def _report(self, request: Request) -> Response:
        text = request.query_params.get("report_date", self.clock.today.isoformat())
        try:
            on = date.fromisoformat(text)
        except ValueError:
            raise Refused("5010", "Invalid Date", f"Invalid value for report_date: {text}", "report_date") from None
        return _answer(dumps(self.state.aged_receivables(on)))

    async def _preferences(self, request: Request) -> Response:
        return self._wrapped("Preferences", self.state.get("Preferences", "1").body)

    async def _company(self, request: Request) -> Response:
        return self._wrapped("CompanyInfo", self.state.get("CompanyInfo", "1").body)

    async def _get(self, request: Request) -> Response:
        table = self._addressed(request)
        return self._wrapped(table.entity, self.state.get(table.entity, request.path_params["id"]).body)

    async def _post(self, request: Request) -> Response:
        table = self._addressed(request)
        operations = {"void": self.state.void, "delete": self.state.delete, "update": self.state.save}
        act = operations.get(request.query_params.get("operation", "update"))
        if act is None:
            raise self._no_such(request)
        try:
            body = loads(await request.body())
        except json.JSONDecodeError as error:
            raise Refused("2010", "Request has invalid or unsupported property", f"Malformed JSON: {error}") from None
        return self._wrapped(table.entity, act(table.entity, body))

    def _addressed(self, request: Request) -> Table:
        """The table that a path names; a path that names none is an unsupported operation."""
        name = request.path_params["entity"]
        for entity in ENTITIES:
            if entity.lower() == name.lower() and entity not in SINGLES:
                return self.state.tables[entity]
        raise self._no_such(request)

    async def _unsupported(self, request: Request) -> Response:
        raise self._no_such(request)

    def _no_such(self, request: Request) -> Refused:
        detail = f"Operation Could not find resource for relative : {request.url.path} is not supported."
        return Refused("500", "Unsupported Operation", detail)
