"""The report of a night, from the published marts: one HTML page, and Markdown for the Prefect artifact.

Every text comes from a vendor somewhere: the page is escaped by the template, the Markdown by `plain`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from pipelines import landing
from pipelines.money import Money
from pipelines.settings import Settings

MAX_EXCEPTIONS = 200
_QUERIES = {
    "statuses": """
        SELECT financial_status, count(*) AS accounts, sum(total_outstanding) AS outstanding, sum(overdue_amount) AS overdue
        FROM account_status GROUP BY 1 ORDER BY 4 DESC, 1""",
    "reconciliation": """
        SELECT status, coalesce(main_cause, 'none') AS cause, count(*) AS deals, sum(contracted_base) AS contracted,
               sum(invoiced_base) AS invoiced, sum(variance_base) AS variance
        FROM fct_deal_reconciliation GROUP BY 1, 2 ORDER BY 1, 6, 2""",
    "overdue": """
        SELECT account_name, status.owner_id, owners.name AS owner, financial_status, days_overdue, overdue_amount, status.url
        FROM account_status AS status
        LEFT JOIN dim_owners AS owners ON owners.source = status.source AND owners.owner_id = status.owner_id
        WHERE overdue_amount > 0 ORDER BY overdue_amount DESC, account_id""",
    "tie_out": """
        SELECT source, level, customer_id, customer_name, report_date, ours_base, theirs_base, difference, is_tied, kind, url
        FROM rpt_tie_out WHERE level = 'ledger' OR NOT is_tied
        ORDER BY source, level DESC, abs(coalesce(difference, 0)) DESC, customer_id""",
    # A ledger without a report of the day has no certificate, and that has to be seen.
    "uncertified": """
        SELECT source FROM sync_health WHERE side = 'ledger'
        AND source NOT IN (SELECT source FROM rpt_tie_out WHERE level = 'ledger') ORDER BY source""",
    "health": "SELECT source, last_complete_at, status, hold_reason AS message FROM sync_health ORDER BY source",
    "exceptions": """
        SELECT severity, kind, source, object, record_id, message, amount_base, url FROM rpt_exceptions
        ORDER BY CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, abs(coalesce(amount_base, 0)) DESC,
                 kind, source, record_id""",
}


@dataclass(frozen=True)
class Report:
    """The figures of a night: for each section its rows as dicts of column to value, amounts in base currency."""

    company: str
    base_currency: str
    as_of: date
    known_at: datetime
    sections: Mapping[str, list[dict[str, Any]]]


def collect(published: Path, settings: Settings) -> Report:
    """Reads every section from the published marts."""
    with landing.connect(published, read_only=True) as connection:
        as_of, known_at = connection.execute("SELECT as_of, known_at FROM published_night").fetchone()
        sections = {}
        for name, query in _QUERIES.items():
            result = connection.execute(query)
            columns = [column[0] for column in result.description]
            sections[name] = [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
    return Report(settings.get("company", "name"), settings.base_currency, as_of, known_at, sections)


def write_page(report: Report, path: Path) -> Path:
    """The report as one HTML file that needs nothing else, put in place in one rename."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters |= {"money": partial(money, currency=report.base_currency), "link": safe_link}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    page = environment.get_template("page.html.j2").render(report=report, limit=MAX_EXCEPTIONS, **report.sections)
    fresh.write_text(page, encoding="utf-8")
    os.replace(fresh, path)
    return path


def summary(report: Report) -> str:
    """The night's figures as Markdown."""
    shown = partial(money, currency=report.base_currency)
    lines = [f"As of **{report.as_of}**, heard up to {report.known_at:%Y-%m-%d %H:%M} UTC. Amounts in {report.base_currency}.", "",
             "| Financial Status | Accounts | Outstanding | Overdue |", "|---|---:|---:|---:|"]
    lines += [f"| {plain(row['financial_status'])} | {row['accounts']} | {shown(row['outstanding'])} | {shown(row['overdue'])} |"
              for row in report.sections["statuses"]]
    lines += ["", "| Reconciliation | Cause | Deals | Contracted | Invoiced | Variance |", "|---|---|---:|---:|---:|---:|"]
    lines += [f"| {plain(row['status'])} | {plain(row['cause'])} | {row['deals']} | {shown(row['contracted'])} | "
              f"{shown(row['invoiced'])} | {shown(row['variance'])} |" for row in report.sections["reconciliation"]]
    lines += ["", "| Tie-out | State | Ours | The ledger's own | Difference |", "|---|---|---:|---:|---:|"]
    lines += [f"| {plain(row['source'])}{_of_customer(row)} | {_tied(row)} | "
              f"{shown(row['ours_base'])} | {shown(row['theirs_base'])} | {shown(row['difference'])} |"
              for row in report.sections["tie_out"][:MAX_EXCEPTIONS]]
    lines += [f"| {plain(row['source'])} | not compared: no report of the day | | | |" for row in report.sections["uncertified"]]
    return "\n".join(lines)


def _tied(row: Mapping[str, Any]) -> str:
    return "tied" if row["is_tied"] else f"**not tied** {plain(row['kind'])}"


def _of_customer(row: Mapping[str, Any]) -> str:
    return "" if row["level"] == "ledger" else f": {plain(row['customer_name'] or row['customer_id'])}"


def exceptions(report: Report) -> list[dict[str, str]]:
    """The exceptions as rows of texts for a table that shows its cells as they are, the gravest and largest first."""
    base = report.base_currency
    return [{name: "" if value is None else money(value, base) if name == "amount_base" else str(value) for name, value in row.items()}
            for row in report.sections["exceptions"][:MAX_EXCEPTIONS]]


def money(amount: Decimal | None, currency: str | None = None) -> str:
    """An amount in the minor units of its currency (two decimals without one), thousands separated; a dash for none."""
    return "–" if amount is None else str(Money(amount, currency))


def plain(text: Any) -> str:
    """A text that Markdown shows as it is: nothing in it becomes a link, a tag or a table cell. Backslashes, not entities:
    the Prefect UI escapes HTML by itself and would show an entity's letters. Colon, dot and @ make a link of a bare address."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~:.@-])", r"\\\1", " ".join(str(text).split()))


def safe_link(url: str | None) -> str | None:
    """The URL where it is one that a browser may follow without running anything."""
    return url if url and url.startswith("https://") else None
