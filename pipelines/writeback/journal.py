"""The journal: what was meant to be written, what became of it, and what people decided. The warehouse can be rebuilt from
the vendors; this cannot.

SQLite by default (WAL, full sync, file mode 0600: it holds rotated tokens), any SQLAlchemy URL where several machines run
it. Money and values are text, timestamps are UTC text and always passed in by the caller.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import uuid
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from pipelines.writeback.plan import FieldKey, Plan, TaskChange
from pipelines.writeback.plan_files import plan_document, plan_from_document

TASKS = "tasks"  # the object that task intents are journalled under; their record id is the task's key
LOCK = "apply"
PROCESS = uuid.uuid4().hex  # tells this process from an earlier one that happened to have its pid

WRITING = ("nightly", "apply")  # kinds of runs that write a plan; a rollback undoes them, a "plan" run writes nothing
_creating = threading.Lock()

UNFINISHED = ("started", "interrupted", "failed")

metadata = sa.MetaData()
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # nightly | apply | rollback | plan
    sa.Column("as_of", sa.String(10), nullable=False),
    sa.Column("known_at", sa.String(32), nullable=False),
    sa.Column("plan_id", sa.String(16)),
    sa.Column("approved_plan_id", sa.String(16)),
    sa.Column("rollback_of", sa.String(64)),
    sa.Column("resumed_by", sa.String(64), index=True),  # the run that went on where this one was interrupted
    sa.Column("status", sa.String(16), nullable=False),  # started | complete | partial | failed | blocked | interrupted
    sa.Column("settled", sa.Boolean, nullable=False),  # every intent has its outcome
    sa.Column("started_at", sa.String(32), nullable=False),
    sa.Column("finished_at", sa.String(32)),
    sa.Column("message", sa.Text, nullable=False),
)
plans = sa.Table(
    "plans",
    metadata,
    sa.Column("plan_id", sa.String(16), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),  # zlib of the plan's JSON
    sa.Column("recorded_at", sa.String(32), nullable=False),
)
intents = sa.Table(
    "intents",
    metadata,
    sa.Column("intent_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id"), nullable=False, index=True),
    sa.Column("system", sa.String(32), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("record_id", sa.String(128), nullable=False),
    sa.Column("field", sa.String(64), nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("recorded_at", sa.String(32), nullable=False),
    sa.Index("intents_by_field", "system", "object", "record_id", "field"),
)
outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("intent_id", sa.BigInteger, sa.ForeignKey("intents.intent_id"), primary_key=True, autoincrement=False),
    sa.Column("outcome", sa.String(16), nullable=False),  # written | skipped | rejected
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.String(32), nullable=False),
)
tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("key", sa.String(32), primary_key=True),
    sa.Column("system", sa.String(32), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("account_id", sa.String(128), nullable=False, index=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("episode", sa.String(10), nullable=False),
    sa.Column("task_id", sa.String(128)),
    sa.Column("state", sa.String(16), nullable=False),  # intended | open | closed | ended | withdrawn
    sa.Column("recorded_at", sa.String(32), nullable=False),
)
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),  # match | link
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("left_id", sa.String(128), nullable=False),
    sa.Column("right_source", sa.String(32), nullable=False),
    sa.Column("right_id", sa.String(128), nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),  # same | different
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_at", sa.String(32), nullable=False),
    sa.Column("revoked_at", sa.String(32)),
)
revocations = sa.Table(  # beside the decisions, so that a journal made before this table was needs no change
    "revocations",
    metadata,
    sa.Column("id", sa.String(64), sa.ForeignKey("decisions.id"), primary_key=True),
    sa.Column("revoked_by", sa.Text, nullable=False),
    sa.Column("revoked_at", sa.String(32), nullable=False),
)
tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("vendor", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(128), primary_key=True),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.String(32), nullable=False),
)
lock = sa.Table(
    "lock",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("process", sa.String(64), nullable=False),
    sa.Column("since", sa.String(32), nullable=False),
)


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


def process_alive(pid: int) -> bool:
    """Whether a process of this machine has the pid; one that we may not signal is alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Journal:
    """The journal behind a SQLAlchemy URL. Every method is one transaction, committed when it returns.

    `observe` is told the name of each transaction before it begins and after it has committed ("before intents").
    """

    def __init__(
        self,
        url: str,
        *,
        alive: Callable[[int], bool] = process_alive,
        observe: Callable[[str], None] = lambda moment: None,
    ):
        self._alive = alive
        self._observe = observe
        address = sa.make_url(url)
        _create_private_file(address)
        self._engine = sa.create_engine(address)
        if address.get_backend_name() == "sqlite":
            sa.event.listen(self._engine, "connect", _sqlite_pragmas)
        self._create_tables()

    def close(self) -> None:
        """Gives back the database's connections."""
        self._engine.dispose()

    def _create_tables(self) -> None:
        """Creates what is missing. Two vendors that sign in side by side may both find nothing there."""
        with _creating:
            try:
                metadata.create_all(self._engine)
            except (sa.exc.OperationalError, sa.exc.ProgrammingError):
                # Another process was faster; what is still missing, or another trouble, shows now.
                metadata.create_all(self._engine)

    @contextmanager
    def _transaction(self, name: str) -> Iterator[sa.Connection]:
        self._observe(f"before {name}")
        with self._engine.begin() as connection:
            yield connection
        self._observe(f"after {name}")

    # The lock

    @contextmanager
    def locked(self, holder: Holder, now: datetime) -> Iterator[None]:
        """Holds the one lock. A lock left by a dead process of this host is taken over; else raises LockHeld."""
        self._acquire(holder, now)
        try:
            yield
        finally:
            self.release(holder.run_id)

    def release(self, run_id: str) -> None:
        """Frees the lock where this run holds it."""
        with self._transaction("release") as connection:
            connection.execute(sa.delete(lock).where(lock.c.name == LOCK, lock.c.holder == run_id))

    def _acquire(self, holder: Holder, now: datetime) -> None:
        row = {
            "name": LOCK,
            "holder": holder.run_id,
            "pid": holder.pid,
            "host": holder.host,
            "process": holder.process,
            "since": _text(now),
        }
        if self._lock_is_free(row):
            return
        with self._transaction("take over") as connection:
            held = connection.execute(sa.select(lock).where(lock.c.name == LOCK)).one_or_none()
            if held is None or not self._dead(held, holder):
                raise LockHeld(_held_by(held))
            mine = sa.update(lock).where(lock.c.name == LOCK, lock.c.holder == held.holder, lock.c.process == held.process)
            if connection.execute(mine.values(row)).rowcount != 1:
                raise LockHeld(_held_by(None))

    def _lock_is_free(self, row: Mapping[str, Any]) -> bool:
        """Whether the lock could be taken: the unique key lets one of several through."""
        try:
            with self._transaction("lock") as connection:
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

    # Runs and plans

    def start_run(self, run: Run, now: datetime) -> None:
        """Records the run, and that it goes on where earlier writing runs were interrupted; needs the lock to write."""
        with self._transaction("start run") as connection:
            if connection.execute(sa.select(runs.c.run_id).where(runs.c.run_id == run.run_id)).first():
                raise JournalError(f"run {run.run_id} is in the journal already; give each run an id of its own")
            connection.execute(
                sa.insert(runs),
                {
                    "run_id": run.run_id,
                    "kind": run.kind,
                    "as_of": run.as_of.isoformat(),
                    "known_at": _text(run.known_at),
                    "approved_plan_id": run.approved_plan_id,
                    "rollback_of": run.rollback_of,
                    "status": "started",
                    "settled": False,
                    "started_at": _text(now),
                    "message": "",
                },
            )
            if run.kind == "plan":
                return
            # Whoever writes holds the lock: what still says "started" has died.
            others = sa.update(runs).where(runs.c.run_id != run.run_id)
            dead = others.where(runs.c.status == "started", runs.c.kind != "plan")
            message = f"ended without finishing; run {run.run_id} found out what it had written"
            connection.execute(dead.values(status="interrupted", message=message))
            if run.kind in WRITING:
                open_runs = (runs.c.status.in_(UNFINISHED), runs.c.kind.in_(WRITING), runs.c.resumed_by.is_(None))
                connection.execute(others.where(*open_runs).values(resumed_by=run.run_id))

    def finish_run(self, run_id: str, status: str, now: datetime, message: str = "") -> None:
        """Records how the run ended: complete, partial, failed or blocked."""
        with self._transaction("finish run") as connection:
            open_intents = sa.select(sa.func.count()).select_from(intents.outerjoin(outcomes))
            open_intents = open_intents.where(intents.c.run_id == run_id, outcomes.c.intent_id.is_(None))
            settled = connection.execute(open_intents).scalar_one() == 0
            ended = {"status": status, "settled": settled, "finished_at": _text(now), "message": message}
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(ended))

    def save_plan(self, run_id: str, plan: Plan, now: datetime) -> None:
        """Keeps the plan that the run goes by."""
        content = zlib.compress(json.dumps(plan_document(plan), separators=(",", ":")).encode())
        with self._transaction("plan") as connection:
            if not connection.execute(sa.select(plans.c.plan_id).where(plans.c.plan_id == plan.id)).first():
                row = {"plan_id": plan.id, "content": content, "recorded_at": _text(now)}
                connection.execute(sa.insert(plans), row)
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(plan_id=plan.id))

    def plan(self, plan_id: str) -> Plan:
        """A plan that a run went by. Raises JournalError for an unknown id."""
        with self._engine.connect() as connection:
            content = connection.execute(sa.select(plans.c.content).where(plans.c.plan_id == plan_id)).scalar_one_or_none()
        if content is None:
            raise JournalError(f"plan {plan_id} is not in the journal; crossfoot status lists the runs and their plans")
        return plan_from_document(json.loads(zlib.decompress(content)))

    def runs(self, limit: int = 50) -> list[dict[str, Any]]:
        """The newest runs, newest first, as dicts of the table's columns."""
        query = sa.select(runs).order_by(runs.c.started_at.desc(), runs.c.run_id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def runs_by_id(self, run_ids: Iterable[str]) -> list[dict[str, Any]]:
        """These runs, as dicts of the table's columns; unknown ids are left out."""
        query = sa.select(runs).where(runs.c.run_id.in_(list(run_ids)))
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def counts(self, run_id: str) -> dict[str, int]:
        """Intents of the run by outcome: written, skipped, rejected, unknown."""
        outcome = sa.func.coalesce(outcomes.c.outcome, "unknown")
        query = sa.select(outcome, sa.func.count()).select_from(intents.outerjoin(outcomes))
        with self._engine.connect() as connection:
            found = connection.execute(query.where(intents.c.run_id == run_id).group_by(outcome))
            return {name: count for name, count in found}

    def chain(self, run_id: str) -> tuple[str, ...]:
        """The run and the interrupted runs that it went on with: one unit for a rollback. JournalError if unknown."""
        with self._engine.connect() as connection:
            if not connection.execute(sa.select(runs.c.run_id).where(runs.c.run_id == run_id)).first():
                raise JournalError(f"run {run_id} is not in the journal; crossfoot status lists the runs")
            resumed = connection.execute(sa.select(runs.c.resumed_by, runs.c.run_id).where(runs.c.resumed_by.is_not(None)))
            earlier = _grouped(resumed)
        return _reach(run_id, earlier)

    # Intents and outcomes

    def add_intents(
        self,
        run_id: str,
        wanted: Sequence[tuple[FieldKey, str | None, str | None]],
        now: datetime,
        *,
        skipped: Mapping[FieldKey, str] | None = None,
        task: TaskChange | None = None,
    ) -> list[Intent]:
        """Records what is about to be written, as (key, before, after), and returns it with ids; needs the lock.

        Keys in `skipped` get their outcome at once, with its message. `task` is kept beside its intent.
        """
        skipped = skipped or {}
        with self._transaction("intents") as connection:
            top = connection.execute(sa.select(sa.func.max(intents.c.intent_id))).scalar_one() or 0
            made = [Intent(top + 1 + i, run_id, *key, before, after) for i, (key, before, after) in enumerate(wanted)]
            connection.execute(sa.insert(intents), [vars(intent) | {"recorded_at": _text(now)} for intent in made])
            ended = [Settled(intent, "skipped", skipped[intent.key]) for intent in made if intent.key in skipped]
            _insert_outcomes(connection, ended, now)
            if task is not None and task.action == "open":
                _put_task(connection, task, now)
        return made

    def settle(self, results: Sequence[Settled], now: datetime) -> None:
        """Records what became of intents; a task's row follows in the same transaction."""
        with self._transaction("outcomes") as connection:
            _insert_outcomes(connection, results, now)
            for result in results:
                if result.intent.object == TASKS:
                    _follow_task(connection, result, now)

    def unresolved(self) -> list[Intent]:
        """Intents without an outcome, oldest first: their writes may or may not have happened."""
        query = (
            sa.select(intents)
            .join(runs, runs.c.run_id == intents.c.run_id)
            .outerjoin(outcomes, outcomes.c.intent_id == intents.c.intent_id)
            .where(runs.c.settled.is_(False), outcomes.c.intent_id.is_(None))
            .order_by(intents.c.intent_id)
        )
        with self._engine.connect() as connection:
            return [_intent(row) for row in connection.execute(query)]

    def mark_settled(self) -> None:
        """Records that every intent of the runs that ended badly has its outcome by now."""
        ended = (runs.c.status.in_(("failed", "interrupted")), runs.c.settled.is_(False))
        with self._transaction("settled") as connection:
            connection.execute(sa.update(runs).where(*ended).values(settled=True))

    def written(self, run_ids: Iterable[str]) -> list[Intent]:
        """What these runs wrote, in the order in which they wrote it."""
        query = _written().where(intents.c.run_id.in_(list(run_ids))).order_by(intents.c.intent_id)
        with self._engine.connect() as connection:
            return [_intent(row) for row in connection.execute(query)]

    def history(self, run_ids: Iterable[str]) -> list[Intent]:
        """Every write of the fields that these runs wrote, by whichever run, oldest first."""
        mine, names = intents.alias(), ("system", "object", "record_id", "field")
        touched = sa.and_(*(mine.c[name] == intents.c[name] for name in names), mine.c.run_id.in_(list(run_ids)))
        query = _written().where(sa.exists().where(touched)).order_by(intents.c.intent_id)
        with self._engine.connect() as connection:
            return [_intent(row) for row in connection.execute(query)]

    def field_history(self, system: str, object: str, field: str) -> list[Intent]:
        """Every write of this field of any record, oldest first."""
        mine = (intents.c.system == system, intents.c.object == object, intents.c.field == field)
        with self._engine.connect() as connection:
            return [_intent(row) for row in connection.execute(_written().where(*mine).order_by(intents.c.intent_id))]

    def written_objects(self, system: str) -> list[str]:
        """The CRM's objects that some run meant to write, tasks aside."""
        query = sa.select(intents.c.object).distinct().where(intents.c.system == system, intents.c.object != TASKS)
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def last_written(self, system: str, object: str) -> dict[tuple[str, str], str | None]:
        """The value that Crossfoot wrote last, by (record id, field). A rolled back write counts as never made."""
        mine = (intents.c.system == system, intents.c.object == object)
        newest = sa.select(sa.func.max(intents.c.intent_id)).select_from(intents.join(outcomes))
        newest = newest.where(outcomes.c.outcome == "written", *mine).group_by(intents.c.record_id, intents.c.field)
        columns = (intents.c.record_id, intents.c.field, intents.c.run_id, intents.c.after)
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(intents.c.intent_id.in_(newest)))
            values = {(record_id, field): after for record_id, field, _, after in rows}
            undone = self._undone(connection)
            if undone:
                touched = sa.select(intents.c.record_id).where(intents.c.run_id.in_(list(undone)), *mine)
                history = sa.select(*columns).select_from(intents.join(outcomes)).where(outcomes.c.outcome == "written", *mine)
                history = history.where(intents.c.record_id.in_(touched)).order_by(intents.c.intent_id)
                _replay(values, connection.execute(history).tuples(), undone)
        return values

    def undoes(self) -> dict[str, frozenset[str]]:
        """For each rollback, the runs that it undoes."""
        with self._engine.connect() as connection:
            resumed = connection.execute(sa.select(runs.c.resumed_by, runs.c.run_id).where(runs.c.resumed_by.is_not(None)))
            earlier = _grouped(resumed)
            found = connection.execute(sa.select(runs.c.run_id, runs.c.rollback_of).where(runs.c.rollback_of.is_not(None)))
            return {run: frozenset(_reach(of, earlier)) for run, of in found}

    def _undone(self, connection: sa.Connection) -> dict[str, frozenset[str]]:
        """For each rollback of a writing run, the runs that it undoes. The rollback of a rollback is a write like any."""
        kinds = dict(connection.execute(sa.select(runs.c.run_id, runs.c.kind)).tuples().all())
        resumed = connection.execute(sa.select(runs.c.resumed_by, runs.c.run_id).where(runs.c.resumed_by.is_not(None)))
        earlier = _grouped(resumed)
        found = connection.execute(sa.select(runs.c.run_id, runs.c.rollback_of).where(runs.c.rollback_of.is_not(None)))
        return {run: frozenset(_reach(of, earlier)) for run, of in found if kinds.get(of) != "rollback"}

    # Tasks

    def open_tasks(self, system: str) -> list[TaskRow]:
        """Tasks of episodes that are not over, in the order of their keys."""
        query = sa.select(tasks).where(tasks.c.system == system, tasks.c.state == "open").order_by(tasks.c.key)
        with self._engine.connect() as connection:
            return [_task(row) for row in connection.execute(query)]

    def task(self, key: str) -> TaskRow:
        """The task with this key. Raises JournalError for an unknown key."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(tasks).where(tasks.c.key == key)).one_or_none()
        if row is None:
            raise JournalError(f"task {key} is not in the journal")
        return _task(row)

    def knows_task(self, key: str) -> bool:
        """Whether a task with this key was ever opened or meant to be."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(tasks.c.key).where(tasks.c.key == key)).first() is not None

    def adopt_task(self, task: TaskChange, now: datetime) -> None:
        """Enters a task that the CRM has and this journal does not know, or had closed: its episode goes on."""
        with self._transaction("adopt task") as connection:
            _put_task(connection, task, now)
            mine = sa.update(tasks).where(tasks.c.key == task.key)
            connection.execute(mine.values(task_id=task.task_id, state="open"))

    def end_episode(self, key: str, now: datetime) -> None:
        """Records that the episode is over, where a person has dealt with the task in the CRM already."""
        with self._transaction("end episode") as connection:
            ended = sa.update(tasks).where(tasks.c.key == key).values(state="ended", recorded_at=_text(now))
            connection.execute(ended)

    # People's decisions

    def add_decision(self, decision: Decision) -> None:
        """Records an answer. Raises JournalError when the id is taken."""
        self.add_decisions([decision])

    def add_decisions(self, added: Sequence[Decision]) -> None:
        """Records answers, all of them or none. Raises JournalError when an id is taken."""
        rows = [vars(one) | {"decided_at": _text(one.decided_at), "revoked_at": None} for one in added]
        if not rows:
            return
        try:
            with self._transaction("decision") as connection:
                connection.execute(sa.insert(decisions), rows)
        except sa.exc.IntegrityError as error:
            taken = {one.id for one in self.decisions()} & {one.id for one in added}
            raise JournalError(
                f"decision {', '.join(sorted(taken))} is in the journal already; revoke it and add another"
            ) from error

    def revoke_decision(self, decision_id: str, now: datetime, by: str = "") -> None:
        """Takes an answer back in the name of `by`; it stays in the journal. Raises JournalError when there is none in
        force."""
        moment = _text(now)
        revoked = sa.update(decisions).where(decisions.c.id == decision_id, decisions.c.revoked_at.is_(None))
        with self._transaction("revoke") as connection:
            if connection.execute(revoked.values(revoked_at=moment)).rowcount != 1:
                raise JournalError(
                    f"decision {decision_id} is not in force; `crossfoot review list` shows the decisions and their ids"
                )
            row = {"id": decision_id, "revoked_by": by, "revoked_at": moment}
            connection.execute(sa.insert(revocations), row)

    def revokers(self) -> dict[str, str]:
        """Who took decisions back, by the decision's id."""
        with self._engine.connect() as connection:
            return dict(connection.execute(sa.select(revocations.c.id, revocations.c.revoked_by)).tuples().all())

    def decisions(self) -> list[Decision]:
        """All decisions, also those taken back, oldest first."""
        query = sa.select(decisions).order_by(decisions.c.decided_at, decisions.c.id)
        with self._engine.connect() as connection:
            return [_decision(row) for row in connection.execute(query)]

    # For others

    @property
    def token_store(self) -> TokenStore:
        """Where rotated tokens are kept."""
        return TokenStore(self)

    def rows_for_warehouse(self, since: datetime | None = None) -> WarehouseRows:
        """Rows of `raw_crossfoot.runs`, `.writes` and `.decisions` (without `_landed_at`), typed: dates, aware times.

        With `since`, those recorded at or after it. An intent without outcome is a write with the outcome "unknown".
        """
        floor = "" if since is None else _text(since)
        run_moment = sa.func.coalesce(runs.c.finished_at, runs.c.started_at)
        write_moment = sa.func.coalesce(outcomes.c.recorded_at, intents.c.recorded_at)
        answer_moment = sa.func.coalesce(decisions.c.revoked_at, decisions.c.decided_at)
        outcome = sa.func.coalesce(outcomes.c.outcome, "unknown").label("outcome")
        said = sa.func.coalesce(outcomes.c.message, "").label("message")
        writes = sa.select(intents, outcome, said, write_moment.label("moment")).outerjoin(outcomes)
        with self._engine.connect() as connection:
            return WarehouseRows(
                runs=[_run_row(row) for row in connection.execute(sa.select(runs).where(run_moment >= floor))],
                writes=[
                    _write_row(row)
                    for row in connection.execute(writes.where(write_moment >= floor).order_by(intents.c.intent_id))
                ],
                decisions=[
                    vars(_decision(row))
                    for row in connection.execute(sa.select(decisions).where(answer_moment >= floor))
                ],
            )


