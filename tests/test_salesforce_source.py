"""Salesforce's source: its queries and rows against an org in memory, whose SOQL the sandbox's parser reads."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from extract_fixture import DAY, NIGHT, clear, fault
from sandbox_fixture import running_sandbox

from pipelines import settings
from pipelines.card import Call
from pipelines.http import Api, ApiError, BudgetSpent, Response, RetryPolicy
from pipelines.landing import Job, batches
from pipelines.sandbox.world import make_world
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors import VENDORS
from pipelines.vendors.salesforce import CARD, VERSION, source, source_bulk, source_query, source_rows
from pipelines.vendors.salesforce.sandbox import Sandbox
from pipelines.vendors.salesforce.sandbox_schema import make_id, objects
from pipelines.vendors.salesforce.sandbox_soql import Both, Comparison, Either, Negation, parse, stamp

CARDS = {**VENDORS, CARD.slug: CARD}
START = datetime(2026, 6, 1, 8, tzinfo=UTC)
NOW = datetime(2026, 7, 1, 1, 30, 20, tzinfo=UTC)
ACCOUNT, OPPORTUNITY, LINE = (next(kind for kind in source_rows.KINDS if kind.name == name)
                              for name in ("Account", "Opportunity", "OpportunityLineItem"))  # fmt: skip
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, ">": lambda a, b: a is not None and a > b, ">=": lambda a, b: a is not None and a >= b,
    "<": lambda a, b: a is not None and a < b,
}  # fmt: skip


def true_of(node: Any, record: Mapping[str, Any]) -> bool:
    if isinstance(node, Both):
        return all(true_of(part, record) for part in node.parts)
    if isinstance(node, Either):
        return any(true_of(part, record) for part in node.parts)
    if isinstance(node, Negation):
        return not true_of(node.part, record)
    assert isinstance(node, Comparison)
    values = [literal.value for literal in node.literals]
    if node.operator == "in":
        return record[node.path] in values
    return COMPARE[node.operator](record[node.path], values[0])


def described_fields(*, currencies: bool = True) -> dict[str, dict[str, dict[str, Any]]]:
    """{object: {field: what describe says}} of the sandbox's org."""
    needs = {"currencies"} if currencies else set()
    return {
        one.name: {
            f.name: {"name": f.name, "calculated": f.calculated} for f in one.fields.values() if not f.needs or f.needs in needs
        }
        for one in objects(("Won",), ("USD", "EUR")).values()
        if currencies or one.name not in ("CurrencyType", "DatedConversionRate")
    }


@dataclass
class Org:
    """An org in memory in place of an Api: records by object, pages of `size`, a log of deletions.

    `lose` names the pages (counted over all queries) whose cursor is gone; `budget` is how many calls are left.
    """

    size: int = 10
    now: datetime = NOW
    budget: int = 10_000
    base_url: str = "https://acme.my.salesforce.com"
    records: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    fields: dict[str, dict[str, dict[str, Any]]] = field(default_factory=described_fields)
    lose: set[int] = field(default_factory=set)
    lost_code: str = "INVALID_QUERY_LOCATOR"
    log: dict[str, list[str]] = field(default_factory=dict)
    log_error: str = ""
    covered: datetime | None = None
    short: int = 0
    astray: str = ""
    results: list[tuple[str, str]] = field(default_factory=list)
    on_query: Callable[["Org"], None] = lambda org: None
    calls: Counter[str] = field(default_factory=Counter)
    queries: list[str] = field(default_factory=list)
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    locators: dict[str, tuple[list[dict[str, Any]], int]] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    job_states: list[str] = field(default_factory=list)
    waited: list[Any] = field(default_factory=list)
    pages: int = 0

    def __post_init__(self) -> None:
        self.retry = RetryPolicy(sleep=self.waited.append)
        self.put("Organization", 1, self.now, Name="Acme Inc", DefaultCurrencyIsoCode="USD")

    def put(self, name: str, number: int, when: datetime = START, **values: Any) -> str:
        """Adds or replaces a record; every field that is not given is null."""
        record_id = make_id(name, number)
        blank = dict.fromkeys(self.fields[name])
        self.records.setdefault(name, {})[record_id] = {
            **blank, "Id": record_id, "SystemModstamp": stamp(when), "IsDeleted": False, **values,
        }  # fmt: skip
        return record_id

    def change(self, name: str, number: int, **values: Any) -> None:
        self.records[name][make_id(name, number)].update(values)

    def purge(self, name: str, number: int) -> str:
        gone = self.records[name].pop(make_id(name, number))["Id"]
        self.log.setdefault(name, []).append(gone)
        return gone

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, headers: Any = None, label: str = "") -> Response:
        self._count(label)
        self.asked.append((path, params or {}))
        path = path.lstrip("/").removeprefix(source_query.DATA)
        if path.startswith("/query"):
            return self._query(path, params or {})
        if path.startswith("/jobs/query/"):
            return self._job(path.split("/")[3:], params or {})
        if path == "/sobjects":
            return self._answer({"sobjects": [{"name": name, "updateable": True} for name in self.fields]})
        if path.endswith("/describe"):
            known = self.fields.get(path.split("/")[2])
            return self._answer({"fields": list(known.values())}) if known else self._refuse(404, "NOT_FOUND")
        if path.endswith("/deleted/"):
            return self._deleted(path.split("/")[2], params or {})
        if path == "/limits":
            return self._answer({"DailyApiRequests": {"Max": 15000, "Remaining": 14000}})
        assert path == "services/data", path
        return self._answer([{"version": "67.0"}, {"version": "68.0"}])

    def post(self, path: str, body: Any, *, safe: bool, label: str) -> Response:
        self._count(label)
        assert path == source_bulk.PATH and safe
        self.jobs[f"75000000000000{len(self.jobs)}"] = json.dumps(body)
        return self._answer({"id": list(self.jobs)[-1], "state": "UploadComplete"})

    def _count(self, label: str) -> None:
        if self.calls.total() >= self.budget:
            raise BudgetSpent(f"salesforce: the night's {self.budget} calls are used up")
        self.calls[label] += 1

    def _answer(self, body: Any, **headers: str) -> Response:
        date_header = {"Date": format_datetime(self.now, usegmt=True)}
        return Response(200, {**date_header, **headers}, body if isinstance(body, str) else json.dumps(body))

    def _refuse(self, status: int, code: str) -> Response:
        raise ApiError(status, [{"errorCode": code, "message": code}], "salesforce: GET")

    def _query(self, path: str, params: Mapping[str, Any]) -> Response:
        self.pages += 1
        if "q" not in params:
            if self.pages in self.lose:
                self._refuse(400, self.lost_code)
            return self._page(*self.locators[path.rpartition("/")[2]])
        self.queries.append(params["q"])
        self.on_query(self)
        if params["q"].startswith("SELECT COUNT()"):
            total = len(self.records.get(params["q"].split()[-1], {}))
            return self._answer({"totalSize": total, "done": True, "records": []})
        return self._page(self.select(params["q"], deleted=path == "/queryAll"), 0)

    def _page(self, found: list[dict[str, Any]], start: int) -> Response:
        end = start + self.size
        body = {"totalSize": len(found), "done": end >= len(found), "records": found[start : end - self.short]}
        if not body["done"]:
            locator = f"01g{len(self.locators):012d}AAA-{end}"
            self.locators[locator] = (found, end)
            body["nextRecordsUrl"] = f"{self.astray}/{source_query.DATA}/query/{locator}"
        return self._answer(body)

    def select(self, text: str, *, deleted: bool) -> list[dict[str, Any]]:
        """The query's records as REST shows them; an unknown field is an error, as in the org."""
        query = parse(text)
        rows = [one for one in self.records.get(query.entity, {}).values() if deleted or not one["IsDeleted"]]
        rows = [one for one in rows if query.where is None or true_of(query.where, one)]
        for order in reversed(query.order):
            rows.sort(key=lambda one, path=order.path: one[path])
        unknown = {column.path for column in query.columns} - self.fields[query.entity].keys() - {"RecordType.Name"}
        assert unknown == set(), text
        return [{"attributes": {"type": query.entity}, **{str(c.path).partition(".")[0]: one[str(c.path).partition(".")[0]]
                                                         for c in query.columns}} for one in rows]  # fmt: skip

    def _deleted(self, name: str, params: Mapping[str, Any]) -> Response:
        if self.log_error:
            self._refuse(400, self.log_error)
        assert datetime.fromisoformat(params["end"]) - datetime.fromisoformat(params["start"]) > timedelta(minutes=1)
        gone = [{"id": one, "deletedDate": stamp(self.now)} for one in self.log.get(name, [])]
        covered = stamp(self.covered or self.now)
        return self._answer({"deletedRecords": gone, "earliestDateAvailable": stamp(START), "latestDateCovered": covered})

    def _job(self, parts: list[str], params: Mapping[str, Any]) -> Response:
        body = json.loads(self.jobs[parts[0]])
        found = self.select(body["query"], deleted=body["operation"] == "queryAll")
        if len(parts) == 1:
            state = self.job_states.pop(0) if self.job_states else "JobComplete"
            return self._answer({"id": parts[0], "state": state, "numberRecordsProcessed": len(found), "errorMessage": "why"})
        if self.results:
            text, locator = self.results.pop(0)
            return self._answer(text, **{"Sforce-Locator": locator})
        start = int(params.get("locator", 0))
        end = min(start + params["maxRecords"], len(found))
        text = as_csv(parse(body["query"]), list(reversed(found))[start : end - self.short])
        return self._answer(text, **{"Sforce-Locator": "null" if end == len(found) else str(end),
                                     "Sforce-NumberOfRecords": str(end - start)})  # fmt: skip


