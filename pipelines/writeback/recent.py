"""The newest runs of the journal, for `crossfoot status`: it has a second to answer, and SQLAlchemy alone takes most of it.

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


def recent_runs(url: str) -> list[dict[str, Any]]:
    """Newest first: run_id, kind, status, plan_id, message, written (fields). Empty where there is no journal yet."""
    if url.startswith(SQLITE):
        return _from_file(Path(url.removeprefix(SQLITE)))
    from pipelines.writeback.journal import Journal

    journal = Journal(url)
    try:
        names = ("run_id", "kind", "status", "plan_id", "message")
        return [{name: row[name] for name in names} | {"written": journal.counts(row["run_id"]).get("written", 0)}
                for row in journal.runs(SHOWN)]
    finally:
        journal.close()


def _from_file(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(_RUNS, [SHOWN])]
    finally:
        connection.close()
