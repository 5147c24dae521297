"""How the company writes numbers and days; words for what the marts name in one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from pipelines.money import Money, minor_units

NONE = "–"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONG_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
                "December")
# The settings' examples, as strftime wants them; the names of months are written here, whatever the machine's language.
_DATES = {"2026-12-31": "%Y-%m-%d", "31.12.2026": "%d.%m.%Y", "31/12/2026": "%d/%m/%Y", "12/31/2026": "%m/%d/%Y"}
# A thin space that does not break, as ISO 31 groups digits.
_SPACE = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True)
class Format:
    """The currency of amounts (ISO 4217) and the settings `number_format` and `date_format`."""

    currency: str = ""
    number_format: str = "1,234.56"
    date_format: str = "2026-12-31"

    @property
    def group(self) -> str:
        return _SPACE if self.number_format[1] == " " else self.number_format[1]

    @property
    def point(self) -> str:
        return self.number_format[5]

    @property
    def digits(self) -> int:
        """Digits after the point of the currency."""
        return minor_units().get(self.currency, 2)

    def money(self, amount: Decimal | None) -> str:
        """In the minor units of the currency; a dash for none."""
        return NONE if amount is None else self._written(str(Money(amount, self.currency)))

    def whole(self, amount: Decimal | None) -> str:
        """Without the minor units, for where only the size matters."""
        return NONE if amount is None else self.number(amount, 0)

    def number(self, value: Decimal | int | None, digits: int = 0) -> str:
        if value is None:
            return NONE
        rounded = Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
        return self._written(f"{rounded + 0:,.{digits}f}")

    def share(self, value: Decimal | None) -> str:
        """0.125 as 12.5 %."""
        return NONE if value is None else f"{self.number(value * 100, 1)}\N{NO-BREAK SPACE}%"

    def day(self, day: date | None) -> str:
        if day is None:
            return NONE
        if self.date_format in _DATES:
            return day.strftime(_DATES[self.date_format])
        return f"{day.day}\N{NO-BREAK SPACE}{_MONTHS[day.month - 1]}\N{NO-BREAK SPACE}{day.year}"

    def moment(self, moment: datetime | None) -> str:
        """Day and time with the name of its zone."""
        return NONE if moment is None else f"{self.day(moment.date())} {moment:%H:%M %Z}"

    def days(self, first: date, last: date) -> str:
        """A span within one month: its name where it is all of it, else its days."""
        if first == last:
            return self.day(first)
        if first.day == 1 and (last.month, last.day) == (first.month, _last_day(first)):
            return self.month(first)
        return f"{first.day} to {self.day(last)}" if self.date_format == "31 Dec 2026" else f"{self.day(first)} to {self.day(last)}"

    def month(self, month: date) -> str:
        return f"{_MONTHS[month.month - 1]} {month.year}"

    def long_month(self, month: date) -> str:
        return f"{_LONG_MONTHS[month.month - 1]} {month.year}"

    def short_month(self, month: date) -> str:
        return f"{_MONTHS[month.month - 1]} {month.year % 100:02}"

    def short_day(self, day: date) -> str:
        return f"{day.day} {_MONTHS[day.month - 1]}"

    def change(self, now: Decimal | None, then: Decimal | None) -> str:
        """By how many percent a number has grown, from ten times as much on how many times; a dash where there was nothing."""
        if now is None or then is None or then <= 0:
            return NONE
        if now >= then * 10:
            return f"×{self.number(now / then)}"
        percent = ((now - then) / then * 100).quantize(Decimal("0.1"), rounding=ROUND_HALF_UP)
        sign = "+" if percent > 0 else ""
        return f"{sign}{self.number(percent, 1 if abs(percent) < 10 else 0)}\N{NO-BREAK SPACE}%"

    def _written(self, number: str) -> str:
        return number.translate(str.maketrans({",": self.group, ".": self.point}))


def _last_day(first: date) -> int:
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return (following - first).days


_WORDS = {
    "fx": "exchange rates", "tax_in_contract": "tax in the contract", "price_or_quantity": "price or quantity",
    "awaiting_review": "drafts awaiting review", "scheduled": "scheduled for later", "current": "not yet due", "1_30": "1–30 days",
    "31_60": "31–60 days", "61_90": "61–90 days", "91_plus": "over 90 days", "timing": "timing between months",
}


def words(name: Any) -> str:
    """A name of the marts as words: not_invoiced is `not invoiced`, fx `exchange rates`."""
    return _WORDS.get(str(name), str(name).replace("_", " "))


def one_line(text: Any) -> str:
    """A vendor's text in one line, without control characters and without those that turn the direction of what follows."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "", " ".join(str(text).split()))
