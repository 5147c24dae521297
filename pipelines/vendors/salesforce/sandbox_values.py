"""What Salesforce makes of a written value: the form in which it is kept, or the error with which it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from pipelines.vendors.salesforce.sandbox_render import number
from pipelines.vendors.salesforce.sandbox_schema import NUMBERS, SOAP, Field, as_id
from pipelines.vendors.salesforce.sandbox_soql import stamp

EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# More decimals than the field has are rounded, half up (unverified).
ROUNDING = ROUND_HALF_UP


class Refused(Exception):
    """A request or record that is refused. `status` is that of the answer when it is the whole request."""

    def __init__(self, code: str, message: str, fields: list[str] | None = None, status: int = 400):
        super().__init__(message)
        self.code, self.message, self.fields, self.status = code, message, fields, status


class Unreadable(Refused):
    """A JSON value that is of no use for the field's type. Single records and collections say so in different words."""

    def __init__(self, one: Field, value: Any):
        kind = {bool: "TRUE" if value is True else "FALSE", int: "NUMBER_INT", Decimal: "NUMBER_FLOAT", str: "STRING"}.get(type(value))
        kind = kind or {dict: "START_OBJECT", list: "START_ARRAY"}.get(type(value), "NULL")
        wanted = SOAP.get(one.type, "xsd:string").partition(":")[2]
        said = f"VALUE_{kind} value {value}" if not isinstance(value, dict | list) else kind
        super().__init__("JSON_PARSER_ERROR", f"Cannot deserialize instance of {wanted} from {said} or request may be missing a "
                         "required field at [line:1, column:1]")  # fmt: skip
        self.token = one.name

    def of_collection(self) -> Refused:
        """The error of one record of a collection, whose other records are read on (unverified for PATCH)."""
        return Refused("INVALID_FIELD", f"Json Deserialization failed on token '{self.token}' and has left off in the middle of parsing "
                       "a row. Will go to end of row to begin parsing the next row", [])  # fmt: skip


def clean(one: Field, value: Any) -> Any:
    """The value as it is kept; "" is null for every type."""
    if value is None or value == "":
        if one.type == "boolean":
            raise Unreadable(one, value)
        return None
    if one.type in NUMBERS:
        return _number(one, value)
    return _CLEANERS.get(one.type, _text)(one, value)


