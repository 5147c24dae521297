"""The month-end reconciliation pack: one Excel workbook, made from the published marts.

Numbers are written as the marts' decimals, not rounded; how many digits show is the cell's format. Excel computes with 15
digits: cents are exact below ten trillion, and a sum that Excel makes is that exact too. What must add up to the last digit
is added up here, in decimals, and stands in the summary as values.

A text comes from a vendor somewhere. It is written as a text cell whatever it looks like, and never as a formula or a link.

Excel's limits: https://support.microsoft.com/office/excel-specifications-and-limits-1672b34d-7043-467e-8e27-269d656771c3
"""

from __future__ import annotations

import io
import itertools
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xlsxwriter

from pipelines import landing
from pipelines.money import USUAL, minor_units
from pipelines.report.build import safe_link
from pipelines.report.figures import Calendar, add_months
from pipelines.report.formats import words
from pipelines.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    import duckdb
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

MAX_TEXT = 32_767  # of a cell, in units of UTF-16
MAX_URL = 2_079
CUT = " … (cut: Excel holds no longer text)"
TITLE, NOTE, TOTAL, HEADER, FIRST = range(5)  # the rows of a sheet, from the top
HEADERS = {"bold": True, "text_wrap": True, "bg_color": "#E7EBF0", "bottom": 1, "align": "left"}
_DATES = {"2026-12-31": "yyyy-mm-dd", "31.12.2026": "dd.mm.yyyy", "31/12/2026": r"dd\/mm\/yyyy", "12/31/2026": r"mm\/dd\/yyyy",
          "31 Dec 2026": "d mmm yyyy"}
# What XML 1.0 cannot hold: control characters but tab and line feed, halves of characters, and two that are none.
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
# Numbers of a month that stood at its end.
BALANCES = ("outstanding", "overdue")
_BUCKETS = ("bucket_current", "bucket_1_30", "bucket_31_60", "bucket_61_90", "bucket_91_plus")
_AGES = ("current", "1_30", "31_60", "61_90", "91_plus")


@dataclass(frozen=True)
class Limits:
    """What one sheet can hold: rows, with those above the data, and links."""

    rows: int = 1_048_576
    links: int = 65_530


EXCEL = Limits()


