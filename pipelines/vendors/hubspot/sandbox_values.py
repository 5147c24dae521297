"""What HubSpot's objects and properties are called, and which values a property takes.

Facts are from HubSpot's API reference (https://developers.hubspot.com/docs/api-reference/latest/overview), the search
guide (https://developers.hubspot.com/docs/api-reference/search/guide) and from recorded exchanges with a live portal.
Where neither says, the stricter reading is taken and the comment says "unverified".
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

# A property that was cleared with "" is answered as "" ever after; one that never had a value is null (recorded).
CLEARED = ""
MAX_TEXT = 65_536
DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

KINDS = ("companies", "contacts", "deals", "line_items", "tasks", "notes")
_ALIASES = {
    "company": "companies", "0-2": "companies", "contact": "contacts", "0-1": "contacts", "deal": "deals",
    "0-3": "deals", "line_item": "line_items", "line item": "line_items", "line items": "line_items",
    "0-8": "line_items", "task": "tasks", "0-27": "tasks", "note": "notes", "0-46": "notes",
}  # fmt: skip
SINGULAR = {
    "companies": "COMPANY", "contacts": "CONTACT", "deals": "DEAL", "line_items": "LINE_ITEM", "tasks": "TASK",
    "notes": "NOTE",
}  # fmt: skip# Contacts alone keep their time of change in a property of another name.
MODIFIED = {kind: "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate" for kind in KINDS}
CREATED = {kind: "hs_createdate" if kind in ("tasks", "notes") else "createdate" for kind in KINDS}
DEFAULTS = {
    "companies": ("domain", "name"), "contacts": ("email", "firstname", "lastname"),
    "deals": ("amount", "closedate", "dealname", "dealstage", "pipeline"), "line_items": (), "tasks": (), "notes": (),
}  # fmt: skip
REQUIRED = {"tasks": ("hs_timestamp",), "notes": ("hs_timestamp",)}

GROUP = {
    "companies": "companyinformation", "contacts": "contactinformation", "deals": "dealinformation",
    "line_items": "lineiteminformation", "tasks": "task", "notes": "note",
}  # fmt: skip
_STANDARD: dict[str, dict[str, str]] = {
    "companies": {
        "name": "string", "domain": "string", "website": "string", "phone": "string", "address": "string",
        "city": "string", "state": "string", "zip": "string", "country": "string", "description": "string",
        "twitterhandle": "string", "facebookfans": "number", "numberofemployees": "number",
        "hubspot_owner_id": "enumeration", "hs_parent_company_id": "number", "hs_merged_object_ids": "string",
    },
    "contacts": {
        "email": "string", "firstname": "string", "lastname": "string", "phone": "string", "company": "string",
        "associatedcompanyid": "number", "hubspot_owner_id": "enumeration", "hs_merged_object_ids": "string",
    },
    "deals": {
        "dealname": "string", "pipeline": "enumeration", "dealstage": "enumeration", "amount": "number",
        "deal_currency_code": "enumeration", "amount_in_home_currency": "number", "closedate": "datetime",
        "hs_deal_stage_probability": "number", "hs_is_closed_won": "bool", "hs_is_closed": "bool",
        "hubspot_owner_id": "enumeration", "dealtype": "enumeration", "description": "string",
        "hs_merged_object_ids": "string",
    },
    "line_items": {
        "hs_sku": "string", "name": "string", "description": "string", "quantity": "number", "price": "number",
        "discount": "number", "hs_total_discount": "number", "amount": "number",
        "hs_line_item_currency_code": "enumeration", "recurringbillingfrequency": "enumeration",
        "hs_recurring_billing_start_date": "date", "hs_recurring_billing_number_of_payments": "number",
        "hs_recurring_billing_end_date": "date", "hs_recurring_billing_period": "string",
        "hs_billing_start_delay_months": "number", "hs_billing_start_delay_days": "number", "hs_tcv": "number",
        "hs_product_id": "number",
    },
    "tasks": {
        "hs_timestamp": "datetime", "hs_task_subject": "string", "hs_task_body": "string",
        "hs_task_status": "enumeration", "hs_task_priority": "enumeration", "hs_task_type": "enumeration",
        "hubspot_owner_id": "enumeration",
    },
    "notes": {"hs_timestamp": "datetime", "hs_note_body": "string", "hubspot_owner_id": "enumeration"},
}  # fmt: skip
# Properties that the users of this portal made for themselves.
_CUSTOM: dict[str, dict[str, str]] = {
    "companies": {"billing_email": "string", "crossfoot_customer_ids": "string"},
    "deals": {
        "payment_terms": "string", "contract_start_date": "date", "contract_end_date": "date",
        "invoice_numbers": "string",
    },
}  # fmt: skip
_OPTIONS = {
    "dealtype": ("newbusiness", "existingbusiness"),
    "recurringbillingfrequency": (
        "weekly", "biweekly", "monthly", "quarterly", "per_six_months", "annually", "per_two_years", "per_three_years",
        "per_four_years", "per_five_years",
    ),
    "hs_task_status": ("NOT_STARTED", "IN_PROGRESS", "WAITING", "COMPLETED", "DEFERRED"),
    "hs_task_priority": ("NONE", "LOW", "MEDIUM", "HIGH"),
    "hs_task_type": ("TODO", "CALL", "EMAIL"),
}  # fmt: skip
# Enumerations whose options are kept elsewhere: owners, pipelines and currencies.
_EXTERNAL = ("hubspot_owner_id", "pipeline", "dealstage", "deal_currency_code", "hs_line_item_currency_code")
_READ_ONLY = (
    "hs_object_id", "createdate", "hs_createdate", "hs_lastmodifieddate", "lastmodifieddate", "hs_is_closed",
    "hs_is_closed_won", "amount_in_home_currency", "hs_merged_object_ids", "hs_parent_company_id", "hs_total_discount",
    "hs_tcv",
)  # fmt: skip
_FIELD_TYPES = {
    "string": ("text", "textarea", "phonenumber", "html", "file", "calculation_equation"),
    "number": ("number", "calculation_equation"), "date": ("date",), "datetime": ("date",),
    "enumeration": ("select", "radio", "checkbox", "booleancheckbox", "calculation_equation"),
    "bool": ("booleancheckbox", "calculation_equation"),
}  # fmt: skip

Values = dict[str, str]


class Refused(Exception):
    """The call is answered with an error body of HubSpot's shape."""

    def __init__(self, status: int, message: str, category: str = "VALIDATION_ERROR", **more: Any):
        super().__init__(message)
        self.status = status
        self.body = {"status": "error", "message": message, "category": category, **more}


