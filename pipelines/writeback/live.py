"""A plan against the CRM as it is now: the reading around the pure `make_plan`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby
from types import MappingProxyType

from pipelines.vendors.crm_types import Crm, Field
from pipelines.writeback.clearing import Leaving, with_cleared
from pipelines.writeback.journal import Holder, Journal
from pipelines.writeback.plan import (
    DesiredRecord,
    FieldKey,
    Hold,
    Plan,
    RecordKey,
    TaskChange,
    Values,
    WritebackPolicy,
    make_plan,
)
from pipelines.writeback.resolve import resolve
from pipelines.writeback.tasks import departed, plan_tasks, to_adopt, to_close, to_open

Progress = Callable[[int, int], None]  # records or changes done, and how many there are
NOBODY_LEAVES: Mapping[str, Leaving] = MappingProxyType({})


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
    leaving: Mapping[str, Leaving] = NOBODY_LEAVES,
    guard_blocks: Sequence[str] = (),
    on_progress: Progress = silent,
) -> Plan:
    """The plan for showing or for `apply_plan`; writes to no CRM.

    `leaving` names the CRMs of which `desired` is all that is wanted: what else was written there is cleared. Holds the
    journal's lock while it reads, and resolves what an interrupted run left first: a value that such a run wrote would else
    look like a person's edit. Raises LockHeld while an apply is running.
    """
    with journal.locked(holder, now()):
        resolve(journal, crms, now)
        return live_plan(
            desired, crms, journal, policy, as_of=as_of, leaving=leaving, guard_blocks=guard_blocks, on_progress=on_progress
        )


def live_plan(
    desired: Sequence[DesiredRecord],
    crms: Mapping[str, Crm],
    journal: Journal,
    policy: WritebackPolicy,
    *,
    as_of: date,
    leaving: Mapping[str, Leaving] = NOBODY_LEAVES,
    guard_blocks: Sequence[str] = (),
    on_progress: Progress = silent,
) -> Plan:
    """Reads the CRMs and the journal and compares; needs the lock, and that nothing is unresolved."""
    written = _last_written(journal, crms)
    own_fields = {(system, object): fields for system, crm in crms.items() for object, fields in crm.objects.items()}
    wanted, fields = with_cleared(desired, written, own_fields, leaving, journal.writes_to)
    current = read_current(crms, [record.key for record in wanted], fields, on_progress)
    tasks: list[TaskChange] = []
    holds: list[Hold] = []
    for system, crm in crms.items():
        mine = [record for record in wanted if record.system == system]
        planned, held = _live_tasks(mine, crm, journal, current, policy, as_of, leaving.get(system))
        tasks += planned
        holds += held
    return make_plan(
        wanted, current, written, fields, policy, tasks=tasks, task_holds=holds, guard_blocks=guard_blocks, as_of=as_of.isoformat()
    )


def read_current(
    crms: Mapping[str, Crm],
    keys: Iterable[RecordKey],
    fields: Mapping[tuple[str, str], Sequence[Field]],
    on_progress: Progress = silent,
) -> dict[RecordKey, Values]:
    """These records' fields as they are now; records that the CRM does not have are absent."""
    current: dict[RecordKey, Values] = {}
    wanted = sorted(set(keys))
    done = 0
    for (system, object), group in groupby(wanted, key=lambda key: key[:2]):
        crm = crms[system]
        names = [field.name for field in fields[system, object]]
        ids = [record_id for _, _, record_id in group]
        for start in range(0, len(ids), crm.batch_size):
            batch = ids[start : start + crm.batch_size]
            found = crm.read(object, batch, names)
            current |= {(system, object, record_id): values for record_id, values in found.items()}
            done += len(batch)
            on_progress(done, len(wanted))
    return current


def _live_tasks(
    records: Sequence[DesiredRecord],
    crm: Crm,
    journal: Journal,
    current: Mapping[RecordKey, Values],
    policy: WritebackPolicy,
    as_of: date,
    leaving: Leaving | None,
) -> tuple[list[TaskChange], list[Hold]]:
    """The tasks of one CRM: those to close with their status, those to open looked up in the CRM, where a journal that was lost
    or put back knows nothing of them."""
    open_tasks = journal.open_tasks(crm.slug)
    stay = [record for record in records if not record.leaves]
    mine = [*stay, *(departed(stay, open_tasks, current, leaving) if leaving else ())]
    statuses = {task.key: crm.task_status(task.task_id) if task.task_id else None for task in to_close(mine, open_tasks)}
    opening = to_open(mine, current, open_tasks) if policy.overdue_tasks else []
    found = crm.find_tasks([record.record_id for record in opening]) if opening else {}
    there = {record.record_id: to_adopt(record, found.get(record.record_id, ()), as_of, journal.knows_task) for record in opening}
    return plan_tasks(mine, current, open_tasks, statuses, as_of, policy, there)


def _last_written(journal: Journal, crms: Mapping[str, Crm]) -> dict[FieldKey, str | None]:
    return {
        (system, object, record_id, field): value
        for system in crms
        for object in journal.written_objects(system)
        for (record_id, field), value in journal.last_written(system, object).items()
    }
