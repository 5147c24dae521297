"""One vendor's night: call, land, and remember how far it got.

How far a vendor was read is kept in the warehouse, in `raw_crossfoot.loads`, beside the rows that it counts: whoever
deletes the warehouse deletes the cursors with it, and a night that is cut off in the middle is read again.
"""

from __future__ import annotations

import importlib
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from pipelines import environment, landing, warehouse
from pipelines.http import ApiError, BudgetSpent, ConnectionLost
from pipelines.landing import Job, OddAnswer, Table
from pipelines.redaction import redact
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors import VENDORS

LEDGER_OF_LOADS = "raw_crossfoot"
# `night` is the business date that the calls were made for; `calls_by_object` and `cursor` are JSON.
LOADS = Table("loads", {
    "source": "text", "known_at": "timestamp", "status": "text", "message": "text", "calls": "integer", "rows": "integer",
    "cursor": "text", "night": "date", "calls_by_object": "text",
})
READ_AGAIN, ASKED_FOR = "every record was read again", "asked for"
# What a difference of a control cannot change night after night: how often a ledger is read again from its beginning.
DAYS_BETWEEN_FULL_READINGS = 7
# DuckDB admits one writer, and two threads that open and close one file at once get in each other's way: vendors are read
# side by side, and go to the warehouse one after the other.
_landing = threading.Lock()


@dataclass(frozen=True)
class Forecast:
    """The calls that a vendor's reading will take, and may take (0: any number), in one night; `used` were made before.

    `calls` is None before the first night of a vendor that cannot say how much it holds.
    """

    calls: int | None
    budget: int
    used: int = 0

    def __str__(self) -> str:
        about = "an unknown number of calls" if self.calls is None else f"about {self.calls:,} calls"
        allowed = f" of the {self.budget:,} allowed for the night" if self.budget else ""
        return about + allowed + (f"; {self.used:,} were made for it before" if self.used else "")


@dataclass(frozen=True)
class Receipt:
    """What one vendor's extraction did: `status` complete, partial (its calls were used up), failed or replayed; calls by
    object; rows by raw table; what was forecast."""

    source: str
    status: str
    calls: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    message: str = ""
    forecast: Forecast | None = None

    def document(self) -> dict[str, Any]:
        """The receipt as plain JSON values."""
        return {**asdict(self), "calls": dict(self.calls), "rows": dict(self.rows), "notes": list(self.notes)}