def as_csv(query: Any, found: list[dict[str, Any]]) -> str:
    """Records as Bulk API 2.0 writes them: null is nothing between the commas, and times end in Z."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([column.path for column in query.columns])
    for one in found:
        cells = []
        for column in query.columns:
            parent, _, name = str(column.path).rpartition(".")
            value = (one[parent] or {}).get(name) if parent else one[name]
            text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            cells.append(text.replace("+0000", "Z"))
        writer.writerow(cells)
    return out.getvalue()


def settings_with(folder: Path, more: str = "", profile: str = "sandbox") -> Settings:
    """Settings of Salesforce and the first ledger; `more` is the text of its section."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "crossfoot.toml"
    config.write_text(f'profile = "{profile}"\n[vendors]\ncrms = ["salesforce"]\n[salesforce]\n{more}', encoding="utf-8")
    return settings.load(CARDS, config=config, data_dir=folder / "data", environment={})


@dataclass
class Nights:
    """Nights over an org, with what the warehouse would hold between them."""

    org: Org
    settings: Settings
    cursors: dict[str, str] = field(default_factory=dict)
    landed: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in source.TABLES})
    spent: str = ""
    notes: list[str] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def job(self) -> Job:
        return Job(self.org, self.settings, DAY, NIGHT, self.cursors, self.known_ids, known=self.known)

    def known_ids(self, table: str) -> set[str]:
        return set(self.alive(table))

    def known(self, table: str, columns: Any) -> dict[str, tuple[Any, ...]]:
        return {record_id: tuple(row[column] for column in columns) for record_id, row in self.alive(table).items()}

    def alive(self, table: str) -> dict[str, Mapping[str, Any]]:
        newest: dict[str, Mapping[str, Any]] = {}
        for one in self.landed[table]:
            newest[one["id"]] = one
        return {record_id: one for record_id, one in newest.items() if not one.get("_deleted")}

    def run(self, *kinds: Any) -> dict[str, list[dict[str, Any]]]:
        """One night of these objects (or of all), each cut off where the calls end; its rows by table."""
        job = self.job()
        gone: dict[str, set[str]] = {kind.table: set() for kind in source_rows.KINDS}
        resources = [source.records(job, kind, gone[kind.table]) for kind in kinds or source_rows.KINDS]
        self.rows = {name: [] for name in source.TABLES}
        for pages in [source.organization(job), source.opportunity_stages(job), *resources, source.deletions(job, gone)]:
            try:
                for table, rows in pages:
                    self.rows[table] += rows
            except BudgetSpent as error:
                self.spent = str(error)
        for table, rows in self.rows.items():
            self.landed[table] += rows
        self.cursors, self.notes = {**job.cursors, **job.next_cursors}, job.notes
        return self.rows


@pytest.fixture
def org() -> Org:
    return Org()


@pytest.fixture
def nights(org, tmp_path) -> Nights:
    return Nights(org, settings_with(tmp_path))


def accounts(org: Org, count: int, step: int = 60) -> list[str]:
    """So many accounts, changed `step` seconds after one another."""
    return [org.put("Account", n, START + timedelta(seconds=step * n), Name=f"Company {n}") for n in range(1, count + 1)]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


# --- Reading changes


def test_ties_over_a_page_edge_are_read_once_each_when_the_cursor_is_lost(org, nights):
    """85 accounts of one second, and the vendor drops the cursor behind every first page."""
    expected = accounts(org, 85, step=0)
    org.lose = set(range(1, 100))
    rows = nights.run(ACCOUNT)["accounts"]
    assert ids(rows) == expected
    assert sum("SystemModstamp =" in query for query in org.queries) == 8


@pytest.mark.parametrize("code", sorted(source_query.LOCATOR_LOST))
def test_a_lost_cursor_is_no_end(org, nights, code):
    expected = accounts(org, 25)
    org.lose, org.lost_code = {4, 5}, code
    assert ids(nights.run(ACCOUNT)["accounts"]) == expected


