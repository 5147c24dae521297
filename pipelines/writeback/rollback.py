"""Rolling a run back: its journal, turned into the inverse plan, goes the way of every plan.

A run and the interrupted runs that it went on with are one unit, so rolling back the run that finished the job leaves the
CRM as it was before the job began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Literal

from pipelines.vendors.crm_types import Crm, Field, same
from pipelines.writeback.apply import ApplyResult, carry_out, running
from pipelines.writeback.journal import TASKS, Holder, Intent, Journal, JournalError, Run, TaskRow
from pipelines.writeback.live import Progress, read_current, silent
from pipelines.writeback.plan import (
    Change,
    Hold,
    Plan,
    RecordKey,
    TaskAction,
    TaskChange,
    Values,
    WritebackPolicy,
    limited,
    restricted,
)
from pipelines.writeback.resolve import resolve

TaskStatus = Literal["open", "completed"] | None


def prepare_rollback(
    run_id: str,
    crms: Mapping[str, Crm],
    journal: Journal,
    policy: WritebackPolicy,
    *,
    holder: Holder,
    now: Callable[[], datetime],
) -> Plan:
    """The inverse plan of a run, for showing; writes to no CRM. Raises JournalError for an unknown run, LockHeld."""
    journal.chain(run_id)  # an unknown run is named before anything is locked or read
    with journal.locked(holder, now()):
        resolve(journal, crms, now)
        return _live_inverse(run_id, crms, journal, policy)


def rollback(
    crms: Mapping[str, Crm],
    journal: Journal,
    policy: WritebackPolicy,
    run: Run,
    *,
    now: Callable[[], datetime],
    approved: Plan | None = None,
    holder: Holder | None = None,
    on_progress: Progress = silent,
) -> ApplyResult:
    """Undoes what `run.rollback_of` wrote: same plan, limits, conflict check, journal and apply.

    A field that changed since, by a person or by a later run, is left alone and named in `result.plan.holds`. A saved
    rollback plan may be passed as approved: then it is a ceiling, and its share of the records blocks no more. Raises
    JournalError for an unknown run, BlockedPlan, LockHeld, ApplyStopped, and errors of the CRM.
    """
    if run.rollback_of is None or run.kind != "rollback":
        raise ValueError(f"run {run.run_id} does not say which run it rolls back")
    journal.chain(run.rollback_of)
    with running(journal, run, now, holder):
        resolved = resolve(journal, crms, now)
        plan = _live_inverse(run.rollback_of, crms, journal, policy)
        if approved is not None:
            plan = restricted(plan, approved, policy)
        return carry_out(plan, resolved, crms, journal, run, now, on_progress)


def inverse_plan(
    writes: Sequence[Intent],
    current: Mapping[RecordKey, Values],
    fields: Mapping[tuple[str, str], Sequence[Field]],
    task_rows: Mapping[str, TaskRow],
    task_statuses: Mapping[str, TaskStatus],
) -> Plan:
    """What takes the CRM back to where it was before these writes, given in the order in which they were made. Pure.

    `task_rows` and `task_statuses` hold the tasks among them, by key. What is back already is no change.
    """
    types = {(*key, field.name): field.type for key, known in fields.items() for field in known}
    changes, tasks, holds = [], [], []
    for first, last in _net(writes):
        if first.object == TASKS:
            step = _task_back(first, last, task_rows[first.record_id], task_statuses[first.record_id])
        else:
            step = _field_back(first, last, current, types[first.system, first.object, first.field])
        if isinstance(step, Change):
            changes.append(step)
        elif isinstance(step, TaskChange):
            tasks.append(step)
        elif step is not None:
            holds.append(step)
    return Plan(tuple(changes), tuple(tasks), tuple(holds), kind="rollback")


def _live_inverse(run_id: str, crms: Mapping[str, Crm], journal: Journal, policy: WritebackPolicy) -> Plan:
    chain = journal.chain(run_id)
    writes = journal.written(chain)
    unknown = sorted({intent.system for intent in writes} - crms.keys())
    if unknown:
        raise JournalError(f"run {run_id} wrote to {', '.join(unknown)}, which is not configured; add it to vendors.crms")
    keys = [intent.key[:3] for intent in writes if intent.object != TASKS]
    rows = {intent.record_id: journal.task(intent.record_id) for intent in writes if intent.object == TASKS}
    statuses = {key: crms[row.system].task_status(row.task_id) if row.task_id else None for key, row in rows.items()}
    fields = {(system, object): crms[system].objects[object] for system, object, _ in keys}
    plan = inverse_plan(writes, read_current(crms, keys), fields, rows, statuses)
    counted = Plan(
        plan.changes, plan.tasks, plan.holds, kind="rollback", rollback_of=run_id, records=_records(chain, journal)
    )
    return limited(counted, policy)


def _records(chain: Sequence[str], journal: Journal) -> tuple[tuple[str, int], ...]:
    """How many records the runs had looked at: what a rollback's share is a share of."""
    plan_ids = {row["run_id"]: row["plan_id"] for row in journal.runs_by_id(chain)}
    counts: dict[str, int] = {}
    for plan_id in plan_ids.values():
        for name, count in journal.plan(plan_id).records if plan_id else ():
            counts[name] = max(count, counts.get(name, 0))
    return tuple(sorted(counts.items()))


def _net(writes: Sequence[Intent]) -> list[tuple[Intent, Intent]]:
    """For each field the first and the last write: from where to where the runs took it."""
    ordered = sorted(writes, key=lambda intent: (*intent.key, intent.intent_id))
    groups = [list(group) for _, group in groupby(ordered, key=lambda intent: intent.key)]
    return [(group[0], group[-1]) for group in groups]


def _field_back(first: Intent, last: Intent, current: Mapping[RecordKey, Values], type: str) -> Change | Hold | None:
    live = current.get(first.key[:3])
    if live is None:
        return Hold(*first.key, last.after, first.before, "the record no longer exists in the CRM")
    value = live[first.field]
    if same(type, value, first.before):
        return None
    if not same(type, value, last.after):
        return Hold(*first.key, value, first.before, f"it changed since: it is {value!r}, and the run wrote {last.after!r}")
    return Change(*first.key, value, first.before)


def _task_back(first: Intent, last: Intent, row: TaskRow, status: TaskStatus) -> TaskChange | Hold | None:
    if status == first.before:
        return None
    if status is None or status != last.after:
        reason = f"the task changed since: it is {status or 'deleted'}, and the run left it {last.after or 'deleted'}"
        return Hold(row.system, row.object, row.account_id, "task", status, first.before, reason)
    actions: dict[str | None, TaskAction] = {None: "delete", "open": "reopen", "completed": "close"}
    return TaskChange(
        system=row.system,
        object=row.object,
        account_id=row.account_id,
        action=actions[first.before],
        key=row.key,
        kind=row.kind,
        episode=row.episode,
        task_id=row.task_id,
        subject="Rolled back",
        before=status,
        after=first.before,
    )