def extract(slug: str, settings: Settings, *, as_of: date, known_at: datetime, tokens: Any, full: bool = False,
            on_rows: Callable[[str, int], None] = lambda table, rows: None,
            on_forecast: Callable[[Forecast], None] = lambda forecast: None,
            on_company: Callable[[Mapping[str, str]], None] | None = None) -> Receipt:
    """Reads a vendor's changes since its last night and lands them in raw_<slug>, stamped `known_at`.

    A night that was already heard (its known_at is not after the last one) is replayed from raw: nothing is called. A
    vendor whose calls are used up is recorded as partial: what came is kept, the next night goes on from there. One that
    fails is recorded as failed and raises ExtractFailed; what it had landed by then stays, as versions that the next night
    repeats.

    `full` reads every record again, whatever the last night's cursors say, and finds what is gone although no night has noticed. So
    does a night whose ledger's own control last said that something is missing, once for each difference and week.

    `on_company` is told the accounts that the vendor reaches ({id: name}) before anything of it is landed, and raises to refuse them.
    """
    # Late, because they take two seconds to load. dlt takes a pyarrow that another thread is still loading for a whole one.
    import pyarrow  # noqa: F401
    from dlt.pipeline.exceptions import PipelineStepFailed

    vendor = importlib.import_module(f"pipelines.vendors.{slug}.source")
    prepare_warehouse(settings, {slug: vendor.TABLES.values()})
    last = last_load(settings, slug)
    if last and last.known_at >= known_at:
        return Receipt(slug, "replayed", message=f"already heard up to {last.known_at:%Y-%m-%d %H:%M}Z: nothing was called")
    cursors, again = last.cursors if last else {}, ASKED_FOR if full else untied(settings, slug, known_at)
    if last and again:
        again = f"{READ_AGAIN} ({again})"
        cursors = cursors_of_deletions(vendor, cursors)
    job = Job(
        vendor.connect(settings, tokens), settings, as_of, known_at, cursors,
        lambda table: known_ids(settings, slug, table), on_rows,
        known=lambda table, columns: known_values(settings, slug, table, columns),
        known_sets=lambda table, owner, columns: known_sets(settings, slug, table, owner, columns),
    )
    forecast = None
    try:
        forecast = _forecast(slug, vendor, job)
        on_forecast(forecast)
        found = None if on_company is None else _identity(slug, vendor, job)
        if found is not None:
            with _landing:
                on_company(found)
        _load(slug, lambda: vendor.source(job), settings)
    except (PipelineStepFailed, ApiError, ConfigurationError, ConnectionLost, OddAnswer) as error:
        cause = _cause(error)
        message = warehouse.explained(cause, settings.warehouse) if warehouse.is_of_the_file(cause) else redact(str(cause))
        message = message or type(cause).__name__
        record_load(settings, slug, job, "failed", message, {})
        raise ExtractFailed(Receipt(slug, "failed", job.calls, job.rows, tuple(job.notes), message, forecast)) from cause
    status, cursors = "partial" if job.spent else "complete", {**job.cursors, **job.next_cursors}
    if job.spent and last and cursors == last.cursors:
        job.spent += f"; they do not suffice for one round over every object: raise [{slug}] max_calls_per_night"
    said = "; ".join(filter(None, (again if last else "", job.spent)))
    record_load(settings, slug, job, status, said, cursors)
    return Receipt(slug, status, job.calls, job.rows, tuple(job.notes), said, forecast)


def cursors_of_deletions(vendor: Any, cursors: Mapping[str, str]) -> dict[str, str]:
    """What a full reading goes by: a source that has these and no others reads everything, and compares what it reads with what was
    here for whatever is gone."""
    return {name: place for name, place in cursors.items() if name.endswith(getattr(vendor, "DELETION_CURSORS", ()))}


def untied(settings: Settings, slug: str, known_at: datetime) -> str:
    """Why a ledger has to be read again from its beginning: a control of its own says that something is missing or too much, for which
    that was not done yet, nor for another one in the last days. Empty: it has not. Facts can move without the record that they stand
    on, such as documents of customers that were merged."""
    if len(_ask(settings, "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'marts' AND table_name IN ('rpt_tie_out', "
                "'rpt_exceptions')")) < 2:
        return ""
    found = _ask(settings, "SELECT difference, kind FROM marts.rpt_tie_out WHERE source = ? AND level = 'ledger' AND NOT is_tied "
                 "UNION ALL SELECT difference, kind FROM marts.rpt_tie_out WHERE source = ? AND level = 'customer' AND "
                 "kind = 'moved_between_customers' AND difference > 0 ORDER BY 1 DESC LIMIT 1", slug, slug)
    missing = _ask(settings, "SELECT message FROM marts.rpt_exceptions WHERE source = ? AND kind = 'not_read' AND record_id = object "
                   "ORDER BY 1 LIMIT 1", slug)
    if found and found[0][0] is not None:
        reason = f"its own control total differs by {found[0][0].normalize():f}, {found[0][1].replace('_', ' ')}"
    elif missing:
        reason, _, _ = missing[0][0].partition(":")  # behind it stand counts, which change although their difference stays
    else:
        return ""
    done = _ask(settings, f"SELECT 1 FROM {LEDGER_OF_LOADS}.loads WHERE source = ? AND (starts_with(message, ?) "
                "OR known_at > ? AND starts_with(message, ?) AND NOT starts_with(message, ?))", slug, f"{READ_AGAIN} ({reason})",
                known_at - timedelta(days=DAYS_BETWEEN_FULL_READINGS), READ_AGAIN, f"{READ_AGAIN} ({ASKED_FOR})")
    return "" if done else reason


