"""Amounts have the digits of their currency wherever a person reads them."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from flows import show
from pipelines.money import Money
from pipelines.report import build as report
from pipelines.report.figures import Calendar, ExceptionRow, Listing, Report, Status


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("1234.5", "JPY", "1,235"), ("1234.5675", "KWD", "1,234.568"), ("1234.565", "USD", "1,234.57"), ("-0.005", "EUR", "-0.01"),
        ("-0.5", "JPY", "-1"), ("5", None, "5.00"), ("5", "XXZ", "5.00"), ("0", "JPY", "0"),
    ],
)  # fmt: skip
def test_an_amount_has_the_digits_of_its_currency(amount, currency, shown):
    assert str(Money(Decimal(amount), currency)) == shown


def explained(base: str, **row: object) -> str:
    status = {"total_outstanding": Decimal("1234.567"), "average_days_to_pay": Decimal("12.5"), "base_currency": base}
    return show.explanation({
        "account": {"name": "Acme", "source": "crm", "account_id": "1"}, "status": status, "sections": {"Invoices": [row]},
    })  # fmt: skip


def test_explain_shows_each_amount_in_the_units_of_its_own_currency():
    found = explained("KWD", currency="JPY", gross_amount=Decimal("5000"), open_base=Decimal("10.5"), rate=Decimal("0.002100000000"))
    assert "total_outstanding: 1,234.567\n" in found and "average_days_to_pay: 12.50" in found
    assert found.splitlines()[-1].split() == ["JPY", "5,000", "10.500", "0.0021"]


def test_explain_shows_amounts_without_a_currency_in_base():
    assert explained("JPY", amount=Decimal("5000")).splitlines()[-1].strip() == "5,000"


@pytest.mark.parametrize(("base", "shown"), [("JPY", "1,235"), ("KWD", "1,234.568"), ("USD", "1,234.57")])
def test_the_report_is_in_the_units_of_the_base_currency(tmp_path, base, shown):
    row = ExceptionRow("info", "k", "s", "o", "r", "m", Decimal("1234.5678"), None)
    made = Report(
        "Us", base, "1,234.56", "2026-12-31", Calendar(date(2026, 6, 30), 1), datetime(2026, 7, 1, tzinfo=UTC), {},
        statuses=(Status("Current", 1, Decimal("1234.5678"), Decimal(0)),), exceptions=Listing((row,), 1),
    )  # fmt: skip
    assert f"| {shown} |" in report.summary(made)
    assert report.exceptions(made)[0]["amount_base"] == shown
    assert f">{shown}<" in report.write_page(made, tmp_path / "page.html").read_text(encoding="utf-8")
