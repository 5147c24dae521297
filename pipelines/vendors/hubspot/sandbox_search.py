"""HubSpot's records as the sandbox keeps them, and search with its rules and its lag.

Source: the search guide (https://developers.hubspot.com/docs/api-reference/search/guide); "recorded" facts are from
recorded exchanges with a live portal; "unverified" ones take the stricter reading.
"""

import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

import orjson

from pipelines.vendors.hubspot.sandbox_values import (
    CLEARED,
    DEFAULTS,
    MODIFIED,
    NUMBER,
    Property,
    Refused,
    Values,
    parse_ms,
)

DEFAULT_PAGE = 10
MAX_SEARCH_PAGE = 200
MAX_SEARCH_RESULTS = 10_000
MAX_SEARCH_TEXT = 3_000
MAX_GROUPS, MAX_FILTERS_A_GROUP, MAX_FILTERS = 5, 6, 18
CACHED_QUERIES = 8

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
        self.merged: dict[int, int] = {}
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
        if not (text.isascii() and text.isdigit()):
            return None
        number = int(text)
        while number in self.merged:
            number = self.merged[number]
        return self.records.get(number)

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
        if not NUMBER.fullmatch(text):
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
        if text in (None, CLEARED):
            return None
        try:
            return comparable(type_, str(text))
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
        names = DEFAULTS[kind]
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
