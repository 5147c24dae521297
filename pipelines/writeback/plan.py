"""The plan: every change that a night would make in the CRM, and everything that it holds back, decided in pure functions.

A plan's id is the hash of its changes, tasks and holds. Nothing here reads a clock, a CRM or the journal.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal

from pipelines.vendors.crm_types import COMPANIONS, IDS_LENGTH, Field, id_items, id_pair, merged_ids, same

MAX_CHANGES = 1_000_000  # fields and tasks of one plan; more is a mistake, not a night
MIN_RECORDS_FOR_SHARE = 10  # below this, one record is too large a share to mean anything

RecordKey = tuple[str, str, str]  # system, object, record id
FieldKey = tuple[str, str, str, str]  # system, object, record id, field
Values = Mapping[str, str | None]
TaskAction = Literal["open", "close", "end", "reopen", "delete"]


class BlockedPlan(Exception):
    """A guard or a limit forbids the whole plan; nothing was written. `reasons` holds one sentence each (exit code 3)."""

    def __init__(self, reasons: Sequence[str]):
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


@dataclass(frozen=True)
class WritebackPolicy:
    """How far the write-back may go. Field names are plain ("days_overdue") or qualified ("companies.days_overdue").

    `max_change_share` is a share of the records of one object, 0 to 1. `field_policies`: "theirs" (default) leaves a
    person's edit alone, "ours" overwrites it. `null_policies`: "clear" or "keep", before the field's own default.
    `ledger`: the only one, whose customers' ids may stand in a field without its name.
    """

    mode: Literal["off", "plan", "apply"] = "plan"
    max_change_share: Decimal = Decimal("0.25")
    field_policies: Mapping[str, str] = field(default_factory=dict)
    null_policies: Mapping[str, str] = field(default_factory=dict)
    overdue_tasks: bool = True
    max_changes: int = MAX_CHANGES
    ledger: str | None = None

    def overwrites(self, object: str, field: Field) -> bool:
        """Whether a person's edit of the field is overwritten."""
        return _setting(self.field_policies, object, field.name, "theirs") == "ours"

    def keeps(self, object: str, field: Field) -> bool:
        """Whether an empty value leaves the field as it is."""
        return _setting(self.null_policies, object, field.name, field.null_policy) == "keep"


@dataclass(frozen=True)
class DesiredRecord:
    """One row of an activation model: what a CRM record should say. `hold_reason` is a sentence, or None: may be written."""

    system: str
    object: str
    record_id: str
    values: Values
    hold_reason: str | None = None
    sources: str = ""
    account_id: str = ""
    account: str = ""
    owner_id: str | None = None

    @property
    def key(self) -> RecordKey:
        return (self.system, self.object, self.record_id)


@dataclass(frozen=True)
class Change:
    """One field of one record: from `before` (read live) to `after`, both canonical text."""

    system: str
    object: str
    record_id: str
    field: str
    before: str | None
    after: str | None
    account: str = ""
    sources: str = ""

    @property
    def key(self) -> FieldKey:
        return (self.system, self.object, self.record_id, self.field)


@dataclass(frozen=True)
class TaskChange:
    """A task to open, close, reopen or delete. "end" closes only our book: a person has dealt with the task already."""

    system: str
    object: str
    account_id: str
    action: TaskAction
    key: str
    account: str = ""
    kind: str = "overdue"
    episode: str = ""  # the as_of date of the night that opened it
    task_id: str | None = None
    owner_id: str | None = None
    subject: str = ""
    body: str = ""
    due: str | None = None  # canonical datetime
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class Hold:
    """A change that is not made, and why. `field` None: the whole record; "task": a task of the account."""

    system: str
    object: str
    record_id: str
    field: str | None
    before: str | None
    after: str | None
    reason: str
    account: str = ""


