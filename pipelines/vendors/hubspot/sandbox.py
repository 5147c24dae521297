"""HubSpot's CRM API for the sandbox: routes, sign-in, rate-limit headers and error bodies.

The rules behind the routes are in `sandbox_state.py`. Headers and the body of a refused search are as they were
recorded from a live portal; the other error bodies follow the usage guidelines
(https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines).
"""

import uuid
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.world import World
from pipelines.vendors.hubspot import CARD, VERSION
from pipelines.vendors.hubspot.sandbox_render import TABLES
from pipelines.vendors.hubspot.sandbox_state import Answer, HubSpotState, Query
from pipelines.vendors.hubspot.sandbox_values import Refused, kind_of

TOKEN = "sandbox-hubspot-token"
DAILY_CALLS = 650_000
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
TEN_SECONDLY = next(limit for limit in CARD.limits if limit.name == "ten_secondly_rolling")

Work = Callable[[dict[str, str], Query], Answer]
_MESSAGES = {401: "The access token expired.", 403: "This app lacks a required scope.", 500: "internal error"}
_CATEGORIES = {401: "EXPIRED_AUTHENTICATION", 403: "MISSING_SCOPES", 404: "OBJECT_NOT_FOUND"}


class Sandbox:
    """HubSpot's API as routes. The hosts' name is left out: they stand below /hubspot."""

    limits = tuple((limit.name, limit.calls, limit.seconds, limit.covers) for limit in CARD.limits)

    def __init__(self, world: World, clock: Clock, records: Mapping[str, list[bytes]] | None = None):
        self.state = HubSpotState(world, clock, records)
        self._calls = 0

    @staticmethod
    def record_id(kind: str, world_id: str) -> str:
        """Ids are the world's own."""
        return world_id

    def advance(self, day: date) -> None:
        """Renders what the world changed up to that day."""
        self.state.advance()

    def tables(self) -> tuple[str, ...]:
        """The raw tables whose records can come from files."""
        return TABLES

    def remove(self, kind: str | None, record_id: str | None) -> None:
        """Archives the named record, or the first of its kind (companies when no kind is given)."""
        self.state.archive_some(kind_of(kind or "companies"), record_id)

    def error(self, status: int, kind: str) -> Response:
        """An error in HubSpot's words. 429: `kind` is the name of the limit; search's body is as it was recorded."""
        body = {"status": "error", "message": _MESSAGES.get(status, f"answered with {kind}")}
        if status == 429:
            name = kind if kind in ("secondly", "daily") else TEN_SECONDLY.name
            body["message"] = f"You have reached your {name} limit."
            more = {} if kind == "secondly" else {"errorType": "RATE_LIMIT", "policyName": name.upper()}
            body.update(more, category="RATE_LIMITS")
        elif status in _CATEGORIES:
            body["category"] = _CATEGORIES[status]
        left = {} if kind == "secondly" else {TEN_SECONDLY.name: 0}
        return self._response(status, {**body, "correlationId": self._correlation()}, left, search=kind == "secondly")

    def routes(self) -> list[Route]:
        """Every path twice: with the date of its version, and as v3 or v4 had it."""
        state, kind = self.state, _kinds
        objects = (f"/crm/objects/{VERSION}/{{kind}}", "/crm/v3/objects/{kind}")
        record = tuple(f"{path}/{{id}}" for path in objects)
        linked = (f"/crm/objects/{VERSION}/{{kind}}/{{id}}/associations", "/crm/v4/objects/{kind}/{id}/associations")
        many = (f"/crm/associations/{VERSION}/{{kind}}/{{other}}", "/crm/v4/associations/{kind}/{other}")
        owners = (f"/crm/owners/{VERSION}", "/crm/v3/owners")
        pipelines = (f"/crm/pipelines/{VERSION}/{{kind}}", "/crm/v3/pipelines/{kind}")
        properties = (f"/crm/properties/{VERSION}/{{kind}}", "/crm/v3/properties/{kind}")
        money = (f"/settings/currencies/{VERSION}", "/settings/v3/currencies")
        table: list[tuple[tuple[str, ...], str, str, Work]] = [
            (objects, "/search", "POST", lambda p, q: state.search(kind(p), q.body)),
            (objects, "", "GET", lambda p, q: state.page(kind(p), q)),
            (objects, "/batch/{verb}", "POST", lambda p, q: state.batch(kind(p), p["verb"], q)),
            (objects, "/merge", "POST", lambda p, q: state.merge(kind(p), q.body)),
            (objects, "", "POST", lambda p, q: state.create(kind(p), q.body)),
            (record, "", "GET", lambda p, q: state.read(kind(p), p["id"], q)),
            (record, "", "PATCH", lambda p, q: state.update(kind(p), p["id"], q.body)),
            (record, "", "DELETE", lambda p, q: state.archive(kind(p), p["id"])),
            (many, "/batch/read", "POST", lambda p, q: state.associations_of_many(kind(p), kind_of(p["other"]), q)),
            (linked, "/{other}", "GET", lambda p, q: state.associations(kind(p), p["id"], kind_of(p["other"]), q)),
            (linked, "/default/{other}/{to}", "PUT", lambda p, q: state.associate(*_pair(p))),
            (linked, "/{other}/{to}", "DELETE", lambda p, q: state.dissociate(*_pair(p))),
            (owners, "", "GET", lambda p, q: state.owner_list(q)),
            (owners, "/", "GET", lambda p, q: state.owner_list(q)),  # as the official client writes it
            (owners, "/{id}", "GET", lambda p, q: state.owner(p["id"])),
            (pipelines, "", "GET", lambda p, q: state.pipeline_list(kind(p))),
            (pipelines, "/{id}", "GET", lambda p, q: state.pipeline(kind(p), p["id"])),
            (pipelines, "/{id}/stages", "GET", lambda p, q: state.stage_list(kind(p), p["id"])),
            (properties, "/groups", "GET", lambda p, q: state.group_list(kind(p))),
            (properties, "/groups", "POST", lambda p, q: state.create_group(kind(p), q.body)),
            (properties, "/batch/create", "POST", lambda p, q: state.create_properties(kind(p), q)),
            (properties, "", "GET", lambda p, q: state.property_list(kind(p))),
            (properties, "", "POST", lambda p, q: state.create_property(kind(p), q.body)),
            (properties, "/{name}", "GET", lambda p, q: state.property_named(kind(p), p["name"])),
            (properties, "/{name}", "PATCH", lambda p, q: state.update_property(kind(p), p["name"], q.body)),
            (money, "/exchange-rates/current", "GET", lambda p, q: (200, {"results": state.portal.rates})),
            (money, "/company-currency", "GET", lambda p, q: (200, state.portal.home)),
        ]
        served = [
            Route(prefix + path, self._endpoint(work, path == "/search"), methods=[method])
            for prefixes, path, method, work in table for prefix in prefixes
        ]  # fmt: skip
        return [*served, Route("/{path:path}", self._endpoint(_not_served, False), methods=METHODS)]

    def _endpoint(self, work: Work, search: bool) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            try:
                self._authorize(request)
                raw = await request.body()
                query = Query(request.query_params, _parse(raw), request.scope.get("fault"), request.url)
                status, body = work(request.path_params, query)
            except Refused as refused:
                status, body = refused.status, {**refused.body, "correlationId": self._correlation()}
            return self._response(status, body, request.scope.get("left", {}), search)

        return answer

    def _authorize(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            message = "Authentication credentials not found. This API supports OAuth 2.0 authentication."
            raise Refused(401, message, "INVALID_AUTHENTICATION")

    def _correlation(self) -> str:
        return str(uuid.UUID(int=self._calls))

    def _response(self, status: int, body: Any, left: Mapping[str, int], search: bool) -> Response:
        """Search's answers carry only the daily limit's headers, all others the ten seconds' as well (recorded)."""
        self._calls += 1
        headers = {
            "X-HubSpot-RateLimit-Daily": str(DAILY_CALLS),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, DAILY_CALLS - self._calls)),
        }
        if not search:
            most, secondly = TEN_SECONDLY.calls, TEN_SECONDLY.calls // TEN_SECONDLY.seconds
            remaining = left.get(TEN_SECONDLY.name, most - 1)
            headers["X-HubSpot-RateLimit-Interval-Milliseconds"] = str(TEN_SECONDLY.seconds * 1000)
            headers["X-HubSpot-RateLimit-Max"] = str(most)
            headers["X-HubSpot-RateLimit-Remaining"] = str(remaining)
            headers["X-HubSpot-RateLimit-Secondly"] = str(secondly)
            headers["X-HubSpot-RateLimit-Secondly-Remaining"] = str(min(secondly - 1, remaining))
        if status == 204:
            return Response(None, 204, headers)
        headers["Content-Type"] = "application/json;charset=utf-8"
        return Response(orjson.dumps(body), status, headers)


def _not_served(path: Mapping[str, str], query: Query) -> Answer:
    raise Refused(404, f"/{path['path']} with this method is not served by the sandbox", "OBJECT_NOT_FOUND")


def _kinds(path: Mapping[str, str]) -> str:
    return kind_of(path["kind"])


def _pair(path: Mapping[str, str]) -> tuple[str, str, str, str]:
    return kind_of(path["kind"]), path["id"], kind_of(path["other"]), path["to"]


def _parse(raw: bytes) -> Mapping[str, Any]:
    if not raw:
        return {}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"Invalid input JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refused(400, "Invalid input JSON: an object is expected")
    return body