@dataclass(frozen=True)
class Column:
    """A column of a sheet's query. One without a header is a number of the table `metrics`, which says its label, definition
    and unit; `of` is its mart where that is not the sheet's. A linked column carries the row's url."""

    name: str
    header: str = ""
    width: int = 13
    of: str = ""
    linked: bool = False
    wrapped: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table on a sheet of its own: one row per row of the mart `relation`."""

    name: str
    relation: str
    about: str
    columns: tuple[Column, ...]
    query: str
    totalled: bool = True
    remarks: str = ""  # a query whose rows are more sentences for the note


@dataclass(frozen=True)
class Check:
    """Two sides that have to be equal; the query gives one row (one, other). `counts`: they are numbers of rows."""

    sheet: str
    sentence: str
    query: str
    counts: bool = False


_NAMED = """LEFT JOIN dim_accounts AS accounts ON accounts.source = deals.source AND accounts.account_id = deals.account_id
    LEFT JOIN dim_owners AS owners ON owners.source = deals.source AND owners.owner_id = deals.owner_id"""
SHEETS = (
    Sheet(
        "Deals", "fct_deal_reconciliation", "Won deals: contracted, invoiced and collected, net of tax.",
        (Column("name", "Deal", 28, linked=True), Column("source", "CRM", 11), Column("deal_id", "Deal id"),
         Column("account", "Account", 22), Column("owner", "Owner", 16), Column("close_date", "Closed", 12),
         Column("age_days", "Days since close", 8), Column("currency", "Currency", 9), Column("contracted_amount"),
         Column("invoiced_amount"), Column("collected_amount"), Column("contracted_base"), Column("invoiced_base"),
         Column("collected_base"), Column("variance_base"), Column("status", "Status", 11), Column("main_cause", "Main cause", 16),
         Column("document_count", width=11), Column("first_invoice_date", "First invoice", 12)),
        f"""SELECT deals.*, accounts.name AS account, owners.name AS owner,
                date_diff('day', deals.close_date, (SELECT as_of FROM published_night)) AS age_days
            FROM fct_deal_reconciliation AS deals {_NAMED}
            ORDER BY deals.close_date DESC NULLS LAST, deals.source, deals.deal_id"""),
    Sheet(
        "Bridge", "fct_deal_variance_bridge", "The variance of each deal, cause by cause; a deal without a difference has no row.",
        (Column("name", "Deal", 28, linked=True), Column("source", "CRM", 11), Column("deal_id", "Deal id"),
         Column("account", "Account", 22), Column("owner", "Owner", 16), Column("close_date", "Closed", 12),
         Column("status", "Status", 11), Column("cause", "Cause", 16), Column("amount_base", width=16),
         Column("currency", "Currency", 9), Column("amount_deal", width=16)),
        f"""SELECT bridge.*, deals.name, deals.close_date, deals.status, deals.currency, deals.url,
                accounts.name AS account, owners.name AS owner
            FROM fct_deal_variance_bridge AS bridge
            LEFT JOIN fct_deal_reconciliation AS deals ON deals.source = bridge.source AND deals.deal_id = bridge.deal_id {_NAMED}
            ORDER BY deals.close_date DESC NULLS LAST, bridge.source, bridge.deal_id, abs(bridge.amount_base) DESC, bridge.cause"""),
    Sheet(
        "Exceptions", "rpt_exceptions", "What a person should look at, the gravest and largest first.",
        (Column("severity", "Severity", 10), Column("kind", "Kind", 28), Column("source", "System", 12), Column("object", "Record", 12),
         Column("record_id", "Record id", 16, linked=True), Column("related_id", "Related", 16),
         Column("message", "What is wrong", 70, wrapped=True), Column("amount_base", width=16)),
        """SELECT * FROM rpt_exceptions
           ORDER BY CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, abs(coalesce(amount_base, 0)) DESC, kind,
               source, object, record_id, related_id, message""", totalled=False),
    Sheet(
        "Ageing", "rpt_receivables_ageing", "What each customer owes by days past due, the most overdue first.",
        (Column("customer_name", "Customer", 28, linked=True), Column("source", "Ledger", 12), Column("customer_id", "Customer id"),
         Column("account", "Account", 22), Column("owner", "Owner", 16), Column("financial_status", width=14, of="account_status"),
         Column("days_overdue", width=10, of="account_status"), *(Column(bucket) for bucket in _BUCKETS),
         Column("unapplied_credit"), Column("net_outstanding"), Column("ledger_total"), Column("difference"),
         Column("state", "Tie-out", 14)),
        """SELECT ageing.*, accounts.account_name AS account, owners.name AS owner, accounts.financial_status, accounts.days_overdue,
               CASE ageing.ties_out WHEN true THEN 'tied' WHEN false THEN 'not tied' ELSE 'not compared' END AS state
           FROM rpt_receivables_ageing AS ageing
           LEFT JOIN account_status AS accounts
               ON accounts.source = ageing.account_source AND accounts.account_id = ageing.account_id
           LEFT JOIN dim_owners AS owners ON owners.source = accounts.source AND owners.owner_id = accounts.owner_id
           ORDER BY bucket_1_30 + bucket_31_60 + bucket_61_90 + bucket_91_plus DESC, net_outstanding DESC, ageing.source,
               ageing.customer_id"""),
    Sheet(
        "Tie-out", "rpt_tie_out", "Our outstanding against the ledger's own report of the day: each ledger, then its customers.",
        (Column("name", "Customer", 28, linked=True), Column("source", "Ledger", 12), Column("level", "Level", 10),
         Column("customer_id", "Customer id"), Column("report_date", "Report of", 12), Column("ours_base"), Column("theirs_base"),
         Column("difference"), Column("state", "Tie-out", 12), Column("kind", "What is proven", 18),
         *(Column(f"{side}_{age}", width=12) for age in _AGES for side in ("ours", "theirs"))),
        """SELECT *, CASE level WHEN 'ledger' THEN 'Whole ledger' ELSE coalesce(customer_name, customer_id) END AS name,
               CASE WHEN is_tied THEN 'tied' ELSE 'not tied' END AS state
           FROM rpt_tie_out
           ORDER BY source, level DESC, is_tied, abs(coalesce(difference, 0)) DESC, customer_id""",
        totalled=False,  # a ledger's row is the total of its customers' rows
        remarks="""SELECT source || ' is not compared: it gave no report of the day.' FROM sync_health WHERE side = 'ledger'
                   AND source NOT IN (SELECT source FROM rpt_tie_out WHERE level = 'ledger') ORDER BY source"""),
    Sheet(
        "Definitions", "metrics", "What each number of the marts means, and which system owns it.",
        (Column("label", "Number", 34), Column("definition", "Definition", 90, wrapped=True), Column("owner", "Owner", 14),
         Column("unit", "Unit", 20), Column("relation", "Mart", 28), Column("column_name", "Column", 28)),
        "SELECT * FROM metrics ORDER BY lower(label), metric", totalled=False),
)  # fmt: skip
CHECKS = (
    Check("Deals", "Invoiced less contracted, of the deals that have both, is their variance",
          "SELECT sum(invoiced_base - contracted_base), sum(variance_base) FROM fct_deal_reconciliation"),
    Check("Bridge", "The causes of all deals add up to the variance of all deals",
          "SELECT (SELECT sum(amount_base) FROM fct_deal_variance_bridge), (SELECT sum(variance_base) FROM fct_deal_reconciliation)"),
    Check("Bridge", "Deals whose own causes add up to their own variance, and all deals that have one",
          """SELECT count(*) FILTER (coalesce(bridge.amount, 0) = deals.variance_base), count(*)
             FROM fct_deal_reconciliation AS deals
             LEFT JOIN (SELECT source, deal_id, sum(amount_base) AS amount FROM fct_deal_variance_bridge GROUP BY 1, 2) AS bridge
                 ON bridge.source = deals.source AND bridge.deal_id = deals.deal_id
             WHERE deals.variance_base IS NOT NULL""", counts=True),
    Check("Bridge", "Over all months, contracted with its causes and timing is invoiced for deals",
          """SELECT sum(amount_base) FILTER (line <> 'invoiced'), sum(amount_base) FILTER (line = 'invoiced')
             FROM rpt_bridge_monthly"""),
    Check("Ageing", "The buckets less unapplied credit are net outstanding",
          f"SELECT sum({' + '.join(_BUCKETS)} - unapplied_credit), sum(net_outstanding) FROM rpt_receivables_ageing"),
    Check("Ageing", "Net outstanding, of the ledgers with a report of the day, is what the tie-out compares",
          """SELECT (SELECT sum(net_outstanding) FROM rpt_receivables_ageing
                     WHERE source IN (SELECT source FROM rpt_tie_out WHERE level = 'ledger')),
                    (SELECT sum(ours_base) FROM rpt_tie_out WHERE level = 'ledger')"""),
    Check("Tie-out", "Ours less theirs, of each row that has both, is its difference",
          "SELECT sum(ours_base - theirs_base), sum(difference) FROM rpt_tie_out"),
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A number's label, definition, owner and unit, as published."""

    label: str
    definition: str
    owner: str
    unit: str


