"""The month-end workbook: numbers that are the marts', texts that stay texts, and what Excel's limits leave out is said."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import openpyxl
import pytest
from night_fixture import command_here, first_night, house

from pipelines import publish
from pipelines.report import workbook
from pipelines.report.workbook import Limits, link, plain, write_workbook
from pipelines.settings import ConfigurationError, Settings

NAMES = ["Summary", "Deals", "Bridge", "Exceptions", "Ageing", "Tie-out", "Definitions"]
TOTAL, HEADER, FIRST = 3, 4, 5  # as Excel counts rows
HOSTILE = [
    "=1+1", "=HYPERLINK(\"https://evil.example\")", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "{=1}",
    "<r><t>x</t></r>", "<r>&broken", "<r>&broken</r>", "a\x00\x01\x08\x0b\x0c\x1f\ufffe\uffffb", "_x0041_", "<script>x</script> & \"",
    "https://evil.example", "mailto:a@evil.example", "internal:Deals!A1", "file:///etc/passwd", "\u202egnp.exe", "שלום עולם", "🧾" * 20_000,
    "x" * 40_000, "00123", "1e5", "TRUE", "#N/A", "é\u0301", " both ",
]  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """The published marts of the first night, with the house that they are of."""
    with house(tmp_path_factory.mktemp("workbook"), data=first_night(tmp_path_factory), fields=False) as at:
        found = at.built_night()
        yield at, publish.publish(found.settings, found.as_of, found.known_at), found.settings


@pytest.fixture(scope="module")
def book(night, tmp_path_factory):
    """The workbook of that night, with its formulas, and again with the values beside them."""
    _, published, settings = night
    path = write_workbook(published, settings, tmp_path_factory.mktemp("books") / "close.xlsx")
    return openpyxl.load_workbook(path), openpyxl.load_workbook(path, data_only=True)


@pytest.fixture(scope="module")
def labels(night):
    """The label of each number by its mart and column, as published."""
    with duckdb.connect(str(night[1]), read_only=True) as connection:
        rows = connection.execute("SELECT relation, column_name, label FROM metrics").fetchall()
    return {(relation, column): label for relation, column, label in reversed(rows)}


@pytest.fixture
def changed(night, tmp_path):
    """Makes a workbook of the marts after the SQL given, in a copy."""

    def make(*statements: Any, settings: Settings | None = None, **options: Any) -> openpyxl.Workbook:
        copy = tmp_path / "copy.duckdb"
        shutil.copy(night[1], copy)
        with duckdb.connect(str(copy)) as connection:
            for statement, *values in statements:
                connection.execute(statement, values)
        return openpyxl.load_workbook(write_workbook(copy, settings or night[2], tmp_path / "changed.xlsx", **options))

    return make


def configured(settings: Settings, **company: Any) -> Settings:
    """The settings with other values of [company]."""
    values = {**settings.values, "company": MappingProxyType({**settings.values["company"], **company})}
    return dataclasses.replace(settings, values=MappingProxyType(values))


def table(sheet: Any) -> list[dict[str, Any]]:
    """The rows of a sheet as dicts of header to value."""
    headers = [cell.value for cell in sheet[HEADER]]
    rows = sheet.iter_rows(min_row=FIRST, max_row=sheet.max_row, values_only=True)
    return [dict(zip(headers, row, strict=True)) for row in rows if any(value is not None for value in row)]


def facts(sheet: Any) -> dict[str, list[Any]]:
    """The rows of the summary by their first cell, the last of a name; without it and without empty ends."""
    return {row[0]: list(row[1:]) for row in sheet.iter_rows(values_only=True) if row[0] is not None}


def formulas(book: openpyxl.Workbook) -> set[tuple[str, int]]:
    return {(sheet.title, cell.row) for sheet in book for row in sheet.iter_rows() for cell in row if cell.data_type == "f"}


def midnight(day: date) -> datetime:
    """A day as openpyxl reads it."""
    return datetime.combine(day, time())


def close(number: Any, amount: Decimal | None) -> bool:
    """Whether a cell's number is the amount, to the digits that a double holds of it."""
    return number == (None if amount is None else float(amount))


# -- the sheets


