"""Salesforce as a CRM to write to, over HTTP against the sandbox, and recorded exchanges."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from fake_crm import FakeCrm
from salesforce_crm_fixture import FIELDS, RECORDED, Org, live, number, scripted, update
from sandbox_fixture import running_sandbox

from pipelines.http import BudgetSpent
from pipelines.sandbox.world import make_world
from pipelines.vendors.crm_types import (
    BatchRefused,
    FieldsMissing,
    Outcome,
    OutcomeUnknown,
    RecordUpdate,
    TaskRequest,
    task_marker,
)
from pipelines.vendors.salesforce import crm_metadata as metadata
from pipelines.vendors.salesforce.crm import COLLECTIONS, DATA
from pipelines.vendors.salesforce.sandbox import Sandbox
from pipelines.writeback import setup
from pipelines.writeback.apply import apply_plan
from pipelines.writeback.journal import Holder, Journal, Run
from pipelines.writeback.live import prepare_plan
from pipelines.writeback.plan import DesiredRecord, WritebackPolicy
from pipelines.writeback.rollback import rollback

# -- over HTTP, against the sandbox


@pytest.fixture
def bare():
    """An org without Crossfoot's fields."""
    with running_sandbox(make_world(7, 30), vendors={"salesforce": Sandbox}, crms=["salesforce"], rate_limits=False) as url:
        yield Org(url)


@pytest.fixture
def org(bare):
    setup.create(bare.crm)
    return bare


def test_setup_shows_and_creates_the_fields_and_is_harmless_when_run_again(bare):
    assert {name: len(fields) for name, fields in setup.missing(bare.crm).items()} == {"accounts": 15, "opportunities": 7}
    account = live(bare, "Account")[0]
    there = bare.read("accounts", [account])[account]
    assert {name for name, value in there.items() if value is not None} == {"customer_ids"}  # this one people made themselves
    made = setup.create(bare.crm)
    assert setup.missing(bare.crm) == {}
    bare.crm.update("accounts", [update(account, days_overdue="9")])
    assert bare.read("accounts", [account])[account]["days_overdue"] == "9"
    before = bare.rows("SELECT Id FROM FieldPermissions")
    assert setup.create(bare.crm) == {}
    for name, fields in made.items():
        bare.crm.create_fields(name, fields)
    assert bare.rows("SELECT Id FROM FieldPermissions") == before and len(before) == 22
    assert len(bare.rows("SELECT Id FROM PermissionSet")) == len(bare.rows("SELECT Id FROM PermissionSetAssignment")) == 1


def test_setup_can_write_the_package_of_what_is_missing_and_creates_nothing(bare, tmp_path):
    paths = setup.package(bare.crm, tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in paths} == {
        "package.xml", "objects/Account.object", "objects/Opportunity.object", "permissionsets/Crossfoot.permissionset"}
    assert "Crossfoot_Days_Overdue__c" in (tmp_path / "objects" / "Account.object").read_text()
    assert setup.missing(bare.crm).keys() == {"accounts", "opportunities"}
    setup.create(bare.crm)
    assert setup.package(bare.crm, tmp_path / "again") == [] and not (tmp_path / "again").exists()
    with pytest.raises(setup.NoPackage, match="hubspot: its fields are created over its API only"):
        setup.package(FakeCrm({}), tmp_path)


def test_a_field_that_exists_and_is_invisible_is_only_opened(bare):
    days = FIELDS["days_overdue"]
    bare.api.post(f"{DATA}/tooling/sobjects/CustomField", json=metadata.tooling_body("accounts", days))
    assert days in [one.field for one in bare.crm.missing_fields("accounts")]
    bare.crm.create_fields("accounts", [days])
    assert days not in [one.field for one in bare.crm.missing_fields("accounts")]


def test_a_field_of_another_type_is_named_once_it_can_be_seen(bare):
    body = metadata.tooling_body("accounts", FIELDS["days_overdue"])
    body["Metadata"] = {"label": "Days Overdue", "type": "Text", "length": 20}
    bare.api.post(f"{DATA}/tooling/sobjects/CustomField", json=body)
    with pytest.raises(FieldsMissing, match="Account.Crossfoot_Days_Overdue__c is of type 'string', not 'double'"):
        setup.create(bare.crm)


