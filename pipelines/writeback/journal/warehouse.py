"""The journal as rows of `raw_crossfoot`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from pipelines.writeback.journal.records import WarehouseRows
from pipelines.writeback.journal.rows import decision_of
from pipelines.writeback.journal.tables import as_text, as_time, decisions, intents, outcomes, runs


def rows(connection: sa.Connection, since: datetime | None = None) -> WarehouseRows:
    """Rows of `raw_crossfoot.runs`, `.writes` and `.decisions`; see `Journal.rows_for_warehouse`."""
    floor = "" if since is None else as_text(since)
    run_moment = sa.func.coalesce(runs.c.finished_at, runs.c.started_at)
    write_moment = sa.func.coalesce(outcomes.c.recorded_at, intents.c.recorded_at)
    answer_moment = sa.func.coalesce(decisions.c.revoked_at, decisions.c.decided_at)
    outcome = sa.func.coalesce(outcomes.c.outcome, "unknown").label("outcome")
    said = sa.func.coalesce(outcomes.c.message, "").label("message")
    writes = sa.select(intents, outcome, said, write_moment.label("moment")).outerjoin(outcomes)
    return WarehouseRows(
        runs=[_run_row(row) for row in connection.execute(sa.select(runs).where(run_moment >= floor))],
        writes=[
            _write_row(row)
            for row in connection.execute(writes.where(write_moment >= floor).order_by(intents.c.intent_id))
        ],
        decisions=[
            vars(decision_of(row)) for row in connection.execute(sa.select(decisions).where(answer_moment >= floor))
        ],
    )


def _run_row(row: sa.Row[Any]) -> dict[str, Any]:
    kept = {name: row._mapping[name] for name in ("run_id", "kind", "plan_id", "status", "message")}
    times = {name: as_time(row._mapping[name]) for name in ("known_at", "started_at", "finished_at")}
    return kept | times | {"as_of": date.fromisoformat(row.as_of)}


def _write_row(row: sa.Row[Any]) -> dict[str, Any]:
    names = ("run_id", "system", "object", "record_id", "field", "before", "after", "outcome", "message")
    return {name: row._mapping[name] for name in names} | {"recorded_at": as_time(row.moment)}