def test_every_sheet_is_there_with_its_header_frozen_filtered_and_repeated_in_print(book):
    sheets, _ = book
    assert sheets.sheetnames == NAMES
    for sheet in sheets.worksheets:
        setup = sheet.page_setup
        assert (setup.orientation, int(setup.paperSize), setup.fitToHeight) == ("landscape", 9, 0)
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
    for name in NAMES[1:]:
        sheet = sheets[name]
        assert sheet.freeze_panes == f"B{FIRST}" and sheet.print_title_rows == f"${HEADER}:${HEADER}"
        assert sheet.auto_filter.ref == f"A{HEADER}:{sheet.cell(sheet.max_row, sheet.max_column).coordinate}"
        assert all(sheet.cell(HEADER, column).value for column in range(1, sheet.max_column + 1))
        assert sheet.cell(1, 1).value == name and "As of 2026-06-30." in sheet.cell(2, 1).value


@pytest.mark.parametrize("name, relation, order", [
    ("Deals", "fct_deal_reconciliation", "deal_id"), ("Bridge", "fct_deal_variance_bridge", "deal_id, cause"),
    ("Exceptions", "rpt_exceptions", "kind, record_id"), ("Ageing", "rpt_receivables_ageing", "customer_id"),
    ("Tie-out", "rpt_tie_out", "customer_id"), ("Definitions", "metrics", "label"),
])  # fmt: skip
def test_every_row_of_the_mart_is_a_row_of_the_sheet(night, book, name, relation, order):
    at, _, _ = night
    expected = at.rows(f"SELECT count(*) AS rows FROM marts.{relation}")[0]["rows"]
    assert len(table(book[0][name])) == expected > 0
    assert f"{expected:,} rows." in book[0][name].cell(2, 1).value


def test_the_deals_are_the_marts_numbers_and_dates(night, book, labels):
    at, _, _ = night
    found = {row["Deal id"]: row for row in table(book[0]["Deals"])}
    deals = at.rows("""SELECT deals.*, owners.name AS owner, DATE '2026-06-30' - close_date AS age
                       FROM marts.fct_deal_reconciliation AS deals LEFT JOIN marts.dim_owners AS owners USING (source, owner_id)""")
    assert len(deals) == len(found) >= 30
    for deal in deals:
        row = found[deal["deal_id"]]
        for column in ("contracted_base", "invoiced_base", "collected_base", "variance_base", "contracted_amount", "invoiced_amount"):
            assert close(row[labels["fct_deal_reconciliation", column]], deal[column]), (deal["deal_id"], column)
        assert [row[label] for label in ("Deal", "Owner", "Status", "Main cause")] == [
            deal[column] for column in ("name", "owner", "status", "main_cause")]
        assert row["Closed"] == midnight(deal["close_date"]) and row["Days since close"] == deal["age"]


def test_totals_are_the_marts_and_the_only_formulas(night, book, labels):
    at, _, _ = night
    sheets, values = book
    assert formulas(sheets) == {("Deals", TOTAL), ("Bridge", TOTAL), ("Ageing", TOTAL)}
    wanted = [
        ("Deals", "fct_deal_reconciliation", "contracted_base", "sum(contracted_base) AS total FROM marts.fct_deal_reconciliation"),
        ("Deals", "fct_deal_reconciliation", "invoiced_base", "sum(invoiced_base) AS total FROM marts.fct_deal_reconciliation"),
        ("Deals", "fct_deal_reconciliation", "variance_base", "sum(amount_base) AS total FROM marts.fct_deal_variance_bridge"),
        ("Bridge", "fct_deal_variance_bridge", "amount_base", "sum(variance_base) AS total FROM marts.fct_deal_reconciliation"),
        ("Ageing", "rpt_receivables_ageing", "net_outstanding", "sum(ours_base) AS total FROM marts.rpt_tie_out WHERE level = 'ledger'"),
        ("Ageing", "rpt_receivables_ageing", "bucket_91_plus", "sum(bucket_91_plus) AS total FROM marts.rpt_receivables_ageing"),
    ]  # fmt: skip
    for name, relation, mart_column, sql in wanted:
        label = labels[relation, mart_column]
        column = [cell.value for cell in sheets[name][HEADER]].index(label) + 1
        letter, last = openpyxl.utils.get_column_letter(column), sheets[name].max_row
        assert sheets[name].cell(TOTAL, column).value == f"=SUBTOTAL(109,{letter}{FIRST}:{letter}{last})"
        (row,) = at.rows(f"SELECT {sql}")
        assert close(values[name].cell(TOTAL, column).value, row["total"])
        added = sum(Decimal(repr(found[label] or 0)) for found in table(sheets[name]))  # what Excel will make of its own cells
        assert abs(added - row["total"]) < Decimal("0.000001")


