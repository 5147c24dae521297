"""A vendor's night into the warehouse: what lands, what is remembered, and that no accident changes the outcome."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from extract_fixture import DAY, FAST, NIGHT, MemoryTokens, calls, clear, fault, settings_at
from sandbox_fixture import control, running_sandbox

from pipelines import extract, landing
from pipelines.extract import ExtractFailed
from pipelines.http import ApiError
from pipelines.sandbox.world import make_world
from pipelines.vendors import hubspot, quickbooks
from pipelines.vendors.hubspot import source as hubspot_source
from pipelines.vendors.quickbooks import source as quickbooks_source
from pipelines.vendors.quickbooks.sandbox_render import dumps

TESTS = Path(__file__).parent
RECORDED = TESTS.parents[0].parent / "shared" / "recorded" / "quickbooks" / "all__customers.json"
SOURCES = {"hubspot": hubspot_source, "quickbooks": quickbooks_source}
NEXT = NIGHT + timedelta(days=1)


@pytest.fixture(scope="module", autouse=True)
def no_pacing():
    """The sandbox of these tests has no rate limits, so nothing need wait for them."""
    with pytest.MonkeyPatch.context() as patched:
        for source, card in ((hubspot_source, hubspot.CARD), (quickbooks_source, quickbooks.CARD)):
            patched.setattr(source, "CARD", replace(card, limits=()))
        yield


@pytest.fixture(scope="module")
def running():
    with running_sandbox(make_world(7, 60), rate_limits=False, remake=lambda: make_world(7, 60)) as url:
        yield make_world(7, 60), url


@pytest.fixture
def url(running):
    """The same world once more, with new tokens and without faults."""
    control(running[1], "POST", "reset")
    return running[1]


def night(slug: str, settings, known_at=NIGHT, on_rows=lambda table, rows: None, tokens=None):
    return extract.extract(
        slug, settings, as_of=DAY, known_at=known_at, tokens=tokens or MemoryTokens(), on_rows=on_rows
    )


def side_by_side(settings, known_at=NIGHT, told=None) -> dict[str, extract.Receipt]:
    """A night of both vendors in two threads; `told` collects {slug: {table: rows told of while they arrived}}."""
    told = {slug: Counter() for slug in SOURCES} if told is None else told
    with ThreadPoolExecutor(2) as pool:
        running = {
            slug: pool.submit(
                night, slug, settings, known_at, lambda table, rows, own=told[slug]: own.update({table: rows})
            )
            for slug in SOURCES
        }
        return {slug: one.result(60) for slug, one in running.items()}


def read(settings, query: str, *values) -> list[tuple]:
    with landing.connect(settings.warehouse) as connection:
        return connection.execute(query, list(values)).fetchall()


def contents(settings, slug: str) -> dict[str, set]:
    """{raw table: its rows, whenever and however often they landed}."""
    query = 'SELECT DISTINCT * EXCLUDE (_landed_at, _dlt_load_id) FROM raw_{}."{}"'
    with landing.connect(settings.warehouse) as connection:
        return {table: set(connection.execute(query.format(slug, table)).fetchall()) for table in SOURCES[slug].TABLES}


def loads(settings, slug: str) -> list[tuple]:
    return read(
        settings,
        "SELECT known_at, status, message, calls, rows FROM raw_crossfoot.loads WHERE source = ? ORDER BY ALL",
        slug,
    )


_stores: dict[Path, MemoryTokens] = {}


def tokens_of(settings) -> MemoryTokens:
    """The token store that belongs to a data folder."""
    return _stores.setdefault(settings.data_dir, MemoryTokens())


@pytest.fixture(scope="module")
def heard(running, tmp_path_factory):
    """(settings, receipts, progress) of a first night of both vendors, side by side."""
    settings = settings_at(running[1], tmp_path_factory.mktemp("heard"))
    clear(running[1])
    told = {slug: Counter() for slug in SOURCES}
    return settings, side_by_side(settings, told=told), told


# --- What lands and what is remembered


def test_the_receipt_counts_calls_by_object_and_rows_by_table(heard, running):
    settings, receipts, told = heard
    assert {receipt.status for receipt in receipts.values()} == {"complete"}
    assert receipts["hubspot"].calls["deals"] == 1
    assert receipts["quickbooks"].calls["Invoice"] == 1
    assert sum(receipts["hubspot"].calls.values()) == len(calls(running[1]))
    assert sum(receipts["quickbooks"].calls.values()) == len(calls(running[1], "quickbooks")) - 1, (
        "the token is no call for an object"
    )
    for slug, receipt in receipts.items():
        counted = {
            table: read(settings, f'SELECT count(*) FROM raw_{slug}."{table}"')[0][0] for table in SOURCES[slug].TABLES
        }
        assert receipt.rows == counted
        assert +told[slug] == +Counter(counted), "progress is told as rows arrive"


def test_every_record_of_the_world_is_in_the_warehouse_exactly(heard, running):
    settings, world = heard[0], running[0]
    assert dict(read(settings, "SELECT id, name FROM raw_hubspot.companies WHERE NOT _deleted")) == {
        one.id: one.name for one in world.accounts.values() if not one.archived
    }
    assert dict(read(settings, "SELECT id, total FROM raw_quickbooks.invoices")) == {
        one.id: one.gross for one in world.invoices.values() if not (one.deleted or one.at_once)
    }
    assert dict(read(settings, "SELECT id, amount FROM raw_hubspot.line_items")) == {
        one.id: one.amount / (one.periods or 1 if one.frequency else 1) for one in world.deal_lines.values()
    }
    names = {one.name for one in world.accounts.values()}
    assert any(not name.isascii() for name in names)
    assert any("'" in name or '"' in name for name in names)


def test_malformed_amounts_are_null_and_named(heard, running):
    bad = [deal for deal in running[0].deals.values() if deal.amount_text not in (None, "")]
    assert bad
    for deal in bad:
        ((amount, problem),) = read(heard[0], "SELECT amount, _problem FROM raw_hubspot.deals WHERE id = ?", deal.id)
        assert (amount, problem) == (None, f"amount: {deal.amount_text!r} is not a number")


def test_every_row_is_stamped_with_the_night_and_its_load(heard):
    for slug, source in SOURCES.items():
        for table in source.TABLES:
            found = read(
                heard[0],
                f'SELECT DISTINCT _landed_at, _deleted IS NULL, _dlt_load_id IS NULL FROM raw_{slug}."{table}"',
            )
            assert found in ([], [(NIGHT, False, False)]), table


def test_the_ledger_of_loads_holds_the_night_and_where_the_next_one_starts(heard):
    settings, receipts, _ = heard
    for slug, receipt in receipts.items():
        assert loads(settings, slug) == [
            (NIGHT, "complete", "", sum(receipt.calls.values()), sum(receipt.rows.values()))
        ]
    cursors = extract.last_load(settings, "hubspot").cursors
    assert {"companies", "contacts", "deals", "line_items"} <= cursors.keys()
    assert cursors["deals"].startswith("2026-06-30T21:5"), "the sandbox's own time, less the lag"
    assert {"cdc", "Customer", "Invoice", "Payment"} <= extract.last_load(settings, "quickbooks").cursors.keys()
    assert extract.last_load(settings, "nobody") is None


# --- The call budget


def allowed(url: str, folder: Path, calls: int, slug: str = "quickbooks"):
    return settings_at(url, folder, f"{FAST}[{slug}]\nmax_calls_per_night = {calls}\n")


SMALL_PAGES = {
    "hubspot": {"search": 20, "list": 100, "owners": 500, "associations": 40, "batch": 100},
    "quickbooks": {"query": 40, "cdc": 1000},
}
ALLOWED = {"hubspot": 15, "quickbooks": 28}


@pytest.mark.parametrize("slug", SOURCES)
def test_a_budget_is_never_exceeded_and_night_after_night_everything_is_heard(heard, url, tmp_path, monkeypatch, slug):
    monkeypatch.setattr(SOURCES[slug], "CARD", replace(SOURCES[slug].CARD, page_sizes=SMALL_PAGES[slug]))
    settings, receipts = allowed(url, tmp_path, ALLOWED[slug], slug), []
    while not receipts or receipts[-1].status == "partial":
        assert len(receipts) < 9, "no night came to an end"
        clear(url)
        at = timedelta(days=len(receipts))
        receipts.append(extract.extract(slug, settings, as_of=DAY + at, known_at=NIGHT + at, tokens=tokens_of(settings)))
        asked = [call for call in calls(url, slug) if not call["path"].endswith("bearer")]
        assert len(asked) == sum(receipts[-1].calls.values()) <= ALLOWED[slug]
    assert len(receipts) > 1
    assert receipts[0].message == f"{slug}: the night's {ALLOWED[slug]} calls are used up; the rest follows next night"
    assert [row[1] for row in loads(settings, slug)] == ["partial"] * (len(receipts) - 1) + ["complete"]
    here, there = contents(settings, slug), contents(heard[0], slug)
    of_its_night = ("aged_receivables", "counts")
    assert {name: here[name] ^ there[name] for name in here if name not in of_its_night and here[name] != there[name]} == {}


def test_a_night_that_is_run_again_has_only_what_is_left(url, tmp_path):
    settings = allowed(url, tmp_path, 6)
    assert night("quickbooks", settings, tokens=tokens_of(settings)).status == "partial"
    clear(url)
    again = night("quickbooks", settings, NIGHT + timedelta(minutes=1), tokens=tokens_of(settings))
    assert (again.status, again.calls, again.forecast.used) == ("partial", {}, 6)
    assert [call for call in calls(url, "quickbooks") if not call["path"].endswith("bearer")] == []
    assert again.message.endswith("do not suffice for one round over every object: raise [quickbooks] max_calls_per_night")


def test_a_failed_try_counts_against_the_night(url, tmp_path):
    settings = allowed(url, tmp_path, 9)
    fault(url, "403", "Customer", vendor="quickbooks")
    with pytest.raises(ExtractFailed):
        night("quickbooks", settings, tokens=tokens_of(settings))
    again = night("quickbooks", settings, tokens=tokens_of(settings))
    assert again.forecast.used > 0 and sum(again.calls.values()) + again.forecast.used == 9


def test_the_forecast_is_what_the_last_whole_night_took(url, tmp_path):
    settings, told = settings_at(url, tmp_path), []
    for at in (NIGHT, NEXT):
        receipt = extract.extract("quickbooks", settings, as_of=at.date(), known_at=at, tokens=tokens_of(settings), on_forecast=told.append)
    first, second = told
    assert str(first) == "an unknown number of calls"
    assert str(second) == f"about {sum(receipt.calls.values()) - 1} calls", "the first night has no deletions to ask for"
    assert str(extract.Forecast(1200, 4500, 30)) == "about 1,200 calls of the 4,500 allowed for the night; 30 were made for it before"


def test_a_night_that_was_heard_already_is_replayed_without_a_call(heard, url):
    settings = heard[0]
    before = {slug: contents(settings, slug) for slug in SOURCES}
    for known_at in (NIGHT, NIGHT - timedelta(days=3)):
        receipt = night("hubspot", settings, known_at)
        assert (receipt.status, dict(receipt.calls), dict(receipt.rows)) == ("replayed", {}, {})
        assert receipt.message == "already heard up to 2026-07-01 02:00Z: nothing was called"
    assert control(url, "GET", "requests") == []
    assert len(loads(settings, "hubspot")) == 1
    assert {slug: contents(settings, slug) for slug in SOURCES} == before


def test_the_next_night_adds_only_what_changed_and_starts_where_this_one_ended(tmp_path):
    with running_sandbox(make_world(7, 60), rate_limits=False) as url:
        settings = settings_at(url, tmp_path)
        first = side_by_side(settings)
        control(url, "POST", "advance", {"days": 1})
        shutil.rmtree(settings.data_dir / "dlt")
        second = side_by_side(settings, NEXT)
        # A third listener, who hears both days at once, knows the same records.
        whole = settings_at(url, tmp_path / "whole")
        side_by_side(whole, NEXT)
    assert {receipt.status for receipt in second.values()} == {"complete"}
    assert 0 < second["hubspot"].rows["companies"] < first["hubspot"].rows["companies"] / 2
    assert 0 < second["quickbooks"].rows["invoices"] < first["quickbooks"].rows["invoices"] / 2
    assert [known_at for known_at, *_ in loads(settings, "hubspot")] == [NIGHT, NEXT]
    newest = (
        "SELECT id, {} FROM (SELECT *, "
        "row_number() OVER (PARTITION BY id ORDER BY _landed_at DESC, _deleted DESC) AS age "
        "FROM raw_{}) WHERE age = 1 AND NOT _deleted ORDER BY id"
    )
    for table, column in (
        ("hubspot.companies", "name"),
        ("hubspot.deals", "stage_id"),
        ("quickbooks.invoices", "balance"),
        ("quickbooks.customers", "active"),
        ("quickbooks.payments", "unapplied"),
    ):
        query = newest.format(column, table)
        assert read(settings, query) == read(whole, query), table


def test_an_empty_vendor_leaves_all_its_tables_empty(tmp_path):
    for slug in SOURCES:
        (tmp_path / "none" / slug).mkdir(parents=True)
    with running_sandbox(make_world(7, 1), records=tmp_path / "none", rate_limits=False) as url:
        settings = settings_at(url, tmp_path)
        side_by_side(settings)
    for slug, source in SOURCES.items():
        counts = {
            table: read(settings, f'SELECT count(*) FROM raw_{slug}."{table}" WHERE NOT _deleted')[0][0]
            for table in source.TABLES
        }
        assert (
            {table for table, count in counts.items() if count} == {"company_currency"}
            if slug == "hubspot"
            else {"preferences"}
        )
        declared = set(source.TABLES["exchange_rates"].columns) | {"_landed_at", "_deleted", "_problem", "_dlt_load_id"}
        columns = read(
            settings,
            "SELECT column_name FROM duckdb_columns() WHERE schema_name = ? AND table_name = 'exchange_rates'",
            f"raw_{slug}",
        )
        assert {name for (name,) in columns} == declared


def test_the_41_recorded_customers_land_with_their_balance_to_the_cent(tmp_path):
    if not RECORDED.exists():
        pytest.skip("the recorded exchanges are not beside this repository")
    customers = [
        customer
        for exchange in json.loads(RECORDED.read_text(), parse_float=Decimal)
        for customer in exchange["response"]["body"]["QueryResponse"].get("Customer", [])
    ]
    folder = tmp_path / "records" / "quickbooks"
    folder.mkdir(parents=True)
    (folder / "customers.jsonl").write_bytes(b"\n".join(dumps(customer) for customer in customers))
    with running_sandbox(make_world(7, 1), records=tmp_path / "records", rate_limits=False) as url:
        settings = settings_at(url, tmp_path)
        assert night("quickbooks", settings).rows["customers"] == 41
    assert read(settings, "SELECT count(*), sum(balance), count(_problem) FROM raw_quickbooks.customers") == [
        (41, Decimal("5204.02"), 0)
    ]


# --- Accidents


def same_as_ever(settings, heard, slug: str) -> bool:
    return contents(settings, slug) == contents(heard[0], slug)


def test_a_vendor_that_fails_is_recorded_in_its_own_words_and_the_next_run_completes(heard, url, tmp_path):
    settings = settings_at(url, tmp_path)
    fault(url, "403", "line_items/search")
    with pytest.raises(ExtractFailed) as caught:
        night("hubspot", settings)
    message = str(caught.value)
    assert message.startswith("hubspot: POST /hubspot/crm/objects/")
    assert message.endswith("give the token the scopes that `crossfoot doctor` lists")
    assert "dlt" not in message.lower()
    assert "pipeline" not in message.lower()
    assert isinstance(caught.value.__cause__, ApiError)
    receipt = caught.value.receipt
    assert (receipt.status, receipt.calls["deals"]) == ("failed", 1)
    ((known_at, status, kept, made, _),) = loads(settings, "hubspot")
    assert (known_at, status, kept, made) == (NIGHT, "failed", message, sum(receipt.calls.values()))
    assert extract.last_load(settings, "hubspot") is None
    assert night("hubspot", settings).status == "complete"
    assert [status for _, status, *_ in loads(settings, "hubspot")] == ["complete", "failed"]
    assert same_as_ever(settings, heard, "hubspot")


def test_one_vendor_failing_leaves_the_other_alone_and_keeps_its_rotated_token(heard, url, tmp_path):
    settings, tokens = settings_at(url, tmp_path), MemoryTokens()
    fault(url, "403", "FROM Invoice", vendor="quickbooks")
    with ThreadPoolExecutor(2) as pool:
        running = {slug: pool.submit(night, slug, settings, tokens=tokens) for slug in SOURCES}
    assert running["hubspot"].result().status == "complete"
    with pytest.raises(ExtractFailed, match="connect the app to this company again with the accounting scope"):
        running["quickbooks"].result()
    assert len(tokens.stored) == 1
    assert night("quickbooks", settings, tokens=tokens).status == "complete"
    assert len(tokens.stored) == 2
    for slug in SOURCES:
        assert same_as_ever(settings, heard, slug)


class Killed(BaseException):
    """What no handler of the program catches."""


@pytest.mark.parametrize(("slug", "table"), [("hubspot", "deals"), ("quickbooks", "payments")])
def test_a_run_that_is_broken_off_while_paging_changes_nothing_in_the_end(heard, url, tmp_path, slug, table):
    settings = settings_at(url, tmp_path)

    def break_off(name: str, rows: int) -> None:
        if name == table:
            raise Killed

    with pytest.raises(BaseException) as caught:
        night(slug, settings, on_rows=break_off)
    assert caught.type is Killed or isinstance(caught.value.__cause__, Killed)
    assert extract.last_load(settings, slug) is None
    assert night(slug, settings).status == "complete"
    assert same_as_ever(settings, heard, slug)


VICTIM = """
import sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
import extract_fixture, test_extract

