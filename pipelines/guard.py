"""What makes a night doubtful: a source that holds far fewer records than on the last night that was trusted, or that dwindled
little by little, or is configured no longer; a ledger that holds next to nothing beside a CRM full of won deals.

The base of a comparison is always a night whose guards passed or that a person accepted by name: a blocked night is no base.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from pipelines import landing
from pipelines.settings import Settings
from pipelines.writeback.guarded import Block, Counts, Guarded, Memory
from pipelines.writeback.journal import Journal

# So many won deals without a single document of a ledger are no backlog.
DEALS_A_DOCUMENT = 20
# The spans, in days, over which slow losses add up; each has its setting.
SPANS = (7, 30)


def judge(settings: Settings, as_of: date, known_at: datetime, journal: Journal) -> Guarded:
    """The night as the guard sees it, with the doubts that nobody has accepted; it is remembered."""
    memory = Memory(settings.warehouse, journal)
    nights = memory.nights()
    mine = next((one for one in nights if one.known_at == known_at), Guarded(known_at, as_of, {}))
    earlier = [one for one in nights if one.known_at < known_at]
    with landing.connect(settings.warehouse) as connection:
        now = _held(connection, settings, known_at)
        first = min([one.known_at for one in earlier], default=known_at)
        base = [one for one in earlier if one.is_good] or _before_memory(connection, settings, first)
    allowance = settings.get("guard", "loss_allowance")
    found = [*_gone(settings, base[:1]), *fallen(now, base[:1], settings.get("guard", "floor_share"), allowance)]
    for days in SPANS:
        share = settings.get("guard", f"floor_share_of_{days}_nights")
        found += dwindled(now, within(base, known_at, days), days, share, allowance, {(one.source, one.table) for one in found})
    remedy = f"; check the vendor, or accept it with `crossfoot accept {mine.name} --by NAME --why WHY`"
    found = [Block(one.kind, one.source, one.table, one.sentence + remedy) for one in found] + empty(settings)
    open_doubts = tuple(one for one in found if one not in mine.accepted)
    seen = replace(mine, as_of=as_of, counts=now, blocks=open_doubts)
    if seen != mine:
        memory.record(seen)
    return seen


def fallen(now: Counts, base: Sequence[Guarded], floor: Decimal, allowance: int) -> list[Block]:
    """A doubt for each raw table that holds less than the share `floor` of what it held on the night of `base` (none or one)."""
    return [
        Block("fell", source, table, f"{source}: {table} fell from {before} to {held} records since the night of {night.as_of}, below the "
              f"floor of {floor:.0%}")
        for night in base
        for source, table, before, held in _compared(night.counts, now)
        if _is_too_few(before, held, floor, allowance)
    ]


def dwindled(now: Counts, nights: Sequence[Guarded], days: int, floor: Decimal, allowance: int, named: Iterable[tuple[str, str]],
             ) -> list[Block]:
    """A doubt for each raw table that holds less than the share `floor` of the most that it held on these nights, the newest first,
    and is not `named` already. What a person accepted for a table is not counted again."""
    most: dict[tuple[str, str], int] = {}
    settled: set[tuple[str, str]] = set(named)
    for night in nights:
        for source, table, before, _ in _compared(night.counts, now):
            if (source, table) not in settled:
                most[source, table] = max(before, most.get((source, table), 0))
        settled |= {(one.source, one.table) for one in night.accepted}
    return [
        Block(f"fell in {days} days", source, table, f"{source}: {table} fell from {before} to {now[source][table]} records in {days} "
              f"days, below the floor of {floor:.0%} ([guard] floor_share_of_{days}_nights)")
        for (source, table), before in most.items()
        if _is_too_few(before, now[source][table], floor, allowance)
    ]


def within(nights: Iterable[Guarded], known_at: datetime, days: int) -> list[Guarded]:
    """The nights of the last `days` days before that of `known_at`, whatever the hour at which they began."""
    first = (known_at.astimezone(UTC) - timedelta(days=days)).date()
    return [one for one in nights if one.known_at.astimezone(UTC).date() >= first]


def _is_too_few(before: int, held: int, floor: Decimal, allowance: int) -> bool:
    return held < before * floor and before - held > allowance


def _compared(before: Counts, now: Counts) -> list[tuple[str, str, int, int]]:
    """(source, raw table, records before, records now) of what both nights know."""
    return [(source, table, count, now[source][table]) for source, tables in before.items() for table, count in tables.items()
            if table in now.get(source, {})]


def _gone(settings: Settings, base: Sequence[Guarded]) -> list[Block]:
    """A doubt for each source that held records on the night of `base` and that the configuration names no longer."""
    return [
        Block("gone", source, "", f"{source} held {sum(tables.values())} records on the night of {night.as_of} and is configured no longer "
              "([vendors])")
        for night in base for source, tables in night.counts.items() if source not in settings.sources and any(tables.values())
    ]


def empty(settings: Settings) -> list[Block]:
    """A doubt for each ledger that has no customer or document at all, and one where all ledgers together have next to none,
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


def too_empty(won: int, held: Mapping[str, tuple[int, int]]) -> list[Block]:
    """The judgement on the number of won deals and {ledger: (customers, documents)}."""
    remedy = ("check that it is the right company and that the app may read it; where the ledger is really new, name it in [guard] "
              "new_ledgers")
    bare = [Block("empty", slug, "", f"{slug} has {customers} customers and {documents} documents beside {won} won deals: {remedy}")
            for slug, (customers, documents) in held.items() if won and not (customers and documents)]
    documents = sum(count for _, count in held.values())
    if bare or not held or documents * DEALS_A_DOCUMENT >= won:
        return bare
    sentence = f"{' and '.join(held)} {'has' if len(held) == 1 else 'have'} {documents} documents beside {won} won deals: {remedy}"
    return [Block("empty", ",".join(held), "", sentence)]


def _held(connection, settings: Settings, known_at: datetime) -> Counts:
    """How many records each configured source holds in each raw table, as far as they were known then."""
    return {source: {table: _alive(connection, source, table, known_at) for table in _record_tables(connection, source)}
            for source in settings.sources}


def _before_memory(connection, settings: Settings, first: datetime) -> list[Guarded]:
    """The newest complete load before the first night that is remembered, as the base of a warehouse older than the memory."""
    at, = connection.execute("SELECT max(known_at) FROM raw_crossfoot.loads WHERE list_contains(?, source) AND status = 'complete' "
                             "AND known_at < ?", [list(settings.sources), first]).fetchone()
    return [] if at is None else [Guarded(at, at.date(), _held(connection, settings, at))]


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