class Invalid(ValueError):
    """A value that a property does not take; `code` is HubSpot's word for why."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


# Objects of HubSpot's that this sandbox keeps no records of: nothing is associated with them.
_ELSEWHERE = {
    "tickets", "products", "quotes", "calls", "emails", "meetings", "invoices", "orders", "carts", "subscriptions", "discounts", "fees",
    "taxes", "leads", "communications", "postal_mail", "feedback_submissions", "commerce_payments",
}  # fmt: skip


def kept(name: str) -> bool:
    """False for an object that HubSpot has and the sandbox does not; Refused for one that neither has."""
    return name.lower() not in _ELSEWHERE and bool(kind_of(name))


def kind_of(name: str) -> str:
    """The object that a path names: in any case, singular, plural or by its type id."""
    lower = name.lower()
    kind = _ALIASES.get(lower, lower)
    if kind not in KINDS:
        where = "; it is not served by the sandbox" if lower in _ELSEWHERE else ""
        raise Refused(400, f"Unable to infer object type from: {name}{where}")
    return kind


# --- Times and numbers as HubSpot writes them


def to_ms(moment: datetime) -> int:
    """Whole milliseconds since 1970; what is finer is dropped, as HubSpot does."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def stamp(ms: int) -> str:
    """createdAt, updatedAt and the properties of the same meaning: ISO with milliseconds and Z."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(ms: int) -> str:
    """A datetime property: ISO with Z, milliseconds only where there are any (unverified)."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat().replace("+00:00", "Z").replace("000Z", "Z")


def parse_ms(text: str) -> int:
    """Milliseconds of epoch-millisecond text or ISO text (a date is its midnight UTC). ValueError otherwise."""
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text)
    moment = datetime.fromisoformat(text)
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def plain(number: Decimal | int | None) -> str | None:
    """A number as its text, without exponent."""
    return None if number is None else format(number, "f")


def binary_expansion(share: Decimal) -> str:
    """The text of the nearest binary fraction, which is how HubSpot shows a stage's probability on a deal."""
    over, under = share.as_integer_ratio()
    return format(Decimal(over / under), "f")


# --- Properties


@dataclass(frozen=True)
class Property:
    """A property's definition. `options` are its allowed values; `external` ones are kept elsewhere."""

    name: str
    label: str
    type: str
    field_type: str
    group: str
    options: tuple[Mapping[str, Any], ...] = ()
    description: str = ""
    read_only: bool = False
    unique: bool = False
    custom: bool = False

    @property
    def calculated(self) -> bool:
        return self.field_type == "calculation_equation"

    @property
    def external(self) -> bool:
        return not self.custom and self.name in _EXTERNAL

    def shown(self) -> dict[str, Any]:
        """The definition as the properties API answers it."""
        return {
            "updatedAt": "2020-01-06T08:00:00.000Z", "createdAt": "2020-01-06T08:00:00.000Z", "name": self.name,
            "label": self.label, "type": self.type, "fieldType": self.field_type, "description": self.description,
            "groupName": self.group, "options": list(self.options), "displayOrder": -1, "calculated": self.calculated,
            "externalOptions": self.external, "archived": False, "hasUniqueValue": self.unique, "hidden": False,
            "hubspotDefined": not self.custom, "formField": False, "dataSensitivity": "non_sensitive",
            "modificationMetadata": {
                "archivable": self.custom, "readOnlyDefinition": not self.custom, "readOnlyValue": self.read_only or self.calculated,
            },
        }  # fmt: skip


