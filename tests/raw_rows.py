"""Raw tables made by hand: the tables of the raw schemas in an empty warehouse, and rows in them.

A row needs only the columns that matter to its test; the rest
is null, `_landed_at` is the given night, `_deleted` is false and `_problem` is null.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import duckdb

from pipelines import landing

_TYPES = {
    "text": "varchar",
    "int": "bigint",
    "date": "date",
    "bool": "boolean",
    "moment": "timestamptz",
}
# What no vendor lands: the house's own tables.
OURS: Mapping[str, str] = {
    "raw_crossfoot.loads": "source known_at:moment status message calls:int rows:int",
    "raw_crossfoot.nights": "as_of:date known_at:moment mart sha256",
    "raw_crossfoot.runs": "run_id kind as_of:date known_at:moment plan_id status started_at:moment "
    "finished_at:moment message",
    "raw_crossfoot.writes": "run_id system object record_id field before after outcome message recorded_at:moment",
    "raw_crossfoot.decisions": "id kind source left_id right_source right_id verdict decided_by reason "
    "decided_at:moment revoked_at:moment",
}


# The vendors' are those that their sources declare.
VENDORS = ("hubspot", "quickbooks", "ecb")
DECLARED = {f"raw_{slug}.{table.name}": table for slug in VENDORS
            for table in importlib.import_module(f"pipelines.vendors.{slug}.source").TABLES.values()}
TABLES = (*DECLARED, *OURS)


def columns_of(table: str) -> dict[str, str]:
    """The columns of a raw table with their DuckDB types, in order, the three stamps last."""
    if table in DECLARED:
        columns = {name: landing.SQL_TYPES[kind] for name, kind in DECLARED[table].columns.items()}
    else:
        pairs = (item.partition(":") for item in OURS[table].split())
        columns = {name: _TYPES[kind or "text"] for name, _, kind in pairs}
    return columns | {"_landed_at": "timestamptz not null", "_deleted": "boolean not null", "_problem": "varchar"}


def create_raw_tables(path: Path) -> None:
    """Creates every raw table, empty, in the DuckDB file at `path`."""
    with duckdb.connect(str(path)) as connection:
        for table in TABLES:
            columns = ", ".join(f'"{name}" {type_}' for name, type_ in columns_of(table).items())
            connection.execute(f"create schema if not exists {table.split('.')[0]}")
            connection.execute(f"create table {table} ({columns})")


class RawRows:
    """Rows waiting to be landed in one night; `land` writes them all and forgets them."""

    def __init__(self, known_at: datetime) -> None:
        self.known_at = known_at
        self._rows: list[tuple[str, dict[str, object]]] = []

    def add(self, table: str, **values: object) -> None:
        """Queues one row. Raises KeyError naming a column or table that does not exist."""
        unknown = set(values) - set(columns_of(table))
        if unknown:
            raise KeyError(f"{table} has no column {', '.join(sorted(unknown))}")
        stamps = {"_landed_at": self.known_at, "_deleted": False}
        self._rows.append((table, stamps | values))

    def delete(self, table: str, record_id: str) -> None:
        """Queues the row that says that a record is gone."""
        self.add(table, id=record_id, _deleted=True)

    def land(self, path: Path) -> None:
        """Appends the queued rows to the DuckDB file at `path`."""
        with duckdb.connect(str(path)) as connection:
            for table, values in self._rows:
                names = ", ".join(f'"{name}"' for name in values)
                marks = ", ".join("?" for _ in values)
                connection.execute(f"insert into {table} ({names}) values ({marks})", list(values.values()))
        self._rows.clear()
