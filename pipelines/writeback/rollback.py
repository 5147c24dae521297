"""Rolling a run back: its journal, turned into the inverse plan, goes the way of every plan.

A run and the interrupted runs that it went on with are one unit, so rolling back the run that finished the job leaves the
CRM as it was before the job began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from pipelines.vendors.crm_types import Crm, Field, FieldType, field_of, same
from pipelines.writeback.apply import ApplyResult, carry_out, running
from pipelines.writeback.approval import restricted
from pipelines.writeback.journal import TASKS, Holder, Journal, JournalError, Run, TaskRow
from pipelines.writeback.live import Progress, read_current, silent
from pipelines.writeback.plan import (
    GONE,
    Change,
    Hold,
    Plan,
    RecordKey,
    TaskAction,
    TaskChange,
    Values,
    WritebackPolicy,
    limited,
)
from pipelines.writeback.resolve import resolve
from pipelines.writeback.undo import Standing, standing

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

    A field that changed since, by a person or by a later run, is left alone and named in `result.left_out`; what an earlier
    rollback took back already is no change. A saved rollback plan may be passed as approved: then it is a ceiling, and its
    share of the records blocks no more. Raises JournalError for an unknown run, BlockedPlan, LockHeld, ApplyStopped, and
    errors of the CRM.
    """
    if run.rollback_of is None or run.kind != "rollback":
        raise ValueError(f"run {run.run_id} does not say which run it rolls back")
    journal.chain(run.rollback_of)
    with running(journal, run, now, holder):
        resolved = resolve(journal, crms, now)
        plan = _live_inverse(run.rollback_of, crms, journal, policy)
        if approved is not None:
            plan = restricted(plan, approved, policy)
        result = carry_out(plan, resolved, crms, journal, run, now, on_progress)
        return replace(result, left_out=(*plan.holds, *plan.not_approved))


def inverse_plan(
    writes: Sequence[Standing],
    current: Mapping[RecordKey, Values],
    types: Mapping[tuple[str, str, str], FieldType],
    task_rows: Mapping[str, TaskRow],
    task_statuses: Mapping[str, TaskStatus],
) -> Plan:
    """What takes the CRM back to where it was before these writes. Pure.

    `types` holds the fields' types by (system, object, field), `task_rows` and `task_statuses` the tasks among them, by key.
    What is back already is no change.
    """
    changes, tasks, holds = [], [], []
    for one in writes:
        if one.first.object == TASKS:
            step = _task_back(one, task_rows[one.first.record_id], task_statuses[one.first.record_id])
        else:
            step = _field_back(one, current, types[one.first.system, one.first.object, one.first.field])
        if isinstance(step, Change):
            changes.append(step)
        elif isinstance(step, TaskChange):
            tasks.append(step)
        elif step is not None:
            holds.append(step)
    return Plan(tuple(changes), tuple(tasks), tuple(holds), kind="rollback")


def _live_inverse(run_id: str, crms: Mapping[str, Crm], journal: Journal, policy: WritebackPolicy) -> Plan:
    chain = journal.chain(run_id)
    writes = standing(journal.writes_beside(chain), chain, journal.undoes())
    firsts = [one.first for one in writes]
    unknown = sorted({intent.system for intent in firsts} - crms.keys())
    if unknown:
        raise JournalError(f"run {run_id} wrote to {', '.join(unknown)}, which is not configured; add it to vendors.crms")
    values = [one for one in writes if one.first.object != TASKS]
    rows = {intent.record_id: journal.task(intent.record_id) for intent in firsts if intent.object == TASKS}
    statuses = {key: crms[row.system].task_status(row.task_id) if row.task_id else None for key, row in rows.items()}
    fields: dict[tuple[str, str], dict[str, Field]] = {}
    for one in values:
        known = crms[one.first.system].objects.get(one.first.object, ())
        named = fields.setdefault((one.first.system, one.first.object), {})
        named[one.first.field] = field_of(known, one.first.field, one.first.before or one.last.after)
    current = read_current(crms, [one.first.key[:3] for one in values], {key: list(named.values()) for key, named in fields.items()})
    types = {(*key, name): field.type for key, named in fields.items() for name, field in named.items()}
    plan = inverse_plan(writes, current, types, rows, statuses)
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


def _field_back(one: Standing, current: Mapping[RecordKey, Values], type: FieldType) -> Change | Hold | None:
    first, last = one.first, one.last
    live = current.get(first.key[:3])
    if live is None:
        return Hold(*first.key, last.after, first.before, GONE)
    value = live[first.field]
    if same(type, value, first.before):
        return None
    if one.since is not None:
        return Hold(*first.key, value, first.before, _later(one.since))
    if not same(type, value, last.after):
        return Hold(*first.key, value, first.before, f"it changed since: it is {value!r}, and the run wrote {last.after!r}")
    return Change(*first.key, value, first.before)


def _later(run_id: str) -> str:
    return f"a later run wrote it: {run_id}; roll that one back first"


def _task_back(one: Standing, row: TaskRow, status: TaskStatus) -> TaskChange | Hold | None:
    first, last = one.first, one.last
    if status == first.before:
        return None
    if one.since is not None:
        return Hold(row.system, row.object, row.account_id, "task", status, first.before, _later(one.since))
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
