"""An org in memory in place of Salesforce, whose SOQL the sandbox's parser reads, and nights over it."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from extract_fixture import DAY, NIGHT

from pipelines import settings
from pipelines.http import ApiError, BudgetSpent, Response, RetryPolicy
from pipelines.landing import Job
from pipelines.settings import Settings
from pipelines.vendors import VENDORS
from pipelines.vendors.salesforce import CARD, source, source_bulk, source_query, source_rows
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


def described_fields(*features: str, currencies: bool = True) -> dict[str, dict[str, dict[str, Any]]]:
    """{object: {field: what describe says}} of the sandbox's org with these features: record types, person accounts."""
    needs = {*features, "currencies"} if currencies else {*features}
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
        stages = source.Stages()
        for pages in [source.organization(job), source.opportunity_stages(job, stages), *map(stages.noted, resources),
                      source.new_opportunity_stages(job, stages), source.deletions(job, gone)]:
            try:
                for table, rows in pages:
                    self.rows[table] += rows
            except BudgetSpent as error:
                self.spent = str(error)
        for table, rows in self.rows.items():
            self.landed[table] += rows
        self.cursors, self.notes = {**job.cursors, **job.next_cursors}, job.notes
        return self.rows


def accounts(org: Org, count: int, step: int = 60) -> list[str]:
    """So many accounts, changed `step` seconds after one another."""
    return [org.put("Account", n, START + timedelta(seconds=step * n), Name=f"Company {n}") for n in range(1, count + 1)]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]
