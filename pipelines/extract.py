"""One vendor's night: call, land, and remember how far it got.

How far a vendor was read is kept in the warehouse, in `raw_crossfoot.loads`, beside the rows that it counts: whoever
deletes the warehouse deletes the cursors with it, and a night that is cut off in the middle is read again.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pipelines import landing
from pipelines.http import redact
from pipelines.landing import Job, Table
from pipelines.settings import Settings

LEDGER_OF_LOADS = "raw_crossfoot"
LOADS = Table("loads", {
    "source": "text", "known_at": "timestamp", "status": "text", "message": "text", "calls": "integer", "rows": "integer",
    "cursor": "text",
})
# Resources of a vendor one after the other (deletions follow the reads they correct); the load's id on every row.
DLT_SETTINGS = {
    "EXTRACT__NEXT_ITEM_MODE": "fifo",
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
    "NORMALIZE__WORKERS": "1",
    "LOAD__WORKERS": "1",
    "RUNTIME__LOG_LEVEL": "ERROR",
}
# DuckDB admits one writer: vendors are read side by side and land one after the other.
_landing = threading.Lock()


@dataclass(frozen=True)
class Receipt:
    """What one vendor's extraction did: `status` complete, failed or replayed; calls by object; rows by raw table."""

    source: str
    status: str
    calls: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    message: str = ""


def extract(slug: str, settings: Settings, *, as_of: date, known_at: datetime, tokens: Any,
            on_rows: Callable[[str, int], None] = lambda table, rows: None) -> Receipt:
    """Reads a vendor's changes since its last complete night and lands them in raw_<slug>, stamped `known_at`.

    A night that was already heard (its known_at is not after the last complete one) is replayed from raw: nothing is
    called. A vendor that fails is recorded as failed and raises ExtractFailed; what it had landed by then stays, as
    versions that the next night repeats.
    """
    from dlt.pipeline.exceptions import PipelineStepFailed  # late: dlt takes two seconds to load

    vendor = importlib.import_module(f"pipelines.vendors.{slug}.source")
    prepare_warehouse(settings, {slug: vendor.TABLES.values()})
    last = last_load(settings, slug)
    if last and last.known_at >= known_at:
        return Receipt(slug, "replayed", message=f"already heard up to {last.known_at:%Y-%m-%d %H:%M}Z: nothing was called")
    api = vendor.connect(settings, tokens)
    job = Job(api, settings, as_of, known_at, last.cursors if last else {}, lambda table: known_ids(settings, slug, table), on_rows)
    try:
        _load(slug, vendor.source(job), settings)
    except PipelineStepFailed as error:
        cause = _cause(error)
        message = redact(str(cause)) or type(cause).__name__
        record_load(settings, slug, known_at, "failed", message, api.calls.total(), sum(job.rows.values()), {})
        raise ExtractFailed(Receipt(slug, "failed", dict(api.calls), job.rows, tuple(job.notes), message)) from cause
    record_load(settings, slug, known_at, "complete", "", api.calls.total(), sum(job.rows.values()),
                {**job.cursors, **job.next_cursors})
    return Receipt(slug, "complete", dict(api.calls), job.rows, tuple(job.notes))


class ExtractFailed(Exception):
    """A vendor could not be read. `receipt` says how far it got and why it stopped."""

    def __init__(self, receipt: Receipt):
        self.receipt = receipt
        named = receipt.message.startswith(receipt.source)
        super().__init__(receipt.message if named else f"{receipt.source}: {receipt.message}")


@dataclass(frozen=True)
class Load:
    """The newest complete load of a vendor."""

    known_at: datetime
    cursors: Mapping[str, str]


def last_load(settings: Settings, slug: str) -> Load | None:
    """How far the vendor has been heard; None before its first complete night."""
    with landing.connect(settings.warehouse) as connection:
        found = connection.execute(
            f"SELECT known_at, cursor FROM {LEDGER_OF_LOADS}.loads WHERE source = ? AND status = 'complete' "
            "ORDER BY known_at DESC LIMIT 1", [slug],
        ).fetchone()
    return Load(found[0], json.loads(found[1])) if found else None


def record_load(settings: Settings, slug: str, known_at: datetime, status: str, message: str, calls: int, rows: int,
                cursors: Mapping[str, str]) -> None:
    """Adds a line to the ledger of loads; the cursors of a complete one are where the next night starts."""
    with _landing, landing.connect(settings.warehouse) as connection:
        connection.execute(
            f"INSERT INTO {LEDGER_OF_LOADS}.loads (source, known_at, status, message, calls, rows, cursor, _landed_at, _deleted) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, false)",
            [slug, known_at, status, message, calls, rows, json.dumps(dict(cursors)), known_at],
        )


def known_ids(settings: Settings, slug: str, table: str) -> set[str]:
    """The ids that raw_<slug>.<table> holds and whose newest landing is not a deletion."""
    with landing.connect(settings.warehouse) as connection:
        found = connection.execute(
            f'SELECT id FROM (SELECT id, _deleted, row_number() OVER (PARTITION BY id ORDER BY _landed_at DESC, _deleted DESC) '
            f'AS age FROM "raw_{slug}"."{table}") WHERE age = 1 AND NOT _deleted'
        ).fetchall()
    return {row[0] for row in found}


def land_journal(settings: Settings, journal_source: Any, journal: Any, *, as_of: date, known_at: datetime,
                 now: Callable[[], datetime]) -> None:
    """Lands what the journal recorded since it was last landed, in raw_crossfoot."""
    slug, started = journal_source.SLUG, now()
    last = last_load(settings, slug)
    job = Job(None, settings, as_of, known_at, last.cursors if last else {}, lambda table: set())
    _load(slug, journal_source.source(job, journal), settings)
    record_load(settings, slug, known_at, "complete", "", 0, sum(job.rows.values()), {"journal": started.isoformat()})


def prepare_warehouse(settings: Settings, tables: Mapping[str, Iterable[Table]]) -> None:
    """Creates the raw tables that do not exist yet, and the ledger of loads."""
    with _landing, landing.connect(settings.warehouse) as connection:
        landing.ensure_tables(connection, LEDGER_OF_LOADS, [LOADS])
        for slug, declared in tables.items():
            landing.ensure_tables(connection, f"raw_{slug}", declared)


def _load(slug: str, source: Any, settings: Settings) -> None:
    """Runs dlt's three steps; only the last one holds the warehouse. dlt's working folder starts empty each night: what
    a killed night left there was never counted as heard and is read again."""
    import dlt

    os.environ.update(DLT_SETTINGS)
    home = settings.data_dir / "dlt"
    shutil.rmtree(home / f"crossfoot_{slug}", ignore_errors=True)
    pipeline = dlt.pipeline(
        f"crossfoot_{slug}", destination=dlt.destinations.duckdb(str(settings.warehouse)), dataset_name=f"raw_{slug}",
        pipelines_dir=str(home),
    )
    pipeline.extract(source, loader_file_format="parquet")
    pipeline.normalize()
    with _landing:
        pipeline.load(raise_on_failed_jobs=True)


def _cause(error: BaseException) -> BaseException:
    """What really went wrong, under dlt's wrapping."""
    while type(error).__module__.startswith("dlt.") and error.__cause__ is not None:
        error = error.__cause__
    return error
