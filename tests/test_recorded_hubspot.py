"""Requests that were recorded against a live portal, sent to the sandbox: same status, same shape, same headers."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sandbox_fixture import Portal, Ticker, control, running_sandbox

from pipelines.sandbox.world import make_world
from pipelines.vendors.hubspot import VERSION
from pipelines.vendors.hubspot.sandbox import Sandbox

FOLDER = Path(__file__).parents[1].parent / "shared" / "recorded" / "hubspot"
RECORDED = FOLDER / "export-objects__export-records-companies.json"
KINDS = ["search", "batch/create", "batch/update", "batch/archive"]
TICKER = Ticker()


@pytest.fixture(scope="module")
def exchanges() -> list[dict[str, Any]]:
    if not RECORDED.exists():
        pytest.skip(f"no recordings at {RECORDED}")
    return json.loads(RECORDED.read_text())


@pytest.fixture
def hub():
    options = {"vendors": {"hubspot": Sandbox}, "rate_limits": False, "monotonic": TICKER}
    with running_sandbox(make_world(7, 60), **options) as url:
        portal = Portal(url)
        create_missing_properties(portal)
        yield portal


def create_missing_properties(portal: Portal) -> None:
    path = f"/crm/properties/{VERSION}/companies"
    known = {one["name"] for one in portal.get(path).json()["results"]}
    for name in {"website", "twitterhandle", "facebookfans"} - known:
        body = {"name": name, "label": name, "type": "string", "fieldType": "text", "groupName": "companyinformation"}
        assert portal.post(path, body).status_code == 201


def shape(value: Any) -> Any:
    """Keys and types, without the values; what differs from record to record counts as one."""
    if isinstance(value, Mapping):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def limit_headers(headers: Mapping[str, str]) -> set[str]:
    return {name.lower() for name in headers if name.lower().startswith("x-hubspot-ratelimit")}


class Replay:
    """Sends recorded requests one after the other, with the sandbox's ids in place of the recorded ones."""

    def __init__(self, portal: Portal):
        self.portal, self.ids = portal, {}

    def send(self, exchange: Mapping[str, Any]) -> Any:
        body = json.loads(json.dumps(exchange["body"]))
        for item in body.get("inputs", []):
            if "id" in item:
                item["id"] = self.ids[item["id"]]
        answer = self.portal.call(exchange["method"], exchange["path"], body)
        if exchange["path"].endswith("batch/create"):
            domains = {one["properties"]["domain"]: one["id"] for one in answer.json()["results"]}
            for one in exchange["response"]["results"]:
                self.ids[one["id"]] = domains[one["properties"]["domain"]]
        TICKER.wait(5)
        return answer


def comparable(body: Any) -> Any:
    """The answer with its records in one order and its values by type; times and ids are the sandbox's own."""
    if not body:
        return None
    if "results" not in body:
        return shape(body)
    records = sorted(body["results"], key=lambda one: one["properties"]["domain"])
    return {**shape(body), "results": [shape(one) for one in records]}


def kept_values(body: Any) -> list[dict[str, Any]]:
    own = ("createdate", "hs_lastmodifieddate", "hs_object_id")
    records = [one["properties"] for one in (body or {}).get("results", [])]
    shown = [{name: value for name, value in one.items() if name not in own} for one in records]
    return sorted(shown, key=lambda one: one["domain"])


def test_the_whole_recording_replays_with_the_same_answers(hub, exchanges):
    """Every write and every search that the portal's index had caught up with: status, keys, types and values."""
    replay, compared = Replay(hub), Counter()
    for exchange in settled(exchanges):
        answer = replay.send(exchange)
        where = f"{exchange['path']} {exchange['body']}"
        assert answer.status_code == exchange["status"], f"{where}: {answer.text}"
        body = answer.json() if answer.content else None
        assert comparable(body) == comparable(exchange["response"]), where
        assert kept_values(body) == kept_values(exchange["response"] or {}), where
        compared[exchange["path"].rsplit("/", 1)[1], bool((body or {}).get("results"))] += 1
    assert compared["search", True] >= 10 and compared["search", False] >= 10
    assert compared["create", True] == compared["update", True] - 1 == 5 and compared["archive", False] == 7


def settled(exchanges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recording without refused searches and without searches that saw less than what had been written: the sandbox
    replays it with time to catch up after each call."""
    records: dict[str, dict[str, Any]] = {}
    kept = []
    for exchange in exchanges[: first_repetition(exchanges)]:
        verb = next(kind for kind in KINDS if exchange["path"].endswith(kind))
        if verb == "search":
            if exchange["status"] == 200 and up_to_date(exchange, records):
                kept.append(exchange)
            continue
        kept.append(exchange)
        for one in (exchange["response"] or {}).get("results", []):
            records.setdefault(one["id"], {}).update(one["properties"])
        if verb == "batch/archive":
            for item in exchange["body"]["inputs"]:
                records.pop(item["id"], None)
    return kept


def first_repetition(exchanges: list[dict[str, Any]]) -> int:
    """The same recording is stored twice over, the second time with fewer headers."""
    return next(n for n, one in enumerate(exchanges) if n and limit_headers(one["headers"]) == set())


def up_to_date(exchange: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]]) -> bool:
    wanted = {group["filters"][0]["value"] for group in exchange["body"]["filterGroups"]}
    known = {number: one for number, one in records.items() if not wanted or one["domain"] in wanted}
    seen = {one["id"]: one["properties"] for one in exchange["response"]["results"]}
    return seen.keys() == known.keys() and all(
        (seen[number][name] or None) == (known[number].get(name) or None)
        for number in seen for name in seen[number] if name != "createdate"
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_carries_the_recorded_limit_headers(hub, exchanges, kind):
    exchange = next(one for one in exchanges if one["path"].endswith(kind) and one["status"] < 300)
    body = {"inputs": []} if kind != "search" else exchange["body"]
    answer = hub.call(exchange["method"], exchange["path"], body)
    assert limit_headers(answer.headers) == limit_headers(exchange["headers"])
    assert answer.headers.get("Content-Type") == exchange["headers"].get("Content-Type")


def test_a_refused_search_is_refused_as_recorded(hub, exchanges):
    exchange = next(one for one in exchanges if one["status"] == 429)
    control(hub.url, "POST", "faults", {"vendor": "hubspot", "kind": "429"})
    answer = hub.call(exchange["method"], exchange["path"], exchange["body"])
    assert answer.status_code == 429 and shape(answer.json()) == shape(exchange["response"])
    for key in ("status", "message", "category"):
        assert answer.json()[key] == exchange["response"][key]
    assert limit_headers(answer.headers) == limit_headers(exchange["headers"])


def test_a_search_right_after_a_write_misses_it_as_recorded(hub, exchanges):
    create = next(one for one in exchanges if one["path"].endswith("batch/create"))
    domain = create["body"]["inputs"][0]["properties"]["domain"]
    search = next(one for one in exchanges if one["path"].endswith("search") and one["response"].get("total") == 0)
    hub.call("POST", create["path"], create["body"])
    answer = hub.call("POST", search["path"], search["body"])
    assert domain in json.dumps(search["body"]) and answer.json() == search["response"]
