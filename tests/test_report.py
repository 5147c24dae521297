"""The report: one page that needs nothing else, numbers that are the marts', vendors' texts that stay texts."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt
from night_fixture import first_night, house

from pipelines import publish
from pipelines.extract import Receipt
from pipelines.outcome import Outcome, held_back, sentence
from pipelines.report import build as report
from pipelines.report.build import Report
from pipelines.writeback.apply import ApplyResult
from pipelines.writeback.journal import Intent, Settled
from pipelines.writeback.plan import Change, Hold, Plan

AS_OF, KNOWN_AT = date(2026, 6, 30), datetime(2026, 6, 30, 22, tzinfo=UTC)
EVIL = "<script>alert('1')</script> & \"Sons\" | [click](javascript:alert(1)) `x` **b** https://evil.example www.evil.example a@evil.test"


class Page(HTMLParser):
    """What a browser would make of a page: its tags with attributes, and the texts of its table cells by row."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text, self.within = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.within = tag in ("td", "th", "a")

    def handle_endtag(self, tag: str) -> None:
        self.within = self.within and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.within and self.rows:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A first night, published, and the page of it."""
    with house(tmp_path_factory.mktemp("published"), data=first_night(tmp_path_factory), fields=False) as at:
        night = at.built_night()
        figures = report.collect(publish.publish(night.settings, night.as_of, night.known_at), night.settings)
        path = report.write_page(figures, at.data / "reports" / "report.html")
        yield at, figures, path.read_text(encoding="utf-8")


def made(**sections: list[dict[str, Any]]) -> Report:
    """A report with only these rows."""
    empty = {name: [] for name in ("statuses", "reconciliation", "overdue", "tie_out", "uncertified", "health", "exceptions")}
    return Report(EVIL, "USD", AS_OF, KNOWN_AT, empty | sections)


def overdue(**values: Any) -> dict[str, Any]:
    known = {"account_name": "Acme", "owner_id": "7", "owner": "Olga", "financial_status": "Overdue", "days_overdue": 3,
             "overdue_amount": Decimal("1234.5"), "url": None}
    return known | values


def exception(**values: Any) -> dict[str, Any]:
    known = {"severity": "error", "kind": "tie_out", "source": "quickbooks", "object": "customer", "record_id": "5",
             "message": "ours 1, the ledger says 2", "amount_base": Decimal("-1"), "url": None}
    return known | values


# -- the page


def test_the_page_is_one_file_that_loads_nothing(published):
    _, _, text = published
    page = Page(text)
    assert {tag for tag, _ in page.tags} <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "table", "thead", "tbody", "tr", "th", "td", "a"}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not names & {"src", "srcset", "onload", "onclick", "onerror", "style"}
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert all(link.startswith("https://") for link in links)
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text


def test_the_numbers_of_the_page_are_those_of_the_marts(published):
    at, _, text = published
    rows = Page(text).rows
    for row in at.rows("SELECT financial_status, count(*) AS accounts, sum(total_outstanding) AS outstanding, "
                       "sum(overdue_amount) AS overdue FROM marts.account_status GROUP BY 1"):
        assert [row["financial_status"], str(row["accounts"]), f"{row['outstanding']:,.2f}", f"{row['overdue']:,.2f}"] in rows
    for row in at.rows("SELECT status, main_cause, count(*) AS deals, sum(contracted_base) AS contracted, "
                       "sum(invoiced_base) AS invoiced FROM marts.fct_deal_reconciliation GROUP BY 1, 2"):
        amounts = ["–" if row[name] is None else f"{row[name]:,.2f}" for name in ("contracted", "invoiced")]
        assert [row["status"], row["main_cause"] or "none", str(row["deals"]), *amounts] in [found[:5] for found in rows]
    owed = at.rows("SELECT account_name, days_overdue, overdue_amount FROM marts.account_status WHERE overdue_amount > 0")
    assert len(owed) >= 15
    for row in owed:
        shown = [" ".join(row["account_name"].split()), str(row["days_overdue"]), f"{row['overdue_amount']:,.2f}"]
        assert shown in [[found[0], *found[3:]] for found in rows if len(found) == 5]
    count = at.rows("SELECT count(*) AS rows FROM marts.rpt_exceptions")[0]["rows"]
    assert f"{count} in all." in text


def test_the_page_says_of_which_night_it_is(published):
    at, figures, text = published
    night = at.built_night()
    assert (figures.as_of, figures.known_at) == (night.as_of, night.known_at)
    assert f"As of 2026-06-30, heard up to {night.known_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC. Amounts in USD." in text


def test_vendors_texts_stay_texts(tmp_path):
    figures = made(overdue=[overdue(account_name=EVIL, owner=EVIL)], exceptions=[exception(message=EVIL, record_id=EVIL)])
    page = Page(report.write_page(figures, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.tags} and "a" not in {tag for tag, _ in page.tags}
    assert page.text.count("<script>alert('1')</script>") >= 4  # the company's name, too


@pytest.mark.parametrize("url, followed", [
    ("https://app.hubspot.com/contacts/1", True), ("javascript:alert(1)", False), ("JavaScript:alert(1)", False),
    ("http://plain.example", False), ("data:text/html,x", False), (" https://space.example", False), (None, False),
    ('https://x.example/"><script>alert(1)</script>', True),
])  # fmt: skip
def test_only_safe_links_are_followed(tmp_path, url, followed):
    figures = made(overdue=[overdue(url=url)], exceptions=[exception(url=url)])
    page = Page(report.write_page(figures, tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == ([url, url] if followed else [])
    assert "script" not in {tag for tag, _ in page.tags}


def test_a_page_replaces_the_one_before_in_one_step(tmp_path):
    path = report.write_page(made(), tmp_path / "reports" / "report.html")
    report.write_page(made(overdue=[overdue()]), path)
    assert [one.name for one in path.parent.iterdir()] == ["report.html"] and "1,234.50" in path.read_text(encoding="utf-8")


def test_more_exceptions_than_the_page_shows_are_counted(tmp_path):
    figures = made(exceptions=[exception(record_id=str(number)) for number in range(report.MAX_EXCEPTIONS + 7)])
    text = report.write_page(figures, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "207 in all, the first 200 shown" in text and "customer 199<" in text and "customer 200<" not in text
    assert len(report.exceptions(figures)) == 200


# -- Markdown


def test_the_summary_has_the_marts_numbers(published):
    at, figures, _ = published
    lines = report.summary(figures).splitlines()
    for row in at.rows("SELECT financial_status, count(*) AS accounts, sum(total_outstanding) AS outstanding, "
                       "sum(overdue_amount) AS overdue FROM marts.account_status GROUP BY 1"):
        wanted = f"| {row['financial_status']} | {row['accounts']} | {row['outstanding']:,.2f} | {row['overdue']:,.2f} |"
        assert wanted in lines
    assert len([line for line in lines if line.startswith("| Review |")]) >= 6


def test_the_exceptions_table_has_the_gravest_first(published):
    _, figures, _ = published
    rows = report.exceptions(figures)
    severities = [row["severity"] for row in rows]
    order = {"error": 0, "warning": 1, "info": 2}
    assert severities == sorted(severities, key=order.__getitem__) and severities[0] == "error"
    assert all(isinstance(value, str) for row in rows for value in row.values())


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


def test_amounts_are_written_with_two_decimals_and_none_as_a_dash():
    assert [report.money(amount) for amount in (Decimal("1234567.891"), Decimal("-0.5"), Decimal(0), None)] == [
        "1,234,567.89", "-0.50", "0.00", "–"]


# -- the sentence of a night


def change(record_id: str) -> Change:
    return Change("hubspot", "companies", record_id, "days_overdue", None, "1")


def problem(outcome: str) -> Settled:
    return Settled(Intent(1, "run", "hubspot", "companies", "1", "days_overdue", None, "1"), outcome, "because")


FINE = (Receipt("hubspot", "complete"), Receipt("quickbooks", "complete"))
DARK = (Receipt("hubspot", "complete"), Receipt("quickbooks", "failed", message="no answer"))
PLAN = Plan((change("1"), change("2")))
LIMITED = dataclasses.replace(PLAN, limit_blocks=("too many would change",))
GUARDED = dataclasses.replace(PLAN, guard_blocks=("companies shrank",))


@pytest.mark.parametrize("receipts, blocks, plan, applied, mode, state, says", [
    (FINE, (), PLAN, ApplyResult("r", PLAN, written=2), "apply", "complete", "2 changes were written."),
    (FINE, (), PLAN, None, "plan", "complete",
     f"The plan has 2 changes; look at it, then `crossfoot apply {PLAN.id}`."),
    (FINE, (), LIMITED, None, "plan", "complete",
     f"then `crossfoot apply {LIMITED.id}`. No night writes it without that: too many would change."),
    (FINE, (), GUARDED, None, "plan", "complete", "The plan has 2 changes and cannot be applied yet: companies shrank."),
    (FINE, (), Plan(), None, "plan", "complete", "There is nothing to write."),
    (FINE, (), LIMITED, None, "apply", "blocked", "Nothing was written: too many would change."),
    (FINE, ("companies shrank",), GUARDED, None, "plan", "blocked", "Nothing was written: companies shrank."),
    (FINE, ("companies shrank",), GUARDED, None, "apply", "blocked", "Nothing was written: companies shrank."),
    (FINE, (), None, None, "off", "complete", "Write-back is off."),
    (FINE, ("companies shrank",), None, None, "off", "blocked", "The night is doubtful: companies shrank."),
    (FINE, (), PLAN, ApplyResult("r", PLAN, 1, 1, 0, (problem("skipped"),)), "apply", "partial",
     "1 changes were skipped and 0 rejected; `crossfoot status` names them"),
    (DARK, (), PLAN, ApplyResult("r", PLAN, written=2), "apply", "partial",
     "quickbooks could not be read (no answer): what depends on it is left as it was"),
    (DARK, ("companies shrank",), GUARDED, None, "plan", "partial", "run the night again. Nothing was written: companies shrank."),
    (DARK, (), LIMITED, None, "apply", "partial", "run the night again. Nothing was written: too many would change."),
    (DARK, (), LIMITED, None, "plan", "partial", "mend that and run the night again."),
    (DARK, (), None, None, "off", "partial", "quickbooks could not be read (no answer)"),
    ((Receipt("hubspot", "replayed"), Receipt("quickbooks", "complete")), (), PLAN, ApplyResult("r", PLAN), "apply", "complete",
     "0 changes were written."),
])  # fmt: skip
def test_every_state_has_its_sentence(receipts, blocks, plan, applied, mode, state, says):
    found, text = sentence(receipts, blocks, plan, applied, mode)
    assert found == state and says in text


def test_reasons_are_counted_the_most_frequent_first_and_the_rest_together():
    holds = [Hold("hubspot", "companies", str(number), None, None, None, "stale") for number in range(3)]
    holds += [Hold("hubspot", "companies", "9", None, None, None, f"reason {number:02}") for number in range(20)]
    counts = held_back(Plan(holds=tuple(holds)))
    assert next(iter(counts.items())) == ("stale", 3) and counts["for other reasons"] == 9 and sum(counts.values()) == 23


def test_an_outcome_is_plain_json_values():
    ended = Outcome(AS_OF, KNOWN_AT, "apply", "partial", "x", DARK, PLAN, None, ApplyResult("r", PLAN, 1, 0, 1, (problem("rejected"),)))
    document = ended.document()
    assert document["applied"]["problems"] == [
        {"object": "companies", "record": "1", "field": "days_overdue", "outcome": "rejected", "message": "because"}]
    assert document["plan"]["records"] == 2 and document["vendors"]["quickbooks"]["message"] == "no answer"