def test_records_that_pages_left_out_are_read_after_all(org, nights):
    """The first two pages of ten miss three records each; asked again, they are complete."""
    expected = accounts(org, 25)
    org.records["Organization"] = {}
    org.short, org.on_query = 3, lambda org: setattr(org, "short", 0 if len(org.queries) > 5 else 3)
    rows = nights.run(ACCOUNT)["accounts"]
    assert sorted(set(ids(rows))) == expected and len(rows) > 25


def test_a_night_that_ends_before_left_out_records_came_reads_them_in_the_next(org, nights):
    expected = accounts(org, 25)
    org.records["Organization"], org.short, org.budget = {}, 3, 10
    nights.run(ACCOUNT)
    assert nights.spent and len(nights.alive("accounts")) < 25
    org.short, org.budget = 0, 10_000
    nights.run(ACCOUNT)
    assert sorted(nights.alive("accounts")) == expected


def test_another_refusal_of_a_page_is_an_error(org, nights):
    accounts(org, 25)
    org.lose, org.lost_code = set(range(1, 40)), "SERVER_UNAVAILABLE"
    with pytest.raises(ApiError, match="SERVER_UNAVAILABLE"):
        nights.run(ACCOUNT)


def test_pages_that_stop_early_are_asked_for_again_and_end_in_an_error(org, nights):
    accounts(org, 5)
    org.short = 10
    with pytest.raises(RuntimeError, match="reading CurrencyType broke off|reading Organization broke off"):
        nights.run(ACCOUNT)
    with pytest.raises(RuntimeError, match=f"reading Account broke off {source_query.MAX_RESTARTS} times behind its beginning"):
        list(source.records(nights.job(), ACCOUNT))


def test_the_next_page_has_to_be_the_vendors(org):
    accounts(org, 25)
    org.astray = "https://evil.example"
    with pytest.raises(RuntimeError, match="the next page of Account is at"):
        list(source_query.pages(org, "queryAll", "SELECT Id, SystemModstamp FROM Account", "Account"))


def test_the_second_night_reads_from_the_vendors_time_less_the_overlap(org, nights):
    accounts(org, 3)
    nights.run(ACCOUNT)
    assert nights.cursors["Account"] == "2026-07-01T01:28:20.000Z"
    org.put("Account", 2, NOW - timedelta(seconds=100), Name="Renamed")
    assert [row["name"] for row in nights.run(ACCOUNT)["accounts"]] == ["Renamed"]
    assert "WHERE SystemModstamp >= 2026-07-01T01:28:20.000Z ORDER BY SystemModstamp, Id" in org.queries[-1]


