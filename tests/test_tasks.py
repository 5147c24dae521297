"""Stories of the overdue task: opened once per episode, for the owner, and closed when the customer has paid."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime

import pytest
from fake_crm import FREE, NIGHT, Killed, company, stage

from pipelines.vendors.crm_types import task_marker
from pipelines.writeback.apply import apply_plan
from pipelines.writeback.live import prepare_plan
from pipelines.writeback.tasks import requests, task_key

LATER = date(2026, 7, 20)
OVERDUE = company("acme", "Overdue", "12", "1500", owner_id="7")
PAID = company("acme", "Current")


def night(at, run_id, record, as_of=NIGHT, policy=FREE):
    plan = prepare_plan([record], at.crms, at.journal, policy, as_of=as_of, holder=at.holder(run_id), now=at.now)
    return apply_plan(plan, at.crms, at.journal, at.run(run_id, as_of=as_of), now=at.now, holder=at.holder(run_id))


def tasks_of(at):
    return [(id, task["status"]) for id, task in at.crm.tasks.items()]


def test_an_account_that_becomes_overdue_gets_one_task_for_its_owner(tmp_path):
    at = stage(tmp_path)
    night(at, "one", OVERDUE)
    night(at, "two", OVERDUE, LATER)
    (task,) = at.crm.tasks.values()
    asked = task["request"]
    assert (asked.account_id, asked.owner_id, asked.subject) == ("acme", "7", "Overdue invoices: Company acme")
    assert asked.due == datetime(2026, 7, 1, 9, 0, tzinfo=UTC)
    assert task_marker(task_key("hubspot", "acme", NIGHT)) in asked.body


def test_overdue_that_turns_into_credit_hold_is_the_same_episode(tmp_path):
    at = stage(tmp_path)
    night(at, "one", OVERDUE)
    night(at, "two", company("acme", "Credit Hold", "70", "1500"), LATER)
    assert len(at.crm.tasks) == 1


def test_the_task_closes_itself_when_the_customer_has_paid(tmp_path):
    at = stage(tmp_path)
    night(at, "one", OVERDUE)
    result = night(at, "two", PAID, LATER)
    assert [task.action for task in result.plan.tasks] == ["close"] and tasks_of(at) == [("901", "completed")]
    assert night(at, "three", PAID, LATER).plan.size == 0


def test_a_new_episode_gets_a_new_task(tmp_path):
    at = stage(tmp_path)
    night(at, "one", OVERDUE)
    night(at, "two", PAID, date(2026, 7, 10))
    night(at, "three", OVERDUE, LATER)
    assert tasks_of(at) == [("901", "completed"), ("902", "open")]


@pytest.mark.parametrize("deed", ["complete_task", "delete_task"])
def test_a_task_that_a_person_dealt_with_is_left_alone_for_the_episode(tmp_path, deed):
    at = stage(tmp_path)
    night(at, "one", OVERDUE)
    getattr(at.crm, deed)("901")
    before = tasks_of(at)
    assert night(at, "two", OVERDUE, LATER).plan.tasks == ()
    result = night(at, "three", PAID, LATER)
    assert [task.action for task in result.plan.tasks] == ["end"] and tasks_of(at) == before
    night(at, "four", OVERDUE, date(2026, 8, 9))
    assert ("902", "open") in tasks_of(at)


def test_a_held_back_account_opens_and_closes_nothing(tmp_path):
    at = stage(tmp_path)
    result = night(at, "one", dataclasses.replace(OVERDUE, hold_reason="stale ledger"))
    assert at.crm.tasks == {} and ("task", "stale ledger") in {(hold.field, hold.reason) for hold in result.plan.holds}
    night(at, "two", OVERDUE)
    night(at, "three", dataclasses.replace(PAID, hold_reason="stale ledger"), LATER)
    assert tasks_of(at) == [("901", "open")]


def test_an_account_without_owner_gets_an_unassigned_task_that_says_so(tmp_path):
    at = stage(tmp_path)
    night(at, "one", dataclasses.replace(OVERDUE, owner_id=None))
    (task,) = at.crm.tasks.values()
    assert task["request"].owner_id is None and "has no owner" in task["request"].body


def test_switched_off_there_are_no_tasks(tmp_path):
    at = stage(tmp_path)
    night(at, "one", OVERDUE, policy=dataclasses.replace(FREE, overdue_tasks=False))
    assert at.crm.tasks == {}


def test_a_company_that_is_gone_gets_no_task(tmp_path):
    at = stage(tmp_path, ["blue"])
    assert night(at, "one", OVERDUE).plan.tasks == () and at.crm.tasks == {}


def test_a_task_whose_creation_was_never_answered_is_looked_up_before_it_is_tried_again(tmp_path):
    at = stage(tmp_path)
    at.crm.lose = [None, "after"]
    night(at, "one", OVERDUE)
    assert tasks_of(at) == [("901", "open")]
    assert [(row.task_id, row.state) for row in at.journal.open_tasks("hubspot")] == [("901", "open")]


def test_a_task_created_in_the_moment_of_death_belongs_to_the_episode_of_its_night(tmp_path):
    trial = stage(tmp_path / "trial")
    night(trial, "trial", OVERDUE)
    at = stage(tmp_path)
    at.restart(kill_at=trial.crm.switch.moments.index("after create task") + 1)
    with pytest.raises(Killed):
        night(at, "one", OVERDUE)
    at.restart()
    night(at, "two", OVERDUE, LATER)
    assert len(at.crm.tasks) == 1 and at.journal.open_tasks("hubspot")[0].episode == "2026-06-30"


def test_a_task_that_died_before_it_was_created_opens_the_next_night(tmp_path):
    trial = stage(tmp_path / "trial")
    night(trial, "trial", OVERDUE)
    at = stage(tmp_path)
    at.restart(kill_at=trial.crm.switch.moments.index("before create task") + 1)
    with pytest.raises(Killed):
        night(at, "one", OVERDUE)
    at.restart()
    night(at, "two", OVERDUE, LATER)
    assert len(at.crm.tasks) == 1 and at.journal.open_tasks("hubspot")[0].episode == "2026-07-20"


def test_a_task_that_a_person_completed_between_plan_and_apply_is_a_conflict(tmp_path):
    at = stage(tmp_path)
    night(at, "one", OVERDUE)
    plan = prepare_plan([PAID], at.crms, at.journal, FREE, as_of=LATER, holder=at.holder("two"), now=at.now)
    at.crm.complete_task("901")
    result = apply_plan(plan, at.crms, at.journal, at.run("two"), now=at.now)
    assert result.problems[0].message == "the task is completed since the plan, and was open"


def test_the_key_is_the_same_for_the_same_episode():
    assert task_key("hubspot", "1", NIGHT) == task_key("hubspot", "1", NIGHT) != task_key("hubspot", "1", LATER)
    assert len(task_key("hubspot", "1", NIGHT)) == 12


def test_names_reach_the_request_as_they_are(tmp_path):
    at = stage(tmp_path)
    name = '=cmd|"x" <b>O\'Brien & שלום 🧾'
    record = dataclasses.replace(OVERDUE, account=name)
    plan = prepare_plan([record], at.crms, at.journal, FREE, as_of=NIGHT, holder=at.holder("one"), now=at.now)
    assert requests(plan.tasks[0])[0].subject == f"Overdue invoices: {name}"