def test_numbers_and_dates_have_their_format(book, labels):
    deals, of = book[0]["Deals"], "fct_deal_reconciliation"
    formats = {deals.cell(HEADER, cell.column).value: (cell.data_type, cell.number_format) for row in deals.iter_rows(min_row=FIRST)
               for cell in row if cell.value is not None}
    assert formats[labels[of, "contracted_base"]] == ("n", "#,##0.00") and formats["Closed"] == ("d", "yyyy-mm-dd")
    assert formats["Deal id"] == ("s", "@") and formats[labels[of, "document_count"]] == ("n", "#,##0")


def test_a_header_says_what_its_number_is(night, book, labels):
    at, _, _ = night
    of = "fct_deal_reconciliation"
    notes = {cell.value: cell.comment.text for cell in book[0]["Deals"][HEADER] if cell.comment}
    for column in ("contracted_base", "invoiced_base", "collected_base", "variance_base"):
        label = labels[of, column]
        (row,) = at.rows("SELECT definition, owner FROM marts.metrics WHERE (relation, column_name, label) = (?, ?, ?)", of, column, label)
        assert notes[label].startswith(f"{row['definition']}\nOwner: {row['owner']}")


def test_the_definitions_are_the_published_ones(night, book):
    at, _, _ = night
    rows = at.rows("SELECT label, definition, owner, unit, relation, column_name FROM marts.metrics")
    shown = [tuple(row.values()) for row in table(book[0]["Definitions"])]
    assert sorted(shown) == sorted(tuple(row.values()) for row in rows) and len(shown) >= 50


# -- the summary


def test_the_summary_says_what_it_is_of_and_whether_it_ties(night, book):
    _, _, settings = night
    summary = facts(book[0]["Summary"])
    assert summary["As of"][0] == midnight(date(2026, 6, 30)) and summary["Amounts in"][0] == "USD"
    assert summary["Tie-out of all ledgers"][0] == "tied" and summary["quickbooks"][0] in ("tied", "ledger")
    assert summary["Heard up to (UTC)"][0].tzinfo is None


def test_the_summary_has_the_months_numbers(night, book, labels):
    at, _, _ = night
    months = {row["month"]: row for row in at.rows("SELECT * FROM marts.revenue_cycle_monthly")}
    summary = book[0]["Summary"]
    start = next(row for row in range(1, summary.max_row) if summary.cell(row, 1).value == "The cycle by month")
    header = [cell.value for cell in summary[start + 1]][1:6]
    wanted = [date(2026, 6, 1), date(2026, 5, 1), date(2025, 6, 1)]
    assert header == [*map(midnight, wanted), "Quarter to date", "Months ahead"]
    shown = {}
    for row in range(start + 2, summary.max_row):
        if summary.cell(row, 1).value is None:
            break
        shown[summary.cell(row, 1).value] = [summary.cell(row, column).value for column in range(2, 8)]
    of = "revenue_cycle_monthly"
    metrics = at.rows("SELECT label, column_name, owner FROM marts.metrics WHERE relation = 'revenue_cycle_monthly'")
    assert set(shown) == {label for (relation, _), label in labels.items() if relation == of} and len(shown) >= 13
    for row in metrics:
        expected = [months[month][row["column_name"]] for month in wanted]
        assert all(close(cell, value) for cell, value in zip(shown[row["label"]][:3], expected, strict=True)), row
        assert shown[row["label"]][5] == row["owner"]
    quarter = sum(months[date(2026, month, 1)]["bookings"] for month in (4, 5, 6))
    assert close(shown[labels[of, "bookings"]][3], quarter)
    for column in ("order_to_invoice_days", "discrepancy_share", "outstanding"):  # these do not add up
        assert shown[labels[of, column]][3:5] == [None, None]
    ahead = sum(row["pipeline_weighted"] for month, row in months.items() if month > date(2026, 6, 1))
    assert close(shown[labels[of, "pipeline_weighted"]][4], ahead)


