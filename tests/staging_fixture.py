"""A vendor's staging models on hand-made raw rows: a warehouse with its empty raw tables, and dbt on it."""

from __future__ import annotations

import importlib
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
from dbt.cli.main import dbtRunnerResult
from dbt_fixture import messages_of, run_dbt
from raw_rows import RawRows, create_raw_tables

from pipelines import landing

AS_OF = date(2026, 6, 30)
NIGHT = datetime(2026, 7, 1, 2, tzinfo=UTC)


class StagingNight:
    """`rows` are landed by `build`, which builds the vendor's folder of staging models; `names` are vars of the models."""

    def __init__(self, folder: Path, slug: str, rows: RawRows, **names: object) -> None:
        self.path, self.folder, self._slug, self._raw = folder / "warehouse.duckdb", folder, slug, rows
        self._names = names
        create_raw_tables(self.path)
        with landing.connect(self.path) as connection:
            landing.ensure_tables(connection, f"raw_{slug}", importlib.import_module(f"pipelines.vendors.{slug}.source").TABLES.values())

    def dbt(self, *command: str, as_of: date = AS_OF, known_at: datetime = NIGHT, **more: object) -> dbtRunnerResult:
        return run_dbt(command, self.path, self.folder, as_of, known_at, self._names | more)

    def build(self, *select: str, **more: object) -> None:
        """Lands the rows and builds the vendor's staging and its own tests, or what is selected; all of it has to pass."""
        self._raw.land(self.path)
        chosen = select or (f"path:models/staging/{self._slug}",)
        result = self.dbt("build", "--indirect-selection", "cautious", "--select", *chosen, **more)
        assert result.success, messages_of(result)

    def rows(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.path), read_only=True) as connection:
            return connection.execute(sql).fetchall()
