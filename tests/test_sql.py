"""`crossfoot sql`, `export` and `docs`: reading only, exact, bounded, and harmless on a terminal and in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import duckdb
import pytest
import yaml
from night_fixture import command_here, environment, first_night

from pipelines import landing, query
from pipelines.query import ask
from pipelines.vendors import VENDORS

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "dbt_project" / "models"
EVIL = "=cmd|' /C calc'!A0\x1b[31m\u202eevil\nnext \x9b line"


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder with a published file of one small mart."""
    path = tmp_path / "data" / "published" / "crossfoot.duckdb"
    with landing.connect(path) as connection:
        connection.execute("CREATE TABLE owed AS SELECT range AS id, (range * 1.005)::DECIMAL(28,6) AS amount, DATE '2026-06-30' AS due, "
                           "TIMESTAMPTZ '2026-06-30 22:00:00+00' AS heard FROM range(100)")
        connection.execute("CREATE TABLE names (name VARCHAR, amount DECIMAL(28,6))")
        connection.execute("INSERT INTO names VALUES (?, ?), ('Bären', NULL)", [EVIL, Decimal("-1234567890123456.789012")])
    return tmp_path / "data"


@pytest.fixture
def command(data, monkeypatch, capsys):
    monkeypatch.chdir(data.parent)
    return lambda *arguments: command_here(monkeypatch, capsys, "--data-dir", data, *arguments)


def published(data: Path) -> Path:
    return data / "published" / "crossfoot.duckdb"


def test_a_table_shows_all_digits_and_how_many_rows_there_are_besides(command):
    ended = command("sql", "FROM owed SELECT id, amount, due ORDER BY id DESC")
    lines = ended.out.splitlines()
    assert ended.code == 0 and lines[0].split() == ["id", "amount", "due"]
    assert lines[2] == "99  99.495  2026-06-30" and lines[1].startswith("--  ------")
    assert len(lines) == 43 and lines[-1].startswith("60 more rows are not shown; `crossfoot sql --limit NUMBER`")
    assert len(command("sql", "FROM owed", "--limit", "100").out.splitlines()) == 102


@pytest.mark.parametrize("value, shown", [
    (Decimal("1234.500000"), "1,234.50"), (Decimal("0.000001"), "0.000001"), (Decimal("5"), "5"), (Decimal("12.3"), "12.3"),
    (Decimal("-1234567890123456.789012"), "-1,234,567,890,123,456.789012"), (Decimal("1E+3"), "1,000"), (Decimal("0.000000"), "0.00"),
    (None, None), (7, 7), (float("nan"), "nan"), (b"\x00\xff", "00ff"), ([Decimal("1.50")], ["1.50"]),
])  # fmt: skip
def test_a_number_is_shown_as_it_is(value, shown):
    assert query.exact(value) == shown


def test_what_a_vendor_wrote_moves_no_cursor(command):
    shown = command("sql", "FROM names SELECT name, name AS \"\x1b[2Jx\"").out + command("--json", "sql", "FROM names").out
    assert shown.count("evil") == 3 and [sign for sign in shown if not sign.isprintable() and sign != "\n"] == []
    refused = command("sql", "SELECT name::INTEGER FROM names")
    assert refused.code == 2 and "Conversion Error" in refused.err and "evil" in refused.err
    assert [sign for sign in refused.err if not sign.isprintable() and sign != "\n"] == []


def test_json_is_exact(command):
    ended = command("--json", "sql", "FROM names SELECT name, amount, amount, 1 AS amount_2, 'nan'::DOUBLE AS f, {a: amount} AS s")
    assert [column["name"] for column in ended.json["columns"]] == ["name", "amount", "amount_2", "amount_2_2", "f", "s"]
    assert ended.json["columns"][1]["type"] == "DECIMAL(28,6)"
    assert ended.json["rows"][0] == {"name": EVIL, "amount": "-1234567890123456.789012", "amount_2": "-1234567890123456.789012",
                                     "amount_2_2": 1, "f": "nan", "s": {"a": "-1234567890123456.789012"}}
    assert ended.json["rows"][1]["name"] == "Bären" and "Bären" in ended.out and ended.json["more"] == 0


def test_csv_has_numbers_and_no_formula(command):
    ended = command("sql", "FROM names SELECT name, amount, [name] AS l", "--csv")
    rows = list(csv.reader(io.StringIO(ended.out)))
    assert rows[0] == ["name", "amount", "l"] and rows[1][1] == "-1234567890123456.789012" and rows[2] == ["Bären", "", '["Bären"]']
    assert rows[1][0].startswith("'=cmd") and "\x1b" not in ended.out and "\u202e" not in ended.out
    cut = command("sql", "FROM owed", "--csv", "--limit", "3")
    assert len(cut.out.splitlines()) == 4 and cut.err.startswith("97 more rows are not shown")


