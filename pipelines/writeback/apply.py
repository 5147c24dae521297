"""Applying a plan: the only place that calls a CRM's update, and the only one that creates or closes tasks.

For each batch: read it again, journal the intents, call the vendor, journal the outcomes. Whatever interrupts this leaves
intents without outcomes, which `resolve` settles by reading; nothing is written twice and nothing is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from pipelines.redaction import redact
from pipelines.vendors.crm_types import BatchRefused, Crm, Outcome, OutcomeUnknown, TaskRequest, field_of, same
from pipelines.writeback.approval import left_out, restricted
from pipelines.writeback.clearing import Leaving
from pipelines.writeback.journal import TASKS, Holder, Intent, Journal, Run, Settled
from pipelines.writeback.live import NOBODY_LEAVES, Progress, live_plan, silent
from pipelines.writeback.plan import (
    BlockedPlan,
    Change,
    DesiredRecord,
    FieldKey,
    Hold,
    Plan,
    TaskChange,
    WritebackPolicy,
)
from pipelines.writeback.refusals import Pending, Refusals, halves, pending
from pipelines.writeback.resolve import look, resolve
from pipelines.writeback.tasks import requests

JOURNAL_ONLY = ("end", "adopt")  # what is done to tasks without a call
MAX_TRIES = 3  # of one record or task, sent alone, whose answer was lost each time
MAX_TROUBLES = 1000  # refused or lost calls of one run; each bad record of a batch costs up to 14


class ApplyStopped(Exception):
    """The vendor could not be brought to a certain answer, or the numbers do not add up; the message names what. What was
    done is journalled; the next run finds out the rest."""


@dataclass(frozen=True)
class ApplyResult:
    """How an apply ended. Counts are of fields and tasks; planned = written + skipped + rejected. `left_out`: what was asked
    for by name (an approved plan, a run to roll back) and could not even be planned."""

    run_id: str
    plan: Plan
    written: int = 0
    skipped: int = 0
    rejected: int = 0
    problems: tuple[Settled, ...] = ()  # the skipped and rejected ones, with their messages
    resolved: tuple[Settled, ...] = ()  # what interrupted runs had left open
    left_out: tuple[Hold, ...] = ()

    @property
    def status(self) -> str:
        """complete: every planned change was written; partial: some were not."""
        return "partial" if self.problems else "complete"


def apply_plan(
    plan: Plan,
    crms: Mapping[str, Crm],
    journal: Journal,
    run: Run,
    *,
    now: Callable[[], datetime],
    holder: Holder | None = None,
    on_progress: Progress = silent,
) -> ApplyResult:
    """Writes a plan that was computed a moment ago (`live_plan`, `prepare_plan`).

    Raises BlockedPlan (nothing is written), LockHeld, LockLost, ApplyStopped, and errors of the CRM. `now` gives the time for the
    journal's stamps.
    """
    with running(journal, run, now, holder):
        resolved = resolve(journal, crms, now)
        return carry_out(plan, resolved, crms, journal, run, now, on_progress)


def apply_approved(
    approved: Plan,
    desired: Sequence[DesiredRecord],
    crms: Mapping[str, Crm],
    journal: Journal,
    policy: WritebackPolicy,
    run: Run,
    *,
    now: Callable[[], datetime],
    leaving: Mapping[str, Leaving] = NOBODY_LEAVES,
    guard_blocks: Sequence[str] = (),
    holder: Holder | None = None,
    on_progress: Progress = silent,
) -> ApplyResult:
    """Makes the plan anew and writes what of it was approved; the rest is in `result.plan.not_approved`, and what was approved
    and cannot be written any more in `result.left_out`. Raises as `apply_plan`, and BlockedPlan for an approved plan that its
    guards blocked."""
    with running(journal, run, now, holder):
        if approved.kind != "nightly":
            raise BlockedPlan([f"plan {approved.id} rolls back run {approved.rollback_of}; use crossfoot rollback for it"])
        if approved.guard_blocks:
            raise BlockedPlan(approved.guard_blocks)
        resolved = resolve(journal, crms, now)
        live = live_plan(desired, crms, journal, policy, as_of=run.as_of, leaving=leaving, guard_blocks=guard_blocks)
        plan = restricted(live, approved, policy)
        result = carry_out(plan, resolved, crms, journal, run, now, on_progress)
        return replace(result, left_out=left_out(approved, plan))


@contextmanager
def running(journal: Journal, run: Run, now: Callable[[], datetime], holder: Holder | None = None) -> Iterator[None]:
    """Holds the lock and the run's row in the journal, and records how the run ended when it ends with an error."""
    with journal.locked(holder or Holder(run.run_id), now()):
        journal.start_run(run, now())
        try:
            yield
        except BlockedPlan as blocked:
            journal.finish_run(run.run_id, "blocked", now(), str(blocked))
            raise
        except BaseException as error:
            journal.finish_run(run.run_id, "failed", now(), redact(f"{type(error).__name__}: {error}"))
            raise


