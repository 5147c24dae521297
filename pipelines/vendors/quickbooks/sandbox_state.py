"""QuickBooks Online for the sandbox: its records and rules, without HTTP.

Sources: Intuit's API reference and developer blog, and recorded exchanges of a live sandbox company. What neither shows
is marked (unverified).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.entities import ZERO
from pipelines.sandbox.world import World
from pipelines.vendors.quickbooks.sandbox_noise import noise
from pipelines.vendors.quickbooks.sandbox_query import (
    PACIFIC,
    invalid,
    parse,
)
from pipelines.vendors.quickbooks.sandbox_render import RECEIVABLES, Renderer, dumps, stamp, zeroed
from pipelines.vendors.quickbooks.sandbox_table import (
    COMMON,
    ENTITIES,
    NOT_SERVED,
    PROPERTIES,
    Record,
    Refused,
    Table,
    not_found,
    record_of,
)

CDC_DAYS, CDC_OBJECTS = 30, 1000  # Intuit developer blog, 2023-08-24
SALES = ("Invoice", "SalesReceipt")  # what the world's invoices are
# The account of receivables that every company has; an id of its own (unverified).
ACCOUNT = {
    "Id": RECEIVABLES["value"], "SyncToken": "0", "Name": RECEIVABLES["name"], "Active": True, "Classification": "Asset",
    "AccountType": "Accounts Receivable", "AccountSubType": "AccountsReceivable", "domain": "QBO",
    "MetaData": {"CreateTime": "2020-01-06T08:00:00-08:00", "LastUpdatedTime": "2020-01-06T08:00:00-08:00"},
}


class QuickBooksState:
    """Every object of the company, without HTTP. With `records` it holds those, else the world's, kept up with it."""

    def __init__(self, world: World, clock: Clock, records: dict[str, list[bytes]] | None):
        self.world, self.clock, self.from_records = world, clock, records is not None
        self.tables = {entity: Table(entity, as_given=self.from_records) for entity in ENTITIES}
        self.render = Renderer(world)
        self._seen: dict[tuple[str, str], tuple[int, datetime]] = {}
        if records is None:
            self.sync()
            plain = [one for one in world.payments.values() if one.currency == world.base_currency and one.amount and not one.with_document]
            for entity, document in noise(plain[:2], plain[0].created) if plain else ():
                self.tables[entity].put(document["Id"], record_of(dumps(document)))
        for entity, name in ENTITIES.items():
            for line in (records or {}).get(name, ()):
                record = record_of(line)
                self.tables[entity].records[record.id or str(len(self.tables[entity].records))] = record
        # A company always has these two, also one of which only some records are known.
        several = bool(self.tables["ExchangeRate"].records)
        for entity, document in (
            ("CompanyInfo", self.render.company_info()),
            ("Preferences", self.render.preferences(several)),
            ("Account", ACCOUNT),
        ):
            if not self.tables[entity].records:
                self.tables[entity].put("1", record_of(dumps(document)))

    # -- the world --------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Render what the world has changed since the last time."""
        self.render.refresh()
        world, render = self.world, self.render
        self._sync("Customer", world.customers.values(), render.customer)
        self._sync("Invoice", (one for one in world.invoices.values() if not one.at_once), render.invoice)
        self._sync("SalesReceipt", (one for one in world.invoices.values() if one.at_once), render.sales_receipt)
        self._sync("CreditMemo", (one for one in world.credit_notes.values() if not one.journal), render.credit_memo)
        self._sync("JournalEntry", (one for one in world.credit_notes.values() if one.journal), render.journal_entry)
        self._sync("Payment", (one for one in world.payments.values() if not one.with_document), render.payment)
        self._sync("Deposit", world.deposits.values(), render.deposit)
        self._sync("RefundReceipt", (one for one in world.refunds.values() if one.way == "receipt"), render.refund_receipt)
        self._sync("Purchase", (one for one in world.refunds.values() if one.way != "receipt"), render.purchase)
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
        if name.lower() in map(str.lower, NOT_SERVED):
            raise Refused("500", "Unsupported Operation", f"{name} is not served by the sandbox")
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
        known = {*COMMON, *PROPERTIES.get(table.entity, body)}
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
        if table.entity in SALES and invoice is not None and not self.from_records:
            self.world.void_invoice(invoice, self.clock.today)
            invoice.modified = now
            self.sync()
            return table.records[invoice.id].body
        document = zeroed(document) | {"SyncToken": str(int(document["SyncToken"]) + 1)}
        document["MetaData"] = {**document["MetaData"], "LastUpdatedTime": stamp(now)}
        table.put(document["Id"], record_of(dumps(document)))
        return dumps(document)

    def delete(self, entity: str, body: dict[str, Any]) -> bytes:
        """Delete a transaction for good, and answer as QuickBooks does: its id and the status Deleted."""
        record_id = self._current(entity, body)["Id"]
        self.remove(entity, record_id)
        return dumps({"domain": "QBO", "status": "Deleted", "Id": record_id})

    def remove(self, entity: str, record_id: str) -> None:
        """Delete a record here and, where it is the world's invoice, there."""
        now, table = self.clock.now(), self.entity(entity)
        invoice = self.world.invoices.get(record_id)
        if table.entity in SALES and invoice is not None and not self.from_records:
            self.world.delete_invoice(invoice, self.clock.today)
            invoice.modified = now
            self.sync()
        else:
            table.drop(record_id, now)


def _cut(page: list[Record], columns: tuple[str, ...]) -> list[bytes]:
    """Only the asked columns, with the domain and the mark that the object is not whole."""
    top = {column.partition(".")[0] for column in columns}
    cut = []
    for record in page:
        document = record.document()
        cut.append(dumps({"domain": "QBO", "sparse": True} | {k: v for k, v in document.items() if k in top}))
    return cut
