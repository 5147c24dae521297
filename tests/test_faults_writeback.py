"""What is written is also taken back: values that no model wants any more, the right run's writes, tasks that exist already."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from fake_crm import FREE, NIGHT, SMALL, START, FakeCrm, Stage, company, stage

from flows import show
from pipelines import outcome, settings
from pipelines.night import Night
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import ACCOUNT_FIELDS, Deviation, field_of, task_marker
from pipelines.writeback import setup
from pipelines.writeback.apply import ApplyResult, apply_approved, apply_plan
from pipelines.writeback.clearing import Leaving
from pipelines.writeback.desired import read_desired
from pipelines.writeback.journal import Intent
from pipelines.writeback.live import prepare_plan
from pipelines.writeback.plan import DesiredRecord, Plan, WritebackPolicy
from pipelines.writeback.rollback import rollback
from pipelines.writeback.tasks import NOT_ASSIGNED, task_key
from pipelines.writeback.undo import standing

ALL = {"hubspot": Leaving()}
EMPTY = dict.fromkeys([field.name for field in SMALL])
IDS = next(field for field in ACCOUNT_FIELDS if field.type == "ids")


def planned(at: Stage, desired: Sequence[DesiredRecord], policy: WritebackPolicy = FREE, leaving: Mapping[str, Leaving] = ALL,
            **more: Any) -> Plan:
    return prepare_plan(desired, at.crms, at.journal, policy, as_of=NIGHT, holder=at.holder("plan"), now=at.now, leaving=leaving, **more)


def night(at: Stage, run_id: str, desired: Sequence[DesiredRecord], *wishes: Any, **more: Any) -> ApplyResult:
    """A night whose models want all of `desired` and nothing else."""
    return apply_plan(planned(at, desired, *wishes, **more), at.crms, at.journal, at.run(run_id), now=at.now)


def back(at: Stage, of: str, run_id: str) -> ApplyResult:
    run = at.run(run_id, "rollback", rollback_of=of)
    return rollback(at.crms, at.journal, FREE, run, now=at.now, holder=at.holder(run_id))


def deal(id: str, status: str = "Matched") -> DesiredRecord:
    values = dict.fromkeys(field.name for field in FakeCrm.objects["deals"])
    values |= {"reconciliation_status": status, "contracted_amount": "3600", "financials_as_of": "2026-06-30T20:00:00Z"}
    return DesiredRecord("hubspot", "deals", id, values)


def books(at: Stage) -> dict[str, dict[str, Any]]:
    """What the CRM holds, without what is empty."""
    return {id: {name: value for name, value in values.items() if value is not None}
            for known in at.crm.records.values() for id, values in known.items()}


def quiet(plan: Plan) -> bool:
    return plan.size == 0 and plan.holds == () and plan.blocks == ()


# -- 02: every way out of the models ----------------------------------------------------------------------------------


@pytest.fixture
def at(tmp_path: Path) -> Stage:
    made = stage(tmp_path)
    made.crm.records["deals"] = {id: dict.fromkeys(field.name for field in FakeCrm.objects["deals"]) for id in ("d1", "d2")}
    return made


@pytest.mark.parametrize(("stays", "empty"), [
    ([company("acme"), deal("d1")], {"d2"}),  # reopened, lost, or of a pipeline that does not count: not won to the models
    ([deal("d1"), deal("d2")], {"acme"}),  # an account of an excluded type
    ([], {"acme", "d1", "d2"}),
])  # fmt: skip
def test_writeback_02_values_stay_when_a_deal_leaves(at: Stage, stays: list[DesiredRecord], empty: set[str]) -> None:
    night(at, "one", [company("acme"), deal("d1"), deal("d2")])
    full = books(at)
    assert all(full[id] for id in ("acme", "d1", "d2"))
    result = night(at, "two", stays)
    assert result.status == "complete" and {change.record_id for change in result.plan.changes} == empty
    assert {change.reason for change in result.plan.changes} == {"Crossfoot wrote it, and no model wants it any more"}
    assert books(at) == {id: {} if id in empty else values for id, values in full.items()}
    assert quiet(planned(at, stays))
    # Back again, it is written like any record; and a rollback of the clearing puts all of it back.
    back(at, "two", "three")
    assert books(at) == full
    assert planned(at, stays).changes == result.plan.changes
    night(at, "four", stays)
    assert night(at, "five", [company("acme"), deal("d1"), deal("d2")]).status == "complete" and books(at) == full


def test_an_account_that_has_no_customers_any_more_is_emptied_by_the_models_own_values(at: Stage) -> None:
    night(at, "one", [company("acme", "Overdue", "12", "1500")])
    nothing = company("acme", "No Invoices", None, None)
    assert night(at, "two", [nothing]).status == "complete"
    assert books(at)["acme"] == {"financial_status": "No Invoices", "financials_as_of": "2026-06-30T20:00:00Z"}
    assert quiet(planned(at, [nothing]))


@pytest.mark.parametrize("name", ["days_overdue", "financials_as_of"])
def test_a_field_that_is_not_kept_any_more_is_cleared_on_every_record(at: Stage, name: str) -> None:
    night(at, "one", [company("acme"), company("blue")])
    at.crm.objects = {"companies": tuple(field for field in SMALL if field.name != name), "deals": FakeCrm.objects["deals"]}
    stays = [dataclasses.replace(one, values={key: value for key, value in one.values.items() if key != name})
             for one in (company("acme"), company("blue"))]
    result = night(at, "two", stays)
    assert {change.key[2:]: change.after for change in result.plan.changes} == {("acme", name): None, ("blue", name): None}
    assert name not in books(at)["acme"] and books(at)["acme"]["financial_status"] == "Current"
    assert quiet(planned(at, stays))
    back(at, "two", "three")
    assert name in books(at)["acme"]


def test_an_object_that_is_not_written_any_more_is_cleared(at: Stage) -> None:
    night(at, "one", [company("acme"), deal("d1")])
    at.crm.objects = {"companies": SMALL}
    assert {change.object for change in night(at, "two", [company("acme")]).plan.changes} == {"deals"}
    assert books(at)["d1"] == {} and quiet(planned(at, [company("acme")]))


@pytest.mark.parametrize(("text", "type"), [("1500.5", "number"), ("2026-06-30", "date"), ("2026-06-30T20:00:00Z", "datetime"),
                                            ("Some cause", "text"), ("0058", "text"), (None, "text")])
def test_a_field_that_no_release_knows_is_of_the_type_that_its_value_shows(text: str | None, type: str) -> None:
    assert field_of(SMALL, "forgotten", text).type == type
    assert field_of((), "days_overdue", "x").type == "integer"  # one that only the configuration leaves out is known


def test_a_record_that_is_gone_has_nothing_to_clear_and_that_is_said(at: Stage) -> None:
    night(at, "one", [company("acme"), deal("d1")])
    del at.crm.records["deals"]["d1"]
    plan = planned(at, [company("acme")])
    assert plan.size == 0
    assert [(hold.record_id, hold.reason) for hold in plan.holds] == [
        ("d1", "the record no longer exists in the CRM, so there is nothing to clear")]
    assert dict(plan.records) == {"hubspot companies": 1}  # it is no part of what a share is a share of


def test_a_persons_edit_of_a_record_that_left_is_not_cleared(at: Stage) -> None:
    night(at, "one", [deal("d1")])
    at.crm.records["deals"]["d1"]["contracted_amount"] = "99"
    result = night(at, "two", [])
    assert books(at)["d1"] == {"contracted_amount": "99"}
    assert [(hold.field, hold.reason) for hold in result.plan.holds] == [
        ("contracted_amount", "a person changed it: it is '99', and Crossfoot last wrote '3600'")]
    ours = dataclasses.replace(FREE, field_policies={"deals.contracted_amount": "ours"})
    assert night(at, "three", [], ours).written == 1 and books(at)["d1"] == {}


def test_what_a_person_emptied_first_leaves_the_rest_to_be_cleared_with_its_time(at: Stage) -> None:
    night(at, "one", [deal("d1")])
    for name in ("reconciliation_status", "contracted_amount"):
        at.crm.records["deals"]["d1"][name] = None
    assert [change.field for change in night(at, "two", []).plan.changes] == ["financials_as_of"]
    assert quiet(planned(at, []))


@pytest.mark.parametrize(("leaving", "policy", "said"), [
    (Leaving("the last extract of hubspot failed"), FREE, "the last extract of hubspot failed"),
    (Leaving(None, {"d1": "a record behind these numbers has a data problem"}), FREE, "a record behind these numbers has a data problem"),
    (Leaving(), dataclasses.replace(FREE, null_policies=dict.fromkeys(
        ("reconciliation_status", "contracted_amount", "financials_as_of"), "keep")),
     "there is no value, and the field's null policy is to keep what it holds"),
])  # fmt: skip
def test_what_left_for_a_doubtful_reason_is_held(at: Stage, leaving: Leaving, policy: WritebackPolicy, said: str) -> None:
    night(at, "one", [deal("d1"), deal("d2")])
    plan = planned(at, [deal("d2")], policy, {"hubspot": leaving})
    assert plan.size == 0 and {(hold.record_id, hold.reason) for hold in plan.holds} == {("d1", said)}


def test_why_a_record_left_is_asked_of_the_warehouse() -> None:
    with duckdb.connect() as warehouse:
        warehouse.execute("""
            CREATE SCHEMA activation; CREATE SCHEMA intermediate; CREATE SCHEMA raw_hubspot;
            CREATE TABLE activation.sync_hubspot__companies (record_id VARCHAR);
            CREATE TABLE activation.sync_hubspot__deals (record_id VARCHAR);
            CREATE TABLE intermediate.int_sources__assessed AS SELECT 'hubspot' AS source, NULL::VARCHAR AS hold_reason
                UNION ALL SELECT 'other', 'stale';
            CREATE TABLE intermediate.int_deals__contracted AS SELECT 'hubspot' AS source, unnest(['d1', 'd2']) AS deal_id,
                unnest([true, false]) AS has_problem;
            CREATE TABLE intermediate.int_accounts__unioned AS SELECT 'hubspot' AS source, 'a1' AS account_id, 'no name' AS problem;
            CREATE TABLE raw_hubspot.companies (id VARCHAR, _landed_at TIMESTAMPTZ, _deleted BOOLEAN);
            CREATE TABLE raw_hubspot.deals AS SELECT unnest(['d3', 'd3', 'd4', 'd4']) AS id, unnest([false, true, true, false]) AS _deleted,
                unnest(['2026-06-01'::TIMESTAMPTZ, '2026-06-02', '2026-06-01', '2026-06-02']) AS _landed_at""")
        crms = {"hubspot": FakeCrm({"companies": {}, "deals": {}})}
        leaving = read_desired(warehouse, crms).leaving["hubspot"]
        assert leaving.hold_reason is None and leaving.doubtful.keys() == {"d1", "a1", "d3"}
        assert leaving.reason("d3") == "hubspot listed it as deleted, and has it; `crossfoot extract --full` reads it again"
        warehouse.execute("UPDATE intermediate.int_sources__assessed SET hold_reason = 'partial'")
        assert read_desired(warehouse, crms).leaving["hubspot"].reason("d2") == "partial"
        warehouse.execute("DELETE FROM intermediate.int_sources__assessed WHERE source = 'hubspot'")
        assert "not among the sources" in read_desired(warehouse, crms).leaving["hubspot"].reason("d2")


def test_without_models_nothing_is_cleared(at: Stage) -> None:
    night(at, "one", [deal("d1")])
    assert quiet(planned(at, [], leaving={}))


def test_a_night_that_would_empty_everything_waits_for_an_approval(tmp_path: Path) -> None:
    ids = [f"c{place:02}" for place in range(12)]
    at = stage(tmp_path, ids)
    night(at, "one", [company(id) for id in ids])
    careful = WritebackPolicy(mode="apply", max_change_share=Decimal("0.5"))
    plan = planned(at, [company(id) for id in ids[:4]], careful)
    assert "8 of 12 hubspot companies would change" in plan.blocks[0]
    # The approval holds for the time as well, where nothing else is left to clear.
    for id in ids[4:]:
        at.crm.records["companies"][id] |= dict.fromkeys(("financial_status", "days_overdue", "total_outstanding"))
    shown = planned(at, [company(id) for id in ids[:4]], careful)
    result = apply_approved(shown, [company(id) for id in ids[:4]], at.crms, at.journal, careful, at.run("two", "apply"), now=at.now,
                            leaving=ALL)
    assert (result.written, result.left_out) == (8, ()) and {id for id, values in books(at).items() if not values} == set(ids[4:])


def test_what_a_rollback_took_back_is_nobodys_to_clear(at: Stage) -> None:
    night(at, "one", [deal("d1")])
    back(at, "one", "two")
    at.crm.records["deals"]["d1"]["contracted_amount"] = "3600"  # a person's now, though it is what was written once
    assert quiet(planned(at, []))


def test_ids_that_people_keep_on_a_record_that_left_stay(tmp_path: Path) -> None:
    at = stage(tmp_path, ["acme"])
    at.crm.objects = {"companies": (*SMALL, IDS)}
    at.crm.records["companies"]["acme"][IDS.name] = "person:1"

    def wished(text: str | None) -> DesiredRecord:
        return dataclasses.replace(company("acme"), values={**company("acme").values, IDS.name: text})

    night(at, "one", [wished("+books:58")])
    night(at, "two", [wished("+books:60; -books:58")])
    assert books(at)["acme"][IDS.name] == "person:1; books:60"
    at.crm.records["companies"]["acme"][IDS.name] = "person:1; books:60; person:2"
    night(at, "three", [])
    assert books(at)["acme"] == {IDS.name: "person:1; person:2"}
    assert quiet(planned(at, []))


def test_a_rejected_field_leaves_its_neighbours_cleared(at: Stage) -> None:
    night(at, "one", [deal("d1"), deal("d2")])
    for named in (True, False):
        at.crm.refuses = {("contracted_amount", None): named}
        result = night(at, f"two {named}", [deal("d2")])
        assert {(one.intent.field, one.outcome) for one in result.problems} == {("contracted_amount", "rejected")}
        assert books(at)["d1"] == {"contracted_amount": "3600"}
        back(at, f"two {named}", f"back {named}")
    # A rollback goes the same way: what it may not put back costs only itself.
    night(at, "three", [deal("d2")])
    assert books(at)["d1"] == {"contracted_amount": "3600"}
    at.crm.refuses = {("reconciliation_status", "Matched"): False}
    undone = back(at, "three", "four")
    assert {one.intent.field for one in undone.problems} == {"reconciliation_status", "financials_as_of"}


# -- 04 and 08: a rollback takes back what still stands, and names the rest --------------------------------------------


def test_writeback_04_rollback_of_an_older_run(at: Stage) -> None:
    wanted = [company("acme", total="5"), deal("d1")]
    first = night(at, "one", wanted)
    assert back(at, "one", "back one").written == first.written
    again = night(at, "two", wanted)
    assert again.written == first.written
    there = books(at)
    undone = back(at, "one", "back one again")
    assert (undone.plan.size, undone.left_out, books(at)) == (0, (), there)
    assert outcome.applied_document(undone)["nothing_left"] is True
    assert "Of run one nothing is left to take back." in show.applied(undone)
    assert quiet(planned(at, wanted))
    assert back(at, "two", "back two").written == first.written and not any(books(at).values())


def test_what_a_later_run_wrote_is_left_alone_also_where_it_wrote_the_same(at: Stage) -> None:
    night(at, "one", [company("acme", total="5", days="1")])
    night(at, "two", [company("acme", total="6", days="1")])
    night(at, "three", [company("acme", total="5", days="1")])
    undone = back(at, "one", "four")
    (left,) = undone.left_out
    assert (left.record_id, left.field, left.reason) == (
        "acme", "total_outstanding", "a later run wrote it: three; roll that one back first")
    assert books(at)["acme"] == {"total_outstanding": "5"}
    document = outcome.applied_document(undone)
    assert document["left_out"] == [
        {"object": "companies", "record": "acme", "field": "total_outstanding", "message": left.reason}]
    assert not document["nothing_left"] and "1 left out" in show.applied(undone) and "roll that one back first" in show.applied(undone)
    assert quiet(planned(at, [company("acme", None, None, "5", as_of=None)]))  # what stays is still ours


def test_runs_are_taken_back_from_the_newest_on_to_the_first_state(at: Stage) -> None:
    for place, total in enumerate(("5", "6", "5"), 1):
        night(at, f"n{place}", [company("acme", total=total)])
    for place in (3, 2, 1):
        assert back(at, f"n{place}", f"b{place}").left_out == ()
    assert not any(books(at).values())
    assert all(back(at, f"n{place}", f"again {place}").plan.size == 0 for place in (1, 2, 3))


WRITES = {
    "n1 b1 n2": ("n1", {"b1": "n1"}, None),
    "n1 n2": ("n1", {}, "n2"),
    "n1 n2 b2": ("n1", {"b2": "n2"}, "n1"),
    "n1 n2 b2 ": ("n2", {"b2": "n2"}, None),
    "n1 b1": ("b1", {"b1": "n1"}, "b1"),
    "n1 b1 n2 ": ("b1", {"b1": "n1"}, "n2"),
    "n1 b1 r1": ("n1", {"b1": "n1", "r1": "b1"}, "n1"),
    "n1 b1 r1 ": ("b1", {"b1": "n1", "r1": "b1"}, None),
    "n1 b1 r1  ": ("r1", {"b1": "n1", "r1": "b1"}, "r1"),
    "n1 b1 n2 b2": ("b1", {"b1": "n1", "b2": "n2"}, "b1"),
}


@pytest.mark.parametrize("story", WRITES)
def test_whose_write_stands(story: str) -> None:
    target, undoes, newest = WRITES[story]
    history = [Intent(place, run, "hubspot", "deals", "1", "amount", str(place), str(place + 1))
               for place, run in enumerate(story.split())]
    found = standing(history, [target], {run: frozenset({of}) for run, of in undoes.items()})
    assert [one.since or one.last.run_id for one in found] == ([newest] if newest else [])


def test_a_run_and_those_that_it_went_on_with_are_one_unit() -> None:
    history = [Intent(place, run, "hubspot", "deals", "1", "amount", str(place), str(place + 1)) for place, run in enumerate(["a", "b"])]
    (one,) = standing(history, ["a", "b"], {})
    assert (one.first.before, one.last.after, one.since) == ("0", "2", None)


def test_an_approval_that_cannot_be_carried_out_says_what_it_left_out(at: Stage) -> None:
    wanted = [company("acme", "Overdue", "12", "7", owner_id="7"), company("blue"), company("core")]
    shown = planned(at, wanted)
    at.crm.records["companies"]["acme"]["days_overdue"] = "3"
    del at.crm.records["companies"]["blue"]
    now = [dataclasses.replace(wanted[0], hold_reason=None), wanted[1], company("core", "Overdue", "0", "9", owner_id="7")]
    result = apply_approved(shown, now, at.crms, at.journal, FREE, at.run("one", "apply"), now=at.now)
    said = {(hold.record_id, hold.field): hold.reason for hold in result.left_out}
    assert said.keys() == {("acme", "days_overdue"), ("blue", None), ("core", "financial_status"), ("core", "total_outstanding")}
    assert "a person filled it" in said["acme", "days_overdue"] and "not in the approved plan" in said["core", "total_outstanding"]
    assert len(result.plan.not_approved) == 3  # with the task of core, which nobody had asked for


# -- tasks ------------------------------------------------------------------------------------------------------------

OVERDUE, PAID = company("acme", "Overdue", "12", "1500", owner_id="7"), company("acme")


def lost(at: Stage, folder: Path) -> Stage:
    """The same CRM beside a journal that knows nothing."""
    folder.mkdir()
    return Stage(folder, at.crm)


def statuses(at: Stage) -> list[str]:
    return [task["status"] for task in at.crm.tasks.values()]


def test_a_lost_journal_finds_the_task_that_is_open(at: Stage, tmp_path: Path) -> None:
    night(at, "one", [OVERDUE])
    at = lost(at, tmp_path / "new")
    result = night(at, "two", [OVERDUE], leaving={})
    assert [task.action for task in result.plan.tasks] == ["adopt"] and statuses(at) == ["open"]
    (row,) = at.journal.open_tasks("hubspot")
    assert (row.key, row.task_id) == (task_key("hubspot", "acme", NIGHT), *at.crm.tasks)
    assert planned(at, [OVERDUE], leaving={}).tasks == ()
    assert [task.action for task in night(at, "three", [PAID], leaving={}).plan.tasks] == ["close"] and statuses(at) == ["completed"]


def test_a_task_of_an_earlier_episode_key_is_found_as_well(at: Stage, tmp_path: Path) -> None:
    night(at, "one", [OVERDUE])
    at = lost(at, tmp_path / "new")
    later = NIGHT.replace(month=7, day=20)
    plan = prepare_plan([OVERDUE], at.crms, at.journal, FREE, as_of=later, holder=at.holder("two"), now=at.now)
    assert [(task.action, task.key) for task in plan.tasks] == [("adopt", task_key("hubspot", "acme", NIGHT))]


def test_a_journal_that_was_put_back_finds_what_was_opened_since(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    at = stage(tmp_path)
    night(at, "one", [PAID])
    at.journal.close()
    shutil.copy(tmp_path / "journal.sqlite", tmp_path / "old" / "journal.sqlite")
    night(at, "two", [OVERDUE])
    at = Stage(tmp_path / "old", at.crm)
    assert [task.action for task in night(at, "three", [OVERDUE]).plan.tasks] == ["adopt"] and statuses(at) == ["open"]


def test_a_task_of_this_night_that_a_person_completed_is_theirs_also_for_a_lost_journal(at: Stage, tmp_path: Path) -> None:
    night(at, "one", [OVERDUE])
    at.crm.complete_task(*at.crm.tasks)
    at = lost(at, tmp_path / "new")
    night(at, "two", [OVERDUE], leaving={})
    assert statuses(at) == ["completed"]
    assert [task.action for task in night(at, "three", [PAID], leaving={}).plan.tasks] == ["end"]


def test_only_tasks_about_to_be_opened_are_looked_up(at: Stage) -> None:
    night(at, "one", [OVERDUE, company("blue"), company("core", "Overdue", hold_reason="stale")])
    assert at.crm.switch.moments.count("find tasks") == 1
    at.restart()
    night(at, "two", [OVERDUE, company("blue")])
    assert "find tasks" not in at.crm.switch.moments


def test_a_task_whose_account_left_is_closed(at: Stage) -> None:
    night(at, "one", [OVERDUE, company("blue")])
    assert planned(at, [company("blue")], leaving={}).tasks == ()
    held = planned(at, [company("blue")], leaving={"hubspot": Leaving("the last extract of hubspot failed")})
    assert held.tasks == () and ("task", "the last extract of hubspot failed") in {(hold.field, hold.reason) for hold in held.holds}
    restored = {"hubspot": Leaving(None, {"acme": "hubspot listed it as deleted, and has it"})}
    assert planned(at, [company("blue")], leaving=restored).tasks == ()
    del at.crm.records["companies"]["acme"]
    result = night(at, "two", [company("blue")], leaving=restored)
    assert [(task.action, task.subject) for task in result.plan.tasks] == [("close", "The account has left the models")]
    assert statuses(at) == ["completed"] and planned(at, [company("blue")]).size == 0


def test_tasks_that_were_switched_off_are_still_closed_but_not_opened(at: Stage) -> None:
    off = dataclasses.replace(FREE, overdue_tasks=False)
    night(at, "one", [OVERDUE])
    assert planned(at, [OVERDUE, company("blue", "Overdue")], off).tasks == ()
    night(at, "two", [PAID], off)
    assert statuses(at) == ["completed"]


@pytest.mark.parametrize(("gone", "fallback", "assigned"), [
    ({"7"}, "9", "9"), ({"7", "9"}, "9", None), ({"7"}, None, None), (set(), "9", "7"),
])  # fmt: skip
def test_a_task_whose_owner_is_refused_goes_to_the_next_and_is_not_refused_every_night(
        at: Stage, gone: set[str], fallback: str | None, assigned: str | None) -> None:
    at.crm.gone_owners = gone
    policy = dataclasses.replace(FREE, task_owners={"hubspot": fallback} if fallback else {})
    result = night(at, "one", [OVERDUE], policy)
    assert result.status == "complete"
    (task,) = at.crm.tasks.values()
    body = task["request"].body
    assert task["request"].owner_id == assigned and task_marker(task_key("hubspot", "acme", NIGHT)) in body
    assert (NOT_ASSIGNED in body) is (assigned != "7")
    assert planned(at, [OVERDUE], policy).tasks == ()


def test_an_account_whose_owner_left_goes_to_the_configured_one(at: Stage) -> None:
    policy = dataclasses.replace(FREE, task_owners={"hubspot": "9"})
    night(at, "one", [dataclasses.replace(OVERDUE, owner_id=None)], policy)
    (task,) = at.crm.tasks.values()
    assert task["request"].owner_id == "9" and "so the configured owner of such tasks is assigned" in task["request"].body


def test_a_task_that_no_owner_makes_welcome_is_rejected_with_the_crms_words(at: Stage) -> None:
    at.crm.gone_owners = {"7", None}
    result = night(at, "one", [OVERDUE])
    assert [one.message for one in result.problems] == ["owner None is inactive"] and at.crm.tasks == {}


def test_who_gets_such_tasks_is_configured_for_each_crm(tmp_path: Path) -> None:
    path = tmp_path / "crossfoot.toml"
    path.write_text('profile = "sandbox"\n[vendors]\ncrms = ["hubspot", "salesforce"]\n[hubspot]\ntask_owner_id = "9"\n', encoding="utf-8")
    chosen = settings.load(VENDORS, config=path, data_dir=tmp_path)
    assert Night(chosen, NIGHT, START, lambda: START).policy.task_owners == {"hubspot": "9"}


# -- setup-crm --------------------------------------------------------------------------------------------------------


def test_a_crm_that_setup_cannot_bring_in_order_does_not_keep_the_next_from_it() -> None:
    first, second = (FakeCrm({"companies": {}, "deals": {}}) for _ in range(2))
    wrong = Deviation(SMALL[0], "property a", "is calculated", "archive it", refuses=None)
    lacking = Deviation(SMALL[1], "property b", "lacks the options x", "run setup", repairable=True)
    first.deviations, second.deviations = {"companies": [wrong, lacking]}, {"companies": [lacking]}
    crms = {"hubspot": first, "other": second}
    assert setup.by_hand(crms) == ["hubspot: property a is calculated; archive it"]
    assert setup.create_all(crms) == ["hubspot: property a is calculated; archive it"]
    assert (first.deviations, second.deviations) == ({"companies": [wrong]}, {"companies": []})
