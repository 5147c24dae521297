"""Salesforce's sandbox over HTTP: describe, writing, setup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from salesforce_client_fixture import DATA, USER, Client, id_of, named, recorded_text, serving, sold

from pipelines.sandbox.world import World, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def org(world: World) -> Iterator[Client]:
    """Shared by tests that only read."""
    yield from serving(world)


@pytest.fixture
def fresh() -> Iterator[Client]:
    """A sandbox of the test's own."""
    yield from serving(make_world())


# -- describe -------------------------------------------------------------------------------------------------------


def test_describe_has_the_keys_and_types_of_a_recorded_one(org: Client) -> None:
    recorded = json.loads(recorded_text("describe_Opportunity_cumulusci.json"))
    mine = org.call("GET", f"{DATA}/sobjects/Opportunity/describe").json()
    assert set(recorded) == set(mine)
    fields = {field["name"]: field for field in mine["fields"]}
    same = ("type", "length", "precision", "scale", "nillable", "calculated", "updateable", "soapType", "relationshipName",
            "restrictedPicklist")  # fmt: skip
    compared = 0
    for field in recorded["fields"]:
        assert set(field) == set(fields["Id"]), set(field) ^ set(fields["Id"])
        if field["name"] in fields:
            compared += 1
            assert {key: field[key] for key in same} == {key: fields[field["name"]][key] for key in same}, field["name"]
    assert compared > 15


def test_describe_global_and_what_is_not_there(org: Client) -> None:
    listed = {one["name"]: one for one in org.call("GET", f"{DATA}/sobjects").json()["sobjects"]}
    assert listed["Opportunity"]["keyPrefix"] == "006" and "CustomField" not in listed
    assert listed["Account"]["urls"]["describe"] == f"{DATA}/sobjects/Account/describe"
    for path in ("sobjects/Nothing/describe", "sobjects/Nothing/1", "nothing/at/all"):
        answer = org.call("GET", f"{DATA}/{path}")
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    assert org.call("GET", "/services/data/v99.0/limits").status_code == 404
    assert org.call("GET", "/services/data/v28.0/limits").json()[0]["errorCode"] == "UNSUPPORTED_API_VERSION"
    assert org.call("GET", "/services/data").json()[-1] == {"label": "Version 68", "url": "/services/data/v68.0", "version": "68.0"}



# -- writing --------------------------------------------------------------------------------------------------------


def test_a_collection_answers_by_position_and_a_failed_record_has_no_id(fresh: Client) -> None:
    late, part = named(fresh, "Late Larch Lumber"), named(fresh, "Part Paid Pottery")
    before = {row["Id"]: row["SystemModstamp"] for row in fresh.rows("SELECT Id, SystemModstamp FROM Account")}
    results = fresh.update(
        {"id": late, "Billing_Email__c": "new@larch.example", "AnnualRevenue": 12},
        {"id": part, "Billing_Email__c": "badone"}, {"id": "001999999999999AAA", "Site": "x"}, {"id": part, "Name": None},
        {"id": late, "Foo__c": 1}, {"id": late, "SystemModstamp": "2026-01-01T00:00:00Z"}, {"Id": part[:15], "Site": "here"},
    )  # fmt: skip
    assert results[0] == {"id": late, "success": True, "errors": []} and results[6]["success"]
    codes = [result["errors"][0]["statusCode"] for result in results[1:6]]
    assert codes == ["INVALID_EMAIL_ADDRESS", "INVALID_CROSS_REFERENCE_KEY", "REQUIRED_FIELD_MISSING", "INVALID_FIELD",
                     "INVALID_FIELD_FOR_INSERT_UPDATE"]  # fmt: skip
    assert all("id" not in result and set(result["errors"][0]) == {"statusCode", "message", "fields"} for result in results[1:6])
    rows = {row["Id"]: row for row in fresh.rows("SELECT Id, Billing_Email__c, SystemModstamp, Site, AnnualRevenue FROM Account")}
    assert rows[late]["Billing_Email__c"] == "new@larch.example" and rows[late]["AnnualRevenue"] == 12 and rows[part]["Site"] == "here"
    assert rows[late]["SystemModstamp"].startswith("2026-06-30T22:") and rows[late]["SystemModstamp"] > before[late]
    untouched = next(one for one in rows if one not in (late, part))
    assert rows[untouched]["SystemModstamp"] == before[untouched]