@pytest.mark.parametrize("calls", range(7, 13))
def test_a_night_that_is_cut_off_and_the_next_give_the_rows_of_one_night(tmp_path, calls):
    """Twelve accounts share each stamp, so every cut falls between equal stamps; nothing is read twice."""
    whole = Nights(Org(), settings_with(tmp_path))
    cut = Nights(Org(budget=calls), whole.settings)
    for nights in (whole, cut):
        for n in range(1, 61):
            nights.org.put("Account", n, START + timedelta(seconds=n // 12), Name=f"Company {n}")
    whole.run(ACCOUNT)
    cut.run(ACCOUNT)
    assert cut.spent and len(cut.alive("accounts")) < 60
    cut.org.budget = 10_000
    cut.run(ACCOUNT)
    assert cut.alive("accounts") == whole.alive("accounts")
    assert len(cut.landed["accounts"]) == 60
    assert cut.cursors["Account"] == whole.cursors["Account"]


def test_a_cut_off_night_does_not_move_past_the_overlap(org, nights):
    """A change that is still being saved can get an older stamp than the newest that shows."""
    org.budget = 8
    for n in range(1, 31):
        org.put("Account", n, NOW - timedelta(seconds=30), Name=f"Company {n}")
    nights.run(ACCOUNT)
    assert nights.spent and nights.cursors["Account"] == "2026-07-01T01:28:20.000Z"


def test_a_first_night_that_was_cut_off_at_once_starts_again(org, nights):
    org.budget = 3
    accounts(org, 5)
    nights.run(ACCOUNT)
    org.budget = 10_000
    assert len(nights.run(ACCOUNT)["accounts"]) == 5


def test_a_field_that_is_new_in_the_org_reads_the_object_anew(org, nights):
    del org.fields["Account"]["Billing_Email__c"]
    accounts(org, 3)
    nights.run(ACCOUNT)
    org.fields["Account"]["Billing_Email__c"] = {"name": "Billing_Email__c", "calculated": False}
    for one in org.records["Account"].values():
        one["Billing_Email__c"] = "pay@example.com"
    assert [row["billing_email"] for row in nights.run(ACCOUNT)["accounts"]] == ["pay@example.com"] * 3
    assert any("other fields" in note for note in nights.notes)
    assert nights.run(ACCOUNT)["accounts"] == []


def test_an_object_that_is_read_anew_stays_so_when_the_calls_end(org, nights):
    """Cut off before its first page, it begins again, although the other fields are known by then."""
    accounts(org, 3)
    there = org.fields["Account"].pop("Billing_Email__c")
    nights.run(ACCOUNT)
    org.fields["Account"]["Billing_Email__c"] = there
    job, org.budget = nights.job(), org.calls.total() + 1
    with pytest.raises(BudgetSpent):
        list(source.records(job, ACCOUNT))
    nights.cursors, org.budget = {**job.cursors, **job.next_cursors}, 10_000
    assert len(nights.run(ACCOUNT)["accounts"]) == 3


def test_a_field_that_the_numbers_rest_on_has_to_be_visible(org, nights):
    del org.fields["Opportunity"]["Amount"]
    with pytest.raises(RuntimeError, match="cannot see Opportunity.Amount; give it read access"):
        nights.run(OPPORTUNITY)


def test_an_object_that_cannot_be_seen_is_named(org, nights):
    del org.fields["Opportunity"]
    with pytest.raises(RuntimeError, match="cannot see Opportunity; give it read access"):
        list(source.records(nights.job(), OPPORTUNITY))


# --- Deletions


def test_a_deleted_record_becomes_a_deletion(org, nights):
    first, *others = accounts(org, 3)
    nights.run(ACCOUNT)
    org.change("Account", 1, IsDeleted=True, SystemModstamp=stamp(NOW))
    org.log["Account"] = [first]
    rows = nights.run(ACCOUNT)["accounts"]
    assert rows == [{"id": first, "_deleted": True}]
    assert sorted(nights.alive("accounts")) == others


def test_a_merged_record_is_gone_and_its_survivor_stays(org, nights):
    loser, survivor = accounts(org, 2)
    nights.run(ACCOUNT)
    org.change("Account", 1, IsDeleted=True, MasterRecordId=survivor, SystemModstamp=stamp(NOW))
    org.change("Account", 2, Name="Both", SystemModstamp=stamp(NOW))
    nights.run(ACCOUNT)
    assert {key: row["name"] for key, row in nights.alive("accounts").items()} == {survivor: "Both"}
    assert "1 accounts were merged into others: their ids count as deleted" in nights.notes
    assert loser not in " ".join(nights.notes)


def test_a_record_that_left_the_recycle_bin_is_found_in_the_log(org, nights):
    _, *others = accounts(org, 3)
    org.put("Opportunity", 1, Name="Deal")
    nights.run()
    gone = org.purge("Account", 1)
    rows = nights.run()
    assert rows["accounts"] == [{"id": gone, "_deleted": True}] and rows["opportunities"] == []
    assert sorted(nights.alive("accounts")) == others


def test_a_record_that_was_restored_is_not_deleted_by_the_log(org, nights):
    restored, *_ = accounts(org, 3)
    nights.run()
    org.log["Account"] = [restored]
    assert nights.run()["accounts"] == []


def test_a_record_of_somebody_else_in_the_log_is_no_row(org, nights):
    accounts(org, 1)
    nights.run()
    org.log["Account"] = [make_id("Account", 99), "'; DROP"]
    assert nights.run()["accounts"] == []


def test_the_log_is_asked_for_the_time_since_the_last_night(org, nights):
    nights.run()
    org.now = NOW + timedelta(days=1)
    nights.run()
    asked = [params for path, params in org.asked if path.endswith("/Account/deleted/")]
    assert asked == [{"start": "2026-07-01T01:28:20+00:00", "end": "2026-07-02T01:30:00+00:00"}]
    assert nights.cursors["deleted"] == "2026-07-02T01:28:00.000Z"


def test_the_log_is_asked_for_more_than_a_minute(org, tmp_path):
    """Two nights within one minute; the org in memory refuses a shorter span, as the vendor does."""
    nights = Nights(org, settings_with(tmp_path, "overlap_seconds = 0\n"))
    accounts(org, 2)
    nights.run()
    gone = org.purge("Account", 1)
    assert nights.run()["accounts"] == [{"id": gone, "_deleted": True}]


def test_a_night_without_calls_for_the_log_leaves_it_to_the_next(org, nights):
    accounts(org, 3)
    nights.run()
    gone, org.budget, org.now = org.purge("Account", 1), org.calls.total() + 5, NOW + timedelta(days=1)
    assert nights.run()["accounts"] == []
    org.budget, org.now = 10_000, NOW + timedelta(days=2)
    assert nights.run()["accounts"] == [{"id": gone, "_deleted": True}]
    asked = [params["start"] for path, params in org.asked if path.endswith("/Account/deleted/")]
    assert asked == ["2026-07-01T01:28:20+00:00"]


@pytest.mark.parametrize(("days", "error"), [(40, ""), (1, "INVALID_REPLICATION_DATE"), (1, "EXCEEDED_ID_LIMIT")])
def test_where_the_log_cannot_tell_all_ids_are_compared(org, nights, days, error):
    expected = accounts(org, 25)
    nights.run()
    org.purge("Account", 7)
    org.log, org.log_error, org.now = {}, error, NOW + timedelta(days=days)
    org.put("Account", 26, NOW + timedelta(days=days), Name="Late")
    rows = nights.run()["accounts"]
    assert [row["id"] for row in rows if row.get("_deleted")] == [expected[6]]
    assert len(nights.alive("accounts")) == 25
    assert any("comparing all ids" in note for note in nights.notes)


def test_all_ids_are_compared_although_every_cursor_is_lost(org, nights):
    """The org lists its records in no order of its own."""
    expected = accounts(org, 85)
    org.records["Account"] = dict(reversed(org.records["Account"].items()))
    nights.run()
    gone, org.log_error, org.lose = org.purge("Account", 44), "INVALID_REPLICATION_DATE", set(range(1, 1000))
    assert nights.run()["accounts"] == [{"id": gone, "_deleted": True}]
    assert sorted(nights.alive("accounts")) == sorted(set(expected) - {gone})


def test_a_log_that_is_not_complete_yet_is_asked_again(org, nights):
    nights.run()
    org.now, org.covered = NOW + timedelta(days=1), NOW + timedelta(hours=20)
    nights.run()
    assert nights.cursors["deleted"] == "2026-07-01T21:28:20.000Z"


def test_a_list_of_ids_that_is_not_read_to_its_end_deletes_nothing(org, nights):
    accounts(org, 25)
    nights.run()
    org.log_error = "INVALID_REPLICATION_DATE"
    job, org.short = nights.job(), 3
    with pytest.raises(RuntimeError, match="reading all Account broke off 5 times behind its beginning"):
        list(source.deletions(job))
    assert "deleted" not in job.next_cursors
    org.short, org.budget = 0, org.calls.total() + 3
    with pytest.raises(BudgetSpent):
        list(source.deletions(job))
    assert "deleted" not in job.next_cursors


def test_nothing_can_have_been_deleted_before_the_first_night(org, nights):
    accounts(org, 3)
    nights.run()
    assert not [path for path, _ in org.asked if "deleted" in path]
    assert nights.cursors["deleted"] == "2026-07-01T01:28:20.000Z"


# --- Fields that Salesforce computes


def computed(org: Org) -> None:
    org.fields["Opportunity"]["Invoice_Numbers__c"]["calculated"] = True
    for n in range(1, 26):
        org.put("Opportunity", n, Name=f"Deal {n}", Amount=n, Invoice_Numbers__c=f"INV-{n}")


def test_a_computed_field_that_changed_lands_the_whole_record_again(org, nights):
    computed(org)
    nights.run(OPPORTUNITY)
    org.change("Opportunity", 12, Invoice_Numbers__c="INV-99")
    (found,) = nights.run(OPPORTUNITY)["opportunities"]
    assert (found["id"], found["invoice_numbers"], found["amount"], found["name"]) == (
        make_id("Opportunity", 12), "INV-99", Decimal(12), "Deal 12")  # fmt: skip
    assert nights.run(OPPORTUNITY)["opportunities"] == []


def test_a_record_that_changed_otherwise_is_not_landed_twice(org, nights):
    computed(org)
    nights.run(OPPORTUNITY)
    org.change("Opportunity", 12, Invoice_Numbers__c="INV-99", SystemModstamp=stamp(NOW))
    assert len(nights.run(OPPORTUNITY)["opportunities"]) == 1


def test_the_first_night_has_nothing_to_compare(org, nights):
    computed(org)
    assert len(nights.run(OPPORTUNITY)["opportunities"]) == 25
    assert not any("ORDER BY Id" in query for query in org.queries)


def test_without_computed_fields_nothing_is_compared(org, nights):
    accounts(org, 3)
    nights.run()
    nights.run()
    assert not any("ORDER BY Id" in query for query in org.queries)


# --- Bulk


def rich_opportunities(org: Org) -> None:
    """Opportunities with everything that two formats could write differently."""
    org.fields["Opportunity"]["RecordTypeId"] = {"name": "RecordTypeId", "calculated": False}
    for n in range(1, 36):
        org.put(
            "Opportunity", n, START + timedelta(seconds=n // 9), Name=f'Deal, "{n}"\nnext line | é',
            Amount=None if n % 5 == 0 else n * 1.25, CloseDate="2026-05-01", Probability=n, IsWon=n % 2 == 0,
            IsClosed=True, StageName="Proposal/Price Quote", CurrencyIsoCode="EUR",
            RecordType={"attributes": {}, "Name": "Renewal"} if n % 3 else None, IsDeleted=n == 7,
        )  # fmt: skip


def test_bulk_gives_the_rows_of_rest(org, nights, tmp_path, monkeypatch):
    monkeypatch.setattr(source_bulk, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "bulk": 8}))
    rich_opportunities(org)
    by_page = nights.run(OPPORTUNITY)["opportunities"]
    bulk = Nights(Org(fields=org.fields), settings_with(tmp_path / "bulk", "bulk_threshold = 20\n"))
    bulk.org.records = org.records
    by_job = bulk.run(OPPORTUNITY)["opportunities"]
    assert sorted(by_job, key=lambda row: row["id"]) == sorted(by_page, key=lambda row: row["id"]) and len(by_job) == 35
    assert {row.get("record_type") for row in by_job} == {None, "Renewal"}
    assert bulk.org.calls["Opportunity bulk"] == 1 + 1 + 5 and bulk.org.calls["Opportunity"] == 1
    assert bulk.cursors == nights.cursors
    (body,) = map(json.loads, bulk.org.jobs.values())
    assert body["operation"] == "queryAll" and "ORDER BY" not in body["query"]


def test_a_night_that_is_cut_off_in_bulk_starts_it_again(org, tmp_path, monkeypatch):
    monkeypatch.setattr(source_bulk, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "bulk": 8}))
    rich_opportunities(org)
    nights = Nights(org, settings_with(tmp_path, "bulk_threshold = 20\n"))
    org.budget = 11
    nights.run(OPPORTUNITY)
    assert nights.spent and "Opportunity" not in nights.cursors
    org.budget = 10_000
    nights.run(OPPORTUNITY)
    assert len(nights.alive("opportunities")) == 34


