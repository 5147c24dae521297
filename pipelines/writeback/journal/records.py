"""What goes into the journal and comes out of it."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from pipelines.writeback.plan import FieldKey

TASKS = "tasks"  # the object that task intents are journalled under; their record id is the task's key
PROCESS = uuid.uuid4().hex  # tells this process from an earlier one that happened to have its pid


class LockHeld(Exception):
    """Another apply is running; the message names its holder and the remedy."""


class JournalError(Exception):
    """The journal was asked for something that is not in it or must not be; the message names it and the remedy."""


@dataclass(frozen=True)
class Run:
    """One run of the write-back. `known_at` is aware; `approved_plan_id` where a saved plan was approved."""

    run_id: str
    kind: Literal["nightly", "apply", "rollback", "plan"]
    as_of: date
    known_at: datetime
    approved_plan_id: str | None = None
    rollback_of: str | None = None


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: the run, and the process that it runs in."""

    run_id: str
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    process: str = PROCESS


@dataclass(frozen=True)
class Intent:
    """One field (or, under the object "tasks", one task's status) that a run means to change."""

    intent_id: int
    run_id: str
    system: str
    object: str
    record_id: str
    field: str
    before: str | None
    after: str | None

    @property
    def key(self) -> FieldKey:
        return (self.system, self.object, self.record_id, self.field)


@dataclass(frozen=True)
class Settled:
    """What became of one intent. `task_id` where a task was created."""

    intent: Intent
    outcome: Literal["written", "skipped", "rejected"]
    message: str = ""
    task_id: str | None = None


@dataclass(frozen=True)
class TaskRow:
    """A task that Crossfoot opened, or meant to: its key, account, episode, the CRM's id and our state of it."""

    key: str
    system: str
    object: str
    account_id: str
    kind: str
    episode: str
    task_id: str | None
    state: str


@dataclass(frozen=True)
class Decision:
    """A person's answer. match: CRM account and ledger customer; link: deal and document."""

    id: str
    kind: Literal["match", "link"]
    source: str
    left_id: str
    right_source: str
    right_id: str
    verdict: Literal["same", "different"]
    decided_by: str
    reason: str
    decided_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Token:
    """A rotated secret and its place in the row of its predecessors."""

    token: str = field(repr=False)
    sequence: int
    updated_at: datetime


@dataclass(frozen=True)
class WarehouseRows:
    """The journal as rows of `raw_crossfoot`: the columns of its tables runs, writes and decisions."""

    runs: list[dict[str, Any]]
    writes: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
