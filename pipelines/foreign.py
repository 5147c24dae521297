"""JSON that others wrote, read exactly or refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn


def read_json(text: str, made: Callable[[Sequence[tuple[str, Any]]], Mapping[str, Any]] = dict) -> Any:
    """The value of a JSON text; numbers with a decimal point are Decimals from their own digits, objects are `made` of their
    names and values. A byte order mark before the text is no part of it.

    Raises ValueError for what is no JSON (RFC 8259: NaN is none), what is nested too deeply, and an object that gives one
    name two different values: which of them counts is not said.
    """

    def checked(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
        found = made(pairs)
        if len(found) != len(pairs):
            for name, value in pairs:
                if found[name] != value:
                    raise ValueError(f"the name {name!r} stands twice in one object, with different values")
        return found

    try:
        return json.loads(text.removeprefix("\ufeff"), parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=checked)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ArithmeticError:
        raise ValueError("a number in it is too large") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
