"""The report as the body of a mail: the same figures, as tables only, with the styles on each element as mail programs want them."""

from __future__ import annotations

from dataclasses import replace

from pipelines.report import tables
from pipelines.report.build import environment, format_of, sections
from pipelines.report.figures import Report
from pipelines.report.formats import one_line
from pipelines.report.tables import Table

# Mail programs cut long messages off (Gmail at 102 KB), so each table is short; the page, which comes along, has the rest.
MAX_ROWS = 10
_SHOWN = ("deals", "not_invoiced", "ageing", "statuses", "overdue", "cash", "questions", "held", "problems")


def mail_body(report: Report) -> str:
    """An HTML document: the five numbers, freshness and tie-out, and the tables that a leader reads first."""
    found = sections(report)
    shown = [_short(found["months"], last=True), found["bridge"], *(_short(found[name]) for name in _SHOWN)]
    return environment(report).get_template("mail.html.j2").render(
        report=report, headlines=found["headlines"], tables=shown, numbers=tables.NUMBERS)


def subject(report: Report) -> str:
    """One line: whose report, of when, and whether the ledgers tie out."""
    states = [one.is_tied for one in report.tie_out if one.level == "ledger"]
    tied = "tied" if states and all(states) else "NOT TIED" if False in states else "not compared"
    company = f"{one_line(report.company)}: " if report.company else ""
    return f"{company}revenue cycle as of {format_of(report).day(report.as_of)}, {tied}"


def _short(table: Table, *, last: bool = False) -> Table:
    """The first rows of a table, or the last; a total of all rows stays."""
    if len(table.rows) <= MAX_ROWS:
        return table
    rows = table.rows[-MAX_ROWS:] if last else table.rows[:MAX_ROWS]
    return replace(table, rows=rows, note=f"{len(rows)} rows of {len(table.rows)}; the report has all of them. {table.note}".strip())
