"""Stories of HubSpot as a CRM to write to: its spellings, its refusals, its half answers, its tasks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.http import ApiError, ConnectionLost, Response
from pipelines.vendors.crm_types import (
    ACCOUNT_FIELDS,
    DEAL_FIELDS,
    BatchRefused,
    FieldsMissing,
    FoundTask,
    Outcome,
    OutcomeUnknown,
    RecordUpdate,
    TaskRequest,
    task_marker,
)
from pipelines.vendors.hubspot import VERSION
from pipelines.vendors.hubspot.crm import HubSpotCrm
from pipelines.writeback import setup

COMPANIES = f"/crm/objects/{VERSION}/companies"
TASKS = f"/crm/objects/{VERSION}/tasks"
PROPERTIES = f"/crm/properties/{VERSION}/companies"
RECORDED = Path(__file__).parents[1].parent / "shared" / "recorded" / "hubspot"


class ScriptedApi:
    """Answers calls in the order of its script: a body, (status, body), or an exception to raise. Remembers the calls."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def _call(self, method, path, sent=None, **options):
        self.calls.append((method, path, sent, options))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return Response(status, {}, "" if body is None else json.dumps(body))

    def get(self, path, params=None):
        return self._call("GET", path, params)

    def post(self, path, json=None, data=None, safe=False):
        return self._call("POST", path, json, safe=safe)

    def patch(self, path, json=None):
        return self._call("PATCH", path, json)

    def delete(self, path):
        return self._call("DELETE", path)


def refused(status, body):
    return ApiError(status, body, "hubspot: POST somewhere")


def scripted(*answers):
    api = ScriptedApi(*answers)
    return HubSpotCrm(api), api


def update(id="1", **values):
    return RecordUpdate(id, values or {"days_overdue": "3"})


def complete(*ids, **more):
    return {"status": "COMPLETE", "results": [{"id": id, "properties": {}} for id in ids], **more}


@pytest.mark.parametrize(
    ("field", "raw", "text"),
    [
        ("total_outstanding", "1500.00", "1500"),
        ("total_outstanding", "1.5E3", "1500"),
        ("total_outstanding", "", None),
        ("total_outstanding", None, None),
        ("total_outstanding", "about five", "about five"),
        ("days_overdue", "3.0", "3"),
        ("last_invoice_date", "2026-03-31", "2026-03-31"),
        ("last_invoice_date", "1774915200000", "2026-03-31"),
        ("last_invoice_date", "2026-03-31T00:00:00Z", "2026-03-31"),
        ("financials_as_of", "2026-03-31T02:00:00.000Z", "2026-03-31T02:00:00Z"),
        ("financials_as_of", "1774922400000", "2026-03-31T02:00:00Z"),
        ("financials_as_of", "2026-03-31T02:00:00.500Z", "2026-03-31T02:00:00.500Z"),
        ("financial_status", "Credit Hold", "Credit Hold"),
    ],
)
def test_what_hubspot_stores_is_read_as_canonical_text(field, raw, text):
    crm, api = scripted({"results": [{"id": "1", "properties": {f"crossfoot_{field}": raw, "hs_object_id": "1"}}]})
    assert crm.read("companies", ["1"], [field]) == {"1": {field: text}}
    sent = {"inputs": [{"id": "1"}], "properties": [f"crossfoot_{field}"], "propertiesWithHistory": []}
    assert api.calls == [("POST", f"{COMPANIES}/batch/read", sent, {"safe": True})]


def test_deleted_and_merged_records_are_absent():
    gone = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "gone", "context": {"ids": ["2"]}}
    answer = complete("1", "99", numErrors=1, errors=[gone])  # 99 survived the merger of 3
    crm, _ = scripted((207, answer))
    assert list(crm.read("companies", ["1", "2", "3"], ["days_overdue"])) == ["1"]


def test_reading_goes_in_batches_of_a_hundred():
    ids = [str(n) for n in range(250)]
    crm, api = scripted(complete(*ids[:100]), complete(*ids[100:200]), complete(*ids[200:]))
    assert len(crm.read("companies", ids, ["days_overdue"])) == 250
    assert [len(call[2]["inputs"]) for call in api.calls] == [100, 100, 50]


