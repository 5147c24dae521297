"""What makes a night doubtful: a source that suddenly holds far fewer records than before."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from pipelines import landing
from pipelines.settings import Settings

# Below this many records a drop says nothing: two of three customers may well be gone.
MIN_RECORDS = 20


def shrunk(settings: Settings, known_at: datetime) -> list[str]:
    """One sentence for each raw table that holds less than the configured share of what it held the night before."""
    floor = settings.get("guard", "floor_share")
    sentences = []
    with landing.connect(settings.warehouse) as connection:
        for source in settings.sources:
            nights = connection.execute(
                "SELECT known_at FROM raw_crossfoot.loads WHERE source = ? AND status = 'complete' AND known_at <= ? "
                "ORDER BY known_at DESC LIMIT 2", [source, known_at],
            ).fetchall()
            if len(nights) == 2:
                now, before = nights[0][0], nights[1][0]
                counts = [(table, _alive(connection, source, table, before), _alive(connection, source, table, now))
                          for table in _record_tables(connection, source)]
                sentences += too_few(source, counts, floor)
    return sentences


def too_few(source: str, counts: Iterable[tuple[str, int, int]], floor: Decimal) -> list[str]:
    """The judgement on (table, records before, records now)."""
    return [
        f"{source}: {table} fell from {before} to {now} records, below the floor of {floor:.0%}; check the vendor, then "
        "lower [guard] floor_share for one night if the loss is real"
        for table, before, now in counts
        if before >= MIN_RECORDS and now < before * floor
    ]


def _record_tables(connection, source: str) -> list[str]:
    """Raw tables that hold records (not snapshots, lines or links): those with an id and a modification time."""
    found = connection.execute(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = ? AND column_name IN ('id', 'modified_at') "
        "GROUP BY table_name HAVING count(*) = 2 ORDER BY table_name", [f"raw_{source}"],
    ).fetchall()
    return [name for (name,) in found]


def _alive(connection, source: str, table: str, known_at: datetime) -> int:
    return connection.execute(
        f'SELECT count(*) FROM (SELECT _deleted, row_number() OVER (PARTITION BY id ORDER BY _landed_at DESC, _deleted DESC) '
        f'AS age FROM "raw_{source}"."{table}" WHERE _landed_at <= ?) WHERE age = 1 AND NOT _deleted', [known_at],
    ).fetchone()[0]
