"""The newest runs and acceptances of the journal, for `crossfoot status`: it has a second to answer, and SQLAlchemy alone takes most of it.

A SQLite journal is therefore read directly; any other goes through `Journal`. A test holds the two to the same answer.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

SHOWN = 10
SQLITE = "sqlite:///"
_RUNS = """
SELECT run_id, kind, status, plan_id, message,
       (SELECT count(*) FROM intents JOIN outcomes USING (intent_id)
        WHERE intents.run_id = runs.run_id AND outcomes.outcome = 'written') AS written
FROM runs ORDER BY started_at DESC, run_id DESC LIMIT ?"""


_ACCEPTED = """
SELECT known_at, as_of, accepted_by, accepted_at, reason FROM guarded
WHERE accepted_at IS NOT NULL ORDER BY accepted_at DESC, known_at DESC LIMIT ?"""


def recent_runs(url: str) -> list[dict[str, Any]]:
    """Newest first: run_id, kind, status, plan_id, message, written (fields). Empty where there is no journal yet."""
    if url.startswith(SQLITE):
        return _from_file(Path(url.removeprefix(SQLITE)), _RUNS)
    from pipelines.writeback.journal import Journal

    journal = Journal(url)
    try:
        names = ("run_id", "kind", "status", "plan_id", "message")
        return [{name: row[name] for name in names} | {"written": journal.counts(row["run_id"]).get("written", 0)}
                for row in journal.runs(SHOWN)]
    finally:
        journal.close()


def recent_acceptances(url: str) -> list[dict[str, Any]]:
    """Newest first: known_at, as_of, accepted_by, accepted_at, reason of the nights that somebody accepted."""
    if url.startswith(SQLITE):
        return _from_file(Path(url.removeprefix(SQLITE)), _ACCEPTED)
    from pipelines.writeback.guarded import recent
    from pipelines.writeback.journal import Journal

    journal = Journal(url)
    try:
        return recent(journal, SHOWN)
    finally:
        journal.close()


def _from_file(path: Path, query: str) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query, [SHOWN])]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # a journal of an older version, which the next night brings up to date
            return []
        raise
    finally:
        connection.close()