@dataclass
class Pack:
    """The workbook as it is written: the marts, what their numbers mean, and the formats that cells share."""

    marts: duckdb.DuckDBPyConnection
    book: xlsxwriter.Workbook
    settings: Settings
    as_of: date
    known_at: datetime
    metrics: Mapping[tuple[str, str], Metric]
    limits: Limits
    rows: dict[str, int] = field(default_factory=dict)  # of each sheet, as written
    formats: dict[tuple, Format] = field(default_factory=dict)

    def format(self, **properties: Any) -> Format:
        key = tuple(sorted(properties.items()))
        if key not in self.formats:
            self.formats[key] = self.book.add_format({"valign": "top", **properties})
        return self.formats[key]

    def money(self, currency: str | None) -> str:
        """The number format of amounts in a currency: its minor units."""
        digits = minor_units().get(currency or "", USUAL)
        return "#,##0" + ("." + "0" * digits if digits else "")

    @property
    def date(self) -> str:
        """The company's way to write a date, as a number format."""
        return _DATES[self.settings.get("company", "date_format")]

    def metric(self, relation: str, column: str) -> Metric:
        try:
            return self.metrics[relation, column]
        except KeyError:
            raise ConfigurationError([f"the published table metrics does not define {relation}.{column}; add it to "
                                      "dbt_project/seeds/metrics.csv and run `crossfoot run`"]) from None

    def query(self, sql: str) -> list[dict[str, Any]]:
        result = self.marts.execute(sql)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def write_workbook(published: Path, settings: Settings, path: Path, limits: Limits = EXCEL) -> Path:
    """Writes the pack of the published marts to `path` (.xlsx), put in place in one rename; returns `path`.

    The same marts give the same bytes: the workbook's creation time is the night's known_at. Rows or links above `limits`
    are left out and counted on their sheet. Raises ConfigurationError where there are no published marts, or older ones.
    """
    if path.suffix.lower() != ".xlsx":
        raise ConfigurationError([f"{path} does not end in .xlsx, and Excel opens no workbook of another name; "
                                  f"write {path.with_suffix('.xlsx')}"])
    if not published.exists():
        raise ConfigurationError([f"{published} does not exist; `crossfoot run` publishes it at the end of a good night"])
    out = io.BytesIO()
    with landing.connect(published, read_only=True) as marts:
        book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
                                         "strings_to_numbers": False, "max_url_length": MAX_URL})
        _fill(_opened(marts, book, settings, limits, published))
        book.close()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(out.getvalue())
    os.replace(part, path)
    return path


