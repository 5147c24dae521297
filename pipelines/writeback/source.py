"""The journal as a dlt source: runs, writes and decisions as raw tables, so that the marts can show sync health."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dlt

from pipelines.landing import Job, Table, resource
from pipelines.writeback.journal import Journal

SLUG = "crossfoot"

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("runs", {
            "run_id": "text", "kind": "text", "as_of": "date", "known_at": "timestamp", "plan_id": "text", "status": "text",
            "started_at": "timestamp", "finished_at": "timestamp", "message": "text",
        }),
        Table("writes", {
            "run_id": "text", "system": "text", "object": "text", "record_id": "text", "field": "text", "before": "text",
            "after": "text", "outcome": "text", "message": "text", "recorded_at": "timestamp",
        }),
        Table("decisions", {
            "id": "text", "kind": "text", "source": "text", "left_id": "text", "right_source": "text", "right_id": "text",
            "verdict": "text", "decided_by": "text", "reason": "text", "decided_at": "timestamp", "revoked_at": "timestamp",
        }),
    )
}


@dlt.source(name=SLUG)
def source(job: Job, journal: Journal, tables: Sequence[str] = tuple(TABLES)) -> list[Any]:
    """What the journal recorded in these tables since `job.cursors[<table>]` (ISO time), or all of it."""
    resources = []
    for name in tables:
        since = job.cursors.get(name)
        rows = getattr(journal.rows_for_warehouse(datetime.fromisoformat(since) if since else None), name)
        columns = TABLES[name].columns
        resources.append(resource(job, name, [TABLES[name]], iter([(name, [{column: row[column] for column in columns} for row in rows])])))
    return resources
