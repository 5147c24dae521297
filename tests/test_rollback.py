"""Stories of the rollback: apply, then rollback, leaves the CRM as it was, whatever dies on the way."""

from __future__ import annotations

import dataclasses
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from fake_crm import FREE, NIGHT, FakeCrm, Killed, Stage, company
from test_apply import MOMENTS, night

from pipelines.writeback.journal import JournalError
from pipelines.writeback.live import live_plan
from pipelines.writeback.plan import BlockedPlan
from pipelines.writeback.plan_files import load_plan, save_plan
from pipelines.writeback.rollback import prepare_rollback, rollback

IDS = ("acme", "blue", "core", "dune", "echo")
TONIGHT = [company(id, "Overdue", "12", "1500", owner_id="7") for id in IDS[:2]] + [company(id) for id in IDS[2:]]
OURS = dataclasses.replace(FREE, field_policies={"total_outstanding": "ours"})
FIRST = {"acme": {}, "blue": {"total_outstanding": "3.50"}, "core": {}, "dune": {}, "echo": {}}


def stage(folder: Path) -> Stage:
    return Stage(folder, FakeCrm({"companies": FIRST, "deals": {}}))


def back(at: Stage, of: str, run_id: str, policy=FREE, **more):
    run = at.run(run_id, "rollback", rollback_of=of)
    return rollback(at.crms, at.journal, policy, run, now=at.now, holder=at.holder(run_id), **more)


def test_apply_then_rollback_leaves_the_crm_as_it_was(tmp_path):
    at = stage(tmp_path)
    first = at.crm.snapshot()
    result = night(at, "one", TONIGHT, OURS)
    assert at.crm.snapshot() != first and len(at.crm.tasks) == 2
    undone = back(at, "one", "two")
    assert undone.written == result.written and undone.status == "complete"
    assert at.crm.snapshot() == first


def test_a_field_that_a_person_changed_since_is_skipped_and_named(tmp_path):
    at = stage(tmp_path)
    night(at, "one", TONIGHT, OURS)
    at.crm.records["companies"]["core"]["financial_status"] = "No Invoices"
    result = back(at, "one", "two")
    assert [(hold.record_id, hold.field) for hold in result.plan.holds] == [("core", "financial_status")]
    assert "it changed since: it is 'No Invoices', and the run wrote 'Current'" in result.plan.holds[0].reason
    assert at.crm.records["companies"]["core"] == {
        "financial_status": "No Invoices", "days_overdue": None, "total_outstanding": None, "financials_as_of": None,
    }


def test_what_a_later_run_wrote_is_not_undone_by_rolling_back_the_earlier(tmp_path):
    at = stage(tmp_path)
    night(at, "one", [company("acme", total="5")])
    night(at, "two", [company("acme", total="6")])
    result = back(at, "one", "three")
    assert ("acme", "total_outstanding") in {(hold.record_id, hold.field) for hold in result.plan.holds}
    assert at.crm.records["companies"]["acme"]["total_outstanding"] == "6"


def test_rolling_back_twice_changes_nothing_more(tmp_path):
    at = stage(tmp_path)
    first = at.crm.snapshot()
    night(at, "one", TONIGHT, OURS)
    back(at, "one", "two")
    assert back(at, "one", "three").plan.size == 0 and at.crm.snapshot() == first


def test_the_night_after_a_rollback_writes_again_and_respects_people_again(tmp_path):
    at = stage(tmp_path)
    night(at, "one", TONIGHT, OURS)
    back(at, "one", "two")
    plan = live_plan(TONIGHT, at.crms, at.journal, FREE, as_of=NIGHT)
    assert len(plan.changes) == 19  # everything but the total that is a person's again
    assert [(hold.record_id, hold.field) for hold in plan.holds] == [("blue", "total_outstanding")]
    assert [task.action for task in plan.tasks] == ["open", "open"]


def test_a_rollback_of_one_of_two_nights_leaves_the_value_of_the_other_as_ours(tmp_path):
    at = stage(tmp_path)
    night(at, "one", [company("acme", total="5")])
    night(at, "two", [company("acme", total="6")])
    back(at, "two", "three")
    assert at.crm.records["companies"]["acme"]["total_outstanding"] == "5"
    assert at.journal.last_written("hubspot", "companies")["acme", "total_outstanding"] == "5"
    night(at, "four", [company("acme", total="7")])
    assert at.crm.records["companies"]["acme"]["total_outstanding"] == "7"


def test_a_rollback_can_be_rolled_back(tmp_path):
    at = stage(tmp_path)
    night(at, "one", [company("acme", total="5")])
    there = at.crm.snapshot()
    back(at, "one", "two")
    back(at, "two", "three")
    assert at.crm.snapshot() == there
    assert night(at, "four", [company("acme", total="5")]).plan.size == 0
    assert night(at, "five", [company("acme", total="6")]).written == 1


def test_tasks_come_back_too(tmp_path):
    at = stage(tmp_path)
    night(at, "one", [company("acme", "Overdue")])
    with_task = at.crm.snapshot()
    night(at, "two", [company("acme", "Current")])
    (task,) = at.crm.tasks.values()
    assert task["status"] == "completed"
    back(at, "two", "three")
    assert at.crm.snapshot() == with_task
    assert [row.state for row in at.journal.open_tasks("hubspot")] == ["open"]


