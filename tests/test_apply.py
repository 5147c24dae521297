"""Stories of the apply: every planned change is written, skipped or rejected, whatever dies or gets lost on the way."""

from __future__ import annotations

import dataclasses
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from fake_crm import FREE, NIGHT, SMALL, FakeCrm, Killed, Stage, Switch, company, stage

from pipelines.vendors.crm_types import Outcome
from pipelines.writeback.apply import MAX_TRIES, ApplyStopped, _Session, apply_approved, apply_plan
from pipelines.writeback.journal import JournalError, LockHeld
from pipelines.writeback.live import live_plan, prepare_plan, silent
from pipelines.writeback.plan import BlockedPlan, make_plan
from pipelines.writeback.resolve import resolve

IDS = ("acme", "blue", "core", "dune", "echo")
TONIGHT = [company(id, "Overdue", "12", "1500", owner_id="7") for id in IDS[:2]] + [company(id) for id in IDS[2:]]


def night(at: Stage, run_id: str, desired=TONIGHT, policy=FREE, **more):
    """One night as a new process would run it: plan, then apply."""
    plan = prepare_plan(
        desired, at.crms, at.journal, policy, as_of=NIGHT, holder=at.holder(run_id), now=at.now, **more
    )
    return apply_plan(plan, at.crms, at.journal, at.run(run_id), now=at.now, holder=at.holder(run_id))


def written_values(at: Stage):
    return {id: dict(values) for id, values in at.crm.records["companies"].items()}


def written_once(at: Stage) -> bool:
    records = [write for write in at.crm.writes if write[0] == "companies"]
    return len(records) == len(set(records)) and at.crm.writes.count(("create task",)) == 2


def test_a_first_night_fills_every_record_and_the_second_writes_nothing(tmp_path):
    at = stage(tmp_path, IDS)
    result = night(at, "one")
    assert (result.status, result.written, result.skipped, result.rejected) == ("complete", 22, 0, 0)
    assert written_values(at) == {record.record_id: dict(record.values) for record in TONIGHT}
    writes = len(at.crm.writes)
    result = night(at, "two")
    assert result.plan.size == 0 and len(at.crm.writes) == writes


def test_a_record_that_moved_since_the_plan_is_skipped_as_a_conflict(tmp_path):
    at = stage(tmp_path, IDS)
    plan = live_plan(TONIGHT, at.crms, at.journal, FREE, as_of=NIGHT)
    at.crm.records["companies"]["blue"]["days_overdue"] = "99"
    result = apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now)
    assert result.status == "partial" and result.skipped == 4 and result.written == 18
    said = {problem.intent.field: problem.message for problem in result.problems}
    assert said["days_overdue"] == "it moved since the plan: it is '99', and was None"
    assert at.crm.records["companies"]["blue"]["financial_status"] is None


def test_a_record_deleted_in_mid_run_is_skipped_and_the_others_go_on(tmp_path):
    at = stage(tmp_path, IDS)
    plan = live_plan(TONIGHT, at.crms, at.journal, FREE, as_of=NIGHT)
    del at.crm.records["companies"]["core"]
    result = apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now)
    assert {problem.message for problem in result.problems} == {"the record no longer exists in the CRM"}
    assert result.written == 18


def test_a_rejected_record_keeps_the_vendors_message_and_the_others_go_on(tmp_path):
    at = stage(tmp_path, IDS)
    at.crm.reject["acme"] = "a validation rule of the administrator forbids it"
    result = night(at, "one")
    assert (result.status, result.rejected) == ("partial", 4)
    assert {problem.message for problem in result.problems} == {"a validation rule of the administrator forbids it"}
    assert at.crm.records["companies"]["blue"]["financial_status"] == "Overdue"


@pytest.mark.parametrize("bad", [{"acme"}, {"echo"}, {"blue", "core"}, set(IDS)])
def test_the_record_that_makes_the_vendor_refuse_a_batch_is_found(tmp_path, bad):
    at = stage(tmp_path, IDS, batch_size=5)
    at.crm.refuse = bad
    result = night(at, "one")
    assert {problem.intent.record_id for problem in result.problems} == bad
    assert all("is invalid" in problem.message for problem in result.problems)
    assert result.rejected == 4 * len(bad) and result.written == 4 * (5 - len(bad)) + 2


