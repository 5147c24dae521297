"""An apply over HTTP that is killed before and after its calls, one after another, and the run that goes on. Here it is killed at
every third moment, in turn before and after a call; `make campaign` kills at each, and at each commit.

Before it there was a night that wrote: so the apply changes fields, clears one, closes a task and opens two.
"""

from __future__ import annotations

import copy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from extract_fixture import empty_world
from fake_crm import FREE, Killed, Switch
from night_fixture import FIELDS, OBJECTS, House, fields_of, first_night, house, tasks_of
from sandbox_fixture import TOKEN, Portal, control, running_sandbox

from pipelines import night as steps
from pipelines.http import Api, Bearer, Response
from pipelines.sandbox.world import Sold, World
from pipelines.vendors.crm_types import ACCOUNT_FIELDS
from pipelines.vendors.hubspot import CARD
from pipelines.vendors.hubspot.crm import HubSpotCrm
from pipelines.vendors.hubspot.sandbox import Sandbox
from pipelines.writeback import setup
from pipelines.writeback.apply import apply_plan
from pipelines.writeback.clearing import Leaving
from pipelines.writeback.journal import Holder, Journal, Run
from pipelines.writeback.live import prepare_plan
from pipelines.writeback.plan import DesiredRecord
from pipelines.writeback.rollback import rollback

NIGHT = date(2026, 6, 30)
START = datetime(2026, 6, 30, 22, tzinfo=UTC)
DEADLINE_SECONDS = 30
TASKS = f"{OBJECTS}/tasks"
EVERY = 3


class DyingApi(Api):
    """HubSpot's API in a process that dies where its switch says: before or after a call."""

    def __init__(self, url: str, switch: Switch):
        super().__init__(f"{url}/hubspot", vendor="hubspot", auth=Bearer(TOKEN), allowed=CARD.allowed)
        self.switch = switch

    def _call(self, method: str, path: str, **content: Any) -> Response:
        self.switch.tick(f"before {method} {path}")
        answer = super()._call(method, path, **content)
        self.switch.tick(f"after {method} {path}")
        return answer


class SmallBatches(HubSpotCrm):
    batch_size = 3


class Process:
    """One process after another on the same journal and the same CRM; each may be told where to die.

    The journal dies with its process: nothing is recorded and no lock is released any more.
    """

    def __init__(self, url: str, folder: Path):
        self.url, self.folder, self.time, self.starts, self.switch = url, folder, START, 0, Switch()
        self.journal = Journal(f"sqlite:///{folder / 'journal.sqlite'}", alive=lambda pid: False, observe=self.observe)
        self.crm = SmallBatches(DyingApi(url, self.switch))
        self.crms = {"hubspot": self.crm}

    def observe(self, moment: str) -> None:
        if self.switch.dead:
            raise Killed(f"dead, and yet: {moment}")

    def start(self, kill_at: int | None = None) -> None:
        self.starts += 1
        self.switch.restart(kill_at)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    def holder(self, run_id: str) -> Holder:
        return Holder(run_id, pid=1000 + self.starts, host="here")

    def night(self, run_id: str, desired: list[DesiredRecord]) -> None:
        plan = prepare_plan(desired, self.crms, self.journal, FREE, as_of=NIGHT, holder=self.holder(run_id), now=self.now,
                            leaving={"hubspot": Leaving()})
        run = Run(run_id, "nightly", NIGHT, START)
        apply_plan(plan, self.crms, self.journal, run, now=self.now, holder=self.holder(run_id))

    def back(self, run_id: str, of: str) -> None:
        run = Run(run_id, "rollback", NIGHT, START, rollback_of=of)
        rollback(self.crms, self.journal, FREE, run, now=self.now, holder=self.holder(run_id))

    def state(self) -> tuple[Any, Any]:
        """What a person sees in the CRM: fields, and each task with its company; ids of tasks are of no interest."""
        portal = Portal(self.url)
        tasks = sorted((task["company"], task["status"], task["subject"]) for task in tasks_of(portal))
        return {name: fields_of(portal, name) for name in FIELDS}, tasks


