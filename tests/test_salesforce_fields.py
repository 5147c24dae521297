"""Crossfoot's fields in Salesforce: their definition, creation and package."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from salesforce_crm_fixture import FIELDS, OWNER, described, page, refused, scripted

from pipelines.http import ApiError
from pipelines.vendors.crm_types import (
    ACCOUNT_FIELDS,
    DEAL_FIELDS,
    Field,
    FieldsMissing,
)
from pipelines.vendors.salesforce import crm_metadata as metadata
from pipelines.vendors.salesforce.crm import DATA

# -- fields


def test_names_follow_the_canonical_names():
    assert metadata.api_name(FIELDS["financials_as_of"]) == "Crossfoot_Financials_As_Of__c"
    assert metadata.api_name(FIELDS["customer_ids"]) == "Crossfoot_Customer_Ids__c"
    names = [metadata.developer_name(field) for field in FIELDS.values()]
    assert all(len(name) <= 40 for name in names) and len(set(names)) == len(names)


def test_only_an_opportunitys_amounts_are_in_the_records_currency():
    assert metadata.types("accounts", FIELDS["total_outstanding"]) == ("Number", "double")
    assert metadata.types("opportunities", FIELDS["contracted_amount"]) == ("Currency", "currency")


@pytest.mark.parametrize(
    ("object", "name", "said"),
    [
        ("accounts", "total_outstanding", {"type": "Number", "precision": 18, "scale": 2}),
        ("opportunities", "contracted_amount", {"type": "Currency", "precision": 18, "scale": 2}),
        ("accounts", "days_overdue", {"type": "Number", "precision": 18, "scale": 0}),
        ("accounts", "average_days_to_pay", {"type": "Number", "precision": 17, "scale": 1}),
        ("accounts", "last_invoice_date", {"type": "Date"}),
        ("accounts", "financials_as_of", {"type": "DateTime"}),
        ("opportunities", "variance_cause", {"type": "Text", "length": 255}),
        ("accounts", "customer_ids", {"type": "Text", "length": 255}),
    ],
)
def test_a_fields_definition(object, name, said):
    made = metadata.definition(object, FIELDS[name])
    assert {key: made[key] for key in made if key not in ("label", "description", "required")} == said
    assert (made["label"], made["required"]) == (FIELDS[name].label, False)


def test_a_choice_is_a_restricted_picklist_in_its_own_order():
    value_set = metadata.definition("accounts", FIELDS["financial_status"])["valueSet"]
    assert value_set["restricted"] is True and value_set["valueSetDefinition"]["sorted"] is False
    assert [value["fullName"] for value in value_set["valueSetDefinition"]["value"]] == ["No Invoices", "Credit Hold", "Overdue", "Current"]


def test_fields_that_are_invisible_or_read_only_are_missing():
    seen = described("opportunities", *DEAL_FIELDS[1:])
    seen["fields"][1]["updateable"] = False
    found = scripted(seen)[0].missing_fields("opportunities")
    assert [(one.field, one.absent, one.repairable) for one in found] == [(DEAL_FIELDS[0], True, True), (DEAL_FIELDS[1], False, True)]


IDENTITY = {"identity": f"https://acme.my.salesforce.com/id/00D000000000001AAA/{OWNER}", "query": "/services/data/v68.0/query"}
MADE = (201, {"id": "00N000000000001AAA", "success": True, "errors": []})


def test_new_fields_are_created_and_opened_to_the_user():
    status, days = ACCOUNT_FIELDS[:2]
    crm, api = scripted(
        page(), MADE, MADE, page(), (201, {"id": "0PS000000000001AAA"}), page(), MADE, MADE, IDENTITY, page(), MADE,
        described("accounts", status, days),
    )
    crm.create_fields("accounts", [status, days])
    posts = [(path.removeprefix(f"{DATA}/"), sent) for method, path, sent, _ in api.calls if method == "POST"]
    assert [path for path, _ in posts] == [
        "tooling/sobjects/CustomField", "tooling/sobjects/CustomField", "sobjects/PermissionSet", "sobjects/FieldPermissions",
        "sobjects/FieldPermissions", "sobjects/PermissionSetAssignment",
    ]
    assert posts[0][1] == {"FullName": "Account.Crossfoot_Financial_Status__c", "Metadata": metadata.definition("accounts", status)}
    assert posts[2][1]["Name"] == posts[2][1]["Label"] == "Crossfoot"
    assert posts[4][1] == {
        "ParentId": "0PS000000000001AAA", "SobjectType": "Account", "Field": "Account.Crossfoot_Days_Overdue__c",
        "PermissionsRead": True, "PermissionsEdit": True,
    }
    assert posts[5][1] == {"AssigneeId": OWNER, "PermissionSetId": "0PS000000000001AAA"}


def test_what_exists_only_gets_what_it_lacks():
    status, days, total = ACCOUNT_FIELDS[:3]
    existing = [{"Id": "00N000000000001AAA", "DeveloperName": metadata.developer_name(field), "NamespacePrefix": None}
                for field in (status, days)]
    foreign = {"Id": "00N000000000002AAA", "DeveloperName": metadata.developer_name(total),
               "NamespacePrefix": "acme"}  # of an installed package
    granted = [{"Id": "01k000000000001AAA", "Field": metadata.full_name("accounts", status), "PermissionsEdit": False},
               {"Id": "01k000000000002AAA", "Field": metadata.full_name("accounts", days), "PermissionsEdit": True}]
    crm, api = scripted(
        page(*existing, foreign), MADE, page({"Id": "0PS000000000001AAA"}), page(*granted), (204, None), MADE, IDENTITY,
        page({"Id": "0Pa000000000001AAA"}), described("accounts", status, days, total),
    )
    crm.create_fields("accounts", [status, days, total])
    assert [(method, path.removeprefix(f"{DATA}/")) for method, path, _, _ in api.calls if method != "GET"] == [
        ("POST", "tooling/sobjects/CustomField"), ("PATCH", "sobjects/FieldPermissions/01k000000000001AAA"),
        ("POST", "sobjects/FieldPermissions"),
    ]


def test_what_salesforce_did_not_create_is_named_with_its_words():
    status, days = ACCOUNT_FIELDS[:2]
    crm, _ = scripted(
        page(), refused(400, "CANNOT_CREATE", "too many fields"), MADE, page({"Id": "0PS000000000001AAA"}), page(), MADE, IDENTITY,
        page({"Id": "0Pa000000000001AAA"}), described("accounts", days),
    )
    with pytest.raises(FieldsMissing, match=r"Crossfoot_Financial_Status__c is missing.*\(too many fields \(CANNOT_CREATE\)\)"):
        crm.create_fields("accounts", [status, days])


def test_a_field_that_stays_invisible_is_named():
    status = ACCOUNT_FIELDS[0]
    crm, _ = scripted(
        page(), MADE, page({"Id": "0PS000000000001AAA"}), page(), MADE, IDENTITY, page({"Id": "0Pa000000000001AAA"}), described("accounts")
    )
    with pytest.raises(FieldsMissing, match=r"Crossfoot_Financial_Status__c is missing, or the user that signs in may not see it; run"):
        crm.create_fields("accounts", [status])


@pytest.mark.parametrize("answers", [[refused(404, "NOT_FOUND"), {"user_id": OWNER}], [{"identity": None}, {"user_id": OWNER}], [IDENTITY]])
def test_who_signs_in_is_asked_in_two_places(answers):
    status = ACCOUNT_FIELDS[0]
    crm, api = scripted(
        page(), MADE, page({"Id": "0PS000000000001AAA"}), page(), MADE, *answers, page(), MADE, described("accounts", status)
    )
    crm.create_fields("accounts", [status])
    assert api.calls[-2][2]["AssigneeId"] == OWNER


def test_without_an_answer_to_who_signs_in_the_remedy_is_named():
    crm, _ = scripted(page(), MADE, page({"Id": "0PS000000000001AAA"}), page(), MADE, refused(403, "X"), {"user_id": "acme"})
    with pytest.raises(FieldsMissing, match="assign the permission set Crossfoot to that user by hand"):
        crm.create_fields("accounts", ACCOUNT_FIELDS[:1])
    with pytest.raises(ApiError):
        scripted(page(), MADE, page({"Id": "0PS000000000001AAA"}), page(), MADE, refused(500, "X"))[0].create_fields(
            "accounts", ACCOUNT_FIELDS[:1]
        )


def test_nothing_to_create_is_no_call():
    crm, api = scripted()
    crm.create_fields("accounts", [])
    assert api.calls == []


def new(object, fields):
    """Fields that the org does not have, each with its metadata."""
    return {field: metadata.definition(object, field) for field in fields}


def test_the_package_holds_every_field_once_and_is_escaped():
    odd = Field("odd_one", 'A & B <"C">', "enumeration", options=("x < y", "a & b"), description="<script>")
    files = metadata.package({"accounts": new("accounts", [*ACCOUNT_FIELDS, odd]), "opportunities": new("opportunities", DEAL_FIELDS)})
    assert sorted(files) == [
        "objects/Account.object", "objects/Opportunity.object", "package.xml", "permissionsets/Crossfoot.permissionset",
    ]
    trees = {path: ElementTree.fromstring(text) for path, text in files.items()}
    space = {"m": metadata.NAMESPACE}
    account = trees["objects/Account.object"]
    assert account.tag == f"{{{metadata.NAMESPACE}}}CustomObject"
    names = [element.text for element in account.findall("m:fields/m:fullName", space)]
    assert names == [metadata.api_name(field) for field in (*ACCOUNT_FIELDS, odd)]
    last = account.findall("m:fields", space)[-1]
    assert (last.findtext("m:label", None, space), last.findtext("m:description", None, space)) == ('A & B <"C">', "<script>")
    values = last.findall("m:valueSet/m:valueSetDefinition/m:value/m:fullName", space)
    assert [value.text for value in values] == ["x < y", "a & b"] and last.findtext("m:valueSet/m:restricted", None, space) == "true"
    members = [element.text for element in trees["package.xml"].findall("m:types/m:members", space)]
    opened = [element.text for element in trees["permissionsets/Crossfoot.permissionset"].findall("m:fieldPermissions/m:field", space)]
    assert members == [*opened, "Crossfoot"] and len(set(members)) == len(ACCOUNT_FIELDS) + 1 + len(DEAL_FIELDS) + 1
    assert trees["package.xml"].findtext("m:version", None, space) == "68.0"


def test_the_package_leaves_out_objects_without_fields():
    assert sorted(metadata.package({"accounts": {}, "opportunities": new("opportunities", DEAL_FIELDS[:1])})) == [
        "objects/Opportunity.object", "package.xml", "permissionsets/Crossfoot.permissionset",
    ]


SPACE = {"m": metadata.NAMESPACE}


def values_in(text):
    """{value of the first field of an .object file: whether it is active}."""
    listed = ElementTree.fromstring(text).findall("m:fields/m:valueSet/m:valueSetDefinition/m:value", SPACE)
    return {one.findtext("m:fullName", None, SPACE): one.findtext("m:isActive", None, SPACE) != "false" for one in listed}


def test_the_package_keeps_every_value_that_people_gave_a_picklist():
    """A deployment deactivates what it does not list. The Tooling API may write valueName, and null for what is not set."""
    status = FIELDS["financial_status"]
    mine = [{"valueName": "Disputed", "label": "In dispute", "isActive": None, "urls": None}, {"valueName": "Retired", "isActive": False},
            {"valueName": "Current", "isActive": False}, {"valueName": "Overdue", "isActive": None}]
    there = metadata.definition("accounts", status) | {"label": "Our own word", "externalId": None, "valueSet": {
        "restricted": True, "controllingField": None, "valueSetDefinition": {"sorted": True, "value": mine}}}
    crm, _ = scripted(page({"Id": "00N000000000001AAA", "DeveloperName": metadata.developer_name(status), "NamespacePrefix": None}),
                      {"Metadata": there})
    text = crm.package({"accounts": [status]})["objects/Account.object"]
    assert values_in(text) == {"Disputed": True, "Retired": False, "Current": True, "Overdue": True, "No Invoices": True,
                               "Credit Hold": True}
    field = ElementTree.fromstring(text).find("m:fields", SPACE)
    assert field.findtext("m:label", None, SPACE) == "Our own word" and field.find("m:externalId", SPACE) is None
    assert field.findtext("m:valueSet/m:valueSetDefinition/m:sorted", None, SPACE) == "true"
    assert "In dispute" in text and "valueName" not in text and "None" not in text


def test_a_field_that_is_complete_and_invisible_is_only_opened_by_the_package():
    status, days = ACCOUNT_FIELDS[:2]
    there = metadata.definition("accounts", status)
    there["valueSet"]["valueSetDefinition"]["value"].append({"fullName": "Disputed", "default": False, "label": "Disputed"})
    crm, _ = scripted(page(*({"Id": "00N000000000001AAA", "DeveloperName": metadata.developer_name(field), "NamespacePrefix": None}
                             for field in (status, days))), {"Metadata": there})
    files = crm.package({"accounts": [status, days]})
    assert sorted(files) == ["package.xml", "permissionsets/Crossfoot.permissionset"]
    assert metadata.api_name(status) in files["permissionsets/Crossfoot.permissionset"] and "CustomField" not in files["package.xml"]


def test_no_package_is_written_where_nobody_knows_what_people_added():
    crm, _ = scripted(refused(400, "INVALID_TYPE", "sObject type 'CustomField' is not supported."))
    with pytest.raises(FieldsMissing, match=r"cannot be read \(sObject type .* supported. \(INVALID_TYPE\)\).*View Setup"):
        crm.package({"accounts": ACCOUNT_FIELDS[:1]})
    there = {"Id": "00N000000000001AAA", "DeveloperName": metadata.developer_name(ACCOUNT_FIELDS[0]), "NamespacePrefix": None}
    crm, _ = scripted(page(there), {"Metadata": {"valueSet": {"valueSetName": "Statuses"}}})
    with pytest.raises(FieldsMissing, match="takes its values from a global value set"):
        crm.package({"accounts": ACCOUNT_FIELDS[:1]})