def test_a_job_is_waited_for_with_longer_and_longer_pauses(org, tmp_path):
    rich_opportunities(org)
    org.job_states = ["UploadComplete"] + ["InProgress"] * 7
    Nights(org, settings_with(tmp_path, "bulk_threshold = 20\n")).run(OPPORTUNITY)
    assert org.waited == [1, 2, 4, 8, 16, 32, 32, 32]


@pytest.mark.parametrize("state", ["Failed", "Aborted"])
def test_a_job_that_ends_otherwise_is_named(org, state):
    org.job_states = [state]
    with pytest.raises(RuntimeError, match=rf"bulk job 75\d+ \(Account\) ended as {state}: why; run again later, or raise"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_a_job_that_never_ends_is_given_up(org, monkeypatch):
    monkeypatch.setattr(source_bulk, "MAX_POLLS", 3)
    org.job_states = ["InProgress"] * 5
    with pytest.raises(RuntimeError, match="not complete after 3 looks"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_sets_that_end_early_are_an_error(org):
    accounts(org, 5)
    org.results = [("Id\n1\n2\n", "MTA"), ("Id\n3\n", "null")]
    with pytest.raises(RuntimeError, match="gave 3 records, not 5"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_a_set_that_comes_again_is_an_error(org):
    org.results = [("Id\n1\n", "MTA")] * 5
    with pytest.raises(RuntimeError, match="repeats a set of results"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_results_that_miss_records_are_an_error(org):
    accounts(org, 5)
    org.short = 1
    with pytest.raises(RuntimeError, match="gave 4 records, not 5"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_a_line_of_results_that_is_cut_off_is_an_error():
    with pytest.raises(RuntimeError, match="line 3 of the bulk results of Account has 1 cells, not 2"):
        source_bulk.csv_records("Id,Name\n001,Acme\n002\n", "Account")


def test_an_empty_cell_is_null_and_a_parents_field_is_inside():
    text = '\ufeff"Id","Name","RecordType.Name"\n"1","null","Renewal"\n"2","",""\n'
    assert source_bulk.csv_records(text, "Opportunity") == [
        {"Id": "1", "Name": "null", "RecordType": {"Name": "Renewal"}}, {"Id": "2", "Name": None, "RecordType": None},
    ]  # fmt: skip


# --- Rows


def job_of(tmp_path: Path, more: str = "") -> Job:
    return Job(Org(), settings_with(tmp_path, more), DAY, NIGHT, {}, lambda table: set())


def test_an_opportunity_as_rest_writes_it(tmp_path):
    text = """{"attributes": {"type": "Opportunity", "url": "/x"}, "Id": "006000000000001AAA", "Name": "Acme | 10 seats, yearly",
        "AccountId": "001000000000001AAA", "OwnerId": "005000000000001AAA", "RecordType": {"attributes": {}, "Name": "Renewal"},
        "StageName": "Id. Decision Makers", "Amount": 1234.57, "CurrencyIsoCode": "EUR", "CloseDate": "2026-05-31",
        "Probability": 62.5, "IsWon": false, "IsClosed": false, "Type": null, "Contract_Start__c": "2026-06-01",
        "SystemModstamp": "2026-05-02T10:00:00.000+0000"}"""
    row = source_rows.opportunity_row(json.loads(text, parse_float=Decimal), job_of(tmp_path))
    assert row == {
        "id": "006000000000001AAA", "name": "Acme | 10 seats, yearly", "account_id": "001000000000001AAA",
        "owner_id": "005000000000001AAA", "record_type": "Renewal", "stage_name": "Id. Decision Makers",
        "amount": Decimal("1234.57"), "currency": "EUR", "close_date": date(2026, 5, 31), "probability": Decimal("0.625"),
        "is_won": False, "is_closed": False, "deal_type": None, "payment_terms": None, "contract_start": date(2026, 6, 1),
        "contract_end": None, "invoice_numbers": None, "url": "https://acme.my.salesforce.com/006000000000001AAA",
        "modified_at": datetime(2026, 5, 2, 10, tzinfo=UTC), "_problem": None,
    }  # fmt: skip


@pytest.mark.parametrize("amount", ["12,50 EUR", True, "NaN", "1e40", [1]])
def test_an_amount_that_is_none_is_named_and_the_rest_of_the_row_stands(tmp_path, amount):
    row = source_rows.opportunity_row({"Id": "006000000000001AAA", "Name": "Deal", "Amount": amount}, job_of(tmp_path))
    assert row["amount"] is None and row["name"] == "Deal" and row["_problem"].startswith("Amount: ")


def test_a_garbage_amount_stops_no_other_record(org, nights):
    for n, amount in enumerate(["1.10", "garbage", 3], 1):
        org.put("Opportunity", n, Name=f"Deal {n}", Amount=amount)
    rows = nights.run(OPPORTUNITY)["opportunities"]
    assert [(row["amount"], bool(row["_problem"])) for row in rows] == [(Decimal("1.10"), False), (None, True), (Decimal(3), False)]


@pytest.mark.parametrize(("percentage", "share"), [(0, "0"), (75, "0.75"), (1000, "10"), ("33.333", "0.33333"), (None, None)])
def test_a_percentage_becomes_a_share(tmp_path, percentage, share):
    row = source_rows.opportunity_row({"Id": "1", "Probability": percentage}, job_of(tmp_path))
    assert row["probability"] == (None if share is None else Decimal(share)) and row["_problem"] is None


def test_a_percentage_beyond_reason_is_named(tmp_path):
    row = source_rows.stage_row({"Id": "1", "DefaultProbability": 10_000_000})
    assert row["default_probability"] is None and "not a percentage" in row["_problem"]


def test_a_line_keeps_its_discount_percentage_and_billing(tmp_path):
    item = {"Id": "1", "OpportunityId": "2", "Quantity": Decimal("3.00"), "UnitPrice": 100, "Discount": Decimal("12.5"),
            "TotalPrice": Decimal("262.50"), "Billing_Frequency__c": "monthly", "Billing_Start__c": "2026-01-01",
            "Billing_Periods__c": Decimal("12.0")}  # fmt: skip
    row = source_rows.opportunity_line_row(item, job_of(tmp_path))
    assert (row["discount_percent"], row["total_price"], row["billing_periods"]) == (Decimal("12.5"), Decimal("262.5"), 12)
    assert row["billing_start"] == date(2026, 1, 1) and row["_problem"] is None


def test_every_row_fits_its_table(org, nights):
    """The rows of all objects become Arrow tables, which refuse a column or a type that was not declared."""
    for name in ("Account", "Contact", "User", "Opportunity", "OpportunityLineItem", "Product2"):
        org.put(name, 1, IsActive=True)
    org.put("OpportunityStage", 1, ApiName="Won", DefaultProbability=100)
    org.put("CurrencyType", 1, IsoCode="USD", IsCorporate=True, ConversionRate=1)
    org.put("DatedConversionRate", 1, IsoCode="EUR", ConversionRate=0.923456, StartDate="2026-01-01")
    rows = nights.run()
    job = nights.job()
    for name, found in rows.items():
        assert found, name
        assert set(found[0]) - {"_problem"} == set(source.TABLES[name].columns), name
        list(batches(job, [source.TABLES[name]], [(name, found)]))


# --- The org


def test_an_org_with_several_currencies_says_its_corporate_one_and_its_rates(org, nights):
    org.put("CurrencyType", 1, IsoCode="EUR", IsCorporate=False, IsActive=True, ConversionRate=0.92)
    org.put("CurrencyType", 2, IsoCode="CHF", IsCorporate=True, IsActive=True, ConversionRate=1)
    org.put("DatedConversionRate", 1, IsoCode="EUR", ConversionRate=0.925, StartDate="2026-01-01", NextStartDate="2026-02-01")
    rows = nights.run()
    assert [(row["currency"], row["multicurrency"]) for row in rows["organization"]] == [("CHF", True)]
    assert [row["conversion_rate"] for row in rows["currency_types"]] == [Decimal("0.92"), Decimal(1)]
    assert [row["next_start_date"] for row in rows["dated_conversion_rates"]] == [date(2026, 2, 1)]


def test_an_org_with_one_currency_is_asked_for_no_other(tmp_path):
    org = Org(fields={**described_fields(currencies=False), "Organization": described_fields()["Organization"]})
    org.put("Account", 1, Name="Acme")
    nights = Nights(org, settings_with(tmp_path))
    rows = nights.run()
    assert [(row["currency"], row["multicurrency"]) for row in rows["organization"]] == [("USD", False)]
    assert rows["accounts"][0]["currency"] is None and rows["currency_types"] == []
    assert not any("CurrencyIsoCode" in query for query in org.queries if "Organization" not in query)
    assert not any(name in query for query in org.queries for name in ("CurrencyType", "DatedConversionRate"))


def test_an_org_that_does_not_say_its_currency_is_noted(tmp_path):
    org = Org()
    org.fields = described_fields(currencies=False)
    nights = Nights(org, settings_with(tmp_path))
    assert nights.run()["organization"][0]["currency"] is None
    assert any("does not say its currency: taken as USD" in note for note in nights.notes)


# --- Queries and addresses


def test_the_longest_query_fits_into_an_address(tmp_path):
    """16,384 bytes for the address and the headers; a session id takes some 200 of them."""
    long = {name: f"{'X' * 37}{n}__c" for n, name in enumerate(sorted(s.key for s in CARD.settings if s.key.endswith("_field")))}
    more = "".join(f'{name} = "{value}"\n' for name, value in long.items())
    job = job_of(tmp_path, more)
    for kind in source_rows.KINDS:
        chosen = ["Id", "SystemModstamp", *kind.fields(job.settings.values["salesforce"]).values()]
        listed = ", ".join(["'001000000000001AAA'"] * source_query.IDS_A_QUERY)
        assert len(quote(f"SELECT {', '.join(chosen)} FROM {kind.name} WHERE Id IN ({listed})")) < 14_000


def test_ids_that_are_none_are_never_written_into_a_query(org, nights):
    """Such a record lands, is not asked for, and so never counts as deleted either."""
    first, *_ = accounts(org, 12)
    odd = "x' OR Name != '"
    org.records["Account"][odd] = {**org.records["Account"][first], "Id": odd, "SystemModstamp": stamp(NOW)}
    org.lose = set(range(1, 40))
    nights.run(ACCOUNT)
    assert odd in nights.alive("accounts")
    org.records["Account"].pop(odd)
    org.log["Account"] = [odd]
    nights.run(ACCOUNT)
    assert odd in nights.alive("accounts") and not any("OR Name" in query for query in org.queries)


def test_a_record_without_a_readable_stamp_is_a_row_with_a_problem(org, nights):
    accounts(org, 2)
    org.change("Account", 2, SystemModstamp="soon")
    rows = nights.run(ACCOUNT)["accounts"]
    assert rows[1]["modified_at"] is None and "SystemModstamp" in rows[1]["_problem"]


# --- Configuration, doctor, forecast


@pytest.mark.parametrize("url", ["", "http://acme.my.salesforce.com", "acme.my.salesforce.com", "https://acme.my.salesforce.com/x",
                                 "https://user@evil.example"])
def test_a_live_org_needs_its_own_address(tmp_path, url):
    with pytest.raises(ConfigurationError, match=re.escape("[salesforce] instance_url")):
        source.connect(settings_with(tmp_path, f'instance_url = "{url}"\n', "live"))


def test_calls_go_to_the_my_domain_host(tmp_path):
    api = source.connect(settings_with(tmp_path, 'instance_url = "https://acme.my.salesforce.com/"\n', "live"))
    assert api.base_url == "https://acme.my.salesforce.com"


def test_a_jwt_speaks_for_the_app_and_the_user(tmp_path):
    more = 'instance_url = "https://acme.my.salesforce.com"\nauth = "jwt_bearer"\n'
    with pytest.raises(ConfigurationError, match="username is empty"):
        source.connect(settings_with(tmp_path, more, "live"))
    ready = settings_with(tmp_path, more + 'username = "robot@acme.example"\n')
    assert source.jwt_claims(ready) == {
        "iss": "sandbox-client", "sub": "robot@acme.example", "aud": "https://login.salesforce.com",
    }  # fmt: skip


def test_the_orgs_daily_limit_ends_the_night_and_a_crowd_does_not():
    body = '[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]'
    said = source.spent(403, {"Sforce-Limit-Info": "api-usage=15000/15000"}, body)
    assert said and "15000/15000" in said
    assert source.spent(403, {}, body.replace("TotalRequests", "ConcurrentRequests (Concurrent API Requests)")) is None
    assert source.spent(403, {}, '[{"errorCode":"INSUFFICIENT_ACCESS"}]') is None
    assert source.spent(200, {}, body) is None


def test_doctor_is_content_with_a_complete_org(tmp_path):
    assert source.check(Org(), settings_with(tmp_path)) == []


def test_doctor_misses_no_currency_where_there_is_only_one(tmp_path):
    org = Org()
    org.fields = described_fields(currencies=False)
    assert source.check(org, settings_with(tmp_path)) == []


def test_doctor_names_every_field_and_object_that_is_missing(tmp_path):
    org = Org()
    del org.fields["Account"]["Billing_Email__c"], org.fields["Account"]["Crossfoot_Customer_Ids__c"]
    del org.fields["Opportunity"]["Amount"], org.fields["Contact"]
    problems = source.check(org, settings_with(tmp_path))
    assert len(problems) == 3
    assert "Account has no field 'Billing_Email__c'" in problems[0] and "billing_email_field" in problems[0]
    assert problems[1] == "salesforce: the app's user cannot see Contact; give it read access to that object"
    assert problems[2] == "salesforce: the app's user cannot see Opportunity.Amount; give it read access to that field"


def test_doctor_says_when_the_version_is_not_spoken(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "VERSION", "v70.0")
    assert source.check(Org(), settings_with(tmp_path)) == [
        "salesforce: the org does not speak API version v70.0 (newest: v68.0); use a Crossfoot that fits the org's release"
    ]


def test_doctor_shows_a_refusal_with_its_remedy(tmp_path):
    org = Org(budget=0)
    assert source.check(org, settings_with(tmp_path)) == ["salesforce: the night's 0 calls are used up"]


def test_a_forecast_counts_pages_and_what_is_left_today(org, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "query": 10}))
    accounts(org, 25)
    for n in range(1, 40):
        org.put("Opportunity", n)
    nights = Nights(org, settings_with(tmp_path, "bulk_threshold = 30\n"))
    job = nights.job()
    calls = source.forecast(job)
    assert (calls["Account"], calls["Contact"], calls["Opportunity"]) == (3, 1, 13)
    assert job.notes == ["the org grants 14000 more API calls of its 15000 in 24 hours"]


def test_a_forecast_is_what_a_first_night_takes(org, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "query": 10}))
    accounts(org, 25)
    nights = Nights(org, settings_with(tmp_path))
    org.calls.clear()
    calls = sum(source.forecast(nights.job()).values())
    nights.run()
    assert org.calls.total() == calls


def test_the_source_lands_every_table_in_the_order_of_the_night(nights):
    found = source.source(nights.job()).resources
    assert list(found) == ["organization", "opportunity_stages", *(kind.table for kind in source_rows.KINDS), "deletions"]


def test_the_card_lists_what_lands():
    assert sorted(CARD.objects) == sorted(source.TABLES)
    assert VERSION in source_query.DATA


# --- Against the sandbox over HTTP


class SmallPages(Sandbox):
    """Pages of forty, so that a small company has several."""

    page_size = 40


class OneCurrency(Sandbox):
    several_currencies = False


@pytest.fixture(scope="module")
def shop():
    """(world, url) of the planted company of 60 accounts."""
    world = make_world(7, 60)
    with running_sandbox(world, vendors={"salesforce": SmallPages}, rate_limits=False) as url:
        yield world, url


@pytest.fixture
def cleared(shop):
    """The same org without faults and with an empty log of calls."""
    clear(shop[1])
    yield shop
    clear(shop[1])


def over_http(url: str, folder: Path, more: str = "", **secrets: str) -> Nights:
    """Nights over the sandbox, with a real Api."""
    chosen = settings_with(folder, more + "\n[network]\nretry_base_seconds = 0.001\ntimeout_seconds = 20\n")
    known = {**chosen.secrets, "salesforce": {**chosen.secrets["salesforce"], **secrets}}
    chosen = replace(chosen, sandbox_url=url, secrets=known)
    return Nights(source.connect(chosen), chosen)


@pytest.fixture(scope="module")
def first_night(shop, tmp_path_factory):
    nights = over_http(shop[1], tmp_path_factory.mktemp("org"))
    nights.run()
    return nights


def test_every_live_record_of_the_company_lands(shop, first_night):
    world, _ = shop
    archived = {deal.id for deal in world.deals.values() if deal.archived}
    for table, kind, expected in (
        ("accounts", "account", [one.id for one in world.accounts.values() if not one.archived]),
        ("opportunities", "deal", [one.id for one in world.deals.values() if not one.archived]),
        ("opportunity_lines", "deal_line", [one.id for one in world.deal_lines.values() if one.deal_id not in archived]),
        ("contacts", "contact", list(world.contacts)),
    ):
        assert set(first_night.alive(table)) == {Sandbox.record_id(kind, one) for one in expected}, table
    assert not first_night.spent and first_night.rows["opportunity_stages"]


def test_amounts_land_as_the_company_has_them_and_words_as_problems(shop, first_night):
    world, _ = shop
    rows, words = first_night.alive("opportunities"), 0
    for deal in world.deals.values():
        if not deal.archived:
            row = rows[Sandbox.record_id("deal", deal.id)]
            assert row["amount"] == (None if deal.amount_text else deal.amount)
            assert row["currency"] == (deal.currency or world.base_currency)
            assert bool(row["_problem"]) == bool(deal.amount_text)
            words += bool(deal.amount_text)
    assert words == 1


def test_the_rates_of_the_company_land_as_quotes(shop, first_night):
    world, _ = shop
    corporate = [row for row in first_night.rows["currency_types"] if row["is_corporate"]]
    assert [row["iso_code"] for row in corporate] == [world.base_currency] == [first_night.rows["organization"][0]["currency"]]
    assert {row["iso_code"] for row in first_night.rows["dated_conversion_rates"]} == {rate.source for rate in world.rates}


def test_a_first_night_takes_the_calls_that_were_forecast(cleared, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "query": SmallPages.page_size}))
    nights = over_http(cleared[1], tmp_path)
    before = nights.org.calls.total()
    expected = sum(source.forecast(nights.job()).values())
    nights.run()
    assert nights.org.calls.total() - before == expected


