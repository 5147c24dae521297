"""The sandbox's server: controls, faults, limits, records from files, start and stop.

HubSpot stands in for any vendor.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import pytest
import requests
from sandbox_fixture import Portal, Ticker, control, running_sandbox

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.faults import BadFault, Faults, parse
from pipelines.sandbox.limits import Limiter, Rule
from pipelines.sandbox.server import BadRecords, build_app, doubled, listen
from pipelines.sandbox.world import make_world
from pipelines.vendors.hubspot import VERSION
from pipelines.vendors.hubspot.sandbox import Sandbox

COMPANIES = f"/crm/objects/{VERSION}/companies"
TICKER = Ticker()
WORLD = partial(make_world, 7, 60)
VENDORS = {"hubspot": Sandbox}


@pytest.fixture(scope="module")
def served():
    with running_sandbox(WORLD(), remake=WORLD, vendors=VENDORS, rate_limits=False, monotonic=TICKER) as url:
        yield url


@pytest.fixture
def url(served) -> str:
    control(served, "POST", "reset")
    return served


@pytest.fixture
def hub(url) -> Portal:
    return Portal(url)


def inject(hub: Portal, kind: str, **more) -> None:
    control(hub.url, "POST", "faults", {"vendor": "hubspot", "kind": kind, **more})


def first_id(hub: Portal) -> str:
    return hub.get(COMPANIES, limit=1).json()["results"][0]["id"]


def city(hub: Portal, record_id: str) -> str | None:
    return hub.get(f"{COMPANIES}/{record_id}", properties="city").json()["properties"]["city"]


# Controls


def test_health_tells_the_day_and_the_world(url):
    health = control(url, "GET", "health")
    world = WORLD()
    assert health["status"] == "ok" and health["today"] == "2026-06-30" and health["seed"] == 7
    assert health["now"].startswith("2026-06-30T22:00") and health["accounts"] == len(world.accounts)


def test_advance_moves_the_world_the_clock_and_the_answers(url):
    before = control(url, "GET", "answers")
    assert control(url, "POST", "advance", {"days": 2})["today"] == "2026-07-02"
    after = control(url, "GET", "answers")
    assert before["as_of"] == "2026-06-30" and after["as_of"] == "2026-07-02"


def test_every_answer_is_dated_by_the_sandboxs_own_clock(url, hub):
    control(url, "POST", "advance", {"days": 1})
    TICKER.wait(65)
    dated = parsedate_to_datetime(hub.get(COMPANIES).headers["Date"])
    assert timedelta(seconds=60) <= dated - datetime(2026, 7, 1, 22, tzinfo=UTC) < timedelta(minutes=5)
    assert len(hub.get(COMPANIES).raw.headers.getlist("Date")) == 1


def test_reset_forgets_writes_faults_calls_and_days(url, hub):
    made = hub.post(COMPANIES, {"properties": {"name": "New"}}).json()["id"]
    inject(hub, "500", times=9)
    control(url, "POST", "advance", {"days": 1})
    assert control(url, "POST", "reset")["today"] == "2026-06-30"
    assert control(url, "GET", "requests") == []
    assert hub.get(f"{COMPANIES}/{made}").status_code == 404


def test_a_sandbox_that_cannot_make_its_world_again_says_so():
    with running_sandbox(WORLD(), vendors=VENDORS) as url, pytest.raises(AssertionError, match="400.*remake"):
        control(url, "POST", "reset")


def test_the_log_lists_vendor_calls_in_order(url, hub):
    hub.get(COMPANIES, limit=1)
    hub.get(f"{COMPANIES}/5")
    control(url, "GET", "health")
    keys = ("vendor", "method", "path", "status", "query")
    calls = [tuple(call[key] for key in keys) for call in control(url, "GET", "requests")]
    assert calls == [("hubspot", "GET", COMPANIES, 200, "limit=1"), ("hubspot", "GET", f"{COMPANIES}/5", 404, "")]
    control(url, "DELETE", "requests")
    assert control(url, "GET", "requests") == []


@pytest.mark.parametrize("days", [0, -1, "1", 99_999])
def test_a_wrong_number_of_days_is_refused(url, days):
    with pytest.raises(AssertionError, match="400.*days"):
        control(url, "POST", "advance", {"days": days})


@pytest.mark.parametrize("path", ["/quickbooks/nothing", "/netsuite/x", "/_sandbox/nothing", "/"])
def test_what_is_not_there_is_404(url, path):
    assert requests.get(url + path, timeout=10).status_code == 404


# Faults


def test_429_speaks_as_the_limit_that_covers_the_call(hub):
    inject(hub, "429", times=2)
    assert hub.post(f"{COMPANIES}/search", {}).json()["message"] == "You have reached your secondly limit."
    assert hub.get(COMPANIES).json()["policyName"] == "TEN_SECONDLY_ROLLING"
    assert hub.get(COMPANIES).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status", "category"),
    [("500", 500, None), ("503", 503, None), ("expired_token", 401, "EXPIRED_AUTHENTICATION")],
)
def test_a_status_fault_carries_nothing_out(hub, kind, status, category):
    record_id = first_id(hub)
    inject(hub, kind, method="PATCH")
    answer = hub.call("PATCH", f"{COMPANIES}/{record_id}", {"properties": {"city": "Oslo"}})
    assert answer.status_code == status and answer.json()["status"] == "error"
    assert answer.json().get("category") == category and city(hub, record_id) != "Oslo"


@pytest.mark.parametrize(("kind", "carried_out"), [("reset", False), ("reset_after", True)])
def test_a_cut_connection_may_or_may_not_have_carried_out_the_call(url, hub, kind, carried_out):
    record_id = first_id(hub)
    inject(hub, kind, method="PATCH")
    with pytest.raises(requests.ConnectionError):
        hub.call("PATCH", f"{COMPANIES}/{record_id}", {"properties": {"city": "Oslo"}})
    assert (city(hub, record_id) == "Oslo") is carried_out
    assert control(url, "GET", "requests")[1]["status"] is None


def test_a_timeout_is_carried_out_and_answered_too_late(hub):
    record_id = first_id(hub)
    inject(hub, "timeout", method="PATCH", seconds=60)
    with pytest.raises(requests.Timeout):
        hub.call("PATCH", f"{COMPANIES}/{record_id}", {"properties": {"city": "Oslo"}}, timeout=0.3)
    assert city(hub, record_id) == "Oslo"


def test_a_short_timeout_is_answered_after_its_seconds(hub):
    inject(hub, "timeout", seconds=0.3)
    started = time.monotonic()
    assert hub.get(COMPANIES, limit=1).status_code == 200
    assert 0.3 <= time.monotonic() - started < 5


def test_a_duplicate_page_repeats_its_records_and_nothing_else(hub):
    plain = hub.get(COMPANIES, limit=3).json()
    inject(hub, "duplicate_page", match="limit=3")
    doubled = hub.get(COMPANIES, limit=3).json()
    assert doubled["results"] == plain["results"] * 2 and doubled["paging"] == plain["paging"]
    assert hub.get(COMPANIES, limit=3).json() == plain


def test_a_record_is_deleted_when_the_nth_call_comes(hub):
    ids = [record["id"] for record in hub.get(COMPANIES, limit=3).json()["results"]]
    inject(hub, "delete_midrun", nth=2, object="companies", id=ids[1])
    seen = [[record["id"] for record in hub.get(COMPANIES, limit=3).json()["results"]] for _ in range(2)]
    assert seen[0] == ids and ids[1] not in seen[1]
    inject(hub, "delete_midrun")
    assert ids[0] not in [record["id"] for record in hub.get(COMPANIES, limit=3).json()["results"]]


def statuses(hub: Portal, count: int, path: str = COMPANIES) -> list[int]:
    return [hub.get(path).status_code for _ in range(count)]


def test_faults_are_chosen_by_nth_times_path_and_method(hub):
    inject(hub, "500", nth=2, times=2)
    assert statuses(hub, 5) == [200, 500, 500, 200, 200]
    inject(hub, "500", match="/deals", times=9)
    assert statuses(hub, 1) == [200] and statuses(hub, 1, f"/crm/objects/{VERSION}/deals") == [500]
    control(hub.url, "DELETE", "faults")
    inject(hub, "500", method="POST", times=9)
    assert statuses(hub, 1) == [200] and hub.post(f"{COMPANIES}/search", {}).status_code == 500
    listed = control(hub.url, "GET", "faults")
    assert [(fault["kind"], fault["hits"]) for fault in listed] == [("500", 1)]


def test_a_share_hits_the_same_calls_each_time():
    def drawn(seed: int) -> list[bool]:
        faults = Faults()
        faults.active = [parse({"vendor": "v", "kind": "500", "share": 0.3, "seed": seed}, ["v"])]
        return [faults.next("v", "GET", "/x") is not None for _ in range(300)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert 60 <= sum(drawn(1)) <= 120


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "JSON object"),
        ({"vendor": "sage", "kind": "500"}, "'sage' is not one of hubspot"),
        ({"vendor": "hubspot", "kind": "explode"}, "'explode'"),
        ({"vendor": "hubspot", "kind": "200"}, "'200'"),
        ({"vendor": "hubspot", "kind": "500", "nth": 0}, "nth: 0"),
        ({"vendor": "hubspot", "kind": "500", "times": "2"}, "times: '2'"),
        ({"vendor": "hubspot", "kind": "500", "share": 2}, "share: 2"),
        ({"vendor": "hubspot", "kind": "timeout", "seconds": 9999}, "seconds: 9999"),
        ({"vendor": "hubspot", "kind": "500", "match": 5}, "match: 5"),
        ({"vendor": "hubspot", "kind": "partial", "ids": "x"}, "ids: 'x'"),
        ({"vendor": "hubspot", "kind": "500", "chance": 1}, "chance"),
    ],
)
def test_a_wrong_fault_is_refused_by_name(body, says):
    with pytest.raises(BadFault, match=says):
        parse(body, ["hubspot"])


def test_the_control_route_refuses_a_wrong_fault(url):
    with pytest.raises(AssertionError, match="400.*explode"):
        control(url, "POST", "faults", {"vendor": "hubspot", "kind": "explode"})


def test_doubling_keeps_the_text_of_numbers_and_leaves_errors_alone():
    body = b'{"q":{"Invoice":[{"Total":1.10,"Id":"1"}]},"errors":[{"a":1}],"time":"x","big":12345678901234567.25}'
    start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
    [_, answer] = doubled([start, {"type": "http.response.body", "body": body}])
    once = b'{"Total":1.10,"Id":"1"}'
    assert answer["body"] == body.replace(once, once + b"," + once)


# Limits, latency, clock


def test_a_limit_is_a_rolling_window_and_a_refused_call_does_not_count():
    ticker = Ticker()
    limiter = Limiter([Rule("two", 2, 10, lambda path: "x" in path)], ticker)
    assert limiter.take("/x") == (None, {"two": 1})
    ticker.wait(9)
    assert limiter.take("/x") == (None, {"two": 0})
    assert limiter.take("/x")[0] == limiter.take("/x")[0] == "two"
    assert limiter.take("/y") == (None, {})
    ticker.wait(1)
    assert limiter.take("/x") == (None, {"two": 0})
    assert limiter.take("/x")[0] == "two"


def test_latency_delays_vendor_calls_only():
    with running_sandbox(WORLD(), vendors=VENDORS, latency_ms=150) as url:
        hub = Portal(url)
        started = time.monotonic()
        hub.get(COMPANIES, limit=1)
        waited = time.monotonic() - started
        assert waited >= 0.15
        started = time.monotonic()
        for _ in range(3):
            control(url, "GET", "health")
        assert time.monotonic() - started < 0.3


def test_the_clock_runs_within_a_day_and_jumps_between_days():
    ticker = Ticker()
    clock = Clock(date(2026, 6, 30), ticker)
    ticker.wait(90)
    assert clock.now() == datetime(2026, 6, 30, 22, 1, 30, tzinfo=UTC)
    clock.advance(2)
    assert clock.today == date(2026, 7, 2) and clock.now() == datetime(2026, 7, 2, 22, tzinfo=UTC)


# Records from files


def write_lines(folder: Path, table: str, *records: dict | str) -> None:
    (folder / "hubspot").mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / "hubspot" / f"{table}.jsonl").write_text("\n".join(lines) + "\n")


def a_deal(number: int, **properties: str | None) -> dict:
    stamp = f"2026-05-01T08:00:00.{number % 1000:03d}Z"
    return {"id": str(number), "properties": properties, "createdAt": stamp, "updatedAt": stamp, "archived": False}


def test_records_are_served_as_given(tmp_path):
    write_lines(
        tmp_path, "deals", a_deal(9, amount="abc", my_own="x", closedate=None),
        a_deal(5, amount="3") | {"associations": {"companies": {"results": [{"id": "1", "type": "deal_to_company"}]}}},
        a_deal(7) | {"archived": True, "archivedAt": "2026-05-02T00:00:00.000Z"},
    )  # fmt: skip
    write_lines(tmp_path, "companies", {"id": "1", "properties": {"name": "Acme"}, "updatedAt": "2026-05-01T08:00:00Z"})
    write_lines(tmp_path, "exchange_rates", '{"fromCurrencyCode":"EUR","toCurrencyCode":"USD","conversionRate":1.070}')
    with running_sandbox(WORLD(), vendors=VENDORS, records=tmp_path, rate_limits=False) as url:
        hub = Portal(url)
        deals = f"/crm/objects/{VERSION}/deals"
        body = hub.get(deals, properties="amount,my_own,closedate").json()
        assert [record["id"] for record in body["results"]] == ["5", "9"]
        given = body["results"][1]
        assert given["updatedAt"] == given["createdAt"] == "2026-05-01T08:00:00.009Z"
        assert {name: given["properties"][name] for name in ("amount", "my_own", "closedate")} == {
            "amount": "abc", "my_own": "x", "closedate": None,
        }  # fmt: skip
        assert [one["id"] for one in hub.get(deals, archived="true").json()["results"]] == ["7"]
        above = {"filters": [{"propertyName": "amount", "operator": "GT", "value": "1"}]}
        assert hub.post(f"{deals}/search", {"filterGroups": [above]}).json()["total"] == 1
        linked = hub.get(f"{deals}/5/associations/companies").json()["results"]
        assert linked[0]["toObjectId"] == "1"
        assert '"conversionRate":1.070' in hub.get(f"/settings/currencies/{VERSION}/exchange-rates/current").text
        for empty in ("objects/{}/contacts", "owners/{}", "pipelines/{}/deals"):
            assert hub.get(f"/crm/{empty.format(VERSION)}").json() == {"results": []}


@pytest.mark.parametrize(
    ("table", "line", "says"),
    [
        ("rabbits", "{}", "hubspot/rabbits.jsonl: no such table"),
        ("deals", "{", "hubspot/deals.jsonl, line 1: not JSON"),
        ("deals", "[1]", "line 1: not an object"),
        ("deals", '{"id": "x"}', "'x' is no record id"),
        ("deals", '{"id": "1", "updatedAt": "soon"}', "soon"),
    ],
)
def test_records_that_cannot_be_served_are_named(tmp_path, table, line, says):
    write_lines(tmp_path, table, line)
    with pytest.raises(ValueError, match=says):
        build_app(WORLD(), vendors=VENDORS, records=tmp_path)


def test_a_folder_of_records_must_be_there_and_hold_vendors(tmp_path):
    with pytest.raises(BadRecords, match="no such folder"):
        build_app(WORLD(), vendors=VENDORS, records=tmp_path / "x")
    (tmp_path / "hubpsot").mkdir()
    with pytest.raises(BadRecords, match="hubpsot"):
        build_app(WORLD(), vendors=VENDORS, records=tmp_path)


# The process

START = "import sys; from pipelines.sandbox.server import serve; serve(port=int(sys.argv[1]), rate_limits=False)"


@pytest.fixture
def process():
    child = subprocess.Popen(
        [sys.executable, "-c", START, "0"], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    try:
        yield child, json.loads(child.stdout.readline())["url"]
    finally:
        child.kill()
        child.wait(10)
        child.stdout.close()


def test_the_process_says_where_it_listens_and_ends_on_sigterm_even_when_busy(process):
    child, url = process
    hub = Portal(url)
    assert hub.get(COMPANIES, limit=1).status_code == 200
    inject(hub, "timeout", seconds=60)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as held:
        held.sendall(b"GET /hubspot/x HTTP/1.1\r\nHost: x\r\n\r\n")
        while not control(url, "GET", "faults")[0]["hits"]:
            pass
        started = time.monotonic()
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
        assert time.monotonic() - started < 3
    assert child.stdout.read() == ""


def test_connections_do_not_wait_for_acknowledgements():
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_taken_port_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-c", START, str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[1])
    assert done.returncode != 0 and "Address already in use" in done.stderr and done.stdout == ""
