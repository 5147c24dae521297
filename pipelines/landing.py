"""From a vendor's records to typed, append-only raw tables.

A vendor declares its tables once (`Table`); the declaration is the allow-list of what lands. Values are parsed here: one
that cannot be read becomes null and is named in the row's `_problem`, and the next record goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from pipelines.http import BudgetSpent
from pipelines.settings import Settings
from pipelines.warehouse import connect as connect

if TYPE_CHECKING:
    import duckdb
    import pyarrow

# One row group of the Parquet file; large enough that Arrow's overhead vanishes, small enough for memory.
BATCH_ROWS = 5_000
_LANDED = {"_landed_at": "timestamp", "_deleted": "flag", "_problem": "text"}
SQL_TYPES = {
    "text": "VARCHAR", "money": "DECIMAL(28,6)", "quantity": "DECIMAL(28,6)", "rate": "DECIMAL(28,12)",
    "share": "DECIMAL(9,6)", "integer": "BIGINT", "flag": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMP WITH TIME ZONE",
}
_SCALES = {"money": (28, 6), "quantity": (28, 6), "rate": (28, 12), "share": (9, 6)}
# From here on a number is a slip of the keyboard. What lies below can be multiplied and added up by the models.
_TOO_LARGE = {"money": Decimal("1e15"), "quantity": Decimal("1e10"), "rate": Decimal("1e15"), "share": Decimal(1000)}
_QUANTA = {kind: Decimal(1).scaleb(-scale) for kind, (_, scale) in _SCALES.items()}
_TRUE, _FALSE = ("true", True), ("false", False)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Milliseconds since 1970 as a text, from April 1970 on: fewer digits are a date written without dashes.
_MILLISECONDS = re.compile(r"-?\d{11,15}", re.ASCII)


@dataclass(frozen=True)
class Table:
    """A raw table: its name and its columns with their types (a key of `SQL_TYPES`), without the `_` columns."""

    name: str
    columns: Mapping[str, str]


class Fields:
    """Reads typed values out of one vendor record and collects what could not be read in `problems`.

    Every method takes the name of a field and returns None for one that is absent, null or empty.
    """

    __slots__ = ("problems", "record")

    def __init__(self, record: Mapping[str, Any]):
        self.record = record
        self.problems: list[str] = []

    def text(self, name: str) -> str | None:
        value = self.record.get(name)
        return None if value is None or value == "" else str(value)

    def number(self, name: str, kind: str = "money") -> Decimal | None:
        """A decimal of the kind's scale, rounded half to even; never through a float."""
        value = self.record.get(name)
        if value is None or value == "":
            return None
        number = _number(value, kind)
        if number is not None and abs(number) >= _TOO_LARGE[kind]:
            self.problems.append(f"{name}: {str(value)[:80]!r} is larger than can be meant")
            return None
        return self._wrong(name, value, "number") if number is None else number

    def integer(self, name: str) -> int | None:
        number = self.number(name)
        if number is None or number == int(number):
            return None if number is None else int(number)
        return self._wrong(name, self.record[name], "whole number")

    def flag(self, name: str) -> bool | None:
        """true/false as JSON has them or as text in any case."""
        value = self.record.get(name)
        if value is None or value == "":
            return None
        word = value if isinstance(value, bool) else str(value).lower()
        if word in _TRUE:
            return True
        return False if word in _FALSE else self._wrong(name, value, "true or false")

    def date(self, name: str, zone: tzinfo = UTC) -> date | None:
        """A plain date; a moment becomes the date it has in `zone`, except at midnight UTC, which is how date-only
        values are written by programs."""
        value = self.record.get(name)
        if value is None or value == "":
            return None
        text = str(value)
        try:
            if len(text) == 10 and not text.isdigit():
                return date.fromisoformat(text)
            moment = _moment(text)
            midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
            return moment.date() if midnight else moment.astimezone(zone).date()
        except (ValueError, OverflowError):
            return self._wrong(name, value, "date")

    def timestamp(self, name: str) -> datetime | None:
        """A moment in UTC from ISO 8601 with an offset or from epoch milliseconds."""
        value = self.record.get(name)
        if value is None or value == "":
            return None
        try:
            return _moment(str(value))
        except (ValueError, OverflowError):
            return self._wrong(name, value, "time")

    def _wrong(self, name: str, value: Any, wanted: str) -> None:
        self.problems.append(f"{name}: {str(value)[:80]!r} is not a {wanted}")