def test_bulk_and_pages_give_the_same_night_over_http(shop, first_night, tmp_path):
    bulk = over_http(shop[1], tmp_path, "bulk_threshold = 25")
    bulk.run()
    assert bulk.org.calls["Opportunity bulk"] >= 3 and bulk.org.calls["Account bulk"] >= 3
    assert {name: len(rows) for name, rows in bulk.rows.items()} == {name: len(rows) for name, rows in first_night.rows.items()}
    for name in ("accounts", "contacts", "opportunities", "opportunity_lines"):
        assert bulk.alive(name) == first_night.alive(name), name


def test_a_second_night_over_http_reads_nothing_twice(shop, tmp_path):
    nights = over_http(shop[1], tmp_path)
    nights.run()
    before = nights.org.calls.total()
    rows = nights.run()
    assert {name for name, found in rows.items() if found} <= {
        "organization", "currency_types", "dated_conversion_rates", "opportunity_stages",
    }  # fmt: skip
    assert nights.org.calls.total() - before == 8 + 4 + len(source_rows.KINDS) + 1 + len(source_rows.DELETABLE)


@pytest.mark.parametrize("match", ["/queryAll?", "/query/", "/describe"])
def test_a_token_that_expires_in_the_middle_is_renewed(cleared, first_night, tmp_path, match):
    _, url = cleared
    fault(url, "expired_token", match, vendor="salesforce", nth=3)
    nights = over_http(url, tmp_path)
    nights.run()
    for name in source.TABLES:
        assert nights.alive(name) == first_night.alive(name), name


