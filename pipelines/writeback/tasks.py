"""The overdue task: one for the account's owner when an account becomes overdue, once per episode, closed when paid.

An episode starts with the night that first finds the account overdue and ends with the first that does not. While it lasts
the task is the owner's: who completes or deletes it has dealt with it, and it is not opened again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from pipelines.vendors.crm_types import OVERDUE_STATUSES, TaskRequest, task_marker, to_text
from pipelines.writeback.journal import TaskRow
from pipelines.writeback.plan import DesiredRecord, Hold, RecordKey, TaskChange, Values

KIND = "overdue"
STATUS_FIELD = "financial_status"  # the records that have it are accounts
DUE_TIME = time(9, 0)

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


def plan_tasks(
    desired: Iterable[DesiredRecord],
    current: Mapping[RecordKey, Values],
    open_tasks: Sequence[TaskRow],
    statuses: Mapping[str, TaskStatus],
    as_of: date,
) -> tuple[list[TaskChange], list[Hold]]:
    """Tasks to open and close, and those that a held-back account keeps as they are. Pure.

    `current` holds the records that the CRM has; `statuses` what the CRM says of the tasks of `to_close`, by key.
    """
    by_account = _by_account(open_tasks)
    changes: list[TaskChange] = []
    holds: list[Hold] = []
    for record in desired:
        if STATUS_FIELD not in record.values or record.key not in current:
            continue
        task = by_account.get(record.key)
        if is_overdue(record) == (task is not None):
            continue
        change = _opened(record, as_of) if task is None else _closed(record, task, statuses[task.key])
        if record.hold_reason is None:
            changes.append(change)
        else:
            holds.append(Hold(*record.key, "task", change.before, change.after, record.hold_reason, record.account))
    return changes, holds


def request(task: TaskChange) -> TaskRequest:
    """What the CRM is asked to create."""
    if task.due is None:
        raise ValueError(f"task {task.key} of account {task.account_id} has no due time")
    due = datetime.fromisoformat(task.due)
    return TaskRequest(task.key, task.account_id, task.owner_id, task.subject, task.body, due)


def _by_account(open_tasks: Sequence[TaskRow]) -> dict[RecordKey, TaskRow]:
    return {(task.system, task.object, task.account_id): task for task in open_tasks}


def _opened(record: DesiredRecord, as_of: date) -> TaskChange:
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
        owner_id=record.owner_id,
        subject=f"Overdue invoices: {record.account or record.record_id}",
        body=_body(record, as_of, key),
        due=to_text("datetime", due),
        before=None,
        after="open",
    )


def _body(record: DesiredRecord, as_of: date, key: str) -> str:
    values = record.values
    lines = [
        f"{values[STATUS_FIELD]} as of {as_of.isoformat()}: {values.get('overdue_amount')} overdue (base currency) in "
        f"{values.get('overdue_invoices')} invoice(s), the oldest {values.get('days_overdue')} day(s) past due.",
        "This task closes itself when the account is no longer overdue.",
    ]
    if record.owner_id is None:
        lines.append("The account has no owner, so nobody is assigned.")
    return "\n".join([*lines, task_marker(key)])


def _closed(record: DesiredRecord, task: TaskRow, status: TaskStatus) -> TaskChange:
    by_us = status == "open"
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
        subject="No longer overdue" if by_us else "No longer overdue; a person has dealt with the task",
        before=status,
        after="completed" if by_us else status,
    )