@dataclass(frozen=True)
class Plan:
    """What a run may write. `records` counts the records looked at by "system object"; times are no part of the id."""

    changes: tuple[Change, ...] = ()
    tasks: tuple[TaskChange, ...] = ()
    holds: tuple[Hold, ...] = ()
    guard_blocks: tuple[str, ...] = ()
    limit_blocks: tuple[str, ...] = ()
    records: tuple[tuple[str, int], ...] = ()
    kind: Literal["nightly", "rollback"] = "nightly"
    rollback_of: str | None = None
    as_of: str = ""
    not_approved: tuple[Hold, ...] = ()

    @property
    def blocks(self) -> tuple[str, ...]:
        """One sentence for each reason why nothing of this plan may be written; empty: it may."""
        return self.guard_blocks + self.limit_blocks

    @property
    def size(self) -> int:
        return len(self.changes) + len(self.tasks)

    @cached_property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the changes, tasks and holds."""
        content = {name: [plain(item) for item in getattr(self, name)] for name in ("changes", "tasks", "holds")}
        return digest(content)[:16]


def make_plan(
    desired: Iterable[DesiredRecord],
    current: Mapping[RecordKey, Values],
    last_written: Mapping[FieldKey, str | None],
    fields: Mapping[tuple[str, str], Sequence[Field]],
    policy: WritebackPolicy,
    *,
    tasks: Iterable[TaskChange] = (),
    task_holds: Iterable[Hold] = (),
    guard_blocks: Sequence[str] = (),
    as_of: str = "",
) -> Plan:
    """Compares what the records should say with what they say now.

    `current` holds the live values by record, without the records that the CRM does not have; `last_written` the value
    that Crossfoot wrote last, where it ever wrote the field; `fields` the fields by (system, object). Pure. Raises
    ValueError for a record that is wanted twice.
    """
    changes: list[Change] = []
    holds: list[Hold] = list(task_holds)
    records: Counter[str] = Counter()
    seen: set[RecordKey] = set()
    for record in desired:
        if record.key in seen:
            raise ValueError(f"{' '.join(record.key)} is wanted twice; the activation model has one row for each record")
        seen.add(record.key)
        records[f"{record.system} {record.object}"] += 1
        live = current.get(record.key)
        if live is None:
            holds.append(_hold(record, None, None, None, "the record no longer exists in the CRM"))
            continue
        made, held = _compare(record, live, last_written, fields[record.system, record.object], policy)
        changes += made
        holds += held
    return limited(
        Plan(
            changes=tuple(sorted(changes, key=_change_order)),
            tasks=tuple(sorted(tasks, key=_task_order)),
            holds=tuple(sorted(holds, key=_hold_order)),
            guard_blocks=tuple(guard_blocks),
            records=tuple(sorted(records.items())),
            as_of=as_of,
        ),
        policy,
    )


def limited(plan: Plan, policy: WritebackPolicy) -> Plan:
    """The plan with the blocks that its size and its share of the records call for."""
    return dataclasses.replace(plan, limit_blocks=(*_size_blocks(plan, policy), *_share_blocks(plan, policy)))


def restricted(live: Plan, approved: Plan, policy: WritebackPolicy) -> Plan:
    """What of the live plan was approved: an approval is a ceiling for the plan that was shown, not a licence.

    Keeps each live change that the approved plan holds with the same values before and after; the others are named in
    `not_approved`. The share of the records was seen by whoever approved, so it blocks no more; guards and size still do.
    """
    allowed = {(change.key, change.before, change.after) for change in approved.changes}
    kept = [change for change in live.changes if (change.key, change.before, change.after) in allowed]
    if live.kind == "nightly":
        leaders = {change.key[:3] for change in kept if change.field not in COMPANIONS}
        kept = [change for change in kept if change.key[:3] in leaders]  # a companion never goes alone
    allowed_tasks = {(task.system, task.key, task.action) for task in approved.tasks}
    tasks = [task for task in live.tasks if (task.system, task.key, task.action) in allowed_tasks]
    kept_keys = {change.key for change in kept}
    left_out = [_not_approved(change) for change in live.changes if change.key not in kept_keys]
    left_out += [_task_not_approved(task) for task in live.tasks if task not in tasks]
    plan = dataclasses.replace(
        live, changes=tuple(kept), tasks=tuple(tasks), not_approved=tuple(sorted(left_out, key=_hold_order))
    )
    return dataclasses.replace(plan, limit_blocks=_size_blocks(plan, policy))


def _compare(
    record: DesiredRecord,
    live: Values,
    last_written: Mapping[FieldKey, str | None],
    fields: Sequence[Field],
    policy: WritebackPolicy,
) -> tuple[list[Change], list[Hold]]:
    wanted = {known.name: _wanted(known, live.get(known.name), record.values[known.name], policy) for known in fields}
    differing = [known for known in fields if not same(known.type, live.get(known.name), wanted[known.name])]
    changes: list[Change] = []
    holds: list[Hold] = []
    for known in sorted(differing, key=lambda one: one.companion):
        if known.companion and not changes:
            continue
        before, after = live.get(known.name), wanted[known.name]
        reason = _reason(record, known, before, after, last_written, policy)
        if reason is not None:
            holds.append(_hold(record, known.name, before, after, reason))
        else:
            changes.append(Change(*record.key, known.name, before, after, record.account, record.sources))
    return changes, holds


def _wanted(known: Field, live: str | None, value: str | None, policy: WritebackPolicy) -> str | None:
    """What the field should hold. Ids are not ours alone: the model says only which of them to add and to take away."""
    return merged_ids(live, value, policy.ledger) if known.type == "ids" else value


def _reason(
    record: DesiredRecord,
    known: Field,
    before: str | None,
    after: str | None,
    last_written: Mapping[FieldKey, str | None],
    policy: WritebackPolicy,
) -> str | None:
    """Why the change is held back; None: it is made."""
    if record.hold_reason is not None:
        return record.hold_reason
    if after is None and policy.keeps(record.object, known):
        return "there is no value, and the field's null policy is to keep what it holds"
    key = (*record.key, known.name)
    ours = last_written.get(key)
    if known.type == "ids" and len(after or "") > IDS_LENGTH:
        return f"it would be {len(after or '')} characters long, more than the {IDS_LENGTH} that a CRM keeps; take out old ones"
    if same(known.type, before, ours) or policy.overwrites(record.object, known):
        return None
    if known.type == "ids":
        return _taken_out(before, after, ours)
    if key not in last_written:
        return f"a person filled it: it is {before!r} and was never written by Crossfoot"
    return f"a person changed it: it is {before!r}, and Crossfoot last wrote {ours!r}"


def _taken_out(before: str | None, after: str | None, ours: str | None) -> str | None:
    """Why ids are not put back: Crossfoot had written them, and a person took them out. None: there are none of these."""
    there, written = ({id_pair(item) for item in id_items(text)} for text in (before, ours))
    missing = [item for item in id_items(after) if id_pair(item) in written - there]
    if not missing:
        return None
    return (f"a person took out {', '.join(missing)}, which Crossfoot had written; put it back, or revoke the decision "
            "with crossfoot review revoke")


def _size_blocks(plan: Plan, policy: WritebackPolicy) -> tuple[str, ...]:
    if plan.size <= policy.max_changes:
        return ()
    return (f"the plan has {plan.size} changes, more than the limit of {policy.max_changes}; look for what went wrong",)


def _share_blocks(plan: Plan, policy: WritebackPolicy) -> tuple[str, ...]:
    touched: dict[str, set[str]] = {}
    for change in plan.changes:
        touched.setdefault(f"{change.system} {change.object}", set()).add(change.record_id)
    for task in plan.tasks:
        touched.setdefault(f"{task.system} {task.object}", set()).add(task.account_id)
    blocks = []
    for name, count in plan.records:
        changed = len(touched.get(name, ()))
        if count >= MIN_RECORDS_FOR_SHARE and changed > policy.max_change_share * count:
            blocks.append(
                f"{changed} of {count} {name} would change ({Decimal(100 * changed) / count:.0f} %), more than the allowed "
                f"{policy.max_change_share * 100:.0f} %; look at the plan and approve it, or raise "
                "writeback.max_change_share"
            )
    return tuple(blocks)


def _not_approved(change: Change) -> Hold:
    reason = "it is not in the approved plan with these values; make and approve a new plan"
    return Hold(*change.key, change.before, change.after, reason, change.account)


def _task_not_approved(task: TaskChange) -> Hold:
    reason = f"to {task.action} this task is not in the approved plan; make and approve a new plan"
    return Hold(task.system, task.object, task.account_id, "task", task.before, task.after, reason, task.account)


def _hold(record: DesiredRecord, field: str | None, before: str | None, after: str | None, reason: str) -> Hold:
    return Hold(*record.key, field, before, after, reason, record.account)


def _setting(policies: Mapping[str, str], object: str, name: str, default: str) -> str:
    return policies.get(f"{object}.{name}", policies.get(name, default))


def plain(value: Any) -> Any:
    """A part of a plan as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dict(vars(value))
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def digest(content: Any) -> str:
    """SHA-256 of plain JSON values, as hex; the same whatever the order of their names."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _change_order(change: Change) -> tuple[str, ...]:
    return (*change.key, *_nullable(change.before), *_nullable(change.after))


def _task_order(task: TaskChange) -> tuple[str, ...]:
    return (task.system, task.object, task.account_id, task.action, task.key)


def _hold_order(hold: Hold) -> tuple[str, ...]:
    key = (hold.system, hold.object, hold.record_id)
    return (*key, *_nullable(hold.field), *_nullable(hold.before), *_nullable(hold.after), hold.reason)


def _nullable(text: str | None) -> tuple[str, str]:
    return ("0", "") if text is None else ("1", text)
