"""The report: one page that needs nothing else, numbers that are the marts', vendors' texts that stay texts, and how it looks."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest
from markdown_it import MarkdownIt
from night_fixture import command_here, first_night, published_night

from pipelines import settings as configuration
from pipelines.report import build as report
from pipelines.report import mail, pdf
from pipelines.report.charts import charts
from pipelines.report.figures import Account, Calendar, Deal, ExceptionRow, Listing, Report, TieOut, add_months
from pipelines.report.formats import Format
from pipelines.report.tables import NUMBERS
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors import VENDORS

ROOT = Path(__file__).parents[1]
SHOTS = ROOT / "build" / "screenshots"
AS_OF, KNOWN_AT = date(2026, 6, 30), datetime(2026, 6, 30, 22, tzinfo=UTC)
YEAR_AGO = date(2025, 7, 1)
EVIL = "<script>alert('1')</script> & \"Sons\" | [click](javascript:alert(1)) `x` **b** https://evil.example www.evil.example a@evil.test"
LONG = "Endless " * 37 + "Ends"
CONFIG = 'profile = "sandbox"\n'
# Without these Chromium looks up hosts of its maker at every start.
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SECTIONS = ["The cycle by month", "From contracted to invoiced", "Receivables", "By owner", "Health", "Definitions"]
TABLES = ["months", "ahead", "funnel", "bridge", "deals", "not-invoiced", "ageing", "statuses", "overdue", "credits", "paid", "cash",
          "owners", "tie-out", "questions", "held", "writes", "problems", "exceptions"]  # fmt: skip
VOID = {"meta", "br"}


class Page(HTMLParser):
    """What a browser would make of a page: its tags with attributes, its texts, and the cells of each table by the table's id."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.text, self.within, self.region = "", False, ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if given.get("role") == "region":
            self.region = given["aria-labelledby"] or ""
        if tag == "tr":
            self.rows.append([])
            self.tables.setdefault(self.region, []).append(self.rows[-1])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.within = True

    def handle_endtag(self, tag: str) -> None:
        self.within = self.within and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.within:
            self.rows[-1][-1] += data


@dataclasses.dataclass(frozen=True)
class Night:
    """A published night with its report, and its marts to recompute from."""

    published: Path
    figures: Report
    path: Path
    page: Page

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.published), read_only=True) as marts:
            marts.execute("SET timezone = 'UTC'")
            return marts.execute(sql).fetchall()

    def one(self, sql: str) -> Any:
        ((value,),) = self.rows(sql)
        return value


def configured(folder: Path, more: str = "") -> Settings:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "crossfoot.toml"
    path.write_text(CONFIG + more, encoding="utf-8")
    return configuration.load(VENDORS, config=path, data_dir=folder / "data", environment={})