def test_the_orgs_last_call_ends_the_night_and_the_next_goes_on(cleared, first_night, tmp_path):
    _, url = cleared
    fault(url, "429", "/query", vendor="salesforce", nth=7, times=1000)
    nights = over_http(url, tmp_path)
    nights.run()
    assert "API calls of the last 24 hours are used up (api-usage=" in nights.spent
    assert 0 < len(nights.alive("accounts")) < len(first_night.alive("accounts"))
    clear(url)
    nights.run()
    for name in ("users", "accounts", "contacts", "opportunities", "opportunity_lines", "products"):
        assert nights.alive(name) == first_night.alive(name), name


def test_broken_calls_are_repeated(cleared, first_night, tmp_path):
    _, url = cleared
    for kind in ("500", "reset", "duplicate_page"):
        fault(url, kind, "/query", vendor="salesforce", nth=2, times=2)
    nights = over_http(url, tmp_path)
    nights.run()
    assert nights.alive("accounts") == first_night.alive("accounts")


def test_a_wrong_secret_is_refused_and_shown_nowhere(cleared, tmp_path):
    nights = over_http(cleared[1], tmp_path, client_secret="do-not-show-this-secret")
    with pytest.raises(ApiError, match="SALESFORCE_CLIENT_SECRET") as refused:
        nights.run()
    assert "do-not-show-this-secret" not in f"{refused.value} {refused.value.body} {refused.value.request}"
    (problem,) = source.check(nights.org, nights.settings)
    assert "SALESFORCE_CLIENT_ID" in problem and "do-not-show" not in problem