def _opened(marts: duckdb.DuckDBPyConnection, book: xlsxwriter.Workbook, settings: Settings, limits: Limits, published: Path) -> Pack:
    if not marts.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'metrics'").fetchone()[0]:
        raise ConfigurationError([f"{published} has no table metrics, so it was published by an earlier version; run `crossfoot run`"])
    as_of, known_at = marts.execute("SELECT as_of, known_at FROM published_night").fetchone()
    metrics: dict[tuple[str, str], Metric] = {}
    for relation, column, *rest in marts.execute("SELECT relation, column_name, label, definition, owner, unit FROM metrics").fetchall():
        metrics.setdefault((relation, column), Metric(*rest))  # what comes later of the same column is a part of it
    company = plain(settings.get("company", "name"))
    book.set_properties({"title": "Month-end reconciliation", "company": company, "author": "Crossfoot",
                         "created": known_at.astimezone(UTC).replace(tzinfo=None)})
    return Pack(marts, book, settings, as_of, known_at, metrics, limits)


def _fill(pack: Pack) -> None:
    """The summary comes first in the book and is written last: it counts what the other sheets hold."""
    summary = pack.book.add_worksheet("Summary")
    for sheet in SHEETS:
        _write_sheet(pack, sheet)
    _Summary(pack, summary).write()


# -- a sheet


def _write_sheet(pack: Pack, sheet: Sheet) -> None:
    page = pack.book.add_worksheet(sheet.name)
    shown = pack.limits.rows - FIRST
    there = pack.marts.execute(f"SELECT count(*) FROM ({sheet.query})").fetchone()[0]
    written = min(there, shown)
    last = max(FIRST + written - 1, FIRST)
    _write_headers(pack, page, sheet)
    if sheet.totalled:
        _write_totals(pack, page, sheet, last, written)
    links = _write_rows(pack, page, sheet, written)
    page.write_string(TITLE, 0, sheet.name, pack.format(bold=True, font_size=14))
    page.write_string(NOTE, 0, plain(" ".join(_note(pack, sheet, written, there, links))), pack.format(font_color="#595959"))
    page.freeze_panes(FIRST, 1)
    page.autofilter(HEADER, 0, max(FIRST + written - 1, HEADER), len(sheet.columns) - 1)
    page.ignore_errors({"number_stored_as_text": f"A{FIRST + 1}:XFD{last + 1}"})
    page.repeat_rows(HEADER)
    _print_setup(pack, page)
    pack.rows[sheet.name] = written