def test_the_quarter_is_the_fiscal_one(changed, night, labels):
    """A year that starts in February: June is the second month of its quarter."""
    at, _, settings = night
    summary = facts(changed(settings=configured(settings, fiscal_year_start=2))["Summary"])
    (row,) = at.rows("SELECT sum(bookings) AS total FROM marts.revenue_cycle_monthly WHERE month BETWEEN '2026-05-01' AND '2026-06-01'")
    assert close(summary[labels["revenue_cycle_monthly", "bookings"]][3], row["total"])


def test_the_months_bridge_is_the_marts(night, book):
    at, _, _ = night
    rows = at.rows("SELECT amount_base FROM marts.rpt_bridge_monthly WHERE month = '2026-06-01' AND line NOT IN ('contracted', 'invoiced')")
    summary = book[0]["Summary"]
    start = next(row for row in range(1, summary.max_row) if summary.cell(row, 1).value == "From contracted to invoiced for deals")
    lines = []
    while summary.cell(start + 2 + len(lines), 1).value is not None:
        lines.append([summary.cell(start + 2 + len(lines), column).value for column in range(1, 6)])
    assert [lines[0][0], lines[-1][0]] == ["contracted", "invoiced"]
    for column in range(1, 5):  # each month adds up
        assert sum(Decimal(repr(line[column])) for line in lines[:-1]) == Decimal(repr(lines[-1][column]))
    assert sorted(line[1] for line in lines[1:-1] if line[1]) == sorted(float(row["amount_base"]) for row in rows)


def test_everything_adds_up_and_what_does_not_is_said(book, changed):
    checks = [row for row in book[0]["Summary"].iter_rows(values_only=True) if row[5] in ("adds up", "DOES NOT ADD UP")]
    assert len(checks) >= 13 and {row[5] for row in checks} == {"adds up"} and {row[4] for row in checks} == {0}
    assert {row[1] for row in checks} == set(NAMES[1:])
    lost = changed(("DELETE FROM fct_deal_variance_bridge WHERE cause = 'scheduled'",), ("INSERT INTO dim_owners FROM dim_owners",))
    wrong = {row[0]: row[4] for row in lost["Summary"].iter_rows(values_only=True) if row[5] == "DOES NOT ADD UP"}
    assert "The causes of all deals add up to the variance of all deals" in wrong and all(wrong.values())
    assert "Rows on the sheet, and rows of fct_deal_reconciliation" in wrong


def test_a_ledger_that_does_not_tie_is_seen_first(changed):
    untied = changed(("UPDATE rpt_tie_out SET is_tied = false, kind = 'journal', difference = 1 WHERE level = 'ledger'",))
    assert facts(untied["Summary"])["Tie-out of all ledgers"][0] == "NOT TIED"
    silent = changed(("DELETE FROM rpt_tie_out",))
    assert facts(silent["Summary"])["Tie-out of all ledgers"][0] == "NOT TIED"
    assert "quickbooks is not compared: it gave no report of the day." in silent["Tie-out"].cell(2, 1).value


# -- vendors' texts


def test_vendors_texts_stay_texts(changed):
    numbered = [(f"deal {number}", text) for number, text in enumerate(HOSTILE)]
    hostile = changed(
        *[("INSERT INTO fct_deal_reconciliation (source, deal_id, name, account_id, status, main_cause, currency, url) "
           "VALUES ('crm', $1, $2, $1, $2, $2, $2, $2)", record, text) for record, text in numbered],
        *[("INSERT INTO dim_accounts (source, account_id, name) VALUES ('crm', $1, $2)", record, text) for record, text in numbered],
        *[("INSERT INTO rpt_exceptions (kind, severity, source, object, record_id, message, url) VALUES ($1, $1, $1, $1, $1, $1, "
           "'https://a.example')", text) for text in HOSTILE],
        ("UPDATE rpt_tie_out SET customer_name = '=1+1', kind = '=1+1' WHERE level = 'customer'",),
        ("UPDATE rpt_receivables_ageing SET customer_name = '@SUM(A1)', url = 'javascript:alert(1)'",),
        ("UPDATE sync_health SET hold_reason = '=1+1', source = '=1+1'",),
    )
    assert {row for _, row in formulas(hostile)} == {TOTAL}
    shown = {row["Deal id"]: row for row in table(hostile["Deals"])}
    for record, text in numbered:
        row = shown[record]
        for label in ("Deal", "Account", "Status", "Main cause"):
            assert _read(row[label]) == plain(text), label
    messages = [_read(row["What is wrong"]) for row in table(hostile["Exceptions"])]
    assert {plain(text) for text in HOSTILE} <= set(messages)
    links = [cell.hyperlink for sheet in hostile for row in sheet.iter_rows() for cell in row if cell.hyperlink]
    assert links and all(one.target.startswith("https://") and one.location is None for one in links)


