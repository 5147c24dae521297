"""What Crossfoot wrote and no model wants any more: it is wanted empty, so that the plan clears it like any other change.

A record leaves the models when a deal is reopened or lost, or its type is excluded; a field, when a release or the
configuration drops it. The journal's last written values say what is left of both in the CRM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipelines.vendors.crm_types import Field, field_of, id_items, id_pair
from pipelines.writeback.journal import Intent
from pipelines.writeback.plan import DesiredRecord, FieldKey, RecordKey

Fields = Mapping[tuple[str, str], Sequence[Field]]


@dataclass(frozen=True)
class Leaving:
    """What is known of the records of one CRM that no model has: why none of them may be cleared (None: nothing speaks against
    it), and why single ones may not, by record id."""

    hold_reason: str | None = None
    doubtful: Mapping[str, str] = field(default_factory=dict)

    def reason(self, record_id: str) -> str | None:
        return self.hold_reason or self.doubtful.get(record_id)


def with_cleared(
    desired: Iterable[DesiredRecord],
    last_written: Mapping[FieldKey, str | None],
    fields: Fields,
    leaving: Mapping[str, Leaving],
    history: Callable[[str, str, str], Iterable[Intent]],
) -> tuple[list[DesiredRecord], dict[tuple[str, str], list[Field]]]:
    """The desired records with all that is to be cleared, and the fields by (system, object) with those that are only cleared.

    `leaving` names the CRMs of which `desired` is all that the models want; of another nothing is cleared. `history` gives
    the writes of a field (system, object, name), oldest first: an ids field loses only the ids that came by our writes.
    """
    records = {record.key: record for record in desired}
    known = {key: list(listed) for key, listed in fields.items()}
    left: dict[RecordKey, list[str]] = {}
    for (system, object, record_id, name), value in last_written.items():
        record = records.get((system, object, record_id))
        if value is None or system not in leaving or (record is not None and name in record.values):
            continue
        left.setdefault((system, object, record_id), []).append(name)
        listed = known.setdefault((system, object), [])
        if all(one.name != name for one in listed):
            listed.append(field_of(listed, name, value))
    ids: dict[FieldKey, str] = {}
    for key in {(*key[:2], name) for key, names in left.items() for name in names}:
        if next(one for one in known[key[:2]] if one.name == key[2]).type == "ids":
            ids |= {(*key[:2], record_id, key[2]): wish for record_id, wish in _taken_back(history(*key)).items()}
    for key, names in left.items():
        values = {name: ids.get((*key, name)) for name in names}
        record = records.get(key)
        if record is None:
            records[key] = DesiredRecord(*key, values, leaving[key[0]].reason(key[2]), cleared=frozenset(names))
        else:
            records[key] = replace(record, values={**record.values, **values}, cleared=frozenset(names))
    return list(records.values()), known


def _taken_back(history: Iterable[Intent]) -> dict[str, str]:
    """By record, the wish that takes the ids out which our writes put there: "-books:58; -books:60"."""
    ours: dict[str, dict[tuple[str | None, str], str]] = {}
    for write in history:
        before, after = ({id_pair(item): item for item in id_items(text)} for text in (write.before, write.after))
        mine = ours.setdefault(write.record_id, {})
        mine |= {pair: item for pair, item in after.items() if pair not in before}
        for pair in before.keys() - after.keys():
            mine.pop(pair, None)
    return {record_id: "; ".join(f"-{item}" for item in mine.values()) for record_id, mine in ours.items()}