def test_another_error_while_reading_is_not_taken_for_a_missing_record():
    crm, _ = scripted((207, complete(numErrors=1, errors=[{"category": "INTERNAL", "message": "half down"}])))
    with pytest.raises(ApiError, match="half down"):
        crm.read("companies", ["1"], ["days_overdue"])


def test_an_update_goes_by_record_id_and_clears_with_empty_text():
    crm, api = scripted(complete("1"))
    values = {"days_overdue": None, "total_outstanding": "0.5", "last_invoice_date": "2026-03-31"}
    assert crm.update("companies", [RecordUpdate("1", values)]) == [Outcome("1", "written")]
    properties = {
        "crossfoot_days_overdue": "", "crossfoot_total_outstanding": "0.5", "crossfoot_last_invoice_date": "2026-03-31",
    }
    sent = {"inputs": [{"id": "1", "objectWriteTraceId": "1", "properties": properties}]}
    assert api.calls == [("POST", f"{COMPANIES}/batch/update", sent, {"safe": False})]


@pytest.mark.parametrize("status", [200, 207])
@pytest.mark.parametrize("context", [{"ids": ["2"]}, {"objectWriteTraceId": ["2"]}, {"id": ["2"]}])
def test_a_partial_failure_is_seen_whatever_the_status_code_says(status, context):
    error = {"status": "error", "category": "VALIDATION_ERROR", "message": "no", "context": context}
    crm, _ = scripted((status, complete("1", "3", numErrors=1, errors=[error])))
    outcomes = crm.update("companies", [update("1"), update("2"), update("3")])
    assert outcomes == [Outcome("1", "written"), Outcome("2", "rejected", "no"), Outcome("3", "written")]


def test_an_error_that_names_nobody_is_clear_when_one_record_is_left():
    crm, _ = scripted(complete("1", numErrors=1, errors=[{"message": "no"}]))
    assert crm.update("companies", [update("1"), update("2")])[1] == Outcome("2", "rejected", "no")


@pytest.mark.parametrize(
    "answer",
    [
        complete(numErrors=2, errors=[{"message": "no"}, {"message": "no"}]),
        complete("1"),
        complete("1", "9"),
        {"status": "COMPLETE"},
        None,
    ],
)
def test_an_answer_that_does_not_account_for_every_record_is_unknown(answer):
    crm, _ = scripted(answer)
    with pytest.raises(OutcomeUnknown):
        crm.update("companies", [update("1"), update("2")])


@pytest.mark.parametrize("error", [ConnectionLost("reset"), refused(500, "down"), refused(504, "slow"), refused(408, "slow")])
def test_a_lost_call_is_unknown(error):
    crm, _ = scripted(error)
    with pytest.raises(OutcomeUnknown):
        crm.update("companies", [update()])


def test_a_refused_batch_keeps_hubspots_words():
    body = {"status": "error", "category": "VALIDATION_ERROR", "message": "Invalid input JSON", "errors": [{"message": "x is bad"}]}
    crm, _ = scripted(refused(400, body))
    with pytest.raises(BatchRefused, match="Invalid input JSON; x is bad"):
        crm.update("companies", [update()])


def test_a_missing_property_stops_everything_instead_of_rejecting_each_record():
    crm, _ = scripted(refused(400, {"message": 'Property values were not valid: [{"error":"PROPERTY_DOESNT_EXIST"}]'}))
    with pytest.raises(FieldsMissing, match="run crossfoot setup-crm"):
        crm.update("companies", [update()])


@pytest.mark.parametrize("status", [401, 403, 423, 429])
def test_what_says_nothing_about_the_records_is_raised_as_it_is(status):
    crm, _ = scripted(refused(status, {"message": "no"}))
    with pytest.raises(ApiError):
        crm.update("companies", [update()])


