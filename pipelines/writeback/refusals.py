"""Which fields of a refused record are to blame, so that they alone are rejected and their neighbours are sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from pipelines.vendors.crm_types import COMPANIONS, Crm, Deviation, RecordUpdate
from pipelines.writeback.journal import Intent, Settled

MAX_SEARCHES = 60  # calls of one run that look for the field to blame in a record whose refusal names none

T = TypeVar("T")


@dataclass(frozen=True)
class Pending:
    """One record on its way: its intents, none of which has an outcome yet."""

    record_id: str
    intents: tuple[Intent, ...]

    def update(self) -> RecordUpdate:
        return RecordUpdate(self.record_id, {intent.field: intent.after for intent in self.intents})


def pending(intents: Sequence[Intent]) -> list[Pending]:
    return [Pending(record_id, tuple(group)) for record_id, group in groupby(intents, key=lambda one: one.record_id)]


def halves(group: Sequence[T]) -> list[list[T]]:
    middle = (len(group) + 1) // 2
    return [list(half) for half in (group[middle:], group[:middle]) if half]  # the first half is popped first


class Refusals:
    """What one apply has found out about what its CRMs refuse."""

    def __init__(self) -> None:
        self._deviations: dict[tuple[str, str], list[Deviation]] = {}
        self._searches = 0

    def learn(self, crm: Crm, object: str) -> None:
        """Looks once at all of the object's fields in the CRM: one that is read-only or lacks an option would cost a call
        for each record."""
        if object in crm.objects and (crm.slug, object) not in self._deviations:
            self._deviations[crm.slug, object] = crm.missing_fields(object)

    def takeable(self, crm: Crm, object: str, group: Sequence[Pending]) -> tuple[list[Pending], list[Settled]]:
        """The records without the values that the CRM is known to refuse, and the outcomes of those."""
        known = self._deviations.get((crm.slug, object), ())
        fit: list[Pending] = []
        settled: list[Settled] = []
        for record in group:
            reasons = {
                intent.field: str(one)
                for intent in record.intents for one in known
                if one.field.name == intent.field and one.refuses_value(intent.after)
            }
            left, rejected = _without(record, reasons) if reasons else ([record], [])
            fit += left
            settled += rejected
        return fit, settled

    def narrowed(self, record: Pending, message: str, fields: frozenset[str]) -> tuple[list[list[Pending]], list[Settled]]:
        """Groups of what is to be sent again of a record that was refused for `fields`, and the outcomes of the rest.

        A refusal that names none of the record's fields is narrowed down by halving them, for a limited number of calls;
        after those the whole record is rejected.
        """
        blamed = {intent.field: message for intent in record.intents if intent.field in fields}
        if blamed:
            left, settled = _without(record, blamed)
            return [left] if left else [], settled
        asked = [intent for intent in record.intents if not _rides_along(intent)]
        if len(asked) < 2 or self._searches >= MAX_SEARCHES:
            return [], [Settled(intent, "rejected", message) for intent in record.intents]
        self._searches += 2
        companions = [Settled(intent, "rejected", message) for intent in record.intents if _rides_along(intent)]
        return [[Pending(record.record_id, tuple(half))] for half in halves(asked)], companions


def _rides_along(intent: Intent) -> bool:
    """Whether it says of the record's other fields that they are up to date; cleared, it says nothing."""
    return intent.field in COMPANIONS and intent.after is not None


def _without(record: Pending, reasons: Mapping[str, str]) -> tuple[list[Pending], list[Settled]]:
    """The record without fields that are rejected for their reasons; nothing where none is left.

    What rides along with a change is not written then: it says of every field of the record that it is up to date.
    """
    left: list[Intent] = []
    settled: list[Settled] = []
    for intent in record.intents:
        if intent.field in reasons:
            settled.append(Settled(intent, "rejected", reasons[intent.field]))
        elif _rides_along(intent):
            settled.append(Settled(intent, "skipped", f"not written, because the CRM did not take {', '.join(reasons)}"))
        else:
            left.append(intent)
    return pending(left), settled
