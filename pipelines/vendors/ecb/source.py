"""The ECB's table of reference rates as a raw table.

The file eurofxref-hist.csv has a line for each day on which rates were fixed, newest first, and a column for each currency:
units of it for one euro. `N/A` stands where a currency was not quoted; weekends and holidays have no line; a comma ends
every line, which makes an empty last column.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dlt

from pipelines.http import ConnectionLost
from pipelines.landing import Fields, Job, Table, resource, row
from pipelines.oauth import TokenStore
from pipelines.settings import Settings
from pipelines.vendors.ecb import CARD

NOT_QUOTED = "N/A"
REMEDY = "put the ECB's eurofxref-hist.csv there, or set [ecb] file to where it is"
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
TABLES: dict[str, Table] = {
    # `rate`: units of the currency for one euro. `id`: the day and the currency.
    "reference_rates": Table("reference_rates", {"id": "text", "rate_date": "date", "currency": "text", "rate": "rate"}),
}

Row = dict[str, Any]


def connect(settings: Settings, tokens: TokenStore) -> None:
    """Nothing is called: the rates are in a file."""


@dlt.source(name="ecb")
def source(job: Job) -> list[Any]:
    """The rates that the warehouse does not hold yet, or holds otherwise, as a dlt resource."""
    return [resource(job, "reference_rates", [TABLES["reference_rates"]], changes(job))]


def changes(job: Job) -> Iterator[tuple[str, list[Row]]]:
    """The file's rates by day, without those that are known. What leaves the file stays: a rate was what it was.

    Raises ConnectionLost where there is no file, or one that is no table of rates.
    """
    known = job.known("reference_rates", ("rate",))
    for number, day, quotes in table_of(file_of(job.settings)):
        found = [one for one in (rate_row(day, currency, text) for currency, text in quotes) if known.get(one["id"]) != (one["rate"],)]
        job.notes += [f"{CARD.slug}: line {number}: {one['_problem']}" for one in found if one["_problem"]]
        if found:
            yield "reference_rates", found


def file_of(settings: Settings) -> Path:
    """Where the file is: as configured, from the folder of the configuration."""
    folder = settings.path.parent if settings.path else Path()
    name = settings.get(CARD.slug, "file")
    if not name:
        raise ConnectionLost(f"{CARD.slug}: [ecb] file is empty; {REMEDY}")
    return folder / Path(name).expanduser()


def table_of(path: Path) -> Iterator[tuple[int, str, list[tuple[str, str]]]]:
    """The lines of the file as (number, day, [(currency, rate)]), texts as they stand there and without what was not quoted.

    Raises ConnectionLost naming the file where it cannot be read or has another form.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            currencies = _currencies(next(lines, []), path)
            for line in lines:
                cells = [cell.strip() for cell in line]
                if any(cells):
                    quoted = [pair for pair in zip(currencies, cells[1:], strict=False) if pair[1] not in ("", NOT_QUOTED)]
                    yield lines.line_num, cells[0], quoted
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConnectionLost(f"{CARD.slug}: {path} cannot be read ({error}); {REMEDY}") from error


def _currencies(header: Sequence[str], path: Path) -> list[str]:
    first, *names = [cell.strip() for cell in header] or [""]
    while names and not names[-1]:
        names.pop()
    if first != "Date" or not names or len(set(names)) < len(names) or not all(map(_CURRENCY.fullmatch, names)):
        raise ConnectionLost(f"{CARD.slug}: {path} does not begin with Date and a column for each currency; {REMEDY}")
    return names


def rate_row(day: str, currency: str, text: str) -> Row:
    """One rate as its raw row. One that is no number above 0 is null, and its problem says so."""
    fields = Fields({"Date": day, currency: text})
    on, rate = fields.date("Date"), fields.number(currency, "rate")
    if rate is not None and rate <= 0:
        fields.problems.append(f"{currency}: {text[:80]!r} is not a rate above 0")
        rate = None
    return row(fields, id=f"{day} {currency}", rate_date=on, currency=currency, rate=rate)


def check(api: None, settings: Settings) -> list[str]:
    """What keeps the file from being read, one sentence with its fix; empty: nothing."""
    try:
        if next(table_of(file_of(settings)), None) is None:
            return [f"{CARD.slug}: {file_of(settings)} holds no rates; {REMEDY}"]
    except ConnectionLost as error:
        return [str(error)]
    return []
