"""Salesforce for the sandbox: thin routes over the org (`sandbox_state.Org`), sign-in, usage of calls, error bodies.

Sources: REST API, Bulk API 2.0 and Tooling API Developer Guides, and recorded exchanges of a live developer org.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import date
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.faults import Fault
from pipelines.sandbox.world import World
from pipelines.vendors.salesforce import VERSION
from pipelines.vendors.salesforce import sandbox_people as people
from pipelines.vendors.salesforce.sandbox_auth import Sessions
from pipelines.vendors.salesforce.sandbox_bulk import Jobs
from pipelines.vendors.salesforce.sandbox_query import Path
from pipelines.vendors.salesforce.sandbox_records import Record
from pipelines.vendors.salesforce.sandbox_render import ORGANIZATION, RUNNING_USER, USERNAME, attributes
from pipelines.vendors.salesforce.sandbox_requests import (
    Cursor,
    answer,
    check_retrieved,
    check_size,
    check_version,
    json_object,
    moment,
    names_in,
    other_error,
    own_address,
    refusal,
    refused_result,
    rejected_places,
    versions,
)
from pipelines.vendors.salesforce.sandbox_schema import TABLES, Object, describe_object, full_id, record_id
from pipelines.vendors.salesforce.sandbox_setup import create_field, delete_field, update_field
from pipelines.vendors.salesforce.sandbox_soql import BadQuery, explain
from pipelines.vendors.salesforce.sandbox_state import Org, roll_back
from pipelines.vendors.salesforce.sandbox_values import Refused

SMALLEST_PAGE = 200  # of Sforce-Query-Options: batchSize
CURSORS = 10  # open query cursors of a user; the oldest is dropped
ROLLED_BACK = "Record rolled back because not all records were valid and the request was using AllOrNone header"

Handler = Callable[[Request], Awaitable[Response]]


class Sandbox:
    """The routes under /salesforce. See `pipelines.sandbox.server.Sandbox` for what the server asks of it.

    Tests may lower `page_size` and `calls_a_day`, set `several_currencies` to False and `person_accounts` to True, and give the
    half of a key pair or the user name that assertions are checked against.
    """

    limits: Sequence[tuple[str, int, int, Callable[[str], bool]]] = ()
    page_size = 2000
    calls_a_day = 100_000
    several_currencies, person_accounts = True, False
    looks_until_done = 1  # looks at a query job that find it in progress
    public_key: str | None = None
    username: str | None = None

    record_id = staticmethod(record_id)

    def __init__(self, world: World, clock: Clock, records: dict[str, list[bytes]] | None = None):
        self.clock = clock
        self.org = Org(world, clock, records, self.several_currencies, self.person_accounts)
        self.sessions = Sessions(clock, self.public_key, self.username)
        self.jobs = Jobs(self.org)
        self.cursors: dict[str, Cursor] = {}
        self.usage: dict[date, int] = {}
        self._opened = 0

    def advance(self, day: date) -> None:
        """The world has moved to `day`: render what changed. Given records stay as they are."""
        if not self.org.from_files:
            self.org.sync()

    def tables(self) -> list[str]:
        """Names that a folder of records may use."""
        return list(TABLES.values())

    def remove(self, kind: str | None, record_id: str | None) -> None:
        """Deletes a record in the middle of a run; without a kind an account, without an id the first one."""
        people.remove(self.org, kind, record_id)

    def merge(self, name: str, loser: str, survivor: str) -> None:
        """Merges one record into another, as a person would; both by id."""
        people.merge(self.org, name, loser, survivor)

    def error(self, status: int, kind: str) -> Response:
        """An error in the vendor's own shape. 401 ends every session, so that asking again does not help; too many calls
        are a 403 here."""
        if status == 401:
            self.sessions.end()
            return self._signed(refusal(Refused("INVALID_SESSION_ID", "Session expired or invalid", None, 401)))
        if status == 429:
            return self._signed(refusal(Refused("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", None, 403)))
        return self._signed(refusal(other_error(status, kind)))

    def _signed(self, response: Response) -> Response:
        used = min(self.usage.get(self.clock.today, 0), self.calls_a_day)
        response.headers["Sforce-Limit-Info"] = f"api-usage={used}/{self.calls_a_day}"
        return response

    # -- routes -----------------------------------------------------------------------------------------------------

    def routes(self) -> list[Route]:
        """All routes, relative to the vendor's prefix."""
        data, sobject = "/services/data/{version}", "/services/data/{version}/sobjects/{name}"
        collections, jobs = f"{data}/composite/sobjects", f"{data}/jobs/query"
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", f"{data}/limits", self._limits),
            ("GET", f"{data}/sobjects", self._describe_all),
            ("GET", f"{sobject}/describe", self._describe),
            ("GET", f"{sobject}/deleted", self._deleted),
            ("GET", f"{data}/query", self._query), ("GET", f"{data}/queryAll", self._query),
            ("GET", f"{data}/query/{{locator}}", self._more), ("GET", f"{data}/queryAll/{{locator}}", self._more),
            ("POST", sobject, self._create), ("GET", f"{sobject}/{{id}}", self._read),
            ("PATCH", f"{sobject}/{{id}}", self._update), ("DELETE", f"{sobject}/{{id}}", self._delete),
            ("POST", collections, self._collection), ("PATCH", collections, self._collection),
            ("DELETE", collections, self._delete_collection),
            ("GET", f"{collections}/{{name}}", self._retrieve), ("POST", f"{collections}/{{name}}", self._retrieve),
            ("POST", jobs, self._create_job), ("GET", f"{jobs}/{{id}}", self._job), ("PATCH", f"{jobs}/{{id}}", self._abort_job),
            ("DELETE", f"{jobs}/{{id}}", self._delete_job), ("GET", f"{jobs}/{{id}}/results", self._results),
            ("GET", f"{data}/tooling/query", self._query),
            ("POST", f"{data}/tooling/sobjects/CustomField", self._create_field),
            ("GET", f"{data}/tooling/sobjects/CustomField/{{id}}", self._read_field),
            ("PATCH", f"{data}/tooling/sobjects/CustomField/{{id}}", self._update_field),
            ("DELETE", f"{data}/tooling/sobjects/CustomField/{{id}}", self._delete_field),
        ]  # fmt: skip
        open_to_all = [
            Route("/services/data", self._versions, methods=["GET"]), Route("/services/data/", self._versions, methods=["GET"]),
            Route("/services/oauth2/token", self._token, methods=["POST"]),
        ]  # fmt: skip
        user = [Route("/services/oauth2/userinfo", self._guarded(self._user), methods=["GET"])]
        guarded = [Route(path + end, self._guarded(work), methods=[method]) for method, path, work in table for end in ("", "/")]
        every = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        rest = Route("/services/data/{version}/{rest:path}", self._guarded(self._nothing), methods=every)
        return [*open_to_all, *user, *guarded, rest]

    def _guarded(self, handler: Handler) -> Handler:
        """The handler behind the session and the day's calls, its refusals in the vendor's shape."""

        async def guarded(request: Request) -> Response:
            if not self.sessions.good(request.headers.get("authorization", "")):
                return self._signed(refusal(Refused("INVALID_SESSION_ID", "Session expired or invalid", None, 401)))
            today = self.clock.today
            if self.usage.get(today, 0) >= self.calls_a_day:
                return self.error(429, "daily")
            self.usage[today] = self.usage.get(today, 0) + 1
            try:
                check_version(request.path_params.get("version", VERSION))
                return self._signed(await handler(request))
            except BadQuery as bad:
                message = explain(request.query_params.get("q", ""), bad)
                return self._signed(refusal(Refused(bad.code, message)))
            except Refused as refused:
                return self._signed(refusal(refused))

        return guarded

    async def _versions(self, request: Request) -> Response:
        return answer([{"label": f"Version {n}", "url": f"/services/data/v{n}.0", "version": f"{n}.0"} for n in versions()])

    async def _token(self, request: Request) -> Response:
        form = {key: values[0] for key, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()}
        status, body = self.sessions.token(form, request.headers.get("authorization", ""), own_address(request))
        return answer(body, status)

    async def _user(self, request: Request) -> Response:
        return answer({"user_id": RUNNING_USER, "organization_id": ORGANIZATION, "preferred_username": USERNAME, "email": USERNAME,
                        "name": "Integration User", "zoneinfo": "Europe/London"})  # fmt: skip

    async def _nothing(self, request: Request) -> Response:
        raise Refused("NOT_FOUND", f"{request.method} {request.url.path} is not served by the sandbox, or not there", None, 404)

    async def _limits(self, request: Request) -> Response:
        used = self.usage.get(self.clock.today, 0)
        return answer({
            "DailyApiRequests": {"Max": self.calls_a_day, "Remaining": self.calls_a_day - used},
            "DailyBulkV2QueryJobs": {"Max": 10_000, "Remaining": 10_000 - self.jobs.count},
            "DailyBulkV2QueryFileStorageMB": {"Max": 976_562, "Remaining": 976_562},
        })  # fmt: skip

    # -- describe and queries ---------------------------------------------------------------------------------------

    async def _describe_all(self, request: Request) -> Response:
        listed = [describe_object(one, VERSION) for one in self.org.objects.values() if not one.tooling]
        return answer({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": listed})

    async def _describe(self, request: Request) -> Response:
        return answer(self.org.describe(request.path_params["name"]))

    async def _deleted(self, request: Request) -> Response:
        start, end = (moment(request.query_params.get(name), name) for name in ("start", "end"))
        return answer(self.org.deleted(request.path_params["name"], start, end))

    async def _query(self, request: Request) -> Response:
        text = request.query_params.get("q")
        if not text:
            raise Refused("MALFORMED_QUERY", "unexpected token: '<EOF>'")
        everything = "/queryAll" in request.url.path
        query, rows = self.org.query(text, everything, tooling="/tooling/" in request.url.path)
        if query.count_only:
            return answer({"totalSize": len(rows), "done": True, "records": []})
        reader = self.org.reader
        if query.aggregates:
            found = reader.aggregate(query, rows)
            return answer({"totalSize": len(found), "done": True, "records": found})
        shape = reader.shown(reader.object(query.entity), reader.paths(query))
        size = self._page_size(request)
        path = f"/services/data/{VERSION}/{'queryAll' if everything else 'query'}"
        return self._page(Cursor(rows, shape, size, path), "", 0)

    def _page_size(self, request: Request) -> int:
        asked = re.search(r"batchSize=(\d+)", request.headers.get("sforce-query-options", ""))
        return self.page_size if asked is None else max(SMALLEST_PAGE, min(int(asked.group(1)), self.page_size))

    def _page(self, cursor: Cursor, locator: str, start: int) -> Response:
        """A page of a query; one that is not the last opens a cursor, or keeps it."""
        page = cursor.rows[start : start + cursor.size]
        body: dict[str, Any] = {"totalSize": len(cursor.rows), "done": start + len(page) >= len(cursor.rows)}
        if not body["done"]:
            if not locator:
                self._opened += 1
                locator = full_id(f"01g{self._opened:012d}")
                self.cursors[locator] = cursor
                while len(self.cursors) > CURSORS:
                    self.cursors.pop(next(iter(self.cursors)))
            body["nextRecordsUrl"] = f"{cursor.path}/{locator}-{start + len(page)}"
        body["records"] = [self.org.reader.show(record, cursor.shape) for record in page]
        return answer(body)

    async def _more(self, request: Request) -> Response:
        text = request.path_params["locator"]
        locator, _, start = text.rpartition("-")
        if locator not in self.cursors or not start.isdigit():
            raise Refused("INVALID_QUERY_LOCATOR", f"invalid query locator: {text}")
        return self._page(self.cursors[locator], locator, int(start))

    # -- single records ---------------------------------------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        body = json_object(await request.body())
        if any(name.lower() == "id" for name in body):
            raise Refused("INVALID_FIELD", "The Id field should not be specified in the sobject data.", [])
        return answer({"id": self.org.save(request.path_params["name"], None, body), "success": True, "errors": []}, 201)

    async def _read(self, request: Request) -> Response:
        one = self.org.object(request.path_params["name"])
        record = self.org.find(one, request.path_params["id"])
        asked = request.query_params.get("fields")
        return answer(self._shown(one, record, names_in(asked) if asked else None))

    def _shown(self, one: Object, record: Record, names: Iterable[str] | None) -> dict[str, Any]:
        """A record with the fields that were asked for, or all that the user may see."""
        if names is None:
            seen = [found.name for found in one.fields.values() if self.org.sees(one, found)]
            return {"attributes": attributes(one.name, VERSION, record.id), **{name: record.values.get(name) for name in seen}}
        return self.org.reader.show(record, self.org.reader.shown(one, self._paths(one, names)))

    def _paths(self, one: Object, names: Iterable[str]) -> list[Path]:
        try:
            return [self.org.reader.path(one, name, -1) for name in names]
        except BadQuery as bad:
            raise Refused("INVALID_FIELD", bad.message) from bad

    async def _update(self, request: Request) -> Response:
        body = json_object(await request.body())
        if any(name.lower() == "id" for name in body):
            raise Refused("INVALID_FIELD", "The Id field should not be specified in the sobject data.", [])
        self.org.save(request.path_params["name"], request.path_params["id"], body)
        return Response(None, 204)

    async def _delete(self, request: Request) -> Response:
        self.org.delete(request.path_params["name"], request.path_params["id"])
        return Response(None, 204)

    # -- collections ------------------------------------------------------------------------------------------------

    async def _collection(self, request: Request) -> Response:
        body = json_object(await request.body())
        records = body.get("records")
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise Refused("JSON_PARSER_ERROR", "records: a list of objects is expected")
        types = [str((record.get("attributes") or {}).get("type") or "") for record in records]
        if "" in types:
            raise Refused("INVALID_TYPE", "every record needs attributes with its type")  # the exact words are unverified
        check_size(len(records), 1 + sum(one != other for one, other in zip(types, types[1:], strict=False)))
        creating = request.method == "POST"

        def save(place: int) -> str:
            values = dict(records[place])
            given = next((values.pop(name) for name in list(values) if name.lower() == "id"), None)
            if creating and given is not None:
                raise Refused("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", ["Id"])
            if not creating and not isinstance(given, str):
                raise Refused("MISSING_ARGUMENT", "Id not specified in an update call", [])
            return self.org.save(types[place], None if creating else given, values)

        ids = [str(record.get("id") or record.get("Id") or place) for place, record in enumerate(records)]
        return answer(self._each(ids, save, body.get("allOrNone") is True, request.scope.get("fault")))

    async def _delete_collection(self, request: Request) -> Response:
        ids = names_in(request.query_params.get("ids", ""))
        check_size(len(ids), 1)
        prefixes = {one.prefix: one.name for one in self.org.objects.values()}

        def delete(place: int) -> str:
            self.org.delete(prefixes.get(ids[place][:3]) or "", ids[place])
            return ids[place]

        together = request.query_params.get("allOrNone", "").lower() == "true"
        return answer(self._each(ids, delete, together, request.scope.get("fault")))

    def _each(self, ids: list[str], work: Callable[[int], str], together: bool, fault: Fault | None) -> list[dict[str, Any]]:
        """One result for each record, in order. `together`: all or nothing."""
        rejected = rejected_places(ids, fault)
        self.org.undo = [] if together else None
        results = []
        for place in range(len(ids)):
            try:
                if place in rejected:
                    raise rejected[place]
                results.append({"id": work(place), "success": True, "errors": []})
            except Refused as refused:
                results.append(refused_result(refused))
        if together and not all(result["success"] for result in results):
            roll_back(self.org)
            back = refused_result(Refused("ALL_OR_NONE_OPERATION_ROLLED_BACK", ROLLED_BACK))
            results = [back if result["success"] else result for result in results]
        self.org.undo = None
        return results

    async def _retrieve(self, request: Request) -> Response:
        one = self.org.object(request.path_params["name"])
        if request.method == "GET":
            ids, names = (names_in(request.query_params.get(key, "")) for key in ("ids", "fields"))
        else:
            body = json_object(await request.body())
            ids, names = (body.get(key) for key in ("ids", "fields"))
        check_retrieved(ids, names)
        shape = self.org.reader.shown(one, self._paths(one, ["Id", *names]))
        found = []
        for text in ids:
            try:
                found.append(self.org.reader.show(self.org.find(one, text), shape))
            except Refused:
                found.append(None)
        return answer(found)

    # -- bulk and setup ---------------------------------------------------------------------------------------------

    async def _create_job(self, request: Request) -> Response:
        return answer(self.jobs.create(json_object(await request.body())))

    async def _job(self, request: Request) -> Response:
        return answer(self.jobs.look(request.path_params["id"], self.looks_until_done))

    async def _abort_job(self, request: Request) -> Response:
        if json_object(await request.body()) != {"state": "Aborted"}:
            raise Refused("INVALIDJOBSTATE", 'the only state that a query job can be given is "Aborted"')
        return answer(self.jobs.abort(request.path_params["id"]))

    async def _delete_job(self, request: Request) -> Response:
        self.jobs.delete(request.path_params["id"])
        return Response(None, 204)

    async def _results(self, request: Request) -> Response:
        text, headers = self.jobs.results(request.path_params["id"], request.query_params)
        return Response(text, 200, headers, media_type="text/csv")

    async def _create_field(self, request: Request) -> Response:
        one_id = create_field(self.org, json_object(await request.body()))
        return answer({"id": one_id, "success": True, "errors": [], "warnings": [], "infos": []}, 201)

    async def _read_field(self, request: Request) -> Response:
        one = self.org.object("CustomField", tooling=True)
        return answer(self._shown(one, self.org.find(one, request.path_params["id"]), None))

    async def _update_field(self, request: Request) -> Response:
        update_field(self.org, request.path_params["id"], json_object(await request.body()))
        return Response(None, 204)

    async def _delete_field(self, request: Request) -> Response:
        delete_field(self.org, request.path_params["id"])
        return Response(None, 204)
