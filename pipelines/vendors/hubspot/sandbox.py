"""HubSpot's CRM API for the sandbox: its state, its rules, its routes and its error bodies.

Facts are from HubSpot's API reference (https://developers.hubspot.com/docs/api-reference/latest/overview), the search
guide (https://developers.hubspot.com/docs/api-reference/search/guide) and from recorded exchanges with a live portal.
Where neither says, the stricter reading is taken and the comment says "unverified".
"""

import re
import uuid
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.entities import Account, Contact, Deal, DealLine
from pipelines.sandbox.faults import Fault
from pipelines.sandbox.world import World
from pipelines.vendors.hubspot import CARD, VERSION

TOKEN = "sandbox-hubspot-token"
# Recorded: a new record was found by search after two to three seconds of polling.
SEARCH_LAG_SECONDS = 3
# A property that was cleared with "" is answered as "" ever after; one that never had a value is null (recorded).
CLEARED = ""

DEFAULT_PAGE = 10
MAX_SEARCH_PAGE = 200
MAX_LIST_PAGE = 100
MAX_OWNERS_PAGE = 500
MAX_ASSOCIATIONS_PAGE = 500
MAX_SEARCH_RESULTS = 10_000
MAX_SEARCH_TEXT = 3_000
MAX_GROUPS, MAX_FILTERS_A_GROUP, MAX_FILTERS = 5, 6, 18
MAX_BATCH = 100
MAX_ASSOCIATION_INPUTS = 1_000
MAX_TEXT = 65_536
CACHED_QUERIES = 8
DAILY_CALLS = 650_000
TEN_SECONDLY = next(limit for limit in CARD.limits if limit.name == "ten_secondly_rolling")

# Ids that this sandbox gives to records created over the API; far above those of the world.
FIRST_OWN_ID = 900_000_000_001
DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PIPELINE = "default"

KINDS = ("companies", "contacts", "deals", "line_items", "tasks", "notes")
_ALIASES = {
    "company": "companies", "0-2": "companies", "contact": "contacts", "0-1": "contacts", "deal": "deals",
    "0-3": "deals", "line_item": "line_items", "line item": "line_items", "line items": "line_items",
    "0-8": "line_items", "task": "tasks", "0-27": "tasks", "note": "notes", "0-46": "notes",
}  # fmt: skip
_SINGULAR = {
    "companies": "COMPANY", "contacts": "CONTACT", "deals": "DEAL", "line_items": "LINE_ITEM", "tasks": "TASK",
    "notes": "NOTE",
}  # fmt: skip

# Contacts alone keep their time of change in a property of another name.
MODIFIED = {kind: "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate" for kind in KINDS}
CREATED = {kind: "hs_createdate" if kind in ("tasks", "notes") else "createdate" for kind in KINDS}
_DEFAULTS = {
    "companies": ("domain", "name"), "contacts": ("email", "firstname", "lastname"),
    "deals": ("amount", "closedate", "dealname", "dealstage", "pipeline"), "line_items": (), "tasks": (), "notes": (),
}  # fmt: skip
_REQUIRED = {"tasks": ("hs_timestamp",), "notes": ("hs_timestamp",)}