def _options(values: Iterable[str]) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {"label": value.replace("_", " ").title(), "value": value, "displayOrder": order, "hidden": False}
        for order, value in enumerate(values)
    )


def standard_properties(kind: str) -> dict[str, Property]:
    """HubSpot's own properties of an object that the sandbox knows, and those its users made."""
    system = {"hs_object_id": "number", CREATED[kind]: "datetime", MODIFIED[kind]: "datetime"}
    found = {}
    for names, custom in (({**_STANDARD[kind], **system}, False), (_CUSTOM.get(kind, {}), True)):
        for name, type_ in names.items():
            found[name] = Property(
                name, name.replace("_", " ").title(), type_, _FIELD_TYPES[type_][0], GROUP[kind],
                _options(_OPTIONS.get(name, ())), read_only=name in _READ_ONLY, custom=custom,
            )  # fmt: skip
    return found


def parse_property(body: Any, groups: Mapping[str, Any]) -> Property:
    """The definition that a create call asks for; Refused names what is missing or not allowed."""
    missing = [key for key in ("name", "label", "type", "fieldType", "groupName") if not body.get(key)]
    if missing:
        raise Refused(400, f"Invalid input JSON: missing required fields: {', '.join(missing)}")
    name, type_ = body["name"], body["type"]
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name):
        raise Refused(400, f"Property name '{name}' is invalid: lower-case letters, digits and underscores only")
    if type_ not in _FIELD_TYPES or body["fieldType"] not in _FIELD_TYPES[type_]:
        raise Refused(400, f"Property '{name}': fieldType '{body['fieldType']}' is not allowed with type '{type_}'")
    if body["groupName"] not in groups:
        raise Refused(400, f"Property group '{body['groupName']}' does not exist")
    options = body.get("options", [])
    values = [option.get("value") for option in options]
    if type_ == "enumeration" and (not values or None in values or len(set(values)) < len(values)):
        raise Refused(400, f"Property '{name}' needs options, each with a value of its own")
    return Property(name, body["label"], type_, body["fieldType"], body["groupName"], tuple(options),
                    body.get("description", ""), unique=bool(body.get("hasUniqueValue")), custom=True)  # fmt: skip


def clean(definition: Property, value: Any, options: Iterable[str]) -> str:
    """The text that HubSpot keeps for a written value; `Invalid` when the property does not take it."""
    if not isinstance(value, str):
        # HubSpot's schema has text only; what it makes of other JSON values is unverified, so none is taken.
        raise Invalid("INVALID_STRING", f"{value!r} is not a string")
    if value == "":
        return CLEARED
    return _CLEANERS[definition.type](definition, value, options)


def _clean_text(definition: Property, value: str, options: Iterable[str]) -> str:
    if len(value) > MAX_TEXT:
        raise Invalid("PROPERTY_LENGTH_TOO_LARGE", f"{len(value)} characters are more than {MAX_TEXT}")
    return value


def _clean_number(definition: Property, value: str, options: Iterable[str]) -> str:
    if not NUMBER.fullmatch(value):
        raise Invalid("INVALID_DOUBLE", f"{value} was not a valid number.")
    return value


def _clean_moment(definition: Property, value: str, options: Iterable[str]) -> str:
    try:
        ms = parse_ms(value)
        if definition.type == "datetime":
            return instant(ms)
        day = (EPOCH + timedelta(milliseconds=ms)).date().isoformat()
    except (ValueError, OverflowError) as error:
        raise Invalid("INVALID_DATE", f"{value} was not a valid {definition.type}.") from error
    if ms % DAY_MS:
        raise Invalid("INVALID_DATE", f"{value} is at {stamp(ms)[11:]}, not midnight!")
    return day


def _clean_choice(definition: Property, value: str, options: Iterable[str]) -> str:
    allowed = set(options)
    chosen = value.split(";") if definition.field_type == "checkbox" else [value]
    if not allowed.issuperset(chosen):
        raise Invalid("INVALID_OPTION", f"{value} was not one of the allowed options: [{', '.join(sorted(allowed))}]")
    return value


_CLEANERS: dict[str, Callable[[Property, str, Iterable[str]], str]] = {
    "string": _clean_text, "number": _clean_number, "date": _clean_moment, "datetime": _clean_moment,
    "enumeration": _clean_choice, "bool": _clean_choice,
}  # fmt: skip
