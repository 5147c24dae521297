"""The database behind the journal: SQLite in a private file, or any that SQLAlchemy knows."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipelines.writeback.journal.tables import metadata

_creating = threading.Lock()


def open_engine(url: str) -> sa.Engine:
    """The database behind the URL, with every table of the journal."""
    address = sa.make_url(url)
    _create_private_file(address)
    engine = sa.create_engine(address)
    if address.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_pragmas)
    _create_tables(engine)
    return engine


def _create_tables(engine: sa.Engine) -> None:
    """Creates what is missing. Two vendors that sign in side by side may both find nothing there."""
    with _creating:
        try:
            metadata.create_all(engine)
        except (sa.exc.OperationalError, sa.exc.ProgrammingError):
            # Another process was faster; what is still missing, or another trouble, shows now.
            metadata.create_all(engine)


def _create_private_file(address: sa.URL) -> None:
    if address.get_backend_name() != "sqlite" or not address.database or address.database == ":memory:":
        return
    path = Path(address.database)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Before the first connection, and also for a file from elsewhere: it holds tokens.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
