"""One local server that speaks every vendor's API over real HTTP, each under /<slug>; its controls are under /_sandbox.

The vendors' own rules are in pipelines/vendors/<slug>/sandbox.py; here is what they share: the order of a call
(latency, injected faults, rate limits, the vendor), the log of calls, and the passing of days.
"""

import asyncio
import functools
import importlib
import json
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_plus

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.faults import BadFault, Fault, Faults, parse
from pipelines.sandbox.limits import Limiter, Rule
from pipelines.sandbox.references import References, Share
from pipelines.sandbox.world import World, make_world

MAX_LOGGED_CALLS = 500_000
MAX_DAYS = 3660

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Sandbox(Protocol):
    """What pipelines/vendors/<slug>/sandbox.py exports as `Sandbox(world, clock, records)`.

    `record_id` gives the vendor's id of a record of the world; text that is no id of the world passes through.

    `records` are the lines of each `<raw table>.jsonl` file, in place of the world's; None serves the world.
    `limits` are (name, calls, seconds, predicate on the path below /<slug>). `error` answers with a status: for 429
    `kind` is the name of the limit, otherwise that of the fault. `remove` deletes a record, by default the first one,
    as a person would in the middle of a run. A handler finds the injected fault of its
    call, if any, in `request.scope["fault"]`, and the calls left by limit in `request.scope["left"]`.
    A ledger that keeps drafts of invoices says so with `has_drafts = True`, one in which people post journal entries on
    receivables with `has_journals = True`.
    """

    limits: Sequence[tuple[str, int, int, Callable[[str], bool]]]

    @staticmethod
    def record_id(kind: str, world_id: str) -> str: ...

    def routes(self) -> list[Route]: ...

    def advance(self, day: date) -> None: ...

    def tables(self) -> Collection[str]: ...

    def error(self, status: int, kind: str) -> Response: ...

    def remove(self, kind: str | None, record_id: str | None) -> None: ...


MakeSandbox = Callable[[World, Clock, dict[str, list[bytes]] | None], Sandbox]


class BadRecords(ValueError):
    """The folder given as records cannot be served; the message names the file and the remedy."""


def load_vendors(slugs: Sequence[str]) -> dict[str, MakeSandbox]:
    """{slug: its Sandbox class}."""
    return {slug: importlib.import_module(f"pipelines.vendors.{slug}.sandbox").Sandbox for slug in slugs}


def load_records(folder: Path, slugs: Collection[str]) -> dict[str, dict[str, list[bytes]]]:
    """{slug: {raw table: its lines}} of `<folder>/<slug>/<raw table>.jsonl`; vendors without a folder have none."""
    if not folder.is_dir():
        raise BadRecords(f"{folder}: no such folder; give one that holds <vendor>/<raw table>.jsonl")
    strange = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in slugs)
    if strange:
        raise BadRecords(f"{folder}: {', '.join(strange)} is no vendor; vendors are {', '.join(slugs)}")
    return {
        slug: {
            path.stem: [line for line in path.read_bytes().splitlines() if line.strip()]
            for path in sorted((folder / slug).glob("*.jsonl"))
        }
        for slug in slugs
    }