def _moment(text: str) -> datetime:
    """ISO 8601 or epoch milliseconds as an aware UTC datetime; ValueError or OverflowError for anything else."""
    if _MILLISECONDS.fullmatch(text):
        return _EPOCH + timedelta(milliseconds=int(text))
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _number(value: Any, kind: str) -> Decimal | None:
    """The value in the kind's scale; None where it is no number or too large for its column. Python reads more as a
    number than a vendor means by one: true is 1, 1_000 is 1000, and the digits of every script count."""
    if isinstance(value, bool) or (isinstance(value, str) and ("_" in value or not value.isascii())):
        return None
    precision, scale = _SCALES[kind]
    try:
        number = Decimal(value)
        if not number.is_finite() or number.adjusted() >= precision - scale:
            return None
        number = number.quantize(_QUANTA[kind], rounding=ROUND_HALF_EVEN)
    except (InvalidOperation, TypeError, ValueError):
        return None
    return number if number.adjusted() < precision - scale else None


def row(fields: Fields, **columns: Any) -> dict[str, Any]:
    """A raw row: its columns and what was wrong with the record."""
    columns["_problem"] = "; ".join(fields.problems) or None
    return columns


def deletion(table: Table, record_id: str) -> dict[str, Any]:
    """The row that says that a record is gone."""
    return {next(iter(table.columns)): record_id, "_deleted": True}


def schema(table: Table) -> pyarrow.Schema:
    """The table's Arrow schema, `_` columns included."""
    import pyarrow as pa

    types = {"text": pa.string(), "integer": pa.int64(), "flag": pa.bool_(), "date": pa.date32(),
             "timestamp": pa.timestamp("us", tz="UTC"), **{kind: pa.decimal128(*scale) for kind, scale in _SCALES.items()}}
    return pa.schema([(name, types[kind]) for name, kind in {**table.columns, **_LANDED}.items()])


def arrow(table: Table, rows: Sequence[Mapping[str, Any]], known_at: datetime) -> pyarrow.Table:
    """Rows as an Arrow table, stamped with the time up to which this night listens."""
    import pyarrow as pa

    for item in rows:
        item["_landed_at"] = known_at
        item.setdefault("_deleted", False)
    try:
        return pa.Table.from_pylist(rows, schema=schema(table))
    except UnicodeEncodeError:
        return pa.Table.from_pylist([_writable(item) for item in rows], schema=schema(table))


def _writable(item: Mapping[str, Any]) -> dict[str, Any]:
    """The row with half characters (a name that a program cut in the middle of an emoji) replaced, and named."""
    mended, problems = dict(item), [item["_problem"]] if item.get("_problem") else []
    for name, value in item.items():
        if isinstance(value, str) and (text := value.encode("utf-8", "replace").decode()) != value:
            mended[name] = text
            problems += [f"{name}: {text[:80]!r} held half a character"] if name != "_problem" else []
    return {**mended, "_problem": "; ".join(problems).encode("utf-8", "replace").decode() or None}


