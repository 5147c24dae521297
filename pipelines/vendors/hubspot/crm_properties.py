"""Crossfoot's fields as HubSpot's properties: what each needs to be, and how an existing one differs from it.

Facts: HubSpot's OpenAPI file of properties and the models of hubspot-api-client (crm.properties): a definition has `type`,
`fieldType` and `options` always, `calculated`, `hasUniqueValue` and `modificationMetadata` where they apply; what creates or
changes one knows fewer keys than what an answer shows (no `showCurrencySymbol`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.vendors.crm_types import Deviation, Field

GROUP = "crossfoot"
PREFIX = "crossfoot_"
SETUP = "run crossfoot setup-crm"

# {canonical type: (type, field types that keep one such value; the first is what setup creates)}
_TYPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "money": ("number", ("number",)),
    "number": ("number", ("number",)),
    "integer": ("number", ("number",)),
    "date": ("date", ("date",)),
    "datetime": ("datetime", ("date",)),
    "enumeration": ("enumeration", ("select", "radio")),
    "text": ("string", ("text", "textarea")),
    "ids": ("string", ("text", "textarea")),
}
# The keys of an option that HubSpot takes (model OptionInput).
_OPTION_KEYS = ("label", "value", "description", "displayOrder", "hidden")


def definition(field: Field, order: int) -> dict[str, Any]:
    """One input of properties/batch/create (model PropertyCreate)."""
    type, field_types = _TYPES[field.type]
    made: dict[str, Any] = {
        "name": PREFIX + field.name,
        "label": field.label,
        "type": type,
        "fieldType": field_types[0],
        "groupName": GROUP,
        "description": field.description,
        "displayOrder": order,
    }
    if field.options:
        made["options"] = [_option(option, place) for place, option in enumerate(field.options)]
    return made


def deviations(object: str, fields: Sequence[Field], existing: Mapping[str, Mapping[str, Any]]) -> list[Deviation]:
    """How HubSpot's properties of `object`, by name, differ from what `fields` need, in their order."""
    return [one for field in fields for one in _deviations(object, field, existing.get(PREFIX + field.name))]


def _deviations(object: str, field: Field, there: Mapping[str, Any] | None) -> Iterator[Deviation]:
    name = f"property {PREFIX}{field.name} of {object}"
    if there is None:
        yield Deviation(field, name, "is missing", SETUP, refuses=None, alters=True, repairable=True, absent=True)
        return
    type, field_types = _TYPES[field.type]
    rights = there.get("modificationMetadata") or {}
    open_options = not rights.get("readOnlyOptions") and not rights.get("readOnlyDefinition")
    if there["type"] != type:
        yield Deviation(field, name, f"is of type {there['type']!r}, not {type!r}", f"archive it in HubSpot and {SETUP}", alters=True)
        return
    if there.get("calculated") or there["fieldType"] == "calculation_equation":
        yield Deviation(field, name, "is calculated, and takes no values", f"archive it in HubSpot and {SETUP}", refuses=None)
    elif rights.get("readOnlyValue"):
        yield Deviation(field, name, "is read-only", "let the token's app edit it in HubSpot's property settings, or archive it and "
                        + SETUP, refuses=None)
    elif there["fieldType"] not in field_types:
        yield Deviation(field, name, f"is shown as {there['fieldType']!r}, not {field_types[0]!r}",
                        SETUP if not rights.get("readOnlyDefinition") else "change its field type in HubSpot",
                        repairable=not rights.get("readOnlyDefinition"))
    if there.get("hasUniqueValue"):
        yield Deviation(field, name, "takes each value once", f"archive it in HubSpot and {SETUP}")
    if field.options:
        remedy = SETUP if open_options else "add them in HubSpot's property settings"
        known = {option["value"]: option for option in there["options"]}
        lacking = tuple(option for option in field.options if option not in known)
        hidden = [option for option in field.options if option in known and known[option]["hidden"]]
        if lacking:
            yield Deviation(field, name, f"lacks the options {', '.join(lacking)}", remedy, refuses=lacking, repairable=open_options)
        if hidden:
            yield Deviation(field, name, f"hides the options {', '.join(hidden)}", remedy, repairable=open_options)


def repair(field: Field, there: Mapping[str, Any]) -> dict[str, Any]:
    """The body (model PropertyUpdate) that gives an existing property what it lacks; empty where it lacks nothing.

    The options of a change replace all that there were, so those that people added are sent along: a field that is given is overwritten
    (https://developers.hubspot.com/docs/api-reference/legacy/crm/properties/update-property), and no single option can be appended or
    removed (https://developers.hubspot.com/docs/methods/contacts/v2/update_contact_property).
    """
    body: dict[str, Any] = {}
    field_types = _TYPES[field.type][1]
    if there["fieldType"] not in field_types and there["fieldType"] != "calculation_equation":
        body["fieldType"] = field_types[0]
    if field.options:
        known = {option["value"] for option in there["options"]}
        kept = [{key: option[key] for key in _OPTION_KEYS if option.get(key) is not None} for option in there["options"]]
        opened = [option | {"hidden": False} if option["value"] in field.options else option for option in kept]
        added = [option for option in field.options if option not in known]
        wanted = opened + [_option(option, len(opened) + place) for place, option in enumerate(added)]
        if wanted != kept:
            body["options"] = wanted
    return body


def _option(option: str, place: int) -> dict[str, Any]:
    return {"label": option, "value": option, "displayOrder": place, "hidden": False}
