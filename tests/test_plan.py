"""Stories of the plan: what is changed, what is held back and why, and what is blocked."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from fake_crm import FREE, SMALL, company

from pipelines.vendors.crm_types import ACCOUNT_FIELDS, DEAL_FIELDS, IDS_LENGTH, canonical, merged_ids, same, to_text
from pipelines.writeback.desired import desired_from_row
from pipelines.writeback.plan import Hold, WritebackPolicy, make_plan, restricted
from pipelines.writeback.plan_files import (
    PlanFileError,
    load_plan,
    plan_document,
    plan_from_document,
    save_plan,
    to_table,
)

EMPTY = {field.name: None for field in SMALL}
FIELDS = {("hubspot", "companies"): SMALL}


def plan_of(desired, current=None, last_written=None, policy=FREE, **more):
    live = {record.key: EMPTY | (current or {}).get(record.record_id, {}) for record in desired}
    written = {("hubspot", "companies", *key): value for key, value in (last_written or {}).items()}
    return make_plan(desired, live, written, FIELDS, policy, **more)


def changed(plan):
    return {(change.record_id, change.field): (change.before, change.after) for change in plan.changes}


def reasons(plan):
    return {(hold.record_id, hold.field): hold.reason for hold in plan.holds}


def test_an_empty_record_is_filled_and_says_since_when():
    plan = plan_of([company("acme", "Overdue", "12", "1500")])
    assert changed(plan) == {
        ("acme", "financial_status"): (None, "Overdue"),
        ("acme", "days_overdue"): (None, "12"),
        ("acme", "total_outstanding"): (None, "1500"),
        ("acme", "financials_as_of"): (None, "2026-06-30T20:00:00Z"),
    }
    assert not plan.holds and not plan.blocks


def test_a_quiet_night_has_an_empty_plan_although_the_time_moved_on():
    there = {"financial_status": "Current", "days_overdue": "0", "total_outstanding": "0", "financials_as_of": "2026-06-01T00:00:00Z"}
    plan = plan_of([company("acme")], {"acme": there})
    assert plan.size == 0 and not plan.holds


@pytest.mark.parametrize(
    ("type", "left", "right", "equal"),
    [
        ("money", "1500", "1500.00", True),
        ("money", "1E+3", "1000", True),
        ("money", "-0.00", "0", True),
        ("money", "0.1", "0.10000000000000000000000000001", False),
        ("integer", "3", "3.0", True),
        ("date", "2026-03-31", "2026-03-31", True),
        ("datetime", "2026-03-31T02:00:00Z", "2026-03-31T04:00:00.000+02:00", True),
        ("datetime", "2026-03-31T02:00:00Z", "2026-03-31T02:00:01Z", False),
        ("text", "a", "A", False),
        ("ids", "quickbooks:58; xero:a", "Xero: a;quickbooks:58;", True),
        ("ids", "quickbooks:58", "quickbooks:58; quickbooks:60", False),
        ("money", "about 5", "about 5", True),
        ("money", None, "0", False),
        ("money", None, None, True),
    ],
)
def test_values_are_compared_by_what_they_mean(type, left, right, equal):
    assert same(type, left, right) is equal


def test_warehouse_values_become_canonical_text():
    assert to_text("money", Decimal("1500.000000")) == "1500"
    assert to_text("money", Decimal("9999999999999999999999.999999")) == "9999999999999999999999.999999"
    assert to_text("number", Decimal("12.50")) == "12.5"
    assert to_text("integer", 3) == "3"
    assert to_text("date", date(2026, 3, 31)) == "2026-03-31"
    assert to_text("datetime", datetime(2026, 3, 31, 2, 0, 0, 123999, tzinfo=UTC)) == "2026-03-31T02:00:00.123Z"
    assert to_text("enumeration", "Overdue") == "Overdue"
    assert to_text("money", None) is None


@pytest.mark.parametrize(
    ("type", "value"),
    [("money", 1.5), ("money", True), ("integer", Decimal("1.5")), ("date", datetime(2026, 1, 1, tzinfo=UTC)),
     ("datetime", datetime(2026, 1, 1)), ("money", Decimal("NaN")), ("money", "abc")],  # noqa: DTZ001
)
def test_values_of_another_kind_are_refused(type, value):
    with pytest.raises(ValueError):
        to_text(type, value)


def test_an_activation_row_becomes_a_desired_record():
    row = {field.name: None for field in DEAL_FIELDS} | {
        "record_id": "77", "account_id": "5", "hold_reason": None, "sources": "quickbooks",
        "reconciliation_status": "Matched", "invoiced_amount": Decimal("10.500000"),
    }
    record = desired_from_row("hubspot", "deals", DEAL_FIELDS, row)
    assert record.values["invoiced_amount"] == "10.5" and record.account == "" and record.key == ("hubspot", "deals", "77")


def test_a_status_that_nobody_enumerated_is_named():
    row = {field.name: None for field in ACCOUNT_FIELDS}
    row |= {"record_id": "5", "account_id": "5", "hold_reason": None, "sources": "", "financial_status": "Frozen"}
    with pytest.raises(ValueError, match="companies 5, financial_status: 'Frozen' is none of"):
        desired_from_row("hubspot", "companies", ACCOUNT_FIELDS, row)


def test_an_account_with_doubtful_numbers_is_held_back_with_its_reason():
    plan = plan_of([company("acme", "Overdue", hold_reason="quickbooks was last heard 40 hours ago")])
    assert plan.size == 0
    assert reasons(plan)["acme", "financial_status"] == "quickbooks was last heard 40 hours ago"


def test_a_persons_edit_is_held_back_and_named():
    plan = plan_of([company("acme", "Overdue")], {"acme": {"financial_status": "Current"}}, {("acme", "financial_status"): "No Invoices"})
    assert ("acme", "financial_status") not in changed(plan)
    assert "a person changed it: it is 'Current', and Crossfoot last wrote 'No Invoices'" in reasons(plan)["acme", "financial_status"]
    assert ("acme", "days_overdue") in changed(plan)  # the other fields are nobody's edit


def test_a_field_that_a_person_emptied_is_a_persons_edit_too():
    plan = plan_of([company("acme", "Overdue")], {}, {("acme", "financial_status"): "Overdue"})
    assert "it is None" in reasons(plan)["acme", "financial_status"]


def test_a_filled_field_that_we_never_wrote_belongs_to_a_person():
    plan = plan_of([company("acme", total="5")], {"acme": {"total_outstanding": "7"}})
    assert "never written by Crossfoot" in reasons(plan)["acme", "total_outstanding"]


@pytest.mark.parametrize("name", ["financial_status", "companies.financial_status"])
def test_with_the_policy_ours_a_persons_edit_is_overwritten(name):
    policy = dataclasses.replace(FREE, field_policies={name: "ours"})
    plan = plan_of([company("acme", "Overdue")], {"acme": {"financial_status": "Current"}}, policy=policy)
    assert changed(plan)["acme", "financial_status"] == ("Current", "Overdue")


def test_our_own_value_is_overwritten_even_when_the_crm_spells_it_otherwise():
    plan = plan_of([company("acme", total="5")], {"acme": {"total_outstanding": "7.00"}}, {("acme", "total_outstanding"): "7"})
    assert changed(plan)["acme", "total_outstanding"] == ("7.00", "5")


@pytest.mark.parametrize(
    ("live", "wished", "merged"),
    [
        (None, None, None),
        (" 7 ;;books:8", None, " 7 ;;books:8"),
        (None, "+books:58", "books:58"),
        ("other:1; 7", "+books:58; +other:2", "other:1; 7; books:58; other:2"),
        ("Books: 58 ;x", "+books:58", "Books: 58 ;x"),
        ("58", "+books:58", "58"),
        ("58", "+other:58", "58; other:58"),
        ("58; books:60; other:58", "-books:58", "books:60; other:58"),
        ("books:58", "-books:58", None),
        ("books:58", "-books:58; +books:60", "books:60"),
        ("books:60", "-books:58", "books:60"),
        (None, "-books:58", None),
    ],
)
def test_ids_are_merged_with_what_people_stored(live, wished, merged):
    assert merged_ids(live, wished, "books") == merged
    assert merged_ids(merged, wished, "books") == merged  # once done, nothing is left to do


def test_an_id_without_a_ledger_means_none_where_there_are_several():
    assert merged_ids("58", "+books:58") == "58; books:58"
    assert merged_ids("58; books:58", "-books:58") == "58"
    with pytest.raises(ValueError, match="'books:58' says neither"):
        merged_ids(None, "books:58")


def ids_plan(live, wished, ours=None, policy=FREE, **more):
    """A plan for one account whose ids hold `live`, where the model wishes for `wished` and Crossfoot last wrote `ours`."""
    record = company("acme", **more)
    record = dataclasses.replace(record, values={**record.values, "customer_ids": wished})
    current = {record.key: {**record.values, "customer_ids": live}}
    written = {} if ours is None else {(*record.key, "customer_ids"): ours}
    return make_plan([record], current, written, {("hubspot", "companies"): (*SMALL, IDS)}, policy)


IDS = next(field for field in ACCOUNT_FIELDS if field.type == "ids")


def test_a_confirmed_id_joins_those_that_people_stored_and_only_once():
    without, along = "person:1", "person:1; books:58"
    assert changed(ids_plan(without, "+books:58")) == {("acme", "customer_ids"): (without, along)}
    assert changed(ids_plan(along, "-books:58", along)) == {("acme", "customer_ids"): (along, without)}
    for quiet in (ids_plan("books:58", "+books:58"), ids_plan("person:1", None), ids_plan("person:1", "-books:58", "books:58")):
        assert quiet.size == 0 and quiet.holds == ()
    one_ledger = dataclasses.replace(FREE, ledger="books")
    assert ids_plan("58", "+books:58", policy=one_ledger).size == 0


def test_an_id_that_a_person_took_out_is_not_put_back():
    plan = ids_plan("person:1", "+books:58", "person:1; books:58")
    assert plan.size == 0 and "a person took out books:58, which Crossfoot had written" in reasons(plan)["acme", "customer_ids"]
    assert ids_plan("person:1; books:9", "+books:60", "person:1; books:58").size == 1  # what is wished for was never written
    ours = dataclasses.replace(FREE, field_policies={"customer_ids": "ours"})
    assert ids_plan("person:1", "+books:58", "person:1; books:58", ours).size == 1


def test_ids_of_a_doubtful_account_and_more_than_a_field_keeps_are_held_back():
    assert reasons(ids_plan(None, "+books:58", hold_reason="stale"))["acme", "customer_ids"] == "stale"
    full = "x" * IDS_LENGTH
    assert "it would be 265 characters long" in reasons(ids_plan(full, "+books:58"))["acme", "customer_ids"]


def test_null_clears_the_field_unless_its_policy_keeps_it():
    there, ours = {"acme": {"days_overdue": "3"}}, {("acme", "days_overdue"): "3"}
    assert changed(plan_of([company("acme", days=None)], there, ours))["acme", "days_overdue"] == ("3", None)
    keep = dataclasses.replace(FREE, null_policies={"days_overdue": "keep"})
    plan = plan_of([company("acme", days=None)], there, ours, policy=keep)
    assert "null policy" in reasons(plan)["acme", "days_overdue"]


def test_the_time_does_not_ride_alone_when_everything_else_is_held():
    there = {"financial_status": "Overdue", "days_overdue": "0", "total_outstanding": "0"}
    plan = plan_of([company("acme", "Current")], {"acme": there})
    assert plan.size == 0 and list(reasons(plan)) == [("acme", "financial_status")]


def test_a_record_that_was_deleted_in_mid_run_is_held_back():
    plan = make_plan([company("gone")], {}, {}, FIELDS, FREE)
    assert [(hold.record_id, hold.field, hold.reason) for hold in plan.holds] == [
        ("gone", None, "the record no longer exists in the CRM")
    ]


def test_a_record_wanted_twice_is_refused():
    with pytest.raises(ValueError, match="hubspot companies acme is wanted twice"):
        plan_of([company("acme"), company("acme")])


def test_more_than_the_allowed_share_blocks_the_plan():
    policy = WritebackPolicy(max_change_share=Decimal("0.3"))
    ids = [f"c{n:02}" for n in range(10)]
    quiet = {"financial_status": "Current", "days_overdue": "0", "total_outstanding": "0"}

    def night(count):
        return plan_of([company(id, total="9" if n < count else "0") for n, id in enumerate(ids)],
                       {id: dict(quiet) for id in ids}, {(id, "total_outstanding"): "0" for id in ids}, policy)

    assert night(3).blocks == ()
    assert night(4).blocks[0].startswith("4 of 10 hubspot companies would change (40 %), more than the allowed 30 %")


def test_a_share_of_very_few_records_means_nothing():
    assert plan_of([company("acme")], policy=WritebackPolicy(max_change_share=Decimal("0.1"))).blocks == ()


def test_a_plan_beyond_its_size_is_blocked():
    policy = dataclasses.replace(FREE, max_changes=3)
    assert "more than the limit of 3" in plan_of([company("acme")], policy=policy).blocks[0]


def test_what_the_guard_found_blocks_the_plan():
    assert plan_of([company("acme")], guard_blocks=["quickbooks invoices shrank from 90 to 4"]).blocks == (
        "quickbooks invoices shrank from 90 to 4",
    )


def test_the_order_of_the_rows_and_the_day_do_not_change_the_id():
    one, two = company("acme"), company("blue", "Overdue")
    assert plan_of([one, two], as_of="2026-06-30").id == plan_of([two, one], as_of="2026-07-01").id
    assert plan_of([one]).id != plan_of([two]).id
    assert len(plan_of([one]).id) == 16


def test_a_hold_is_part_of_the_id():
    assert plan_of([company("acme", hold_reason="stale")]).id != plan_of([]).id


def test_a_saved_plan_comes_back_as_it_was(tmp_path):
    plan = plan_of([company("acme", "Overdue"), company("שלום", hold_reason="=HYPERLINK(\"x\") 'quoted' 🧾")])
    path = save_plan(plan, tmp_path / "plans")
    assert path.name == f"{plan.id}.json" and load_plan(path) == plan
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert plan_from_document(json.loads(json.dumps(plan_document(plan)))) == plan


@pytest.mark.parametrize("edit", [("Overdue", "Current"), ("stale and", "fresh and"), ('"acme"', '"blue"')])
def test_an_edited_plan_is_refused_by_name(tmp_path, edit):
    path = save_plan(plan_of([company("acme", "Overdue")], guard_blocks=["stale and old"]), tmp_path)
    path.write_text(path.read_text().replace(*edit))
    with pytest.raises(PlanFileError, match=f"{path.name} was edited"):
        load_plan(path)


def test_a_plan_under_another_name_or_none_at_all_is_refused(tmp_path):
    path = save_plan(plan_of([company("acme")]), tmp_path)
    other = path.rename(tmp_path / "0123456789abcdef.json")
    with pytest.raises(PlanFileError, match="holds plan"):
        load_plan(other)
    with pytest.raises(PlanFileError, match="does not exist"):
        load_plan(path)
    other.write_text("{")
    with pytest.raises(PlanFileError, match="is no plan"):
        load_plan(other)


def test_an_approval_is_a_ceiling_for_the_plan_that_was_shown():
    shown = plan_of([company("acme", total="5"), company("blue", total="6")])
    now = plan_of([company("acme", total="5"), company("blue", total="7"), company("core")], {"acme": {"days_overdue": "0"}})
    plan = restricted(now, shown, FREE)
    assert changed(plan) == {
        ("acme", "financial_status"): (None, "Current"),
        ("acme", "total_outstanding"): (None, "5"),
        ("acme", "financials_as_of"): (None, "2026-06-30T20:00:00Z"),
        ("blue", "financial_status"): (None, "Current"),
        ("blue", "days_overdue"): (None, "0"),
        ("blue", "financials_as_of"): (None, "2026-06-30T20:00:00Z"),
    }
    left = {(hold.record_id, hold.field) for hold in plan.not_approved}
    assert ("blue", "total_outstanding") in left and len([one for one in left if one[0] == "core"]) == 4


def test_an_approved_value_is_not_written_over_another_one():
    shown = plan_of([company("acme", total="5")])
    now = plan_of([company("acme", total="5")], {"acme": {"total_outstanding": "3"}}, {("acme", "total_outstanding"): "3"})
    assert ("acme", "total_outstanding") not in changed(restricted(now, shown, FREE))


def test_the_time_does_not_ride_alone_when_nothing_else_was_approved():
    quiet = {"financial_status": "Current", "days_overdue": "0", "total_outstanding": "0"}
    ours = {("acme", name): value for name, value in quiet.items()}
    shown = plan_of([company("acme", total="5")], {"acme": quiet}, ours)
    now = plan_of([company("acme", total="6")], {"acme": quiet}, ours)
    plan = restricted(now, shown, FREE)
    assert plan.changes == () and len(plan.not_approved) == 2


def test_an_approval_lifts_the_share_but_no_guard():
    policy = WritebackPolicy(max_change_share=Decimal("0.1"))
    desired = [company(f"c{n:02}") for n in range(10)]
    shown = plan_of(desired, policy=policy)
    assert shown.blocks and not restricted(shown, shown, policy).blocks
    guarded = plan_of(desired, policy=policy, guard_blocks=["dbt test failed"])
    assert restricted(guarded, shown, policy).blocks == ("dbt test failed",)


def test_the_table_shows_changes_and_holds():
    rows = to_table(plan_of([company("acme", total="5"), company("blue", hold_reason="stale")]))
    assert {row["what"] for row in rows} == {"change", "held back"}
    first = next(row for row in rows if row["field"] == "total_outstanding" and row["what"] == "change")
    assert (first["account"], first["before"], first["after"]) == ("Company acme", None, "5")


def test_every_field_has_a_label_and_a_canonical_type():
    assert len({field.label for field in ACCOUNT_FIELDS}) == len(ACCOUNT_FIELDS) == 16
    assert canonical("money", "12.50") == "12.5"
    assert Hold("hubspot", "companies", "1", None, None, None, "x").account == ""