@pytest.mark.parametrize("lost", [["before"], ["after"], ["before", "before"], [None, "after"], ["before", "after", "before"]])
def test_a_lost_connection_is_settled_by_reading(tmp_path, lost):
    at = stage(tmp_path, IDS, batch_size=3)
    at.crm.lose = list(lost)
    result = night(at, "one")
    assert result.status == "complete" and result.written == 22
    assert written_values(at) == {record.record_id: dict(record.values) for record in TONIGHT}
    assert written_once(at)
    assert at.journal.unresolved() == []


def test_a_vendor_that_never_answers_stops_the_run_and_the_next_one_goes_on(tmp_path):
    at = stage(tmp_path, ["acme"])
    at.crm.lose = ["before"] * MAX_TRIES
    with pytest.raises(ApplyStopped, match="hubspot companies acme: no certain answer after 3 tries"):
        night(at, "one", [company("acme")])
    assert at.journal.runs()[0]["status"] == "failed"
    result = night(at, "two", [company("acme")])
    assert result.written == 4 and at.crm.records["companies"]["acme"]["financial_status"] == "Current"
    assert at.journal.counts("one") == {"skipped": 4}


def test_somebody_else_in_a_lost_write_is_a_conflict(tmp_path):
    class Meddled(FakeCrm):
        def update(self, object, updates):
            try:
                return super().update(object, updates)
            finally:
                self.records["companies"]["acme"]["days_overdue"] = "77"

    at = Stage(tmp_path, Meddled({"companies": {"acme": {}}, "deals": {}}))
    at.crm.lose = ["after"]
    result = night(at, "one", [company("acme")])
    assert (result.written, result.skipped) == (3, 1)
    assert result.problems[0].message == "conflict: it is '77', neither None as before nor '0' as planned"


def test_outcomes_that_do_not_match_the_inputs_fail_the_run(tmp_path):
    class Forgetful(FakeCrm):
        def update(self, object, updates):
            return [Outcome(updates[0].record_id, "written")] if len(updates) > 1 else super().update(object, updates)

    at = Stage(tmp_path, Forgetful({"companies": {id: {} for id in IDS}, "deals": {}}))
    with pytest.raises(ApplyStopped, match="2 records were sent and 1 outcomes came"):
        night(at, "one")
    assert len(at.journal.unresolved()) == 8


def test_a_blocked_plan_writes_nothing(tmp_path):
    at = stage(tmp_path, IDS)
    with pytest.raises(BlockedPlan, match="invoices shrank"):
        night(at, "one", guard_blocks=["quickbooks invoices shrank from 90 to 4"])
    assert at.crm.writes == [] and at.journal.runs()[0]["status"] == "blocked"


def test_an_approved_plan_writes_no_more_than_was_shown(tmp_path):
    at = stage(tmp_path, IDS)
    policy = dataclasses.replace(FREE, max_change_share=Decimal("0.1"))
    shown = live_plan(TONIGHT, at.crms, at.journal, policy, as_of=NIGHT)
    later = [company("acme", "Overdue", "13", "1500", owner_id="7"), *TONIGHT[1:]]
    result = apply_approved(shown, later, at.crms, at.journal, policy, at.run("one", "apply"), now=at.now)
    assert at.crm.records["companies"]["acme"]["days_overdue"] is None
    assert [(hold.record_id, hold.field) for hold in result.plan.not_approved] == [("acme", "days_overdue")]
    assert result.status == "complete" and "1 not approved" in at.journal.runs()[0]["message"]


def test_an_approved_plan_that_a_guard_had_blocked_stays_blocked(tmp_path):
    at = stage(tmp_path, IDS)
    shown = live_plan(TONIGHT, at.crms, at.journal, FREE, as_of=NIGHT, guard_blocks=["dbt test failed"])
    with pytest.raises(BlockedPlan, match="dbt test failed"):
        apply_approved(shown, TONIGHT, at.crms, at.journal, FREE, at.run("one", "apply"), now=at.now)
    assert at.crm.writes == []


def test_a_rejected_field_is_planned_again_and_is_no_persons_edit(tmp_path):
    at = stage(tmp_path, ["acme"])
    at.crm.reject["acme"] = "not today"
    night(at, "one", [company("acme")])
    at.crm.reject.clear()
    assert night(at, "two", [company("acme")]).written == 4