def test_rows_are_counted_to_a_limit_only(data, monkeypatch):
    monkeypatch.setattr(query, "MAX_COUNTED", 50)
    monkeypatch.setattr(query, "BATCH_ROWS", 20)
    found = ask(published(data), "FROM owed, names", 10)
    assert (len(found.rows), found.more, found.is_counted) == (10, 60, False)
    assert (ask(published(data), "FROM owed LIMIT 30", 10).more, ask(published(data), "FROM owed LIMIT 10", 10).more) == (20, 0)


@pytest.mark.parametrize("sql, says", [
    ("DROP TABLE owed", "the SQL is DROP; the published marts are only read: write SELECT"),
    ("INSERT INTO owed SELECT * FROM owed", "the SQL is INSERT"), ("CREATE TEMP TABLE t AS SELECT 1", "the SQL is CREATE"),
    ("ATTACH 'other.duckdb'", "the SQL is ATTACH"), ("COPY owed TO 'out.csv'", "the SQL is COPY"),
    ("SET enable_external_access = true", "the SQL is SET"), ("INSTALL httpfs", "the SQL is LOAD"),
    ("EXPORT DATABASE 'out'", "the SQL is EXPORT"),
    ("SELECT 1; DROP TABLE owed", "the SQL holds 2 statements; write one"), ("", "the SQL holds 0 statements"),
    ("SELECT * FROM read_text('/etc/hostname')", "file system operations are disabled"),
    ("FROM read_csv('*')", "file system operations are disabled"), ("FROM '/etc/hostname'", "does not exist"),
    ("FROM read_parquet('https://example.com/x')", "Permission Error"),
    ("SELECT nope FROM owed", "Referenced column \"nope\" not found"), ("SELEC 1", "syntax error at or near \"SELEC\""),
])  # fmt: skip
def test_nothing_but_reading_the_published_file_is_possible(command, data, sql, says):
    before = published(data).read_bytes()
    ended = command("sql", sql)
    assert ended.code == 2 and ended.out == "" and says in ended.err
    assert published(data).read_bytes() == before and sorted(path.name for path in data.parent.iterdir()) == ["data"]


@pytest.mark.parametrize("sql", ["SHOW TABLES", "DESCRIBE owed", "SUMMARIZE owed", "PIVOT owed ON due USING sum(amount)", "VALUES (1)",
                                 "WITH a AS (FROM owed) FROM a", "SELECT column_name, comment FROM duckdb_columns()"])
def test_every_way_to_read_works(data, sql):
    assert ask(published(data), sql, 5).rows


def test_the_locks_hold_whatever_the_statement(data):
    with landing.connect(published(data), read_only=True) as connection:
        for lock in query.LOCKS:
            connection.execute(lock)
        for sql in ("SET enable_external_access = true", "COPY owed TO 'out.csv'", "ATTACH 'other.duckdb'", "INSTALL httpfs"):
            with pytest.raises(duckdb.Error):
                connection.execute(sql)


@pytest.mark.parametrize("arguments", [("sql", "SELECT 1"), ("export", "--parquet", "out")])
def test_before_the_first_night_there_is_nothing(command, data, arguments):
    published(data).unlink()
    ended = command(*arguments)
    assert ended.code == 2 and "does not exist); `crossfoot run` publishes at the end of a good night" in ended.err
    assert not published(data).exists()


def test_one_form_is_chosen(command):
    assert command("--json", "sql", "SELECT 1", "--csv").json == {"errors": ["--csv and --json are both given; choose one"]}


# -- files


def test_parquet_keeps_decimals_dates_and_texts(command, data, tmp_path):
    folder = tmp_path / "it's here"
    ended = command("--json", "export", "--parquet", folder)
    assert ended.json == {"written": [str(folder / "names.parquet"), str(folder / "owed.parquet")]}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        name = str(folder / "*.parquet").replace("'", "''")
        types = connection.execute(f"DESCRIBE FROM '{name.replace('*', 'owed')}'").fetchall()
        rows = connection.execute(f"FROM '{name.replace('*', 'owed')}' LIMIT 2").fetchall()
        names = connection.execute(f"FROM '{name.replace('*', 'names')}'").fetchall()
    assert [row[1] for row in types] == ["BIGINT", "DECIMAL(28,6)", "DATE", "TIMESTAMP WITH TIME ZONE"]
    assert rows[1] == (1, Decimal("1.005"), date(2026, 6, 30), datetime(2026, 6, 30, 22, tzinfo=UTC))
    assert names[0] == (EVIL, Decimal("-1234567890123456.789012"))