def _note(pack: Pack, sheet: Sheet, written: int, there: int, links: int) -> Iterable[str]:
    """The sentences under a sheet's title."""
    yield sheet.about
    yield f"Amounts in {pack.settings.base_currency}. As of {pack.as_of}. {there:,} rows."
    if written < there:
        yield (f"ONLY THE FIRST {written:,} ARE HERE, because a sheet of Excel has no more rows; all of them are in {sheet.relation} "
               "of the published marts.")
    if links > pack.limits.links:
        yield f"Only the first {pack.limits.links:,} records are linked, because a sheet of Excel has no more links."
    if sheet.remarks:
        yield from (sentence for (sentence,) in pack.marts.execute(sheet.remarks).fetchall())


def _write_headers(pack: Pack, page: Worksheet, sheet: Sheet) -> None:
    """The columns' widths and headers, in a row as high as the longest of them; a number's definition is its header's note."""
    lines = 1
    for number, column in enumerate(sheet.columns):
        header = column.header
        if not header:
            metric = pack.metric(column.of or sheet.relation, column.name)
            header = plain(metric.label)
            _explain(page, HEADER, number, metric)
        page.set_column(number, number, column.width)
        page.write_string(HEADER, number, header, pack.format(**HEADERS))
        lines = max(lines, len(textwrap.wrap(header, column.width - 3)))  # room for the filter's button, and for bold
    page.set_row(HEADER, 15.5 * lines)


def _explain(page: Worksheet, row: int, number: int, metric: Metric) -> None:
    """The definition of a number as the note of its cell."""
    page.write_comment(row, number, plain(f"{metric.definition}\nOwner: {metric.owner}"), {"x_scale": 2, "y_scale": 1.2})


def _write_totals(pack: Pack, page: Worksheet, sheet: Sheet, last: int, written: int) -> None:
    """The totals of the rows that a filter shows: the sheet's only formulas, each with what it makes of all of them."""
    style = {"bold": True, "bottom": 1}
    page.write_string(TOTAL, 0, "Total of the rows shown", pack.format(**style))
    added = [(number, column) for number, column in enumerate(sheet.columns) if _number_format(pack, sheet, column) == "base"]
    sums = ", ".join(f'sum("{column.name}")' for _, column in added)
    totals = pack.marts.execute(f"SELECT {sums} FROM ({sheet.query} LIMIT {written})").fetchone()
    for (number, _), total in zip(added, totals, strict=True):
        letter = xlsxwriter.utility.xl_col_to_name(number)
        page.write_formula(TOTAL, number, f"=SUBTOTAL(109,{letter}{FIRST + 1}:{letter}{last + 1})",
                           pack.format(num_format=pack.money(pack.settings.base_currency), **style), total or 0)


def _write_rows(pack: Pack, page: Worksheet, sheet: Sheet, written: int) -> int:
    """Writes the rows in the order of the query and returns how many of them would have a link."""
    writers = [_writer(pack, sheet, column) for column in sheet.columns]
    result = pack.marts.execute(f"{sheet.query} LIMIT {written}")
    names = [column[0] for column in result.description]
    links, row = 0, FIRST
    while batch := result.fetchmany(landing.BATCH_ROWS):
        for values in batch:
            record = dict(zip(names, values, strict=True))
            url = link(record.get("url"))
            links += url is not None
            for number, (column, style) in enumerate(zip(sheet.columns, writers, strict=True)):
                if column.linked and url and links <= pack.limits.links:
                    page.write_url(row, number, url, pack.format(num_format="@", font_color="#0B5CAD", underline=1),
                                   plain(record[column.name] or "open"))
                else:
                    write(page, row, number, record[column.name], style(record))
            row += 1
    return links


def _number_format(pack: Pack, sheet: Sheet, column: Column) -> str:
    """What a column's numbers are: base (money), own (money in the row's currency), days, share, rate, count or text."""
    return "text" if column.header else kind_of(pack.metric(column.of or sheet.relation, column.name).unit)


def kind_of(unit: str) -> str:
    """The kind of a metric's unit: base, own, days, share, rate, text or count."""
    known = {"base currency": "base", "days": "days", "base units per unit": "rate", "word": "text"}
    if unit in known:
        return known[unit]
    return "own" if unit.endswith(" currency") else "share" if unit.endswith(", 0 to 1") else "count"


