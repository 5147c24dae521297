"""What of a plan somebody approved: a ceiling for what is written, and what of it was left out."""

from __future__ import annotations

import dataclasses

from pipelines.vendors.crm_types import COMPANIONS
from pipelines.writeback.plan import Change, Hold, Plan, TaskChange, WritebackPolicy, hold_order, size_blocks


def restricted(live: Plan, approved: Plan, policy: WritebackPolicy) -> Plan:
    """What of the live plan was approved: an approval is a ceiling for the plan that was shown, not a licence.

    Keeps each live change that the approved plan holds with the same values before and after; the others are named in
    `not_approved`. The share of the records was seen by whoever approved, so it blocks no more; guards and size still do.
    """
    allowed = {(change.key, change.before, change.after) for change in approved.changes}
    kept = [change for change in live.changes if (change.key, change.before, change.after) in allowed]
    if live.kind == "nightly":
        leaders = {change.key[:3] for change in kept if change.field not in COMPANIONS}
        # A companion never goes alone, except to be cleared.
        kept = [change for change in kept if change.key[:3] in leaders or change.after is None]
    allowed_tasks = {(task.system, task.key, task.action) for task in approved.tasks}
    tasks = [task for task in live.tasks if (task.system, task.key, task.action) in allowed_tasks]
    kept_keys = {change.key for change in kept}
    others = [_not_approved(change) for change in live.changes if change.key not in kept_keys]
    others += [_task_not_approved(task) for task in live.tasks if task not in tasks]
    plan = dataclasses.replace(live, changes=tuple(kept), tasks=tuple(tasks), not_approved=tuple(sorted(others, key=hold_order)))
    return dataclasses.replace(plan, limit_blocks=size_blocks(plan, policy))


def left_out(approved: Plan, written: Plan) -> tuple[Hold, ...]:
    """What was approved and is not in the plan that is written, because it is held back or differs by now, with the reason. What
    is as it should be by itself is not among them."""
    fields = {change.key for change in approved.changes} - {change.key for change in written.changes}
    records = {key[:3] for key in fields} | {(task.system, task.object, task.account_id) for task in approved.tasks}
    tasks = {(task.system, task.object, task.account_id, "task") for task in approved.tasks}
    tasks -= {(task.system, task.object, task.account_id, "task") for task in written.tasks}

    def was_asked(hold: Hold) -> bool:
        key = (hold.system, hold.object, hold.record_id)
        return key in records if hold.field is None else (*key, hold.field) in fields | tasks

    return tuple(sorted(filter(was_asked, (*written.holds, *written.not_approved)), key=hold_order))


def _not_approved(change: Change) -> Hold:
    reason = "it is not in the approved plan with these values; make and approve a new plan"
    return Hold(*change.key, change.before, change.after, reason, change.account)


def _task_not_approved(task: TaskChange) -> Hold:
    reason = f"to {task.action} this task is not in the approved plan; make and approve a new plan"
    return Hold(task.system, task.object, task.account_id, "task", task.before, task.after, reason, task.account)
