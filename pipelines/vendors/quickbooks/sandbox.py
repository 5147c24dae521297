"""QuickBooks Online over HTTP for the sandbox: thin routes over `QuickBooksState`. Ten calls at a time are allowed there; here every
call is answered before the next one starts."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.world import World
from pipelines.vendors.quickbooks.sandbox_ageing import Ageing
from pipelines.vendors.quickbooks.sandbox_query import (
    PACIFIC,
    BadQuery,
    local_time,
)
from pipelines.vendors.quickbooks.sandbox_render import dumps
from pipelines.vendors.quickbooks.sandbox_state import QuickBooksState
from pipelines.vendors.quickbooks.sandbox_table import ENTITIES, SINGLES, Refused, Table, loads

REALM = "4620816365000000001"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
CLIENT_ID, CLIENT_SECRET, FIRST_REFRESH_TOKEN = "sandbox-client", "sandbox-secret", "sandbox-refresh-0"
ACCESS_SECONDS = 3600


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
    has_journals = True

    def __init__(self, world: World, clock: Clock, records: dict[str, list[bytes]] | None = None):
        self.clock = clock
        self.state = QuickBooksState(world, clock, records)
        self.ageing = Ageing(world, clock, self.state.tables, from_records=self.state.from_records)
        self.tokens = Tokens(clock)

    @staticmethod
    def record_id(kind: str, world_id: str) -> str:
        """Ids are the world's own. A sales receipt and a journal entry are named as staging names them, with their kind."""
        return {"receipt": f"sale-{world_id}", "journal": f"journal-{world_id}"}.get(kind, world_id)

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
            Route("/v3/company/{realm}/{rest:path}", self._guarded(self._unsupported), methods=METHODS),
            Route("/.well-known/openid_configuration/", self._discovery, methods=["GET"]),
            Route("/{rest:path}", self._elsewhere, methods=METHODS),
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
        if status == 429 or kind == "ThrottleExceeded":
            return self._lower_case(status, "ThrottleExceeded", "3001", f"Too many requests ({kind})", "THROTTLE")
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

    async def _discovery(self, request: Request) -> Response:
        """Where to sign in, as Intuit's discovery document says it (read by intuit-oauth)."""
        here = str(request.base_url).rstrip("/")
        return _answer(dumps({
            "issuer": here, "authorization_endpoint": f"{here}/connect/oauth2", "token_endpoint": f"{here}/oauth2/v1/tokens/bearer",
            "revocation_endpoint": f"{here}/oauth2/v1/tokens/revoke", "userinfo_endpoint": f"{here}/v1/openid_connect/userinfo",
            "jwks_uri": f"{here}/op/v1/jwks",
        }))

    async def _elsewhere(self, request: Request) -> Response:
        return self._fault(self._no_such(request), 404)

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
        return _answer(dumps(self.ageing.report(on)))

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
        detail = f"Operation {request.method} {request.url.path} is not served by the sandbox, or not supported."
        return Refused("500", "Unsupported Operation", detail)
