"""A small Xero over HTTP for tests: organisations whose records a test puts there, and changes in the middle of a reading."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

TENANT = "11111111-0000-4000-8000-000000000001"
OTHER = "11111111-0000-4000-8000-000000000002"
RECEIVABLE_ACCOUNT = "22222222-0000-4000-8000-000000000001"
START = datetime(2026, 3, 1, 8, tzinfo=UTC)
IDS = {"Contacts": "ContactID", "Invoices": "InvoiceID", "CreditNotes": "CreditNoteID", "Payments": "PaymentID",
       "Overpayments": "OverpaymentID", "Prepayments": "PrepaymentID"}  # fmt: skip


def stamp(moment: datetime) -> str:
    """A moment as the vendor's JSON writes it."""
    return f"/Date({(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)}+0000)/"


def at(second: int, millisecond: int = 0) -> str:
    return stamp(START + timedelta(seconds=second, milliseconds=millisecond))


def _moment(record: dict[str, Any]) -> datetime:
    milliseconds = int(record["UpdatedDateUTC"].removeprefix("/Date(").partition("+")[0])
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def contact(number: int, **more: Any) -> dict[str, Any]:
    return {"ContactID": f"c-{number:04}", "Name": f"Contact {number}", "ContactStatus": "ACTIVE", "UpdatedDateUTC": at(number), **more}


def invoice(number: int, **more: Any) -> dict[str, Any]:
    return {
        "Type": "ACCREC", "InvoiceID": f"i-{number:04}", "InvoiceNumber": f"INV-{number:04}", "Status": "AUTHORISED",
        "Contact": {"ContactID": "c-0001", "Name": "Contact 1"}, "DateString": "2026-03-01T00:00:00", "Date": "/Date(1772323200000+0000)/",
        "DueDateString": "2026-03-31T00:00:00", "LineAmountTypes": "Exclusive", "SubTotal": 100, "TotalTax": 20, "Total": 120,
        "AmountDue": 120, "AmountPaid": 0, "AmountCredited": 0, "CurrencyCode": "NZD", "CurrencyRate": 1.0,
        "LineItems": [{"LineItemID": f"l-{number}", "Quantity": 1, "UnitAmount": 100, "LineAmount": 100, "TaxAmount": 20}],
        "UpdatedDateUTC": at(number), **more,
    }  # fmt: skip


def payment(number: int, **more: Any) -> dict[str, Any]:
    subject = {"Type": "ACCREC", "InvoiceID": "i-0001", "CurrencyCode": "NZD", "Contact": {"ContactID": "c-0001"}}
    return {"PaymentID": f"p-{number:04}", "PaymentType": "ACCRECPAYMENT", "Status": "AUTHORISED", "Date": "/Date(1772323200000+0000)/",
            "Amount": 120, "CurrencyRate": 1.0, "Invoice": subject, "UpdatedDateUTC": at(number), **more}  # fmt: skip


@dataclass
class Ledger:
    """One organisation's records, by list."""

    name: str
    lists: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {path: [] for path in IDS})
    receivable: str = "120.00"


@dataclass
class Call:
    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    form: dict[str, str]
    status: int = 0


