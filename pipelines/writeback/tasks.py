"""The overdue task: one for the account's owner when an account becomes overdue, once per episode, closed when paid.

An episode starts with the night that first finds the account overdue and ends with the first that does not. While it lasts
the task is the owner's: who completes or deletes it has dealt with it, and it is not opened again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from pipelines.vendors.crm_types import OVERDUE_STATUSES, FoundTask, TaskRequest, task_marker, to_text
from pipelines.writeback.clearing import Leaving
from pipelines.writeback.journal import TaskRow
from pipelines.writeback.plan import DesiredRecord, Hold, RecordKey, TaskChange, Values, WritebackPolicy

KIND = "overdue"
STATUS_FIELD = "financial_status"  # the records that have it are accounts
DUE_TIME = time(9, 0)
NOT_ASSIGNED = "The CRM did not let the task be assigned to the account's owner."

TaskStatus = Literal["open", "completed"] | None


def task_key(system: str, account_id: str, episode: date) -> str:
    """The task's key: the same for the same account and episode, whoever computes it, 12 hex digits."""
    text = "|".join((system, account_id, KIND, episode.isoformat()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_overdue(record: DesiredRecord) -> bool:
    """Whether the account's flag is active: Overdue or Credit Hold."""
    return record.values.get(STATUS_FIELD) in OVERDUE_STATUSES


def to_close(desired: Iterable[DesiredRecord], open_tasks: Sequence[TaskRow]) -> list[TaskRow]:
    """The open tasks of accounts that are not overdue any more: those whose status has to be read from the CRM."""
    by_account = _by_account(open_tasks)
    paid = (record for record in desired if STATUS_FIELD in record.values and not is_overdue(record))
    return [by_account[record.key] for record in paid if record.key in by_account]


def departed(
    accounts: Iterable[DesiredRecord], open_tasks: Sequence[TaskRow], current: Mapping[RecordKey, Values], leaving: Leaving
) -> list[DesiredRecord]:
    """The accounts of open tasks that are not among `accounts`, which are all that the models have, as records that are not
    overdue. One that is gone from the CRM is in no doubt of its own."""
    known = {record.key for record in accounts}
    values, cleared = {STATUS_FIELD: None}, frozenset({STATUS_FIELD})
    return [DesiredRecord(*key, values, leaving.reason(key[2]) if key in current else leaving.hold_reason, cleared=cleared)
            for key in _by_account(open_tasks) if key not in known]


def to_open(desired: Iterable[DesiredRecord], current: Mapping[RecordKey, Values], open_tasks: Sequence[TaskRow]) -> list[DesiredRecord]:
    """The accounts that are overdue, may be written and have no open task in the journal."""
    by_account = _by_account(open_tasks)
    return [record for record in desired
            if is_overdue(record) and record.hold_reason is None and record.key in current and record.key not in by_account]


def to_adopt(record: DesiredRecord, found: Iterable[FoundTask], as_of: date, knows: Callable[[str], bool]) -> FoundTask | None:
    """The task that the account has in the CRM already: one that is open, or one of this very episode, completed or not, of which
    the journal knows nothing (`knows`, by key)."""
    key = task_key(record.system, record.record_id, as_of)
    ours = sorted(found, key=lambda task: (task.status != "open", task.task_id))
    return next((task for task in ours if task.status == "open" or (task.key == key and not knows(key))), None)


def plan_tasks(
    desired: Iterable[DesiredRecord],
    current: Mapping[RecordKey, Values],
    open_tasks: Sequence[TaskRow],
    statuses: Mapping[str, TaskStatus],
    as_of: date,
    policy: WritebackPolicy,
    found: Mapping[str, FoundTask | None],
) -> tuple[list[TaskChange], list[Hold]]:
    """Tasks to open, adopt and close, and those that a held-back account keeps as they are. Pure. Where the policy has no tasks,
    those that are open are still closed.

    `current` holds the records that the CRM has; `statuses` what the CRM says of the tasks of `to_close`, by key; `found` the
    task that an account of `to_open` has in the CRM, by the account's id.
    """
    by_account = _by_account(open_tasks)
    changes: list[TaskChange] = []
    holds: list[Hold] = []
    for record in desired:
        if STATUS_FIELD not in record.values or (record.key not in current and not record.leaves):
            continue
        task = by_account.get(record.key)
        if is_overdue(record) == (task is not None) or (task is None and not policy.overdue_tasks):
            continue
        there = found.get(record.record_id)
        if task is not None:
            change = _closed(record, task, statuses[task.key])
        elif there is not None:
            change = _adopted(record, there, as_of)
        else:
            change = _opened(record, as_of, policy.task_owners.get(record.system))
        if record.hold_reason is None:
            changes.append(change)
        else:
            holds.append(Hold(*record.key, "task", change.before, change.after, record.hold_reason, record.account))
    return changes, holds


def requests(task: TaskChange) -> list[TaskRequest]:
    """What the CRM is asked to create, one after the other until it takes one: for the owner, for the fallback, for nobody."""
    if task.due is None:
        raise ValueError(f"task {task.key} of account {task.account_id} has no due time")
    due = datetime.fromisoformat(task.due)
    owners = list(dict.fromkeys([task.owner_id, task.fallback_owner_id or task.owner_id, None]))
    bodies = [task.body, *[f"{task.body}\n{NOT_ASSIGNED}"] * (len(owners) - 1)]
    return [TaskRequest(task.key, task.account_id, owner_id, task.subject, body, due)
            for owner_id, body in zip(owners, bodies, strict=True)]


def _by_account(open_tasks: Sequence[TaskRow]) -> dict[RecordKey, TaskRow]:
    return {(task.system, task.object, task.account_id): task for task in open_tasks}


def _opened(record: DesiredRecord, as_of: date, fallback: str | None) -> TaskChange:
    key = task_key(record.system, record.record_id, as_of)
    due = datetime.combine(as_of + timedelta(days=1), DUE_TIME, UTC)
    return TaskChange(
        system=record.system,
        object=record.object,
        account_id=record.record_id,
        action="open",
        key=key,
        account=record.account,
        kind=KIND,
        episode=as_of.isoformat(),
        owner_id=record.owner_id or fallback,
        fallback_owner_id=fallback,
        subject=f"Overdue invoices: {record.account or record.record_id}",
        body=_body(record, as_of, key, fallback),
        due=to_text("datetime", due),
        before=None,
        after="open",
    )


def _body(record: DesiredRecord, as_of: date, key: str, fallback: str | None) -> str:
    values = record.values
    lines = [
        f"{values[STATUS_FIELD]} as of {as_of.isoformat()}: {values.get('overdue_amount')} overdue (base currency) in "
        f"{values.get('overdue_invoices')} invoice(s), the oldest {values.get('days_overdue')} day(s) past due.",
        "This task closes itself when the account is no longer overdue.",
    ]
    if record.owner_id is None:
        whom = "the configured owner of such tasks is" if fallback else "nobody is"
        lines.append(f"The account has no owner who is still active, so {whom} assigned.")
    return "\n".join([*lines, task_marker(key)])


def _adopted(record: DesiredRecord, there: FoundTask, as_of: date) -> TaskChange:
    return TaskChange(
        system=record.system,
        object=record.object,
        account_id=record.record_id,
        action="adopt",
        key=there.key,
        account=record.account,
        kind=KIND,
        episode=as_of.isoformat(),
        task_id=there.task_id,
        subject="The CRM has this task already",
        before=there.status,
        after=there.status,
    )


def _closed(record: DesiredRecord, task: TaskRow, status: TaskStatus) -> TaskChange:
    by_us = status == "open"
    reason = "The account has left the models" if record.leaves else "No longer overdue"
    return TaskChange(
        system=record.system,
        object=record.object,
        account_id=record.record_id,
        action="close" if by_us else "end",
        key=task.key,
        account=record.account,
        kind=task.kind,
        episode=task.episode,
        task_id=task.task_id,
        owner_id=record.owner_id,
        subject=reason if by_us else f"{reason}; a person has dealt with the task",
        before=status,
        after="completed" if by_us else status,
    )
