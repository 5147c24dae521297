"""The kinds of value that a setting may have: each check gives the value in its own type, or says what would have been right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def checked(kind: str, value: Any) -> Any:
    """The value in its own type; ValueError says what would have been right."""
    if kind.startswith("choice:"):
        choices = kind.removeprefix("choice:").split("|")
        if value not in choices:
            raise ValueError(f"write one of {', '.join(choices)}")
        return value
    return _CHECKS[kind](value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("write a text in quotes")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("write a whole number from 0 up")
    return value


def _count(value: Any) -> int:
    if _integer(value) < 1:
        raise ValueError("write a whole number from 1 up")
    return value


def _month(value: Any) -> int:
    if not 1 <= _integer(value) <= 12:
        raise ValueError("write the number of a month, 1 to 12")
    return value


def _decimal(value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("write a number") from None
    if isinstance(value, bool) or not number.is_finite() or number < 0:
        raise ValueError("write a number from 0 up")
    return number


def _share(value: Any) -> Decimal:
    number = _decimal(value)
    if number > 1:
        raise ValueError("write a share from 0 to 1")
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def _list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError("write a list of texts in quotes")
    return tuple(value)


def _table(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("write a table of texts")
    return dict(value)


def _zone(value: Any) -> str:
    try:
        ZoneInfo(_text(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as "America"
        raise ValueError('write an IANA time zone such as "Europe/Berlin"') from None
    return value


def _cron(value: Any) -> str:
    if len(_text(value).split()) != 5:
        raise ValueError('write five cron fields such as "0 2 * * *"')
    return value


def _address(value: Any) -> str:
    if value != "" and not _ADDRESS.fullmatch(_text(value)):
        raise ValueError('write an address such as "finance@example.com"')
    return value


def _addresses(value: Any) -> tuple[str, ...]:
    if not all(item and _address(item) for item in _list(value)):
        raise ValueError("leave the empty one out")
    return tuple(dict.fromkeys(value))


def _currency(value: Any) -> str:
    if not re.fullmatch(r"[A-Z]{3}", _text(value)):
        raise ValueError('write an ISO 4217 code such as "EUR"')
    return value


# The plain form of an address: nothing in it can end a header or name a second recipient.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*", re.ASCII)

_CHECKS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"text": _text, "integer": _integer, "count": _count, "month": _month, "decimal": _decimal, "share": _share, "flag": _flag,
     "list": _list, "table": _table, "zone": _zone, "cron": _cron, "currency": _currency,
     "address": _address, "addresses": _addresses}
)
