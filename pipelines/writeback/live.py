"""A plan against the CRM as it is now: the reading around the pure `make_plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby

from pipelines.vendors.crm_types import Crm
from pipelines.writeback.journal import Holder, Journal
from pipelines.writeback.plan import (
    DesiredRecord,
    FieldKey,
    Plan,
    RecordKey,
    TaskChange,
    Values,
    WritebackPolicy,
    make_plan,
)
from pipelines.writeback.resolve import resolve
from pipelines.writeback.tasks import plan_tasks, to_close

Progress = Callable[[int, int], None]  # records or changes done, and how many there are


def silent(done: int, total: int) -> None:
    """Shows no progress."""


def prepare_plan(
    desired: Sequence[DesiredRecord],
    crms: Mapping[str, Crm],
    journal: Journal,
    policy: WritebackPolicy,
    *,
    as_of: date,
    holder: Holder,
    now: Callable[[], datetime],
    guard_blocks: Sequence[str] = (),
    on_progress: Progress = silent,
) -> Plan:
    """The plan for showing or for `apply_plan`; writes to no CRM.

    Holds the journal's lock while it reads, and resolves what an interrupted run left first: a value that such a run
    wrote would else look like a person's edit. Raises LockHeld while an apply is running.
    """
    with journal.locked(holder, now()):
        resolve(journal, crms, now)
        return live_plan(
            desired, crms, journal, policy, as_of=as_of, guard_blocks=guard_blocks, on_progress=on_progress
        )


def live_plan(
    desired: Sequence[DesiredRecord],
    crms: Mapping[str, Crm],
    journal: Journal,
    policy: WritebackPolicy,
    *,
    as_of: date,
    guard_blocks: Sequence[str] = (),
    on_progress: Progress = silent,
) -> Plan:
    """Reads the CRMs and the journal and compares; needs the lock, and that nothing is unresolved."""
    current = read_current(crms, [record.key for record in desired], on_progress)
    objects = sorted({(record.system, record.object) for record in desired})
    tasks: list[TaskChange] = []
    holds = []
    if policy.overdue_tasks:
        for system in sorted({system for system, _ in objects}):
            mine = [record for record in desired if record.system == system]
            open_tasks = journal.open_tasks(system)
            statuses = {
                task.key: crms[system].task_status(task.task_id) if task.task_id else None
                for task in to_close(mine, open_tasks)
            }
            opened_or_closed, held = plan_tasks(mine, current, open_tasks, statuses, as_of)
            tasks += opened_or_closed
            holds += held
    return make_plan(
        desired,
        current,
        _last_written(journal, objects),
        {(system, object): crms[system].objects[object] for system, object in objects},
        policy,
        tasks=tasks,
        task_holds=holds,
        guard_blocks=guard_blocks,
        as_of=as_of.isoformat(),
    )


def read_current(
    crms: Mapping[str, Crm], keys: Sequence[RecordKey], on_progress: Progress = silent
) -> dict[RecordKey, Values]:
    """All of Crossfoot's fields of these records as they are now; records that the CRM does not have are absent."""
    current: dict[RecordKey, Values] = {}
    wanted = sorted(set(keys))
    done = 0
    for (system, object), group in groupby(wanted, key=lambda key: key[:2]):
        crm = crms[system]
        names = [field.name for field in crm.objects[object]]
        ids = [record_id for _, _, record_id in group]
        for start in range(0, len(ids), crm.batch_size):
            batch = ids[start : start + crm.batch_size]
            found = crm.read(object, batch, names)
            current |= {(system, object, record_id): values for record_id, values in found.items()}
            done += len(batch)
            on_progress(done, len(wanted))
    return current


def _last_written(journal: Journal, objects: Sequence[tuple[str, str]]) -> dict[FieldKey, str | None]:
    return {
        (system, object, record_id, field): value
        for system, object in objects
        for (record_id, field), value in journal.last_written(system, object).items()
    }
