"""The newest runs and acceptances of the journal and who holds its lock, for `crossfoot status`: it has a second to answer, and
SQLAlchemy alone takes most of it.

The journal's file is therefore read directly; a server goes through `Journal`. A test holds the two to the same answer.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.settings import Settings
from pipelines.writeback.journal_file import reading_uri, trouble
from pipelines.writeback.lease import MILLISECONDS, Lease

SHOWN = 10
_RUNS = """
SELECT run_id, kind, status, plan_id, message,
       (SELECT count(*) FROM intents JOIN outcomes USING (intent_id)
        WHERE intents.run_id = runs.run_id AND outcomes.outcome = 'written') AS written
FROM runs ORDER BY started_at DESC, run_id DESC LIMIT ?"""
_LOCK = f"SELECT *, {MILLISECONDS['sqlite']} AS now FROM lock"
_ACCEPTED = """
SELECT known_at, as_of, accepted_by, accepted_at, reason FROM guarded
WHERE accepted_at IS NOT NULL ORDER BY accepted_at DESC, known_at DESC LIMIT ?"""


@dataclass(frozen=True)
class Recent:
    """What the journal says of late, the newest first. `runs`: run_id, kind, status, plan_id, message, written (fields); `accepted`:
    known_at, as_of, accepted_by, accepted_at, reason of the nights that somebody accepted."""

    runs: list[dict[str, Any]]
    accepted: list[dict[str, Any]]
    lease: Lease | None = None


def recent(settings: Settings) -> Recent:
    """The newest runs and acceptances, and the lock; nothing where there is no journal yet. Raises JournalUnavailable."""
    if isinstance(settings.journal, Path):
        return from_file(settings.journal)
    from pipelines.writeback.journal import Journal

    journal = Journal(settings.journal, reading=True)
    try:
        return from_journal(journal)
    finally:
        journal.close()


def from_file(path: Path) -> Recent:
    """What the file says, without SQLAlchemy."""
    if not path.exists():
        return Recent([], [])
    try:
        with closing(sqlite3.connect(reading_uri(path), uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            runs = [dict(row) for row in connection.execute(_RUNS, [SHOWN])]
            accepted = _rows_of_new_table(connection, _ACCEPTED)
            held = connection.execute(_LOCK).fetchone()
    except (sqlite3.Error, OSError) as error:
        from pipelines.writeback.journal import JournalUnavailable

        raise JournalUnavailable(trouble(path, error)) from None
    return Recent(runs, accepted, _lease(dict(held)) if held else None)


def _rows_of_new_table(connection: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    """What the query finds; nothing where an earlier version made the journal, which the next night brings up to date."""
    try:
        return [dict(row) for row in connection.execute(query, [SHOWN])]
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return []


def from_journal(journal: Any) -> Recent:
    """What a `Journal` says, wherever it is."""
    from pipelines.writeback import guarded

    names = ("run_id", "kind", "status", "plan_id", "message")
    runs = [{name: row[name] for name in names} | {"written": journal.counts(row["run_id"]).get("written", 0)}
            for row in journal.runs(SHOWN)]
    return Recent(runs, guarded.recent(journal, SHOWN), journal.lease())


def _lease(row: dict[str, Any]) -> Lease:
    renewed = row.get("renewed_at")  # an earlier version's journal has no such column
    age = None if renewed is None else (row["now"] - renewed) / 1000
    return Lease(row["holder"], row["pid"], row["host"], row["process"], row["since"], row.get("machine") or "", row.get("born") or "", age)