_GROUP = {
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
        "payment_terms": "string", "contract_start_date": "date", "contract_end_date": "date", "invoice_numbers": "string",
    },
}  # fmt: skip
_OPTIONS = {
    "dealtype": ("newbusiness", "existingbusiness"),
    "recurringbillingfrequency": (
        "weekly", "biweekly", "monthly", "quarterly", "per_six_months", "annually", "per_two_years", "per_three_years",
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
)  # fmt: skip
_FIELD_TYPES = {
    "string": ("text", "textarea", "phonenumber", "html", "file", "calculation_equation"),
    "number": ("number", "calculation_equation"), "date": ("date",), "datetime": ("date",),
    "enumeration": ("select", "radio", "checkbox", "booleancheckbox", "calculation_equation"),
    "bool": ("booleancheckbox", "calculation_equation"),
}  # fmt: skip

# (from, to, label, type id, type id the other way). Source: association type id values of the associations v4 guide.
_ASSOCIATIONS = (
    ("deals", "companies", None, 341, 342), ("deals", "companies", "Primary", 5, 6), ("deals", "contacts", None, 3, 4),
    ("deals", "line_items", None, 19, 20), ("contacts", "companies", None, 279, 280),
    ("contacts", "companies", "Primary", 1, 2), ("companies", "companies", None, 450, 450),
    ("companies", "companies", "Child Company", 13, 14), ("tasks", "companies", None, 192, 191),
    ("tasks", "deals", None, 216, 215), ("tasks", "contacts", None, 204, 203), ("notes", "companies", None, 190, 189),
    ("notes", "deals", None, 214, 213), ("notes", "contacts", None, 202, 201),
)  # fmt: skip
_PRIMARY = {("deals", "companies"): 5, ("contacts", "companies"): 1}

Values = dict[str, str]
Answer = tuple[int, Any]


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


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


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
    def external(self) -> bool:
        return not self.custom and self.name in _EXTERNAL

    def shown(self) -> dict[str, Any]:
        """The definition as the properties API answers it."""
        return {
            "updatedAt": "2020-01-06T08:00:00.000Z", "createdAt": "2020-01-06T08:00:00.000Z", "name": self.name,
            "label": self.label, "type": self.type, "fieldType": self.field_type, "description": self.description,
            "groupName": self.group, "options": list(self.options), "displayOrder": -1, "calculated": False,
            "externalOptions": self.external, "archived": False, "hasUniqueValue": self.unique, "hidden": False,
            "hubspotDefined": not self.custom, "formField": False, "dataSensitivity": "non_sensitive",
            "modificationMetadata": {
                "archivable": self.custom, "readOnlyDefinition": not self.custom, "readOnlyValue": self.read_only,
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
                name, name.replace("_", " ").title(), type_, _FIELD_TYPES[type_][0], _GROUP[kind],
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
    if not _NUMBER.fullmatch(value):
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


# --- Records


@dataclass(slots=True, eq=False)
class Record:
    """One version of a record; never changed in place. `values` holds only properties that ever had a value."""

    number: int
    values: Values
    created: str
    updated: str
    updated_ms: int
    archived: str | None = None

    def shown(self, names: Iterable[str]) -> dict[str, Any]:
        """As the API answers it, with exactly these properties."""
        value = self.values.get
        found = {
            "id": self.values["hs_object_id"], "properties": {name: value(name) for name in names},
            "createdAt": self.created, "updatedAt": self.updated, "archived": self.archived is not None,
        }  # fmt: skip
        if self.archived is not None:
            found["archivedAt"] = self.archived
        return found


class Table:
    """The records of one object, with the ids in order, and the state that the search index lags behind with."""

    def __init__(self, lag_seconds: int):
        self.records: dict[int, Record] = {}
        self.live: list[int] = []
        self.archived: list[int] = []
        self.generation = 0
        self._lag = lag_seconds
        # Records of which the index does not know the newest version yet: (second from which it shows, version).
        self._behind: dict[int, list[tuple[float, Record | None]]] = {}
        self._queries: dict[bytes, list[int]] = {}

    def load(self, records: Iterable[Record]) -> None:
        """Takes over many records at once, already indexed."""
        for record in records:
            self.records[record.number] = record
        self.live = sorted(number for number, record in self.records.items() if record.archived is None)
        self.archived = sorted(number for number, record in self.records.items() if record.archived is not None)
        self._behind.clear()
        self._changed()

    def find(self, record_id: Any) -> Record | None:
        """The live record with this id."""
        record = self.any(record_id)
        return record if record and record.archived is None else None

    def any(self, record_id: Any) -> Record | None:
        """The record with this id, live or archived."""
        text = str(record_id)
        return self.records.get(int(text)) if text.isascii() and text.isdigit() else None

    def write(self, record: Record, seconds: float | None) -> None:
        """Keeps a new version. `seconds` is now; search goes on with the old version for the lag; None: at once."""
        before = self.records.get(record.number)
        if before is None:
            insort(self.live, record.number)
        self.records[record.number] = record
        if seconds is not None and self._lag:
            states = self._behind.setdefault(record.number, [(seconds, before)])
            states.append((seconds + self._lag, record))
        self._changed()

    def archive(self, number: int, moment: str) -> None:
        """Search never shows an archived record again."""
        self.records[number] = replace(self.records[number], archived=moment)
        del self.live[bisect_left(self.live, number)]
        insort(self.archived, number)
        self._behind.pop(number, None)
        self._changed()

    def _changed(self) -> None:
        self.generation += 1
        self._queries.clear()

    def catch_up(self, seconds: float) -> None:
        """Lets the index see what is old enough by now."""
        for number, states in list(self._behind.items()):
            while len(states) > 1 and states[1][0] <= seconds:
                del states[0]
                self._changed()
            if len(states) == 1:
                del self._behind[number]

    def indexed(self, number: int) -> Record | None:
        """The version that search knows."""
        states = self._behind.get(number)
        return states[0][1] if states else self.records[number]

    def query(self, key: bytes, find: Callable[[list[Record]], list[int]]) -> list[int]:
        """The result of `find` over all indexed records, kept until a record changes: paging asks the same again."""
        if key not in self._queries:
            if len(self._queries) >= CACHED_QUERIES:
                self._queries.clear()
            known = (self.indexed(number) for number in self.live)
            self._queries[key] = find([record for record in known if record is not None])
        return self._queries[key]


# --- Search

Predicate = Callable[[Record], bool]
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": lambda value, to: value == to, "NEQ": lambda value, to: value != to, "GT": lambda value, to: value > to,
    "GTE": lambda value, to: value >= to, "LT": lambda value, to: value < to, "LTE": lambda value, to: value <= to,
    "IN": lambda value, to: value in to, "NOT_IN": lambda value, to: value not in to,
    "BETWEEN": lambda value, to: to[0] <= value <= to[1],
    "CONTAINS_TOKEN": lambda value, to: _has_tokens(value, to),
    "NOT_CONTAINS_TOKEN": lambda value, to: not _has_tokens(value, to),
}  # fmt: skip
_PRESENCE = {"HAS_PROPERTY": True, "NOT_HAS_PROPERTY": False}


def _has_tokens(value: Any, wanted: str) -> bool:
    tokens = re.findall(r"\w+", str(value).lower())
    return all(any(fnmatchcase(token, part) for token in tokens) for part in re.findall(r"[\w*]+", wanted.lower()))


def comparable(type_: str, text: str) -> Any:
    """What search compares: numbers by value, times by millisecond, text without case. ValueError when malformed."""
    if type_ == "number":
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{text!r} is not a number")
        return Decimal(text)
    if type_ in ("date", "datetime"):
        return parse_ms(text)
    return text.lower() if type_ == "string" else text


def _reader(kind: str, definition: Property) -> Callable[[Record], Any]:
    """Reads a property's comparable value from a record; None where it has none, or none that can be compared."""
    name, type_ = definition.name, definition.type
    if name == "hs_object_id":
        return lambda record: record.number
    if name == MODIFIED[kind]:
        return lambda record: record.updated_ms

    def read(record: Record) -> Any:
        text = record.values.get(name)
        if not text:
            return None
        try:
            return comparable(type_, text)
        except ValueError:
            # Records served from files may hold anything; a value that cannot be compared matches nothing.
            return None

    return read


@dataclass(frozen=True)
class Filter:
    """One parsed filter. `operand` is comparable, or a list of comparables."""

    definition: Property
    operator: str
    operand: Any

    def predicate(self, kind: str) -> Predicate:
        """Records without a value match NOT_HAS_PROPERTY only (for NEQ and NOT_IN this is unverified)."""
        if self.operator in _PRESENCE:
            wanted = _PRESENCE[self.operator]
            return lambda record: bool(record.values.get(self.definition.name)) is wanted
        compare, read, operand = _COMPARE[self.operator], _reader(kind, self.definition), self.operand
        if self.operator == "GTE" and self.definition.name == MODIFIED[kind]:
            return lambda record: record.updated_ms >= operand
        return lambda record: (value := read(record)) is not None and compare(value, operand)


def parse_filter(raw: Any, known: Mapping[str, Property]) -> Filter:
    """A filter of a search body; Refused when the property, the operator or a value is not allowed."""
    name, operator = raw.get("propertyName"), raw.get("operator")
    if name not in known:
        raise Refused(400, f"There was a problem with the request. Property [{name}] does not exist")
    if operator in _PRESENCE:
        if raw.get("value") is not None:
            raise Refused(400, f"{operator} on {name} takes no value")
        return Filter(known[name], operator, None)
    if operator not in _COMPARE:
        raise Refused(400, f"There was a problem with the request. Operator [{operator}] does not exist")
    keys = {"IN": ("values",), "NOT_IN": ("values",), "BETWEEN": ("value", "highValue")}.get(operator, ("value",))
    if any(raw.get(key) is None for key in keys):
        raise Refused(400, f"{operator} on {name} needs {' and '.join(keys)}")
    given = raw["values"] if keys == ("values",) else [raw[key] for key in keys]
    if operator.endswith("CONTAINS_TOKEN"):
        return Filter(known[name], operator, str(given[0]))
    operands = [_operand(known[name], operator, value) for value in given]
    return Filter(known[name], operator, operands if len(keys) == 2 or keys == ("values",) else operands[0])


def _operand(definition: Property, operator: str, value: Any) -> Any:
    # IN compares text with the lower-cased value: an operand in capitals finds nothing (search guide).
    if definition.type == "string" and operator in ("IN", "NOT_IN"):
        return str(value)
    try:
        return comparable(definition.type, str(value))
    except ValueError as error:
        raise Refused(400, f"There was a problem with the request. {definition.name}: {error}") from error


@dataclass(frozen=True)
class Search:
    """A parsed search body. `low` and `high` bound the id (inclusive); the other filters are in `groups`."""

    groups: tuple[tuple[Filter, ...], ...]
    text: str
    sort: Property | None
    descending: bool
    low: int
    high: int
    offset: int
    limit: int
    names: tuple[str, ...]

    @property
    def by_id(self) -> bool:
        """Without a sort, results come in the order they were created, which is that of their ids."""
        return self.sort is None or self.sort.name == "hs_object_id"

    def key(self) -> bytes:
        """The same for all pages of a query; the id's bounds are not part of it when results are sorted by id."""
        shape = [[(f.definition.name, f.operator, f.operand) for f in group] for group in self.groups]
        order = None if self.by_id else (self.sort.name, self.descending)
        return orjson.dumps([shape, self.text, order], default=str)


def parse_search(body: Mapping[str, Any], known: Mapping[str, Property], names: tuple[str, ...]) -> Search:
    """The search that a body asks for; Refused where it breaks one of search's rules."""
    raw = body.get("filterGroups") or []
    counts = [len(group.get("filters", [])) for group in raw]
    if len(raw) > MAX_GROUPS or sum(counts) > MAX_FILTERS or any(count > MAX_FILTERS_A_GROUP for count in counts):
        raise Refused(400, f"At most {MAX_GROUPS} filterGroups of {MAX_FILTERS_A_GROUP} filters, {MAX_FILTERS} in all")
    limit = whole(body.get("limit", DEFAULT_PAGE), "limit", 0, MAX_SEARCH_PAGE)
    offset = whole(body.get("after") or 0, "after", 0, MAX_SEARCH_RESULTS)
    if offset + limit > MAX_SEARCH_RESULTS:
        raise Refused(400, f"Paging ends at {MAX_SEARCH_RESULTS} results: after {offset} and limit {limit} go beyond")
    text = body.get("query") or ""
    if len(text) > MAX_SEARCH_TEXT:
        raise Refused(400, f"query is longer than {MAX_SEARCH_TEXT} characters")
    sort, descending = _parse_sort(body.get("sorts") or [], known)
    groups = tuple(tuple(parse_filter(f, known) for f in group.get("filters", [])) for group in raw)
    low, high = 0, 10**18
    if len(groups) == 1 and (sort is None or sort.name == "hs_object_id"):
        low, high, groups = _id_bounds(groups[0])
    return Search(groups, text, sort, descending, low, high, offset, limit, names)


def _parse_sort(sorts: Sequence[Any], known: Mapping[str, Property]) -> tuple[Property | None, bool]:
    if len(sorts) > 1:
        raise Refused(400, f"Only one sort is allowed, not {len(sorts)}")
    if not sorts:
        return None, False
    first = sorts[0]
    name = first.get("propertyName") if isinstance(first, dict) else str(first).lstrip("-")
    if name not in known:
        raise Refused(400, f"There was a problem with the request. Property [{name}] does not exist")
    descending = first.get("direction") == "DESCENDING" if isinstance(first, dict) else str(first).startswith("-")
    return known[name], descending


def _id_bounds(group: tuple[Filter, ...]) -> tuple[int, int, tuple[tuple[Filter, ...], ...]]:
    """(lowest id, highest id, the other filters) of a group: paging by id changes nothing but the bounds."""
    low, high, others = 0, 10**18, []
    for item in group:
        if item.definition.name != "hs_object_id" or item.operator not in ("GT", "GTE", "LT", "LTE"):
            others.append(item)
        elif item.operator in ("GT", "GTE"):
            low = max(low, int(item.operand) + (item.operator == "GT"))
        else:
            high = min(high, int(item.operand) - (item.operator == "LT"))
    return low, high, (tuple(others),)


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number from a body or a query; Refused outside its bounds."""
    text = str(value)
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or not low <= int(text) <= high:
        raise Refused(400, f"{name} must be a whole number from {low} to {high}, not {text}")
    return int(text)


def find_all(kind: str, search: Search, records: list[Record]) -> list[int]:
    """Ids of the records that the filters and the query text find, in the order of the sort."""
    if search.text:
        wanted = f"*{search.text.lower()}*"
        names = _DEFAULTS[kind]
        records = [r for r in records if any(fnmatchcase((r.values.get(name) or "").lower(), wanted) for name in names)]
    found: dict[int, Record] = {}
    for group in search.groups or ((),):
        matching = records
        for item in group:
            predicate = item.predicate(kind)
            matching = [record for record in matching if predicate(record)]
        found.update((record.number, record) for record in matching)
    if search.by_id:
        return sorted(found)
    read = _reader(kind, search.sort)
    valued = sorted((record for record in found.values() if read(record) is not None), key=lambda r: r.number)
    valued.sort(key=read, reverse=search.descending)
    return [r.number for r in valued] + sorted(n for n, r in found.items() if read(r) is None)


# --- Associations


class Associations:
    """Who belongs to whom, kept both ways: {(from, to): {from id: {to id: type ids}}}."""

    def __init__(self) -> None:
        self._links: dict[tuple[str, str], dict[int, dict[int, tuple[int, ...]]]] = {}
        self.types: dict[int, tuple[str, str, str | None]] = {}
        self._inverse: dict[int, int] = {}
        for start, end, label, there, back in _ASSOCIATIONS:
            self.types[there], self.types[back] = (start, end, label), (end, start, label)
            self._inverse[there], self._inverse[back] = back, there

    def default(self, start: str, end: str) -> int:
        """The type id of an association without a label; Refused where HubSpot has none."""
        for type_id, (first, second, label) in self.types.items():
            if (first, second, label) == (start, end, None):
                return type_id
        raise Refused(400, f"No default association exists between {start} and {end}")

    def add(self, type_id: int, number: int, other: int) -> None:
        """Links two records, both ways. The first company of a deal or contact becomes its primary one."""
        start, end, label = self.types[type_id]
        wanted = [type_id] if label is None else [self.default(start, end), type_id]
        primary = _PRIMARY.get((start, end))
        linked = self._links.get((start, end), {}).get(number, {})
        if primary and not any(primary in types for types in linked.values()):
            wanted.append(primary)
        for one in dict.fromkeys(wanted):
            self._add_one_way(one, number, other)
            self._add_one_way(self._inverse[one], other, number)

    def _add_one_way(self, type_id: int, number: int, other: int) -> None:
        start, end, _ = self.types[type_id]
        links = self._links.setdefault((start, end), {}).setdefault(number, {})
        links[other] = (*(known for known in links.get(other, ()) if known != type_id), type_id)

    def drop(self, start: str, end: str, number: int, other: int) -> None:
        """Unlinks two records, both ways."""
        for first, second, one, two in ((start, end, number, other), (end, start, other, number)):
            self._links.get((first, second), {}).get(one, {}).pop(two, None)

    def of(self, start: str, end: str, number: int) -> dict[int, tuple[int, ...]]:
        """{id: type ids} of what a record is linked to."""
        return self._links.get((start, end), {}).get(number, {})

    def shown(self, other: int, types: Iterable[int]) -> dict[str, Any]:
        """One entry of an association answer."""
        return {
            "toObjectId": str(other),
            "associationTypes": [
                {"category": "HUBSPOT_DEFINED", "typeId": one, "label": self.types[one][2]} for one in types
            ],
        }


# --- The world in HubSpot's words


def company_values(account: Account) -> dict[str, str | None]:
    return {
        "name": account.name, "domain": account.domain, "billing_email": account.email, "address": account.address,
        "city": account.city, "state": account.state, "zip": account.zip, "country": account.country,
        "hubspot_owner_id": account.owner_id, "hs_parent_company_id": account.parent_id,
        "crossfoot_customer_ids": "; ".join(account.customer_ids) or None,
    }  # fmt: skip


def contact_values(contact: Contact) -> dict[str, str | None]:
    return {
        "email": contact.email, "firstname": contact.first, "lastname": contact.last,
        "associatedcompanyid": contact.account_id,
    }  # fmt: skip


def deal_values(world: World, deal: Deal) -> dict[str, str | None]:
    """A deal; its close date is at noon UTC, so that it is the same day in nearly every time zone."""
    stage = world.stages[deal.stage_id]
    return {
        "dealname": deal.name, "pipeline": PIPELINE, "dealstage": deal.stage_id,
        "amount": plain(deal.amount) if deal.amount_text is None else deal.amount_text,
        "deal_currency_code": deal.currency, "amount_in_home_currency": plain(deal.home_amount),
        "closedate": f"{deal.close_date.isoformat()}T12:00:00Z" if deal.close_date else None,
        "hs_deal_stage_probability": binary_expansion(deal.probability),
        "hs_is_closed_won": str(stage.won).lower(), "hs_is_closed": str(stage.closed).lower(),
        "hubspot_owner_id": deal.owner_id, "dealtype": deal.deal_type, "payment_terms": deal.terms,
        "contract_start_date": deal.contract_start and deal.contract_start.isoformat(),
        "contract_end_date": deal.contract_end and deal.contract_end.isoformat(),
        "invoice_numbers": "; ".join(deal.invoice_numbers) or None,
    }  # fmt: skip


def line_item_values(line: DealLine) -> dict[str, str | None]:
    return {
        "hs_sku": line.sku, "name": line.name, "quantity": plain(line.quantity), "price": plain(line.unit_price),
        "hs_total_discount": plain(line.discount), "amount": plain(line.amount),
        "hs_line_item_currency_code": line.currency, "recurringbillingfrequency": line.frequency,
        "hs_recurring_billing_start_date": line.start and line.start.isoformat(),
        "hs_recurring_billing_number_of_payments": plain(line.periods),
    }  # fmt: skip


def system_values(kind: str, record_id: str, created: str, updated: str) -> Values:
    return {"hs_object_id": record_id, CREATED[kind]: created, MODIFIED[kind]: updated}


@dataclass
class Portal:
    """What does not change over the CRM API: owners, pipelines, currencies."""

    owners: list[dict[str, Any]] = field(default_factory=list)
    pipelines: list[dict[str, Any]] = field(default_factory=list)
    rates: list[dict[str, Any]] = field(default_factory=list)
    home: dict[str, Any] = field(default_factory=lambda: {"currencyCode": "USD"})

    def stages(self) -> dict[str, dict[str, Any]]:
        """{stage id: stage}."""
        return {stage["id"]: stage for pipeline in self.pipelines for stage in pipeline["stages"]}

    def currencies(self) -> set[str]:
        return {self.home["currencyCode"], *(rate["fromCurrencyCode"] for rate in self.rates)}


def portal_of(world: World) -> Portal:
    """The world's owners, its one pipeline and the exchange rates of its day."""
    newest = {(rate.source, rate.target): rate for rate in sorted(world.rates, key=lambda r: r.as_of)
              if rate.as_of <= world.today}  # fmt: skip
    return Portal(
        [_owner(owner) for owner in world.owners.values()],
        [_pipeline(world)] if world.stages else [],
        [_rate(number, rate) for number, rate in enumerate(newest.values(), 1)],
        {"currencyCode": world.base_currency},
    )


def _owner(owner: Any) -> dict[str, Any]:
    return {
        "id": owner.id, "email": owner.email, "type": "PERSON", "firstName": owner.first, "lastName": owner.last,
        "userId": int(owner.id), "userIdIncludingInactive": int(owner.id), "createdAt": stamp(to_ms(owner.created)),
        "updatedAt": stamp(to_ms(owner.modified)), "archived": False,
    }  # fmt: skip


def _pipeline(world: World) -> dict[str, Any]:
    times = {"createdAt": "2020-01-06T08:00:00.000Z", "updatedAt": "2020-01-06T08:00:00.000Z", "archived": False}
    stages = [
        {
            "id": stage.id, "label": stage.label, "displayOrder": stage.order,
            # Texts, not a flag and a number (recorded).
            "metadata": {"isClosed": str(stage.closed).lower(), "probability": plain(stage.probability)},
            "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT", **times,
        }
        for stage in world.stages.values()
    ]  # fmt: skip
    return {"id": PIPELINE, "label": "Sales Pipeline", "displayOrder": 0, "stages": stages, **times}


def _rate(number: int, rate: Any) -> dict[str, Any]:
    moment = stamp(to_ms(rate.modified))
    return {
        "id": str(number), "fromCurrencyCode": rate.source, "toCurrencyCode": rate.target,
        "conversionRate": orjson.Fragment(plain(rate.rate)), "visibleInUI": True,
        "effectiveAt": f"{rate.as_of.isoformat()}T00:00:00.000Z", "createdAt": moment, "updatedAt": moment,
    }  # fmt: skip
