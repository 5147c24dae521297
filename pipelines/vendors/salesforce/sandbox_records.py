"""The records of one object of the sandbox org, known by id and by (SystemModstamp, Id)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pipelines.vendors.salesforce.sandbox_schema import Object

STAMP = "SystemModstamp"


@dataclass(slots=True)
class Record:
    """One record: what REST shows of it, by API name. Absent is null. `deleted` is its place in the recycle bin."""

    id: str
    values: dict[str, Any]
    deleted: bool = False

    @property
    def stamp(self) -> str:
        return self.values.get(STAMP) or ""


@dataclass
class Table:
    """The records of one object, with what was worked out of them since they last changed."""

    object: Object
    records: dict[str, Record] = field(default_factory=dict)
    _ordered: list[Record] | None = None
    _stamps: list[str] = field(default_factory=list)
    _indexes: dict[str, dict[Any, list[Record]]] = field(default_factory=dict)

    def put(self, record: Record) -> None:
        """Adds or replaces a record."""
        self.records[record.id] = record
        self.touch()

    def drop(self, record_id: str) -> None:
        """Takes a record away without a trace."""
        self.records.pop(record_id, None)
        self.touch()

    def touch(self) -> None:
        """Something has changed."""
        self._ordered = None
        self._indexes.clear()

    def between(self, low: str | None, high: str | None) -> list[Record]:
        """Records with a stamp in the span, both ends included, by (SystemModstamp, Id)."""
        if self._ordered is None:
            self._ordered = sorted(self.records.values(), key=lambda record: (record.stamp, record.id))
            self._stamps = [record.stamp for record in self._ordered]
        first = bisect_left(self._stamps, low) if low else 0
        last = bisect_right(self._stamps, high) if high else len(self._stamps)
        return self._ordered[first:last]

    def having(self, name: str, wanted: Iterable[Any]) -> list[Record]:
        """Records whose field has one of these values."""
        if name not in self._indexes:
            index = self._indexes[name] = {}
            for record in self.records.values():
                index.setdefault(record.values.get(name), []).append(record)
        return [record for value in sorted(wanted) for record in self._indexes[name].get(value, ())]
