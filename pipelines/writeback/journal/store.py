"""The journal's class: every method one transaction."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.writeback.journal import history, warehouse
from pipelines.writeback.journal.database import open_engine
from pipelines.writeback.journal.lock import Lock, process_alive
from pipelines.writeback.journal.records import TASKS, Decision, Holder, Intent, JournalError, Run, Settled, TaskRow, WarehouseRows
from pipelines.writeback.journal.rows import decision_of, follow_task, insert_outcomes, intent_of, put_task, task_of
from pipelines.writeback.journal.tables import as_text, decisions, intents, outcomes, plans, revocations, runs, tasks
from pipelines.writeback.journal.tokens import TokenStore
from pipelines.writeback.plan import FieldKey, Plan, TaskChange
from pipelines.writeback.plan_files import plan_document, plan_from_document

WRITING = ("nightly", "apply")  # kinds of runs that write a plan; a rollback undoes them, a "plan" run writes nothing
UNFINISHED = ("started", "interrupted", "failed")


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
        self._observe = observe
        self._engine = open_engine(url)
        self._lock = Lock(self, alive)

    def close(self) -> None:
        """Gives back the database's connections."""
        self._engine.dispose()

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
        self._lock.acquire(holder, now)
        try:
            yield
        finally:
            self._lock.release(holder.run_id)

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
                    "known_at": as_text(run.known_at),
                    "approved_plan_id": run.approved_plan_id,
                    "rollback_of": run.rollback_of,
                    "status": "started",
                    "settled": False,
                    "started_at": as_text(now),
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
            ended = {"status": status, "settled": settled, "finished_at": as_text(now), "message": message}
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(ended))

    def save_plan(self, run_id: str, plan: Plan, now: datetime) -> None:
        """Keeps the plan that the run goes by."""
        content = zlib.compress(json.dumps(plan_document(plan), separators=(",", ":")).encode())
        with self._transaction("plan") as connection:
            if not connection.execute(sa.select(plans.c.plan_id).where(plans.c.plan_id == plan.id)).first():
                row = {"plan_id": plan.id, "content": content, "recorded_at": as_text(now)}
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
            return history.chain(connection, run_id)

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
            connection.execute(sa.insert(intents), [vars(intent) | {"recorded_at": as_text(now)} for intent in made])
            ended = [Settled(intent, "skipped", skipped[intent.key]) for intent in made if intent.key in skipped]
            insert_outcomes(connection, ended, now)
            if task is not None and task.action == "open":
                put_task(connection, task, now)
        return made

    def settle(self, results: Sequence[Settled], now: datetime) -> None:
        """Records what became of intents; a task's row follows in the same transaction."""
        with self._transaction("outcomes") as connection:
            insert_outcomes(connection, results, now)
            for result in results:
                if result.intent.object == TASKS:
                    follow_task(connection, result, now)

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
            return [intent_of(row) for row in connection.execute(query)]

    def mark_settled(self) -> None:
        """Records that every intent of the runs that ended badly has its outcome by now."""
        ended = (runs.c.status.in_(("failed", "interrupted")), runs.c.settled.is_(False))
        with self._transaction("settled") as connection:
            connection.execute(sa.update(runs).where(*ended).values(settled=True))

    def written(self, run_ids: Iterable[str]) -> list[Intent]:
        """What these runs wrote, in the order in which they wrote it."""
        written = sa.select(intents).join(outcomes).where(outcomes.c.outcome == "written")
        query = written.where(intents.c.run_id.in_(list(run_ids))).order_by(intents.c.intent_id)
        with self._engine.connect() as connection:
            return [intent_of(row) for row in connection.execute(query)]

    def last_written(self, system: str, object: str) -> dict[tuple[str, str], str | None]:
        """The value that Crossfoot wrote last, by (record id, field). A rolled back write counts as never made."""
        with self._engine.connect() as connection:
            return history.last_written(connection, system, object)

    # Tasks

    def open_tasks(self, system: str) -> list[TaskRow]:
        """Tasks of episodes that are not over, in the order of their keys."""
        query = sa.select(tasks).where(tasks.c.system == system, tasks.c.state == "open").order_by(tasks.c.key)
        with self._engine.connect() as connection:
            return [task_of(row) for row in connection.execute(query)]

    def task(self, key: str) -> TaskRow:
        """The task with this key. Raises JournalError for an unknown key."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(tasks).where(tasks.c.key == key)).one_or_none()
        if row is None:
            raise JournalError(f"task {key} is not in the journal")
        return task_of(row)

    def end_episode(self, key: str, now: datetime) -> None:
        """Records that the episode is over, where a person has dealt with the task in the CRM already."""
        with self._transaction("end episode") as connection:
            ended = sa.update(tasks).where(tasks.c.key == key).values(state="ended", recorded_at=as_text(now))
            connection.execute(ended)

    # People's decisions

    def add_decision(self, decision: Decision) -> None:
        """Records an answer. Raises JournalError when the id is taken."""
        self.add_decisions([decision])

    def add_decisions(self, added: Sequence[Decision]) -> None:
        """Records answers, all of them or none. Raises JournalError when an id is taken."""
        rows = [vars(one) | {"decided_at": as_text(one.decided_at), "revoked_at": None} for one in added]
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
        moment = as_text(now)
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
            return [decision_of(row) for row in connection.execute(query)]

    # For others

    @property
    def token_store(self) -> TokenStore:
        """Where rotated tokens are kept."""
        return TokenStore(self)

    def rows_for_warehouse(self, since: datetime | None = None) -> WarehouseRows:
        """Rows of `raw_crossfoot.runs`, `.writes` and `.decisions` (without `_landed_at`), typed: dates, aware times.

        With `since`, those recorded at or after it. An intent without outcome is a write with the outcome "unknown".
        """
        with self._engine.connect() as connection:
            return warehouse.rows(connection, since)