@dataclass
class Running:
    """The sandbox as it stands: the world, the vendors made from it, the faults in force and the log of calls."""

    world: World
    remake: Callable[[], World] | None
    vendors: Mapping[str, MakeSandbox]
    records: Mapping[str, dict[str, list[bytes]]] | None
    latency_ms: int
    rate_limits: bool
    monotonic: Callable[[], float]
    crms: Sequence[str]
    ledgers: Sequence[str]
    clock: Clock = field(init=False)
    references: References | None = field(init=False)
    sandboxes: dict[str, Sandbox] = field(init=False)
    limiters: dict[str, Limiter] = field(init=False)
    routers: dict[str, Router] = field(init=False)
    faults: Faults = field(init=False)
    calls: deque[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def reset(self) -> None:
        """Begins the first day anew: nothing written, no faults, no calls."""
        if self.remake is None:
            raise BadRequest("this sandbox cannot make its world again; build it with `remake`, or start a new one")
        self.world = self.remake()
        self.start()

    def start(self) -> None:
        """Puts every vendor in front of the world as it is."""
        self.clock = Clock(self.world.today, self.monotonic)
        self.references = None
        if self.crms and self.ledgers:
            self.references = refer = References(self.world, self.vendors, self.crms[0], self.ledgers)
            self.world.refer, self.world.has_drafts, self.world.has_journals = refer, refer.has_drafts, refer.has_journals
        self.faults, self.calls = Faults(), deque(maxlen=MAX_LOGGED_CALLS)
        self.sandboxes = {slug: self._make(slug, make) for slug, make in self.vendors.items()}
        self.routers = {slug: Router(box.routes(), default=_nothing_here) for slug, box in self.sandboxes.items()}
        self.limiters = {
            slug: Limiter([Rule(*limit) for limit in box.limits] if self.rate_limits else [], self.clock.seconds)
            for slug, box in self.sandboxes.items()
        }

    def _make(self, slug: str, make: MakeSandbox) -> Sandbox:
        records = None if self.records is None else self.records.get(slug, {})
        shared = len(self.ledgers) > 1 and slug in self.ledgers
        world = Share(self.world, self.ledgers.index(slug), len(self.ledgers)) if shared else self.world
        box = make(world, self.clock, records)
        strange = sorted(set(records or {}) - set(box.tables()))
        if strange:
            raise BadRecords(f"{slug}/{strange[0]}.jsonl: no such table; tables are {', '.join(sorted(box.tables()))}")
        return box

    def advance(self, days: int) -> None:
        """Lets days pass in the world and on the clock, and has every vendor render what changed."""
        self.world.advance(days)
        self.clock.advance(days)
        for box in self.sandboxes.values():
            box.advance(self.world.today)


def build_app(
    world: World,
    *,
    remake: Callable[[], World] | None = None,
    vendors: Mapping[str, MakeSandbox] | None = None,
    records: Path | None = None,
    latency_ms: int = 0,
    rate_limits: bool = True,
    monotonic: Callable[[], float] = time.monotonic,
    crms: Sequence[str] | None = None,
    ledgers: Sequence[str] | None = None,
) -> Starlette:
    """The sandbox as a Starlette app; its state is `app.state.running`.

    `remake` builds the first day's world again for `POST /_sandbox/reset`, which is refused without it.
    `vendors` maps slug to Sandbox class, all of `pipelines.vendors.VENDORS` without it. `latency_ms` delays every
    vendor call. `monotonic` replaces the seconds behind clock, limits and search lag. Records name each other in the ids
    of the first of `crms` and of `ledgers`, by default the first of each side; several ledgers share the customers out,
    several CRMs hold the same accounts.
    """
    cards = importlib.import_module("pipelines.vendors").VENDORS
    if vendors is None:
        vendors = load_vendors([slug for slug, card in cards.items() if card.is_called])
    lines = None if records is None else load_records(records, vendors)
    first = {side: [slug for slug, card in cards.items() if card.side == side and slug in vendors][:1] for side in ("crm", "ledger")}
    running = Running(world, remake, vendors, lines, latency_ms, rate_limits, monotonic,
                      first["crm"] if crms is None else crms, first["ledger"] if ledgers is None else ledgers)
    app = Starlette(routes=Controls(running).routes(), middleware=[Middleware(VendorCalls, running=running)])
    app.state.running = running
    return app


async def _nothing_here(scope: Message, receive: Receive, send: Send) -> None:
    response = _json({"status": "error", "message": f"no such path: {scope['path']}"}, 404)
    await response(scope, receive, send)


class VendorCalls:
    """Pure ASGI: sends calls below /<slug> through latency, faults and limits to the vendor; the rest to the controls.

    Every answer carries the sandbox's own time as its Date, since clients take their cursors from it.
    """

    def __init__(self, app: Any, running: Running):
        self.app, self.running = app, running

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        slug, _, rest = scope["path"][1:].partition("/")
        if slug not in self.running.sandboxes:
            await self.app(scope, receive, self._dated(send, {}))
            return
        path = f"/{rest}"
        entry = {"vendor": slug, "method": scope["method"], "path": path, "status": None}
        entry["query"] = unquote_plus(scope["query_string"].decode("latin-1"))
        self.running.calls.append(entry)
        if self.running.latency_ms:
            await asyncio.sleep(self.running.latency_ms / 1000)
        fault = self.running.faults.next(slug, scope["method"], f"{path}?{entry['query']}")
        inside = {**scope, "root_path": f"/{slug}", "fault": fault, "left": {}}
        inside.pop("app", None)
        call = Call(self.running, slug, path, inside, receive, self._dated(send, entry))
        await (call.carry_out(call.send) if fault is None else call.with_fault(fault))

    def _dated(self, send: Send, entry: dict[str, Any]) -> Send:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
                now = format_datetime(self.running.clock.now(), usegmt=True).encode()
                message = {**message, "headers": [*message["headers"], (b"date", now)]}
            await send(message)

        return dated


@dataclass
class Call:
    """One call to a vendor."""

    running: Running
    slug: str
    path: str
    scope: Message
    receive: Receive
    send: Send

    async def carry_out(self, send: Send) -> None:
        """Answers the call within the vendor's limits."""
        refused, self.scope["left"] = self.running.limiters[self.slug].take(self.path)
        if refused is not None:
            await self.running.sandboxes[self.slug].error(429, refused)(self.scope, self.receive, send)
        else:
            await self.running.routers[self.slug](self.scope, self.receive, send)

    async def with_fault(self, fault: Fault) -> None:
        """Answers the call as the fault says; see `faults.KINDS`."""
        box = self.running.sandboxes[self.slug]
        if fault.kind.isdigit() or fault.kind == "expired_token":
            status = 401 if fault.kind == "expired_token" else int(fault.kind)
            limit = next((name for name, _, _, covers in box.limits if covers(self.path)), fault.kind)
            await box.error(status, fault.message or (limit if status == 429 else fault.kind))(self.scope, self.receive, self.send)
        elif fault.kind == "reset":
            await self._cut()
        elif fault.kind in ("reset_after", "timeout", "duplicate_page"):
            await self._answer_spoilt(fault)
        else:
            if fault.kind == "delete_midrun":
                box.remove(fault.object, fault.id)
            await self.carry_out(self.send)

    async def _answer_spoilt(self, fault: Fault) -> None:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.carry_out(keep)
        if fault.kind == "reset_after":
            await self._cut()
            return
        if fault.kind == "timeout":
            await self._until_gone(fault.seconds)
        for message in doubled(messages) if fault.kind == "duplicate_page" else messages:
            await self.send(message)

    async def _cut(self) -> None:
        """Resets the connection: with no time to linger, the operating system sends RST and drops what is unsent."""
        transport = self.scope["state"]["transport"]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await self._until_gone(1)

    async def _until_gone(self, seconds: float) -> None:
        """Waits until the client has gone, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while (await self.receive())["type"] != "http.disconnect":
                    continue
        except TimeoutError:
            return


def doubled(messages: Sequence[Message]) -> list[Message]:
    """The same answer with every record of its page twice. Records are the lists of objects at the top of the JSON or
    one level below; numbers keep their text."""
    body = b"".join(message.get("body", b"") for message in messages)
    content_type = dict(messages[0]["headers"]).get(b"content-type", b"")
    if b"json" not in content_type:
        return list(messages)
    page = json.loads(body, parse_float=Decimal)
    body = orjson.dumps(_twice(page, 2), default=lambda number: orjson.Fragment(str(number)))
    kept = [(name, value) for name, value in messages[0]["headers"] if name != b"content-length"]
    headers = [*kept, (b"content-length", str(len(body)).encode())]
    return [{**messages[0], "headers": headers}, {"type": "http.response.body", "body": body}]


def _twice(value: Any, levels: int) -> Any:
    if isinstance(value, dict) and levels:
        return {key: item if key == "errors" else _twice(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value + value
    return value


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content, default=str), status, media_type="application/json")


class BadRequest(ValueError):
    """A control route was called wrongly; the message says what it accepts."""


async def _content(request: Request) -> Any:
    raw = await request.body()
    try:
        return orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


class Controls:
    """The routes under /_sandbox."""

    def __init__(self, running: Running):
        self.running = running

    def routes(self) -> list[Route]:
        table = (
            ("health", "GET", self.health), ("reset", "POST", self.reset), ("advance", "POST", self.advance),
            ("faults", "POST", self.add_faults), ("faults", "GET", self.faults),
            ("faults", "DELETE", self.clear_faults),
            ("requests", "GET", self.calls), ("requests", "DELETE", self.clear_calls), ("answers", "GET", self.answers),
        )  # fmt: skip
        return [Route(f"/_sandbox/{name}", _named_errors(work), methods=[method]) for name, method, work in table]

    async def health(self, request: Request) -> Response:
        world = self.running.world
        return _json({
            "status": "ok", "today": world.today.isoformat(), "now": self.running.clock.now().isoformat(),
            "accounts": len(world.accounts), "seed": world.seed, "rate_limits": self.running.rate_limits,
        })  # fmt: skip

    async def reset(self, request: Request) -> Response:
        self.running.reset()
        return await self.health(request)

    async def advance(self, request: Request) -> Response:
        content = await _content(request)
        days = content.get("days", 1) if isinstance(content, dict) else None
        if not isinstance(days, int) or not 1 <= days <= MAX_DAYS:
            raise BadRequest(f'{content!r}: give {{"days": n}} with n from 1 to {MAX_DAYS}')
        self.running.advance(days)
        return await self.health(request)

    async def add_faults(self, request: Request) -> Response:
        content = await _content(request)
        items = content if isinstance(content, list) else [content]
        self.running.faults.active += [parse(item, list(self.running.sandboxes)) for item in items]
        return await self.faults(request)

    async def faults(self, request: Request) -> Response:
        return _json([fault.shown() for fault in self.running.faults.active])

    async def clear_faults(self, request: Request) -> Response:
        self.running.faults.active.clear()
        return _json([])

    async def calls(self, request: Request) -> Response:
        return _json(list(self.running.calls))

    async def clear_calls(self, request: Request) -> Response:
        self.running.calls.clear()
        return _json([])

    async def answers(self, request: Request) -> Response:
        references = self.running.references
        return _json(references.answers() if references else self.running.world.answers())


def _named_errors(work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        try:
            return await work(request)
        except (BadRequest, BadFault) as error:
            return _json({"status": "error", "message": str(error)}, 400)

    return answered


class CuttableProtocol(H11Protocol):
    """HTTP/1.1 whose handlers find their connection in scope["state"]["transport"], to be able to cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Without TCP_NODELAY, which connections inherit, an answer written in
    two parts waits 40 ms for the client's acknowledgement of the first."""
    listener = socket.create_server((host, port))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


class Server(uvicorn.Server):
    """A uvicorn server on a socket that is already bound; calls `listening` once it answers."""

    def __init__(self, app: Starlette, listening: Callable[[], None]):
        super().__init__(uvicorn.Config(
            app, http=CuttableProtocol, loop="asyncio", lifespan="off", ws="none", log_level="warning",
            access_log=False, server_header=False, date_header=False, timeout_keep_alive=300,
            timeout_graceful_shutdown=1,
        ))  # fmt: skip
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    seed: int = 7,
    accounts: int = 66,
    records: Path | None = None,
    latency_ms: int = 0,
    rate_limits: bool = True,
    crms: Sequence[str] | None = None,
    ledgers: Sequence[str] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT. Prints one line of JSON, {"url": ...}, once it listens; port 0 takes a free one.
    Raises OSError when the port is taken and BadRecords when `records` cannot be served."""
    remake = functools.partial(make_world, seed, accounts)
    app = build_app(remake(), remake=remake, records=records, latency_ms=latency_ms, rate_limits=rate_limits, crms=crms, ledgers=ledgers)
    listener = listen(host, port)
    url = f"http://{host}:{listener.getsockname()[1]}"
    # uvicorn raises the signal again once it has stopped; here that is the end of the work, not an error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    Server(app, lambda: print(json.dumps({"url": url}), flush=True)).run(sockets=[listener])
