"""What the guard saw on each night, what it decided, and which nights a person accepted.

It is kept twice, in the journal and in the warehouse (`raw_crossfoot.guarded`): a warehouse that is deleted and built again
from the vendors, or a journal that is lost, does not make the guard forget what a source once held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines import landing
from pipelines.landing import Table
from pipelines.writeback.journal import Journal
from pipelines.writeback.journal.tables import as_text, guarded

SCHEMA = "raw_crossfoot"
# One row per night. `counts` is JSON {source: {raw table: records}}, `blocks` and `accepted` are JSON lists of blocks.
GUARDED = Table("guarded", {
    "known_at": "timestamp", "as_of": "date", "counts": "text", "blocks": "text", "accepted": "text", "accepted_by": "text",
    "reason": "text", "accepted_at": "timestamp",
})
Counts = Mapping[str, Mapping[str, int]]  # source -> raw table -> records that are not deleted


@dataclass(frozen=True)
class Block:
    """One doubt about a night: its kind (fell, fell in 7 days, gone, empty), source, raw table ("" for the whole source), and a sentence
    with the numbers. An acceptance is of all that: other numbers are another doubt."""

    kind: str
    source: str
    table: str
    sentence: str


@dataclass(frozen=True)
class Guarded:
    """One night as the guard saw it. `blocks` are the doubts that nobody has accepted, `accepted` those that somebody has."""

    known_at: datetime
    as_of: date
    counts: Counts
    blocks: tuple[Block, ...] = ()
    accepted: tuple[Block, ...] = ()
    accepted_by: str | None = None
    reason: str | None = None
    accepted_at: datetime | None = None

    @property
    def is_good(self) -> bool:
        """Whether later nights may be measured against this one."""
        return not self.blocks

    @property
    def name(self) -> str:
        """What `crossfoot accept` calls the night."""
        return f"{self.known_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def document(self) -> dict[str, Any]:
        """The night's decision as plain JSON values."""
        return {"night": self.name, "as_of": self.as_of, "blocks": [one.sentence for one in self.blocks],
                "accepted": [one.sentence for one in self.accepted], "accepted_by": self.accepted_by, "reason": self.reason,
                "accepted_at": self.accepted_at}

    def acceptance(self) -> str:
        """Who accepted it, when and why; empty where nobody had to."""
        if self.accepted_at is None:
            return ""
        return (f"{self.accepted_by} accepted the night of {self.as_of} ({self.name}) on {self.accepted_at:%Y-%m-%d %H:%M}Z: {self.reason} "
                f"({'; '.join(one.sentence for one in self.accepted)})")


@dataclass
class Memory:
    """The nights that the guard remembers, in both places."""

    warehouse: Path
    journal: Journal

    def nights(self) -> list[Guarded]:
        """All of them, the newest first; where the two places differ, the journal is right."""
        found = {one.known_at: one for one in self._in_warehouse()} if self.warehouse.exists() else {}
        with self.journal._engine.connect() as connection:
            rows = [_from_row(dict(row._mapping)) for row in connection.execute(sa.select(guarded))]
        found |= {one.known_at: one for one in rows}
        return sorted(found.values(), key=lambda one: one.known_at, reverse=True)

    def _in_warehouse(self) -> list[Guarded]:
        with landing.connect(self.warehouse) as connection:
            landing.ensure_tables(connection, SCHEMA, [GUARDED])
            rows = connection.execute(f"SELECT {', '.join(GUARDED.columns)} FROM {SCHEMA}.guarded").fetchall()
        return [_from_row(dict(zip(GUARDED.columns, row, strict=True))) for row in rows]

    def record(self, night: Guarded) -> None:
        """Keeps the night, in the place of what was kept of it before."""
        row = _to_row(night)
        with self.journal._transaction("guarded") as connection:
            connection.execute(sa.delete(guarded).where(guarded.c.known_at == row["known_at"]))
            connection.execute(sa.insert(guarded), row)
        with landing.connect(self.warehouse) as connection:
            landing.ensure_tables(connection, SCHEMA, [GUARDED])
            connection.execute("BEGIN")
            connection.execute(f"DELETE FROM {SCHEMA}.guarded WHERE known_at = ?", [night.known_at])
            connection.execute(f"INSERT INTO {SCHEMA}.guarded ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
            connection.execute("COMMIT")


def recent(journal: Journal, limit: int) -> list[dict[str, Any]]:
    """The newest acceptances: known_at, as_of, accepted_by, accepted_at and reason, as texts."""
    names = ("known_at", "as_of", "accepted_by", "accepted_at", "reason")
    query = sa.select(*(guarded.c[name] for name in names)).where(guarded.c.accepted_at.is_not(None))
    with journal._engine.connect() as connection:
        rows = connection.execute(query.order_by(guarded.c.accepted_at.desc(), guarded.c.known_at.desc()).limit(limit))
        return [dict(row._mapping) for row in rows]


def accepted(night: Guarded, by: str, reason: str, now: datetime) -> Guarded:
    """The night with all of its doubts accepted: those, and no later ones."""
    return replace(night, blocks=(), accepted=(*night.accepted, *night.blocks), accepted_by=by, reason=reason, accepted_at=now)


def _to_row(night: Guarded) -> dict[str, Any]:
    return {
        "known_at": as_text(night.known_at), "as_of": night.as_of.isoformat(), "counts": json.dumps(night.counts, sort_keys=True),
        "blocks": _blocks_text(night.blocks), "accepted": _blocks_text(night.accepted), "accepted_by": night.accepted_by,
        "reason": night.reason, "accepted_at": None if night.accepted_at is None else as_text(night.accepted_at),
    }


def _from_row(row: Mapping[str, Any]) -> Guarded:
    blocks = {name: tuple(Block(**one) for one in json.loads(row[name])) for name in ("blocks", "accepted")}
    as_of = row["as_of"] if isinstance(row["as_of"], date) else date.fromisoformat(row["as_of"])
    return Guarded(_moment(row["known_at"]), as_of, json.loads(row["counts"]), **blocks, accepted_by=row["accepted_by"],
                   reason=row["reason"], accepted_at=None if row["accepted_at"] is None else _moment(row["accepted_at"]))


def _blocks_text(blocks: Sequence[Block]) -> str:
    return json.dumps([asdict(one) for one in blocks], ensure_ascii=False)


def _moment(value: datetime | str) -> datetime:
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
