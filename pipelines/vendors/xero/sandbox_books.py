"""The books of one organisation: its objects as bytes, and what a list call selects of them. No HTTP here; reports are in
`sandbox_reports`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.entities import Customer
from pipelines.vendors.xero.sandbox_noise import noise
from pipelines.vendors.xero.sandbox_render import Renderer
from pipelines.vendors.xero.sandbox_shapes import Json, accounts, currencies, dumps, mark_gone, organisation
from pipelines.vendors.xero.sandbox_where import Test, parse_order, parse_where

KEPT_VIEWS = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"/Date\((-?\d+)(?:[+-]\d{4})?\)/")
_DOCUMENT = (
    "Type", "Status", "Contact", "Date", "DueDate", "Reference", "LineAmountTypes", "SubTotal", "TotalTax", "Total", "CurrencyCode",
    "CurrencyRate", "UpdatedDateUTC", "HasAttachments", "FullyPaidOnDate", "SentToContact",
)  # fmt: skip


@dataclass(frozen=True)
class Endpoint:
    """One list of the accounting API. `fields` may be used in `where` and `order`; `paged` ones know pages; `summary` is what a
    list without `page`, or with summaryOnly, leaves out."""

    name: str
    id_field: str
    table: str  # the raw table whose records it can serve
    fields: tuple[str, ...]
    paged: bool = True
    summary: tuple[str, ...] = ()


ENDPOINTS = {
    e.name: e
    for e in (
        Endpoint("Contacts", "ContactID", "contacts", (
            "ContactID", "ContactNumber", "AccountNumber", "ContactStatus", "Name", "FirstName", "LastName", "EmailAddress",
            "IsCustomer", "IsSupplier", "DefaultCurrency", "UpdatedDateUTC", "Website", "TaxNumber", "MergedToContactID",
        ), summary=("Balances", "PaymentTerms", "Website", "Discount", "BrandingTheme", "BatchPayments", "HasAttachments")),
        Endpoint("Invoices", "InvoiceID", "invoices",
                 ("InvoiceID", "InvoiceNumber", "AmountDue", "AmountPaid", "AmountCredited", "IsDiscounted", *_DOCUMENT)),
        Endpoint("CreditNotes", "CreditNoteID", "credit_notes", ("CreditNoteID", "CreditNoteNumber", "RemainingCredit", *_DOCUMENT)),
        Endpoint("Payments", "PaymentID", "payments", (
            "PaymentID", "Date", "Amount", "Reference", "PaymentType", "Status", "UpdatedDateUTC", "IsReconciled", "CurrencyRate",
            "Invoice", "CreditNote", "Prepayment", "Overpayment", "Account", "BankAmount",
        )),
        Endpoint("Overpayments", "OverpaymentID", "overpayments", ("OverpaymentID", "RemainingCredit", *_DOCUMENT)),
        Endpoint("Prepayments", "PrepaymentID", "prepayments", ("PrepaymentID", "RemainingCredit", "InvoiceNumber", *_DOCUMENT)),
        Endpoint("Accounts", "AccountID", "accounts", (
            "AccountID", "Code", "Name", "Type", "Class", "Status", "SystemAccount", "TaxType", "UpdatedDateUTC", "BankAccountType",
        ), paged=False),
        Endpoint("Currencies", "Code", "currencies", ("Code", "Description"), paged=False),
        Endpoint("Organisations", "OrganisationID", "organisations", (), paged=False),
    )
}  # fmt: skip


def loads(body: bytes) -> Any:
    """JSON with every number but whole ones as Decimal."""
    return json.loads(body, parse_float=Decimal)


def moment_of(text: str) -> datetime:
    """The moment that Xero's JSON date means. Raises ValueError for other text."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no /Date(milliseconds)/")
    return EPOCH + timedelta(milliseconds=int(found.group(1)))


