"""Recorded exchanges of a live QuickBooks company: the sandbox answers the recorded requests in the same shape."""

import json
import urllib.error
import urllib.request
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sandbox_fixture import running_sandbox

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.world import make_world
from pipelines.vendors.quickbooks.sandbox import CLIENT_ID, CLIENT_SECRET, REALM, Sandbox
from pipelines.vendors.quickbooks.sandbox_ageing import Ageing
from pipelines.vendors.quickbooks.sandbox_render import dumps
from pipelines.vendors.quickbooks.sandbox_state import QuickBooksState

RECORDED = Path(__file__).parents[1].parent / "shared" / "recorded" / "quickbooks"
SEQUENCES = (
    "all__customers", "all__alt_select", "all__sales_receipts", "get__display_name", "misc__ampersand", "get__id",
    "create__customer", "update__customer", "create__invoice", "delete__invoice", "void__invoice", "cdc__basic",
    "error__400", "error__400_json", "error__401", "error__500", "error__validation",
)  # fmt: skip


def recorded(name: str) -> list[dict[str, Any]]:
    """The exchanges of a recording, fractions as Decimal."""
    path = RECORDED / f"{name}.json"
    if not path.exists():
        pytest.skip("the recorded exchanges are not beside this repository")
    return json.loads(path.read_text(), parse_float=Decimal)


def records_in(exchanges: list[dict[str, Any]]) -> dict[str, dict[str, dict]]:
    """{entity: {id: record}} of everything that the answers show, as it was at first."""
    found: dict[str, dict[str, dict]] = {}

    def note(entity: str, row: Any) -> None:
        if isinstance(row, dict) and "Id" in row and "MetaData" in row:
            found.setdefault(entity, {}).setdefault(row["Id"], row)

    for exchange in exchanges:
        body = exchange["response"]["body"]
        pages = [body.get("QueryResponse", {})]
        pages += [page for part in body.get("CDCResponse", ()) for page in part["QueryResponse"]]
        created = exchange["request"]["method"] == "post" and "Id" not in (exchange["request"]["body"] or {})
        for key, value in [item for page in pages for item in page.items()] + ([] if created else list(body.items())):
            for row in value if isinstance(value, list) else [value]:
                note(key, row)
    return found


TABLES = {
    "Customer": "customers", "Invoice": "invoices", "Vendor": "vendors", "Estimate": "estimates",
    "SalesReceipt": "sales_receipts",
}  # fmt: skip


def write_records(folder: Path, found: dict[str, dict[str, dict]]) -> None:
    """The records as a folder that the sandbox can serve."""
    (folder / "quickbooks").mkdir()
    for entity, rows in found.items():
        path = folder / "quickbooks" / f"{TABLES[entity]}.jsonl"
        path.write_bytes(b"\n".join(dumps(row) for row in rows.values()))


def send(url: str, exchange: dict[str, Any], token: str) -> tuple[int, Any]:
    """Send a recorded request; addresses lose the recording's host, and gain the company where it was cut out."""
    request = exchange["request"]
    path = request["uri"].partition("intuit.com")[2].replace("-COMPANY_ID-", REALM)
    if "/company/" not in path:
        path = path.replace("/v3/", f"/v3/company/{REALM}/", 1)
    # The recording asks for changes since 2011, which the 30 days announced later no longer allow.
    path = path.replace("2011-10-10T09:00:00-07:00", "2015-10-01T09:00:00-07:00")
    data = None if request["body"] is None else dumps(request["body"])
    headers = {"Authorization": f"Bearer {token}"}
    call = urllib.request.Request(f"{url}/quickbooks{path}", data, headers, method=request["method"].upper())
    try:
        with urllib.request.urlopen(call, timeout=10) as answer:
            return answer.status, json.loads(answer.read(), parse_float=Decimal)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read(), parse_float=Decimal)


