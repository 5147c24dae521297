"""The report of a night for people: one HTML page that needs nothing else, and Markdown for the Prefect artifact.

Every text comes from a vendor somewhere: the page is escaped by the template, the Markdown by `plain`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipelines.report import tables
from pipelines.report.figures import Compared, Metric, Report
from pipelines.report.formats import Format, one_line
from pipelines.report.queries import MAX_EXCEPTIONS, collect
from pipelines.report.tables import Column, Link, Table

__all__ = ["MAX_EXCEPTIONS", "Report", "collect", "environment", "exceptions", "format_of", "plain", "safe_link", "sections", "summary",
           "write_page"]  # fmt: skip


# What the night's page in the Prefect UI shows.
_SUMMARY = ("headlines", "tie_out", "statuses", "reconciliation")


def write_page(report: Report, path: Path) -> Path:
    """The report as one HTML file that needs nothing else, put in place in one rename."""
    from pipelines.report.charts import charts  # late: Vega starts a JavaScript engine, which only the page needs

    templates = environment(report)
    style, script = (templates.loader.get_source(templates, name)[0].strip() for name in ("page.css.j2", "sort.js.j2"))
    found = sections(report)
    page = templates.get_template("page.html.j2").render(
        report=report, tables=found, charts=charts(report, format_of(report)), numbers=tables.NUMBERS, style=style, script=script,
        policy=_policy(style, script), terms=_terms(report, found.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(page, encoding="utf-8")
    os.replace(fresh, path)
    return path


def sections(report: Report) -> dict[str, Table]:
    """Every table of the report by its name, in the order of the page."""
    makers = (
        tables.headlines, tables.tie_out, tables.months, tables.ahead, tables.restated, tables.funnel, tables.bridge, tables.reconciliation,
        tables.deals, tables.not_invoiced, tables.ageing, tables.statuses, tables.overdue, tables.credits, tables.paid, tables.cash,
        tables.owners, tables.questions, tables.writes, tables.held, tables.problems, tables.exceptions,
    )  # fmt: skip
    return {maker.__name__: maker(report) for maker in makers}


def format_of(report: Report) -> Format:
    return Format(report.base_currency, report.number_format, report.date_format)


def environment(report: Report) -> jinja2.Environment:
    """The templates, which escape every text, with what writes numbers and days as the company does."""
    form, zone = format_of(report), report.known_at.tzinfo
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.tests["linked"] = lambda value: isinstance(value, Link)
    made.filters |= {
        "shown": lambda kind, value: tables.shown(form, kind, value), "marks": _marks,
        "beside": lambda row, columns: zip(columns, row, strict=True),
        "safe_link": safe_link, "system": tables.system, "tied": lambda one: tables.tied(one, report.base_currency), "one_line": one_line,
        "day": form.day, "moment": form.moment, "local": lambda moment: moment.astimezone(zone), "long_month": form.long_month,
        "whole": form.whole, "change": form.change, "when": lambda then: _when(form, then),
    }  # fmt: skip
    return made


def _marks(kind: str, value: Any) -> Markup:
    """The attributes of a cell: numbers stand to the right and days on one line, and both sort by their value."""
    name = ("n" if kind in tables.NUMBERS else "d" if kind in ("day", "month")
            else "bad" if kind == "state" and tables.is_bad(value) else "")
    key = "" if value is None or isinstance(value, (str, Link)) else value.isoformat() if name == "d" else f"{value:f}"
    return Markup(' class="{}" data-v="{}"' if key else ' class="{}"' if name else "").format(name, key)


def _when(form: Format, then: Compared) -> str:
    """The days that a number is compared with."""
    return form.days(then.first, then.last) if then.first else form.day(then.last)


def _terms(report: Report, found: Iterable[Table]) -> list[Metric]:
    """The definitions that the page points to, by their labels."""
    named = {column.metric for table in found for column in table.columns} | {
        metric for one in report.headlines for metric in (one.metric, one.part_metric)}
    return sorted((one for one in report.metrics.values() if one.metric in named), key=lambda one: (one.label.lower(), one.metric))


def _policy(style: str, script: str) -> str:
    """Nothing is loaded and nothing else runs: only this style and this script, by their hashes."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"


def summary(report: Report) -> str:
    """The night's figures as Markdown."""
    form, found = format_of(report), sections(report)
    lines = [f"As of **{form.day(report.as_of)}**, heard up to {form.moment(report.known_at)}. Amounts in {report.base_currency}.", ""]
    return "\n".join(lines + [line for name in _SUMMARY for line in _markdown(form, found[name])])


def _markdown(form: Format, table: Table) -> list[str]:
    """A table in Markdown, with its title before it."""
    if not table.rows:
        return [f"**{plain(table.title)}**: {table.empty}", ""]
    signs = ["---:" if column.kind in tables.NUMBERS else "---" for column in table.columns]
    cells = [[plain(column.label) for column in table.columns], signs]
    for row in (*table.rows, *([table.foot] if table.foot else [])):
        cells.append([_written(form, column, value) for column, value in zip(table.columns, row, strict=True)])
    return [f"**{plain(table.title)}**", "", *(f"| {' | '.join(line)} |" for line in cells), ""]


def _written(form: Format, column: Column, value: Any) -> str:
    """A number as it is, a text so that nothing in it means anything."""
    text = tables.shown(form, column.kind, value)
    return plain(text) if column.kind in ("text", "word", "state") else text


def exceptions(report: Report) -> list[dict[str, str]]:
    """The exceptions as rows of texts for a table that shows its cells as they are, the gravest and largest first."""
    form = format_of(report)
    rows: list[Mapping[str, Any]] = [asdict(one) for one in report.exceptions.rows]
    return [{name: "" if value is None else form.money(value) if name == "amount_base" else str(value) for name, value in row.items()}
            for row in rows]


def plain(text: Any) -> str:
    """A text that Markdown shows as it is: nothing in it becomes a link, a tag or a table cell. Backslashes, not entities:
    the Prefect UI escapes HTML by itself and would show an entity's letters. Colon, dot and @ make a link of a bare address."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~:.@-])", r"\\\1", " ".join(str(text).split()))


def safe_link(url: str | None) -> str | None:
    """The URL where it is one that a browser may follow without running anything."""
    return url if url and url.startswith("https://") else None
