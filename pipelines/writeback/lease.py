"""The lease that the journal's lock is: how long it lasts, how its age is measured, and how it is told.

Its age is measured by the clock of the journal's database alone, so the clocks of two machines never meet. Nothing here loads
SQLAlchemy: `crossfoot status` reads a lease too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A holder renews its lease this often. One that was killed on another machine keeps the others out for LEASE_SECONDS, which
# are more than a call to a CRM may take: a call under way is over before somebody else may write.
RENEW_SECONDS = 20
LEASE_SECONDS = 180

# The time of the database as milliseconds since 1970, by dialect of SQL. PostgreSQL's now() would stand still in a transaction.
MILLISECONDS = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
}


@dataclass(frozen=True)
class Lease:
    """The lock as it stands. `age_seconds` is how long ago its holder renewed it; None: an earlier version of Crossfoot took
    it, which did not renew. `token` is the holder's alone, and `machine` and `born` say what its pid means."""

    run_id: str
    pid: int
    host: str
    token: str
    since: str
    machine: str = ""
    born: str = ""
    age_seconds: float | None = None

    @property
    def is_over(self) -> bool:
        return self.age_seconds is not None and self.age_seconds > LEASE_SECONDS

    @property
    def ends_in_seconds(self) -> int | None:
        return None if self.age_seconds is None else max(0, round(LEASE_SECONDS - self.age_seconds))

    def document(self) -> dict[str, Any]:
        return {"run": self.run_id, "since": self.since, "pid": self.pid, "host": self.host, "ends_in_seconds": self.ends_in_seconds}

    def __str__(self) -> str:
        who = f"run {self.run_id} has held the journal's lock since {self.since} (process {self.pid} on {self.host})"
        if self.age_seconds is None:
            return f"{who}, taken by an earlier version of Crossfoot; when it is gone for good, `crossfoot unlock --by NAME` frees it"
        if self.is_over:
            return f"{who} and was last seen {round(self.age_seconds)} seconds ago; the next run takes it over"
        return (f"{who}; wait until it is done: should it be gone, its lease ends in {self.ends_in_seconds} seconds, and `crossfoot "
                "unlock --by NAME` frees it at once")


def machine() -> str:
    """What makes a pid mean one process: this boot of this machine, and the namespace that its pids are counted in. Two
    containers may share a host name and both be pid 1, but never this. Empty where the system does not tell.

    Sources: proc(5), /proc/sys/kernel/random/boot_id; pid_namespaces(7), namespaces(7), /proc/PID/ns/pid.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def born(pid: int) -> str:
    """When the process started, in the kernel's ticks since its boot: a pid is given again, and this is not. Empty for none
    that runs, and where the system does not tell. Source: proc(5), fields 3 (state) and 22 (starttime) of /proc/PID/stat."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in ("Z", "X") else rest[18]


def process_alive(lease: Lease) -> bool:
    """Whether the holder's process still runs; to be asked on the lease's own machine only. One that may not be looked at does."""
    try:
        os.kill(lease.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return born(lease.pid) == lease.born
