"""Amounts as a person reads them: in the minor units of their currency, as they are written."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path

CURRENCIES = Path(__file__).parents[1] / "dbt_project" / "seeds" / "iso_currencies.csv"
# What most currencies have, and one that the list lacks is shown with.
USUAL = 2


@cache
def minor_units() -> Mapping[str, int]:
    """Digits after the point of each ISO 4217 currency (JPY 0, KWD 3): the list that the models use."""
    with CURRENCIES.open(encoding="utf-8", newline="") as file:
        return {line["code"]: int(line["minor_units"]) for line in csv.DictReader(file)}


@dataclass(frozen=True)
class Money:
    """An amount and the ISO 4217 code of its currency."""

    amount: Decimal
    currency: str | None

    def __str__(self) -> str:
        """The amount with thousands separated, half a unit away from zero as the warehouse rounds it."""
        digits = minor_units().get(self.currency or "", USUAL)
        return f"{self.amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP):,.{digits}f}"