def small_world() -> World:
    world = empty_world()
    for number in range(8):
        account = world.add_account(f"Company {number}")
        if number < 5:
            world.add_deal(account, f"Deal {number}", (Sold("A", "A", Decimal(1), Decimal(100)),), NIGHT)
    return world


def company(record_id: str, status: str, **values: str | None) -> DesiredRecord:
    known = {field.name: None for field in ACCOUNT_FIELDS} | {"financial_status": status, "days_overdue": "0"} | values
    return DesiredRecord("hubspot", "companies", record_id, known, account=f"Company {record_id}", account_id=record_id)


def deal(record_id: str, status: str, amount: str) -> DesiredRecord:
    known = {field.name: None for field in FIELDS["deals"]} | {"reconciliation_status": status, "contracted_amount": amount}
    return DesiredRecord("hubspot", "deals", record_id, known)


def wishes(world: World) -> tuple[list[DesiredRecord], list[DesiredRecord]]:
    """What the records should say before, and on the night that is killed, when one account has left with its task."""
    ids, deals = list(world.accounts), list(world.deals)
    before = [company(ids[0], "Overdue", days_overdue="4", last_invoice_date="2026-05-01"), company(ids[1], "Current")]
    before += [deal(deals[0], "Review", "90"), company(ids[7], "Overdue", days_overdue="9")]
    after = [company(ids[0], "Current", last_invoice_date=None), company(ids[1], "Overdue", days_overdue="1"),
             company(ids[2], "Credit Hold", days_overdue="61", overdue_amount="12.5")]
    after += [company(record_id, "Current", total_outstanding="7") for record_id in ids[3:7]]
    after += [deal(record_id, "Matched", "100") for record_id in deals]
    return before, after


class Keeper(Sandbox):
    """HubSpot in a state that can be kept and put back."""

    made: list[Keeper] = []

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.made.append(self)

    def keep(self) -> dict[str, Any]:
        return copy.deepcopy({name: vars(self.state)[name] for name in ("tables", "properties", "groups", "links", "_next_id")})

    def put_back(self, kept: dict[str, Any]) -> None:
        vars(self.state).update(copy.deepcopy(kept))


@dataclass
class Stage:
    """One sandbox for all the kills, put back to where it was before each."""

    url: str
    crm: Keeper
    before: list[DesiredRecord]
    after: list[DesiredRecord]

    def keep(self, process: Process) -> tuple[dict[str, Any], Path]:
        """The CRM and the journal as they are now."""
        process.journal.close()
        return self.crm.keep(), process.folder / "journal.sqlite"

    def go_on(self, kept: tuple[dict[str, Any], Path], folder: Path) -> Process:
        """A process that finds the CRM and the journal as they were kept."""
        folder.mkdir()
        self.crm.put_back(kept[0])
        shutil.copy(kept[1], folder)
        return Process(self.url, folder)


@dataclass(frozen=True)
class Told:
    """An apply and its rollback that nothing disturbs: the states, what is kept of them, and the moments to die at."""

    before: Any
    after: Any
    kept_before: tuple[dict[str, Any], Path]
    kept_after: tuple[dict[str, Any], Path]
    forth: list[str]
    back: list[str]


@pytest.fixture(scope="module")
def stage():
    with running_sandbox(small_world(), vendors={"hubspot": Keeper}, rate_limits=False) as url:
        yield Stage(url, Keeper.made[-1], *wishes(small_world()))


