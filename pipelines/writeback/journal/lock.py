"""The journal's one lock: two runs never write at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pipelines.writeback.journal.records import Holder, LockHeld
from pipelines.writeback.journal.tables import as_text, lock

if TYPE_CHECKING:
    from pipelines.writeback.journal.store import Journal

LOCK = "apply"


def process_alive(pid: int) -> bool:
    """Whether a process of this machine has the pid; one that we may not signal is alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Lock:
    """Takes the lock for a holder and frees it again."""

    def __init__(self, journal: Journal, alive: Callable[[int], bool]):
        self._journal, self._alive = journal, alive

    def release(self, run_id: str) -> None:
        """Frees the lock where this run holds it."""
        with self._journal._transaction("release") as connection:
            connection.execute(sa.delete(lock).where(lock.c.name == LOCK, lock.c.holder == run_id))

    def acquire(self, holder: Holder, now: datetime) -> None:
        row = {
            "name": LOCK,
            "holder": holder.run_id,
            "pid": holder.pid,
            "host": holder.host,
            "process": holder.process,
            "since": as_text(now),
        }
        if self._lock_is_free(row):
            return
        with self._journal._transaction("take over") as connection:
            held = connection.execute(sa.select(lock).where(lock.c.name == LOCK)).one_or_none()
            if held is None or not self._dead(held, holder):
                raise LockHeld(_held_by(held))
            mine = sa.update(lock).where(lock.c.name == LOCK, lock.c.holder == held.holder, lock.c.process == held.process)
            if connection.execute(mine.values(row)).rowcount != 1:
                raise LockHeld(_held_by(None))

    def _lock_is_free(self, row: Mapping[str, Any]) -> bool:
        """Whether the lock could be taken: the unique key lets one of several through."""
        try:
            with self._journal._transaction("lock") as connection:
                connection.execute(sa.insert(lock), row)
        except sa.exc.IntegrityError:
            return False
        return True

    def _dead(self, held: sa.Row[Any], holder: Holder) -> bool:
        if held.host != holder.host:
            return False
        if held.pid == holder.pid:
            return held.process != holder.process  # our own pid, used by an earlier process
        return not self._alive(held.pid)


def _held_by(held: sa.Row[Any] | None) -> str:
    if held is None:
        return "another run took the journal's lock a moment ago; run again when it is done"
    return (
        f"run {held.holder} has held the journal's lock since {held.since} (process {held.pid} on {held.host}); wait until it "
        "is done, or, when that process is gone for good, delete the row of the journal's table lock"
    )
