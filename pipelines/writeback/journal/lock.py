"""The journal's one lock: a lease that its holder renews, so that two runs never write at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pipelines.writeback.journal.database import milliseconds
from pipelines.writeback.journal.records import Holder, JournalUnavailable, LockHeld, LockLost
from pipelines.writeback.journal.tables import as_text, lock, unlocks
from pipelines.writeback.lease import RENEW_SECONDS, Lease

if TYPE_CHECKING:
    from pipelines.writeback.journal.store import Journal

LOCK = "apply"


class Lock:
    """Takes the lock for a holder, keeps it, and frees it again. `alive` says of a holder on this machine whether it runs."""

    def __init__(self, journal: Journal, alive: Callable[[Lease], bool]):
        self._journal, self._alive = journal, alive
        self._mine: Holder | None = None

    @contextmanager
    def held(self, holder: Holder, now: datetime) -> Iterator[None]:
        """Holds the lock and renews its lease in the background. Raises LockHeld."""
        self._acquire(holder, now)
        ended = threading.Event()
        self._mine = holder
        threading.Thread(target=self._beat, args=(holder, ended), name="journal lock", daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            self._mine = None
            with suppress(JournalUnavailable):  # then the lease ends by itself
                self.release(holder)

    def renew(self, connection: sa.Connection) -> None:
        """Begins the lease anew, as part of the transaction. Raises LockLost where the lock is no longer ours; where this
        journal has not taken it, nothing happens."""
        if self._mine is not None and not _renewed(connection, self._mine):
            raise LockLost(_lost(connection, self._mine))

    def release(self, holder: Holder) -> None:
        """Frees the lock where this holder has it."""
        with self._journal._transaction("release") as connection:
            connection.execute(sa.delete(lock).where(_held_by(holder.token)))

    def free(self, by: str, why: str, now: datetime) -> Lease | None:
        """Takes the lock from whoever has it, in the name of `by`; what it was, or None where nobody had it."""
        with self._journal._transaction("unlock") as connection:
            lease = current(connection)
            if lease is None or connection.execute(sa.delete(lock).where(_held_by(lease.token))).rowcount != 1:
                return None
            row = {"token": lease.token, "run_id": lease.run_id, "pid": lease.pid, "host": lease.host, "since": lease.since}
            connection.execute(sa.insert(unlocks), row | {"freed_by": by, "why": why, "freed_at": as_text(now)})
        return lease

    def _acquire(self, holder: Holder, now: datetime) -> None:
        row = {
            "name": LOCK,
            "holder": holder.run_id,
            "pid": holder.pid,
            "host": holder.host,
            "process": holder.token,
            "since": as_text(now),
            "machine": holder.machine,
            "born": holder.born,
        }
        if self._was_free(row):
            return
        with self._journal._transaction("take over") as connection:
            lease = current(connection)
            if lease is None:
                raise LockHeld("another run had the journal's lock a moment ago; run again")
            if not self._is_over(lease, holder):
                raise LockHeld(str(lease))
            # A lease that was renewed meanwhile is younger, and one that was taken over is another's.
            as_it_was = (_held_by(lease.token), _age() >= int((lease.age_seconds or 0) * 1000))
            if connection.execute(sa.update(lock).where(*as_it_was).values(row | {"renewed_at": milliseconds()})).rowcount != 1:
                raise LockHeld("another run took the journal's lock a moment ago; run again when it is done")

    def _was_free(self, row: Mapping[str, Any]) -> bool:
        """Whether nobody had the lock: the unique key lets one of several through."""
        try:
            with self._journal._transaction("lock") as connection:
                connection.execute(sa.insert(lock).values(row | {"renewed_at": milliseconds()}))
        except sa.exc.IntegrityError:
            return False
        return True

    def _is_over(self, lease: Lease, holder: Holder) -> bool:
        """Whether the lock may be taken over: its lease ended, or its holder was a process of this machine and is gone."""
        if lease.is_over:
            return True
        if not lease.machine or lease.machine != holder.machine:
            return False  # its pid says nothing here
        ours = (lease.pid, lease.born) == (holder.pid, holder.born)
        return not ours and not self._alive(lease)

    def _beat(self, holder: Holder, ended: threading.Event) -> None:
        """Renews the lease until the run has ended. A database that does not answer is asked again: the run itself finds out
        in its next transaction whether the lock is still its own."""
        while not ended.wait(RENEW_SECONDS):
            with suppress(JournalUnavailable), self._journal._engine.begin() as connection:
                if not _renewed(connection, holder):
                    return


def current(connection: sa.Connection) -> Lease | None:
    """The lock as it stands; None where nobody has it."""
    row = connection.execute(sa.select(lock, _age().label("age")).where(lock.c.name == LOCK)).one_or_none()
    if row is None:
        return None
    age = None if row.age is None else row.age / 1000
    return Lease(row.holder, row.pid, row.host, row.process, row.since, row.machine or "", row.born or "", age)


def _age() -> sa.ColumnElement[int]:
    return milliseconds() - lock.c.renewed_at


def _held_by(token: str) -> sa.ColumnElement[bool]:
    return sa.and_(lock.c.name == LOCK, lock.c.process == token)


def _renewed(connection: sa.Connection, holder: Holder) -> bool:
    """Whether the lock is still this holder's, and then its lease begins anew."""
    return connection.execute(sa.update(lock).where(_held_by(holder.token)).values(renewed_at=milliseconds())).rowcount == 1


def _lost(connection: sa.Connection, holder: Holder) -> str:
    freed = connection.execute(sa.select(unlocks).where(unlocks.c.token == holder.token)).one_or_none()
    other = current(connection)
    if freed is not None:
        how = f"{freed.freed_by} freed it at {freed.freed_at}" + (f" ({freed.why})" if freed.why else "")
    elif other is not None:
        how = f"run {other.run_id} on {other.host} took it over at {other.since}, after {holder.run_id} had not renewed it in time"
    else:
        how = "another run took it over, after it had not been renewed in time, and has ended since"
    return (f"run {holder.run_id} stopped before its next write: it no longer holds the journal's lock; {how}. What it had "
            "written is journalled, and the next run finds out the rest")