def reported(published: Path, folder: Path, more: str = "") -> Night:
    """The report of a published file, under a configuration."""
    figures = report.collect(published, configured(folder, more))
    path = report.write_page(figures, folder / "report.html")
    return Night(published, figures, path, Page(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Night:
    return reported(published_night(tmp_path_factory), tmp_path_factory.mktemp("report"))


def changed(night: Night, folder: Path, *statements: str) -> Path:
    """A copy of the published marts, changed by hand."""
    copy = folder / "changed.duckdb"
    shutil.copyfile(night.published, copy)
    with duckdb.connect(str(copy)) as marts:
        for statement in statements:
            marts.execute(statement)
    return copy


def made(**values: Any) -> Report:
    """A report with only these figures."""
    return Report("", "USD", "1,234.56", "2026-12-31", Calendar(AS_OF, 1), KNOWN_AT, {}, **values)


def rendered(figures: Report, folder: Path) -> str:
    return report.write_page(figures, folder / "report.html").read_text(encoding="utf-8")


def account(**values: Any) -> Account:
    known = {"source": "hubspot", "account_id": "1", "name": "Acme", "owner": "Olga", "financial_status": "Overdue", "days_overdue": 3,
             "overdue": Decimal("1234.5"), "outstanding": Decimal("1234.5"), "url": None}
    return Account(**(known | values))


def exception(**values: Any) -> ExceptionRow:
    known = {"severity": "error", "kind": "tie_out", "source": "quickbooks", "object": "customer", "record_id": "5",
             "message": "ours 1, the ledger says 2", "amount_base": Decimal("-1"), "url": None}
    return ExceptionRow(**(known | values))


# -- the page


def test_the_page_is_one_file_that_loads_nothing(night):
    text = night.path.read_text(encoding="utf-8")
    assert {tag for tag, _ in night.page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section", "footer", "h1", "h2", "h3", "p", "div",
        "span", "b", "ul", "li", "dl", "dt", "dd", "figure", "figcaption", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td",
        "a", "bdi", "code", "svg", "g", "path", "line", "text", "tspan", "script"}  # fmt: skip
    names = {name for _, attributes in night.page.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "srcset", "style", "xlink:href"}
    links = [attributes["href"] for tag, attributes in night.page.tags if tag == "a"]
    assert all(link.startswith(("https://", "#")) for link in links) and any(link.startswith("https://") for link in links)
    assert "url(" not in text and "@import" not in text and len(text) < 500_000


def test_the_policy_lets_only_the_pages_own_style_and_script_in(night):
    text = night.path.read_text(encoding="utf-8")
    (policy,) = [attributes["content"] for tag, attributes in night.page.tags if attributes.get("http-equiv") == "Content-Security-Policy"]
    hashes = [base64.b64encode(hashlib.sha256(re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1].encode()).digest()).decode()
              for tag in ("style", "script")]
    assert policy == (f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; "
                      "form-action 'none'")


def test_every_section_is_there_in_its_order(night):
    text = night.path.read_text(encoding="utf-8")
    found = [html.unescape(title) for title in re.findall(r"<h2[^>]*>(.*?)</h2>", text)]
    assert found == SECTIONS
    order = re.findall(r'<(?:caption|h3) id="([a-z-]+)"', text)
    assert [name for name in order if name != "restated"] == TABLES
    figures = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert len(figures) == 9 and text.count('<svg role="img"') == 2 * 9 == text.count("</title>") - 1


def test_the_page_says_of_which_night_it_is(night):
    assert (night.figures.as_of, night.figures.known_at) == tuple(night.rows("FROM published_night")[0])
    said = f"As of 2026-06-30, heard up to {night.figures.known_at:%Y-%m-%d %H:%M} UTC. Amounts in USD."
    assert said in night.page.text


def test_a_page_replaces_the_one_before_in_one_step(tmp_path):
    rendered(made(), tmp_path)
    text = rendered(made(overdue=Listing((account(),), 1, Decimal("1234.5"))), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"] and "1,234.50" in text


# -- every number, recomputed from the marts without the report's own queries


def cell(value: Any) -> str:
    """A value as the default format writes it: money with cents, counts plain, averages as text from the query."""
    if value is None:
        return "–"
    if isinstance(value, Decimal):
        return f"{value.quantize(Decimal('0.01'), rounding=ROUND_HALF_UP) + 0:,.2f}"
    return f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())


def percent(part: Decimal, whole: Decimal) -> str:
    return f"{(part * 100 / whole).quantize(Decimal('0.1'), rounding=ROUND_HALF_UP)} %"


OWNER = "LEFT JOIN dim_owners AS o ON o.source = d.source AND o.owner_id = d.owner_id"
MONTH = "strftime({}, '%b %Y')"
WON = "close_date >= DATE '2025-07-01' AND close_date <= DATE '2026-06-30'"
RECOMPUTED = {
    "months": f"""SELECT {MONTH.format('month')}, bookings, invoiced, collected, collected_net, recognised, outstanding, overdue,
        CAST(order_to_invoice_days AS VARCHAR), format('{{:.1f}}', discrepancy_share * 100) || chr(160) || '%'
        FROM revenue_cycle_monthly WHERE month BETWEEN '2025-06-01' AND '2026-06-01' ORDER BY month""",
    "ahead": f"""SELECT {MONTH.format('min(close_date)')}, count(*), sum(contracted_base), sum(contracted_base * probability)
        FROM fct_deals WHERE NOT is_closed GROUP BY date_trunc('month', close_date) ORDER BY min(close_date)""",
    "bridge": """WITH spans(place, first, last) AS (VALUES (1, DATE '2026-06-01', DATE '2026-06-01'), (2, '2026-05-01', '2026-05-01'),
            (3, '2026-04-01', '2026-06-01'), (4, '2026-01-01', '2026-03-01')),
        lines AS (SELECT line, any_value(b.place) AS ordinal, spans.place, sum(amount_base) AS amount FROM rpt_bridge_monthly AS b
            INNER JOIN spans ON month BETWEEN first AND last GROUP BY line, spans.place HAVING sum(amount_base) <> 0)
        SELECT CASE line WHEN 'fx' THEN 'Exchange rates' WHEN 'tax_in_contract' THEN 'Tax in the contract'
            WHEN 'scheduled' THEN 'Scheduled for later' WHEN 'timing' THEN 'Timing between months'
            ELSE upper(line[1]) || replace(line[2:], '_', ' ') END, sum(amount) FILTER (place = 1), sum(amount) FILTER (place = 2),
            sum(amount) FILTER (place = 3), sum(amount) FILTER (place = 4)
        FROM lines WHERE line <> 'invoiced' GROUP BY line, ordinal ORDER BY ordinal""",
    "deals": f"""SELECT d.name, coalesce(a.name, 'without account'), coalesce(o.name, 'without owner'), contracted_base, invoiced_base,
            variance_base, CASE main_cause WHEN 'tax_in_contract' THEN 'tax in the contract' WHEN 'scheduled' THEN 'scheduled for later'
            ELSE replace(main_cause, '_', ' ') END, status, datediff('day', close_date, DATE '2026-06-30')
        FROM fct_deal_reconciliation AS d LEFT JOIN dim_accounts AS a ON a.source = d.source AND a.account_id = d.account_id {OWNER}
        WHERE status = 'Review' OR status = 'Explained' AND close_date >= '2026-04-01'""",
    "not-invoiced": f"""SELECT d.name, coalesce(a.name, 'without account'), coalesce(o.name, 'without owner'),
            CAST(close_date AS VARCHAR), datediff('day', close_date, DATE '2026-06-30'), contracted_base,
            (SELECT -sum(amount_base) FROM fct_deal_variance_bridge AS b WHERE b.deal_id = d.deal_id
             AND cause IN ('not_invoiced', 'partly_invoiced', 'awaiting_review')) AS missing,
            (SELECT string_agg(replace(cause, '_', ' '), ', ' ORDER BY cause) FROM fct_deal_variance_bridge AS b
             WHERE b.deal_id = d.deal_id AND cause IN ('not_invoiced', 'partly_invoiced', 'awaiting_review'))
        FROM fct_deal_reconciliation AS d LEFT JOIN dim_accounts AS a ON a.source = d.source AND a.account_id = d.account_id {OWNER}
        WHERE missing > 0 ORDER BY close_date, missing DESC, deal_id""",
    "statuses": """SELECT financial_status, count(*), sum(total_outstanding), sum(overdue_amount) FROM account_status GROUP BY 1""",
    "overdue": f"""SELECT account_name, coalesce(o.name, 'without owner'), financial_status, days_overdue, overdue_amount, total_outstanding
        FROM account_status AS d {OWNER} WHERE overdue_amount > 0 ORDER BY overdue_amount DESC, account_id""",
    "credits": """SELECT customer_name, coalesce(owner_name, 'without owner'), unapplied_credit, net_outstanding + unapplied_credit
        FROM rpt_receivables_ageing AS r LEFT JOIN dim_accounts AS a ON a.account_id = r.account_id WHERE unapplied_credit > 0""",
    "paid": f"""SELECT {MONTH.format('min(paid_on)')}, count(*), sum(paid_base),
            format('{{:.1f}}', sum(datediff('day', issue_date, paid_on) * paid_base) / sum(paid_base))
        FROM fct_invoices WHERE document_type = 'invoice' AND is_counted AND paid_on >= '2025-06-01'
        GROUP BY date_trunc('month', paid_on) ORDER BY min(paid_on)""",
    "owners": f"""SELECT coalesce(o.name, 'without owner'),
            coalesce((SELECT sum(contracted_base) FROM fct_deal_reconciliation AS r WHERE r.owner_id IS NOT DISTINCT FROM d.owner_id
                AND {WON}), 0),
            coalesce((SELECT sum(recognised) FROM revenue_cycle_by_owner AS r WHERE r.owner_id IS NOT DISTINCT FROM d.owner_id
                AND month BETWEEN '2025-07-01' AND '2026-06-01'), 0),
            coalesce((SELECT sum(amount_base) FROM fct_deal_variance_bridge AS b INNER JOIN fct_deal_reconciliation AS r USING (deal_id)
                WHERE r.owner_id IS NOT DISTINCT FROM d.owner_id AND cause = 'discount' AND {WON}), 0),
            coalesce((SELECT sum(amount_base) FROM fct_deal_variance_bridge AS b INNER JOIN fct_deal_reconciliation AS r USING (deal_id)
                WHERE r.owner_id IS NOT DISTINCT FROM d.owner_id AND cause = 'price_or_quantity' AND {WON}), 0)
        FROM (SELECT DISTINCT CASE WHEN owner_id IS NOT NULL THEN source END AS source, owner_id FROM revenue_cycle_by_owner
              WHERE month BETWEEN '2025-07-01' AND '2026-06-01') AS d {OWNER}""",
    "tie-out": """SELECT 'QuickBooks Online', 'all', 'tied', ours_base, theirs_base, difference FROM rpt_tie_out WHERE level = 'ledger'""",
    "questions": """WITH q AS (SELECT kind, is_suggestion, right_source, right_id, max(amount_base) AS amount, count(*) AS candidates
            FROM rpt_match_review GROUP BY ALL)
        SELECT CASE kind WHEN 'match' THEN 'Which account a customer is' ELSE 'Which deal a document bills' END
            || CASE WHEN is_suggestion THEN ', suggested' ELSE '' END, count(*), CAST(sum(candidates) AS INTEGER), sum(amount)
        FROM q GROUP BY kind, is_suggestion""",
    "held": "SELECT hold_reason, count(*) FROM account_status WHERE hold_reason IS NOT NULL GROUP BY 1",
    "problems": "SELECT replace(kind, '_', ' '), severity, count(*), sum(amount_base) FROM rpt_exceptions GROUP BY kind, severity",
    "exceptions": """SELECT severity, replace(kind, '_', ' '), CASE source WHEN 'hubspot' THEN 'HubSpot ' ELSE 'QuickBooks Online ' END
            || object || ' ' || record_id, message, amount_base FROM rpt_exceptions WHERE kind <> 'deal_to_review'""",
}
TOTALS = {
    "ahead": "SELECT 'All open deals', open_deals, pipeline_amount, pipeline_weighted FROM pipeline_history WHERE as_of = '2026-06-30'",
    "bridge": """SELECT 'Invoiced for deals', sum(amount_base) FILTER (month = '2026-06-01'),
        sum(amount_base) FILTER (month = '2026-05-01'), sum(amount_base) FILTER (month >= '2026-04-01'),
        sum(amount_base) FILTER (month BETWEEN '2026-01-01' AND '2026-03-01')
        FROM rpt_bridge_monthly WHERE line = 'invoiced' AND month <= '2026-06-01'""",
    "not-invoiced": """SELECT 'All', '', '', '', '', '', -sum(amount_base), '' FROM fct_deal_variance_bridge
        WHERE cause IN ('not_invoiced', 'partly_invoiced', 'awaiting_review')""",
    "overdue": "SELECT 'All overdue accounts', '', '', '', sum(overdue_amount), '' FROM account_status",
    "credits": "SELECT 'All', '', sum(unapplied_credit), '' FROM rpt_receivables_ageing",
    "owners": f"""SELECT 'All', (SELECT sum(contracted_base) FROM fct_deal_reconciliation WHERE {WON}),
        (SELECT sum(recognised) FROM revenue_cycle_monthly WHERE month BETWEEN '2025-07-01' AND '2026-06-01'),
        (SELECT sum(amount_base) FROM fct_deal_variance_bridge INNER JOIN fct_deal_reconciliation USING (deal_id)
         WHERE cause = 'discount' AND {WON}),
        (SELECT sum(amount_base) FROM fct_deal_variance_bridge INNER JOIN fct_deal_reconciliation USING (deal_id)
         WHERE cause = 'price_or_quantity' AND {WON})""",
}


def body(night: Night, name: str) -> list[list[str]]:
    """A table's rows without its head and total, texts in one line."""
    rows = [[" ".join(text.split()) for text in row] for row in night.page.tables[name][1:]]
    return rows[:-1] if name in TOTALS or name in ("ageing", "cash") else rows


@pytest.mark.parametrize("name", RECOMPUTED)
def test_the_numbers_of_a_table_are_those_of_the_marts(night, name):
    wanted = [[cell(value) for value in row] for row in night.rows(RECOMPUTED[name])]
    shown = body(night, name)
    assert sorted(shown) == sorted(wanted) and wanted
    if "ORDER BY" in RECOMPUTED[name]:
        assert shown == wanted


@pytest.mark.parametrize("name", TOTALS)
def test_the_totals_of_a_table_are_those_of_the_marts(night, name):
    assert night.page.tables[name][-1] == [cell(value) for value in night.rows(TOTALS[name])[0]]


def test_the_ageing_adds_up_to_what_is_outstanding(night):
    bounds = {"Not yet due": (None, 0), "1–30 days": (1, 30), "31–60 days": (31, 60), "61–90 days": (61, 90), "Over 90 days": (91, 99999)}
    rows = night.rows("SELECT datediff('day', due_date, DATE '2026-06-30'), open_base FROM fct_invoices "
                      "WHERE document_type = 'invoice' AND is_open")
    total = sum(amount for _, amount in rows)
    for label, (low, high) in bounds.items():
        amounts = [amount for days, amount in rows if (low is None or days >= low) and days <= high]
        assert [label, str(len(amounts)), cell(sum(amounts, Decimal(0))), percent(sum(amounts, Decimal(0)), total)] in body(night, "ageing")
    assert night.page.tables["ageing"][-1] == ["Outstanding", str(len(rows)), cell(total), ""]
    assert total == night.one("SELECT outstanding FROM revenue_cycle_monthly WHERE month = '2026-06-01'")
    assert sum(amount for days, amount in rows if days > 0) == night.one(
        "SELECT overdue FROM revenue_cycle_monthly WHERE month = '2026-06-01'")


def mean(pairs: Sequence[tuple[int, Decimal]], places: str) -> Decimal:
    """The mean of the first of each, weighted by the second."""
    return (sum(days * weight for days, weight in pairs) / sum(weight for _, weight in pairs)).quantize(Decimal(places), ROUND_HALF_UP)


def test_the_funnel_is_of_the_deals_of_twelve_months(night):
    deals = night.rows(f"SELECT deal_id, contracted_base, invoiced_base, collected_base, close_date, first_invoice_date "
                       f"FROM fct_deal_reconciliation WHERE {WON}")
    whole = [deal for deal in deals if None not in deal[1:3]]
    contracted, invoiced, collected = (sum(deal[place] for deal in whole) for place in (1, 2, 3))
    to_invoice = [((deal[5] - deal[4]).days, Decimal(1)) for deal in deals if deal[5]]
    settled = night.rows(f"SELECT datediff('day', issue_date, paid_on), paid_base FROM fct_invoices WHERE paid_on IS NOT NULL "
                         f"AND document_type = 'invoice' AND deal_id IN (SELECT deal_id FROM fct_deal_reconciliation WHERE {WON})")
    assert body(night, "funnel") == [
        ["Contracted", str(len(whole)), cell(contracted), "–", "–"],
        ["Invoiced", str(len(to_invoice)), cell(invoiced), percent(invoiced, contracted), str(mean(to_invoice, "0.1"))],
        ["Collected", "–", cell(collected), percent(collected, contracted), str(mean(settled, "0.1"))],
    ]
    assert f"The {len(whole)} deals won since 2025-07-01" in night.page.text
    assert f"{len(deals) - len(whole)} without an amount are left out" in night.page.text


def expected_cash(night: Night) -> dict[str, list[Decimal]]:
    """What is expected in each week, from invoices and from the pipeline, as DECISIONS says, one record after the other."""
    since = AS_OF - timedelta(days=365)
    settled = night.rows("SELECT customer_id, paid_on - due_date, paid_on - issue_date, paid_base FROM fct_invoices WHERE "
                         f"document_type = 'invoice' AND is_counted AND paid_on >= DATE '{since}' AND paid_base > 0")
    everybody = int(mean([(late, gross) for _, late, _, gross in settled], "1"))
    to_pay = mean([(days, gross) for _, _, days, gross in settled], "1")
    after_close = night.one(f"SELECT CAST(round(avg(first_invoice_date - close_date)) AS INTEGER) FROM fct_deal_reconciliation WHERE {WON}")
    weeks: dict[str, list[Decimal]] = {}

    def expect(day: date | None, amount: Decimal, place: int) -> None:
        monday = None if day is None else day - timedelta(days=day.weekday())
        name = ("usual day has passed" if day is None or day < AS_OF else "later" if monday >= date(2026, 9, 21)
                else str(max(monday, AS_OF)))
        weeks.setdefault(name, [Decimal(0), Decimal(0)])[place] += amount

    for customer, due, amount in night.rows("SELECT customer_id, due_date, open_base FROM fct_invoices WHERE is_open "
                                            "AND document_type = 'invoice'"):
        own = [(late, gross) for one, late, _, gross in settled if one == customer]
        expect(due + timedelta(days=int(mean(own, "1")) if own else everybody), amount, 0)
    for close, amount, days in night.rows(
            "SELECT close_date, contracted_base * probability, average_days_to_pay FROM fct_deals AS d "
            "LEFT JOIN account_status AS s ON s.account_id = d.account_id WHERE NOT is_closed"):
        own_days = int(Decimal(to_pay if days is None else days).quantize(Decimal(1), ROUND_HALF_UP))
        expect(close + timedelta(days=after_close + own_days) if close >= AS_OF else None, amount, 1)
    return weeks


def test_cash_is_expected_at_each_customers_own_lateness(night):
    weeks = expected_cash(night)
    assert sorted(body(night, "cash")) == sorted([name, cell(one), cell(two), cell(one + two)] for name, (one, two) in weeks.items())
    sums = [sum(pair[place] for pair in weeks.values()) for place in (0, 1)]
    assert night.page.tables["cash"][-1] == ["All", cell(sums[0]), cell(sums[1]), cell(sum(sums))]
    assert sums[0] == night.one("SELECT outstanding FROM revenue_cycle_monthly WHERE month = '2026-06-01'") and len(weeks) > 5


def test_the_five_numbers_are_those_of_the_marts_with_what_they_were(night):
    months = {month: row for month, *row in night.rows(
        "SELECT month, bookings, invoiced, collected, outstanding, collected_net, won_deals, invoices, overdue FROM revenue_cycle_monthly")}
    then = [months[date(2026, 6, 1)], months[date(2026, 5, 1)], months[date(2025, 6, 1)]]
    found = {one.metric: one for one in night.figures.headlines}
    assert list(found) == ["pipeline_weighted_tonight", "bookings", "invoiced", "collected", "outstanding"]
    # The month is over, so the other months count to their ends.
    for place, metric in enumerate(("bookings", "invoiced", "collected", "outstanding")):
        one = found[metric]
        assert [one.value, one.last_month.value, one.last_year.value] == [row[place] for row in then]
        assert one.part == then[0][[5, 6, 4, 7][place]]
        assert f"{one.value.quantize(Decimal(1), ROUND_HALF_UP):,}" in night.page.text
    weighted = night.one("SELECT sum(contracted_base * probability) FROM fct_deals WHERE NOT is_closed")
    assert found["pipeline_weighted_tonight"].value == weighted and found["pipeline_weighted_tonight"].last_month.value is None


def test_in_the_middle_of_a_month_the_same_days_are_compared(night, tmp_path):
    copy = changed(night, tmp_path, "UPDATE published_night SET as_of = DATE '2026-05-12'",
                   "INSERT INTO pipeline_history SELECT DATE '2026-04-28', 3, 700, 70, 0, 'USD', known_at FROM pipeline_history",
                   "INSERT INTO pipeline_history SELECT DATE '2026-04-20', 3, 900, 90, 0, 'USD', known_at FROM pipeline_history LIMIT 1")
    found = {one.metric: one for one in report.collect(copy, configured(tmp_path)).headlines}
    booked = night.one("SELECT sum(contracted_base) FROM fct_deal_reconciliation WHERE close_date BETWEEN '2026-04-01' AND '2026-04-12'")
    assert found["bookings"].last_month == dataclasses.replace(found["bookings"].last_month, first=date(2026, 4, 1),
                                                               last=date(2026, 4, 12), value=booked or Decimal(0))
    assert found["outstanding"].last_month.last == date(2026, 4, 30)
    assert (found["pipeline_weighted_tonight"].last_month.last, found["pipeline_weighted_tonight"].last_month.value) == (
        date(2026, 4, 28), 70)


def test_what_was_owed_at_the_end_of_a_month_is_known_without_a_night_of_then(night, tmp_path_factory):
    """The mart goes back from tonight; here what was issued and what was applied by then is added up instead."""
    with duckdb.connect(str(first_night(tmp_path_factory) / "warehouse.duckdb"), read_only=True) as warehouse:
        for month in (date(2026, 5, 1), date(2026, 3, 1), date(2025, 12, 1)):
            end = add_months(month, 1) - timedelta(days=1)
            for column, condition in (("outstanding", ""), ("overdue", f"AND due_date < DATE '{end}'")):
                owed = warehouse.execute(f"""
                    WITH issued AS (SELECT * FROM intermediate.int_documents__valued WHERE document_type = 'invoice' AND is_counted
                        AND issue_date <= DATE '{end}' {condition})
                    SELECT sum(gross_base - coalesce((SELECT sum(amount) FROM intermediate.int_applications__dated AS a
                        WHERE a.document_type = 'invoice' AND a.document_id = issued.document_id AND applied_date <= DATE '{end}'), 0)
                        * coalesce(rate, 1)) FROM issued""").fetchone()[0] or Decimal(0)
                # A cent of an invoice that is paid within the tolerance is owed by nobody.
                assert abs(night.one(f"SELECT {column} FROM revenue_cycle_monthly WHERE month = '{month}'") - owed) <= Decimal("0.02")
    assert night.one("SELECT count(*) FROM revenue_cycle_monthly WHERE (outstanding IS NULL) <> (month > '2026-06-30')") == 0


def test_owners_add_up_to_the_months(night):
    assert night.rows("""
        SELECT m.month FROM revenue_cycle_monthly AS m
        LEFT JOIN (SELECT month, sum(bookings) AS bookings, sum(recognised) AS recognised FROM revenue_cycle_by_owner GROUP BY 1) AS o
            ON o.month = m.month
        WHERE coalesce(o.bookings, 0) <> m.bookings OR coalesce(o.recognised, 0) <> m.recognised""") == []


def test_the_last_run_that_wrote_and_what_changed_later_are_shown(night, tmp_path):
    copy = changed(night, tmp_path, """UPDATE sync_health SET last_write_run_id = 'night-1', fields_written = 1234, fields_skipped = 5,
        fields_rejected = 6, fields_unknown = 7 WHERE side = 'crm'""", """INSERT INTO rpt_restatements BY NAME SELECT DATE '2026-05-01' AS
        month, 'invoiced' AS measure, document_id, 100 AS amount_then, 40 AS amount_now, -60 AS difference FROM fct_invoices LIMIT 2""")
    shown = reported(copy, tmp_path).page.tables
    assert shown["writes"][1] == ["HubSpot", "night-1", "1,234", "5", "6", "7"]
    assert shown["restated"][1] == ["May 2026", "invoiced", "2", "200.00", "80.00", "-120.00"]


# -- definitions


def test_every_number_has_its_definition_and_its_owner(night):
    defined = {name: (label, definition, owner) for name, label, definition, owner in night.rows(
        "SELECT metric, label, definition, owner FROM metrics")}
    for table in report.sections(night.figures).values():
        if table.id in ("headlines",):
            continue
        assert [column.label for column in table.columns if column.kind in NUMBERS and column.metric not in defined] == [], table.id
    assert {metric for one in night.figures.headlines for metric in (one.metric, one.part_metric)} <= defined.keys()
    targets = {attributes["id"] for _, attributes in night.page.tags if "id" in attributes}
    pointed = [attributes for tag, attributes in night.page.tags if attributes.get("class") == "def"]
    assert len(pointed) > 50
    for attributes in pointed:
        _, definition, owner = defined[attributes["href"].removeprefix("#def-")]
        assert attributes["data-says"] == f"{definition} Owned by {owner}." and attributes["href"][1:] in targets
        assert f"{definition} Owned by {owner}; in" in night.page.text


# -- texts of vendors


def test_vendors_texts_stay_texts(tmp_path):
    figures = dataclasses.replace(
        made(overdue=Listing((account(name=EVIL, owner=EVIL),), 1, Decimal(1)),
             exceptions=Listing((exception(message=EVIL, record_id=EVIL, kind=EVIL),), 1),
             tie_out=(TieOut("quickbooks", "customer", "1", EVIL, Decimal(1), Decimal(2), Decimal(-1), False, EVIL),)), company=EVIL)
    page = Page(rendered(figures, tmp_path))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a" and not attributes["href"].startswith("#")] == []
    assert page.text.count("<script>alert('1')</script>") >= 7  # the company's name, twice, too
    body = mail.mail_body(figures)
    assert "script" not in {tag for tag, _ in Page(body).tags} and Page(body).text.count("<script>alert('1')</script>") >= 3
    assert "\n" not in mail.subject(dataclasses.replace(figures, company="Two\r\nBcc: x"))


@pytest.mark.parametrize("url, followed", [
    ("https://app.hubspot.com/contacts/1", True), ("javascript:alert(1)", False), ("JavaScript:alert(1)", False),
    ("http://plain.example", False), ("data:text/html,x", False), (" https://space.example", False), (None, False),
    ('https://x.example/"><script>alert(1)</script>', True),
])  # fmt: skip
def test_only_safe_links_are_followed(monkeypatch, tmp_path, url, followed):
    monkeypatch.setattr("pipelines.report.charts.charts", lambda figures, form: {})
    deal = Deal("hubspot", "1", "Deal", None, None, AS_OF, Decimal(1), Decimal(0), Decimal(-1), "Review", "not_invoiced", 0, url)
    figures = made(overdue=Listing((account(url=url),), 1, Decimal(1)), exceptions=Listing((exception(url=url),), 1),
                   deals=Listing((deal,), 1, Decimal(-1)))
    for text in (rendered(figures, tmp_path), mail.mail_body(figures)):
        page = Page(text)
        links = [attributes["href"] for tag, attributes in page.tags if tag == "a" and not attributes["href"].startswith("#")]
        assert set(links) == ({url} if followed else set()) and [tag for tag, _ in page.tags].count("script") <= 1


def test_more_than_the_page_shows_is_counted_and_a_command_shows_it(night, tmp_path):
    copy = changed(night, tmp_path,
                   "INSERT INTO rpt_exceptions BY NAME SELECT 'data_problem' AS kind, 'error' AS severity, 'hubspot' AS source, 'deal' AS "
                   "object, range::varchar AS record_id, 'wrong' AS message FROM range(300)",
                   "INSERT INTO account_status SELECT s.* REPLACE ('x' || range AS account_id, 5 AS overdue_amount) "
                   "FROM (SELECT * FROM account_status LIMIT 1) AS s, range(60)")
    shown = reported(copy, tmp_path)
    assert len(shown.page.tables["exceptions"]) == 201 and len(report.exceptions(shown.figures)) == 200
    count = night.one("SELECT count(*) FROM rpt_exceptions WHERE kind <> 'deal_to_review'") + 300
    assert f"The first 200 of {count} exceptions." in shown.page.text
    assert 'crossfoot sql "SELECT * FROM rpt_exceptions"' in shown.page.text
    overdue = night.one("SELECT count(*) FROM account_status WHERE overdue_amount > 0") + 60
    assert f"The first 50 of {overdue} accounts." in shown.page.text and len(shown.page.tables["overdue"]) == 52
    commands = re.findall(r'crossfoot sql "(.*?)"', shown.page.text)
    assert len(commands) >= 5 and all(shown.rows(command) is not None for command in commands)


# -- what is not there


def test_a_company_without_deals_and_invoices_has_a_report(night, tmp_path):
    names = [name for name, in night.rows("SELECT table_name FROM duckdb_tables() WHERE table_name NOT IN ('metrics', 'published_night', "
                                          "'sync_health', 'revenue_cycle_monthly')")]
    copy = changed(
        night, tmp_path, *(f"DELETE FROM {name}" for name in names), "DELETE FROM revenue_cycle_monthly WHERE month <> '2026-06-01'",
        "UPDATE revenue_cycle_monthly SET bookings = 0, invoiced = 0, collected = 0, collected_net = 0, outstanding = 0, overdue = 0",
        "UPDATE sync_health SET status = 'held', hold_reason = 'the last extract failed', last_complete_at = NULL WHERE side = 'crm'")
    shown = reported(copy, tmp_path)
    text = shown.path.read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", text) == SECTIONS and "<svg" not in text
    assert [name for name in TABLES if f'id="{name}"' not in text] == []
    assert "No deal was won in the last twelve months." in text and "not compared: no report of the day in USD" in text
    assert "never read to its end: the last extract failed" in shown.page.text
    assert [one.value for one in shown.figures.headlines] == [0] * 5 and "From contracted" not in mail.mail_body(made())
    assert "None" not in text.replace("None.", "") and report.summary(shown.figures)


# -- the company's own way to write


@pytest.mark.parametrize("number_format, money, share", [
    ("1,234.56", "-1,234,567.89", "12.5 %"), ("1.234,56", "-1.234.567,89", "12,5 %"), ("1 234,56", "-1\u202f234\u202f567,89", "12,5 %"),
    ("1'234.56", "-1'234'567.89", "12.5 %"),
])  # fmt: skip
def test_numbers_are_written_as_the_company_writes_them(number_format, money, share):
    form = Format("USD", number_format)
    assert form.money(Decimal("-1234567.891")) == money and form.share(Decimal("0.125")).replace("\N{NO-BREAK SPACE}", " ") == share


@pytest.mark.parametrize("currency, amount, shown", [
    ("USD", "0.005", "0.01"), ("USD", "-0.004", "-0.00"), ("JPY", "1234.5", "1,235"), ("KWD", "1.2345", "1.235"), ("XXZ", "5", "5.00"),
    ("USD", None, "–"),
])  # fmt: skip
def test_amounts_have_the_digits_of_their_currency(currency, amount, shown):
    assert Format(currency).money(None if amount is None else Decimal(amount)).replace("-0.00", "0.00") == shown.replace("-0.00", "0.00")


@pytest.mark.parametrize("date_format, day, span", [
    ("2026-12-31", "2026-07-01", "2026-07-01 to 2026-07-12"), ("31.12.2026", "01.07.2026", "01.07.2026 to 12.07.2026"),
    ("31/12/2026", "01/07/2026", "01/07/2026 to 12/07/2026"), ("12/31/2026", "07/01/2026", "07/01/2026 to 07/12/2026"),
    ("31 Dec 2026", "1 Jul 2026", "1 to 12 Jul 2026"),
])  # fmt: skip
def test_days_are_written_as_the_company_writes_them(date_format, day, span):
    form = Format(date_format=date_format)
    first = date(2026, 7, 1)
    assert form.day(first).replace("\N{NO-BREAK SPACE}", " ") == day
    assert form.days(first, date(2026, 7, 12)).replace("\N{NO-BREAK SPACE}", " ") == span
    assert form.days(first, date(2026, 7, 31)) == "Jul 2026"


@pytest.mark.parametrize("now, then, shown", [
    ("110", "100", "+10 %"), ("95.5", "100", "-4.5 %"), ("0", "100", "-100 %"), ("100", "0", "–"), ("100", None, "–"),
    ("1234", "100", "×12"), ("100", "100", "0.0 %"),
])  # fmt: skip
def test_a_change_is_said_in_percent_where_there_was_something(now, then, shown):
    change = Format().change(Decimal(now), None if then is None else Decimal(then))
    assert change.replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize("start, as_of, quarter, name, year", [
    (1, date(2026, 6, 30), date(2026, 4, 1), "Q2 2026", date(2026, 1, 1)),
    (4, date(2026, 6, 30), date(2026, 4, 1), "Q1 2026/27", date(2026, 4, 1)),
    (7, date(2026, 6, 30), date(2026, 4, 1), "Q4 2025/26", date(2025, 7, 1)),
    (2, date(2026, 1, 5), date(2025, 11, 1), "Q4 2025/26", date(2025, 2, 1)),
    (12, date(2026, 6, 30), date(2026, 6, 1), "Q3 2025/26", date(2025, 12, 1)),
])  # fmt: skip
def test_the_quarter_is_the_fiscal_one(start, as_of, quarter, name, year):
    calendar = Calendar(as_of, start)
    assert (calendar.quarter, calendar.quarter_name(calendar.quarter), calendar.fiscal_year) == (quarter, name, year)


@pytest.mark.parametrize("as_of, months, span", [
    (date(2026, 6, 30), -1, (date(2026, 5, 1), date(2026, 5, 31))), (date(2026, 6, 12), -1, (date(2026, 5, 1), date(2026, 5, 12))),
    (date(2026, 3, 30), -1, (date(2026, 2, 1), date(2026, 2, 28))), (date(2026, 2, 28), -12, (date(2025, 2, 1), date(2025, 2, 28))),
])  # fmt: skip
def test_the_same_days_of_another_month(as_of, months, span):
    assert Calendar(as_of, 1).same_days(months) == span


def test_the_configuration_reaches_the_page(night, tmp_path):
    shown = reported(night.published, tmp_path, '[company]\nname = "Brightwater & Söhne"\nnumber_format = "1.234,56"\ntime_zone = '
                     '"Europe/Berlin"\ndate_format = "31.12.2026"\nfiscal_year_start = 7\n')
    assert "As of 30.06.2026" in shown.page.text and "CEST" in shown.page.text and "Brightwater & Söhne" in shown.page.text
    assert "Q4 2025/26 to date" in shown.page.text and not re.search(r"\d,\d{3}\b", str(shown.page.rows))


# -- Markdown and mail


def test_the_summary_has_the_marts_numbers(night):
    lines = report.summary(night.figures).splitlines()
    for row in night.rows("SELECT financial_status, count(*), sum(total_outstanding), sum(overdue_amount) FROM account_status GROUP BY 1"):
        assert f"| {' | '.join(cell(value) for value in row)} |" in lines
    assert len([line for line in lines if line.startswith("| Review |")]) >= 6
    assert [line for line in lines if line.startswith("| Outstanding \\(overdue")]


def test_the_exceptions_table_has_the_gravest_first(night):
    rows = report.exceptions(night.figures)
    severities = [row["severity"] for row in rows]
    order = {"error": 0, "warning": 1, "info": 2}
    assert severities == sorted(severities, key=order.__getitem__) and severities[0] == "error"
    assert all(isinstance(value, str) for row in rows for value in row.values())
    assert len(rows) == night.figures.exceptions.count == night.one("SELECT count(*) FROM rpt_exceptions")


@pytest.mark.parametrize("text", [
    EVIL, "# head", "- item", "1. item", "+ plus", "> quote", "***", "a\n\n# b", "![i](https://x)", "<img src=x onerror=y>",
    "\\[x](y)", "~~s~~", "_e_ __s__", "`code`", "&lt;b&gt;", "&#60;", "| a | b |\n|---|---|\n| c | d |", "[r]: https://x",
    "===", "    code",
])  # fmt: skip
def test_markdown_shows_a_text_as_it_is(text):
    shown = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(f"| name | more |\n|---|---|\n| {report.plain(text)} | x |")
    page = Page(shown)
    assert {tag for tag, _ in page.tags} <= {"table", "thead", "tbody", "tr", "th", "td"}
    assert [cell.strip() for cell in page.rows[1]] == [" ".join(text.split()), "x"] and len(page.rows) == 2


@pytest.mark.parametrize("text", ["https://evil.example", "www.evil.example", "someone@evil.example", "ftp://evil.example"])
def test_a_bare_address_is_no_link(text):
    """Markdown of the kind that GitHub made common links these without any mark; a backslash within ends that."""
    assert not any(sign in report.plain(text) for sign in ("s://", "p://", "www.", "e@"))


def test_the_mail_is_tables_with_the_same_numbers(night):
    text = mail.mail_body(night.figures)
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= {"html", "head", "meta", "title", "body", "h1", "h2", "p", "table", "thead", "tbody", "tr",
                                             "th", "td", "a", "b"}
    assert not {name for _, attributes in page.tags for name in attributes} & {"class", "src", "id"} and len(text) < 100_000
    for name in ("statuses", "ageing", "bridge"):
        assert [row for row in night.page.tables[name][1:] if row not in page.rows] == []
    months = night.page.tables["months"][1:]
    assert months[-1] in page.rows and months[0] not in page.rows and "10 rows of 13" in page.text
    assert mail.subject(night.figures) == "revenue cycle as of 2026-06-30, tied"
    torn = dataclasses.replace(night.figures, tie_out=(TieOut("quickbooks", "ledger", is_tied=False, kind="customers"),))
    assert mail.subject(torn).endswith("NOT TIED") and "not tied: customers" in mail.mail_body(torn)


# -- charts


def test_what_a_chart_shows_is_the_tables_and_a_name_stays_a_text(night):
    evil = dataclasses.replace(night.figures.owners[0], name="</text><script>x</script>", owner_id="1")
    twin = dataclasses.replace(evil, owner_id="2")
    figures = dataclasses.replace(night.figures, owners=(evil, twin, *night.figures.owners[1:]))
    drawn = charts(figures, Format("USD"))
    assert "<script" not in drawn["owners"].wide and drawn["owners"].wide.count("&lt;/text&gt;") == 2
    texts = html.unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", drawn["ageing"].wide)))
    for label, bucket in zip([row[0] for row in body(night, "ageing")], night.figures.ageing, strict=True):
        assert label in texts and f"{bucket.amount.quantize(Decimal(1), ROUND_HALF_UP):,}" in texts
    bridge = html.unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", drawn["bridge-2"].wide)))
    for line in night.figures.bridges[2].lines[1:-1]:
        rounded = line.amount.quantize(Decimal(1), ROUND_HALF_UP) + 0
        assert f"{'+' if line.amount > 0 else ''}{rounded:,}" in bridge
    assert all("#" not in one.wide.replace("&#", "") and "style=" not in one.wide for one in drawn.values())


def test_in_a_quarters_first_month_the_last_quarter_is_drawn(night, tmp_path):
    copy = changed(night, tmp_path, "UPDATE published_night SET as_of = DATE '2026-04-10'")
    text = reported(copy, tmp_path).page.text
    assert "From contracted to invoiced, Apr 2026 to date" in text and "From contracted to invoiced, Q1 2026" in text


# -- PDF and command


def test_a_pdf_is_printed_from_the_page(night, tmp_path, chromium):
    printed = pdf.print_pdf(night.path, tmp_path / "report.pdf", configured(tmp_path, f'[report]\nchromium = "{chromium}"\n'))
    content = printed.read_bytes()
    assert content.startswith(b"%PDF") and 4 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 20
    SHOTS.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(printed, SHOTS / "report.pdf")
    assert {path.name for path in tmp_path.iterdir()} == {"report.pdf", "crossfoot.toml"}


def test_without_a_chromium_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"no Chromium is on the path.*\[report\] chromium"):
        pdf.find_chromium(configured(tmp_path))
    with pytest.raises(ConfigurationError, match="'/no/chromium', which is no program"):
        pdf.find_chromium(configured(tmp_path, '[report]\nchromium = "/no/chromium"\n'))