def _style(pack: Pack, kind: str, value: Any, currency: str | None = None, **properties: Any) -> Format:
    """The format of a value: by its type where that says enough, else by what it measures."""
    match value:
        case datetime():
            return pack.format(num_format=f"{pack.date} hh:mm", align="left", **properties)
        case date():
            return pack.format(num_format=pack.date, align="left", **properties)
        case str() | None:
            return pack.format(num_format="@", **properties)  # stays a text when somebody edits it
    formats = {"base": pack.money(pack.settings.base_currency), "own": pack.money(currency), "share": "0.0%", "rate": "0.000000",
               "days": "#,##0" if isinstance(value, int) else "#,##0.0"}
    return pack.format(num_format=formats.get(kind, "#,##0"), **properties)


def _writer(pack: Pack, sheet: Sheet, column: Column) -> Callable[[Mapping[str, Any]], Format]:
    """What gives the cells of a column their format, row by row. It follows from the value's type and the row's currency."""
    kind, found = _number_format(pack, sheet, column), {}
    wrapped = {"text_wrap": True} if column.wrapped else {}

    def style(record: Mapping[str, Any]) -> Format:
        value, currency = record[column.name], record.get("currency")
        if (type(value), currency) not in found:
            found[type(value), currency] = _style(pack, kind, value, currency, **wrapped)
        return found[type(value), currency]

    return style


def write(page: Worksheet, row: int, column: int, value: Any, style: Format) -> None:
    """Writes a value as what it is: number, date, time (UTC) or text. Excel counts days from 1900: what is before is a text."""
    match value:
        case None:
            page.write_blank(row, column, None, style)
        case bool():
            page.write_boolean(row, column, value, style)
        case datetime():
            page.write_datetime(row, column, value.astimezone(UTC).replace(tzinfo=None), style)
        case date() if value.year >= 1900:
            page.write_datetime(row, column, value, style)
        case int() | Decimal():
            page.write_number(row, column, value, style)
        case _:
            page.write_string(row, column, plain(value), style)


def plain(value: Any) -> str:
    """A text that a cell can hold: without what XML forbids, lines ended by a line feed, at most 32,767 units of UTF-16."""
    text = _FORBIDDEN.sub("", str(value).replace("\r\n", "\n").replace("\r", "\n"))
    if text.startswith("<r>") and text.endswith("</r>"):
        text += " "  # XlsxWriter takes such a text for the XML of formatted text, and writes it as it is
    if len(text) * 2 <= MAX_TEXT:
        return text
    units = text.encode("utf-16-le")
    return text if len(units) <= 2 * MAX_TEXT else units[: 2 * (MAX_TEXT - len(CUT))].decode("utf-16-le", "ignore") + CUT


def link(url: str | None) -> str | None:
    """The URL where a cell may link to it: a safe one, in printable characters, and not too long when each is escaped (%20)."""
    safe = safe_link(url)
    return safe if safe and safe.isascii() and safe.isprintable() and len(safe) <= MAX_URL // 3 else None


def _print_setup(pack: Pack, page: Worksheet) -> None:
    """A4 landscape, as wide as the page, each page with its sheet's name and number."""
    page.set_landscape()
    page.set_paper(9)
    page.fit_to_pages(1, 0)
    page.set_margins(left=0.4, right=0.4, top=0.5, bottom=0.6)
    page.set_footer(f"&L&A, as of {pack.as_of}&R&P / &N")


# -- the summary

_TIED = """SELECT count(*) AS ledgers, count(*) FILTER (source IN (SELECT source FROM rpt_tie_out WHERE level = 'ledger' AND is_tied))
    FROM sync_health WHERE side = 'ledger'"""
_RECONCILED = """SELECT status, coalesce(main_cause, 'none'), count(*), sum(contracted_base), sum(invoiced_base), sum(variance_base)
    FROM fct_deal_reconciliation GROUP BY 1, 2 ORDER BY 1, 6, 2"""
# A ledger without a report of the day has no certificate, and that has to be seen.
_LEDGERS = """SELECT health.source, CASE WHEN is_tied THEN 'tied' WHEN tied.source IS NULL THEN 'not compared' ELSE 'NOT TIED' END,
        CASE WHEN tied.source IS NULL THEN 'no report of the day' ELSE tied.kind END, ours_base, theirs_base, difference
    FROM sync_health AS health LEFT JOIN rpt_tie_out AS tied ON tied.source = health.source AND tied.level = 'ledger'
    WHERE health.side = 'ledger' ORDER BY 1"""