def stop(table, rows):
    if table == sys.argv[4]:
        print("in the middle", flush=True)
        sys.stdin.read()

test_extract.night(sys.argv[5], extract_fixture.settings_at(sys.argv[2], Path(sys.argv[3])), on_rows=stop)
"""


def test_a_process_that_is_killed_in_the_middle_changes_nothing_in_the_end(heard, url, tmp_path):
    command = [sys.executable, "-c", VICTIM, str(TESTS), url, str(tmp_path), "line_items", "hubspot"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS.parent
    ) as victim:
        assert victim.stdout.readline() == "in the middle\n"
        victim.kill()
        assert victim.wait(10) == -9
    settings = settings_at(url, tmp_path)
    assert (settings.data_dir / "dlt" / "crossfoot_hubspot").is_dir(), "it left nothing behind: nothing is tested"
    receipt = night("hubspot", settings)
    assert receipt.status == "complete"
    assert [status for _, status, *_ in loads(settings, "hubspot")] == ["complete"]
    assert read(settings, "SELECT count(*) FROM raw_hubspot.companies") == [(receipt.rows["companies"],)]
    assert same_as_ever(settings, heard, "hubspot")


def test_whoever_deletes_the_warehouse_starts_from_scratch(heard, url, tmp_path):
    settings = settings_at(url, tmp_path)
    night("quickbooks", settings)
    settings.warehouse.unlink()
    again = night("quickbooks", settings)
    assert (again.status, again.rows) == ("complete", heard[1]["quickbooks"].rows)
    assert same_as_ever(settings, heard, "quickbooks")
