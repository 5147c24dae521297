"""Questions to the published marts, and the marts as files: reading only, whatever the SQL says."""

from __future__ import annotations

import csv
import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pipelines import landing
from pipelines.review_table import harmless

if TYPE_CHECKING:
    import duckdb

# Rows beyond those that are given are counted up to this many.
MAX_COUNTED = 1_000_000
BATCH_ROWS = 10_000
# Nothing but the opened file can be reached, nothing is put aside on the disk, and the statement itself cannot undo that.
LOCKS = ("SET temp_directory = ''", "SET enable_external_access = false", "SET lock_configuration = true")
# Seconds after which a statement that was interrupted and goes on is not waited for.
GRACE_SECONDS = 5
# Memory besides the statement's own that reading the file and giving the rows on takes.
ROOM = 256
MEGABYTE = 1_000_000
READING = "SELECT, FROM, WITH, VALUES, PIVOT, DESCRIBE, SUMMARIZE or SHOW TABLES"


class QueryRefused(Exception):
    """A question that cannot be answered: nothing is published, the SQL is wrong, or it does more than read."""


@dataclass(frozen=True)
class Bounds:
    """How long one statement may take, in seconds, and how much memory, in megabytes."""

    seconds: float = 60
    megabytes: int = 1024

    @property
    def too_long(self) -> str:
        return f"the question took longer than {self.seconds:g} seconds; ask for less, or raise [sql] seconds"

    @property
    def too_much(self) -> str:
        return f"the question needs more than {self.megabytes} MB of memory; ask for less, or raise [sql] memory_megabytes"

    @contextmanager
    def kept(self, connection: duckdb.DuckDBPyConnection, on_stuck: Callable[[str], None] | None) -> Iterator[None]:
        """Holds what runs on the connection to the bounds; the connection only reads from then on."""
        for setting in (f"SET memory_limit = '{self.megabytes}MB'", *LOCKS):
            connection.execute(setting)
        timers = [threading.Timer(self.seconds, connection.interrupt)]
        timers += [threading.Timer(self.seconds + GRACE_SECONDS, on_stuck, [self.too_long])] if on_stuck else []
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            with _address_space((self.megabytes + ROOM) * MEGABYTE):
                yield
        finally:
            for timer in timers:
                timer.cancel()


@contextmanager
def _address_space(more: int) -> Iterator[None]:
    """Lets this process take so many bytes more: DuckDB does not count what texts take. Where the system cannot tell how much it
    has (it is no Linux), DuckDB's own limit has to do."""
    taken = Path("/proc/self/statm")
    if not taken.exists():
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    wanted = int(taken.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + more
    ceilings = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *ceilings]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@dataclass(frozen=True)
class Answer:
    """Rows with the names and DuckDB types of their columns. `more`: how many rows there are besides; `is_counted` is
    false where counting them was given up."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: int = 0
    is_counted: bool = True

    def document(self) -> dict[str, Any]:
        """The answer as plain JSON values: exact numbers are text; a name that comes twice gets a number."""
        names = _distinct(self.columns)
        return {
            "columns": [{"name": name, "type": kind} for name, kind in zip(names, self.types, strict=True)],
            "rows": [dict(zip(names, map(plain, row), strict=True)) for row in self.rows],
            "more": self.more, "more_is_exact": self.is_counted,
        }


def ask(published: Path, sql: str, limit: int, bounds: Bounds = Bounds(), on_stuck: Callable[[str], None] | None = None) -> Answer:
    """The first `limit` rows of one reading statement over the published marts. Raises QueryRefused, also for a statement
    that goes beyond its bounds. `on_stuck` is told of one that does not even let itself be interrupted, and has to end the process."""
    import duckdb

    with _opened(published) as connection, bounds.kept(connection, on_stuck):
        try:
            result = connection.execute(_one_reading(connection.extract_statements(sql)))
            rows = result.fetchmany(limit)
            more, is_counted = _rest(result)
        except duckdb.InterruptException as error:
            raise QueryRefused(bounds.too_long) from error
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise QueryRefused(bounds.too_much) from error
        except duckdb.Error as error:
            raise QueryRefused(str(error)) from error
        return Answer(tuple(column[0] for column in result.description), tuple(str(column[1]) for column in result.description),
                      rows, more, is_counted)


def _opened(published: Path) -> duckdb.DuckDBPyConnection:
    if not published.exists():
        raise QueryRefused(f"nothing is published yet ({published} does not exist); `crossfoot run` publishes at the end of a good night")
    return landing.connect(published, read_only=True)


def _one_reading(statements: Sequence[Any]) -> Any:
    """The one statement, where it only reads; the file is opened read-only all the same."""
    if len(statements) != 1:
        raise QueryRefused(f"the SQL holds {len(statements)} statements; write one")
    kind = statements[0].type.name
    if kind not in ("SELECT", "MULTI"):  # MULTI: what PIVOT becomes
        raise QueryRefused(f"the SQL is {kind}; the published marts are only read: write {READING}")
    return statements[0]


def _rest(result: Any) -> tuple[int, bool]:
    """How many rows follow, and whether that is all of them."""
    more = 0
    while more < MAX_COUNTED:
        batch = len(result.fetchmany(BATCH_ROWS))
        more += batch
        if batch < BATCH_ROWS:
            return more, True
    return more, False


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that come again with a number."""
    found: list[str] = []
    for name in names:
        tries = [name, *(f"{name}_{number}" for number in range(2, len(names) + 2))]
        found.append(next(one for one in tries if one not in found))
    return found


def plain(value: Any) -> Any:
    """A value of a row as JSON has one: decimals, dates, times and what JSON does not know as text."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value.hex() if isinstance(value, (bytes, bytearray)) else str(value)


def exact(value: Any) -> Any:
    """A value as a person reads it in a table: a decimal with all its digits, two at least where its column has two."""
    if isinstance(value, Decimal) and value.is_finite():
        scale = -value.as_tuple().exponent
        needed = max(0, -value.normalize().as_tuple().exponent)
        return f"{value:,.{max(min(2, scale), needed)}f}"
    return plain(value)


def write_csv(answer: Answer, out: TextIO) -> None:
    """The answer as CSV with a header. Numbers are numbers; a text that a spreadsheet may take for a formula begins with an
    apostrophe, and control characters are spaces."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([harmless(name) for name in answer.columns])
    writer.writerows([_cell(value) for value in row] for row in answer.rows)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, Decimal, date, datetime)):
        return plain(value)
    return harmless(value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False))


def export_parquet(published: Path, folder: Path) -> list[Path]:
    """Writes each published mart to `folder`/<mart>.parquet, decimals and dates as they are. A file that is there is
    replaced in one rename, once all of them are written. Raises QueryRefused."""
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(published) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY table_name").fetchall()]
        fresh = {folder / f"{name}.parquet": folder / f".{name}.parquet.new" for name in names}
        try:
            for name, path in zip(names, fresh.values(), strict=True):
                target = str(path).replace("'", "''")
                connection.execute(f"COPY \"{name}\" TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
            for path, new in fresh.items():
                os.replace(new, path)
        finally:
            for new in fresh.values():
                new.unlink(missing_ok=True)
    return list(fresh)
