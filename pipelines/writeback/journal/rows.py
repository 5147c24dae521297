"""Rows of the journal's tables from and to what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.writeback.journal.records import Decision, Intent, Settled, TaskRow
from pipelines.writeback.journal.tables import as_text, as_time, outcomes, tasks
from pipelines.writeback.plan import TaskChange


def insert_outcomes(connection: sa.Connection, results: Sequence[Settled], now: datetime) -> None:
    if results:
        moment = as_text(now)
        rows = [
            {"intent_id": one.intent.intent_id, "outcome": one.outcome, "message": one.message, "recorded_at": moment}
            for one in results
        ]
        connection.execute(sa.insert(outcomes), rows)


def put_task(connection: sa.Connection, task: TaskChange, now: datetime) -> None:
    # The same key comes again when a night is run again after its rollback.
    connection.execute(sa.delete(tasks).where(tasks.c.key == task.key))
    row = {name: getattr(task, name) for name in ("key", "system", "object", "account_id", "kind", "episode")}
    connection.execute(sa.insert(tasks), row | {"task_id": None, "state": "intended", "recorded_at": as_text(now)})


def follow_task(connection: sa.Connection, result: Settled, now: datetime) -> None:
    states = {"open": "open", "completed": "closed", None: "withdrawn"}
    intent = result.intent
    reached = intent.after if result.outcome == "written" else intent.before
    values = {"state": states[reached], "recorded_at": as_text(now)}
    if result.task_id is not None:
        values["task_id"] = result.task_id
    connection.execute(sa.update(tasks).where(tasks.c.key == intent.record_id).values(values))


def intent_of(row: sa.Row[Any]) -> Intent:
    return Intent(row.intent_id, row.run_id, row.system, row.object, row.record_id, row.field, row.before, row.after)


def task_of(row: sa.Row[Any]) -> TaskRow:
    return TaskRow(row.key, row.system, row.object, row.account_id, row.kind, row.episode, row.task_id, row.state)


def decision_of(row: sa.Row[Any]) -> Decision:
    times = {"decided_at": as_time(row.decided_at), "revoked_at": as_time(row.revoked_at)}
    return Decision(**(dict(row._mapping) | times))
