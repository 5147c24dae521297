"""`make campaign`: a night whose every name is an attack, in twenty scripts. Wherever one is shown or exported it stays a text."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fault_fixture import AS_OF, KNOWN_AT, FaultNight
from markdown_it import MarkdownIt
from openpyxl import load_workbook
from test_faults_quickbooks import Books
from test_report import CHROMIUM_OPTIONS

from flows import show
from pipelines import publish, query
from pipelines.report import build as report
from pipelines.report import figures, mail, queries, tables, workbook
from pipelines.report.formats import one_line

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]
SCRIPTS = (
    "Acme", "Ørsted & Søn", "Привет", "Ελλάς", "شركة النور", "חברה", "हिन्दी", "ไทย", "株式会社", "ひらがな", "한국어",
    "საქართველო", "Հայաստան", "ኢትዮጵያ", "தமிழ்", "ខ្មែរ", "Ｆｕｌｌ ｗｉｄｔｈ", "Z̴͎̈a̵̰͝l̶̙̓g̸͕̍o̷̗͐",
    "👩\u200d👩\u200d👧\u200d👦 🚀", "ꙮ𝕏",
)
ATTACKS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>",
    "\"><script>alert(1)</script>", "' onmouseover='alert(1)", "</td></table><h1>x",
    "<iframe src=javascript:alert(1)>", "<style>*{display:none}</style>", "<a href=javascript:alert(1)>x</a>", "<!--",
    "]]>", "{{ 7 * 7 }}", "{% raw %}", "${7*7}", "&lt;script&gt;", "&#60;b&#62;", "＜script＞alert(1)＜/script＞",
    "<base href=//evil.example>", "<meta http-equiv=refresh content=0>", "=HYPERLINK(\"http://evil.example\")",
    "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1+1", "\r=1+1", "'; DROP TABLE accounts; --", "\" OR 1=1 --",
    "\x1b[2J\x1b]0;title\x07", "\x00\x08\x7f", "\u202egnp.exe", "\u2066x\u2069", "\u200f\u200b",
    "[x](javascript:alert(1))", "![x](http://evil.example/x.png)", "`x` **b** _i_", "# head", "| a | b |",
    "http://evil.example", "%00%0a%0d",
)
HOSTILE = [f"{attack} {name}" for name, attack in product(SCRIPTS, ATTACKS)]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> FaultNight:
    books = Books()
    for number, name in enumerate(HOSTILE, 1000):
        key = str(number)
        books.customer(key, DisplayName=name)
        books.hubspot["companies"][-1]["properties"]["name"] = name
        books.invoice(f"{key}1", key, 100, 100, "2026-04-01", DueDate="2026-05-01", DocNumber=name[:21], PrivateNote=name)
        books.deal(f"{key}2", key, "70", dealname=name)
    return FaultNight(tmp_path_factory.mktemp("hostile"), {"hubspot": books.hubspot, "quickbooks": books.quickbooks})


@pytest.fixture(scope="module")
def published(night: FaultNight) -> Path:
    return publish.publish(night.settings, AS_OF, KNOWN_AT)


@pytest.fixture(scope="module")
def shown(night: FaultNight, published: Path) -> Iterator[figures.Report]:
    """The report's figures, with as many rows as there are names."""
    with pytest.MonkeyPatch.context() as patch:
        limit = f"LIMIT {figures.MAX_ROWS}"
        for name, statement in [(name, value) for name, value in vars(queries).items() if isinstance(value, str) and limit in value]:
            patch.setattr(queries, name, statement.replace(limit, "LIMIT 5000"))
        for room in (figures, tables):
            patch.setattr(room, "MAX_ROWS", 5000)
        yield report.collect(published, night.settings)


def test_there_are_many_and_each_arrives_as_it_was_sent(night: FaultNight) -> None:
    assert len(HOSTILE) >= 767 and len(set(HOSTILE)) == len(HOSTILE)
    names = {row["account_name"] for row in night.rows("SELECT account_name FROM account_status")}
    assert len(names) == len(HOSTILE) and {name.strip() for name in names} >= {name for name in HOSTILE if name.isprintable()}


@pytest.mark.chromium
def test_none_is_alive_on_the_page(shown: figures.Report, chromium: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    page_file, happened = report.write_page(shown, tmp_path / "report.html"), []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        page = browser.new_page()
        for event, said in (("request", "url"), ("console", "text"), ("pageerror", "message"), ("dialog", "message")):
            page.on(event, lambda one, said=said: happened.append(getattr(one, said)))
        page.goto(page_file.as_uri())
        names: list[str] = page.locator("[aria-labelledby=overdue] tbody td:first-child").all_inner_texts()
        count = {tag: page.locator(tag).count() for tag in ("script", "style", "img", "iframe", "base", "h1")}
        browser.close()
    assert happened == [page_file.as_uri()]
    assert count == {"script": 1, "style": count["style"], "img": 0, "iframe": 0, "base": 0, "h1": 1} and count["style"] <= 2
    assert len(names) == len(HOSTILE)
    assert {" ".join(name.split()) for name in names} == {" ".join(one_line(name).split()) for name in HOSTILE}


def test_none_is_alive_in_the_mail(shown: figures.Report) -> None:
    body: Any = mail.mail_body(shown)
    assert not any(attack in str(body) for attack in ("<script>alert", "<img src=x", "<iframe", "<svg/onload", "\u202e"))


def test_none_is_a_formula_in_the_workbook(night: FaultNight, published: Path, tmp_path: Path) -> None:
    workbook.write_workbook(published, night.settings, tmp_path / "pack.xlsx")
    book = load_workbook(tmp_path / "pack.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert {str(cell.value).partition("(")[0] for cell in cells if cell.data_type == "f"} <= {"=SUBTOTAL"}
    links = {cell.hyperlink.target or cell.hyperlink.location for cell in cells if cell.hyperlink}
    assert not any("evil.example" in str(link) or "javascript" in str(link) for link in links)
    assert sum("株式会社" in str(cell.value) for cell in cells) > len(ATTACKS)


def test_none_is_alive_in_a_file_or_on_a_terminal(published: Path) -> None:
    answer, written = query.ask(published, "SELECT account_name FROM account_status", 5000), io.StringIO()
    query.write_csv(answer, written)
    told = [row[0] for row in csv.reader(io.StringIO(written.getvalue()))][1:]
    assert len(told) == len(HOSTILE) and not any(text[:1] in "=+-@\t\r" for text in told)
    for name in HOSTILE:
        assert not {unicodedata.category(letter) for letter in show.text(name)} & {"Cc", "Cf", "Cs", "Zl", "Zp"}, name


def test_none_is_alive_in_markdown() -> None:
    for name in HOSTILE:
        page = MarkdownIt("commonmark", {"html": True}).render(report.plain(name))
        assert page.count("<") == 2, name
