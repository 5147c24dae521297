"""QuickBooks' own ageing report: the control total of the night. It judges what was read and is never a reason not to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from pipelines.http import ApiError, ConnectionLost
from pipelines.landing import Fields, Job, row
from pipelines.redaction import redact

# Names of the report's settings: four periods of 30 days, counted up to the date of the report (unverified).
FOUR_MONTHS = {"num_periods": "4", "aging_period": "30"}
PERIODS = {"1-30": "bucket_1_30", "31-60": "bucket_31_60", "61-90": "bucket_61_90"}
BUCKETS = ("bucket_current", *PERIODS.values(), "bucket_91_plus")
COLUMNS = (*BUCKETS, "total")

Row = dict[str, Any]
Pages = Iterator[tuple[str, list[Row]]]


def aged_receivables(job: Job) -> Pages:
    """The report of the business date: a row per customer with an amount, and one without a customer for the whole. Where it cannot
    be read, that row alone, with the problem; where only its periods are other ones, the totals, and the problem with the whole."""
    params = {"report_date": job.as_of.isoformat(), "aging_method": "Report_Date", **FOUR_MONTHS}
    try:
        found = report_rows(job.api.get("reports/AgedReceivables", params, label="AgedReceivables").json, job.as_of)
    except (ApiError, ConnectionLost, LookupError, TypeError, ValueError, AttributeError) as error:
        problem = redact(str(error)) or type(error).__name__
        job.notes.append(f"the ageing report could not be read, so nothing was compared with it ({problem})")
        found = [unread(job.as_of, f"AgedReceivables could not be read: {problem}")]
    yield "aged_receivables", found


def unread(day: date, problem: str) -> Row:
    """The row of a report that says nothing."""
    fields = Fields({})
    fields.problems.append(problem)
    return row(fields, customer_id=None, customer_name=None, report_date=day, **dict.fromkeys(COLUMNS))


def report_rows(report: Mapping[str, Any], day: date) -> list[Row]:
    """A report as its raw rows. Raises ValueError where it has no column of totals or no total."""
    columns = columns_of(report["Columns"]["Column"])
    rows = report.get("Rows") or {}
    whole = [report_row(cells, columns, day) for cells in report_total(rows, len(report["Columns"]["Column"]))]
    if not whole:
        raise ValueError("it has no line for the total of all customers")
    titles = [column.get("ColTitle", "") for column in report["Columns"]["Column"]]
    lines = [report_row(cells, columns, day) for cells in report_cells(rows)]
    if not set(BUCKETS) <= set(columns.values()):
        (total,) = whole
        total["_problem"] = (f"AgedReceivables has the columns {', '.join(filter(None, titles))}, not four periods of 30 days: its "
                             "ageing is not compared; set them in the company's report settings")
    return [*lines, *whole]


def columns_of(columns: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """{place in a line: our name} by the titles of the columns; periods that are not ours have no name. Raises ValueError where no
    column is the total."""
    found: dict[int, str] = {}
    for place, column in enumerate(columns[1:], 1):
        title = re.sub(r"\s+", "", str(column.get("ColTitle") or "")).lower()
        numbers = re.findall(r"\d+", title)
        if title == "current":
            found[place] = "bucket_current"
        elif title == "total":
            found[place] = "total"
        elif title in PERIODS:
            found[place] = PERIODS[title]
        elif numbers in (["91"], ["90"]) and "-" not in title:  # "91 and over", "> 90"
            found[place] = "bucket_91_plus"
    if "total" not in found.values():
        shown = ", ".join(str(column.get("ColTitle")) for column in columns)
        raise ValueError(f"no column is titled Total (there: {shown})")
    return found


def report_cells(rows: Mapping[str, Any]) -> Iterator[list[Row]]:
    """The cells of every customer's own line, at any depth; totals and headings without amounts are left out."""
    for item in rows.get("Row", []):
        heading = item.get("Header", {}).get("ColData", [])
        if any(cell.get("value") for cell in heading[1:]):
            yield heading
        if item.get("ColData") and item["ColData"][0].get("id"):
            yield item["ColData"]
        yield from report_cells(item.get("Rows", {}))


def report_total(rows: Mapping[str, Any], width: int) -> Iterator[list[Row]]:
    """The cells of the report's own total, a line of nobody: without an id and a name. A report without lines says that nobody owes
    anything."""
    if not rows.get("Row"):
        yield [{"value": None}, *({"value": "0.00"} for _ in range(width - 1))]
    for item in rows.get("Row", []):
        cells = item.get("Summary", {}).get("ColData")
        if item.get("group") == "GrandTotal" and cells:
            yield [{"value": None}, *cells[1:]]


def report_row(cells: Sequence[Mapping[str, Any]], columns: Mapping[int, str], day: date) -> Row:
    """A line of the report as its raw row; an empty cell is zero, a column that the report has not is unknown."""
    if len(cells) <= max(columns):
        raise ValueError(f"a line has {len(cells)} cells where the report has more columns")
    has_buckets = set(BUCKETS) <= set(columns.values())
    named = {name: cells[place].get("value") or "0" for place, name in columns.items() if has_buckets or name == "total"}
    fields = Fields(named)
    return row(fields, customer_id=cells[0].get("id"), customer_name=cells[0]["value"], report_date=day,
               **{name: fields.number(name) for name in COLUMNS})
