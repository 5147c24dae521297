"""What makes a night doubtful: a source that suddenly holds far fewer records than before, or a ledger that holds next to nothing
beside a CRM full of won deals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from pipelines import landing
from pipelines.settings import Settings

# So many won deals without a single document of a ledger are no backlog.
DEALS_A_DOCUMENT = 20
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


def empty(settings: Settings) -> list[str]:
    """One sentence for each ledger that has no customer or document at all, and one where all ledgers together have next to none,
    beside a CRM with won deals: a wrong company or a right that is missing looks the same as a company that bills nobody. From the
    models that are built."""
    new = settings.get("guard", "new_ledgers")
    ledgers = [slug for slug in settings.get("vendors", "ledgers") if slug not in new]
    with landing.connect(settings.warehouse) as connection:
        won = connection.execute("SELECT count(*) FROM intermediate.int_deals__unioned WHERE is_won").fetchone()[0]
        held = {slug: (_count(connection, "customers", slug), _count(connection, "documents", slug)) for slug in ledgers}
    return too_empty(won, held)


def _count(connection, name: str, source: str) -> int:
    return connection.execute(f"SELECT count(*) FROM intermediate.int_{name}__unioned WHERE source = ?", [source]).fetchone()[0]


def too_empty(won: int, held: Mapping[str, tuple[int, int]]) -> list[str]:
    """The judgement on the number of won deals and {ledger: (customers, documents)}."""
    remedy = ("check that it is the right company and that the app may read it; where the ledger is really new, name it in [guard] "
              "new_ledgers")
    bare = [f"{slug} has {customers} customers and {documents} documents beside {won} won deals: {remedy}"
            for slug, (customers, documents) in held.items() if won and not (customers and documents)]
    documents = sum(count for _, count in held.values())
    if bare or not held or won < MIN_RECORDS or documents * DEALS_A_DOCUMENT >= won:
        return bare
    return [f"{' and '.join(held)} {'has' if len(held) == 1 else 'have'} {documents} documents beside {won} won deals: {remedy}"]


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