def _identity(slug: str, vendor: Any, job: Job) -> Mapping[str, str] | None:
    """Whose records the vendor would give; empty where it has no accounts. None where no calls are left to ask: nor are any to read."""
    try:
        with landing.documented(f"{slug}: account"):
            return vendor.identity(job.api, job.settings) if VENDORS[slug].account else {}
    except BudgetSpent:
        return None


def _forecast(slug: str, vendor: Any, job: Job) -> Forecast:
    """Opens the night's call budget and says what the reading will take: what the last whole night took, or before the
    first one what the vendor says it holds. Counting costs calls too."""
    if job.api is None:
        return Forecast(0, 0)
    budget = job.settings.get(slug, "max_calls_per_night")
    used, last = calls_of_night(job.settings, slug, job.as_of), calls_of_last_night(job.settings, slug)
    if budget:
        job.api.allow(budget, used)
    try:
        counted = sum(vendor.forecast(job).values()) if last is None and hasattr(vendor, "forecast") else last
    except BudgetSpent:
        counted = None
    return Forecast(counted, budget, used)


class ExtractFailed(Exception):
    """A vendor could not be read. `receipt` says how far it got and why it stopped."""

    def __init__(self, receipt: Receipt):
        self.receipt = receipt
        named = receipt.message.startswith(receipt.source)
        super().__init__(receipt.message if named else f"{receipt.source}: {receipt.message}")


@dataclass(frozen=True)
class Load:
    """The newest load of a vendor that was not a failure."""

    known_at: datetime
    cursors: Mapping[str, str]


def last_load(settings: Settings, slug: str) -> Load | None:
    """How far the vendor has been heard; None before its first night. Of loads that were heard up to one time, the last counts."""
    found = _ask(settings, f"SELECT known_at, cursor FROM {LEDGER_OF_LOADS}.loads WHERE source = ? AND status <> 'failed' "
                 "ORDER BY known_at DESC, rowid DESC LIMIT 1", slug)
    return Load(found[0][0], json.loads(found[0][1])) if found else None


def calls_of_night(settings: Settings, slug: str, night: date) -> int:
    """Calls that were made for a business date already, by nights that failed or were run again."""
    return int(_ask(settings, f"SELECT coalesce(sum(calls), 0) FROM {LEDGER_OF_LOADS}.loads WHERE source = ? AND night = ?",
                    slug, night)[0][0])


def calls_of_last_night(settings: Settings, slug: str) -> int | None:
    """Calls of the newest complete load; None before the first."""
    found = _ask(settings, f"SELECT calls FROM {LEDGER_OF_LOADS}.loads WHERE source = ? AND status = 'complete' "
                 "ORDER BY known_at DESC LIMIT 1", slug)
    return found[0][0] if found else None


def record_load(settings: Settings, slug: str, job: Job, status: str, message: str, cursors: Mapping[str, str]) -> None:
    """Adds a line to the ledger of loads; the cursors of one that did not fail are where the next night starts."""
    calls = job.calls
    with _landing, landing.connect(settings.warehouse) as connection:
        connection.execute(
            f"INSERT INTO {LEDGER_OF_LOADS}.loads (source, known_at, status, message, calls, rows, cursor, night, calls_by_object, "
            "_landed_at, _deleted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, false)",
            [slug, job.known_at, status, message, sum(calls.values()), sum(job.rows.values()), json.dumps(dict(cursors)), job.as_of,
             json.dumps(calls), job.known_at],
        )


def known_ids(settings: Settings, slug: str, table: str) -> set[str]:
    """The ids that raw_<slug>.<table> holds and whose newest landing is not a deletion."""
    return set(known_values(settings, slug, table, []))