ACCOUNT_VALUES = {
    "financial_status": "Credit Hold", "days_overdue": "41", "total_outstanding": "1234567890123.45", "overdue_amount": "0.1",
    "overdue_invoices": "0", "unapplied_credit": "-12.5", "last_invoice_date": "2026-03-31", "last_invoice_amount": "99999.99",
    "last_invoice_status": "Partially Paid", "last_payment_date": None, "credit_status": "Credit Note Open",
    "invoiced_to_date": "1200", "collected_to_date": "0", "average_days_to_pay": "33.3", "customer_ids": "+books:58",
    "financials_as_of": "2026-06-30T02:00:00Z",
}
DEAL_VALUES = {
    "reconciliation_status": "Review", "variance_cause": "O'Neill \\ \"quoted\" <b>", "contracted_amount": "1500",
    "invoiced_amount": "0.01", "collected_amount": None, "variance_amount": "-1499.99", "financials_as_of": "2026-06-30T02:00:00Z",
}


@pytest.mark.parametrize(("object", "values"), [("accounts", ACCOUNT_VALUES), ("opportunities", DEAL_VALUES)])
def test_every_value_reads_back_as_it_was_written_and_is_cleared(org, object, values):
    id = live(org, metadata.SOBJECTS[object])[0]
    assert org.crm.update(object, [RecordUpdate(id, values)]) == [Outcome(id, "written")]
    assert org.read(object, [id]) == {id: values}
    empty = dict.fromkeys(values)
    assert org.crm.update(object, [RecordUpdate(id[:15], empty)]) == [Outcome(id[:15], "written")]
    assert org.read(object, [id[:15]]) == {id[:15]: empty}


def test_deleted_and_merged_records_are_absent_and_refused_alone(org):
    first, second, third = live(org, "Account")[:3]
    org.api.delete(f"{DATA}/sobjects/Account/{second}")
    assert set(org.read("accounts", [first, second, third, number(999_999_999)])) == {first, third}
    outcomes = org.crm.update("accounts", [update(first), update(second), update(third), update(number(999_999_999))])
    assert [one.status for one in outcomes] == ["written", "rejected", "written", "rejected"]
    assert "ENTITY_IS_DELETED" in outcomes[1].message


def test_a_rejected_value_leaves_the_others_written(org):
    first, second = live(org, "Account")[:2]
    outcomes = org.crm.update("accounts", [update(first, financial_status="Gone"), update(second, financial_status="Overdue")])
    assert [one.status for one in outcomes] == ["rejected", "written"]
    assert "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST" in outcomes[0].message


def test_two_hundred_records_take_one_call_to_read_and_one_to_write(org):
    ids = live(org, "Account")[:30] + [number(500_000 + count) for count in range(170)]
    before = org.api.calls.total()
    assert len(org.read("accounts", ids)) == 30
    assert len(org.crm.update("accounts", [update(id) for id in ids])) == 200
    assert org.api.calls.total() == before + 2


def test_locked_records_are_written_in_the_end(org):
    ids = live(org, "Account")[:3]
    org.fault("numerrors", match="composite/sobjects", method="PATCH", ids=[ids[1]], times=2)
    assert [one.status for one in org.crm.update("accounts", [update(id, days_overdue="9") for id in ids])] == ["written"] * 3
    assert [values["days_overdue"] for values in org.read("accounts", ids).values()] == ["9"] * 3
    assert org.waits == [1, 2]


@pytest.mark.parametrize(("kind", "value"), [("reset", None), ("reset_after", "9"), ("500", None)])
def test_a_lost_write_is_unknown_until_it_is_read(org, kind, value):
    id = live(org, "Account")[0]
    org.fault(kind, match="composite/sobjects", method="PATCH")
    with pytest.raises(OutcomeUnknown):
        org.crm.update("accounts", [update(id, days_overdue="9")])
    assert org.read("accounts", [id])[id]["days_overdue"] == value