@pytest.mark.parametrize("updates", [[], [update("1"), update("1")], [update(str(n)) for n in range(101)]])
def test_a_batch_that_hubspot_would_refuse_is_never_sent(updates):
    crm, api = scripted()
    with pytest.raises(ValueError, match="a batch holds 1 to 100 different records"):
        crm.update("companies", updates)
    assert api.calls == []


def shown(field, **more):
    """A property of Crossfoot's as HubSpot's list shows it."""
    type, field_type = _SHOWN.get(field.type, ("number", "number"))
    options = [{"label": one, "value": one, "hidden": False} for one in field.options]
    return {"name": f"crossfoot_{field.name}", "type": type, "fieldType": field_type, "options": options} | more


_SHOWN = {
    "enumeration": ("enumeration", "select"), "text": ("string", "text"), "ids": ("string", "text"), "datetime": ("datetime", "date"),
    "date": ("date", "date"),
}  # fmt: skip


def test_setup_shows_and_creates_the_missing_properties_in_a_group_of_their_own():
    there = {"results": [{"name": "domain", "type": "string", "fieldType": "text", "options": []}, shown(ACCOUNT_FIELDS[1])]}
    all_deals = {"results": [shown(field) for field in DEAL_FIELDS]}
    missing = [field for field in ACCOUNT_FIELDS if field.name != "days_overdue"]
    created = {"results": [{"name": f"crossfoot_{field.name}"} for field in missing]}
    crm, api = scripted(there, all_deals, there, {"results": [{"name": "companyinformation"}]}, {}, (201, created))
    assert setup.create(crm) == {"companies": missing}
    group, batch = api.calls[-2:]
    assert group[:3] == ("POST", f"{PROPERTIES}/groups", {"name": "crossfoot", "label": "Crossfoot"})
    assert batch[1] == f"{PROPERTIES}/batch/create"
    status = batch[2]["inputs"][0]
    assert (status["name"], status["label"], status["type"], status["fieldType"], status["groupName"]) == (
        "crossfoot_financial_status", "Financial Status", "enumeration", "select", "crossfoot",
    )
    assert [option["value"] for option in status["options"]] == ["No Invoices", "Credit Hold", "Overdue", "Current"]
    ids = batch[2]["inputs"][-2]
    assert (ids["name"], ids["type"], ids["fieldType"]) == ("crossfoot_customer_ids", "string", "text")


def test_setup_has_nothing_to_do_when_everything_is_there():
    crm, _ = scripted(*({"results": [shown(field) for field in fields]} for fields in (ACCOUNT_FIELDS, DEAL_FIELDS)))
    assert setup.create(crm) == {}


def test_a_property_that_hubspot_did_not_create_is_named():
    half = {"results": [{"name": "crossfoot_days_overdue"}], "numErrors": 1, "errors": [{"message": "name is taken"}]}
    crm, _ = scripted({"results": []}, {"results": [{"name": "crossfoot"}]}, (207, half))
    with pytest.raises(FieldsMissing, match="did not create crossfoot_total_outstanding on companies: name is taken"):
        crm.create_fields("companies", ACCOUNT_FIELDS[1:3])


def request(owner="7"):
    body = "12 < 13 & more\n" + task_marker("k1")
    return TaskRequest("k1", "55", owner, "Overdue: <Acme>", body, datetime(2026, 7, 1, 9, 0, tzinfo=UTC))


def test_a_task_and_its_company_come_in_one_call():
    crm, api = scripted((201, {"id": "900"}))
    assert crm.create_task(request()) == "900"
    (_, path, sent, options) = api.calls[0]
    assert path == TASKS and options == {"safe": False}
    assert sent["properties"] == {
        "hs_timestamp": "2026-07-01T09:00:00Z", "hs_task_subject": "Overdue: <Acme>",
        "hs_task_body": "12 &lt; 13 &amp; more\n[crossfoot:k1]", "hs_task_status": "NOT_STARTED",
        "hs_task_priority": "HIGH", "hs_task_type": "TODO", "hubspot_owner_id": "7",
    }
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 192}]
    assert sent["associations"] == [{"to": {"id": "55"}, "types": types}]


def test_a_task_without_owner_is_unassigned():
    crm, api = scripted((201, {"id": "900"}))
    crm.create_task(request(owner=None))
    assert "hubspot_owner_id" not in api.calls[0][2]["properties"]