def test_all_or_none_takes_everything_back(fresh: Client) -> None:
    late, part = named(fresh, "Late Larch Lumber"), named(fresh, "Part Paid Pottery")
    results = fresh.update({"id": late, "Site": "x"}, {"id": part, "Billing_Email__c": "bad"}, together=True)
    assert results[0]["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK" and "id" not in results[0]
    assert results[1]["errors"][0]["statusCode"] == "INVALID_EMAIL_ADDRESS"
    (row,) = fresh.rows(f"SELECT Site, SystemModstamp FROM Account WHERE Id = '{late}'")
    assert row["Site"] is None and not row["SystemModstamp"].startswith("2026-06-30T22")
    body = {"allOrNone": True, "records": [{"attributes": {"type": "Account"}, "Name": "New"}, {"attributes": {"type": "Account"}}]}
    assert [r["success"] for r in fresh.call("POST", f"{DATA}/composite/sobjects", body).json()] == [False, False]
    assert fresh.rows("SELECT Id FROM Account WHERE Name = 'New'") == []


@pytest.mark.parametrize(("field", "value", "code"), [
    ("Name", "x" * 256, "STRING_TOO_LONG"), ("Name", 5, "INVALID_FIELD"), ("AnnualRevenue", "a lot", "INVALID_FIELD"),
    ("AnnualRevenue", 10**18, "NUMBER_OUTSIDE_VALID_RANGE"), ("CurrencyIsoCode", "XXX", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
    ("OwnerId", "nobody", "MALFORMED_ID"), ("OwnerId", "005999999999999AAA", "INVALID_CROSS_REFERENCE_KEY"),
    ("ParentId", USER, "FIELD_INTEGRITY_EXCEPTION"), ("NumberOfEmployees", [1], "INVALID_FIELD"),
])  # fmt: skip
def test_values_are_checked_record_by_record(fresh: Client, field: str, value: Any, code: str) -> None:
    one = named(fresh, "Late Larch Lumber")
    bad, good = fresh.update({"id": one, field: value}, {"id": one, "Site": "ok"})
    assert bad["success"] is False and bad["errors"][0]["statusCode"] == code and good["success"] is True
    single = fresh.call("PATCH", f"{DATA}/sobjects/Account/{one}", {field: value})
    expected = "JSON_PARSER_ERROR" if code == "INVALID_FIELD" else code
    assert single.status_code == 400 and single.json()[0]["errorCode"] == expected


def test_numbers_as_text_are_numbers_and_decimals_are_rounded(fresh: Client) -> None:
    one = fresh.rows("SELECT Id FROM Opportunity WHERE IsWon = true LIMIT 1")[0]["Id"]
    assert fresh.update({"id": one, "Amount": "1234.565"}, name="Opportunity")[0]["success"]
    answer = fresh.call("GET", f"{DATA}/query", q=f"SELECT Amount FROM Opportunity WHERE Id = '{one}'").text
    assert '"Amount":1234.57' in answer


def test_collections_have_their_limits(fresh: Client) -> None:
    one = named(fresh, "Late Larch Lumber")
    record = {"attributes": {"type": "Account"}, "id": one, "Site": "x"}
    person = {"attributes": {"type": "Contact"}, "id": one, "Title": "x"}
    for records in ([record] * 201, [], [record, person] * 6, "x", [{"id": one}]):
        assert fresh.call("PATCH", f"{DATA}/composite/sobjects", {"records": records}).status_code == 400
    assert len(fresh.call("PATCH", f"{DATA}/composite/sobjects", {"records": [record] * 200}).json()) == 200
    assert fresh.call("PATCH", f"{DATA}/composite/sobjects", [record]).json()[0]["errorCode"] == "JSON_PARSER_ERROR"


def test_many_are_retrieved_with_null_for_what_is_not_there(org: Client, world: World) -> None:
    gone = next(a for a in world.accounts.values() if a.archived)
    ids = [named(org, "Late Larch Lumber"), "001999999999999AAA", id_of("account", gone), named(org, "Part Paid Pottery")]
    body = {"ids": ids, "fields": ["id", "Name", "Owner.Email"]}
    found = org.call("POST", f"{DATA}/composite/sobjects/Account", body).json()
    assert [row and row["Name"] for row in found] == ["Late Larch Lumber", None, None, "Part Paid Pottery"]
    assert found[0]["Id"] == ids[0] and found[0]["Owner"]["Email"].endswith("@brightwater.example")
    same = org.call("GET", f"{DATA}/composite/sobjects/Account", ids=",".join(ids), fields="Id,Name,Owner.Email").json()
    assert same == found
    bad = org.call("POST", f"{DATA}/composite/sobjects/Account", {"ids": ids, "fields": ["Nope"]})
    assert bad.status_code == 400 and bad.json()[0]["errorCode"] == "INVALID_FIELD"


def test_tasks(fresh: Client) -> None:
    late, deal = sold(fresh)
    body = {"Subject": "Call", "WhatId": late, "Description": "a [crossfoot:1] b", "Priority": "High", "ActivityDate": "2026-07-02"}
    made = fresh.call("POST", f"{DATA}/sobjects/Task", body)
    assert made.status_code == 201 and made.json()["success"] is True and made.json()["id"].startswith("00T")
    path = f"{DATA}/sobjects/Task/{made.json()['id']}"
    row = fresh.call("GET", path).json()
    assert (row["Status"], row["IsClosed"], row["OwnerId"], row["AccountId"]) == ("Not Started", False, USER, late)
    assert fresh.call("PATCH", path, {"Status": "Completed"}).status_code == 204
    (done,) = fresh.rows(f"SELECT Id, Description FROM Task WHERE AccountId = '{late}' AND IsClosed = true")
    assert done["Description"] == body["Description"]
    other = fresh.call("POST", f"{DATA}/sobjects/Task", {"Subject": "x", "WhatId": deal}).json()["id"]
    assert fresh.call("GET", f"{DATA}/sobjects/Task/{other}").json()["AccountId"] == late
    assert fresh.call("DELETE", path).status_code == 204 and fresh.call("GET", path).json()[0]["errorCode"] == "NOT_FOUND"
    again = fresh.call("DELETE", path)
    assert again.status_code == 404 and again.json() == [{"message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": []}]
    assert fresh.call("POST", f"{DATA}/sobjects/Task", {"Id": other}).status_code == 400



# -- setup ----------------------------------------------------------------------------------------------------------

NAME = "Account.Crossfoot_Total__c"
MONEY = {"type": "Currency", "label": "Total", "precision": 18, "scale": 2}


def test_a_new_field_is_out_of_sight_until_a_permission_set_shows_it(fresh: Client) -> None:
    one = named(fresh, "Late Larch Lumber")
    made = fresh.field(NAME, **MONEY)
    assert made.status_code == 201 and made.json()["id"].startswith("00N") and made.json()["errors"] == []

    def visible() -> tuple[bool, int, str]:
        fields = {field["name"] for field in fresh.call("GET", f"{DATA}/sobjects/Account/describe").json()["fields"]}
        status = fresh.call("GET", f"{DATA}/query", q="SELECT Crossfoot_Total__c FROM Account LIMIT 1").status_code
        (result,) = fresh.update({"id": one, "Crossfoot_Total__c": 5})
        return "Crossfoot_Total__c" in fields, status, "" if result["success"] else result["errors"][0]["statusCode"]

    assert visible() == (False, 400, "INVALID_FIELD")
    listed = fresh.call("GET", f"{DATA}/tooling/query", q="SELECT Id, DeveloperName, TableEnumOrId FROM CustomField WHERE "
                        "TableEnumOrId = 'Account' AND DeveloperName LIKE 'Crossfoot%'").json()["records"]  # fmt: skip
    assert {row["DeveloperName"] for row in listed} == {"Crossfoot_Customer_Ids", "Crossfoot_Total"}
    readers = fresh.grant(NAME, edit=False)
    assert visible() == (True, 200, "INVALID_FIELD_FOR_INSERT_UPDATE")
    (row,) = fresh.rows(f"SELECT Id FROM FieldPermissions WHERE ParentId = '{readers}'")
    assert fresh.call("PATCH", f"{DATA}/sobjects/FieldPermissions/{row['Id']}", {"PermissionsEdit": True}).status_code == 204
    assert visible() == (True, 200, "")
    assert fresh.rows(f"SELECT Crossfoot_Total__c FROM Account WHERE Id = '{one}'")[0]["Crossfoot_Total__c"] == 5
    (assigned,) = fresh.rows("SELECT Id FROM PermissionSetAssignment")
    assert fresh.call("DELETE", f"{DATA}/sobjects/PermissionSetAssignment/{assigned['Id']}").status_code == 204
    assert visible() == (False, 400, "INVALID_FIELD")


def test_new_fields_are_described_as_they_were_made_and_hold_their_types(fresh: Client) -> None:
    values = {"restricted": True, "valueSetDefinition": {"sorted": False, "value": [
        {"fullName": one, "label": one, "default": False} for one in ("Overdue", "Current")]}}  # fmt: skip
    fields = {
        "Crossfoot_Status__c": {"type": "Picklist", "label": "Status", "valueSet": values},
        "Crossfoot_Days__c": {"type": "Number", "label": "Days", "precision": 6, "scale": 0},
        "Crossfoot_Text__c": {"type": "Text", "label": "Text", "length": 10},
        "Crossfoot_As_Of__c": {"type": "DateTime", "label": "As Of"},
        "Crossfoot_Day__c": {"type": "Date", "label": "Day"}, "Crossfoot_Total__c": MONEY,
    }  # fmt: skip
    for name, metadata in fields.items():
        assert fresh.field(f"Account.{name}", **metadata).status_code == 201
    fresh.grant(*(f"Account.{name}" for name in fields))
    described = {f["name"]: f for f in fresh.call("GET", f"{DATA}/sobjects/Account/describe").json()["fields"]}
    status, total = described["Crossfoot_Status__c"], described["Crossfoot_Total__c"]
    assert status["restrictedPicklist"] and [v["value"] for v in status["picklistValues"]] == ["Overdue", "Current"]
    assert (total["type"], total["precision"], total["scale"], total["custom"], total["updateable"]) == ("currency", 18, 2, True, True)
    one = named(fresh, "Late Larch Lumber")
    good = {"Crossfoot_Status__c": "Overdue", "Crossfoot_Days__c": 4, "Crossfoot_Text__c": "ten or les", "Crossfoot_Day__c": "2026-06-30",
            "Crossfoot_As_Of__c": "2026-06-30T22:00:00Z", "Crossfoot_Total__c": 10.5}  # fmt: skip
    assert fresh.update({"id": one, **good})[0]["success"]
    (row,) = fresh.rows(f"SELECT {', '.join(good)} FROM Account WHERE Id = '{one}'")
    assert row["Crossfoot_As_Of__c"] == "2026-06-30T22:00:00.000+0000" and row["Crossfoot_Total__c"] == Decimal("10.5")
    bad = {"Crossfoot_Status__c": "Late", "Crossfoot_Days__c": 1_000_000, "Crossfoot_Text__c": "eleven chars", "Crossfoot_Day__c": "soon",
           "Crossfoot_As_Of__c": "2026-06-30", "Crossfoot_Total__c": "much"}  # fmt: skip
    results = fresh.update(*({"id": one, name: value} for name, value in bad.items()))
    assert [result["errors"][0]["statusCode"] for result in results] == [
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "NUMBER_OUTSIDE_VALID_RANGE", "STRING_TOO_LONG", "INVALID_FIELD", "INVALID_FIELD",
        "INVALID_FIELD",
    ]  # fmt: skip
    assert results[0]["errors"][0]["fields"] == ["Crossfoot_Status__c"]
    assert fresh.update({"id": one, **dict.fromkeys(good)})[0]["success"]
    (row,) = fresh.rows(f"SELECT {', '.join(good)} FROM Account WHERE Id = '{one}'")
    assert [row[name] for name in good] == [None] * 6


def test_setup_refuses_what_salesforce_refuses(fresh: Client) -> None:
    assert fresh.field(NAME, **MONEY).status_code == 201
    assert fresh.field(NAME, **MONEY).json()[0]["errorCode"] == "DUPLICATE_DEVELOPER_NAME"
    for name, metadata in (
        ("Nothing.X__c", MONEY), ("Account.NoSuffix", MONEY), ("Account." + "X" * 41 + "__c", MONEY),
        ("Account.X__c", {**MONEY, "scale": 19}), ("Account.X__c", {**MONEY, "label": "x" * 41}),
        *(("Account.X__c", {"type": kind, "label": "x"}) for kind in ("Odd", "Picklist", "Text", "Checkbox")),
    ):  # fmt: skip
        assert fresh.field(name, **metadata).status_code == 400, (name, metadata)
    kept = fresh.grant(NAME)
    double = {"ParentId": kept, "SobjectType": "Account", "Field": NAME, "PermissionsRead": True}
    for name, body, code in (
        ("FieldPermissions", double, "DUPLICATE_VALUE"),
        ("FieldPermissions", {**double, "Field": "Account.No__c"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ("PermissionSet", {"Name": "S1True", "Label": "again"}, "DUPLICATE_DEVELOPER_NAME"),
        ("PermissionSet", {"Name": "N"}, "REQUIRED_FIELD_MISSING"),
        ("PermissionSetAssignment", {"AssigneeId": USER, "PermissionSetId": kept}, "DUPLICATE_VALUE"),
        ("User", {"LastName": "x"}, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"),
    ):
        answer = fresh.call("POST", f"{DATA}/sobjects/{name}", body)
        assert answer.status_code == 400 and answer.json()[0]["errorCode"] == code
    many = fresh.call("GET", f"{DATA}/tooling/query", q="SELECT Id, FullName FROM CustomField")
    assert many.json()[0]["errorCode"] == "MALFORMED_QUERY" and "no more than one row" in many.json()[0]["message"]
    one = "SELECT Id, Metadata FROM CustomField WHERE DeveloperName = 'Crossfoot_Total'"
    (row,) = fresh.call("GET", f"{DATA}/tooling/query", q=one).json()["records"]
    assert row["Metadata"] == MONEY
    assert fresh.call("DELETE", f"{DATA}/tooling/sobjects/CustomField/{row['Id']}").status_code == 204
    assert fresh.refused("SELECT Crossfoot_Total__c FROM Account")["errorCode"] == "INVALID_FIELD"


def test_the_running_user_can_be_asked_for(org: Client) -> None:
    assert org.call("GET", "/services/oauth2/userinfo").json()["user_id"] == USER
    assert org.rows(f"SELECT Username, IsActive FROM User WHERE Id = '{USER}'")[0]["IsActive"] is True