def test_a_browser_that_prints_nothing_is_named(night, tmp_path):
    with pytest.raises(pdf.NotPrinted, match=r"true ended with 0 and printed nothing .*\[report\] chromium"):
        pdf.print_pdf(night.path, tmp_path / "report.pdf", configured(tmp_path, f'[report]\nchromium = "{shutil.which("true")}"\n'))


def test_the_command_makes_the_report_of_the_published_night(night, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    missing = command_here(monkeypatch, capsys, "--data-dir", tmp_path / "data", "report")
    assert missing.code == 2 and "no night was published yet; run `crossfoot run` first" in missing.err
    target = tmp_path / "data" / "published" / "crossfoot.duckdb"
    target.parent.mkdir(parents=True)
    changed(night, tmp_path, "DROP TABLE pipeline_history").rename(target)
    old = command_here(monkeypatch, capsys, "--data-dir", tmp_path / "data", "report")
    assert old.code == 2 and "was published by an earlier version (Catalog Error: Table with name pipeline_history" in old.err
    target.unlink()
    os.link(night.published, target)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    ended = command_here(monkeypatch, capsys, "--data-dir", tmp_path / "data", "--json", "report", "--open")
    page = tmp_path / "data" / "reports" / "report.html"
    assert ended.code == 0 and ended.json["written"] == [str(page)] and opened == [page.as_uri()]
    assert page.read_bytes() == night.path.read_bytes()


# -- in a browser


@pytest.fixture(scope="module")
def evil_night(night, tmp_path_factory) -> Night:
    """The same night with hostile names, drawn names and links, of a company that has a name."""
    folder = tmp_path_factory.mktemp("evil")
    quoted = EVIL.replace("'", "''")
    copy = changed(
        night, folder,
        f"UPDATE account_status SET account_name = '{quoted}', url = 'https://crm.example/a?b=1&c=\"2\"' WHERE account_id = "
        "(SELECT account_id FROM account_status ORDER BY overdue_amount DESC LIMIT 1)",
        f"UPDATE account_status SET account_name = '{LONG}' WHERE account_id = (SELECT account_id FROM account_status "
        "WHERE overdue_amount > 0 ORDER BY overdue_amount LIMIT 1)",
        f"UPDATE dim_owners SET name = '{quoted}' WHERE owner_id = (SELECT min(owner_id) FROM dim_owners)",
        "UPDATE fct_deal_reconciliation SET name = 'صفقة \u202egnp.exe <b>\"x\"</b>' WHERE main_cause = 'duplicate_invoice'",
        f"UPDATE rpt_exceptions SET message = '{quoted}', record_id = '{'x' * 300}' WHERE kind = 'data_problem'",
        f"UPDATE fct_deal_reconciliation SET name = '{'y' * 300}' WHERE main_cause = 'price_or_quantity'",
    )
    return reported(copy, folder, '[company]\nname = "Brightwater <b>& Sons</b>"\n')


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield started
        started.close()


@pytest.fixture
def opened(browser) -> Iterator[Callable[..., Any]]:
    """Opens a report and, at the end, has seen no other request, no console message and no dialog."""
    seen: list[tuple[Any, list[str], str]] = []

    def open_page(night: Night, **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 1000}} | options))
        page, heard = context.new_page(), []
        page.on("request", lambda request: heard.append(request.url))
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: heard.append(dialog.message))
        page.goto(night.path.as_uri())
        seen.append((context, heard, night.path.as_uri()))
        return page

    yield open_page
    for context, heard, address in seen:
        assert {text.partition("#")[0] for text in heard} == {address}
        context.close()


