"""Stories of Salesforce as a CRM to write to: its spellings, its half answers, its locks."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from salesforce_crm_fixture import ACME, BLUE, CORE, DEAL, FIELDS, LOCKED, failed, number, refused, saved, scripted, update

from pipelines.http import ApiError, BudgetSpent, ConnectionLost
from pipelines.vendors.crm_types import (
    BatchRefused,
    FieldsMissing,
    Outcome,
    OutcomeUnknown,
)
from pipelines.vendors.salesforce import crm_metadata as metadata
from pipelines.vendors.salesforce.crm import BATCH_SIZE, COLLECTIONS, LOCK_TRIES

# -- values


@pytest.mark.parametrize(
    ("field", "raw", "text"),
    [
        ("total_outstanding", "1500.00", "1500"),
        ("total_outstanding", "1.2345678E7", "12345678"),
        ("total_outstanding", "0.1", "0.1"),
        ("total_outstanding", "1234567890123456.78", "1234567890123456.78"),
        ("total_outstanding", "null", None),
        ("total_outstanding", '"about five"', "about five"),
        ("days_overdue", "3.0", "3"),
        ("days_overdue", "true", "True"),
        ("last_invoice_date", '"2026-03-31"', "2026-03-31"),
        ("last_invoice_date", '"2026-03-31T00:00:00Z"', "2026-03-31T00:00:00Z"),
        ("financials_as_of", '"2026-06-30T02:00:00.000+0000"', "2026-06-30T02:00:00Z"),
        ("financial_status", '"Credit Hold"', "Credit Hold"),
        ("financial_status", '""', None),
    ],
)
def test_what_salesforce_stores_is_read_as_canonical_text(field, raw, text):
    name = metadata.api_name(FIELDS[field])
    crm, api = scripted((200, f'[{{"Id": "{ACME}", "IsDeleted": false, "{name}": {raw}}}]'))
    assert crm.read("accounts", [ACME], [field]) == {ACME: {field: text}}
    sent = {"ids": [ACME], "fields": ["Id", "IsDeleted", name]}
    assert api.calls == [("POST", f"{COLLECTIONS}/Account", sent, {"safe": True})]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("total_outstanding", "1500.00", Decimal("1500")),
        ("total_outstanding", "0.1", Decimal("0.1")),
        ("total_outstanding", "-1234567890123456.78", Decimal("-1234567890123456.78")),
        ("average_days_to_pay", "12.5", Decimal("12.5")),
        ("days_overdue", "3", Decimal(3)),
        ("days_overdue", None, None),
        ("last_invoice_date", "2026-03-31", "2026-03-31"),
        ("financials_as_of", "2026-06-30T02:00:00Z", "2026-06-30T02:00:00.000+0000"),
        ("financial_status", "Credit Hold", "Credit Hold"),
        ("financial_status", "", None),
    ],
)
def test_values_are_sent_exactly_and_null_clears(field, text, value):
    crm, api = scripted([saved(ACME)])
    assert crm.update("accounts", [update(**{field: text})]) == [Outcome(ACME, "written")]
    record = {"attributes": {"type": "Account"}, "id": ACME, metadata.api_name(FIELDS[field]): value}
    assert api.calls == [("PATCH", COLLECTIONS, {"allOrNone": False, "records": [record]}, {})]
    assert isinstance(list(record.values())[-1], type(value))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"total_outstanding": "12.345"}, "Total Outstanding is 12.345; Salesforce keeps 16 digits and 2 decimals of it"),
        ({"total_outstanding": "12345678901234567"}, "Total Outstanding is 12345678901234567"),
        ({"average_days_to_pay": "12.55"}, "keeps 16 digits and 1 decimals"),
        ({"days_overdue": "many"}, "'many' is not a number"),
        ({"financials_as_of": "2026-06-30T02:00:00.512Z"}, "keeps whole seconds"),
    ],
)
def test_a_value_that_salesforce_would_alter_is_rejected_and_the_others_go_on(values, said):
    crm, api = scripted([saved(BLUE)])
    outcomes = crm.update("accounts", [update(ACME, **values), update(BLUE)])
    assert outcomes[0].status == "rejected" and said in outcomes[0].message
    assert outcomes[1] == Outcome(BLUE, "written")
    assert [record["id"] for record in api.calls[0][2]["records"]] == [BLUE]


def test_a_batch_of_which_nothing_can_be_kept_is_not_sent():
    crm, api = scripted()
    assert [one.status for one in crm.update("accounts", [update(total_outstanding="0.001")])] == ["rejected"]
    assert api.calls == []



# -- reading


def test_records_that_are_deleted_or_not_there_are_absent():
    answer = [{"Id": ACME, "IsDeleted": False}, None, {"Id": CORE, "IsDeleted": True}, {"Id": number(99), "IsDeleted": False}]
    assert list(scripted(answer)[0].read("accounts", [ACME, BLUE, CORE], ["days_overdue"])) == [ACME]


def test_an_id_of_15_characters_is_answered_as_it_was_asked():
    crm, _ = scripted([{"Id": ACME, "IsDeleted": False, "Crossfoot_Days_Overdue__c": 3}])
    assert crm.read("accounts", [ACME[:15]], ["days_overdue"]) == {ACME[:15]: {"days_overdue": "3"}}


@pytest.mark.parametrize("id", ["58", "", DEAL, "001' OR Name != '", "001000000000001AAA\n", "００1000000000001AAA"])
def test_what_is_no_id_of_the_object_is_never_sent(id):
    crm, api = scripted()
    assert crm.read("accounts", [id], ["days_overdue"]) == {}
    assert crm.find_task(id, "k1") is None
    assert [(one.status, one.message) for one in crm.update("accounts", [update(id)])] == [
        ("rejected", f"{id!r} is no id of an Account")
    ]
    with pytest.raises(ValueError, match="is no id of a task"):
        crm.complete_task(id)
    assert api.calls == []


def test_reading_goes_in_batches_of_two_hundred():
    ids = [number(count) for count in range(450)]
    parts = [[{"Id": id, "IsDeleted": False} for id in ids[start : start + 200]] for start in (0, 200, 400)]
    crm, api = scripted(*parts)
    assert len(crm.read("accounts", ids, ["days_overdue"])) == 450
    assert [len(call[2]["ids"]) for call in api.calls] == [200, 200, 50]


def test_a_field_that_salesforce_does_not_have_yet_is_empty():
    described = {"fields": [{"name": "Name"}, {"name": "Crossfoot_Days_Overdue__c"}]}
    record = {"Id": ACME, "IsDeleted": False, "Crossfoot_Days_Overdue__c": 3}
    crm, api = scripted(refused(400, "INVALID_FIELD", "No such column"), described, [record], [None])
    assert crm.read("accounts", [ACME], ["financial_status", "days_overdue"]) == {ACME: {"financial_status": None, "days_overdue": "3"}}
    crm.read("accounts", [BLUE], ["financial_status", "days_overdue"])
    assert [call[2]["fields"] for call in api.calls if call[0] == "POST"][1:] == [["Id", "IsDeleted", "Crossfoot_Days_Overdue__c"]] * 2


def test_a_refusal_to_read_that_no_field_explains_is_raised():
    described = {"fields": [{"name": "Crossfoot_Days_Overdue__c"}]}
    for answers in ([refused(400, "MALFORMED_ID")], [refused(400, "INVALID_FIELD"), described, refused(400, "INVALID_FIELD")]):
        with pytest.raises(ApiError):
            scripted(*answers)[0].read("accounts", [ACME], ["days_overdue"])
    with pytest.raises(ApiError, match="run again"):
        scripted({"records": []})[0].read("accounts", [ACME], ["days_overdue"])



# -- writing


def test_results_belong_to_the_records_in_their_places():
    crm, _ = scripted([saved(ACME), failed("ENTITY_IS_LOCKED", "in approval"), saved(CORE[:15])])
    assert crm.update("accounts", [update(ACME), update(BLUE), update(CORE)]) == [
        Outcome(ACME, "written"), Outcome(BLUE, "rejected", "in approval (ENTITY_IS_LOCKED)"), Outcome(CORE, "written"),
    ]


def test_outcomes_carry_the_id_as_it_was_given():
    assert scripted([saved(ACME)])[0].update("accounts", [update(ACME[:15])]) == [Outcome(ACME[:15], "written")]


def test_only_locked_records_are_sent_again():
    ids = [f"006{count:012d}AAA" for count in (1, 2, 3, 4)]
    crm, api = scripted(
        [saved(ids[0]), failed(*LOCKED), failed("X"), failed(*LOCKED)], [failed(*LOCKED), saved(ids[3])], [saved(ids[1])],
    )
    outcomes = crm.update("opportunities", [update(id, contracted_amount="1") for id in ids])
    assert [(one.record_id, one.status) for one in outcomes] == list(zip(ids, ["written", "written", "rejected", "written"], strict=True))
    assert [[record["id"] for record in call[2]["records"]] for call in api.calls] == [ids, [ids[1], ids[3]], [ids[1]]]
    assert api.waits == [1, 2]


def test_a_record_that_stays_locked_is_rejected_after_a_few_tries():
    crm, api = scripted(*[[failed(*LOCKED)]] * LOCK_TRIES)
    assert crm.update("accounts", [update()]) == [Outcome(ACME, "rejected", f"{LOCKED[1]} ({LOCKED[0]})")]
    assert len(api.calls) == LOCK_TRIES and api.waits == [1, 2, 4]


@pytest.mark.parametrize("error", [ConnectionLost("reset"), refused(500, "UNKNOWN_EXCEPTION"), refused(400, "JSON_PARSER_ERROR")])
def test_a_second_try_that_fails_leaves_the_batch_unknown(error):
    with pytest.raises(OutcomeUnknown):
        scripted([saved(ACME), failed(*LOCKED)], error)[0].update("accounts", [update(ACME), update(BLUE)])


@pytest.mark.parametrize(
    "answer",
    [
        [], [saved(ACME)], [saved(ACME), saved(BLUE), saved(CORE)], [saved(BLUE), saved(ACME)], [saved(ACME), None],
        [saved(ACME), {"id": BLUE}], [saved(ACME), {"success": "true"}], [saved(ACME), {"success": True}], {"results": []}, None,
        (200, "<html>a proxy</html>"),
    ],
)
def test_an_answer_that_does_not_account_for_every_record_is_unknown(answer):
    with pytest.raises(OutcomeUnknown):
        scripted(answer)[0].update("accounts", [update(ACME), update(BLUE)])


@pytest.mark.parametrize("error", [ConnectionLost("reset"), refused(500, "X"), refused(503, "SERVER_UNAVAILABLE"), refused(408, "X")])
def test_a_lost_call_is_unknown(error):
    with pytest.raises(OutcomeUnknown):
        scripted(error)[0].update("accounts", [update()])


def test_a_refused_batch_keeps_salesforces_words():
    with pytest.raises(BatchRefused, match=re.escape("Id in record malformed (MALFORMED_ID)")):
        scripted(refused(400, "MALFORMED_ID", "Id in record malformed"))[0].update("accounts", [update()])


@pytest.mark.parametrize(
    "answer",
    [
        refused(400, "INVALID_FIELD", "No such column 'Crossfoot_Days_Overdue__c' on sobject of type Account"),
        [failed("INVALID_FIELD", "No such column 'Crossfoot_Days_Overdue__c' on sobject of type Account")] * 2,
    ],
)
def test_a_missing_field_stops_everything_instead_of_rejecting_each_record(answer):
    with pytest.raises(FieldsMissing, match="Crossfoot_Days_Overdue__c.*; run crossfoot setup-crm"):
        scripted(answer)[0].update("accounts", [update(ACME), update(BLUE)])


def test_a_closed_field_is_a_trouble_of_that_field():
    closed = failed("INVALID_FIELD_FOR_INSERT_UPDATE", "Unable to create/update fields: Crossfoot_Days_Overdue__c. Please check")
    for answer, statuses in (([saved(ACME), closed], ["written", "rejected"]), ([closed, closed], ["rejected", "rejected"])):
        outcomes = scripted(answer)[0].update("accounts", [update(ACME), update(BLUE)])
        assert [one.status for one in outcomes] == statuses and outcomes[1].fields == {"days_overdue"}


def test_a_value_that_a_record_type_does_not_know_is_rejected_with_a_remedy():
    answer = [failed("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "bad value for restricted picklist field: Overdue")]
    (outcome,) = scripted(answer)[0].update("accounts", [update(financial_status="Overdue")])
    assert outcome.message.endswith("(INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST); add the value to the record's record type in "
                                    "Salesforce's setup")


@pytest.mark.parametrize("error", [refused(401, "INVALID_SESSION_ID"), refused(403, "API_DISABLED_FOR_ORG"), refused(404, "NOT_FOUND")])
def test_what_says_nothing_about_the_records_is_raised_as_it_is(error):
    with pytest.raises(ApiError):
        scripted(error)[0].update("accounts", [update()])


def test_used_up_calls_are_told_as_they_are():
    with pytest.raises(BudgetSpent):
        scripted(BudgetSpent("salesforce: the org's calls of the day are used up"))[0].update("accounts", [update()])


@pytest.mark.parametrize(
    "updates", [[], [update(ACME), update(ACME)], [update(ACME), update(ACME[:15])], [update(number(n)) for n in range(BATCH_SIZE + 1)]]
)
def test_a_batch_that_cannot_be_right_is_never_sent(updates):
    crm, api = scripted()
    with pytest.raises(ValueError, match="a batch holds 1 to 200 different records"):
        crm.update("accounts", updates)
    assert api.calls == []
