"""QuickBooks' query language, as far as its documentation and recorded queries show it.

`select * | count(*) | a, b from Entity [where a = 'x' and ...] [orderby a desc] [startposition n] [maxresults n]`:
keywords in any case, ORDERBY or ORDER BY, the last clauses in any order, no OR, `\\'` inside a string.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")  # the company's own time zone, in which every stamp is written
MAX_RESULTS, DEFAULT_RESULTS = 1000, 100
OPERATORS = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}
TIMES = ("MetaData.LastUpdatedTime", "MetaData.CreateTime")
_TOKEN = re.compile(r"\s*(?:('(?:\\.|[^'\\])*')|(<=|>=|[=<>(),*])|([A-Za-z_][\w.]*|-?\d+(?:\.\d+)?))")
_KEYWORDS = frozenset(("where", "and", "order", "orderby", "by", "startposition", "maxresults", "from", "asc", "desc"))


class BadQuery(ValueError):
    """The query was refused: `code` 4000 could not be parsed, 4001 asks for what there is not."""

    def __init__(self, code: str, message: str, detail: str):
        super().__init__(detail)
        self.code, self.message, self.detail = code, message, detail


def unparsable(detail: str) -> BadQuery:
    """4000, the parser gave up."""
    return BadQuery("4000", "Error parsing query", f"QueryParserError: {detail}")


def invalid(detail: str) -> BadQuery:
    """4001, as recorded for an entity that does not exist."""
    return BadQuery("4001", "Invalid query", f"QueryValidationError: {detail}")


@dataclass(frozen=True)
class Condition:
    """`field operator literals`; `in` has several literals, every other operator one."""

    field: str
    operator: str
    literals: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    """A parsed query. `columns` is None for `*`; positions count from 1."""

    entity: str
    columns: tuple[str, ...] | None
    count: bool
    conditions: tuple[Condition, ...]
    order: tuple[tuple[str, bool], ...]  # (field, descending)
    start: int
    limit: int


class _Tokens:
    """The query's tokens, read from left to right."""

    def __init__(self, text: str):
        self.left: list[str] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if not found:
                raise unparsable(f'Lexical error at column {at + 1}. Encountered: "{text[at:].strip()[:1]}"')
            self.left.append(found.group().strip())
            at = found.end()
        self.left.reverse()

    def peek(self) -> str:
        return self.left[-1] if self.left else ""

    def take(self) -> str:
        if not self.left:
            raise unparsable("Encountered <EOF>")
        return self.left.pop()

    def skip(self, word: str) -> bool:
        if self.peek().lower() == word:
            self.left.pop()
            return True
        return False

    def need(self, word: str) -> None:
        if not self.skip(word):
            raise unparsable(f'Encountered "{self.peek() or "<EOF>"}". Was expecting: "{word}"')


def parse(text: str) -> Query:
    """The query in `text`; raises `BadQuery` in the vendor's words."""
    tokens = _Tokens(text)
    tokens.need("select")
    columns, count = _columns(tokens)
    tokens.need("from")
    entity = _name(tokens)
    conditions = _conditions(tokens)
    order: tuple[tuple[str, bool], ...] = ()
    numbers = {"startposition": 1, "maxresults": DEFAULT_RESULTS}
    while tokens.peek():
        word = tokens.take().lower()
        if word == "orderby" or (word == "order" and tokens.skip("by")):
            order = _order(tokens)
        elif word in numbers:
            numbers[word] = _number(word, tokens.take())
        else:
            raise unparsable(f'Encountered "{word}"')
    if numbers["maxresults"] > MAX_RESULTS:
        raise invalid(f"value {numbers['maxresults']} for MAXRESULTS is too large. Max allowed value is {MAX_RESULTS}")
    return Query(entity, columns, count, conditions, order, numbers["startposition"], numbers["maxresults"])