def carry_out(
    plan: Plan,
    resolved: Sequence[Settled],
    crms: Mapping[str, Crm],
    journal: Journal,
    run: Run,
    now: Callable[[], datetime],
    on_progress: Progress,
) -> ApplyResult:
    """Writes the plan inside `running`, once everything older is resolved, and finishes the run."""
    if plan.blocks:
        raise BlockedPlan(plan.blocks)
    journal.save_plan(run.run_id, plan, now())
    session = _Session(plan, journal, run, now, on_progress)
    for (system, object), group in groupby(plan.changes, key=lambda change: (change.system, change.object)):
        session.write_object(crms[system], object, list(group))
    for task in plan.tasks:
        session.write_task(crms[task.system], task)
    result = session.result(resolved)
    journal.finish_run(run.run_id, result.status, now(), _summary(result))
    return result


class _Session:
    """One apply under way: what it has done so far."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        run: Run,
        now: Callable[[], datetime],
        on_progress: Progress,
    ):
        self._plan, self._journal, self._run, self._now = plan, journal, run, now
        self._on_progress = on_progress
        self._counts: Counter[str] = Counter()
        self._problems: list[Settled] = []
        self._tries: Counter[str] = Counter()
        self._troubles = 0
        self._refusals = Refusals()

    def write_object(self, crm: Crm, object: str, changes: Sequence[Change]) -> None:
        records = [list(group) for _, group in groupby(changes, key=lambda change: change.record_id)]
        for start in range(0, len(records), crm.batch_size):
            batch = [change for record in records[start : start + crm.batch_size] for change in record]
            self._send(crm, object, self._announce(crm, object, batch))

    def write_task(self, crm: Crm, task: TaskChange) -> None:
        if task.action == "end":
            self._journal.end_episode(task.key, self._now())
            return
        if task.action == "adopt":
            self._journal.adopt_task(task, self._now())
            return
        moved = None if task.action == "open" else _task_moved(crm, task)
        key = (task.system, TASKS, task.key, "status")
        wanted = [(key, task.before, task.after)]
        skipped = {} if moved is None else {key: moved}
        (intent,) = self._journal.add_intents(self._run.run_id, wanted, self._now(), skipped=skipped, task=task)
        if moved is not None:
            self._count([Settled(intent, "skipped", moved)])
            return
        self._settle([self._call_for_task(crm, task, intent)])

    def result(self, resolved: Sequence[Settled]) -> ApplyResult:
        """Raises ApplyStopped unless every planned change has exactly one outcome."""
        planned = len(self._plan.changes) + sum(task.action not in JOURNAL_ONLY for task in self._plan.tasks)
        if planned != self._counts.total():
            raise ApplyStopped(f"run {self._run.run_id}: {planned} changes were planned and {dict(self._counts)} accounted for")
        return ApplyResult(
            run_id=self._run.run_id,
            plan=self._plan,
            written=self._counts["written"],
            skipped=self._counts["skipped"],
            rejected=self._counts["rejected"],
            problems=tuple(self._problems),
            resolved=tuple(resolved),
        )

    def _announce(self, crm: Crm, object: str, batch: Sequence[Change]) -> list[Pending]:
        """Journals the batch's intents, after another look at it: a record that moved since the plan is skipped."""
        fields = {change.field: field_of(crm.objects.get(object, ()), change.field, change.before or change.after) for change in batch}
        names = sorted(fields)
        live = crm.read(object, list(dict.fromkeys(change.record_id for change in batch)), names)
        skipped: dict[FieldKey, str] = {}
        for record_id, group in groupby(batch, key=lambda change: change.record_id):
            changes = list(group)
            values = live.get(record_id)
            if values is None:
                skipped |= {change.key: "the record no longer exists in the CRM" for change in changes}
                continue
            moved = [change for change in changes if not same(fields[change.field].type, values[change.field], change.before)]
            if moved:
                skipped |= {change.key: "another field of the record moved since the plan" for change in changes}
                skipped |= {change.key: _moved(values[change.field], change.before) for change in moved}
        wanted = [(change.key, change.before, change.after) for change in batch]
        intents = self._journal.add_intents(self._run.run_id, wanted, self._now(), skipped=skipped)
        self._count([Settled(intent, "skipped", skipped[intent.key]) for intent in intents if intent.key in skipped])
        return pending([intent for intent in intents if intent.key not in skipped])

    def _send(self, crm: Crm, object: str, batch: list[Pending]) -> None:
        """Sends the batch. What the vendor refuses as a whole, or leaves open, is halved until one record is to blame, and
        that one goes again without the fields that it was refused for."""
        waiting = [batch] if batch else []
        while waiting:
            group = self._takeable(crm, object, waiting.pop())
            if not group:
                continue
            self._journal.keep_lock()
            try:
                outcomes = crm.update(object, [record.update() for record in group])
            except BatchRefused as refused:
                self._trouble(refused)
                waiting += self._after_refusal(crm, object, group, refused)
            except OutcomeUnknown as lost:
                self._trouble(lost)
                waiting += halves(self._after_loss(crm, group, lost))
            else:
                waiting += self._after_answer(object, group, outcomes)

    def _takeable(self, crm: Crm, object: str, group: list[Pending]) -> list[Pending]:
        fit, settled = self._refusals.takeable(crm, object, group)
        self._settle(settled)
        return fit

    def _after_refusal(self, crm: Crm, object: str, group: list[Pending], refused: BatchRefused) -> list[list[Pending]]:
        """What is to be sent instead of a batch that was refused as a whole."""
        if refused.fields:
            self._refusals.learn(crm, object)
            fit = self._takeable(crm, object, group)
            if fit != group:
                return [fit]
        if len(group) > 1:
            return halves(group)
        again, settled = self._refusals.narrowed(group[0], str(refused), refused.fields)
        self._settle(settled)
        return again

    def _after_answer(self, object: str, group: Sequence[Pending], outcomes: Sequence[Outcome]) -> list[list[Pending]]:
        """Settles the records of a call, and returns what of the rejected ones is to be sent again."""
        whole: list[Pending] = []
        parts: list[list[Pending]] = []
        settled: list[Settled] = []
        for record, outcome in _matched(object, group, outcomes):
            if outcome.status == "written":
                settled += [Settled(intent, "written", outcome.message) for intent in record.intents]
                continue
            again, rejected = self._refusals.narrowed(record, outcome.message, outcome.fields)
            settled += rejected
            if len(again) == 1:
                whole += again[0]  # different records fit into one call, and the halves of one do not
            else:
                parts += again
        self._settle(settled)
        return [*parts, *([whole] if whole else [])]

    def _after_loss(self, crm: Crm, group: Sequence[Pending], lost: OutcomeUnknown) -> list[Pending]:
        """Settles by reading what the lost call did, and returns the records that it did not write."""
        findings = look(crm, self._journal, [intent for record in group for intent in record.intents])
        self._settle([_found(finding.intent, finding.message) for finding in findings if finding.holds != "old"])
        left = pending([finding.intent for finding in findings if finding.holds == "old"])
        if left and len(group) == 1:  # a larger group comes back halved
            self._try_again(f"{crm.slug} {left[0].intents[0].object} {left[0].record_id}", lost)
        return left

    def _call_for_task(self, crm: Crm, task: TaskChange, intent: Intent) -> Settled:
        asked = requests(task) if task.action == "open" else [None]
        said = ""  # why the owner before was refused
        while True:  # ends by MAX_TRIES and with the last owner to ask for
            self._journal.keep_lock()
            try:
                return Settled(intent, "written", said, task_id=_carry_out_task(crm, task, asked[0]))
            except BatchRefused as refused:
                if len(asked) == 1:
                    return Settled(intent, "rejected", str(refused))
                said = f"not assigned to {asked.pop(0).owner_id}: {refused}"
            except OutcomeUnknown as lost:
                self._trouble(lost)
                (finding,) = look(crm, self._journal, [intent])
                if finding.holds == "new":
                    return Settled(intent, "written", task_id=finding.task_id)
                if finding.holds == "other":
                    return Settled(intent, "skipped", finding.message)
                self._try_again(f"{crm.slug} task {task.key}", lost)

    def _try_again(self, name: str, lost: OutcomeUnknown) -> None:
        self._tries[name] += 1
        if self._tries[name] >= MAX_TRIES:
            raise ApplyStopped(f"{name}: no certain answer after {self._tries[name]} tries ({lost}); run again later")

    def _trouble(self, error: Exception) -> None:
        self._troubles += 1
        if self._troubles > MAX_TROUBLES:
            raise ApplyStopped(f"{self._troubles} calls of this run were refused or lost, the last one: {error}")

    def _settle(self, results: Sequence[Settled]) -> None:
        if results:
            self._journal.settle(results, self._now())
            self._count(results)

    def _count(self, results: Sequence[Settled]) -> None:
        self._counts.update(result.outcome for result in results)
        self._problems += [result for result in results if result.outcome != "written"]
        self._on_progress(self._counts.total(), self._plan.size)


