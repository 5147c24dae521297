"""Crossfoot's fields as Salesforce knows them: names and types, Tooling API bodies, a deployable metadata package.

Facts: https://developer.salesforce.com/docs/atlas.en-us.api_meta.meta/api_meta/customfield.htm (types, value sets),
https://developer.salesforce.com/docs/atlas.en-us.api_tooling.meta/api_tooling/tooling_api_objects_customfield.htm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from pipelines.vendors.crm_types import IDS_LENGTH, Field
from pipelines.vendors.salesforce import VERSION

ACCOUNTS, OPPORTUNITIES = "accounts", "opportunities"
SOBJECTS = {ACCOUNTS: "Account", OPPORTUNITIES: "Opportunity"}

PREFIX = "Crossfoot_"
CUSTOM = "__c"
PERMISSION_SET = "Crossfoot"
PERMISSION_SET_NOTE = "Lets its users see and edit the fields that Crossfoot keeps."
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
        values = [{"fullName": option, "default": False, "label": option} for option in field.options]
        metadata["valueSet"] = {"restricted": True, "valueSetDefinition": {"sorted": False, "value": values}}
    return metadata


def tooling_body(object: str, field: Field) -> dict[str, Any]:
    """Body of POST tooling/sobjects/CustomField."""
    return {"FullName": full_name(object, field), "Metadata": definition(object, field)}


def full_name(object: str, field: Field) -> str:
    """The field's name with its object's: "Account.Crossfoot_Days_Overdue__c"."""
    return f"{SOBJECTS[object]}.{api_name(field)}"


def unfit(object: str, field: Field, described: Mapping[str, Any]) -> str | None:
    """Why the field that `describe` lists cannot keep Crossfoot's values, in half a sentence; None when it can."""
    wanted = types(object, field)[1]
    if described["type"] != wanted:
        return f"is of type {described['type']!r}, not {wanted!r}"
    if described.get("calculated"):
        return "is a formula"
    if field.type in DIGITS and described.get("scale", DIGITS[field.type][1]) < DIGITS[field.type][1]:
        return f"keeps {described['scale']} decimals, not {DIGITS[field.type][1]}"
    return None


def package(fields: Mapping[str, Sequence[Field]]) -> dict[str, str]:
    """A package in metadata format that makes `fields` ({"accounts" | "opportunities": fields}) and the permission set
    that shows them: {path: text}. Deployed by `sf project deploy start --metadata-dir FOLDER` or any deployment tool;
    the permission set is then to be assigned to the user that Crossfoot signs in as."""
    wanted = {object: list(found) for object, found in fields.items() if found}
    files = {f"objects/{SOBJECTS[object]}.object": _object_xml(object, found) for object, found in wanted.items()}
    files[f"permissionsets/{PERMISSION_SET}.permissionset"] = _permission_set_xml(wanted)
    members = [full_name(object, field) for object, found in wanted.items() for field in found]
    return {"package.xml": _package_xml(members), **files}


def _package_xml(members: Sequence[str]) -> str:
    kinds = [{"members": list(members), "name": "CustomField"}, {"members": [PERMISSION_SET], "name": "PermissionSet"}]
    return _xml("Package", {"types": [kind for kind in kinds if kind["members"]], "version": VERSION.removeprefix("v")})


def _object_xml(object: str, fields: Sequence[Field]) -> str:
    return _xml("CustomObject", {"fields": [{"fullName": api_name(field), **definition(object, field)} for field in fields]})


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