def test_when_the_orgs_calls_are_used_up_nothing_is_written(org):
    id = live(org, "Account")[0]
    org.fault("429", match="composite/sobjects", method="PATCH")
    with pytest.raises(BudgetSpent):
        org.crm.update("accounts", [update(id, days_overdue="9")])
    assert org.read("accounts", [id])[id]["days_overdue"] is None


def test_a_field_that_went_away_stops_everything(org):
    id = live(org, "Account")[0]
    soql = "SELECT Id FROM CustomField WHERE TableEnumOrId = 'Account' AND DeveloperName = 'Crossfoot_Days_Overdue'"
    (field,) = org.api.get(f"{DATA}/tooling/query", params={"q": soql}).json["records"]
    org.api.delete(f"{DATA}/tooling/sobjects/CustomField/{field['Id']}")
    with pytest.raises(FieldsMissing, match="No such column 'Crossfoot_Days_Overdue__c'.*run crossfoot setup-crm"):
        org.crm.update("accounts", [update(id)])
    assert org.read("accounts", [id])[id]["days_overdue"] is None


def test_a_field_that_may_only_be_read_is_refused_alone_and_opened_again(org):
    id = live(org, "Account")[0]
    (permission,) = org.rows("SELECT Id FROM FieldPermissions WHERE Field = 'Account.Crossfoot_Days_Overdue__c'")
    org.api.patch(f"{DATA}/sobjects/FieldPermissions/{permission['Id']}", json={"PermissionsEdit": False})
    (outcome,) = org.crm.update("accounts", [update(id, days_overdue="3", total_outstanding="5")])
    assert (outcome.status, outcome.fields) == ("rejected", {"days_overdue"})
    assert setup.create(org.crm) == {"accounts": [FIELDS["days_overdue"]]}
    assert org.crm.update("accounts", [update(id)]) == [Outcome(id, "written")]


def test_the_life_of_a_task(org):
    account, owner = live(org, "Account")[0], live(org, "User")[0]
    asked = TaskRequest("k1", account, owner, "Overdue: O'Neill", "12 < 13\n" + task_marker("k1"), datetime(2026, 7, 1, 9, 0, tzinfo=UTC))
    assert org.crm.find_task(account, "k1") is None
    task = org.crm.create_task(asked)
    (row,) = org.rows(f"SELECT Subject, OwnerId, Status, Priority, ActivityDate FROM Task WHERE Id = '{task}'")
    assert [row[name] for name in ("Subject", "OwnerId", "Status", "Priority", "ActivityDate")] == [
        "Overdue: O'Neill", owner, "Not Started", "High", "2026-07-01",
    ]
    assert (org.crm.find_task(account, "k1"), org.crm.find_task(account[:15], "k1"), org.crm.find_task(account, "k2")) == (task, task, None)
    assert org.crm.task_status(task) == "open"
    org.crm.complete_task(task)
    assert (org.crm.task_status(task), org.crm.find_task(account, "k1")) == ("completed", task)
    org.crm.reopen_task(task)
    assert org.crm.task_status(task) == "open"
    org.crm.delete_task(task)
    org.crm.delete_task(task)
    assert (org.crm.task_status(task), org.crm.find_task(account, "k1")) == (None, None)
    with pytest.raises(BatchRefused):
        org.crm.complete_task(task)


def test_a_task_of_somebody_unknown_is_refused(org):
    account = live(org, "Account")[0]
    with pytest.raises(BatchRefused, match="INVALID_CROSS_REFERENCE_KEY"):
        org.crm.create_task(TaskRequest("k1", account, "005999999999999AAA", "s", "b", datetime(2026, 7, 1, tzinfo=UTC)))


def test_a_task_whose_answer_was_lost_is_found(org):
    account = live(org, "Account")[0]
    org.fault("reset_after", match="composite/sobjects", method="POST")
    body = "lost\n" + task_marker("k1")
    with pytest.raises(OutcomeUnknown):
        org.crm.create_task(TaskRequest("k1", account, None, "s", body, datetime(2026, 7, 1, tzinfo=UTC)))
    assert org.crm.task_status(org.crm.find_task(account, "k1")) == "open"


