"""Xero's `where` and `order` parameters, as far as its documentation and public examples show them.

`Type=="ACCREC" AND (Total > 20.00 || Name.Contains("Peter")) AND Date >= DateTime(2015, 01, 01)`: operators == = != <> > >= < <=,
AND && OR || NOT !, parentheses, `null`, `true`, numbers, "text" (a quote inside is doubled or behind a backslash), `Guid("...")`,
`DateTime(y, m, d[, h, m, s])` or `DateTime.Parse("...")`, Contains, StartsWith, EndsWith of a text, and before or in them ToLower,
ToUpper, Trim. Other methods and properties of values exist there and are refused here as not served by the sandbox.
Sources: docs.linx.software/reference/plugins/xero/filters/where, help.coupler.io/article/237, XeroAPI/xero-php-oauth2#23 and #307.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

Read = Callable[[str], Any]  # a field's value by its dotted name: None, bool, Decimal, datetime or text
Test = Callable[[Read], bool]
MAX_NESTING = 20
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}
SAME = {"=": "==", "<>": "!=", "&&": "and", "||": "or", "!": "not"}
METHODS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": str.startswith,
    "endswith": str.endswith,
}
CHANGES: dict[str, Callable[[str], str]] = {"tolower": str.lower, "toupper": str.upper, "trim": str.strip}
# Properties of texts and dates that the language has.
PROPERTIES = frozenset({"length", "year", "month", "day", "date", "dayofweek", "dayofyear", "hasvalue"})
_TOKEN = re.compile(
    r'\s*(?:("(?:[^"\\]|\\.|"")*")|(==|!=|<>|<=|>=|&&|\|\||[=<>!(),])|(-?\d+(?:\.\d+)?)|(\.?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*))'
)


class BadWhere(ValueError):
    """The parameter was refused; Xero answers with a QueryParseException and this message."""


@dataclass
class _Tokens:
    """The tokens of one parameter, read from left to right; `fields` are the names that it may use."""

    left: list[str]
    fields: dict[str, str]
    depth: int = 0

    def peek(self) -> str:
        token = self.left[-1] if self.left else ""
        return SAME.get(token, token if token.startswith('"') else token.lower())

    def take(self) -> str:
        if not self.left:
            raise BadWhere("Expression expected")
        return self.left.pop()

    def skip(self, word: str) -> bool:
        if self.peek() != word or not self.left:
            return False
        self.left.pop()
        return True

    def need(self, word: str) -> None:
        if not self.skip(word):
            raise BadWhere(f"'{word}' expected" if word in "()," else "Syntax error")


@dataclass(frozen=True)
class Operand:
    """One side of a comparison: a constant, or what `read` finds."""

    constant: Any = None
    read: Callable[[Read], Any] | None = field(default=None, compare=False)

    def value(self, record: Read) -> Any:
        return self.constant if self.read is None else self.read(record)


def tokens_of(text: str, fields: Collection[str]) -> _Tokens:
    """`text` cut into tokens; raises `BadWhere` at a character that starts none."""
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadWhere(f"Syntax error '{text[at:].strip()[0]}'")
        found.append(match.group().strip())
        at = match.end()
    return _Tokens(found[::-1], {name.lower(): name for name in fields})


def parse_where(text: str, fields: Collection[str]) -> Test:
    """The predicate that `text` says, over records whose fields are `fields`. Raises `BadWhere`, also when it is used:
    values of different kinds do not compare."""
    tokens = tokens_of(text, fields)
    test = _any(tokens)
    if tokens.left:
        raise BadWhere("Syntax error")
    return test


def parse_order(text: str, fields: Collection[str]) -> tuple[tuple[str, bool], ...]:
    """((field, descending), ...) of an `order` parameter such as `UpdatedDateUTC ASC, Name DESC`."""
    tokens, order = tokens_of(text, fields), []
    while True:
        name = _field(tokens, tokens.take())
        descending = tokens.skip("desc") or tokens.skip("descending")
        if not descending and not tokens.skip("asc"):
            tokens.skip("ascending")
        order.append((name, descending))
        if not tokens.left:
            return tuple(order)
        tokens.need(",")


def _any(tokens: _Tokens) -> Test:
    tests = [_all(tokens)]
    while tokens.skip("or"):
        tests.append(_all(tokens))
    return tests[0] if len(tests) == 1 else lambda record: any(test(record) for test in tests)


def _all(tokens: _Tokens) -> Test:
    tests = [_one(tokens)]
    while tokens.skip("and"):
        tests.append(_one(tokens))
    return tests[0] if len(tests) == 1 else lambda record: all(test(record) for test in tests)


def _one(tokens: _Tokens) -> Test:
    tokens.depth += 1
    if tokens.depth > MAX_NESTING:
        raise BadWhere(f"more than {MAX_NESTING} parts within one another")
    if tokens.skip("not"):
        inner = _one(tokens)
        test: Test = lambda record: not inner(record)  # noqa: E731
    elif tokens.skip("("):
        test = _any(tokens)
        tokens.need(")")
    else:
        test = _comparison(tokens)
    tokens.depth -= 1
    return test


def _comparison(tokens: _Tokens) -> Test:
    left = _operand(tokens)
    if tokens.peek() not in OPERATORS:
        return lambda record: _truth(left.value(record))
    operator = SAME.get(sign := tokens.take(), sign)
    right = _operand(tokens)
    return lambda record: _compare(operator, left.value(record), right.value(record))


def _truth(value: Any) -> bool:
    if value not in (None, True, False):
        raise BadWhere("Expression of type 'Boolean' expected")
    return bool(value)


def _compare(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return {"==": left is right, "!=": left is not right}.get(operator, False)
    if isinstance(left, bool) is not isinstance(right, bool) or type(left) is not type(right):
        raise BadWhere(f"Operator '{operator}' incompatible with operand types '{type(left).__name__}' and '{type(right).__name__}'")
    return OPERATORS[operator](left, right)


def _operand(tokens: _Tokens) -> Operand:
    found = _simple(tokens)
    while tokens.peek().startswith("."):
        found = _method(tokens, found, tokens.take().removeprefix("."))
    return found


def _simple(tokens: _Tokens) -> Operand:
    token = tokens.take()
    if token.startswith('"'):
        return Operand(_text(token))
    if re.fullmatch(r"-?\d+(\.\d+)?", token):
        return Operand(Decimal(token))
    if token.lower() in ("true", "false", "null"):
        return Operand({"true": True, "false": False, "null": None}[token.lower()])
    if tokens.peek() == "(":
        return _call(tokens, token)
    name = _field(tokens, token)
    return Operand(read=lambda record: record(name))


def _text(token: str) -> str:
    return re.sub(r'\\(.)|""', lambda found: found.group(1) or '"', token[1:-1])


def _arguments(tokens: _Tokens) -> list[Operand]:
    tokens.need("(")
    values: list[Operand] = []
    while not tokens.skip(")"):
        if values:
            tokens.need(",")
        values.append(_operand(tokens))
    return values


def _call(tokens: _Tokens, name: str) -> Operand:
    """`Guid("...")`, `DateTime(...)`, or a method of a text field."""
    lower = name.lower()
    if lower in ("guid", "datetime", "datetime.parse"):
        values = [one.constant for one in _arguments(tokens)]
        if lower != "guid":
            return Operand(_moment(values))
        if len(values) == 1 and isinstance(values[0], str):
            return Operand(values[0].lower())
        raise BadWhere("No applicable method 'Guid' exists")
    path, _, method = name.rpartition(".")
    if not path:
        raise BadWhere(f"No applicable method '{name}' exists")
    known = _field(tokens, path)
    return _method(tokens, Operand(read=lambda record: record(known)), method)


def _method(tokens: _Tokens, value: Operand, name: str) -> Operand:
    """A method of a text. What Xero may know beyond these is said to be missing here, not there."""
    lower = name.lower()
    if lower not in CHANGES and lower not in METHODS:
        raise BadWhere(f"'{name}' is not served by the sandbox")
    values = _arguments(tokens)
    if len(values) != (lower in METHODS) or any(one.read is None and not isinstance(one.constant, str) for one in values):
        raise BadWhere(f"No applicable method '{name}' exists")

    def read(record: Read) -> Any:
        text = value.value(record)
        if not isinstance(text, str):
            return None if lower in CHANGES else False
        if lower in CHANGES:
            return CHANGES[lower](text)
        part = values[0].value(record)
        return isinstance(part, str) and METHODS[lower](text, part)

    return Operand(read=read)


def _moment(values: list[Any]) -> datetime:
    try:
        if len(values) == 1 and isinstance(values[0], str):
            return datetime.fromisoformat(values[0]).replace(tzinfo=UTC)
        return datetime(*(int(value) for value in values), tzinfo=UTC)
    except (TypeError, ValueError) as error:
        raise BadWhere(f"DateTime: {error}") from None


def _field(tokens: _Tokens, token: str) -> str:
    """The field as it is spelled; names are accepted in any case, `.Value` of a field that can be null is the field."""
    head, _, rest = token.partition(".")
    known = tokens.fields.get(head.lower())
    if known is None:
        raise BadWhere(f"No property or field '{head}' exists")
    rest = rest.removesuffix("Value").removesuffix(".")
    if rest.rpartition(".")[2].lower() in PROPERTIES:
        raise BadWhere(f"'{token}' is not served by the sandbox")
    return f"{known}.{rest}" if rest else known