def batches(job: Job, tables: Sequence[Table], pages: Iterable[tuple[str, list[dict[str, Any]]]]) -> Iterator[Any]:
    """Pages of (table name, rows) as dlt items of about BATCH_ROWS rows each. Every table is yielded at least once, so
    that it exists even when the vendor returned nothing. `job.rows` counts by table. Where the vendor's calls end in the
    middle, what came before is kept and `job.spent` says so."""
    import dlt

    by_name = {table.name: table for table in tables}
    waiting: dict[str, list[dict[str, Any]]] = {name: [] for name in by_name}
    for name in by_name:
        job.rows.setdefault(name, 0)
    yielded: set[str] = set()

    def flush(name: str) -> Any:
        rows, waiting[name] = waiting[name], []
        yielded.add(name)
        job.rows[name] += len(rows)
        return dlt.mark.with_table_name(arrow(by_name[name], rows, job.known_at), name)

    for name, rows in _until_spent(job, pages):
        waiting[name].extend(rows)
        job.on_rows(name, len(rows))
        if len(waiting[name]) >= BATCH_ROWS:
            yield flush(name)
    for name in by_name:
        if waiting[name] or name not in yielded:
            yield flush(name)


def _until_spent(job: Job, pages: Iterable[tuple[str, list[dict[str, Any]]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    try:
        yield from pages
    except BudgetSpent as spent:
        job.spent = str(spent)


def ensure_tables(connection: duckdb.DuckDBPyConnection, dataset: str, tables: Iterable[Table]) -> None:
    """Creates what is missing, columns of an older version's tables too, so that the models need no switch for a vendor
    that was never read."""
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{dataset}"')
    there = set(connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = ?", [dataset]).fetchall())
    existing = {name for name, _ in there}
    for table in tables:
        columns = {name: SQL_TYPES[kind] for name, kind in {**table.columns, **_LANDED}.items()} | {"_dlt_load_id": "VARCHAR"}
        if table.name not in existing:
            listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
            connection.execute(f'CREATE TABLE "{dataset}"."{table.name}" ({listed})')
            continue
        for name, kind in columns.items():
            if (table.name, name) not in there:
                connection.execute(f'ALTER TABLE "{dataset}"."{table.name}" ADD COLUMN "{name}" {kind}')


@dataclass
class Job:
    """One vendor's extraction of one night.

    `cursors` says where the last complete night ended and is replaced in `next_cursors`; both are texts in the vendor's
    own terms and are stored beside the rows. `known_ids(table)` gives the ids that the warehouse holds as not deleted,
    `known_sets(table, owner, columns)` the rows of each owner's newest landing.
    """

    api: Any
    settings: Settings
    as_of: date
    known_at: datetime
    cursors: Mapping[str, str]
    known_ids: Callable[[str], set[str]]
    on_rows: Callable[[str, int], None] = lambda table, rows: None
    known: Callable[[str, Sequence[str]], dict[str, tuple[Any, ...]]] = lambda table, columns: {}
    known_sets: Callable[[str, str, Sequence[str]], dict[str, set[tuple[Any, ...]]]] = lambda table, owner, columns: {}
    spent: str = ""
    next_cursors: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def calls(self) -> dict[str, int]:
        """The calls that were made, by object; none where a file is read."""
        return dict(self.api.calls) if self.api else {}


def resource(job: Job, name: str, tables: Sequence[Table], pages: Iterable[tuple[str, list[dict[str, Any]]]]) -> Any:
    """A dlt resource that lands pages of (table name, rows) in `tables`, appending."""
    import dlt

    return dlt.resource(batches(job, tables, _explained(job, name, pages)), name=name, write_disposition="append")


class OddAnswer(Exception):
    """An answer has not the shape that is read from it; the message names vendor and object."""


def _explained(job: Job, name: str, pages: Iterable[tuple[str, list[dict[str, Any]]]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    with documented(f"{job.api.vendor}: {name}" if job.api else name):
        yield from pages


@contextmanager
def documented(what: str) -> Iterator[None]:
    """Raises OddAnswer, which names `what` is read, where an answer is of another shape than the reading of it rests on."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise OddAnswer(f"{what}: an answer is not of the shape that is documented ({type(error).__name__}: {error}); run again later, and "
                        "report it where it stays so") from error


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items in groups of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