def test_tasks_are_found_by_their_marker_over_all_pages():
    def page(company, *ids, after=None):
        found = {"from": {"id": company}, "to": [{"toObjectId": int(id), "associationTypes": []} for id in ids]}
        return found | ({"paging": {"next": {"after": after}}} if after else {})

    def task(id, text, status="NOT_STARTED"):
        return {"id": id, "properties": {"hs_task_body": text, "hs_task_status": status}}

    lonely = {"category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}
    crm, api = scripted(
        (207, {"results": [page("55", "1", "1", "2", after="x"), page("56", "3")], "errors": [lonely]}),
        {"results": [page("55", "4")]},
        (207, {"results": [task("1", None), task("2", "call them"), task("3", "hello [crossfoot:k1]"),
                           task("4", "hello [crossfoot:k2]", "COMPLETED")], "errors": [{"category": "OBJECT_NOT_FOUND"}]}),
    )
    assert crm.find_tasks(["55", "56", "57"]) == {
        "56": [FoundTask("k1", "3", "open")], "55": [FoundTask("k2", "4", "completed")]}
    assert [call[1].rpartition(f"{VERSION}/")[2] for call in api.calls] == ["companies/tasks/batch/read"] * 2 + ["tasks/batch/read"]
    assert api.calls[1][2] == {"inputs": [{"id": "55", "after": "x"}]}
    assert [entry["id"] for entry in api.calls[2][2]["inputs"]] == ["1", "2", "3", "4"]


def test_no_task_is_found_where_there_is_none_or_no_company():
    assert scripted((207, {"results": [], "errors": [{"category": "OBJECT_NOT_FOUND"}]}))[0].find_tasks(["55"]) == {}
    with pytest.raises(ApiError, match="run again"):
        scripted((207, {"results": [], "errors": [{"category": "VALIDATION_ERROR"}]}))[0].find_tasks(["55"])


def test_a_task_is_completed_reopened_and_deleted():
    crm, api = scripted({"id": "9"}, {"id": "9"}, (204, None), refused(404, {}))
    crm.complete_task("9")
    crm.reopen_task("9")
    crm.delete_task("9")
    crm.delete_task("9")  # gone already
    assert [(call[0], call[1], call[2]) for call in api.calls[:3]] == [
        ("PATCH", f"{TASKS}/9", {"properties": {"hs_task_status": "COMPLETED"}}),
        ("PATCH", f"{TASKS}/9", {"properties": {"hs_task_status": "NOT_STARTED"}}),
        ("DELETE", f"{TASKS}/9", None),
    ]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"properties": {"hs_task_status": "COMPLETED"}}, "completed"),
        ({"properties": {"hs_task_status": "IN_PROGRESS"}}, "open"),
        (refused(404, {}), None),
    ],
)
def test_a_tasks_status(answer, status):
    assert scripted(answer)[0].task_status("9") == status


@pytest.mark.parametrize("call", ["create", "complete", "reopen", "delete"])
def test_a_lost_task_call_is_unknown(call):
    crm, _ = scripted(ConnectionLost("reset"))
    with pytest.raises(OutcomeUnknown):
        crm.create_task(request()) if call == "create" else getattr(crm, f"{call}_task")("9")


def test_recorded_batch_updates_are_understood():
    if not RECORDED.is_dir():
        pytest.skip("the recorded exchanges are not beside the repository")
    seen = 0
    for file in sorted(RECORDED.glob("export-objects__export-records-*.json")):
        for exchange in json.loads(file.read_text(), parse_float=Decimal):
            if exchange["path"].endswith("/batch/update") and exchange["status"] in (200, 207):
                inputs = [entry["id"] for entry in exchange["body"]["inputs"]]
                crm, api = scripted((exchange["status"], exchange["response"]))
                assert {one.record_id for one in crm.update("companies", [update(id) for id in inputs])} == set(inputs)
                assert set(api.calls[0][2]) == set(exchange["body"])
                seen += 1
    assert seen > 0
