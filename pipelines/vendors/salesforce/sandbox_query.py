"""Queries over the org's tables: which records a condition holds for, in which order, and what is shown of them.

A condition on ids, on a reference or on a span of time looks at the records concerned alone; all others are tested one by one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

from pipelines.vendors.salesforce.sandbox_records import STAMP, Record, Table
from pipelines.vendors.salesforce.sandbox_render import attributes, number
from pipelines.vendors.salesforce.sandbox_schema import NUMBERS, TEXTS, Field, Object, as_id
from pipelines.vendors.salesforce.sandbox_soql import (
    BadQuery,
    Both,
    Column,
    Comparison,
    Either,
    Literal,
    Negation,
    Node,
    Order,
    Query,
    like,
    malformed,
)

ONE_ROW_ONLY = ("Metadata", "FullName")  # of Tooling objects; the message is as people report it
MAX_PARENTS = 5  # relationships in one path
COMPARE: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True)
class Path:
    """A field, possibly of a parent: its name as it is spelled, what describe says of it, and how to read it."""

    name: str
    field: Field
    get: Callable[[Record], Any]
    parents: tuple[tuple[str, str, Object], ...] = ()  # (relationship, reference field, object) on the way to it


@dataclass
class Shown:
    """What a query shows of one object: field names, and relationships with what is shown of the parent."""

    object: Object
    parts: dict[str, Shown | None] = field(default_factory=dict)
    references: dict[str, tuple[str, Object]] = field(default_factory=dict)


class Reader:
    """Runs queries. `sees` says which fields the running user may see, `rate` the rate of a currency, None: one currency."""

    def __init__(self, objects: dict[str, Object], tables: dict[str, Table], sees: Callable[[Object, Field], bool],
                 rate: Callable[[str | None], Decimal] | None, version: str):
        self.objects, self.tables, self.sees, self.rate, self.version = objects, tables, sees, rate, version

    def object(self, name: str, at: int = -1) -> Object:
        """The object of that name, in any case."""
        found = self.objects.get(name.lower())
        if found is None:
            raise BadQuery("INVALID_TYPE", f"sObject type '{name}' is not supported. If you are attempting to use a custom object, "
                           "be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for "
                           "the appropriate names.", at)  # fmt: skip
        return found

    def field(self, one: Object, name: str, at: int) -> Field:
        """The field of that name, in any case, if the user may see it."""
        found = one.fields.get(name.lower())
        if found is None or not self.sees(one, found):
            raise BadQuery("INVALID_FIELD", f"No such column '{name}' on entity '{one.name}'. If you are attempting to use a custom "
                           "field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe "
                           "call for the appropriate names.", at)  # fmt: skip
        return found

    # -- paths ------------------------------------------------------------------------------------------------------

    def path(self, one: Object, text: str, at: int) -> Path:
        """The field that a path names: `Name`, `Owner.Name`, `Account.Owner.Email`."""
        parts = text.split(".")
        if len(parts) > 1 and parts[0].lower() == one.name.lower() and not self._relationship(one, parts[0]):
            parts = parts[1:]
        if len(parts) > MAX_PARENTS + 1:
            raise malformed(f"more than {MAX_PARENTS} relationships in '{text}'", at)
        steps: list[tuple[str, str, Object]] = []
        here = one
        for part in parts[:-1]:
            found = self._relationship(here, part)
            if found is None:
                raise BadQuery("INVALID_FIELD", f"Didn't understand relationship '{part}' in field path. If you are attempting to use "
                               "a custom relationship, be sure to append the '__r' after the custom relationship name. Please "
                               "reference your WSDL or the describe call for the appropriate names.", at)  # fmt: skip
            here = self.object(found.to[0], at)
            steps.append((found.relationship or part, found.name, here))
        last = self.field(here, parts[-1], at)
        name = ".".join([*(step[0] for step in steps), last.name])
        return Path(name, last, self._getter(steps, last.name), tuple(steps))

    def _relationship(self, one: Object, name: str) -> Field | None:
        wanted = name.lower()
        return next((f for f in one.fields.values() if (f.relationship or "").lower() == wanted and f.to and self.sees(one, f)), None)

    def _getter(self, steps: Sequence[tuple[str, str, Object]], name: str) -> Callable[[Record], Any]:
        if not steps:
            return lambda record: record.values.get(name)

        def get(record: Record) -> Any:
            here: Record | None = record
            for relationship, reference, target in steps:
                here = self.parent(here, relationship, reference, target)
                if here is None:
                    return None
            return here.values.get(name)

        return get

    def parent(self, record: Record, relationship: str, reference: str, target: Object) -> Record | None:
        """The record that a reference leads to; records from files bring theirs along."""
        within = record.values.get(relationship)
        if isinstance(within, dict):
            return Record(str(within.get("Id", "")), within)
        return self.tables[target.name].records.get(record.values.get(reference) or "")

    # -- conditions -------------------------------------------------------------------------------------------------

    def select(self, query: Query, everything: bool) -> list[Record]:
        """The records that a query finds, in its order, within its offset and limit. `everything` includes deleted ones."""
        one = self.object(query.entity, -1)
        test = self.test(one, query.where) if query.where else None
        candidates, in_order = self._candidates(one, query.where)
        found = (record for record in candidates if (everything or not record.deleted) and (test is None or test(record)))
        end = None if query.limit is None or (query.aggregates and not query.count_only) else query.offset + query.limit
        if query.aggregates:
            return list(islice(found, query.offset, end))
        paths = [self.path(one, part.path, part.at) for part in query.order]
        keyset = [path.name for path in paths] == [STAMP, "Id"] and not any(part.descending for part in query.order)
        if not paths or (keyset and in_order):  # no more is looked at than the limit asks for
            return list(islice(found, query.offset, end))
        rows = sorted(found, key=lambda record: (record.stamp, record.id))
        if not keyset:
            self._sort(rows, query.order, paths)
        return rows[query.offset : end]

    def _candidates(self, one: Object, where: Node | None) -> tuple[Sequence[Record], bool]:
        """(records among which are all that the condition holds for, whether they are in the order of stamp and id)"""
        table = self.tables[one.name]
        for name in [f.name for f in one.fields.values() if f.type in ("id", "reference")] if where else ():
            wanted = _pinned(where, name)
            if wanted is not None:
                ids = {whole for text in wanted if (whole := as_id(text))}
                if name == "Id":
                    return [table.records[one_id] for one_id in sorted(ids) if one_id in table.records], False
                return table.having(name, ids), False
        low, high = _span(where) if where else (None, None)
        return table.between(low, high), True

    def test(self, one: Object, node: Node) -> Callable[[Record], bool]:
        """The condition as a predicate."""
        if isinstance(node, Negation):
            inner = self.test(one, node.part)
            return lambda record: not inner(record)
        if isinstance(node, Comparison):
            return self._compare(one, node)
        tests = [self.test(one, part) for part in node.parts]
        if isinstance(node, Both):
            return lambda record: all(one_test(record) for one_test in tests)
        return lambda record: any(one_test(record) for one_test in tests)

    def _compare(self, one: Object, node: Comparison) -> Callable[[Record], bool]:
        path = self.path(one, node.path, node.at)
        if not path.field.filterable:
            raise BadQuery("INVALID_FIELD", f"field '{path.field.name}' can not be filtered in a query call", node.at)
        for literal in node.literals:
            _check_literal(path.field, node.operator, literal)
        get, values = _reading(path), [_comparable(path.field, literal) for literal in node.literals]
        if node.operator in ("=", "in"):
            return lambda record: get(record) in values
        if node.operator in ("!=", "not in"):
            return lambda record: get(record) not in values
        if node.operator == "like":
            pattern = like(node.literals[0].raw)
            return lambda record: isinstance(value := get(record), str) and pattern.fullmatch(value) is not None
        compare, bound = COMPARE[node.operator], values[0]
        return lambda record: (value := get(record)) is not None and compare(value, bound)

    def _sort(self, rows: list[Record], order: Sequence[Order], paths: Sequence[Path]) -> None:
        for part, path in reversed(list(zip(order, paths, strict=True))):
            if not path.field.filterable:
                raise malformed(f"field '{path.field.name}' can not be sorted in a query call", part.at)
            get = _reading(path)
            rows.sort(key=get_key(get), reverse=part.descending)
            rows.sort(key=lambda record, get=get, last=part.nulls_last: (get(record) is None) == last)

    # -- what is shown ----------------------------------------------------------------------------------------------

    def paths(self, query: Query) -> list[Path]:
        """The selected fields; refuses one that is selected twice."""
        one = self.object(query.entity)
        found = [self.path(one, column.path or "", column.at) for column in query.columns]
        names = [path.name for path in found]
        twice = next((path.name for place, path in enumerate(found) if path.name in names[:place]), None)
        if twice:
            raise BadQuery("INVALID_FIELD", f"duplicate field selected: {twice}")
        return found

    def shown(self, one: Object, paths: Iterable[Path]) -> Shown:
        """What these fields look like as a tree."""
        top = Shown(one)
        for path in paths:
            here = top
            for relationship, reference, target in path.parents:
                here.references[relationship] = (reference, target)
                inner = here.parts.setdefault(relationship, Shown(target))
                here = inner if inner is not None else here
            here.parts[path.field.name] = None
        return top

    def show(self, record: Record, what: Shown) -> dict[str, Any]:
        """A record as REST answers it: attributes first, parents as objects inside, null where there is none."""
        values = record.values
        out: dict[str, Any] = {"attributes": attributes(what.object.name, self.version, record.id)}
        for name, inner in what.parts.items():
            if inner is None:
                out[name] = values.get(name)
            else:
                parent = self.parent(record, name, *what.references[name])
                out[name] = self.show(parent, inner) if parent else None
        return out

    # -- aggregates -------------------------------------------------------------------------------------------------

    def aggregate(self, query: Query, rows: list[Record]) -> list[dict[str, Any]]:
        """The rows of a query with functions or GROUP BY."""
        one = self.object(query.entity)
        groups = [self.path(one, column.path or "", column.at) for column in query.groups]
        named = [path.name for path in groups]
        for column in query.columns:
            if not column.function and self.path(one, column.path or "", column.at).name not in named:
                raise malformed(f"Field must be grouped or aggregated: {column.path}", column.at)
        found: dict[tuple, list[Record]] = {} if groups else {(): rows}
        for record in rows if groups else ():
            found.setdefault(tuple(path.get(record) for path in groups), []).append(record)
        results = [self._aggregate_row(one, query, named, key, part) for key, part in found.items()]
        for part in reversed(query.order):
            name = _result_name(query, part)
            results.sort(key=lambda row, name=name: ((row[name] is not None), row[name] if row[name] is not None else 0),
                         reverse=part.descending)  # fmt: skip
        return results[: query.limit]

    def _aggregate_row(self, one: Object, query: Query, groups: list[str], key: tuple, rows: list[Record]) -> dict[str, Any]:
        out: dict[str, Any] = {"attributes": {"type": "AggregateResult"}}
        for name, column in zip(_result_names(query), query.columns, strict=True):
            if column.function is None:
                out[name] = key[groups.index(self.path(one, column.path or "", column.at).name)]
            else:
                out[name] = self._function(one, column, rows, "CurrencyIsoCode" in groups)
        return out

    def _function(self, one: Object, column: Column, rows: list[Record], by_currency: bool) -> Any:
        """COUNT, SUM, ... of a group. Amounts of several currencies count in the corporate one, unless grouped by it."""
        if column.path is None:
            return len(rows)
        path = self.path(one, column.path, column.at)
        numeric = path.field.type in NUMBERS
        if column.function in ("SUM", "AVG") and not numeric:
            raise malformed(f"field {path.name} does not support aggregate operator {column.function}", column.at)
        convert = path.field.type == "currency" and self.rate is not None and not by_currency
        get, values = _reading(path), []
        for record in rows:
            value = get(record)
            if value is not None:
                values.append(value / self.rate(record.values.get("CurrencyIsoCode")) if convert and self.rate else value)
        if column.function == "COUNT":
            return len(values)
        if column.function == "COUNT_DISTINCT":
            return len(set(values))
        if not values:
            return None
        if column.function in ("MIN", "MAX"):
            chosen = min(values) if column.function == "MIN" else max(values)
            return number(Decimal(chosen)) if numeric else chosen
        total = sum(values, Decimal(0))
        result = total if column.function == "SUM" else total / len(values)
        return number(result.quantize(MILLIONTH) if convert or column.function == "AVG" else result)


def get_key(get: Callable[[Record], Any]) -> Callable[[Record], tuple[bool, Any]]:
    """A sort key with null as the smallest."""

    def key(record: Record) -> tuple[bool, Any]:
        value = get(record)
        return (value is not None, value if value is not None else 0)

    return key


def _result_names(query: Query) -> list[str]:
    """The names of an aggregate's columns: alias, the grouped field's last name, or expr0, expr1, ..."""
    names, unnamed = [], 0
    for column in query.columns:
        if column.alias:
            names.append(column.alias)
        elif column.function is None:
            names.append((column.path or "").rpartition(".")[2])
        else:
            names.append(f"expr{unnamed}")
            unnamed += 1
    return names


def _result_name(query: Query, order: Order) -> str:
    for name, column in zip(_result_names(query), query.columns, strict=True):
        written = f"{column.function}({column.path or ''})" if column.function else (column.path or "")
        if order.path.lower() == written.lower():
            return name
    raise malformed(f"Ordered field must be grouped or aggregated: {order.path}", order.at)


def _pinned(node: Node, name: str) -> set[str] | None:
    """The only values that a field can have where the condition holds; None where it leaves that open."""
    if isinstance(node, Comparison):
        if node.path.lower() != name.lower() or node.operator not in ("=", "in"):
            return None
        texts = [literal.value for literal in node.literals if literal.kind == "string"]
        return {str(text) for text in texts} if len(texts) == len(node.literals) else None
    if isinstance(node, Negation):
        return None
    found = [_pinned(part, name) for part in node.parts]
    if isinstance(node, Both):
        sets = [one for one in found if one is not None]
        return set.intersection(*sets) if sets else None
    return None if None in found else set().union(*(one for one in found if one is not None))


def _span(node: Node) -> tuple[str | None, str | None]:
    """The first and last SystemModstamp that a record can have where the condition holds; None: open."""
    if isinstance(node, Comparison):
        if node.path.lower() != STAMP.lower() or any(literal.kind != "datetime" for literal in node.literals):
            return None, None
        values = [str(literal.value) for literal in node.literals]
        lowest = min(values) if node.operator in ("=", "in", ">", ">=") else None
        return lowest, max(values) if node.operator in ("=", "in", "<", "<=") else None
    if isinstance(node, Negation):
        return None, None
    spans = [_span(part) for part in node.parts]
    lows, highs = [low for low, _ in spans if low], [high for _, high in spans if high]
    if isinstance(node, Both):
        return max(lows, default=None), min(highs, default=None)
    whole = isinstance(node, Either)
    return (min(lows) if whole and len(lows) == len(spans) else None, max(highs) if whole and len(highs) == len(spans) else None)


def _kind(one: Field) -> str:
    """The kind of literal that a field is compared with."""
    if one.type in NUMBERS:
        return "number"
    return one.type if one.type in ("boolean", "date", "datetime") else "string"


def _check_literal(one: Field, sign: str, literal: Literal) -> None:
    """Refuses a literal of another kind than the field, as Salesforce does, and operators that the field does not have."""
    if literal.kind != "null" and literal.kind != _kind(one):
        quoted = "" if _kind(one) == "string" else "not "
        name = {"datetime": "dateTime", "number": "double"}.get(_kind(one), _kind(one))
        raise BadQuery("INVALID_FIELD", f"value of filter criterion for field '{one.name}' must be of type {name} and should "
                       f"{quoted}be enclosed in quotes", literal.at)  # fmt: skip
    if one.type in ("id", "reference") and literal.kind == "string" and as_id(str(literal.value)) is None:
        raise BadQuery("INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {literal.value}", literal.at)
    no_text = sign == "like" and one.type not in TEXTS
    if no_text or (sign in COMPARE and (one.type == "boolean" or literal.kind == "null")):
        raise BadQuery("INVALID_QUERY_FILTER_OPERATOR", f"invalid operator on {one.type} field", literal.at)


def _comparable(one: Field, literal: Literal) -> Any:
    if literal.kind == "string":
        return as_id(str(literal.value)) if one.type in ("id", "reference") else str(literal.value).lower()
    return False if literal.kind == "null" and one.type == "boolean" else literal.value


def _reading(path: Path) -> Callable[[Record], Any]:
    """The field's value as it is compared: text without regard to case, garbage among numbers as null."""
    get = path.get
    if path.field.type in ("id", "reference", "date", "datetime"):
        return get
    if path.field.type == "boolean":
        return lambda record: bool(get(record))
    if path.field.type in NUMBERS:
        return lambda record: value if isinstance(value := get(record), int | Decimal) and not isinstance(value, bool) else None
    return lambda record: value.lower() if isinstance(value := get(record), str) else value
