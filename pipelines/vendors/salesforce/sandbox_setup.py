"""The org's setup: custom fields by the Tooling API, and the permission sets that open them to the running user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.vendors.salesforce.sandbox_records import STAMP
from pipelines.vendors.salesforce.sandbox_render import RUNNING_USER, Values
from pipelines.vendors.salesforce.sandbox_schema import Field, Object, make_id
from pipelines.vendors.salesforce.sandbox_soql import stamp
from pipelines.vendors.salesforce.sandbox_values import Refused, new_field

if TYPE_CHECKING:
    from pipelines.vendors.salesforce.sandbox_state import Org


def check_setup(org: Org, one: Object, values: Values) -> None:
    """What permission sets are particular about."""
    rows = [record.values for record in org.tables[one.name].records.values()]
    if one.name == "PermissionSet" and any(row["Name"] == values["Name"] for row in rows):
        raise Refused("DUPLICATE_DEVELOPER_NAME", f"The name {values['Name']} is already used by another permission set", ["Name"])
    if one.name == "FieldPermissions":
        check_permission(org, values)
        if any((row["ParentId"], row["Field"]) == (values["ParentId"], values["Field"]) for row in rows):
            raise Refused("DUPLICATE_VALUE", f"duplicate value found: Field duplicates value on record with id: {values['Field']}", [])
    if one.name == "PermissionSetAssignment":
        pair = (values["AssigneeId"], values["PermissionSetId"])
        if any((row["AssigneeId"], row["PermissionSetId"]) == pair for row in rows):
            raise Refused("DUPLICATE_VALUE", f"Duplicate PermissionSetAssignment. Assignee: {pair[0]}; Permission Set: {pair[1]}", [])


def check_permission(org: Org, values: Values) -> None:
    """Refused for a permission on a field that is none; else the field is spelled as it is named."""
    name, _, field = values["Field"].partition(".")
    target = org.objects.get(name.lower())
    found = target.fields.get(field.lower()) if target else None
    if found is None or name.lower() != values["SobjectType"].lower():
        message = f"Field Name: bad value for restricted picklist field: {values['Field']}"
        raise Refused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, ["Field"])
    values["Field"] = f"{target.name}.{found.name}" if target else values["Field"]
    if not values.get("PermissionsRead"):
        raise Refused("FIELD_INTEGRITY_EXCEPTION", "Permission to edit or nothing at all needs permission to read", ["PermissionsRead"])


def regrant(org: Org) -> None:
    """Works out anew which fields the running user may see and write."""
    assigned = {
        record.values["PermissionSetId"] for record in org.tables["PermissionSetAssignment"].records.values()
        if record.values["AssigneeId"] == RUNNING_USER
    }  # fmt: skip
    rows = [r.values for r in org.tables["FieldPermissions"].records.values() if r.values["ParentId"] in assigned]
    org.readable = {row["Field"] for row in rows if row.get("PermissionsRead")}
    org.editable = {row["Field"] for row in rows if row.get("PermissionsEdit")}


def create_field(org: Org, body: Mapping[str, Any]) -> str:
    """A CustomField of the Tooling API: FullName "Account.Name__c" and Metadata. Its id."""
    name, _, field = str(body.get("FullName") or "").partition(".")
    one = org.objects.get(name.lower())
    if one is None or not one.writable:
        raise Refused("INVALID_FIELD", f"FullName: no such object: {name or None}", ["FullName"])
    if field.lower() in one.fields:
        raise Refused("DUPLICATE_DEVELOPER_NAME", f"There is already a field named {field.removesuffix('__c')} on {one.label}.", [])
    made = new_field(field, body.get("Metadata"))
    one.add(made)
    return list_custom(org, one, made, dict(body["Metadata"]))


def list_custom(org: Org, one: Object, made: Field, metadata: dict[str, Any]) -> str:
    """Lists a field as a CustomField of the Tooling API; its id."""
    now = stamp(org.clock.now())
    number = org.next_numbers["CustomField"] = org.next_numbers.get("CustomField", 0) + 1
    one_id = make_id("CustomField", number)
    org.put("CustomField", one_id, {
        "DeveloperName": made.name.removesuffix("__c"), "TableEnumOrId": one.name, "FullName": f"{one.name}.{made.name}",
        "Metadata": metadata, "InlineHelpText": made.help, "CreatedDate": now, "CreatedById": RUNNING_USER,
        "LastModifiedDate": now, "LastModifiedById": RUNNING_USER, STAMP: now,
    })  # fmt: skip
    return one_id


def update_field(org: Org, text: str, body: Mapping[str, Any]) -> None:
    """Gives a custom field the Metadata of the body, which is whole; its name and its permissions stay."""
    record = org.find(org.object("CustomField", tooling=True), text)
    one, name = org.objects[record.values["TableEnumOrId"].lower()], record.values["FullName"].partition(".")[2]
    one.add(new_field(name, body.get("Metadata")))
    record.values["Metadata"] = dict(body["Metadata"])


def delete_field(org: Org, text: str) -> None:
    """Deletes a custom field with its permissions; what records hold of it is out of sight."""
    record = org.find(org.object("CustomField", tooling=True), text)
    full = record.values["FullName"]
    del org.objects[record.values["TableEnumOrId"].lower()].fields[full.partition(".")[2].lower()]
    org.tables["CustomField"].drop(record.id)
    for permission in [r for r in org.tables["FieldPermissions"].records.values() if r.values["Field"] == full]:
        org.tables["FieldPermissions"].drop(permission.id)
    regrant(org)