@pytest.mark.chromium
@pytest.mark.parametrize("name, options", [
    ("desktop", {}), ("phone", {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}),
    ("dark", {"color_scheme": "dark"}), ("print", {"viewport": {"width": 700, "height": 990}}),
    ("plain", {"java_script_enabled": False}),
])  # fmt: skip
def test_it_looks_right_everywhere(opened, evil_night, name, options):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page = opened(evil_night, **options)
    if name == "print":
        page.emulate_media(media="print")
    page.screenshot(path=SHOTS / f"report-{name}.png", full_page=True)
    assert page.locator("h2").all_inner_texts() == SECTIONS
    assert page.locator(".five .big").count() == 5 and page.locator("table").count() >= 19
    if name == "plain":
        return
    # Nothing is wider than the paper or the screen, but the tables that scroll by themselves.
    assert page.evaluate("document.documentElement.scrollWidth") <= options.get("viewport", {"width": 1280})["width"] + 1
    paper, ink = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) > sum(map(int, re.findall(r"\d+", ink)[:3]))) is (name != "dark")
    shown = page.locator("figure svg:visible")
    assert shown.count() == 9
    widths = shown.evaluate_all("drawn => drawn.map(one => one.getBoundingClientRect().width)")
    assert all(100 < width <= options.get("viewport", {"width": 1280})["width"] for width in widths)


