"""The journal as a dlt source: runs, writes and decisions as raw tables, so that the marts can show sync health."""

from __future__ import annotations

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
def source(job: Job, journal: Journal) -> list[Any]:
    """What the journal recorded since `job.cursors["journal"]` (ISO time), or all of it."""
    since = job.cursors.get("journal")
    rows = journal.rows_for_warehouse(datetime.fromisoformat(since) if since else None)
    return [
        resource(job, name, [table], iter([(name, [{column: row[column] for column in table.columns} for row in getattr(rows, name)])]))
        for name, table in TABLES.items()
    ]
