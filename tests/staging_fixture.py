"""A vendor's staging models on hand-made raw rows: a warehouse with its empty raw tables, and dbt on it."""

from __future__ import annotations

import importlib
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
from dbt.cli.main import dbtRunner, dbtRunnerResult
from raw_rows import RawRows, create_raw_tables

from pipelines import landing

PROJECT = Path(__file__).parents[1] / "dbt_project"
AS_OF = date(2026, 6, 30)
NIGHT = datetime(2026, 7, 1, 2, tzinfo=UTC)


class StagingNight:
    """`rows` are landed by `build`, which builds the vendor's folder of staging models; `names` are vars of the models."""

    def __init__(self, folder: Path, slug: str, rows: RawRows, **names: object) -> None:
        self.path, self.folder, self._slug, self._raw = folder / "warehouse.duckdb", folder, slug, rows
        self._names = {"as_of": AS_OF.isoformat(), "known_at": NIGHT.isoformat(timespec="microseconds"), **names}
        create_raw_tables(self.path)
        with landing.connect(self.path) as connection:
            landing.ensure_tables(connection, f"raw_{slug}", importlib.import_module(f"pipelines.vendors.{slug}.source").TABLES.values())

    def dbt(self, *command: str, **more: object) -> dbtRunnerResult:
        os.environ["CROSSFOOT_WAREHOUSE"] = str(self.path)
        scratch = ["--target-path", str(self.folder / "target"), "--log-path", str(self.folder / "logs")]
        fixed = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--quiet", "--vars", json.dumps(self._names | more)]
        return dbtRunner().invoke([*command, *fixed, *scratch])

    def build(self, *select: str, **more: object) -> None:
        """Lands the rows and builds the vendor's staging and its own tests, or what is selected; all of it has to pass."""
        self._raw.land(self.path)
        chosen = select or (f"path:models/staging/{self._slug}",)
        result = self.dbt("build", "--indirect-selection", "cautious", "--select", *chosen, **more)
        assert result.success, messages_of(result)

    def rows(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.path), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def messages_of(result: dbtRunnerResult) -> str:
    if result.exception:
        return str(result.exception)
    return "\n".join(f"{row.node.name}: {row.message}" for row in result.result if row.status not in ("pass", "success"))