def test_files_are_replaced_together_or_not_at_all(data, tmp_path):
    folder = tmp_path / "out"
    query.export_parquet(published(data), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / ".owed.parquet.new").mkdir()
    with landing.connect(published(data)) as connection:
        connection.execute("DELETE FROM names")
    with pytest.raises((duckdb.Error, OSError)):
        query.export_parquet(published(data), folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == before


# -- documentation


@cache
def exposures() -> dict[str, set[str]]:
    """What dbt is told to be made of the models: the relations of each exposure."""
    found = {}
    for text in (path.read_text(encoding="utf-8") for path in MODELS.rglob("*.yml")):
        for one in yaml.safe_load(text)["exposures"] if "\nexposures:" in text else ():
            found[one["name"]] = {re.fullmatch(r"ref\('(\w+)'\)", ref).group(1) for ref in one["depends_on"]}
    return found


def test_everything_that_is_written_to_a_crm_is_an_exposure():
    found = exposures()
    for slug in (slug for slug, card in VENDORS.items() if card.side == "crm"):
        assert found[f"{slug}_fields"] == {path.stem for path in (MODELS / "activation" / slug).glob("*.sql")}


def test_the_exposure_of_the_report_names_the_marts_that_it_reads():
    marts = {path.stem for path in (MODELS / "marts").glob("*.sql")} | {"metrics"}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipelines" / "report").glob("*.py"))
    assert {mart for mart in marts if re.search(rf"(?:FROM|JOIN)\s+{mart}\b", code)} == exposures()["revenue_cycle_report"]


def test_docs_is_one_page_that_loads_nothing_from_the_network(tmp_path_factory, monkeypatch, capsys, chromium):
    data = tmp_path_factory.mktemp("docs")
    shutil.copytree(first_night(tmp_path_factory), data, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("dlt", "logs", "compiled", "run"))
    ended = command_here(monkeypatch, capsys, "--data-dir", data, "--json", "docs")
    page = data / "docs" / "index.html"
    assert ended.code == 0 and ended.json == {"page": str(page)}
    from playwright.sync_api import sync_playwright

    requests: list[str] = []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser:
        shown = browser.new_page()
        shown.on("request", lambda request: requests.append(request.url))
        shown.goto(f"{page.as_uri()}#!/model/model.crossfoot.account_status")
        shown.get_by_text("Sum of open invoices before credit, base currency.").first.wait_for(timeout=30_000)
        shown.goto(f"{page.as_uri()}#!/exposure/exposure.crossfoot.revenue_cycle_report")
        shown.get_by_text("read from the published marts only").first.wait_for(timeout=30_000)
        own = list(requests)
        shown.route("http://elsewhere.test/*", lambda route: route.fulfill(body="here"))  # somebody would answer
        tried = shown.evaluate("fetch('http://elsewhere.test/x', {mode: 'no-cors'}).then(() => 'answered', String)")
    assert [url for url in own if not url.startswith("file://")] == []
    assert "Failed to fetch" in tried, "the page's own rule lets nothing out"


def test_docs_needs_a_build(command):
    ended = command("docs")
    assert ended.code == 2 and "holds no models yet" in ended.err


# -- bounds


@pytest.mark.parametrize("sql, says", [
    ("SELECT count(*) FROM range(100000000000) a, range(1000) b", r"took longer than 0.2 seconds; ask for less, or raise \[sql\] seconds"),
    ("SELECT repeat('x', 100000000) FROM range(1000)", r"more than 100 MB of memory; ask for less, or raise \[sql\] memory_megabytes"),
    ("SELECT list(i) FROM range(1000000000) t(i)", "more than 100 MB of memory"),
])  # fmt: skip
def test_a_question_has_bounds_of_time_and_memory(data, sql, says):
    seconds = 0.2 if "longer" in says else 20
    before, began = resource.getrlimit(resource.RLIMIT_AS), time.monotonic()
    with pytest.raises(query.QueryRefused, match=says):
        ask(published(data), sql, 10, query.Bounds(seconds, 100))
    assert time.monotonic() - began < 10 and resource.getrlimit(resource.RLIMIT_AS) == before
    assert ask(published(data), "SELECT 1", 10, query.Bounds(seconds, 100)).rows == [(1,)]
    assert [path.name for path in published(data).parent.iterdir()] == ["crossfoot.duckdb"], "nothing was put aside on the disk"


def test_a_question_that_cannot_be_interrupted_ends_the_command(data, tmp_path):
    """One value of one row, on which DuckDB works without looking up."""
    config = tmp_path / "crossfoot.toml"
    config.write_text('profile = "sandbox"\n[sql]\nseconds = 1\n', encoding="utf-8")
    code = ("import sys; from pipelines import query; query.GRACE_SECONDS = 0.1\nfrom flows.cli import main\nmain()")
    slow = "SELECT levenshtein(repeat('ab', 100000), repeat('ba', 100000))"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, "--config", config, "--data-dir", data, "--json", "sql", slow], cwd=tmp_path,
                          env=environment(), text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2 and "took longer than 1 seconds" in done.stderr and "took longer" in json.loads(done.stdout)["errors"][0]
    assert time.monotonic() - began < 30


def test_bounds_are_settings(command, data):
    (data.parent / "crossfoot.toml").write_text('profile = "sandbox"\n[sql]\nmemory_megabytes = 20\n', encoding="utf-8")
    ended = command("sql", "SELECT list(i) FROM range(1000000000) t(i)")
    assert ended.code == 2 and "more than 20 MB of memory" in ended.err
