"""SOQL's grammar: `parse` turns the text of a query into a `Query`; what it asks for is looked up elsewhere.

Source: SOQL and SOSL Reference (https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/). Left out and
refused as malformed: sub-queries, HAVING, TYPEOF, date functions and relative dates, aliases of objects.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

MAX_LENGTH = 100_000  # characters of a query
MAX_DEPTH = 40  # nested parentheses; no query of ours comes near
MAX_OFFSET = 2000
OPERATORS = ("=", "!=", "<>", "<", "<=", ">", ">=")
FUNCTIONS = ("COUNT", "COUNT_DISTINCT", "SUM", "MIN", "MAX", "AVG")
_TOKEN = re.compile(
    r"""(?P<string>'(?:\\.|[^'\\])*')
      | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
      | (?P<date>\d{4}-\d\d-\d\d)
      | (?P<number>[+-]?\d+(?:\.\d+)?)
      | (?P<sign><=|>=|!=|<>|[=<>(),])
      | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)""",
    re.VERBOSE | re.ASCII,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "'": "'", '"': '"', "\\": "\\"}
_RESERVED = frozenset((
    "select", "from", "where", "and", "or", "not", "in", "like", "group", "order", "by", "limit", "offset", "asc", "desc",
    "nulls", "having",
))  # fmt: skip


class BadQuery(ValueError):
    """A query that is refused: `code` is Salesforce's errorCode; `at` is a position in the text, -1 without one."""

    def __init__(self, code: str, message: str, at: int = -1):
        super().__init__(message)
        self.code, self.message, self.at = code, message, at


@dataclass(frozen=True)
class Literal:
    """`kind` is string, number, boolean, date, datetime or null. `value` is what records hold: text, Decimal, bool, None;
    a datetime is text as records have it. `raw` is a string as written, which LIKE needs for its escapes."""

    kind: str
    value: object
    raw: str
    at: int


@dataclass(frozen=True)
class Comparison:
    """`path operator literals`; only "in" and "not in" have several literals."""

    path: str
    operator: str
    literals: tuple[Literal, ...]
    at: int


@dataclass(frozen=True)
class Both:
    """All of `parts`."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either:
    """Any of `parts`."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Negation:
    """Not `part`."""

    part: Node


Node = Comparison | Both | Either | Negation


@dataclass(frozen=True)
class Column:
    """A selected path, or a function of one: COUNT() has no path."""

    path: str | None
    function: str | None
    alias: str | None
    at: int


@dataclass(frozen=True)
class Order:
    """One field of ORDER BY. Nulls come first unless the query says otherwise."""

    path: str
    descending: bool
    nulls_last: bool
    at: int


@dataclass(frozen=True)
class Query:
    """A parsed query. `count_only` is COUNT() alone, which answers with a total and no records."""

    text: str
    columns: tuple[Column, ...]
    entity: str
    where: Node | None
    groups: tuple[Column, ...]
    order: tuple[Order, ...]
    limit: int | None
    offset: int

    @property
    def count_only(self) -> bool:
        return len(self.columns) == 1 and self.columns[0].function == "COUNT" and self.columns[0].path is None

    @property
    def aggregates(self) -> bool:
        return bool(self.groups) or any(column.function for column in self.columns)


def stamp(moment: datetime) -> str:
    """A time as REST answers it: UTC, milliseconds, no colon in the offset (recorded)."""
    return moment.astimezone(UTC).isoformat()[:19] + ".000+0000"


def explain(query: str, problem: BadQuery) -> str:
    """The message with the place that it is about, in the shape that Salesforce gives to it."""
    if problem.at < 0:
        return problem.message
    around = query[max(0, problem.at - 30) : problem.at + 30]
    column = problem.at + 1
    return f"\n{around}\n{' ' * min(problem.at, 30)}^\nERROR at Row:1:Column:{column}\n{problem.message}"


def malformed(message: str, at: int = -1) -> BadQuery:
    return BadQuery("MALFORMED_QUERY", message, at)


