"""The five fields of a cron line, checked where the configuration is read: a schedule that is refused at night is too late."""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Name, first and last value, words for values. Cron has two Sundays, 0 and 7.
_FIELDS = (("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day of the month", 1, 31, ()), ("month", 1, 12, _MONTHS),
           ("day of the week", 0, 7, _DAYS))
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", re.ASCII)


def check(line: str) -> None:
    """ValueError says what is wrong with a cron line, and what would be right."""
    fields = line.split()
    if len(fields) != len(_FIELDS):
        raise ValueError('write five cron fields such as "0 2 * * *"')
    values = [_values(text, *field) for text, field in zip(fields, _FIELDS, strict=True)]
    days, months = values[2], values[3]
    if fields[4] == "*" and all(min(days) > _LONGEST_MONTH[month - 1] for month in months):
        raise ValueError("no such day comes in those months; write one that does")


def _values(text: str, name: str, first: int, last: int, words: tuple[str, ...]) -> set[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        match = _PART.fullmatch(part)
        if match is None or (match[1] == "*" and match[2]):
            raise ValueError(f'its {name} is {text!r}; write five cron fields such as "0 2 * * *"')
        low = first if match[1] == "*" else _number(match[1], name, first, last, words)
        high = _number(match[2], name, first, last, words) if match[2] else last if match[1] == "*" or match[3] else low
        step = int(match[3] or 1)
        if low > high or not 0 < step <= last:
            raise ValueError(f"its {name} is {text!r}, which comes never; write a range from the lower to the higher value")
        found |= set(range(low, high + 1, step))
    return found


def _number(text: str, name: str, first: int, last: int, words: tuple[str, ...]) -> int:
    value = words.index(text) + first if text in words else int(text) if text.isdigit() else -1
    if not first <= value <= last:
        raise ValueError(f"its {name} is {text!r}; write {first} to {last}")
    return value
