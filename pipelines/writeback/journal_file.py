"""The journal where it is a file: how it is read without leaving anything beside it, and what to say when it cannot be used.

Nothing here loads SQLAlchemy: `crossfoot status` has a second to answer.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

HOLDS = "it holds what was written to the CRM, people's decisions and rotated tokens"
DAMAGED = (f"{HOLDS}, so nothing is written without it. Move it away, with the files beside it that end in -wal and -shm, and put "
           "it back from a backup")
NOT_WRITABLE = "make the file and its folder writable for the user who runs Crossfoot"
FULL = "the disk is full; free space on it and run again"
# What SQLite answers with (https://www.sqlite.org/rescode.html), and what is to be done about it.
TROUBLES = {
    sqlite3.SQLITE_CORRUPT: f"is damaged ({{said}}): {DAMAGED}",
    sqlite3.SQLITE_NOTADB: f"is damaged ({{said}}): {DAMAGED}",
    sqlite3.SQLITE_READONLY: f"cannot be written; {NOT_WRITABLE}",
    sqlite3.SQLITE_CANTOPEN: f"cannot be opened; {NOT_WRITABLE}",
    sqlite3.SQLITE_PERM: f"cannot be opened; {NOT_WRITABLE}",
    sqlite3.SQLITE_FULL: f"cannot be written: {FULL}",
    sqlite3.SQLITE_IOERR: "cannot be read or written ({said}): see whether its disk is full or failing, and run again",
}
SYSTEM_TROUBLES = {errno.ENOSPC: f"cannot be written: {FULL}", errno.EDQUOT: f"cannot be written: {FULL}"}


def reading_uri(path: Path) -> str:
    """The file as a URI that makes nothing and, once it is closed, leaves nothing beside it.

    A connection that may write takes the -wal and -shm files away again that every reader needs; a read-only one would leave
    them. In a folder that cannot be written they cannot be made: then the file is read as one that nobody changes. Source:
    https://www.sqlite.org/wal.html#read_only_databases, https://www.sqlite.org/uri.html.
    """
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        return f"{path.absolute().as_uri()}?mode=rw"
    still = not Path(f"{path}-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if still else ''}"


def trouble(path: Path, error: BaseException) -> str:
    """What SQLite or the system said about the journal's file, as a sentence with its remedy."""
    if isinstance(error, OSError):
        told = SYSTEM_TROUBLES.get(error.errno or 0, f"cannot be opened ({error.strerror}); {NOT_WRITABLE}")
        return f"the journal {path} {told}"
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest says where it came from
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"the journal {path} is in use by {_user_of(path)}; wait until that is done, or end it, and run again"
    return f"the journal {path} {TROUBLES.get(code, 'cannot be used ({said}): ' + DAMAGED).format(said=error)}"


def _user_of(path: Path) -> str:
    """Which process holds the file's lock for writing, where the system tells (proc(5), /proc/locks): in WAL mode it is a lock
    of the -shm file."""
    try:
        files = {Path(f"{path}{suffix}").stat().st_ino for suffix in ("", "-shm") if Path(f"{path}{suffix}").exists()}
        rows = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
        pids = sorted({int(row[4]) for row in rows if row[3] == "WRITE" and int(row[5].rpartition(":")[2]) in files})
        names = [f"process {pid} ({Path(f'/proc/{pid}/comm').read_text(encoding='utf-8', errors='replace').strip()})"
                 for pid in pids if pid not in (0, os.getpid())]
    except (OSError, ValueError, IndexError):
        names = []
    return " and ".join(names) or "another program"