def _columns(tokens: _Tokens) -> tuple[tuple[str, ...] | None, bool]:
    if tokens.skip("*"):
        while tokens.skip(","):  # what stands beside the star is in the whole object already
            _name(tokens)
        return None, False
    if tokens.peek().lower() == "count":
        for expected in ("count", "(", "*", ")"):
            tokens.need(expected)
        return None, True
    names = [_name(tokens)]
    while tokens.skip(","):
        names.append(_name(tokens))
    return tuple(names), False


def _name(tokens: _Tokens) -> str:
    word = tokens.take()
    if not re.fullmatch(r"[A-Za-z_][\w.]*", word) or word.lower() in _KEYWORDS:
        raise unparsable(f'Encountered "{word}". Was expecting a name')
    return word


def _conditions(tokens: _Tokens) -> tuple[Condition, ...]:
    found = []
    if tokens.skip("where"):
        found.append(_condition(tokens))
        while tokens.skip("and"):
            found.append(_condition(tokens))
    return tuple(found)


def _condition(tokens: _Tokens) -> Condition:
    field, operator = _name(tokens), tokens.take().lower()
    if operator == "in":
        tokens.need("(")
        literals = [_literal(tokens)]
        while tokens.skip(","):
            literals.append(_literal(tokens))
        tokens.need(")")
        return Condition(field, "in", tuple(literals))
    if operator not in OPERATORS and operator != "like":
        raise unparsable(f'Encountered "{operator}". Was expecting one of: =, <, >, <=, >=, IN, LIKE')
    return Condition(field, operator, (_literal(tokens),))


def _literal(tokens: _Tokens) -> str:
    word = tokens.take()
    if word.startswith("'"):
        return re.sub(r"\\(.)", r"\1", word[1:-1])
    if word.lower() in ("true", "false") or re.fullmatch(r"-?\d+(\.\d+)?", word):
        return word.lower()
    raise unparsable(f'Encountered "{word}". Was expecting a literal')


def _order(tokens: _Tokens) -> tuple[tuple[str, bool], ...]:
    fields = []
    while True:
        field = _name(tokens)
        descending = tokens.skip("desc")
        tokens.skip("asc")
        fields.append((field, descending))
        if not tokens.skip(","):
            return tuple(fields)


def _number(word: str, text: str) -> int:
    if not text.isdigit() or int(text) < (word == "startposition"):
        raise unparsable(f'Encountered "{text}" at {word.upper()}. Was expecting a positive number')
    return int(text)


# -- conditions -----------------------------------------------------------------------------------------------------


def local_time(text: str) -> datetime:
    """A stamp of a query: without an offset it is the company's local time, a date is its midnight."""
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"'{text}' is not a valid date and time") from None
    if len(text) == 10:
        stamp = datetime.combine(stamp.date(), time())
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=PACIFIC)


def test_of(condition: Condition) -> Callable[[object], bool]:
    """A predicate on the field's value: None where it is absent, a reference compares by its `value`."""
    operator, literals = condition.operator, condition.literals
    if condition.field in TIMES:
        stamps = [local_time(literal) for literal in literals]
        if operator == "in":
            return lambda value: value in stamps
        if operator == "like":
            raise invalid(f"operator LIKE is not supported for {condition.field}")
        compare = OPERATORS[operator]
        return lambda value: compare(value, stamps[0])
    if operator == "in":
        return lambda value: any(_compare("=", value, literal) for literal in literals)
    if operator == "like":
        pattern = re.compile(".*".join(map(re.escape, literals[0].split("%"))), re.IGNORECASE | re.DOTALL)
        return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None
    return lambda value: _compare(operator, value, literals[0])


def _compare(operator: str, value: object, literal: str) -> bool:
    if isinstance(value, dict):
        value = value.get("value")
    if value is None:
        return False
    if isinstance(value, bool):
        return OPERATORS[operator](str(value).lower(), literal)
    if isinstance(value, int | Decimal):
        try:
            return OPERATORS[operator](value, Decimal(literal))
        except InvalidOperation:
            raise invalid(f"'{literal}' is not a number") from None
    return OPERATORS[operator](str(value), literal)
