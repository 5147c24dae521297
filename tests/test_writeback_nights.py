"""Nights after which records leave the models, through the vendor, the warehouse and the models: what was written there goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from night_fixture import OBJECTS, House, Told, command_here, first_night, house

from pipelines import settings
from pipelines.vendors.hubspot import VERSION
from pipelines.vendors.hubspot import sandbox as hubspot
from pipelines.vendors.quickbooks import sandbox as quickbooks

OVERDUE = "Late Larch Lumber"
ONE_OPTION = [{"label": "None", "value": "None", "hidden": False}]


@dataclass(frozen=True)
class Left:
    """A first night that wrote, what then happened in the CRM, and the two nights after it."""

    at: House
    deals: list[str]  # reopened, lost, archived
    company: str  # overdue, with a task, and archived
    owner: str  # who has left
    owned: set[str]
    first: Told
    second: Told
    third: Told
    values: dict[str, dict[str, str | None]]
    tasks: dict[str, str]


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    made: list[hubspot.Sandbox] = []

    class Customers(hubspot.Sandbox):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            made.append(self)

    vendors = {"hubspot": Customers, "quickbooks": quickbooks.Sandbox}
    with house(tmp_path_factory.mktemp("left"), data=first_night(tmp_path_factory), vendors=vendors) as at:
        first = at.write(at.built_night())
        rows = at.rows("SELECT record_id, owner_id, account_name FROM activation.sync_hubspot__companies ORDER BY 1")
        company = next(row["record_id"] for row in rows if row["account_name"] == OVERDUE)
        written = sorted({change.record_id for change in first.plan.changes if change.object == "deals"})
        deals = written[:3]
        portal = at.portal()
        for deal, stage in zip(deals, ("appointmentscheduled", "closedlost"), strict=False):
            assert portal.call("PATCH", f"{OBJECTS}/deals/{deal}", {"properties": {"dealstage": stage}}).status_code == 200
        for path in (f"deals/{deals[2]}", f"companies/{company}"):
            assert portal.call("DELETE", f"{OBJECTS}/{path}").status_code == 204
        owner = next(row["owner_id"] for row in rows if row["owner_id"])
        (handed,) = at.rows("SELECT deal_id FROM marts.fct_deals WHERE owner_id = ? AND NOT list_contains(?, deal_id) "
                            "AND account_id IS NOT NULL ORDER BY close_date DESC LIMIT 1", owner, deals)
        body = {"properties": {"hubspot_owner_id": next(row["owner_id"] for row in rows if row["owner_id"] not in (None, owner))}}
        assert portal.call("PATCH", f"{OBJECTS}/deals/{handed['deal_id']}", body).status_code == 200
        at.advance()  # a night reads only what was changed before it
        for found in made[-1].state.portal.owners:
            found["archived"] = found["id"] == owner
        second = at.whole_night(tests=False)
        third = at.write(at.built_night())
        tasks = {task["id"]: task["status"] for task in at.tasks()}
        yield Left(at, deals, company, owner, {row["record_id"] for row in rows if row["owner_id"] == owner}, first, second, third,
                   at.fields_of("deals"), tasks)


def test_writeback_02_what_left_the_models_is_cleared_by_the_next_night(left: Left) -> None:
    reopened, lost, archived = left.deals
    cleared = {change.record_id: change.reason for change in left.second.plan.changes if change.after is None and change.reason}
    assert set(cleared) == {reopened, lost}
    assert [set(left.values[deal].values()) for deal in (reopened, lost)] == [{None}, {None}]
    gone = {hold.record_id: hold.reason for hold in left.second.plan.holds if "no longer exists" in hold.reason}
    assert gone.keys() == {archived, left.company}
    assert left.second.applied.status == "complete"


def test_the_night_after_plans_nothing(left: Left) -> None:
    assert left.third.plan.size == 0 and left.third.plan.blocks == ()


def test_the_task_of_an_account_that_left_is_closed(left: Left) -> None:
    (task,) = [task for task in left.second.plan.tasks if task.account_id == left.company]
    assert (task.action, task.subject, left.tasks[task.task_id]) == ("close", "The account has left the models", "COMPLETED")


def test_an_account_whose_owner_left_has_the_owner_of_its_newest_deal(left: Left) -> None:
    sql = "SELECT record_id, owner_id FROM activation.sync_hubspot__companies"
    owners = {row["record_id"]: row["owner_id"] for row in left.at.rows(sql)}
    newest: dict[str, str] = {}
    deals = left.at.rows("SELECT account_id, owner_id FROM marts.fct_deals WHERE owner_id <> ? ORDER BY close_date NULLS FIRST, deal_id",
                         left.owner)
    for deal in deals:
        newest[deal["account_id"]] = deal["owner_id"]
    theirs = left.owned & owners.keys()
    assert {account: owners[account] for account in theirs} == {account: newest.get(account) for account in theirs}
    assert left.owner not in owners.values() and len(set(map(owners.get, theirs))) > 1


def test_writeback_08_rollback_names_nothing(left: Left, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(left.at.folder)
    monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, left.at.url)
    left.at.edit("deals", left.deals[0], contracted_amount="99")
    run = left.second.applied.run_id
    ended = command_here(monkeypatch, capsys, "--data-dir", left.at.data, "--json", "rollback", run)
    (named,) = [one for one in ended.json["left_out"] if one["field"] == "contracted_amount"]
    assert (ended.code, named["record"], named["object"]) == (1, left.deals[0], "deals")
    assert named["message"] == "it changed since: it is '99', and the run wrote None"
    assert ended.json["written"] == left.second.applied.written - len(ended.json["left_out"])
    again = command_here(monkeypatch, capsys, "--data-dir", left.at.data, "rollback", run)
    assert again.code == 1 and "0 written" in again.out and "it is '99'" in again.out
    assert left.at.fields_of("deals")[left.deals[1]]["reconciliation_status"] is not None
    # Without the edit it is finished, and once more there is nothing left.
    left.at.edit("deals", left.deals[0], contracted_amount="")
    codes = [command_here(monkeypatch, capsys, "--data-dir", left.at.data, "rollback", run) for _ in range(2)]
    assert f"Of run {run} nothing is left to take back." in codes[1].out and codes[1].code == codes[0].code == 0


def test_setup_that_is_done_in_part_says_what_it_left_out(left: Left, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(left.at.folder)
    monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, left.at.url)
    path = f"/crm/properties/{VERSION}/companies/crossfoot_"
    for name, change in (("total_outstanding", {"fieldType": "calculation_equation"}), ("credit_status", {"options": ONE_OPTION})):
        assert left.at.portal().call("PATCH", path + name, change).status_code == 200
    ended = command_here(monkeypatch, capsys, "--data-dir", left.at.data, "--json", "setup-crm", "--yes")
    assert (ended.code, ended.json["created"]) == (1, False)
    (sentence,) = ended.json["left_out"]
    assert "crossfoot_total_outstanding of companies is calculated" in sentence
    options = left.at.portal().get(f"{path}credit_status").json()["options"]
    assert [one["value"] for one in options] == ["None", "Credit Note Open", "Refunded"]
    again = command_here(monkeypatch, capsys, "--data-dir", left.at.data, "setup-crm", "--yes")
    assert again.code == 1 and "Left out:" in again.out and "Created." not in again.out
