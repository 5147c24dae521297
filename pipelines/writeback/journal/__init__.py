"""The journal: what was meant to be written, what became of it, and what people decided. The warehouse can be rebuilt from
the vendors; this cannot.

SQLite by default (WAL, full sync, file mode 0600: it holds rotated tokens), any SQLAlchemy URL where several machines run
it. Money and values are text, timestamps are UTC text and always passed in by the caller.
"""

from pipelines.writeback.journal.lock import process_alive
from pipelines.writeback.journal.records import (
    TASKS,
    Decision,
    Holder,
    Intent,
    JournalError,
    LockHeld,
    Run,
    Settled,
    TaskRow,
    Token,
    WarehouseRows,
)
from pipelines.writeback.journal.store import Journal
from pipelines.writeback.journal.tokens import TokenStore

__all__ = [
    "TASKS",
    "Decision",
    "Holder",
    "Intent",
    "Journal",
    "JournalError",
    "LockHeld",
    "Run",
    "Settled",
    "TaskRow",
    "Token",
    "TokenStore",
    "WarehouseRows",
    "process_alive",
]