class TokenStore:
    """Rotated refresh tokens. `put` has committed when it returns: only then may the new token be used."""

    def __init__(self, journal: Journal):
        self._journal = journal

    def get(self, vendor: str, account: str) -> Token | None:
        """The newest token, or None where none was ever stored."""
        query = sa.select(tokens).where(tokens.c.vendor == vendor, tokens.c.account == account)
        with self._journal._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Token(row.token, row.sequence, _time(row.updated_at))

    def put(self, vendor: str, account: str, token: str, sequence: int, now: datetime) -> None:
        """Stores the token with its sequence number. Raises JournalError when one as new or newer is there already:
        a second process has rotated it meanwhile, and its token is the one that works."""
        newer = {"token": token, "sequence": sequence, "updated_at": _text(now)}
        mine = (tokens.c.vendor == vendor, tokens.c.account == account)
        try:
            with self._journal._transaction("token") as connection:
                replaced = sa.update(tokens).where(*mine, tokens.c.sequence < sequence).values(newer)
                if connection.execute(replaced).rowcount == 0:
                    connection.execute(sa.insert(tokens), newer | {"vendor": vendor, "account": account})
        except sa.exc.IntegrityError:
            raise JournalError(
                f"the token of {vendor} {account} in the journal is not older than number {sequence}; read it again"
            ) from None


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


