"""What changed in a month after it was reported, by document: every kind of change, once, and nothing that is none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from raw_rows import create_raw_tables
from test_dbt_models import Company, Warehouse

REPORT_DAY, REPORT = date(2026, 6, 10), datetime(2026, 6, 11, 2, tzinfo=UTC)
LATER_DAY, LATER = date(2026, 6, 30), datetime(2026, 7, 1, 2, tzinfo=UTC)
LAST_DAY, LAST = date(2026, 7, 8), datetime(2026, 7, 9, 2, tzinfo=UTC)
MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)
MAY_DAY, JUNE_DAY = date(2026, 5, 12), date(2026, 6, 3)
SQL = ("SELECT month, measure, document_type, document_id, change, amount_then, amount_now, difference, reported_at, changed_at "
       "FROM marts.rpt_restatements ORDER BY month, document_type, document_id")


def started(path: Path, known_at: datetime, as_of: date) -> Company:
    company = Company(known_at)
    company.add("raw_crossfoot.nights", as_of=as_of, known_at=known_at, mart="account_status", sha256="0" * 64)
    for source in ("hubspot", "quickbooks"):
        company.add("raw_crossfoot.loads", source=source, known_at=known_at, status="complete", calls=1, rows=1)
    return company


def first(company: Company) -> None:
    company.base()
    company.pair("acme")
    for name in ("untouched", "voided", "deleted", "raised", "renamed", "paid_later"):
        company.invoice(name, "acme", "100", txn_date=MAY_DAY, tax="20")
    company.invoice("moved", "acme", "70", txn_date=MAY_DAY)
    company.invoice("revalued", "acme", "100", txn_date=MAY_DAY, currency="EUR", exchange_rate="1.1")
    company.invoice("both", "acme", "100", txn_date=MAY_DAY, currency="EUR", exchange_rate="1.1")
    company.invoice("june_changed", "acme", "5", txn_date=JUNE_DAY)
    company.credit_note("credit", "acme", "30", txn_date=MAY_DAY)
    company.payment("bounced", "acme", "40", txn_date=MAY_DAY)
    company.payment("kept", "acme", "120", ("Invoice", "untouched", "120"), txn_date=MAY_DAY)


def second(company: Company) -> None:
    newer = {"sync_token": "1"}
    company.invoice("late", "acme", "11", txn_date=MAY_DAY)
    company.invoice("voided", "acme", "0", txn_date=MAY_DAY, private_note="Voided", balance=0, **newer)
    company.delete("raw_quickbooks.invoices", "deleted")
    company.invoice("raised", "acme", "125", txn_date=MAY_DAY, tax="25", **newer)
    company.invoice("renamed", "acme", "100", txn_date=MAY_DAY, tax="20", memo="another text", due_date=LAST_DAY, **newer)
    company.invoice("moved", "acme", "70", txn_date=JUNE_DAY, **newer)
    company.invoice("revalued", "acme", "100", txn_date=MAY_DAY, currency="EUR", exchange_rate="1.2", **newer)
    company.invoice("both", "acme", "200", txn_date=MAY_DAY, currency="EUR", exchange_rate="1.2", **newer)
    # June was not reported yet: a change of it is the ordinary course of things.
    company.invoice("june_changed", "acme", "6", txn_date=JUNE_DAY, **newer)
    company.credit_note("credit", "acme", "35", txn_date=MAY_DAY, **newer)
    company.delete("raw_quickbooks.payments", "bounced")
    company.payment("found", "acme", "15", txn_date=MAY_DAY)
    company.payment("kept_too", "acme", "120", ("Invoice", "paid_later", "120"), txn_date=JUNE_DAY)


def third(company: Company) -> None:
    # The late one is deleted again: in May nothing of it is left. June is reported by this night.
    company.delete("raw_quickbooks.invoices", "late")
    company.invoice("raised", "acme", "100", txn_date=MAY_DAY, tax="20", sync_token="2")
    company.invoice("june_new", "acme", "9", txn_date=JUNE_DAY)


NIGHTS = ((REPORT_DAY, REPORT, first), (LATER_DAY, LATER, second), (LAST_DAY, LAST, third))


# What restatements are made of, and the tests of that.
CHOICE = ("--select", "+assert_restatements_add_up", "+assert_documents_history_holds_tonight", "--indirect-selection", "buildable")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warehouse, list[list[tuple]], list[tuple], list[tuple]]]:
    """The warehouse, the restatements of each of the three nights, and those of the second and then the third once more."""
    folder = tmp_path_factory.mktemp("restatements")
    warehouse = Warehouse(folder / "warehouse.duckdb", folder)
    create_raw_tables(warehouse.path)
    seen = []
    for as_of, known_at, land in NIGHTS:
        company = started(warehouse.path, known_at, as_of)
        land(company)
        company.land(warehouse.path)
        warehouse.build(*CHOICE, as_of=as_of, known_at=known_at)
        seen.append(warehouse.rows(SQL))
    history = warehouse.rows("SELECT * FROM intermediate.int_documents__history ORDER BY ALL")
    warehouse.build(*CHOICE, as_of=LATER_DAY, known_at=LATER)
    again = warehouse.rows(SQL)
    warehouse.build(*CHOICE, as_of=LAST_DAY, known_at=LAST)
    assert warehouse.rows("SELECT * FROM intermediate.int_documents__history ORDER BY ALL") == history
    yield warehouse, seen, again, warehouse.rows(SQL)


def told(rows: list[tuple]) -> dict[tuple[date, str], tuple]:
    return {(row[0], row[3]): (row[4], *(Decimal(amount) for amount in row[5:8])) for row in rows}


def change(kind: str, then: str, now: str) -> tuple:
    return kind, Decimal(then), Decimal(now), Decimal(now) - Decimal(then)


def test_the_night_that_reports_a_month_restates_nothing(story):
    assert story[1][0] == []


def test_every_change_of_a_reported_month_is_named_with_its_amounts(story):
    assert told(story[1][1]) == {
        (MAY, "late"): change("new_late", "0", "11"),
        (MAY, "voided"): change("voided", "100", "0"),
        (MAY, "deleted"): change("deleted", "100", "0"),
        (MAY, "raised"): change("amount", "100", "125"),
        (MAY, "moved"): change("date_moved", "70", "0"),
        (MAY, "revalued"): change("rate", "110", "120"),
        (MAY, "both"): change("amount_and_rate", "110", "240"),
        (MAY, "credit"): change("amount", "-30", "-35"),
        (MAY, "bounced"): change("deleted", "40", "0"),
        (MAY, "found"): change("new_late", "0", "15"),
    }
    assert {row[1] for row in story[1][1] if row[2] == "payment"} == {"collected"}
    assert {row[1] for row in story[1][1] if row[2] != "payment"} == {"invoiced"}
    assert {row[8:] for row in story[1][1]} == {(REPORT, LATER)}


def test_what_was_reported_stays_however_often_it_changes(story):
    rows = told(story[1][2])
    assert {key for key in told(story[1][1]) if key not in rows} == {(MAY, "late"), (MAY, "raised")}
    assert set(rows) <= set(told(story[1][1]))  # June was reported by this very night, with all that it knew


def test_a_night_that_runs_again_restates_the_same(story):
    _, seen, again, last = story
    assert again == seen[1]
    assert last == seen[2]


def test_the_history_has_a_row_only_where_something_changed(story):
    rows = story[0].rows("SELECT document_id, count(*) FROM intermediate.int_documents__history GROUP BY 1")
    counted = dict(rows)
    assert (counted["untouched"], counted["renamed"], counted["kept"]) == (1, 1, 1)
    assert (counted["raised"], counted["late"], counted["deleted"]) == (3, 2, 2)