def test_a_night_is_planned_applied_and_taken_back(org, tmp_path):
    night, now, holder = date(2026, 6, 30), datetime(2026, 6, 30, 22, tzinfo=UTC), Holder("one")
    journal, crms, free = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}"), {"salesforce": org.crm}, WritebackPolicy("apply", Decimal(1))
    accounts, deals, owner = live(org, "Account")[:3], live(org, "Opportunity")[:2], live(org, "User")[0]
    before = org.read("accounts", accounts)
    desired = [DesiredRecord("salesforce", "accounts", id, ACCOUNT_VALUES, account_id=id, owner_id=owner) for id in accounts]
    desired += [DesiredRecord("salesforce", "opportunities", id, DEAL_VALUES, account_id=accounts[0]) for id in deals]

    def plan():
        return prepare_plan(desired, crms, journal, free, as_of=night, holder=holder, now=lambda: now)

    org.fault("reset_after", match="composite/sobjects", method="PATCH")
    result = apply_plan(plan(), crms, journal, Run("one", "nightly", night, now), now=lambda: now, holder=holder)
    assert (result.status, result.written) == ("complete", 3 * 15 + 2 * 6 + 3)
    assert {one["customer_ids"] for one in org.read("accounts", accounts).values()} == {
        "; ".join(filter(None, (one["customer_ids"], "books:58"))) for one in before.values()}
    assert plan().size == 0
    assert len({row["Id"] for row in org.rows("SELECT Id FROM Task")}) == 3
    undone = rollback(crms, journal, free, Run("two", "rollback", night, now, rollback_of="one"), now=lambda: now, holder=Holder("two"))
    assert (undone.status, undone.written) == ("complete", result.written)
    assert org.read("accounts", accounts) == before
    assert org.rows("SELECT Id FROM Task") == []
    journal.close()


# -- recorded exchanges


def test_recorded_updates_are_asked_for_alike_and_understood():
    if not RECORDED.is_dir():
        pytest.skip("the recorded exchanges are not beside the repository")
    seen: Counter[str] = Counter()
    for file in sorted(RECORDED.glob("export-*.json")):
        for exchange in json.loads(file.read_text(), parse_float=Decimal):
            if exchange["path"].endswith("/composite/sobjects") and exchange["method"] in ("PATCH", "POST"):
                seen.update(_replayed(exchange))
    assert seen["saved"] > 40
    assert {"INVALID_EMAIL_ADDRESS", "REQUIRED_FIELD_MISSING", "CANNOT_UPDATE_CONVERTED_LEAD"} <= seen.keys()


def _replayed(exchange):
    """The codes of the refused records; the recorded request goes through the client's own way of sending."""
    crm, api = scripted((exchange["status"], exchange["response"]))
    records = exchange["body"]["records"]
    results = crm._save(api.patch if exchange["method"] == "PATCH" else api.post, records)
    assert api.calls[0][2] == exchange["body"] and exchange["path"].endswith(COLLECTIONS.rpartition("v68.0")[2])
    assert [result.refused for result in results] == [not item["success"] for item in exchange["response"]]
    for record, result, item in zip(records, results, exchange["response"], strict=True):
        assert result.refused or result.id == record.get("id", item["id"])
        yield from result.codes or ["saved"]


def test_a_recorded_account_update_has_our_shape():
    if not RECORDED.is_dir():
        pytest.skip("the recorded exchanges are not beside the repository")
    exchanges = json.loads((RECORDED / "export-account__export-records-additive.json").read_text())
    exchange = next(one for one in exchanges if one["method"] == "PATCH" and "badone" in str(one["body"]))
    ids = [record["id"] for record in exchange["body"]["records"]]
    crm, api = scripted(exchange["response"])
    outcomes = crm.update("accounts", [update(id) for id in ids])
    assert outcomes == [
        Outcome(ids[0], "written"),
        Outcome(ids[1], "rejected", "email_field: invalid email address: badone (INVALID_EMAIL_ADDRESS)"),
    ]
    ours, theirs = api.calls[0][2], exchange["body"]
    assert ours.keys() == theirs.keys() and ours["allOrNone"] is theirs["allOrNone"]
    assert [(one["id"], one["attributes"]) for one in ours["records"]] == [(one["id"], one["attributes"]) for one in theirs["records"]]
