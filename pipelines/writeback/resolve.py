"""What became of writes whose answer never came: the CRM itself says.

The field holds the new value: it was written. The old one: it was not, and may be done again. Another: somebody has been
there since, which is a conflict to report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Literal

from pipelines.vendors.crm_types import Crm, field_of, same
from pipelines.writeback.journal import TASKS, Intent, Journal, JournalError, Settled

NOT_WRITTEN = "the run ended before it was written; it is planned again"


@dataclass(frozen=True)
class Finding:
    """What the CRM holds for an intent: its new value, its old one, or another (`message` says which)."""

    intent: Intent
    holds: Literal["new", "old", "other"]
    message: str = ""
    task_id: str | None = None


def resolve(journal: Journal, crms: Mapping[str, Crm], now: Callable[[], datetime]) -> list[Settled]:
    """Gives every intent without an outcome its outcome, by reading the CRM; needs the lock and writes to no CRM.

    Raises JournalError for an intent of a CRM that is not configured; errors of reading pass through, and the intents
    that were not looked at stay unresolved.
    """
    settled: list[Settled] = []
    for (system, object), group in _grouped(journal.unresolved()):
        crm = crms.get(system)
        if crm is None:
            raise JournalError(f"the journal has unresolved writes to {system}, which is not configured; add it to vendors.crms")
        batches = [[intent] for intent in group] if object == TASKS else list(_batches(group, crm.batch_size))
        for batch in batches:
            results = [_settled(finding) for finding in look(crm, journal, batch)]
            journal.settle(results, now())
            settled += results
    journal.mark_settled()
    return settled


def look(crm: Crm, journal: Journal, intents: Sequence[Intent]) -> list[Finding]:
    """What the CRM holds for these intents of one object, in their order."""
    if intents[0].object == TASKS:
        return [_look_at_task(crm, journal, intent) for intent in intents]
    object = intents[0].object
    fields = {one.field: field_of(crm.objects.get(object, ()), one.field, one.before or one.after) for one in intents}
    live = crm.read(object, list(dict.fromkeys(intent.record_id for intent in intents)), sorted(fields))
    findings = []
    for intent in intents:
        if intent.record_id not in live:
            findings.append(Finding(intent, "other", "the record no longer exists in the CRM"))
            continue
        value = live[intent.record_id][intent.field]
        if same(fields[intent.field].type, value, intent.after):
            findings.append(Finding(intent, "new"))
        elif same(fields[intent.field].type, value, intent.before):
            findings.append(Finding(intent, "old"))
        else:
            message = f"conflict: it is {value!r}, neither {intent.before!r} as before nor {intent.after!r} as planned"
            findings.append(Finding(intent, "other", message))
    return findings


def _look_at_task(crm: Crm, journal: Journal, intent: Intent) -> Finding:
    task = journal.task(intent.record_id)
    if intent.before is None:
        found = crm.find_tasks([task.account_id]).get(task.account_id, ())
        task_id = next((one.task_id for one in found if one.key == task.key), None)
        return Finding(intent, "old" if task_id is None else "new", task_id=task_id)
    if task.task_id is None:
        raise JournalError(f"task {task.key} of account {task.account_id} has no id in the journal")
    status = crm.task_status(task.task_id)
    if status == intent.after:
        return Finding(intent, "new")
    if status == intent.before:
        return Finding(intent, "old")
    return Finding(intent, "other", f"conflict: the task is {status or 'deleted'}")


def _settled(finding: Finding) -> Settled:
    if finding.holds == "new":
        return Settled(finding.intent, "written", "found written after an interruption", finding.task_id)
    return Settled(finding.intent, "skipped", finding.message or NOT_WRITTEN)


def _grouped(intents: Iterable[Intent]) -> Iterator[tuple[tuple[str, str], list[Intent]]]:
    ordered = sorted(intents, key=lambda intent: (intent.system, intent.object, intent.record_id, intent.intent_id))
    for key, group in groupby(ordered, key=lambda intent: (intent.system, intent.object)):
        yield key, list(group)


def _batches(intents: Sequence[Intent], size: int) -> Iterator[list[Intent]]:
    records = [list(group) for _, group in groupby(intents, key=lambda intent: intent.record_id)]
    for start in range(0, len(records), size):
        yield [intent for record in records[start : start + size] for intent in record]
