"""QuickBooks' own ageing report: the control total of the night."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from pipelines.landing import Fields, Job, row

BUCKETS = ("bucket_current", "bucket_1_30", "bucket_31_60", "bucket_61_90", "bucket_91_plus", "total")

Row = dict[str, Any]
Pages = Iterator[tuple[str, list[Row]]]


def aged_receivables(job: Job) -> Pages:
    """The vendor's own ageing report on the business date: the control total of the night."""
    params = {"report_date": job.as_of.isoformat(), "aging_method": "Report_Date"}
    report = job.api.get("reports/AgedReceivables", params, label="AgedReceivables").json
    rows = report.get("Rows", {})
    yield "aged_receivables", [report_row(cells, job.as_of) for cells in (*report_cells(rows), *report_total(rows))]


def report_cells(rows: Row) -> Iterator[list[Row]]:
    """The cells of every customer's own line, at any depth; totals and headings without amounts are left out."""
    for item in rows.get("Row", []):
        heading = item.get("Header", {}).get("ColData", [])
        if any(cell.get("value") for cell in heading[1:]):
            yield heading
        if item.get("ColData") and item["ColData"][0].get("id"):
            yield item["ColData"]
        yield from report_cells(item.get("Rows", {}))


def report_total(rows: Row) -> Iterator[list[Row]]:
    """The cells of the report's own total, a line of nobody: without an id and a name. A report without lines says that
    nobody owes anything."""
    if not rows.get("Row"):
        yield [{"value": None}, *({"value": "0.00"} for _ in BUCKETS)]
    for item in rows.get("Row", []):
        cells = item.get("Summary", {}).get("ColData")
        if item.get("group") == "GrandTotal" and cells:
            yield [{"value": None}, *cells[1:]]


def report_row(cells: list[Row], report_date: date) -> Row:
    """A line of the ageing report as its raw row; an empty cell is zero."""
    if len(cells) != len(BUCKETS) + 1:
        raise RuntimeError(f"quickbooks: AgedReceivables has {len(cells)} columns, not {len(BUCKETS) + 1}; set the report's "
                           "ageing to four periods of 30 days in the company's report settings")
    fields = Fields({name: cell.get("value") or "0" for name, cell in zip(BUCKETS, cells[1:], strict=True)})
    return row(
        fields, customer_id=cells[0].get("id"), customer_name=cells[0]["value"], report_date=report_date,
        **{name: fields.number(name) for name in BUCKETS},
    )
