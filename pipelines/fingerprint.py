"""What a night's marts were, as one hash for each, so that a night built again can be held against itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from pipelines import landing
from pipelines.landing import Table
from pipelines.settings import Settings

if TYPE_CHECKING:
    import duckdb

# One row per night and mart, beside the raw tables; `known_at` says which night it was, `as_of` what day it was about.
NIGHTS = Table("nights", {"as_of": "date", "known_at": "timestamp", "mart": "text", "sha256": "text"})
# The marts that a night vouches for: facts and the status of accounts. The histories are made of many nights.
_VOUCHED = "table_name LIKE 'fct!_%' ESCAPE '!' OR table_name = 'account_status'"


@dataclass(frozen=True)
class Fingerprint:
    """A night and the SHA-256 of each of its marts, by name; no marts where the night left none."""

    as_of: date
    known_at: datetime
    marts: Mapping[str, str]


def take(settings: Settings) -> dict[str, str]:
    """The hash of every vouched mart as the warehouse holds it now: SHA-256, 64 hexadecimal digits, by mart."""
    with landing.connect(settings.warehouse) as connection:
        return dict(_hashes(connection))


def record(settings: Settings, as_of: date, known_at: datetime) -> None:
    """Stores the hashes of the night that was just built, in the place of those of an earlier build of it."""
    with landing.connect(settings.warehouse) as connection:
        found = dict(_hashes(connection))
        connection.execute("BEGIN")
        connection.execute("DELETE FROM raw_crossfoot.nights WHERE as_of = ? AND known_at = ?", [as_of, known_at])
        for mart, digest in found.items():
            connection.execute("INSERT INTO raw_crossfoot.nights (as_of, known_at, mart, sha256) VALUES (?, ?, ?, ?)",
                               [as_of, known_at, mart, digest])
        connection.execute("COMMIT")


def recorded(settings: Settings) -> list[Fingerprint]:
    """Every night that was built to its end, the earliest known first."""
    if not settings.warehouse.exists():
        return []
    with landing.connect(settings.warehouse) as connection:
        landing.ensure_tables(connection, "raw_crossfoot", [NIGHTS])
        rows = connection.execute(
            "SELECT as_of, known_at, mart, sha256 FROM raw_crossfoot.nights ORDER BY known_at, as_of, mart").fetchall()
    nights: dict[tuple[datetime, date], dict[str, str]] = {}
    for as_of, known_at, mart, digest in rows:
        nights.setdefault((known_at, as_of), {})[mart] = digest
    return [Fingerprint(as_of, known_at, marts) for (known_at, as_of), marts in nights.items()]


def _hashes(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str]]:
    found = connection.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
        f"WHERE schema_name = 'marts' AND ({_VOUCHED}) GROUP BY table_name ORDER BY table_name").fetchall()
    for name, columns in found:
        yield name, _hash_of(connection, name, columns)


def _hash_of(connection: duckdb.DuckDBPyConnection, name: str, columns: list[str]) -> str:
    """Each row becomes its hash, and the hashes in order become one: no text of a whole mart is held in memory. A value
    is written with its length, so that no two rows make the same text."""
    quoted = ['"' + column.replace('"', '""') + '"' for column in columns]
    values = " || ".join(f"coalesce(length({one}::VARCHAR) || ':' || {one}::VARCHAR, '-')" for one in quoted)
    rows = f'SELECT sha256({values}) AS row_hash FROM marts."{name}"'
    query = f"SELECT sha256(? || coalesce(string_agg(row_hash, '' ORDER BY row_hash), '')) FROM ({rows})"
    return connection.execute(query, [",".join(columns) + "\n"]).fetchone()[0]
