"""The marts as one file of their own, replaced in a single rename: readers never wait and never see half a night."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path

from pipelines import landing
from pipelines.settings import Settings

SCHEMA = "marts"


def published_path(settings: Settings) -> Path:
    return settings.data_dir / "published" / "crossfoot.duckdb"


def publish(settings: Settings, as_of: date, known_at: datetime) -> Path:
    """Copies every mart with its comments into a new file and puts that in the place of the published one.

    The earlier file stays beside it under the time it was known at; [publish] keep of those are kept.
    """
    target = published_path(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    for leftover in (fresh, fresh.with_name(fresh.name + ".wal")):
        leftover.unlink(missing_ok=True)
    with landing.connect(settings.warehouse) as connection:
        connection.execute(f"ATTACH '{_quoted(fresh)}' AS published")
        try:
            _copy(connection)
            connection.execute("CREATE TABLE published.main.published_night (as_of DATE, known_at TIMESTAMPTZ)")
            connection.execute("INSERT INTO published.main.published_night VALUES (?, ?)", [as_of, known_at])
        finally:
            connection.execute("DETACH published")
    _keep(target, settings.get("publish", "keep"))
    os.replace(fresh, target)
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


def _keep(target: Path, keep: int) -> None:
    """A second name for the file that is about to be replaced, and an end to the oldest ones."""
    if target.exists() and keep:
        with landing.connect(target, read_only=True) as connection:
            (known_at,) = connection.execute("SELECT known_at FROM published_night").fetchone()
        earlier = target.with_name(f"crossfoot-{known_at:%Y%m%dT%H%M%SZ}.duckdb")
        earlier.unlink(missing_ok=True)
        os.link(target, earlier)
    for old in sorted(target.parent.glob("crossfoot-*.duckdb"))[: -keep or None]:
        old.unlink()


def _quoted(text: object) -> str:
    return str(text).replace("'", "''")