@pytest.mark.chromium
def test_hostile_names_are_texts(opened, evil_night):
    page = opened(evil_night)
    names = page.locator("[aria-labelledby=overdue] tbody td:first-child").all_inner_texts()
    assert names[0] == EVIL and LONG in names and page.locator("h1").inner_text() == "Revenue cycle · Brightwater <b>& Sons</b>"
    assert page.locator("script").count() == 1 and page.locator("b:not(.state b, .then b)").count() == 0
    link = page.locator("[aria-labelledby=overdue] tbody a").first
    assert link.get_attribute("href") == 'https://crm.example/a?b=1&c="2"'
    deal = page.locator("[aria-labelledby=deals] td:first-child", has_text="exe").first
    assert "\u202e" not in deal.inner_text() and deal.locator("bdi").count() == 1


@pytest.mark.chromium
def test_a_table_is_sorted_by_its_head_with_mouse_and_keyboard(opened, night):
    page = opened(night)
    region = page.locator("[aria-labelledby=overdue]")

    def column(place: int) -> list[str]:
        return region.locator(f"tbody td:nth-child({place})").all_inner_texts()

    before = column(5)
    head = region.locator("thead th").nth(4)
    head.locator("button").click()
    assert column(5) == before[::-1] or sorted(map(number, before)) == list(map(number, column(5)))
    assert head.get_attribute("aria-sort") == "ascending" and region.locator("tfoot td").first.inner_text() == "All overdue accounts"
    first = region.locator("thead th").nth(0)
    first.locator("button").focus()
    page.keyboard.press("Enter")
    names = column(1)
    assert names == page.evaluate("names => [...names].sort((a, b) => a.localeCompare(b))", names)
    assert head.get_attribute("aria-sort") is None
    page.keyboard.press("Space")
    assert column(1) == names[::-1] and first.get_attribute("aria-sort") == "descending"
    months = page.locator("[aria-labelledby=months]")
    months.locator("thead button").first.click()
    months.locator("thead button").first.click()
    assert months.locator("tbody td:first-child").all_inner_texts() == [row[0] for row in body(night, "months")][::-1]


def number(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


@pytest.mark.chromium
def test_links_lead_somewhere_and_a_definition_is_one_hover_away(opened, night):
    page = opened(night)
    hashes = page.locator("a[href^='#']").evaluate_all("links => links.map(link => link.getAttribute('href').slice(1))")
    assert page.evaluate("names => names.filter(name => !document.getElementById(name))", hashes) == []
    word = page.locator(".five .def", has_text="Bookings")
    hidden = "[getComputedStyle(arguments[0], '::after').visibility, getComputedStyle(arguments[0], '::after').content]"
    tip = f"one => {hidden.replace('arguments[0]', 'one')}"
    assert word.evaluate(tip)[0] == "hidden"
    word.hover()
    page.wait_for_timeout(500)
    assert word.evaluate(tip)[0] == "visible" and word.evaluate(tip)[1].startswith('"Won deals by close date')
    word.click()
    assert page.evaluate("document.querySelector(':target').innerText") == "Bookings"


@pytest.mark.chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_in_a_screen_readers_way(opened, evil_night, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(evil_night, color_scheme=scheme)
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")] == []
