"""Crossfoot's fields as Salesforce knows them: names and types, Tooling API bodies, a deployable metadata package.

Facts: https://developer.salesforce.com/docs/atlas.en-us.api_meta.meta/api_meta/customfield.htm (types, value sets),
https://developer.salesforce.com/docs/atlas.en-us.api_tooling.meta/api_tooling/tooling_api_objects_customfield.htm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from pipelines.vendors.crm_types import IDS_LENGTH, Deviation, Field
from pipelines.vendors.salesforce import VERSION

ACCOUNTS, OPPORTUNITIES = "accounts", "opportunities"
SOBJECTS = {ACCOUNTS: "Account", OPPORTUNITIES: "Opportunity"}

PREFIX = "Crossfoot_"
CUSTOM = "__c"
PERMISSION_SET = "Crossfoot"
PERMISSION_SET_NOTE = "Lets its users see and edit the fields that Crossfoot keeps."
SETUP = "run crossfoot setup-crm"
LENGTHEN = "make it longer in Salesforce's setup"
REPLACE = f"delete it in Salesforce's setup and {SETUP}"
OPEN = f"{SETUP}, or assign the permission set {PERMISSION_SET} to the user that Crossfoot signs in as"
# Characters by canonical type; 255 is the most that a Text field keeps.
LENGTHS = {"text": 255, "ids": IDS_LENGTH}
# {canonical type: (digits in all, digits behind the point)}; 18 digits are the most that a number has.
DIGITS = {"money": (18, 2), "number": (17, 1), "integer": (18, 0)}
NAMESPACE = "http://soap.sforce.com/2006/04/metadata"

# {canonical type: (type in metadata, type in describe)}
_TYPES = {
    "money": ("Currency", "currency"),
    "number": ("Number", "double"),
    "integer": ("Number", "double"),
    "date": ("Date", "date"),
    "datetime": ("DateTime", "datetime"),
    "enumeration": ("Picklist", "picklist"),
    "text": ("Text", "string"),
    "ids": ("Text", "string"),
}


def api_name(field: Field) -> str:
    """The field's API name: "financials_as_of" -> "Crossfoot_Financials_As_Of__c"."""
    return developer_name(field) + CUSTOM


def developer_name(field: Field) -> str:
    """The API name without the suffix of custom fields, as the Tooling API lists it."""
    return PREFIX + "_".join(part.capitalize() for part in field.name.split("_"))


def types(object: str, field: Field) -> tuple[str, str]:
    """(type in metadata, type in describe) of a field of "accounts" or "opportunities".

    An account's amounts are in base currency, and a Currency field would show them in the record's own: they are plain
    numbers. An opportunity's amounts are in its currency.
    """
    if field.type == "money" and object == ACCOUNTS:
        return _TYPES["number"]
    return _TYPES[field.type]


def definition(object: str, field: Field) -> dict[str, Any]:
    """The field's CustomField metadata, as the Tooling API takes it in `Metadata` and a package in XML."""
    metadata: dict[str, Any] = {"label": field.label, "type": types(object, field)[0], "required": False}
    if field.description:
        metadata["description"] = field.description
    if field.type in DIGITS:
        metadata["precision"], metadata["scale"] = DIGITS[field.type]
    elif field.type in LENGTHS:
        metadata["length"] = LENGTHS[field.type]
    elif field.type == "enumeration":
        values = [_value(option) for option in field.options]
        metadata["valueSet"] = {"restricted": True, "valueSetDefinition": {"sorted": False, "value": values}}
    return metadata


def tooling_body(object: str, field: Field) -> dict[str, Any]:
    """Body of POST tooling/sobjects/CustomField."""
    return {"FullName": full_name(object, field), "Metadata": definition(object, field)}


def full_name(object: str, field: Field) -> str:
    """The field's name with its object's: "Account.Crossfoot_Days_Overdue__c"."""
    return f"{SOBJECTS[object]}.{api_name(field)}"


def deviations(object: str, field: Field, there: Mapping[str, Any] | None) -> Iterator[Deviation]:
    """How the field that `describe` lists, None where it lists none, differs from what Crossfoot needs.

    `describe` leaves out a field that the user may not see; `updateable` is false of one that it may only read. A restricted
    picklist takes its active values only, any other picklist takes every value. Source: SOAP API developer guide,
    describeSObjects (Field, PicklistEntry).
    """
    name, wanted = f"field {full_name(object, field)}", types(object, field)[1]
    if there is None:
        yield Deviation(field, name, "is missing, or the user that signs in may not see it", SETUP, refuses=None, alters=True,
                        repairable=True, absent=True)
        return
    if there["type"] != wanted:
        yield Deviation(field, name, f"is of type {there['type']!r}, not {wanted!r}", REPLACE, alters=True)
        return
    if there["calculated"]:
        yield Deviation(field, name, "is a formula", REPLACE, refuses=None)
    elif not there["updateable"]:
        yield Deviation(field, name, "cannot be edited by the user that signs in", OPEN, refuses=None, repairable=True)
    if field.type in DIGITS:
        digits, decimals = DIGITS[field.type]
        if there["scale"] < decimals:
            yield Deviation(field, name, f"keeps {there['scale']} decimals, not {decimals}", REPLACE, alters=True)
        if there["precision"] - there["scale"] < digits - decimals:
            yield Deviation(field, name, f"keeps {there['precision'] - there['scale']} digits before the point, not {digits - decimals}",
                            LENGTHEN)
    if field.type in LENGTHS and there["length"] < LENGTHS[field.type]:
        yield Deviation(field, name, f"keeps {there['length']} characters, not {LENGTHS[field.type]}", LENGTHEN)
    if there.get("unique"):
        yield Deviation(field, name, "takes each value once", "allow duplicate values in Salesforce's setup")
    if not there["nillable"]:
        yield Deviation(field, name, "is required, and cannot be cleared", "make it optional in Salesforce's setup", refuses=(None,))
    if field.options and there["restrictedPicklist"]:
        active = {value["value"] for value in there["picklistValues"] if value["active"]}
        lacking = tuple(option for option in field.options if option not in active)
        if lacking:
            yield Deviation(field, name, f"lacks the values {', '.join(lacking)}", SETUP, refuses=lacking, repairable=True)