def _text(one: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise Unreadable(one, value)
    if one.length and len(value) > one.length:
        message = f"{one.title}: data value too large: {value} (max length={one.length})"
        raise Refused("STRING_TOO_LONG", message, [one.name])
    return value


def _number(one: Field, value: Any) -> Decimal | int:
    """Text that is a number counts as one (recorded)."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str) or not NUMBER.fullmatch(str(value)):
        raise Unreadable(one, value)
    try:
        rounded = Decimal(str(value)).quantize(Decimal(1).scaleb(-one.scale), ROUNDING)
    except InvalidOperation:
        rounded = None
    whole_digits = (one.precision or 18) - one.scale
    if rounded is None or abs(rounded) >= Decimal(10) ** whole_digits:
        message = f"{one.title}: value outside of valid range on numeric field: {value}"
        raise Refused("NUMBER_OUTSIDE_VALID_RANGE", message, [one.name])
    return int(rounded) if one.type == "int" else number(rounded) or Decimal("0.0")


def _flag(one: Field, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise Unreadable(one, value)


def _date(one: Field, value: Any) -> str:
    try:
        return date.fromisoformat(value[:10]).isoformat() if re.match(r"\d{4}-\d\d-\d\d(T|$)", value) else _no(one, value)
    except (TypeError, ValueError):
        raise Unreadable(one, value) from None


def _datetime(one: Field, value: Any) -> str:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Unreadable(one, value) from None
    if moment.tzinfo is None or "T" not in value:
        raise Unreadable(one, value)
    return stamp(moment)


def _no(one: Field, value: Any) -> str:
    raise Unreadable(one, value)


def _choice(one: Field, value: Any) -> str:
    text = _text(one, value)
    if one.restricted and text not in one.options:
        message = f"{one.title}: bad value for restricted picklist field: {text}"
        raise Refused("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, [one.name])
    return text


def _email(one: Field, value: Any) -> str:
    text = _text(one, value)
    if not EMAIL.fullmatch(text):
        raise Refused("INVALID_EMAIL_ADDRESS", f"{one.title}: invalid email address: {text}", [one.name])
    return text


def _reference(one: Field, value: Any) -> str:
    whole = as_id(value) if isinstance(value, str) else None
    if whole is None:
        raise Refused("MALFORMED_ID", f"{one.title}: id value of incorrect type: {value}", [one.name])
    return whole


_CLEANERS: dict[str, Callable[[Field, Any], Any]] = {
    "boolean": _flag, "date": _date, "datetime": _datetime, "picklist": _choice, "email": _email, "reference": _reference,
    "id": _reference,
}  # fmt: skip


# -- fields that setup makes ----------------------------------------------------------------------------------------

# Tooling's type -> describe's type.
FIELD_TYPES = {
    "Text": "string", "Number": "double", "Currency": "currency", "Percent": "percent", "Date": "date", "DateTime": "datetime",
    "Checkbox": "boolean", "Picklist": "picklist", "LongTextArea": "textarea", "TextArea": "textarea", "Email": "email",
    "Url": "url", "Phone": "phone",
}  # fmt: skip
FIXED_LENGTHS = {"Email": 80, "Url": 255, "Phone": 40, "TextArea": 255, "Picklist": 255}
MAX_LABEL = MAX_NAME = 40
MAX_HELP = 510
API_NAME = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*__c", re.ASCII)


def new_field(name: str, metadata: Any) -> Field:
    """The field that a CustomField of the Tooling API describes; nobody may see it yet. Refused names what is wrong."""
    if not isinstance(metadata, dict) or metadata.get("type") not in FIELD_TYPES:
        kind = metadata.get("type") if isinstance(metadata, dict) else None
        raise _wrong(f"Cannot create field {name} of type {kind!r}: types are {', '.join(FIELD_TYPES)}")
    if not API_NAME.fullmatch(name) or len(name) > MAX_NAME + len("__c"):
        raise _wrong("The Field Name field can only contain underscores and alphanumeric characters. It must be unique, begin with a "
                     f"letter, not end with an underscore, and have at most {MAX_NAME} characters: {name}")  # fmt: skip
    label = metadata.get("label")
    if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL:
        code = "STRING_TOO_LONG" if label else "REQUIRED_FIELD_MISSING"
        raise Refused(code, f"Label: 1 to {MAX_LABEL} characters, not {label!r}", ["Label"])
    if len(str(metadata.get("inlineHelpText") or "")) > MAX_HELP:
        raise Refused("STRING_TOO_LONG", f"Help Text: data value too large (max length={MAX_HELP})", ["InlineHelpText"])
    sizes = _sizes(metadata["type"], metadata)
    options, restricted = _options(metadata) if metadata["type"] == "Picklist" else ((), False)
    checkbox = metadata["type"] == "Checkbox"
    if checkbox and not isinstance(metadata.get("defaultValue"), bool | str):
        raise _wrong(f"Must specify 'defaultValue' for a CustomField of type Checkbox: {name}")
    default = str(metadata.get("defaultValue")).lower() == "true" if checkbox else None
    return Field(
        name, FIELD_TYPES[metadata["type"]], label=label, options=options, restricted=restricted, default=default,
        nillable=not checkbox, custom=True, granted=False, filterable=metadata["type"] != "LongTextArea",
        calculated=bool(metadata.get("formula")), help=metadata.get("inlineHelpText"), **sizes,
    )  # fmt: skip


def _sizes(kind: str, metadata: dict[str, Any]) -> dict[str, int]:
    """Length, or precision and scale, within what the type allows."""

    def whole(key: str, low: int, high: int) -> int:
        value = metadata.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _wrong(f"Must specify '{key}' from {low} to {high} for a CustomField of type {kind}, not {value!r}")
        return value

    if kind in ("Number", "Currency", "Percent"):
        precision = whole("precision", 1, 18)
        return {"precision": precision, "scale": whole("scale", 0, precision)}
    if kind == "LongTextArea":
        whole("visibleLines", 2, 50)
        return {"length": whole("length", 256, 131072)}
    return {"length": whole("length", 1, 255)} if kind == "Text" else {"length": FIXED_LENGTHS.get(kind, 0)}


def _options(metadata: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
    values = metadata.get("valueSet") or {}
    listed = (values.get("valueSetDefinition") or {}).get("value") or []
    names = [one.get("fullName") or one.get("valueName") for one in listed if isinstance(one, dict)]
    if not names or None in names or len(set(names)) != len(names):
        raise _wrong("Must specify a 'valueSet' with a value of its own for each entry for a CustomField of type Picklist")
    active = (name for name, one in zip(names, listed, strict=True) if one.get("isActive") is not False)
    return tuple(active), bool(values.get("restricted"))


def _wrong(message: str) -> Refused:
    return Refused("FIELD_INTEGRITY_EXCEPTION", message, [])
