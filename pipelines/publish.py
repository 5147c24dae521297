"""The marts as one file of their own, replaced in a single rename: readers never wait and never see half a night."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

from pipelines import landing, private
from pipelines.settings import Settings

SCHEMA = "marts"
# The oldest format that DuckDB 1 and 2 both read: the drivers in other programs are older than ours.
STORAGE = "v1.0.0"
# Which night the file is of.
NIGHT = """
    CREATE TABLE published.main.published_night (as_of DATE, known_at TIMESTAMPTZ);
    COMMENT ON TABLE published.main.published_night IS 'One row: the night that this file is of.';
    COMMENT ON COLUMN published.main.published_night.as_of IS 'Business date of every number.';
    COMMENT ON COLUMN published.main.published_night.known_at IS 'Time up to which the vendors were heard.'"""


def published_path(settings: Settings) -> Path:
    return settings.data_dir / "published" / "crossfoot.duckdb"


def publish(settings: Settings, as_of: date, known_at: datetime) -> Path:
    """Copies every mart with its comments into a new file and puts that in the place of the published one.

    The file has a second name beside it, with the time it was known at; it keeps that when the next night replaces it.
    [publish] keep of those earlier files are kept.
    """
    target = published_path(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    for leftover in (fresh, fresh.with_name(fresh.name + ".wal")):
        leftover.unlink(missing_ok=True)
    with landing.connect(settings.warehouse) as connection:
        connection.execute(f"ATTACH '{_quoted(fresh)}' AS published (STORAGE_VERSION '{STORAGE}')")
        try:
            _copy(connection)
            connection.execute(NIGHT)
            connection.execute("INSERT INTO published.main.published_night VALUES (?, ?)", [as_of, known_at])
        finally:
            connection.execute("DETACH published")
    private.share(settings, fresh)
    if keep := settings.get("publish", "keep"):
        _name_by_time(fresh, known_at)
    os.replace(fresh, target)
    _end_the_oldest(target, keep)
    return target


def _copy(connection) -> None:
    """Tables in the order of their names, with the comments that dbt persisted."""
    tables = connection.execute(
        "SELECT table_name, comment FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = ? "
        "ORDER BY table_name", [SCHEMA],
    ).fetchall()
    for table, comment in tables:
        connection.execute(f'CREATE TABLE published.main."{table}" AS SELECT * FROM {SCHEMA}."{table}"')
        if comment:
            connection.execute(f"COMMENT ON TABLE published.main.\"{table}\" IS '{_quoted(comment)}'")
    columns = connection.execute(
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE database_name = current_database() "
        "AND schema_name = ? AND comment IS NOT NULL", [SCHEMA],
    ).fetchall()
    for table, column, comment in columns:
        connection.execute(f"COMMENT ON COLUMN published.main.\"{table}\".\"{column}\" IS '{_quoted(comment)}'")


def _name_by_time(fresh: Path, known_at: datetime) -> None:
    """The second name, given before anybody can open the file: later, an analyst's tool may hold it locked."""
    named = fresh.with_name(f"crossfoot-{known_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.duckdb")
    named.unlink(missing_ok=True)
    os.link(fresh, named)


def _end_the_oldest(target: Path, keep: int) -> None:
    """Removes earlier files but the newest `keep`; the published file's own second name is not one of them."""
    named = sorted(path for path in target.parent.glob("crossfoot-*.duckdb") if not path.samefile(target))
    for old in named[: len(named) - keep]:
        old.unlink()


def _quoted(text: object) -> str:
    return str(text).replace("'", "''")