def test_a_signed_assertion_opens_the_org_and_a_wrong_one_is_refused(tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    box = type("Signed", (Sandbox,), {"public_key": public, "username": "robot@acme.example"})
    with running_sandbox(make_world(7, 20), vendors={"salesforce": box}, rate_limits=False) as url:
        more = 'auth = "jwt_bearer"\nusername = "{}"'
        nights = over_http(url, tmp_path, more.format("robot@acme.example"), private_key=private)
        assert source.check(nights.org, nights.settings) == []
        stranger = over_http(url, tmp_path, more.format("somebody@else.example"), private_key=private)
        (problem,) = source.check(stranger.org, stranger.settings)
    assert "[salesforce] username" in problem and "PRIVATE" not in problem


def test_a_token_is_not_shown_in_the_error_of_a_call(cleared, tmp_path):
    nights = over_http(cleared[1], tmp_path)
    with pytest.raises(ApiError) as refused:
        nights.org.get(f"{source_query.DATA}/query", {"q": "SELECT Nothing FROM Account"})
    token = nights.org.auth.header().removeprefix("Bearer ")
    assert "INVALID_FIELD" in str(refused.value) and token and token not in str(refused.value)


def test_doctor_is_content_with_the_sandbox(cleared, tmp_path):
    nights = over_http(cleared[1], tmp_path)
    assert source.check(nights.org, nights.settings) == []


def test_an_org_with_one_currency_reads_over_http(tmp_path):
    world = make_world(7, 20)
    with running_sandbox(world, vendors={"salesforce": OneCurrency}, rate_limits=False) as url:
        nights = over_http(url, tmp_path)
        assert source.check(nights.org, nights.settings) == []
        rows = nights.run()
    assert rows["currency_types"] == rows["dated_conversion_rates"] == [] and rows["opportunities"]
    assert {row["currency"] for row in rows["opportunities"] if not row.get("_deleted")} == {None}
    assert [(row["currency"], row["multicurrency"]) for row in rows["organization"]] == [(None, False)]


def test_a_person_deletes_and_changes_while_nights_go_by(tmp_path):
    """Over HTTP as another client: a deletion, a change, and a computed field that moves no stamp."""
    boxes: list[Sandbox] = []

    def make(*args: Any) -> Sandbox:
        boxes.append(SmallPages(*args))
        return boxes[0]

    make.record_id = Sandbox.record_id
    with running_sandbox(make_world(7, 20), vendors={"salesforce": make}, rate_limits=False) as url:
        nights = over_http(url, tmp_path)
        nights.run()
        (org,) = (box.org for box in boxes)
        first, second, third, *_ = sorted(nights.alive("accounts"))
        deal = min(nights.alive("opportunities"))
        person = Api(nights.org.base_url, vendor="a person", auth=nights.org.auth, allowed=[Call("DELETE", ".*")])
        person.delete(f"{source_query.DATA}/sobjects/Account/{first}")
        boxes[0].merge("Account", second, third)
        org.compute("Opportunity", deal, "Invoice_Numbers__c", "INV-computed")
        nights.run()
        assert {first, second} & set(nights.alive("accounts")) == set() and third in nights.alive("accounts")
        assert "1 accounts were merged into others: their ids count as deleted" in nights.notes
        assert nights.alive("opportunities")[deal]["invoice_numbers"] == "INV-computed"
        org.tables["Opportunity"].drop(deal)
        nights.cursors["deleted"] = "2020-01-01T00:00:00.000Z"
        nights.run()
        assert deal not in nights.alive("opportunities")
        assert len(nights.alive("opportunities")) == sum(not record.deleted for record in org.tables["Opportunity"].records.values())