def test_a_task_that_a_person_completed_since_is_left_and_named(tmp_path):
    at = stage(tmp_path)
    night(at, "one", [company("acme", "Overdue")])
    (task_id,) = at.crm.tasks
    at.crm.complete_task(task_id)
    result = back(at, "one", "two")
    assert [hold.field for hold in result.plan.holds] == ["task"]
    assert result.plan.holds[0].reason == "the task changed since: it is completed, and the run left it open"
    assert task_id in at.crm.tasks


def test_a_deleted_company_is_named(tmp_path):
    at = stage(tmp_path)
    night(at, "one", TONIGHT, OURS)
    del at.crm.records["companies"]["core"]
    result = back(at, "one", "two")
    assert {hold.reason for hold in result.plan.holds} == {"the record no longer exists in the CRM"}


def test_an_unknown_run_is_named(tmp_path):
    at = stage(tmp_path)
    with pytest.raises(JournalError, match="run zero is not in the journal; crossfoot status lists the runs"):
        back(at, "zero", "one")


def test_a_rollback_beyond_the_share_waits_for_an_approval(tmp_path):
    ids = [f"c{n:02}" for n in range(12)]
    at = Stage(tmp_path, FakeCrm({"companies": {id: {} for id in ids}, "deals": {}}))
    first = at.crm.snapshot()
    night(at, "one", [company(id) for id in ids])
    careful = dataclasses.replace(FREE, max_change_share=Decimal("0.5"))
    with pytest.raises(BlockedPlan, match="12 of 12 hubspot companies would change"):
        back(at, "one", "two", careful)
    shown = prepare_rollback("one", at.crms, at.journal, careful, holder=at.holder("three"), now=at.now)
    approved = load_plan(save_plan(shown, tmp_path / "plans"))
    assert approved.kind == "rollback" and approved.rollback_of == "one"
    back(at, "one", "four", careful, approved=approved)
    assert at.crm.snapshot() == first


@pytest.mark.parametrize("moment", range(1, len(MOMENTS) + 1))
def test_a_killed_apply_then_a_new_run_then_a_rollback_is_the_first_state(tmp_path, moment):
    at = stage(tmp_path)
    first = at.crm.snapshot()
    at.restart(kill_at=moment)
    with pytest.raises(Killed):
        night(at, "one", TONIGHT, OURS)
    at.restart()
    night(at, "two", TONIGHT, OURS)
    assert len(at.crm.tasks) == 2
    known = {run["run_id"] for run in at.journal.runs()}
    # A night that died after its last outcome left nothing to do: it is the one to roll back.
    back(at, "two" if at.journal.written(at.journal.chain("two")) else "one", "three")
    assert at.crm.snapshot() == first, (MOMENTS[moment - 1], known)


@pytest.mark.parametrize("moment", range(2, len(MOMENTS) + 1, 3))
def test_a_killed_apply_is_rolled_back_at_once(tmp_path, moment):
    at = stage(tmp_path)
    first = at.crm.snapshot()
    at.restart(kill_at=moment)
    with pytest.raises(Killed):
        night(at, "one", TONIGHT, OURS)
    at.restart()
    if at.journal.runs():
        back(at, "one", "two")
    assert at.crm.snapshot() == first, MOMENTS[moment - 1]


def _rollback_moments() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        at = stage(Path(folder))
        night(at, "one", TONIGHT, OURS)
        at.restart()
        back(at, "one", "two")
        return list(at.crm.switch.moments)


BACK = _rollback_moments()


@pytest.mark.parametrize("moment", range(1, len(BACK) + 1))
def test_a_rollback_killed_at_any_call_ends_in_the_first_state(tmp_path, moment):
    at = stage(tmp_path)
    first = at.crm.snapshot()
    night(at, "one", TONIGHT, OURS)
    at.restart(kill_at=moment)
    with pytest.raises(Killed):
        back(at, "one", "two")
    at.restart()
    back(at, "one", "three")
    assert at.crm.snapshot() == first, BACK[moment - 1]
    assert at.journal.unresolved() == []
    # and what the killed rollback undid is free to be written again
    assert len(live_plan(TONIGHT, at.crms, at.journal, OURS, as_of=NIGHT).changes) == 20


@pytest.mark.parametrize("moment", range(1, len(MOMENTS) + 1, 4))
def test_both_killed_still_end_in_the_first_state(tmp_path, moment):
    at = stage(tmp_path)
    first = at.crm.snapshot()
    at.restart(kill_at=moment)
    with pytest.raises(Killed):
        night(at, "one", TONIGHT, OURS)
    at.restart()
    night(at, "two", TONIGHT, OURS)
    whole = "two" if at.journal.written(at.journal.chain("two")) else "one"
    at.restart(kill_at=1 + moment * 5 % 29)
    try:
        back(at, whole, "three")
    except Killed:
        at.restart()
        back(at, whole, "four")
    assert at.crm.snapshot() == first