def token_of(url: str) -> str:
    """A fresh access token."""
    manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
    manager.add_password(None, url, CLIENT_ID, CLIENT_SECRET, is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    form = b"grant_type=refresh_token&refresh_token=sandbox-refresh-0"
    with opener.open(f"{url}/quickbooks/oauth2/v1/tokens/bearer", form, timeout=10) as answer:
        return json.load(answer)["access_token"]


def shape(value: Any) -> Any:
    """Keys and types, without the values; lists keep one shape for each element."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        rows = [shape(item) for item in value]
        return sorted(rows, key=str)
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, int | Decimal) else type(value).__name__


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_recorded_requests_get_answers_of_the_recorded_shape(name: str, tmp_path: Path) -> None:
    exchanges = recorded(name)
    found = records_in(exchanges)
    if name in ("create__invoice", "error__validation"):
        found = records_in(recorded("all__customers"))
    write_records(tmp_path, found)
    today = date(2015, 10, 20) if name == "cdc__basic" else date(2022, 9, 2)
    world = make_world(start=today)
    with running_sandbox(world, vendors={"quickbooks": Sandbox}, records=tmp_path, rate_limits=False) as url:
        token = "expired" if name == "error__401" else token_of(url)
        for exchange in exchanges:
            status, body = send(url, exchange, token)
            assert status == exchange["response"]["status"], body
            assert shape(body) == shape(exchange["response"]["body"]), exchange["request"]["uri"]


def test_the_recorded_values_come_back_unchanged(tmp_path: Path) -> None:
    exchanges = recorded("all__customers")
    write_records(tmp_path, records_in(exchanges))
    with running_sandbox(make_world(), vendors={"quickbooks": Sandbox}, records=tmp_path) as url:
        token = token_of(url)
        for exchange in exchanges:
            _, body = send(url, exchange, token)
            assert body["QueryResponse"] == exchange["response"]["body"]["QueryResponse"]
        rows = body["QueryResponse"]["Customer"]
        assert len(rows) == 41
        assert sum(Decimal(row["Balance"]) for row in rows) == Decimal("5204.02")


def test_the_number_text_of_a_recording_is_kept() -> None:
    text = (RECORDED / "all__customers.json").read_text() if RECORDED.exists() else pytest.skip("no recordings")
    row = json.loads(text, parse_float=Decimal)[1]["response"]["body"]["QueryResponse"]["Customer"][0]
    world = make_world()
    state = QuickBooksState(world, Clock(world.today, lambda: 0.0), {"customers": [dumps(row)]})
    assert b'"Balance":639.0,' in state.query("select * from Customer")


def _grammar(rows: dict[str, Any]) -> set[tuple[str, ...]]:
    """Which keys a report's rows have together."""
    found = set()
    for row in rows.get("Row", []):
        found.add(tuple(sorted(row)))
        for part in ("Header", "Summary"):
            found |= {(part, *sorted(row[part]))} if part in row else set()
        found |= _grammar(row.get("Rows", {}))
    return found


def test_our_report_is_built_like_the_recorded_ones() -> None:
    reports = [recorded(name)[0]["response"]["body"] for name in ("reports__gl", "reports__profit_and_loss")]
    world = make_world()
    state = QuickBooksState(world, Clock(world.today, lambda: 0.0), None)
    ours = json.loads(dumps(Ageing(world, state.clock, state.tables, from_records=False).report(world.today)))
    known = set().union(*(_grammar(report["Rows"]) for report in reports))
    assert _grammar(ours["Rows"]) <= known
    assert set(ours) == set(reports[0])
    assert set(ours["Header"]) <= set().union(*(report["Header"] for report in reports))
    assert set(ours["Columns"]["Column"][0]) == set(reports[0]["Columns"]["Column"][0])
    cells = [cell for row in ours["Rows"]["Row"] for cell in row.get("ColData", [])]
    assert all(set(cell) in ({"value"}, {"value", "id"}) and isinstance(cell["value"], str) for cell in cells)