class _Tokens:
    """The tokens of a query, read from left to right: (kind, text, position)."""

    def __init__(self, text: str):
        self.tokens: list[tuple[str, str, int]] = []
        self.position = self.depth = 0
        at = 0
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            found = _TOKEN.match(text, at)
            if not found:
                raise malformed(f"line 1:{at} no viable alternative at character '{text[at]}'", at)
            self.tokens.append((found.lastgroup or "", found.group(), at))
            at = found.end()
        self.end = len(text)

    def peek(self) -> tuple[str, str, int]:
        return self.tokens[self.position] if self.position < len(self.tokens) else ("end", "<EOF>", self.end)

    def take(self) -> tuple[str, str, int]:
        token = self.peek()
        self.position += 1
        return token

    def skip(self, *words: str) -> bool:
        """Passes over these words or signs if they come next, all of them."""
        ahead = [token[1].lower() for token in self.tokens[self.position : self.position + len(words)] if token[0] in ("name", "sign")]
        if ahead != list(words):
            return False
        self.position += len(words)
        return True

    def need(self, word: str) -> None:
        if not self.skip(word):
            raise self.unexpected()

    def unexpected(self) -> BadQuery:
        _, text, at = self.peek()
        return malformed(f"unexpected token: '{text}'", at)

    def name(self) -> tuple[str, int]:
        kind, text, at = self.peek()
        if kind != "name" or text.lower() in _RESERVED:
            raise self.unexpected()
        self.position += 1
        return text, at


# What SOQL has and nothing here asks for, by the word that begins it, and what has to follow for it to be that.
# Source: SOQL and SOSL Reference.
UNSERVED = {
    "HAVING": r"\bGROUP\s+BY\b.+\bHAVING\s+\w", "a subquery": r"\(\s*SELECT\s+[\w., ]+\s+FROM\s+\w+[^()]*\)",
    "FIELDS": r"\bFIELDS\s*\(\s*\w+\s*\)",
    "TYPEOF": r"\bTYPEOF\s+\w+\s+WHEN\b.+\bEND\b", "a date literal": r"[<>=]\s*(LAST|NEXT|THIS|TODAY|YESTERDAY|TOMORROW)\w*(:\d+)?",
    "USING SCOPE": r"\bUSING\s+SCOPE\s+\w", "FOR": r"\bFOR\s+(VIEW|REFERENCE|UPDATE)\b", "WITH": r"\bWITH\s+\w",
    "ALL ROWS": r"\bALL\s+ROWS\b", "INCLUDES": r"\b(IN|EX)CLUDES\s*\(",
    "a function": r"\b(CALENDAR|FISCAL|DAY|WEEK|HOUR)_\w+\s*\(\s*\w+\s*\)|\b(toLabel|convertCurrency|FORMAT|DISTANCE)\s*\(",
}


def parse(text: str) -> Query:
    """The query in `text`; BadQuery with MALFORMED_QUERY says what was not understood and where. What is valid and not understood
    here is another error: it is the sandbox's lack and nobody's mistake."""
    try:
        return _parse(text)
    except BadQuery as problem:
        bare = re.sub(r"'(\\.|[^'\\])*'", "''", text)
        found = next((word for word, shape in UNSERVED.items() if re.search(shape, bare, re.IGNORECASE | re.DOTALL)), None)
        whole = re.match(r"\s*SELECT\s.+\sFROM\s+\w", bare, re.IGNORECASE | re.DOTALL)
        if problem.code != "MALFORMED_QUERY" or found is None or not whole:
            raise
        raise BadQuery("FUNCTIONALITY_NOT_ENABLED", f"{found} is not served by the sandbox; the vendor serves it") from problem


def _parse(text: str) -> Query:
    if len(text) > MAX_LENGTH:
        raise BadQuery("QUERY_TOO_COMPLICATED", f"a query has at most {MAX_LENGTH} characters, not {len(text)}")
    tokens = _Tokens(text)
    tokens.need("select")
    columns = _columns(tokens)
    tokens.need("from")
    entity, _ = tokens.name()
    where = _any(tokens) if tokens.skip("where") else None
    groups = _names(tokens) if tokens.skip("group", "by") else ()
    order = _order(tokens) if tokens.skip("order", "by") else ()
    limit = _number(tokens) if tokens.skip("limit") else None
    offset = _number(tokens) if tokens.skip("offset") else 0
    if tokens.peek()[0] != "end":
        raise tokens.unexpected()
    if offset > MAX_OFFSET:
        raise BadQuery("NUMBER_OUTSIDE_VALID_RANGE", f"Maximum SOQL offset allowed is {MAX_OFFSET}")
    return Query(text, columns, entity, where, groups, order, limit, offset)


def _columns(tokens: _Tokens) -> tuple[Column, ...]:
    found = [_column(tokens)]
    while tokens.skip(","):
        found.append(_column(tokens))
    return tuple(found)


def _column(tokens: _Tokens) -> Column:
    name, at = tokens.name()
    if not tokens.skip("("):
        return Column(name, None, _alias(tokens), at)
    function = name.upper()
    if function not in FUNCTIONS:
        raise malformed(f"unexpected token: '{name}'", at)
    path = None if function == "COUNT" and tokens.peek()[1] == ")" else tokens.name()[0]
    tokens.need(")")
    return Column(path, function, _alias(tokens), at)


