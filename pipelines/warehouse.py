"""The one place that opens a DuckDB file: the warehouse, and the published marts. What can be wrong with one becomes a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# What DuckDB's errors say, in lower case, and the remedy; the first that fits counts.
_FULL = ("no space left", "file too large", "quota exceeded", "out of space")
_FORBIDDEN = ("permission denied", "read-only file system", "operation not permitted")
_OTHER_VERSION = ("version number", "newer version", "storage version")
_ABSENT = ("does not exist",)
_NO_MEMORY = ("out of memory", "could not allocate", "failed to allocate")


class WarehouseBusy(Exception):
    """Another process holds the file: DuckDB admits one writer."""


class WarehouseUnusable(Exception):
    """The file is damaged, of another version, foreign, not to be written, or there is no room; the message says the remedy."""


@contextmanager
def connect(path: Path, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a DuckDB file that downloads no extension and thinks in UTC, closed at the end. What the file or the machine
    does wrong, then or while it is open, is WarehouseBusy or WarehouseUnusable."""
    import duckdb

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WarehouseUnusable(explained(error, path)) from error
    try:
        # From the beginning: for a file of another program DuckDB would look for the extension that reads it.
        with duckdb.connect(str(path), read_only=read_only, config={"autoinstall_known_extensions": "false"}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")  # it would go to standard output, between what a command says
            yield connection
    except duckdb.Error as error:
        if not is_of_the_file(error):
            raise
        if "conflicting lock" in str(error).lower():
            raise WarehouseBusy(f"{path} is in use by another process; wait for it to end, or stop it ({first_line(error)})") from error
        raise WarehouseUnusable(explained(error, path)) from error


def is_of_the_file(error: BaseException) -> bool:
    """Whether an error of DuckDB is about the file or the machine; a wrong statement is not. A commit that finds no room is an error
    of the transaction, and a damaged block has no kind of its own."""
    import duckdb

    kinds = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException,
             duckdb.OutOfMemoryException)
    text = str(error).lower()
    return isinstance(error, duckdb.Error) and (
        isinstance(error, kinds) or type(error) is duckdb.Error or any(word in text for word in (*_FULL, *_FORBIDDEN)))


def explained(error: BaseException, path: Path) -> str:
    """What an engine's error about the file means, and what to do."""
    said = first_line(error)
    text = str(error).lower()
    if any(word in text for word in _FULL):
        return f"there is no room to write {path} ({said}); free some and run again: what was written before is whole"
    if any(word in text for word in _FORBIDDEN):
        return (f"{path} cannot be opened or written by this user ({said}); give the rights to whoever runs the night, or name another "
                "folder with --data-dir")
    if any(word in text for word in _ABSENT):
        return f"{path} is not there ({said}); `crossfoot run` makes it"
    if any(word in text for word in _NO_MEMORY):
        return f"the memory of this machine does not suffice for {path} ({said}); free some and run again"
    if isinstance(error, OSError):
        return f"the folder of {path} cannot be made ({said}); name another with --data-dir"
    remedy = ("move it away, and `crossfoot run` publishes it again" if path.parent.name == "published" else
              "move it away, and everything is read again (only the history of statuses by night starts anew)")
    if any(word in text for word in _OTHER_VERSION):
        return f"{path} was written by another version of DuckDB ({said}); use the Crossfoot that wrote it, or {remedy}"
    return f"{path} is damaged, or is no file of DuckDB ({said}); {remedy}"


def first_line(error: BaseException) -> str:
    """The error in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