def known_values(settings: Settings, slug: str, table: str, columns: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """The newest values of these columns by id, of the records that are not deleted."""
    names = "".join(f', "{column}"' for column in columns)
    rows = _ask(settings, f'SELECT id{names} FROM (SELECT *, row_number() OVER (PARTITION BY id ORDER BY _landed_at DESC, '
                f'_deleted DESC) AS age FROM "raw_{slug}"."{table}") WHERE age = 1 AND NOT _deleted')
    return {row[0]: row[1:] for row in rows}


def known_sets(settings: Settings, slug: str, table: str, owner: str, columns: Sequence[str]) -> dict[str, set[tuple[Any, ...]]]:
    """{owner: its rows} of a table in which each landing of an owner replaces all of its rows before."""
    names = ", ".join(f'"{column}"' for column in columns)
    found: dict[str, set[tuple[Any, ...]]] = {}
    for key, *values in _ask(settings, f'SELECT "{owner}", {names} FROM (SELECT *, max(_landed_at) OVER (PARTITION BY "{owner}") '
                             f'AS newest FROM "raw_{slug}"."{table}") WHERE _landed_at = newest AND NOT _deleted'):
        found.setdefault(key, set()).add(tuple(values))
    return found


def _ask(settings: Settings, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with _landing, landing.connect(settings.warehouse) as connection:
        return connection.execute(query, list(values)).fetchall()


def land_journal(settings: Settings, journal_source: Any, journal: Any, *, as_of: date, known_at: datetime,
                 now: Callable[[], datetime], tables: Sequence[str] = ()) -> None:
    """Lands what the journal recorded in these tables (none named: in all) since each was last landed, in raw_crossfoot."""
    slug, started, tables = journal_source.SLUG, now().isoformat(), tables or tuple(journal_source.TABLES)
    last = last_load(settings, slug)
    cursors = last.cursors if last else {}
    # Older versions kept one cursor for all tables, under the name of the journal.
    cursors = {name: cursors.get(name, cursors.get("journal")) for name in journal_source.TABLES}
    job = Job(None, settings, as_of, known_at, {name: since for name, since in cursors.items() if since}, lambda table: set())
    _load(slug, lambda: journal_source.source(job, journal, tables), settings)
    record_load(settings, slug, job, "complete", "", {**job.cursors, **dict.fromkeys(tables, started)})


def prepare_warehouse(settings: Settings, tables: Mapping[str, Iterable[Table]]) -> None:
    """Creates the raw tables that do not exist yet, and the ledger of loads."""
    with _landing, landing.connect(settings.warehouse) as connection:
        landing.ensure_tables(connection, LEDGER_OF_LOADS, [LOADS])
        for slug, declared in tables.items():
            landing.ensure_tables(connection, f"raw_{slug}", declared)


def _load(slug: str, source: Callable[[], Any], settings: Settings) -> None:
    """Runs dlt's three steps; only the last one holds the warehouse. dlt's working folder starts empty each night: what
    a killed night left there was never counted as heard and is read again."""
    import dlt
    from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

    home, target = settings.data_dir / "dlt", DuckDbCredentials(str(settings.warehouse))
    target.pragmas = ["disable_progress_bar"]  # it would go to standard output, between what a command says
    shutil.rmtree(home / f"crossfoot_{slug}", ignore_errors=True)
    with environment.of_dlt(home):
        pipeline = dlt.pipeline(
            f"crossfoot_{slug}", destination=dlt.destinations.duckdb(target), dataset_name=f"raw_{slug}",
            pipelines_dir=str(home),
        )
        pipeline.extract(source(), loader_file_format="parquet")
        pipeline.normalize()
        with _landing:
            pipeline.load(raise_on_failed_jobs=True)


def _cause(error: BaseException) -> BaseException:
    """What really went wrong, under dlt's wrapping."""
    while type(error).__module__.startswith("dlt.") and error.__cause__ is not None:
        error = error.__cause__
    return error