def _read(text: str | None) -> str:
    """A cell's text as Excel reads it: it undoes the escape of what looks like an escape."""
    return (text or "").replace("_x005F_", "_")


@pytest.mark.parametrize("text, held", [
    ("a\r\nb\rc", "a\nb\nc"), ("a\x00b\x1fc\ud800d", "abcd"), ("<r>x</r>", "<r>x</r> "), ("=1", "=1"), ("x" * 32_767, "x" * 32_767),
    (7, "7"),
])  # fmt: skip
def test_a_text_is_what_a_cell_can_hold(text, held):
    assert plain(text) == held


@pytest.mark.parametrize("text", ["x" * 32_768, "🧾" * 16_384, "x" * 32_766 + "🧾"])
def test_a_text_that_is_too_long_is_cut_and_says_so(text):
    held = plain(text)
    assert held.endswith(workbook.CUT) and 32_765 <= len(held.encode("utf-16-le")) // 2 <= 32_767
    assert text.startswith(held.removesuffix(workbook.CUT))


@pytest.mark.parametrize("url, followed", [
    ("https://app.hubspot.com/contacts/1/deal/2", True), ("https://app.qbo.intuit.com/app/invoice?txnId=1&x=%20#top", True),
    ("http://plain.example", False), ("javascript:alert(1)", False), (" https://space.example", False), ("file:///etc/passwd", False),
    ("internal:Deals!A1", False), ("https://x.example/\x00", False), ("https://x.example/\n", False),
    ("https://x.example/" + "a" * 700, False), (None, False),
])  # fmt: skip
def test_only_safe_links_are_followed(url, followed):
    assert link(url) == (url if followed else None)


def test_a_link_is_on_the_records_name(changed):
    good = "https://app.qbo.intuit.com/app/invoice?txnId=1&x=%20#top"
    sql = "UPDATE fct_deal_reconciliation SET url = CASE WHEN status = 'Review' THEN $1 ELSE 'javascript:alert(1)' END"
    sheet = changed((sql, good))["Deals"]
    status = [cell.value for cell in sheet[HEADER]].index("Status") + 1
    for row in range(FIRST, sheet.max_row + 1):
        cell = sheet.cell(row, 1)
        followed = cell.hyperlink and f"{cell.hyperlink.target}#{cell.hyperlink.location}"
        assert cell.value and followed == (good if sheet.cell(row, status).value == "Review" else None)


# -- limits and errors


def test_more_rows_and_links_than_a_sheet_holds_are_said_not_lost_silently(changed, night):
    at, _, _ = night
    count = at.rows("SELECT count(*) AS rows FROM marts.fct_deal_reconciliation")[0]["rows"]
    short = changed(("UPDATE fct_deal_reconciliation SET url = 'https://a.example'",), limits=Limits(rows=4 + 7, links=3))
    sheet = short["Deals"]
    assert sheet.max_row == 4 + 7 and sum(1 for row in sheet.iter_rows() for cell in row if cell.hyperlink) == 3
    said = sheet.cell(2, 1).value
    assert f"{count} rows. ONLY THE FIRST 7 ARE HERE" in said and "fct_deal_reconciliation" in said
    assert "Only the first 3 records are linked" in said
    check = facts(short["Summary"])["Rows on the sheet, and rows of fct_deal_reconciliation"]
    assert check[1:5] == [7, count, 7 - count, "DOES NOT ADD UP"]