@dataclass(slots=True)
class Record:
    """One object as it is served: its exact bytes, and beside them what most calls ask of it."""

    id: str
    body: bytes
    updated: datetime
    type: str | None
    status: str | None
    parsed: Json | None = None
    short: bytes | None = None

    def document(self) -> Json:
        """The object, parsed once."""
        if self.parsed is None:
            self.parsed = loads(self.body)
        return self.parsed

    def value(self, name: str) -> Any:
        """A field by its dotted name, for `where` and `order`: dates as their midnight in UTC, ids in lower case."""
        if name == "Type":
            return self.type
        if name == "UpdatedDateUTC":
            return self.updated
        found: Any = self.document()
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(found, int) and not isinstance(found, bool):
            return Decimal(found)
        if isinstance(found, str) and found.startswith("/Date("):
            return moment_of(found)
        return found.lower() if isinstance(found, str) and name.endswith("ID") else found

    def brief(self, leave_out: tuple[str, ...]) -> bytes:
        """The object without its line items, and without the fields named."""
        if self.short is None:
            kept = {key: value for key, value in self.document().items() if key not in leave_out}
            self.short = dumps({**kept, "LineItems": []} if "LineItems" in kept else kept)
            self.parsed = None
        return self.short


def record_of(body: bytes, id_field: str) -> Record:
    """A record from bytes that must not change."""
    document = loads(body)
    updated = moment_of(document["UpdatedDateUTC"]) if "UpdatedDateUTC" in document else EPOCH
    status = document.get("Status", document.get("ContactStatus"))
    return Record(str(document.get(id_field, "")), body, updated, document.get("Type"), status, None)


@dataclass(frozen=True)
class Listing:
    """What a list call asks for, but for the page."""

    where: str = ""
    order: str = ""
    since: datetime | None = None
    archived: bool = False
    allowed: tuple[tuple[str, frozenset[str]], ...] = ()  # (field, values in lower case), from IDs=, Statuses=, ...
    search: str = ""


@dataclass
class Table:
    """The objects of one endpoint, and the views that list calls made of it since it last changed."""

    endpoint: Endpoint
    records: dict[str, Record] = field(default_factory=dict)
    views: dict[Listing, list[Record]] = field(default_factory=dict)

    def put(self, document: Json, moment: datetime | None = None) -> None:
        """Add or replace one; `moment` is its stamp where it has none of its own."""
        updated = moment or (moment_of(document["UpdatedDateUTC"]) if "UpdatedDateUTC" in document else EPOCH)
        status = document.get("Status", document.get("ContactStatus"))
        key = document[self.endpoint.id_field]
        self.records[key] = Record(key, dumps(document), updated, document.get("Type"), status)
        self.views.clear()

    def view(self, listing: Listing) -> list[Record]:
        """Records that fit, in order; by default the longest unchanged first. Kept, because clients page through the same view.

        Raises `BadWhere` for a `where` or `order` that does not parse.
        """
        if listing not in self.views:
            while len(self.views) >= KEPT_VIEWS:
                self.views.pop(next(iter(self.views)))
            self.views[listing] = self._select(listing)
        return self.views[listing]

    def _select(self, listing: Listing) -> list[Record]:
        rows: Iterable[Record] = self.records.values()
        if self.endpoint.name == "Contacts" and not listing.archived:
            rows = (r for r in rows if r.status != "ARCHIVED")
        if listing.since is not None:
            # Later than the stamp, to the second or not: (unverified) whether a record of that very second is one of them.
            rows = (r for r in rows if r.updated > listing.since)
        for name, values in listing.allowed:
            rows = [r for r in rows if str(r.value(name)).lower() in values]
        if listing.search:
            rows = [r for r in rows if listing.search.encode() in r.body.lower()]
        if listing.where:
            test: Test = parse_where(listing.where, self.endpoint.fields)
            rows = [r for r in rows if test(r.value)]
        return self._sorted(list(rows), listing.order)

    def _sorted(self, rows: list[Record], order: str) -> list[Record]:
        rows.sort(key=lambda r: r.id)
        for name, descending in reversed(parse_order(order, self.endpoint.fields) if order else (("UpdatedDateUTC", False),)):
            rows.sort(key=_sort_key(name), reverse=descending)
        return rows


