"""Rates by source and day, minor units and realised gains: what the marts say of amounts in other currencies."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from dbt_fixture import MODELS_ALONE, messages_of
from extract_fixture import MemoryTokens
from raw_rows import create_raw_tables
from test_dbt_models import AS_OF, NIGHT, Company, Warehouse, days_ago
from test_ecb_source import RECORDED, configured

from pipelines import extract

FRIDAY, SUNDAY, MONDAY = date(2026, 5, 1), date(2026, 5, 3), date(2026, 5, 4)
LONG_AFTER = FRIDAY + timedelta(days=8)
ACCOUNTS = ("tokyo", "kuwait", "berlin", "london", "moscow", "paris", "zurich")
# What the reference table says for one euro: yen to dollar is 1.1252 / 163.36.
YEN, DINAR = Decimal("0.006887855044"), Decimal("3.25")


def rates_of_the_world(company: Company) -> None:
    table = {
        FRIDAY: {"USD": "1.1252", "JPY": "163.36", "GBP": "0.85", "CHF": "0.9353"},
        MONDAY: {"USD": "1.2000", "JPY": "160", "CHF": "0.9"},
    }
    for day, quotes in table.items():
        for currency, rate in quotes.items():
            company.add("raw_ecb.reference_rates", id=f"{day} {currency}", rate_date=day, currency=currency, rate=rate)
    # A later version of a quote counts; one that could not be read is none.
    company.add("raw_ecb.reference_rates", id=f"{MONDAY} GBP", rate_date=MONDAY, currency="GBP", rate=None)
    company.add(
        "raw_quickbooks.exchange_rates", id="EUR-1", source_currency="EUR", target_currency="USD", rate="1.1",
        as_of=FRIDAY,
    )  # fmt: skip


def documents_of_the_world(company: Company) -> None:
    company.invoice("yen", "tokyo", "100000", currency="JPY", txn_date=SUNDAY, balance=50000)
    company.invoice("dinar", "kuwait", "1234.567", currency="KWD", exchange_rate=DINAR, txn_date=SUNDAY)
    company.invoice("by_ledger", "berlin", "100", currency="EUR", txn_date=SUNDAY)
    company.invoice("zero_rate", "berlin", "10", currency="EUR", exchange_rate=0, txn_date=SUNDAY)
    company.invoice("too_old", "london", "100", currency="GBP", txn_date=LONG_AFTER)
    company.invoice("never_quoted", "moscow", "100", currency="RUB", txn_date=FRIDAY)
    company.payment("yen_p", "tokyo", "60000", ("Invoice", "yen", "50000"), currency="JPY", unapplied="10000",
                    txn_date=MONDAY)  # fmt: skip


def settlements_of_the_world(company: Company) -> None:
    euro = {"currency": "EUR", "txn_date": days_ago(40)}
    company.invoice("gained", "paris", "100", tax="20", exchange_rate="1.10", balance=0, **euro)
    company.payment("gained_p", "paris", "120", ("Invoice", "gained", "120"), currency="EUR", exchange_rate="1.15")
    company.invoice("lost", "paris", "50", exchange_rate="1.10", balance=10, **euro)
    company.credit_note("note", "paris", "15", exchange_rate="1.12", balance=0, remaining_credit=0, currency="EUR")
    company.payment("lost_a", "paris", "0", ("Invoice", "lost", "15"), ("CreditMemo", "note", "15"), currency="EUR",
                    exchange_rate="1.30")  # fmt: skip
    company.payment("lost_p", "paris", "25", ("Invoice", "lost", "25"), currency="EUR", exchange_rate="1.02")
    company.invoice("ahead", "paris", "5", exchange_rate="1.10", balance=0, **euro)
    company.payment("ahead_p", "paris", "5", ("Invoice", "ahead", "5"), currency="EUR", exchange_rate="9",
                    txn_date=AS_OF + timedelta(days=1))  # fmt: skip
    company.invoice("at_home", "zurich", "70", balance=0)
    company.payment("at_home_p", "zurich", "70", ("Invoice", "at_home", "70"))


def deals_of_the_world(company: Company) -> None:
    plain = {"lines": [], "close_date": SUNDAY}
    company.deal("yen_deal", "tokyo", "100000.4", currency="JPY", **plain)
    company.deal("dinar_deal", "kuwait", "1234.5678", currency="KWD", home_amount="4012.345350", **plain)
    company.deal("euro_deal", "berlin", "100", currency="EUR", **plain)
    company.deal("franc_deal", "zurich", "100", currency="CHF", lines=[], close_date=MONDAY)
    company.deal("rouble_deal", "moscow", "100", currency="RUB", **plain)
    company.deal("home_deal", "zurich", "100", **plain)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("currencies")
    path = folder / "warehouse.duckdb"
    create_raw_tables(path)
    company = Company(NIGHT)
    company.base()
    for name in ACCOUNTS:
        company.pair(name)
    rates_of_the_world(company)
    documents_of_the_world(company)
    settlements_of_the_world(company)
    deals_of_the_world(company)
    for source in ("hubspot", "quickbooks", "ecb"):
        company.loaded(source)
    company.land(path)
    warehouse = Warehouse(path, folder, rates=("ecb",))
    warehouse.build()
    return warehouse


DOCUMENTS = {
    "yen": (YEN, "ecb", FRIDAY, Decimal("688.79")),
    "dinar": (DINAR, "document", SUNDAY, Decimal("4012.34")),
    "by_ledger": (Decimal("1.1"), "ledger", FRIDAY, Decimal(110)),
    "zero_rate": (Decimal("1.1"), "ledger", FRIDAY, Decimal(11)),
    "too_old": (None, None, None, None),
    "never_quoted": (None, None, None, None),
    "gained": (Decimal("1.1"), "document", days_ago(40), Decimal(132)),
    "at_home": (Decimal(1), "base", days_ago(40), Decimal(70)),
}


@pytest.mark.parametrize("document_id", DOCUMENTS)
def test_a_document_says_its_rate_who_says_it_and_of_which_day(world: Warehouse, document_id: str) -> None:
    assert world.one(
        "select rate, rate_source, rate_date, gross_base from marts.fct_invoices where document_id = ?", document_id
    ) == DOCUMENTS[document_id]  # fmt: skip


DEALS = {
    "yen_deal": (YEN, "ecb", FRIDAY),
    "dinar_deal": (DINAR, "crm", SUNDAY),
    "euro_deal": (Decimal("1.1"), "ledger", FRIDAY),
    "franc_deal": (Decimal("1.333333333333"), "ecb", MONDAY),
    "rouble_deal": (None, None, None),
    "home_deal": (Decimal(1), "base", SUNDAY),
}


@pytest.mark.parametrize("deal_id", DEALS)
def test_a_deal_is_at_the_crms_rate_then_at_that_of_a_table(world: Warehouse, deal_id: str) -> None:
    assert world.one(
        "select rate, rate_source, rate_date from marts.fct_deals where deal_id = ?", deal_id
    ) == DEALS[deal_id]  # fmt: skip


def test_payments_without_a_rate_take_that_of_their_own_day(world: Warehouse) -> None:
    assert world.one(
        "select rate, rate_source, rate_date, amount_base from marts.fct_payments where payment_id = 'yen_p'"
    ) == (Decimal("0.0075"), "ecb", MONDAY, Decimal(450))


def test_a_missing_rate_names_currency_and_date_and_holds_the_account(world: Warehouse) -> None:
    assert world.rows(
        "select object, record_id, message from marts.rpt_exceptions where kind = 'missing_rate' order by all"
    ) == [
        ("deal", "rouble_deal", "no rate from RUB to USD on 2026-05-03"),
        ("invoice", "never_quoted", "no rate from RUB to USD on 2026-05-01"),
        ("invoice", "too_old", "no rate from GBP to USD on 2026-05-09"),
    ]
    held = world.rows("select account_id, hold_reason from marts.account_status where hold_reason is not null order by 1")
    assert held == [(name, "an amount in another currency has no rate") for name in ("london", "moscow")]


def test_money_is_written_at_the_minor_units_of_its_currency(world: Warehouse) -> None:
    sql = "select contracted_amount::varchar from activation.sync_hubspot__deals where record_id = ?"
    assert world.one(sql, "yen_deal") == ("100000.000000",)
    assert world.one(sql, "dinar_deal") == ("1234.568000",)
    account = "select total_outstanding::varchar from activation.sync_hubspot__companies where record_id = ?"
    assert world.one(account, "kuwait") == ("4012.340000",)


def test_realised_gain_lies_between_two_rates(world: Warehouse) -> None:
    found = world.rows(
        "select document_id, applied_type, applied_id, amount, invoice_rate, payment_rate, amount_at_invoice_rate, "
        "amount_at_payment_rate, gain_base from marts.fct_realised_fx order by 1, 2"
    )
    assert found == [
        ("gained", "payment", "gained_p", 120, Decimal("1.1"), Decimal("1.15"), 132, 138, 6),
        ("lost", "credit_note", "note", 15, Decimal("1.1"), Decimal("1.12"), Decimal("16.5"), Decimal("16.8"),
         Decimal("0.3")),
        ("lost", "payment", "lost_p", 25, Decimal("1.1"), Decimal("1.02"), Decimal("27.5"), Decimal("25.5"), -2),
        ("yen", "payment", "yen_p", 50000, YEN, Decimal("0.0075"), Decimal("344.39"), 375, Decimal("30.61")),
    ]  # fmt: skip


def test_a_gain_is_no_part_of_collected(world: Warehouse) -> None:
    assert world.one(
        "select invoiced_to_date, collected_to_date from activation.sync_hubspot__companies where record_id = 'paris'"
    ) == (Decimal("153.70"), Decimal("163.50"))
    assert world.one("select sum(collected), sum(realised_fx) from marts.revenue_cycle_monthly") == (
        Decimal("163.50") + 70 + 450, 6 + Decimal("0.3") - 2 + Decimal("30.61"),
    )  # fmt: skip


def test_a_table_of_rates_has_its_place_in_sync_health_and_holds_nobody(world: Warehouse) -> None:
    assert world.one("select side, status from marts.sync_health where source = 'ecb'") == ("rates", "fresh")
    later = AS_OF + timedelta(days=2)
    world.build(*MODELS_ALONE, as_of=later, known_at=NIGHT + timedelta(hours=40))
    reasons = world.rows("select distinct hold_reason from marts.account_status where account_id = 'paris'")
    assert "ecb" not in (reasons[0][0] or "")


def test_a_table_reaches_every_base_currency_through_the_euro(world: Warehouse) -> None:
    view = "select from_currency, rate, rate_divisor from staging.stg_ecb__rates where rate_date = ? order by 1"
    for base, quote in {"EUR": "1", "JPY": "163.36"}.items():
        built = world.dbt("run", "--select", "stg_ecb__rates", base_currency=base)
        assert built.success
        quotes = {"CHF": "0.9353", "EUR": "1", "GBP": "0.85", "JPY": "163.36", "USD": "1.1252"}
        assert world.rows(view, FRIDAY) == [
            (code, Decimal(quote), Decimal(divisor)) for code, divisor in quotes.items() if code != base
        ]


def test_the_recorded_table_gives_each_pair_one_rate_a_day(tmp_path: Path) -> None:
    if not RECORDED.exists():
        pytest.skip("the recorded table is not beside this repository")
    chosen = configured(tmp_path, RECORDED)
    chosen.warehouse.parent.mkdir()
    create_raw_tables(chosen.warehouse)
    extract.extract("ecb", chosen, as_of=AS_OF, known_at=NIGHT, tokens=MemoryTokens())
    warehouse = Warehouse(chosen.warehouse, tmp_path, rates=("ecb",))
    built = warehouse.dbt("build", "--select", "+int_rates__unioned", "assert_ecb_is_conserved", "--indirect-selection", "cautious")
    assert built.success, messages_of(built)
    quotes = "select rate, rate_divisor from intermediate.int_rates__unioned where source = 'ecb' and from_currency = ? and rate_date = ?"
    assert warehouse.one(quotes, "JPY", date(2025, 5, 9)) == (Decimal("1.1252"), Decimal("163.36"))
    assert warehouse.one(quotes, "EUR", date(2025, 5, 9)) == (Decimal("1.1252"), 1)
    assert warehouse.rows(quotes, "RUB", date(2025, 5, 9)) == []
    pairs = "select count(*), count(distinct (from_currency, rate_date)), min(rate / rate_divisor) > 0 from intermediate.int_rates__unioned"
    assert warehouse.one(pairs) == (warehouse.one("select count(*) from raw_ecb.reference_rates")[0],) * 2 + (True,)