class _Summary:
    """The first sheet: blocks of rows, one under another."""

    def __init__(self, pack: Pack, page: Worksheet):
        self.pack, self.page, self.row = pack, page, 0
        self.calendar = Calendar(pack.as_of, pack.settings.get("company", "fiscal_year_start"))

    def write(self) -> None:
        self.page.set_column(0, 0, 46)
        self.page.set_column(1, 7, 17)
        self._head()
        self._months()
        self._open_deals()
        self._bridge()
        self._receivables()
        self._reconciliation()
        self._tie_out()
        self._sources()
        self._checks()
        self._line("Excel computes with 15 digits: cents are exact below 10,000,000,000,000. Amounts are the marts', not rounded; "
                   "the checks are added up exactly, before Excel.")
        self.page.hide_gridlines(2)
        self.page.ignore_errors({"number_stored_as_text": f"A1:XFD{self.row + 1}"})
        _print_setup(self.pack, self.page)

    def _line(self, *values: Any, kinds: Sequence[str] = (), **properties: Any) -> None:
        """One row; kinds are those of the cells after the first."""
        for number, value in enumerate(values):
            kind = kinds[number - 1] if 0 < number <= len(kinds) else "count"
            write(self.page, self.row, number, value, _style(self.pack, kind, value, **properties))
        self.row += 1

    def _block(self, title: str, *headers: str | date | None) -> None:
        """A title and a row of headers, under an empty row. A date is a month."""
        self.page.write_string(self.row + 1, 0, title, self.pack.format(bold=True, font_size=12))
        self.row += 2
        style = self.pack.format(num_format="mmm yyyy", **HEADERS)
        for number, header in enumerate(headers):
            write(self.page, self.row, number, header, style)
        self.row += 1

    def _head(self) -> None:
        pack = self.pack
        self.page.write_string(0, 0, "Month-end reconciliation", pack.format(bold=True, font_size=16))
        self.row = 1
        self._line("Company", pack.settings.get("company", "name") or "–")
        self._line("As of", pack.as_of)
        self._line("Heard up to (UTC)", pack.known_at)
        self._line("Amounts in", pack.settings.base_currency)
        ledgers, tied = pack.marts.execute(_TIED).fetchone()
        word = "not compared" if not ledgers else "tied" if tied == ledgers else "NOT TIED"
        self._line("Tie-out of all ledgers", word, bold=True, font_color="#1D6B38" if word == "tied" else "#A61B1B")

    def _months(self) -> None:
        """Every number of the cycle by month. What moved is added up for the quarter and for the months ahead; what stood at
        the end of a month, or is an average, is not."""
        found = {row["month"]: row for row in self.pack.query("SELECT * FROM revenue_cycle_monthly")}
        wanted = [found.get(month, {}) for month in self._three_months()]
        quarter = [row for month, row in found.items() if self.calendar.quarter <= month <= self.calendar.month]
        ahead = [row for month, row in found.items() if month > self.calendar.month]
        self._block("The cycle by month", None, *self._three_months(), "Quarter to date", "Months ahead", "Owner")
        for column, metric in self._metrics_of("revenue_cycle_monthly"):
            kind = kind_of(metric.unit)
            adds_up = kind in ("base", "count") and column not in BALANCES
            sums = [sum((row[column] or 0 for row in rows), Decimal(0)) if adds_up else None for rows in (quarter, ahead)]
            self._metric(metric, *(row.get(column) for row in wanted), *sums, metric.owner, kinds=[kind] * 5)

    def _open_deals(self) -> None:
        self._block(f"Open deals as of {self.pack.as_of}", None, "Amount", "Owner")
        found = self.pack.query("SELECT * FROM pipeline_history WHERE as_of = (SELECT as_of FROM published_night)") or [{}]
        for column, metric in self._metrics_of("pipeline_history"):
            self._metric(metric, found[0].get(column), metric.owner, kinds=[kind_of(metric.unit)])

    def _bridge(self) -> None:
        rows = self.pack.query("SELECT line, month, sum(amount_base) AS amount FROM rpt_bridge_monthly GROUP BY ALL ORDER BY min(place)")
        months = [[month] for month in self._three_months()]
        quarter = [add_months(self.calendar.quarter, count) for count in range(3)]
        wanted = [*months, [month for month in quarter if month <= self.calendar.month]]
        self._block("From contracted to invoiced for deals", None, *self._three_months(), "Quarter to date")
        for line in dict.fromkeys(row["line"] for row in rows if row["month"] in itertools.chain(*wanted)):
            sums = [sum((row["amount"] for row in rows if row["line"] == line and row["month"] in months), Decimal(0)) for months in wanted]
            self._line(words(line), *sums, kinds=["base"] * 4, bold=line in ("contracted", "invoiced"))

    def _three_months(self) -> tuple[date, date, date]:
        """The month of the business date, the one before, and the same a year before."""
        month = self.calendar.month
        return month, add_months(month, -1), add_months(month, -12)

    def _metrics_of(self, relation: str) -> list[tuple[str, Metric]]:
        return [(column, metric) for (of, column), metric in self.pack.metrics.items() if of == relation]

    def _metric(self, metric: Metric, *values: Any, kinds: Sequence[str]) -> None:
        """A row of a number, with its definition as the note of its label."""
        _explain(self.page, self.row, 0, metric)
        self._line(metric.label, *values, kinds=kinds)

    def _receivables(self) -> None:
        columns = (*_BUCKETS, "unapplied_credit", "net_outstanding", "ledger_total", "difference")
        sums = ", ".join(f"sum({column}) AS {column}" for column in columns)
        (totals,) = self.pack.query(f"SELECT {sums} FROM rpt_receivables_ageing")
        self._block(f"Receivables of all customers as of {self.pack.as_of}", None, "Amount", "Owner")
        for column in columns:
            metric = self.pack.metric("rpt_receivables_ageing", column)
            self._metric(metric, totals[column], metric.owner, kinds=["base"])

    def _reconciliation(self) -> None:
        labels = [self.pack.metric("fct_deal_reconciliation", name).label for name in ("contracted_base", "invoiced_base", "variance_base")]
        self._block("Won deals by status and main cause", None, "Cause", "Deals", *labels)
        for row in self.pack.query(_RECONCILED):
            self._line(*row.values(), kinds=["text", "count", "base", "base", "base"])

    def _tie_out(self) -> None:
        labels = [self.pack.metric("rpt_tie_out", name).label for name in ("ours_base", "theirs_base", "difference")]
        self._block("Tie-out of each ledger", None, "State", "What is proven", *labels)
        for row in self.pack.query(_LEDGERS):
            self._line(*row.values(), kinds=["text", "text", "base", "base", "base"])

    def _sources(self) -> None:
        self._block("Sources", None, "Side", "State", "Complete up to (UTC)", "Why it is held")
        for row in self.pack.query("SELECT source, side, status, last_complete_at, hold_reason FROM sync_health ORDER BY side, source"):
            self._line(*row.values())

    def _checks(self) -> None:
        """Both sides are added up in the marts' decimals. The last checks count the rows that were written."""
        self._block("What has to add up", None, "Sheet", "One side", "Other side", "Difference", "State")
        for check in CHECKS:
            self._check(check, *self.pack.marts.execute(check.query).fetchone())
        for sheet in SHEETS:
            sentence = f"Rows on the sheet, and rows of {sheet.relation}"
            there = self.pack.marts.execute(f"SELECT count(*) FROM {sheet.relation}").fetchone()[0]
            self._check(Check(sheet.name, sentence, "", counts=True), self.pack.rows[sheet.name], there)

    def _check(self, check: Check, one: Decimal | None, other: Decimal | None) -> None:
        one, other = one or Decimal(0), other or Decimal(0)
        state = "adds up" if one == other else "DOES NOT ADD UP"
        colour = {} if one == other else {"font_color": "#A61B1B", "bold": True}
        kind = "count" if check.counts else "base"
        self._line(check.sentence, check.sheet, one, other, one - other, state, kinds=["text", kind, kind, kind], text_wrap=True, **colour)
