"""A CRM in memory that can be held in a test, with the faults of a real one, and a switch that kills the process."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pipelines.vendors.crm_types import (
    ACCOUNT_FIELDS,
    DEAL_FIELDS,
    BatchRefused,
    Deviation,
    Field,
    FoundTask,
    Outcome,
    OutcomeUnknown,
    RecordUpdate,
    TaskRequest,
    marked_key,
)
from pipelines.writeback.journal import Holder, Journal, Run
from pipelines.writeback.plan import DesiredRecord, WritebackPolicy

START = datetime(2026, 6, 30, 22, 0, tzinfo=UTC)
NIGHT = date(2026, 6, 30)
SMALL = (ACCOUNT_FIELDS[0], ACCOUNT_FIELDS[1], ACCOUNT_FIELDS[2], ACCOUNT_FIELDS[-1])
FREE = WritebackPolicy(mode="apply", max_change_share=1)


class Killed(BaseException):
    """The process died here: no handler sees it, and nothing works any more until a new process starts."""


class Switch:
    """Counts the moments at which a process can die, and dies at the one it was told."""

    def __init__(self, kill_at: int | None = None):
        self.kill_at = kill_at
        self.moments: list[str] = []
        self.dead = False

    def tick(self, moment: str) -> None:
        if self.dead:
            raise Killed(f"dead, and yet: {moment}")
        self.moments.append(moment)
        if len(self.moments) == self.kill_at:
            self.dead = True
            raise Killed(moment)

    def restart(self, kill_at: int | None = None) -> None:
        self.__init__(kill_at)


class FakeCrm:
    """Faults: `refuse` ids make their batch refused; `reject` ids are rejected with the message; `lose` holds, for the
    coming writes, "before" or "after" (the connection is lost before or after the write) or None."""

    slug = "hubspot"
    objects = {"companies": SMALL, "deals": DEAL_FIELDS}

    def __init__(self, records: dict[str, dict[str, dict[str, str | None]]], *, batch_size: int = 2, switch: Switch | None = None):
        self.records = {
            object: {id: {f.name: values.get(f.name) for f in self.objects[object]} for id, values in known.items()}
            for object, known in records.items()
        }
        self.batch_size = batch_size
        self.switch = switch or Switch()
        self.tasks: dict[str, dict[str, object]] = {}
        self.refuse: set[str] = set()
        self.reject: dict[str, str] = {}
        self.lose: list[str | None] = []
        self.writes: list[tuple[str, ...]] = []
        self.refuses: dict[tuple[str, str | None], bool] = {}  # {(field, value): whether the refusal names the field}
        self.one_by_one = False  # a refused record is refused alone, and not its batch
        self.deviations: dict[str, list[Deviation]] = {}
        self.gone_owners: set[str] = set()
        self._next = 900

    def snapshot(self) -> tuple[object, object]:
        """Everything that a person would see in the CRM."""
        tasks = {id: (task["request"].account_id, task["status"]) for id, task in self.tasks.items()}
        return copy.deepcopy(self.records), tasks

    def read(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, str | None]]:
        self.switch.tick(f"read {object}")
        return {id: {name: self.records[object][id][name] for name in fields} for id in ids if id in self.records[object]}

    def update(self, object: str, updates: Sequence[RecordUpdate]) -> list[Outcome]:
        ids = [update.record_id for update in updates]
        assert 0 < len(ids) <= self.batch_size and len(set(ids)) == len(ids)
        self.switch.tick(f"before update {object}")
        lost = self.lose.pop(0) if self.lose else None
        if lost == "before":
            raise OutcomeUnknown("connection reset before the write")
        bad = sorted(self.refuse & set(ids))
        if bad:
            raise BatchRefused(f"record {bad[0]} is invalid")
        refused = {update.record_id: self._refused(update) for update in updates}
        wrong = {id: named for id, named in refused.items() if named is not None}
        if wrong and not self.one_by_one:
            id, named = next(iter(wrong.items()))
            raise BatchRefused(f"a value of record {id} is refused", named)
        outcomes = []
        for update in updates:
            message = self.reject.get(update.record_id)
            if update.record_id in wrong:
                outcomes.append(Outcome(update.record_id, "rejected", "a value is refused", wrong[update.record_id]))
                continue
            if message is None:
                self.records[object][update.record_id] |= update.values
                self.writes.append((object, update.record_id, *sorted(update.values)))
            outcomes.append(Outcome(update.record_id, "written" if message is None else "rejected", message or ""))
        if lost == "after":
            raise OutcomeUnknown("connection reset after the write")
        self.switch.tick(f"after update {object}")
        return outcomes

    def _refused(self, update: RecordUpdate) -> frozenset[str] | None:
        """The fields that the refusal of this record names, None where it is taken."""
        bad = [(item, named) for item, named in self.refuses.items() if item in update.values.items()]
        return frozenset(name for (name, _), named in bad if named) if bad else None

    def missing_fields(self, object: str) -> list[Deviation]:
        return list(self.deviations.get(object, ()))

    def create_fields(self, object: str, fields: Sequence[Field]) -> None:
        self.deviations[object] = [one for one in self.deviations.get(object, ()) if one.field not in fields]

    def find_tasks(self, account_ids: Sequence[str]) -> dict[str, list[FoundTask]]:
        self.switch.tick("find tasks")
        found: dict[str, list[FoundTask]] = {}
        for id, task in self.tasks.items():
            key, account = marked_key(task["request"].body), task["request"].account_id
            if key and account in account_ids:
                found.setdefault(account, []).append(FoundTask(key, id, task["status"]))
        return found

    def create_task(self, request: TaskRequest) -> str:
        if request.owner_id in self.gone_owners:
            raise BatchRefused(f"owner {request.owner_id} is inactive")
        self._next += 1

        def change() -> str:
            self.tasks[str(self._next)] = {"request": request, "status": "open"}
            return str(self._next)

        return self._task_call("create task", change)

    def complete_task(self, task_id: str) -> None:
        self._task_call("complete task", lambda: self.tasks[task_id].update(status="completed"))

    def reopen_task(self, task_id: str) -> None:
        self._task_call("reopen task", lambda: self.tasks[task_id].update(status="open"))

    def delete_task(self, task_id: str) -> None:
        self._task_call("delete task", lambda: self.tasks.pop(task_id, None))

    def task_status(self, task_id: str) -> str | None:
        self.switch.tick("task status")
        return self.tasks[task_id]["status"] if task_id in self.tasks else None

    def _task_call(self, name, change):
        self.switch.tick(f"before {name}")
        lost = self.lose.pop(0) if self.lose else None
        if lost == "before":
            raise OutcomeUnknown("connection reset before the write")
        result = change()
        self.writes.append((name,))
        if lost == "after":
            raise OutcomeUnknown("connection reset after the write")
        self.switch.tick(f"after {name}")
        return result


class Stage:
    """A CRM, a journal and a clock that moves a second at each look; every start is a new process."""

    def __init__(self, folder: Path | str, crm: FakeCrm):
        self.crm = crm
        self.crms = {crm.slug: crm}
        self.time = START
        self.starts = 1
        place = folder / "journal.sqlite" if isinstance(folder, Path) else folder
        self.journal = Journal(place, alive=lambda pid: False, observe=lambda moment: self.crm.switch.tick(moment))

    def restart(self, kill_at: int | None = None) -> None:
        # The journal keeps nothing in memory but its connections, so the same object serves every process.
        self.starts += 1
        self.crm.switch.restart(kill_at)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    def holder(self, run_id: str) -> Holder:
        return Holder(run_id, pid=1000 + self.starts, host="here")

    def run(self, run_id: str, kind: str = "nightly", as_of: date = NIGHT, rollback_of: str | None = None) -> Run:
        return Run(run_id, kind, as_of, START, rollback_of=rollback_of)


def company(id: str, status: str | None = "Current", days: str | None = "0", total: str | None = "0", **more) -> DesiredRecord:
    """What company `id` should say."""
    values = {
        "financial_status": status,
        "days_overdue": days,
        "total_outstanding": total,
        "financials_as_of": more.pop("as_of", "2026-06-30T20:00:00Z"),
    }
    return DesiredRecord("hubspot", "companies", id, values, account=f"Company {id}", account_id=id, **more)


def stage(folder: Path | str, ids: Sequence[str] = ("acme", "blue", "core"), **options) -> Stage:
    """A stage with empty companies; its journal is in the folder, or behind a URL."""
    return Stage(folder, FakeCrm({"companies": {id: {} for id in ids}, "deals": {}}, **options))