def _text(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _held_by(held: sa.Row[Any] | None) -> str:
    if held is None:
        return "another run took the journal's lock a moment ago; run again when it is done"
    return (
        f"run {held.holder} has held the journal's lock since {held.since} (process {held.pid} on {held.host}); wait until it "
        "is done, or, when that process is gone for good, delete the row of the journal's table lock"
    )


def _grouped(pairs: Iterable[Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for later, earlier in pairs:
        found[later].append(earlier)
    return found


def _reach(run_id: str, earlier: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    reached = [run_id]
    for run in reached:  # grows while it is walked; a run resumes only runs before it, so it ends
        reached += [one for one in earlier.get(run, ()) if one not in reached]
    return tuple(reached)


def _replay(
    values: dict[tuple[str, str], str | None],
    history: Iterable[tuple[str, str, str, str | None]],
    undone: Mapping[str, frozenset[str]],
) -> None:
    """Puts right the fields of `values` that a rollback touched: what it undid was never written. `history` holds
    (record id, field, run id, after) in the order of writing."""
    stacks: dict[tuple[str, str], list[tuple[str, str | None]]] = defaultdict(list)
    for record_id, field_name, run_id, after in history:
        stack = stacks[record_id, field_name]
        if run_id in undone:
            stack[:] = [one for one in stack if one[0] not in undone[run_id]]
        else:
            stack.append((run_id, after))
    for key, stack in stacks.items():
        values.pop(key, None)
        if stack:
            values[key] = stack[-1][1]


def _written() -> sa.Select[Any]:
    return sa.select(intents).join(outcomes).where(outcomes.c.outcome == "written")


def _insert_outcomes(connection: sa.Connection, results: Sequence[Settled], now: datetime) -> None:
    if results:
        moment = _text(now)
        rows = [
            {"intent_id": one.intent.intent_id, "outcome": one.outcome, "message": one.message, "recorded_at": moment}
            for one in results
        ]
        connection.execute(sa.insert(outcomes), rows)


def _put_task(connection: sa.Connection, task: TaskChange, now: datetime) -> None:
    # The same key comes again when a night is run again after its rollback.
    connection.execute(sa.delete(tasks).where(tasks.c.key == task.key))
    row = {name: getattr(task, name) for name in ("key", "system", "object", "account_id", "kind", "episode")}
    connection.execute(sa.insert(tasks), row | {"task_id": None, "state": "intended", "recorded_at": _text(now)})


def _follow_task(connection: sa.Connection, result: Settled, now: datetime) -> None:
    states = {"open": "open", "completed": "closed", None: "withdrawn"}
    intent = result.intent
    reached = intent.after if result.outcome == "written" else intent.before
    values = {"state": states[reached], "recorded_at": _text(now)}
    if result.task_id is not None:
        values["task_id"] = result.task_id
    connection.execute(sa.update(tasks).where(tasks.c.key == intent.record_id).values(values))


def _intent(row: sa.Row[Any]) -> Intent:
    return Intent(row.intent_id, row.run_id, row.system, row.object, row.record_id, row.field, row.before, row.after)


def _task(row: sa.Row[Any]) -> TaskRow:
    return TaskRow(row.key, row.system, row.object, row.account_id, row.kind, row.episode, row.task_id, row.state)


def _decision(row: sa.Row[Any]) -> Decision:
    times = {"decided_at": _time(row.decided_at), "revoked_at": _time(row.revoked_at)}
    return Decision(**(dict(row._mapping) | times))


def _run_row(row: sa.Row[Any]) -> dict[str, Any]:
    kept = {name: row._mapping[name] for name in ("run_id", "kind", "plan_id", "status", "message")}
    times = {name: _time(row._mapping[name]) for name in ("known_at", "started_at", "finished_at")}
    return kept | times | {"as_of": date.fromisoformat(row.as_of)}


def _write_row(row: sa.Row[Any]) -> dict[str, Any]:
    names = ("run_id", "system", "object", "record_id", "field", "before", "after", "outcome", "message")
    return {name: row._mapping[name] for name in names} | {"recorded_at": _time(row.moment)}