def _alias(tokens: _Tokens) -> str | None:
    kind, text, _ = tokens.peek()
    return tokens.take()[1] if kind == "name" and text.lower() not in _RESERVED and "." not in text else None


def _names(tokens: _Tokens) -> tuple[Column, ...]:
    found = [tokens.name()]
    while tokens.skip(","):
        found.append(tokens.name())
    return tuple(Column(name, None, None, at) for name, at in found)


def _order(tokens: _Tokens) -> tuple[Order, ...]:
    found = []
    while True:
        name, at = tokens.name()
        if tokens.skip("("):  # an aggregate, as in ORDER BY COUNT(Id)
            inner = "" if tokens.peek()[1] == ")" else tokens.name()[0]
            tokens.need(")")
            name = f"{name.upper()}({inner})"
        descending = tokens.skip("desc")
        if not descending:
            tokens.skip("asc")
        last = tokens.skip("nulls", "last")
        if not last:
            tokens.skip("nulls", "first")
        found.append(Order(name, descending, last, at))
        if not tokens.skip(","):
            return tuple(found)


def _number(tokens: _Tokens) -> int:
    kind, text, at = tokens.take()
    if kind != "number" or not text.isdigit():
        raise malformed(f"unexpected token: '{text}'", at)
    return int(text)


def _any(tokens: _Tokens) -> Node:
    """A whole condition. AND and OR mix only with parentheses, as SOQL has it."""
    first = _one(tokens)
    for word, kind in (("and", Both), ("or", Either)):
        if tokens.peek()[1].lower() == word:
            parts = [first]
            while tokens.skip(word):
                parts.append(_one(tokens))
            return kind(tuple(parts))  # the other word comes next: whoever goes on reading does not expect it
    return first


def _one(tokens: _Tokens) -> Node:
    tokens.depth += 1
    if tokens.depth > MAX_DEPTH:
        raise malformed(f"more than {MAX_DEPTH} nested conditions", tokens.peek()[2])
    try:
        if tokens.skip("not"):
            return Negation(_one(tokens))
        if tokens.skip("("):
            inner = _any(tokens)
            tokens.need(")")
            return inner
        return _comparison(tokens)
    finally:
        tokens.depth -= 1


def _comparison(tokens: _Tokens) -> Comparison:
    path, at = tokens.name()
    for words in (("not", "in"), ("in",)):
        if tokens.skip(*words):
            tokens.need("(")
            literals = [_literal(tokens)]
            while tokens.skip(","):
                literals.append(_literal(tokens))
            tokens.need(")")
            return Comparison(path, " ".join(words), tuple(literals), at)
    if tokens.skip("like"):
        return Comparison(path, "like", (_literal(tokens),), at)
    kind, operator, _ = tokens.peek()
    if kind != "sign" or operator not in OPERATORS:
        raise tokens.unexpected()
    tokens.take()
    return Comparison(path, "!=" if operator == "<>" else operator, (_literal(tokens),), at)


def _literal(tokens: _Tokens) -> Literal:
    kind, text, at = tokens.take()
    if kind == "string":
        return Literal("string", _unescaped(text[1:-1], at), text[1:-1], at)
    if kind == "number":
        return Literal("number", Decimal(text), text, at)
    if kind in ("date", "datetime"):
        try:
            moment = datetime.fromisoformat(text if kind == "datetime" else f"{text}T00:00:00+00:00")
        except ValueError:
            raise malformed(f"Invalid {kind}: {text}", at) from None
        return Literal(kind, stamp(moment) if kind == "datetime" else text, text, at)
    if kind == "name" and text.lower() in ("true", "false", "null"):
        word = text.lower()
        return Literal("null" if word == "null" else "boolean", {"true": True, "false": False, "null": None}[word], word, at)
    raise malformed(f"unexpected token: '{text}'", at)


def _unescaped(raw: str, at: int) -> str:
    def one(found: re.Match[str]) -> str:
        letter = found.group(1)
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter in "_%":
            return f"\\{letter}"
        raise malformed(f"Illegal string literal: Invalid string literal '{raw}'. Illegal character sequence '\\{letter}'", at)

    return re.sub(r"\\(.)", one, raw, flags=re.DOTALL)


def like(pattern: str) -> re.Pattern[str]:
    """LIKE's pattern, as it was written between the quotes: % and _ as wild cards, \\% and \\_ as themselves."""
    parts = []
    for found in re.finditer(r"\\(.)|(.)", pattern, re.DOTALL):
        escaped, plain = found.groups()
        if plain in ("%", "_"):
            parts.append(".*" if plain == "%" else ".")
        else:
            parts.append(re.escape(plain or _ESCAPES.get(escaped, escaped)))
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)