def _sort_key(name: str) -> Callable[[Record], tuple]:
    if name == "UpdatedDateUTC":
        return lambda record: (record.updated,)

    def key(record: Record) -> tuple:
        value = record.value(name)
        return (0, "", "") if value is None else (1, type(value).__name__, value)

    return key


class Books:
    """One organisation: the world's customers that `mine` says yes to, or the given records."""

    def __init__(self, render: Renderer, clock: Clock, tenant_id: str, name: str, mine: Callable[[Customer], bool]):
        self.render, self.clock, self.tenant_id, self.name, self.mine = render, clock, tenant_id, name, mine
        self.tables = {name: Table(endpoint) for name, endpoint in ENDPOINTS.items()}
        self.trial_balances: list[Json] = []
        self.from_records = False
        self._seen: dict[tuple[str, str], tuple] = {}

    # -- content ----------------------------------------------------------------------------------------------------

    def fill(self, records: dict[str, list[bytes]] | None) -> None:
        """Take the world's records, or the given ones; what an organisation always has is there either way."""
        self.from_records = records is not None
        world, moment = self.render.world, EPOCH
        defaults = {"Organisations": [organisation(world, self.tenant_id, self.name)], "Currencies": currencies(world),
                    "Accounts": accounts(moment)}  # fmt: skip
        for name, table in self.tables.items():
            for line in (records or {}).get(table.endpoint.table, ()):
                record = record_of(line, table.endpoint.id_field)
                table.records[record.id or str(len(table.records))] = record
            for document in defaults.get(name, ()) if not table.records else ():
                table.put(document, moment)
        self.trial_balances = [loads(line) for line in (records or {}).get("trial_balance", ())]
        if records is None:
            mine = [i for i in world.invoices.values() if self.is_mine(i) and not (i.voided or i.deleted)]
            base = [i for i in mine if i.currency == world.base_currency]
            for name, document in noise(self.render, base[:2], base[0].created) if base else ():
                self.tables[name].put(document)
            self.sync()

    def is_mine(self, row: Any) -> bool:
        """Whether a record of the world is of this organisation."""
        return self.mine(self.render.contact_of(getattr(row, "customer_id", row.id)))

    def sync(self) -> None:
        """Render what the world has changed since the last time; also contacts of which only the balance moved."""
        world, render = self.render.world, self.render
        for customer in world.customers.values():
            key, now = ("Customer", customer.id), render.contact_state(customer)
            if self._seen.get(key) != now and self.is_mine(customer):
                self._seen[key] = now
                self.tables["Contacts"].put(render.contact(customer), render.contact_stamp(customer))
        for invoices in (world.invoices, world.drafts):
            self._sync(invoices.values(), lambda row: [("Invoices", render.invoice(row))])
        self._sync(world.credit_notes.values(), lambda row: [("CreditNotes", render.credit_note(row))])
        self._sync(world.payments.values(), render.money)
        self._sync(world.deposits.values(), render.deposit)
        self._sync(world.refunds.values(), render.refund)

    def _sync(self, rows: Iterable[Any], shapes: Callable[[Any], list[tuple[str, Json]]]) -> None:
        for row in rows:
            key, now = (type(row).__name__, row.id), (row.version, row.modified)
            if self._seen.get(key) == now or not self.is_mine(row):
                continue
            self._seen[key] = now
            for name, document in shapes(row):
                self.tables[name].put(document, row.modified)

    def remove(self, name: str, key: str) -> None:
        """A person deletes a record: an invoice or a payment of the world there, anything else here."""
        table, now, world = self.tables[name], self.clock.now(), self.render.world
        known = {"Invoices": world.invoices, "Payments": world.payments}.get(name, {})
        number = str(int(key[-12:])) if key[-12:].isdigit() and not self.from_records else ""
        if number not in known:
            if key in table.records:
                table.put(mark_gone(table.records[key].document(), now))
            return
        if name == "Invoices":
            world.delete_invoice(known[number], self.clock.today)
            changed = [known[number]]
        else:
            known[number].deleted = True
            changed = [known[number], *(world.record(part) for part in known[number].applications)]
        for record in changed:
            record.version, record.modified = record.version + 1, now
        self.render.refresh()
        self.sync()
