"""Tasks in Salesforce: made, found by their marker, completed, reopened, deleted."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from salesforce_crm_fixture import ACME, OWNER, TASK, failed, number, page, refused, saved, scripted

from pipelines.http import ConnectionLost
from pipelines.vendors.crm_types import (
    BatchRefused,
    OutcomeUnknown,
    TaskRequest,
    task_marker,
)
from pipelines.vendors.salesforce.crm import COLLECTIONS, DATA

# -- tasks


def request(owner=OWNER, subject="Overdue: <Acme>"):
    return TaskRequest("k1", ACME, owner, subject, "12 < 13 & more\n" + task_marker("k1"), datetime(2026, 7, 1, 9, 0, tzinfo=UTC))


def test_a_task_and_its_account_come_in_one_call():
    crm, api = scripted([saved(TASK)])
    assert crm.create_task(request()) == TASK
    task = {
        "attributes": {"type": "Task"}, "WhatId": ACME, "Subject": "Overdue: <Acme>", "Description": "12 < 13 & more\n[crossfoot:k1]",
        "Status": "Not Started", "Priority": "High", "ActivityDate": "2026-07-01", "OwnerId": OWNER,
    }
    assert api.calls == [("POST", COLLECTIONS, {"allOrNone": False, "records": [task]}, {"safe": False})]


@pytest.mark.parametrize("owner", [None, "", "00G000000000001AAA", "7"])
def test_a_task_of_nobody_who_may_own_it_belongs_to_the_user_that_signs_in(owner):
    crm, api = scripted([saved(TASK)])
    crm.create_task(request(owner))
    assert "OwnerId" not in api.calls[0][2]["records"][0]


def test_a_long_subject_is_cut():
    crm, api = scripted([saved(TASK)])
    crm.create_task(request(subject="x" * 300))
    assert len(api.calls[0][2]["records"][0]["Subject"]) == 255


@pytest.mark.parametrize("code", ["INACTIVE_OWNER_OR_USER", "INVALID_CROSS_REFERENCE_KEY", "OP_WITH_INVALID_USER_TYPE_EXCEPTION"])
def test_an_owner_who_may_not_own_tasks_refuses_that_task(code):
    with pytest.raises(BatchRefused, match=re.escape(f"operation performed with inactive user ({code})")):
        scripted([failed(code, "operation performed with inactive user")])[0].create_task(request())


def test_a_field_of_tasks_is_nothing_that_setup_could_create():
    with pytest.raises(BatchRefused, match="No such column 'Priority'"):
        scripted(refused(400, "INVALID_FIELD", "No such column 'Priority'"))[0].create_task(request())


def test_a_task_of_what_is_no_account_is_refused():
    crm, api = scripted()
    with pytest.raises(BatchRefused, match="'58' is no id of an account"):
        crm.create_task(TaskRequest("k1", "58", None, "s", "b", datetime(2026, 7, 1, tzinfo=UTC)))
    assert api.calls == []


def test_a_task_is_found_by_its_marker_over_all_pages():
    others = [{"Id": number(1), "Description": None}, {"Id": number(2), "Description": "call them"}]
    crm, api = scripted(
        page(*others, after="/services/data/v68.0/query/01g-2"),
        page({"Id": TASK, "Description": "hello [crossfoot:k1]"}),
    )
    assert crm.find_task(ACME, "k1") == TASK
    soql = f"SELECT Id, Description FROM Task WHERE WhatId = '{ACME}' AND IsDeleted = false"
    assert api.calls == [("GET", f"{DATA}/queryAll", {"q": soql}, {}), ("GET", "services/data/v68.0/query/01g-2", None, {})]


def test_no_task_is_found_where_there_is_none():
    assert scripted(page())[0].find_task(ACME, "k1") is None


def test_a_task_is_completed_reopened_and_deleted():
    gone = refused(404, "NOT_FOUND")
    crm, api = scripted([saved(TASK)], [saved(TASK)], (204, None), gone)
    crm.complete_task(TASK)
    crm.reopen_task(TASK)
    crm.delete_task(TASK)
    crm.delete_task(TASK)  # gone already
    assert [call[2]["records"] for call in api.calls[:2]] == [
        [{"attributes": {"type": "Task"}, "id": TASK, "Status": status}] for status in ("Completed", "Not Started")
    ]
    assert api.calls[2][:2] == ("DELETE", f"{DATA}/sobjects/Task/{TASK}")


def test_a_task_that_is_gone_cannot_be_completed():
    with pytest.raises(BatchRefused, match="ENTITY_IS_DELETED"):
        scripted([failed("ENTITY_IS_DELETED", "entity is deleted")])[0].complete_task(TASK)


@pytest.mark.parametrize(
    ("records", "status"),
    [([{"Id": TASK, "IsClosed": True}], "completed"), ([{"Id": TASK, "IsClosed": False}], "open"), ([], None)],
)
def test_a_tasks_status(records, status):
    crm, api = scripted(page(*records))
    assert crm.task_status(TASK) == status
    assert api.calls[0][2] == {"q": f"SELECT Id, IsClosed FROM Task WHERE Id = '{TASK}' AND IsDeleted = false"}


@pytest.mark.parametrize("call", ["create", "complete", "reopen", "delete"])
def test_a_lost_task_call_is_unknown(call):
    crm, _ = scripted(ConnectionLost("reset"))
    with pytest.raises(OutcomeUnknown):
        crm.create_task(request()) if call == "create" else getattr(crm, f"{call}_task")(TASK)
