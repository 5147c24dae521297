"""Xero for the sandbox: sign-in, connections and the accounting API over the books of its organisations (`sandbox_books`).

Sources: the vendor's OpenAPI files (xero_accounting.yaml 16.1, xero-identity.yaml) and recorded examples; error bodies as public issue
threads quote them (XeroAPI/xero-node#634, dcblogdev/laravel-xero#40, XeroAPI/xero-php-oauth2#23). What none of them shows is marked
(unverified). Nothing is ever written here: a nightly reader has no business in the ledger.
"""

from __future__ import annotations

import base64
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.entities import Customer
from pipelines.sandbox.world import World
from pipelines.vendors.xero.sandbox_books import ENDPOINTS, Books, Record, Table
from pipelines.vendors.xero.sandbox_params import MAX_PAGE_SIZE, Refused, date_of, flag_of, invalid, listing_of, number_of
from pipelines.vendors.xero.sandbox_render import Renderer
from pipelines.vendors.xero.sandbox_reports import aged_receivables, trial_balance
from pipelines.vendors.xero.sandbox_shapes import Json, dumps, guid, milliseconds, record_id
from pipelines.vendors.xero.sandbox_where import BadWhere

TENANTS = ("7e000000-0000-4000-8000-000000000001", "7e000000-0000-4000-8000-000000000002")
CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH_TOKEN = "sandbox-client", "sandbox-secret", "sandbox-refresh-0"
ACCESS_SECONDS = 1800
GRACE_SECONDS = 1800  # how long a refresh token that was used still works (unverified)
DEFAULT_PAGE_SIZE = 100
JOURNALS_STATUS = 403  # what a tier without the Journals endpoint is answered (unverified)
INVALID_CLIENT_STATUS = 400  # as identity servers of its make answer (unverified)
API = "/api.xro/2.0"
# What else the accounting API has (paths of xero_accounting.yaml), in lower case.
ELSEWHERE = frozenset({
    "banktransactions", "banktransfers", "batchpayments", "brandingthemes", "budgets", "contactgroups", "employees", "expenseclaims",
    "invoicereminders", "items", "linkedtransactions", "manualjournals", "paymentservices", "purchaseorders", "quotes", "receipts",
    "repeatinginvoices", "reports", "setup", "taxrates", "trackingcategories", "users",
})


def covers(path: str) -> bool:
    """Which paths count against the limits of an organisation: the accounting API, not the sign-in."""
    return path.startswith(API)


@dataclass
class Tokens:
    """Access tokens end after half an hour. A refresh token is used once, but for a short grace, and gives the next one."""

    clock: Clock
    refresh: dict[str, datetime | None] = field(default_factory=lambda: {FIRST_REFRESH_TOKEN: None})
    access: dict[str, datetime] = field(default_factory=dict)
    issued: int = 0

    def grant(self, scope: str, *, refreshing: bool = False) -> Json:
        """A new access token, with a refresh token beside it for who signed in by a person's consent."""
        self.issued += 1
        access = f"sandbox-access-{self.issued}"
        self.access[access] = self.clock.now() + timedelta(seconds=ACCESS_SECONDS)
        shown: Json = {"access_token": access, "expires_in": ACCESS_SECONDS, "token_type": "Bearer", "scope": scope}
        if refreshing:
            shown["refresh_token"] = f"sandbox-refresh-{self.issued}"
            self.refresh[shown["refresh_token"]] = None
        return shown

    def renew(self, token: str) -> Json | None:
        """The next pair for a refresh token that is still good, else None."""
        if token not in self.refresh:
            return None
        used, now = self.refresh[token], self.clock.now()
        if used is not None and now > used + timedelta(seconds=GRACE_SECONDS):
            return None
        self.refresh[token] = used or now
        return self.grant("offline_access", refreshing=True)