def with_options(field: Field, metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """A picklist's CustomField metadata with all of the field's options as active values; those that people added stay.
    None where the values are a global value set's, which other fields share."""
    value_set = metadata.get("valueSet") or {}
    if not value_set.get("valueSetDefinition"):
        return None
    values = [dict(value) for value in value_set["valueSetDefinition"]["value"]]
    known = {value["fullName"] if "fullName" in value else value["valueName"]: value for value in values}
    for option in field.options:
        if option not in known:
            values.append(_value(option))
        elif known[option].get("isActive") is False:
            known[option]["isActive"] = True
    return {**metadata, "valueSet": {**value_set, "valueSetDefinition": {**value_set["valueSetDefinition"], "value": values}}}


def _value(option: str) -> dict[str, Any]:
    return {"fullName": option, "default": False, "label": option}


def package(fields: Mapping[str, Mapping[Field, Mapping[str, Any] | None]]) -> dict[str, str]:
    """A package in metadata format of fields ({"accounts" | "opportunities": {field: its CustomField metadata}}) and the
    permission set that shows them: {path: text}. A field without metadata is left as it is and only shown. Deployed by `sf
    project deploy start --metadata-dir FOLDER` or any deployment tool; the permission set is then to be assigned to the user that
    Crossfoot signs in as."""
    shown = {object: list(found) for object, found in fields.items() if found}
    made = {object: {field: metadata for field, metadata in found.items() if metadata} for object, found in fields.items()}
    files = {f"objects/{SOBJECTS[object]}.object": _object_xml(found) for object, found in made.items() if found}
    files[f"permissionsets/{PERMISSION_SET}.permissionset"] = _permission_set_xml(shown)
    members = [full_name(object, field) for object, found in made.items() for field in found]
    return {"package.xml": _package_xml(members), **files}


def _package_xml(members: Sequence[str]) -> str:
    kinds = [{"members": list(members), "name": "CustomField"}, {"members": [PERMISSION_SET], "name": "PermissionSet"}]
    return _xml("Package", {"types": [kind for kind in kinds if kind["members"]], "version": VERSION.removeprefix("v")})


def _object_xml(fields: Mapping[Field, Mapping[str, Any]]) -> str:
    return _xml("CustomObject", {"fields": [{"fullName": api_name(field), **_deployable(metadata)} for field, metadata in fields.items()]})


def _deployable(metadata: Any) -> Any:
    """Metadata as a package has it: without what is null or empty, and a value under fullName, where the Tooling API writes valueName."""
    if isinstance(metadata, Mapping):
        kept = {name: _deployable(value) for name, value in metadata.items() if value not in (None, [], {})}
        return {"fullName": kept.pop("valueName"), **kept} if "valueName" in kept else kept
    return [_deployable(value) for value in metadata] if isinstance(metadata, list) else metadata


def _permission_set_xml(fields: Mapping[str, Sequence[Field]]) -> str:
    permissions = [
        {"editable": True, "field": full_name(object, field), "readable": True}
        for object, found in fields.items()
        for field in found
    ]
    return _xml("PermissionSet", {
        "description": PERMISSION_SET_NOTE, "fieldPermissions": permissions, "hasActivationRequired": False,
        "label": PERMISSION_SET,
    })


def _xml(root: str, content: Mapping[str, Any]) -> str:
    top = ElementTree.Element(root, xmlns=NAMESPACE)
    _fill(top, content)
    ElementTree.indent(top, "    ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(top, encoding="unicode") + "\n"


def _fill(parent: ElementTree.Element, content: Mapping[str, Any]) -> None:
    """A mapping becomes an element with children, a list one element for each entry, a flag true or false."""
    for name, value in content.items():
        for entry in value if isinstance(value, list) else [value]:
            element = ElementTree.SubElement(parent, name)
            if isinstance(entry, Mapping):
                _fill(element, entry)
            else:
                element.text = str(entry).lower() if isinstance(entry, bool) else str(entry)