def test_two_applies_never_interleave(tmp_path):
    at = stage(tmp_path, IDS)
    first, second = at.holder("one"), dataclasses.replace(at.holder("two"), host="elsewhere")
    with at.journal.locked(first, at.now()):
        plan = live_plan(TONIGHT, at.crms, at.journal, FREE, as_of=NIGHT)
        with pytest.raises(LockHeld, match="run one has held the journal's lock since"):
            apply_plan(plan, at.crms, at.journal, at.run("two"), now=at.now, holder=second)
    assert at.crm.writes == []


def test_writes_to_a_crm_that_is_gone_from_the_configuration_are_not_forgotten(tmp_path):
    at = stage(tmp_path, ["acme"])
    at.crm.switch.restart(_moment("before update companies", tmp_path))
    with pytest.raises(Killed):
        night(at, "one", [company("acme")])
    at.restart()
    with pytest.raises(JournalError, match="unresolved writes to hubspot, which is not configured"):
        resolve(at.journal, {}, at.now)


def test_a_plan_applied_once_more_after_a_kill_writes_nothing_twice(tmp_path):
    at = stage(tmp_path, ["acme"])
    plan = live_plan([company("acme")], at.crms, at.journal, FREE, as_of=NIGHT)
    planned, written = _moment("after release", tmp_path), _moment("after update companies", tmp_path)
    at.crm.switch.restart(written - planned)
    with pytest.raises(Killed):
        apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now, holder=at.holder("one"))
    at.restart()
    result = apply_plan(plan, at.crms, at.journal, at.run("two"), now=at.now, holder=at.holder("two"))
    assert [settled.outcome for settled in result.resolved] == ["written"] * 4
    assert (result.skipped, len(at.crm.writes)) == (4, 1) and at.journal.unresolved() == []


def test_a_change_without_an_outcome_fails_the_run(tmp_path):
    at = stage(tmp_path, ["acme"])
    plan = make_plan([company("acme")], {("hubspot", "companies", "acme"): {}}, {}, {("hubspot", "companies"): SMALL}, FREE)
    with pytest.raises(ApplyStopped, match="4 changes were planned and {} accounted for"):
        _Session(plan, at.journal, at.run("one"), at.now, silent).result([])


def _moment(name: str, folder: Path) -> int:
    trial = stage(folder / name, ["acme"])
    night(trial, "trial", [company("acme")])
    return trial.crm.switch.moments.index(name) + 1


def _clean_night() -> tuple[list[str], dict, object]:
    with tempfile.TemporaryDirectory() as folder:
        at = stage(Path(folder), IDS)
        night(at, "clean")
        return list(at.crm.switch.moments), written_values(at), at.crm.snapshot()


MOMENTS, PLANNED, _ = _clean_night()


def settle_in(at: Stage, run_id: str):
    """Starts the night again in a new process, without any kill."""
    at.restart()
    return night(at, run_id)


@pytest.mark.parametrize("moment", range(1, len(MOMENTS) + 1))
def test_a_kill_at_any_call_is_made_good_by_the_next_run(tmp_path, moment):
    at = stage(tmp_path, IDS)
    at.restart(kill_at=moment)
    with pytest.raises(Killed):
        night(at, "one")
    settle_in(at, "two")
    assert written_values(at) == PLANNED, MOMENTS[moment - 1]
    assert sorted(task["request"].account_id for task in at.crm.tasks.values()) == ["acme", "blue"]
    assert written_once(at)
    assert at.journal.unresolved() == []
    counts = [at.journal.counts(run["run_id"]) for run in at.journal.runs()]
    assert sum(count.get("written", 0) for count in counts) == 22


@pytest.mark.parametrize("moment", range(1, len(MOMENTS) + 1, 3))
def test_two_kills_in_a_row_are_made_good_too(tmp_path, moment):
    at = stage(tmp_path, IDS)
    at.restart(kill_at=moment)
    with pytest.raises(Killed):
        night(at, "one")
    at.restart(kill_at=1 + moment * 7 % 23)
    try:
        night(at, "two")
    except Killed:
        settle_in(at, "three")
    assert written_values(at) == PLANNED
    assert written_once(at)


def test_the_switch_really_kills():
    switch = Switch(2)
    switch.tick("one")
    for moment in ("two", "three"):
        with pytest.raises(Killed):
            switch.tick(moment)