class Sandbox:
    """The routes under /xero. See `pipelines.sandbox.server.Sandbox` for what the server asks of it."""

    # For an organisation, and a minute's calls of an app over all of them (XeroAPI/xero-node#634). Here calls to several
    # organisations count together, which is stricter.
    limits = (("minute", 60, 60, covers), ("day", 5000, 86_400, covers), ("appminute", 10_000, 60, covers))
    has_drafts = True
    organisations = 1  # a subclass with 2 spreads the customers over two

    def __init__(self, world: World, clock: Clock, records: dict[str, list[bytes]] | None = None):
        self.clock, self.world = clock, world
        self.tokens = Tokens(clock)
        self.render = Renderer(world)
        self.answers = 0
        self.recent: deque[float] = deque(maxlen=10_000)
        self.books: dict[str, Books] = {}
        for position, tenant in enumerate(TENANTS[: self.organisations]):
            name = world.company_name if position == 0 else f"{world.company_name} ({position + 1})"
            self.books[tenant] = Books(self.render, clock, tenant, name, self._belongs_to(position))
            self.books[tenant].fill(records if position == 0 or records is None else {})

    def _belongs_to(self, position: int) -> Callable[[Customer], bool]:
        return lambda customer: int(customer.id) % self.organisations == position

    @staticmethod
    def record_id(kind: str, world_id: str) -> str:
        """Xero's id of a world record: kind is customer, invoice, credit_note, payment (the first of those that stand for it)
        or refund (the payment that gave the money back). Text that is not digits stays as it is."""
        return record_id(kind, world_id)

    def routes(self) -> list[Route]:
        """All routes, relative to the vendor's prefix."""
        others = ["POST", "PUT", "PATCH", "DELETE"]
        reports = {"TrialBalance": self._trial_balance, "AgedReceivablesByContact": self._aged_receivables}
        return [
            Route("/connect/token", self._token, methods=["POST"]),
            *(Route(path, self._connections, methods=["GET"]) for path in ("/connections", "/Connections")),
            *(Route(f"{API}/Reports/{name}", self._guarded(answer), methods=["GET"]) for name, answer in reports.items()),
            Route(f"{API}/Journals", self._guarded(self._journals), methods=["GET"]),
            *(Route(f"{API}/{name}", self._guarded(self._organisation), methods=["GET"]) for name in ("Organisation", "Organisations")),
            Route(f"{API}/{{endpoint}}", self._guarded(self._list), methods=["GET"]),
            Route(f"{API}/{{endpoint}}/{{id}}", self._guarded(self._get), methods=["GET"]),
            Route(f"{API}/{{rest:path}}", self._guarded(self._missing), methods=["GET"]),
            Route(f"{API}/{{rest:path}}", self._guarded(self._never_written), methods=others),
            Route("/{rest:path}", self._not_served, methods=["GET", *others]),
        ]

    def advance(self, day: date) -> None:
        """The world has moved to `day`: render what changed. Given records stay as they are."""
        self.render.refresh()
        for books in self.books.values():
            if not books.from_records:
                books.sync()

    def tables(self) -> list[str]:
        """Names that a folder of records may use; a line of trial_balance is one report."""
        return [*(endpoint.table for endpoint in ENDPOINTS.values()), "trial_balance"]

    def remove(self, kind: str | None, record_key: str | None) -> None:
        """Delete a record in the middle of a run, by its id here or in the world; nothing disappears, its status changes."""
        name = next((e.name for e in ENDPOINTS.values() if kind in (e.name, e.table, e.name[:-1])), "Invoices")
        kinds = {"Contacts": "customer", "CreditNotes": "credit_note", "Payments": "payment", "Overpayments": "overpayment"}
        for books in self.books.values():
            records = books.tables[name].records
            key = min((k for k, r in records.items() if r.status != "DELETED"), default=None)
            if record_key is not None:
                key = record_id(kinds.get(name, "invoice"), record_key)
            if key in records:
                books.remove(name, key)
                return

    # -- errors -----------------------------------------------------------------------------------------------------

    def error(self, status: int, kind: str) -> Response:
        """An error in the vendor's own shape. 401 ends every access token, so that asking again does not help."""
        if status == 401:
            self.tokens.access.clear()
            return self._problem(401, "Unauthorized", f"TokenExpired: token expired at {self.clock.now():%m/%d/%Y %H:%M:%S}")
        if status == 429:
            return self._too_many(kind)
        if status == 403:
            return self._problem(403, "Forbidden", "AuthenticationUnsuccessful")
        if status >= 500:
            # The words are (unverified); bodies of this kind are problems as well.
            return self._problem(status, "An error occurred", "An error occurred in Xero. Check the API Status page")
        return self._refusal(invalid(kind), status)

    def _too_many(self, kind: str) -> Response:
        """429 with the limit that was hit and the seconds until a call fits again. The empty body is (unverified)."""
        calls, seconds = next(((c, s) for name, c, s, _ in self.limits if name == kind), (0, 0))
        full = 0 < calls <= len(self.recent)
        wait = self.recent[-calls] + seconds - self.clock.seconds() if full else 1
        left = {name: 0 if name == kind else calls for name, calls, *_ in self.limits}
        headers = {"Retry-After": str(max(1, math.ceil(wait))), "X-Rate-Limit-Problem": kind, **limit_headers(left)}
        return Response(b"", 429, headers)

    def _answer(self, body: bytes, status: int = 200) -> Response:
        return Response(body, status, media_type="application/json; charset=utf-8")

    def _problem(self, status: int, title: str, detail: str) -> Response:
        shown = {"Type": None, "Title": title, "Status": status, "Detail": detail, "Instance": self._instance(), "Extensions": {}}
        return self._answer(dumps(shown), status)

    def _refusal(self, refused: Refused, status: int = 400) -> Response:
        shown: Json = {"ErrorNumber": refused.number, "Type": refused.kind, "Message": refused.message}
        return self._answer(dumps(shown | ({"Elements": []} if refused.number == 10 else {})), status)

    def _instance(self) -> str:
        self.answers += 1
        return guid("answer", self.answers)

    def _guarded(self, handler: Callable[[Request, Books], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the bearer token and the organisation, with the calls left in every answer's headers."""

        async def guarded(request: Request) -> Response:
            self.recent.append(self.clock.seconds())
            answer = await self._checked(request, handler)
            answer.headers.update(limit_headers(request.scope.get("left", {})))
            return answer

        return guarded

    async def _checked(self, request: Request, handler: Callable[[Request, Books], Awaitable[Response]]) -> Response:
        if (refusal := self._signed_in(request)) is not None:
            return refusal
        books = self.books.get(request.headers.get("xero-tenant-id", ""))
        if books is None:
            return self.error(403, "tenant")
        if "json" not in request.headers.get("accept", ""):
            # The API speaks XML to whoever does not ask for JSON.
            return Response("<Response><Status>OK</Status></Response>", media_type="text/xml; charset=utf-8")
        try:
            return await handler(request, books)
        except Refused as refused:
            return self._refusal(refused)
        except BadWhere as error:
            return self._refusal(Refused(16, "QueryParseException", str(error)))

    def _signed_in(self, request: Request) -> Response | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        ends = self.tokens.access.get(token)
        if scheme.lower() != "bearer" or ends is None:
            return self._problem(401, "Unauthorized", "AuthenticationUnsuccessful")
        if self.clock.now() >= ends:
            return self._problem(401, "Unauthorized", f"TokenExpired: token expired at {ends:%m/%d/%Y %H:%M:%S}")
        return None

    # -- sign-in ----------------------------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        expected = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode()).items()}
        # The vendor's own client (xero-python) names the app in the form, others in the header.
        named = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if not named and request.headers.get("authorization") != expected:
            return self._answer(b'{"error":"invalid_client"}', INVALID_CLIENT_STATUS)
        kind = form.get("grant_type")
        if kind == "client_credentials":
            return self._answer(dumps(self.tokens.grant(form.get("scope", ""))))
        if kind != "refresh_token":
            return self._answer(b'{"error":"unsupported_grant_type"}', 400)
        pair = self.tokens.renew(form.get("refresh_token", ""))
        return self._answer(b'{"error":"invalid_grant"}', 400) if pair is None else self._answer(dumps(pair))

    async def _connections(self, request: Request) -> Response:
        if (refusal := self._signed_in(request)) is not None:
            return refusal
        shown = [
            {"id": guid("answer", 10**9 + position), "authEventId": guid("answer", 10**10), "tenantId": books.tenant_id,
             "tenantType": "ORGANISATION", "tenantName": books.name, "createdDateUtc": "2026-01-05T09:00:00.5165400",
             "updatedDateUtc": "2026-01-05T09:00:00.5187840"}
            for position, books in enumerate(self.books.values(), 1)
        ]  # fmt: skip
        return self._answer(dumps(shown))

    # -- the accounting API -----------------------------------------------------------------------------------------

    def _envelope(self, key: str, content: bytes, pagination: bytes = b"") -> Response:
        head = b'{"Id":"%s","Status":"OK","ProviderName":"Crossfoot Sandbox","DateTimeUTC":"/Date(%d)/",' % (
            self._instance().encode(), milliseconds(self.clock.now()),
        )  # fmt: skip
        return self._answer(head + pagination + b'"%s":[%s]}' % (key.encode(), content))

    def _addressed(self, request: Request, books: Books) -> Table | None:
        name = request.path_params["endpoint"].lower()
        return next((t for n, t in books.tables.items() if n.lower() == name and n != "Organisations"), None)

    async def _list(self, request: Request, books: Books) -> Response:
        table = self._addressed(request, books)
        if table is None:
            return await self._missing(request, books)
        params, endpoint = request.query_params, table.endpoint
        rows = table.view(listing_of(request, table))
        short = flag_of(params, "summaryOnly") and endpoint.name in ("Contacts", "Invoices")
        page, size = number_of(params, "page"), number_of(params, "pageSize", MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE
        if not endpoint.paged or page is None:
            # Without `page` the whole list comes at once, and as headers only.
            return self._envelope(endpoint.name, b",".join(_bodies(rows, endpoint.summary, endpoint.paged)))
        shown = rows[(page - 1) * size : page * size]
        pagination = b'"pagination":{"page":%d,"pageSize":%d,"pageCount":%d,"itemCount":%d},' % (
            page, size, -(-len(rows) // size), len(rows),
        )  # fmt: skip
        return self._envelope(endpoint.name, b",".join(_bodies(shown, endpoint.summary, short)), pagination)

    async def _get(self, request: Request, books: Books) -> Response:
        """One record by its id; a contact also by its number, an invoice or credit note by its own."""
        table = self._addressed(request, books)
        key = request.path_params["id"]
        if table is None:
            return await self._missing(request, books)
        record = table.records.get(key.lower())
        number = {"Contacts": "ContactNumber", "Invoices": "InvoiceNumber", "CreditNotes": "CreditNoteNumber"}.get(table.endpoint.name)
        if record is None and number:
            record = next((r for r in table.records.values() if r.value(number) == key), None)
        return await self._missing(request, books) if record is None else self._envelope(table.endpoint.name, record.body)

    async def _organisation(self, request: Request, books: Books) -> Response:
        return self._envelope("Organisations", b",".join(r.body for r in books.tables["Organisations"].records.values()))

    async def _trial_balance(self, request: Request, books: Books) -> Response:
        on = date_of(request.query_params, "date", self.clock.today)
        return self._envelope("Reports", dumps(trial_balance(books, on)))

    async def _aged_receivables(self, request: Request, books: Books) -> Response:
        params = request.query_params
        if not params.get("contactId"):
            raise invalid("contactId: this report is about one contact")
        on = date_of(params, "date", self.clock.today)
        return self._envelope("Reports", dumps(aged_receivables(books, params["contactId"].lower(), on)))

    async def _journals(self, request: Request, books: Books) -> Response:
        return self._problem(JOURNALS_STATUS, "Forbidden", "AuthorizationUnsuccessful")

    async def _never_written(self, request: Request, books: Books) -> Response:
        return self._problem(403, "Forbidden", "AuthorizationUnsuccessful")

    async def _not_served(self, request: Request) -> Response:
        """What is none of the routes: a call that Xero may know, such as DELETE /connections/{id}, in its own shape of an error."""
        what = f"{request.method} {request.url.path}"
        return self._problem(404, "Not Found", f"{what} is not served by the sandbox")

    async def _missing(self, request: Request, books: Books) -> Response:
        """404: of an endpoint that Xero has and the sandbox has not, with words that say so; of anything else as Xero does."""
        if request.url.path.split(f"{API}/")[-1].split("/")[0].lower() in ELSEWHERE:
            return await self._not_served(request)
        return Response("The resource you're looking for cannot be found", 404, media_type="text/html; charset=utf-8")


def _bodies(rows: list[Record], leave_out: tuple[str, ...], short: bool) -> list[bytes]:
    return [row.brief(leave_out) for row in rows] if short else [row.body for row in rows]


def limit_headers(left: Mapping[str, Any]) -> dict[str, str]:
    """The calls left, as every answer says them; those of a sandbox without limits are all there."""
    names = {"X-MinLimit-Remaining": "minute", "X-DayLimit-Remaining": "day", "X-AppMinLimit-Remaining": "appminute"}
    full = {name: calls for name, calls, *_ in Sandbox.limits}
    return {header: str(left.get(name, full[name])) for header, name in names.items()}