def _matched(object: str, group: Sequence[Pending], outcomes: Sequence[Outcome]) -> list[tuple[Pending, Outcome]]:
    """Records with their outcomes, by id. Raises ApplyStopped unless each record has exactly one."""
    by_id = {outcome.record_id: outcome for outcome in outcomes}
    if len(outcomes) != len(group) or by_id.keys() != {record.record_id for record in group}:
        raise ApplyStopped(f"{object}: {len(group)} records were sent and {len(outcomes)} outcomes came: {sorted(by_id)}")
    return [(record, by_id[record.record_id]) for record in group]


def _found(intent: Intent, conflict: str) -> Settled:
    return Settled(intent, "skipped", conflict) if conflict else Settled(intent, "written", "found written after a lost call")


def _moved(value: str | None, before: str | None) -> str:
    return f"it moved since the plan: it is {value!r}, and was {before!r}"


def _task_moved(crm: Crm, task: TaskChange) -> str | None:
    status = crm.task_status(_task_id(task))
    return None if status == task.before else f"the task is {status or 'deleted'} since the plan, and was {task.before}"


def _task_id(task: TaskChange) -> str:
    if task.task_id is None:
        raise ValueError(f"task {task.key} of account {task.account_id} has no id to {task.action}")
    return task.task_id


def _carry_out_task(crm: Crm, task: TaskChange, asked: TaskRequest | None) -> str | None:
    """Calls the CRM for one task; the new task's id where one was created."""
    if asked is not None:
        return crm.create_task(asked)
    if task.action == "close":
        crm.complete_task(_task_id(task))
    elif task.action == "reopen":
        crm.reopen_task(_task_id(task))
    elif task.action == "delete":
        crm.delete_task(_task_id(task))
    else:
        raise ValueError(f"task {task.key}: no call is known for {task.action!r}")
    return None


def _summary(result: ApplyResult) -> str:
    parts = [f"{result.written} written", f"{result.skipped} skipped", f"{result.rejected} rejected"]
    held, not_approved = len(result.plan.holds), len(result.plan.not_approved)
    return ", ".join([*parts, f"{held} held back", *([f"{not_approved} not approved"] if not_approved else [])])