@dataclass
class Books:
    """Everything behind the server. `watch` is told of each call before it is answered; an answer that it gives counts."""

    ledgers: dict[str, Ledger] = field(default_factory=lambda: {TENANT: Ledger("Kea Ltd")})
    now: datetime = START + timedelta(days=1)
    watch: Callable[[Call], tuple[int, dict[str, str], Any] | None] = lambda call: None
    calls: list[Call] = field(default_factory=list)
    url: str = ""
    tokens: int = 0

    @property
    def lists(self) -> dict[str, list[dict[str, Any]]]:
        return self.ledgers[TENANT].lists

    def put(self, path: str, *records: dict[str, Any], tenant: str = TENANT) -> None:
        """Adds records, or replaces those with the same id."""
        known = {record[IDS[path]]: record for record in self.ledgers[tenant].lists[path]}
        known.update({record[IDS[path]]: record for record in records})
        self.ledgers[tenant].lists[path] = list(known.values())

    def touch(self, path: str, record_id: str, **changes: Any) -> None:
        """Somebody changes a record now."""
        self.now += timedelta(seconds=1)
        found = next(one for one in self.lists[path] if one[IDS[path]] == record_id)
        self.put(path, {**found, "UpdatedDateUTC": stamp(self.now), **changes})

    def asked(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path.endswith(path)]

    def answer(self, call: Call) -> tuple[int, dict[str, str], Any]:
        if call.path == "/_sandbox/health":
            return 200, {}, {"rate_limits": False}
        self.calls.append(call)
        given = self.watch(call)
        if given is not None:
            return given
        if call.path == "/xero/connect/token":
            self.tokens += 1
            return 200, {}, {"access_token": f"access-token-{self.tokens}", "refresh_token": f"refresh-token-{self.tokens}"}
        if call.path == "/xero/connections":
            return 200, {}, [{"tenantId": key, "tenantType": "ORGANISATION", "tenantName": one.name} for key, one in self.ledgers.items()]
        tenant = call.headers.get("xero-tenant-id") or TENANT
        return 200, {}, {"DateTimeUTC": stamp(self.now), **self._accounting(call, tenant, call.path.removeprefix("/xero/api.xro/2.0/"))}

    def _accounting(self, call: Call, tenant: str, path: str) -> dict[str, Any]:
        ledger = self.ledgers[tenant]
        if path == "Organisation":
            own = {"OrganisationID": tenant, "Name": ledger.name, "BaseCurrency": "NZD", "CountryCode": "NZ", "ShortCode": "!kea"}
            return {"Organisations": [own]}
        if path == "Currencies":
            return {"Currencies": [{"Code": "NZD", "Description": "New Zealand Dollar"}]}
        if path == "Accounts":
            return {"Accounts": [{"AccountID": RECEIVABLE_ACCOUNT, "Name": "Accounts Receivable", "SystemAccount": "DEBTORS"}]}
        if path == "Reports/TrialBalance":
            return {"Reports": [_report(ledger.receivable)]}
        return page_of(call, path, ledger.lists[path])


def _report(balance: str) -> dict[str, Any]:
    titles = ("Account", "Debit", "Credit", "YTD Debit", "YTD Credit")
    mark = [{"Value": RECEIVABLE_ACCOUNT, "Id": "account"}]
    cells = [{"Value": value, "Attributes": mark} for value in ("Accounts Receivable (610)", "1.00", "", balance, "")]
    lines = [{"RowType": "Header", "Cells": [{"Value": title} for title in titles]}]
    return {"Rows": [*lines, {"RowType": "Section", "Title": "Assets", "Rows": [{"RowType": "Row", "Cells": cells}]}]}


def page_of(call: Call, path: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    """One page, as the vendor gives it: without `page` no lines, archived contacts only when asked for."""
    since = call.headers.get("if-modified-since")
    found = [one for one in records if not since or _moment(one) > datetime.fromisoformat(since)]
    for condition in filter(None, call.params.get("where", "").split(" AND ")):
        name, _, value = condition.replace("==", " ").replace(">", " > ").partition(" ")
        found = [one for one in found if (one[name] > int(value.strip("> ")) if ">" in value else one[name] == value.strip('"'))]
    if path == "Contacts" and call.params.get("includeArchived") != "true":
        found = [one for one in found if one["ContactStatus"] == "ACTIVE"]
    assert call.params.get("order", "UpdatedDateUTC ASC") == "UpdatedDateUTC ASC"
    found.sort(key=_moment)
    number, size = int(call.params.get("page", 1)), int(call.params.get("pageSize", 100))
    shown = found[(number - 1) * size : number * size]
    if "page" not in call.params:
        shown = [{**one, "LineItems": []} for one in shown]
    paging = {"page": number, "pageSize": size, "pageCount": -(-len(found) // size), "itemCount": len(found)}
    return {"pagination": paging, path: shown}


@contextmanager
def served(books: Books) -> Iterator[Books]:
    """The books on a port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(self.command, parts.path, dict(parse_qsl(parts.query)), headers, {k: v[0] for k, v in parse_qs(body).items()})
            call.status, more, content = books.answer(call)
            text = json.dumps(content).encode()
            self.send_response(call.status)
            for name, value in {**more, "Content-Length": str(len(text)), "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = _serve

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    books.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield books
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
