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
from pathlib import Path
from typing import Any

import jinja2

from pipelines import landing
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
    environment.filters |= {"money": money, "link": safe_link}
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    page = environment.get_template("page.html.j2").render(report=report, limit=MAX_EXCEPTIONS, **report.sections)
    fresh.write_text(page, encoding="utf-8")
    os.replace(fresh, path)
    return path


def summary(report: Report) -> str:
    """The night's figures as Markdown."""
    lines = [f"As of **{report.as_of}**, heard up to {report.known_at:%Y-%m-%d %H:%M} UTC. Amounts in {report.base_currency}.", "",
             "| Financial Status | Accounts | Outstanding | Overdue |", "|---|---:|---:|---:|"]
    lines += [f"| {plain(row['financial_status'])} | {row['accounts']} | {money(row['outstanding'])} | {money(row['overdue'])} |"
              for row in report.sections["statuses"]]
    lines += ["", "| Reconciliation | Cause | Deals | Contracted | Invoiced | Variance |", "|---|---|---:|---:|---:|---:|"]
    lines += [f"| {plain(row['status'])} | {plain(row['cause'])} | {row['deals']} | {money(row['contracted'])} | "
              f"{money(row['invoiced'])} | {money(row['variance'])} |" for row in report.sections["reconciliation"]]
    return "\n".join(lines)


def exceptions(report: Report) -> list[dict[str, str]]:
    """The exceptions as rows of texts for a table that shows its cells as they are, the gravest and largest first."""
    return [{name: "" if value is None else money(value) if name == "amount_base" else str(value) for name, value in row.items()}
            for row in report.sections["exceptions"][:MAX_EXCEPTIONS]]


def money(amount: Decimal | None) -> str:
    """An amount with two decimals and thousands separated; a dash for none."""
    return "–" if amount is None else f"{amount:,.2f}"


def plain(text: Any) -> str:
    """A text that Markdown shows as it is: nothing in it becomes a link, a tag or a table cell. Backslashes, not entities:
    the Prefect UI escapes HTML by itself and would show an entity's letters. Colon, dot and @ make a link of a bare address."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~:.@-])", r"\\\1", " ".join(str(text).split()))


def safe_link(url: str | None) -> str | None:
    """The URL where it is one that a browser may follow without running anything."""
    return url if url and url.startswith("https://") else None