@pytest.fixture(scope="module")
def told(stage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    process = Process(stage.url, folder)
    setup.create(process.crm)
    process.night("before", stage.before)
    before, kept_before = process.state(), stage.keep(process)
    process = stage.go_on(kept_before, folder / "on")
    process.night("one", stage.after)
    forth, after, kept_after = list(process.switch.moments), process.state(), stage.keep(process)
    process = stage.go_on(kept_after, folder / "back")
    process.back("two", "one")
    return Told(before, after, kept_before, kept_after, forth, list(process.switch.moments))


def test_an_apply_killed_before_or_after_a_call_is_finished_by_the_next_run_and_can_be_rolled_back(stage, told, tmp_path):
    assert sum("before POST" in moment and moment.endswith("batch/update") for moment in told.forth) == 5
    assert sum(moment.startswith("before POST") and moment.endswith("/tasks") for moment in told.forth) == 2
    for number, moment in list(enumerate(told.forth, 1))[::EVERY]:
        process = stage.go_on(told.kept_before, tmp_path / str(number))
        process.start(kill_at=number)
        with pytest.raises(Killed):
            process.night("one", stage.after)
        process.start()
        process.night("two", stage.after)
        assert process.state() == told.after, moment
        assert process.journal.unresolved() == [], moment
        # A night that died after its last outcome left nothing to do: then it is the one to roll back.
        whole = "two" if process.journal.written(process.journal.chain("two")) else "one"
        process.back("three", whole)
        assert process.state() == told.before, moment


def test_a_rollback_killed_before_or_after_a_call_ends_in_the_first_state(stage, told, tmp_path):
    assert sum("before POST" in moment and moment.endswith("batch/update") for moment in told.back) == 5
    assert sum(moment.startswith(("before PATCH", "before DELETE")) for moment in told.back) == 4
    for number, moment in list(enumerate(told.back, 1))[::EVERY]:
        process = stage.go_on(told.kept_after, tmp_path / str(number))
        process.start(kill_at=number)
        with pytest.raises(Killed):
            process.back("two", "one")
        process.start()
        process.back("three", "one")
        assert process.state() == told.before, moment
        assert process.journal.unresolved() == [], moment


def test_the_plan_changes_clears_closes_and_opens(told):
    """What the kills are tried on: every kind of change is in it."""
    (before, tasks_before), (after, tasks_after) = told.before, told.after
    assert before != after
    fields = {(old[name], new[name]) for record, new in after["companies"].items()
              for old in [before["companies"][record]] for name in new if old[name] != new[name]}
    assert {("4", "0"), ("2026-05-01", None), (None, "61"), ("9", None), ("Overdue", None)} <= fields
    assert [status for _, status, _ in tasks_before] == ["NOT_STARTED"] * 2
    assert sorted(status for _, status, _ in tasks_after) == ["COMPLETED"] * 2 + ["NOT_STARTED"] * 2


# -- a real process


def filled(at: House) -> int:
    return sum(values["financial_status"] is not None for values in at.fields_of("companies").values())


@pytest.mark.parametrize("path, nth, carried_out", [("companies/batch/update", 1, filled), (TASKS, 5, lambda at: len(at.tasks()))])
def test_a_process_that_is_killed_in_mid_apply_is_finished_by_the_next(tmp_path, tmp_path_factory, path, nth, carried_out):
    with house(tmp_path / "house", data=first_night(tmp_path_factory)) as at:
        before = at.state()
        shown = at.write(at.built_night(), apply=False)
        at.forget()
        # The call is carried out at once and answered when nobody is there any more.
        at.fault("hubspot", "timeout", match=path, method="POST", nth=nth, seconds=60)
        command = [sys.executable, "-m", "flows.cli", "--data-dir", str(at.data), "apply", shown.plan.id]
        with subprocess.Popen(command, cwd=at.folder, env=at.environment(), stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: carried_out(at) >= nth)
            process.send_signal(signal.SIGKILL)
            assert process.wait(DEADLINE_SECONDS) == -signal.SIGKILL
        control(at.url, "DELETE", "faults")
        result = steps.apply_saved(at.built_night(), shown.path)
        assert result.status == "complete" and any(settled.outcome == "written" for settled in result.resolved)
        wanted = {(change.object, change.record_id, change.field): change.after for change in shown.plan.changes}
        values, tasks = at.state()
        assert {key: values[key[0]][key[1]][key[2]] for key in wanted} == wanted
        assert sorted(task["company"] for task in tasks) == sorted([change.account_id] for change in shown.plan.tasks)
        # Each record was sent once: what the killed process had written was found out by reading.
        sent = [call for call in at.writes() if call.endswith(path)]
        assert len(sent) == {TASKS: len(shown.plan.tasks)}.get(path, 1)
        steps.roll_back(at.built_night(), result.run_id)
        assert at.state() == before


def wait_until(true: Callable[[], bool]) -> None:
    """Polls, because what is waited for happens in another process."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < end, f"not within {DEADLINE_SECONDS} s"
        time.sleep(0.02)