def test_empty_marts_make_an_empty_pack(changed, night):
    at, _, _ = night
    names = [row["table_name"] for row in at.rows(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts' AND table_name <> 'metrics'")]
    empty = changed(*[(f'DELETE FROM "{name}"',) for name in names])
    assert empty.sheetnames == NAMES and len(names) >= 20
    for name in NAMES[1:-1]:
        assert table(empty[name]) == [] and "0 rows." in empty[name].cell(2, 1).value
        assert empty[name].auto_filter.ref.startswith(f"A{HEADER}:")
    assert facts(empty["Summary"])["Tie-out of all ledgers"][0] == "not compared"


def test_dates_and_numbers_that_excel_cannot_hold_are_not_lost(changed, labels):
    sheet = changed(("UPDATE fct_deal_reconciliation SET close_date = '0987-06-05', first_invoice_date = '9999-12-31', "
                     "contracted_base = 1234567890123.45, contracted_amount = 9999999999999999999999.123456",))["Deals"]
    row = table(sheet)[0]
    assert row["Closed"] == "0987-06-05" and row["First invoice"] == midnight(date(9999, 12, 31))
    assert Decimal(repr(row[labels["fct_deal_reconciliation", "contracted_base"]])) == Decimal("1234567890123.45")
    assert row[labels["fct_deal_reconciliation", "contracted_amount"]] == 1e22


def test_money_and_dates_are_shown_as_the_company_writes_them(changed, night, labels):
    settings = configured(night[2], base_currency="KWD", date_format="31/12/2026", name="=cmd()")
    made = changed(("UPDATE fct_deal_reconciliation SET currency = 'JPY'",), settings=settings)
    formats = {made["Deals"].cell(HEADER, cell.column).value: cell.number_format for cell in made["Deals"][FIRST]}
    assert formats[labels["fct_deal_reconciliation", "contracted_amount"]] == "#,##0"
    assert formats[labels["fct_deal_reconciliation", "contracted_base"]] == "#,##0.000" and formats["Closed"] == r"dd\/mm\/yyyy"
    assert facts(made["Summary"])["Company"][0] == "=cmd()" and made["Summary"]["B2"].data_type == "s"


def test_the_same_marts_give_the_same_bytes(night, tmp_path):
    _, published, settings = night
    one, other = (write_workbook(published, settings, tmp_path / name / "close.xlsx").read_bytes() for name in ("one", "other"))
    assert one == other and one.startswith(b"PK")
    created = openpyxl.load_workbook(tmp_path / "one" / "close.xlsx").properties.created
    with duckdb.connect(str(published), read_only=True) as connection:
        known_at = connection.execute("SELECT known_at FROM published_night").fetchone()[0]
    assert created.replace(tzinfo=UTC) == known_at


def test_a_workbook_replaces_the_one_before_in_one_step(night, tmp_path):
    _, published, settings = night
    path = tmp_path / "close.xlsx"
    path.write_bytes(b"somebody's older workbook")
    assert write_workbook(published, settings, path) == path
    assert [one.name for one in tmp_path.iterdir()] == ["close.xlsx"] and path.read_bytes().startswith(b"PK")


def test_what_cannot_be_made_is_said_with_its_remedy(night, tmp_path):
    _, published, settings = night
    with pytest.raises(ConfigurationError, match=r"close\.csv does not end in \.xlsx"):
        write_workbook(published, settings, tmp_path / "close.csv")
    with pytest.raises(ConfigurationError, match="crossfoot run"):
        write_workbook(tmp_path / "none.duckdb", settings, tmp_path / "close.xlsx")
    older = Path(shutil.copy(published, tmp_path / "older.duckdb"))
    with duckdb.connect(str(older)) as connection:
        connection.execute("DELETE FROM metrics WHERE column_name = 'variance_base'")
    with pytest.raises(ConfigurationError, match=r"fct_deal_reconciliation\.variance_base"):
        write_workbook(older, settings, tmp_path / "close.xlsx")
    with duckdb.connect(str(older)) as connection:
        connection.execute("DROP TABLE metrics")
    with pytest.raises(ConfigurationError, match="no table metrics"):
        write_workbook(older, settings, tmp_path / "close.xlsx")
    assert not (tmp_path / "close.xlsx").exists()


def test_the_command_writes_it_where_it_is_told(night, tmp_path, monkeypatch, capsys):
    at, published, settings = night
    monkeypatch.chdir(tmp_path)
    told = command_here(monkeypatch, capsys, "--data-dir", at.data, "--json", "report", "--xlsx", "close.xlsx")
    assert (told.code, told.json["written"][-1]) == (0, "close.xlsx")
    assert (tmp_path / "close.xlsx").read_bytes() == write_workbook(published, settings, tmp_path / "again.xlsx").read_bytes()
    refused = command_here(monkeypatch, capsys, "--data-dir", at.data, "report", "close.xlsx")
    assert refused.code == 2 and "--xlsx" in refused.err
