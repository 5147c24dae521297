"""Xero's staging models on hand-made raw rows: which canonical rows they give, and what stops a night."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from dbt_fixture import messages_of
from raw_rows import RawRows
from staging_fixture import AS_OF, NIGHT, StagingNight

from pipelines.vendors.xero.source import TABLES

WHOLE = ("iso_currencies", "path:models/staging/xero")


def day(text: str) -> date:
    return date.fromisoformat(text)


class Books(RawRows):
    """Raw Xero rows of one organisation whose base currency is USD."""

    def add(self, table: str, **values: object) -> None:
        defaults: dict[str, object] = {"_landed_at": self.known_at, "_deleted": False}
        if table in TABLES and "tenant_id" in TABLES[table].columns:
            defaults["tenant_id"] = "ours"
        self._rows.append((table if "." in table else f"raw_xero.{table}", defaults | values))

    def contact(self, contact_id: str, **values: object) -> None:
        self.add("contacts", **({"id": contact_id, "name": contact_id, "status": "ACTIVE", "is_customer": True} | values))

    def invoice(self, invoice_id: str, total: str, **values: object) -> None:
        defaults: dict[str, object] = {
            "id": invoice_id, "number": invoice_id, "contact_id": "acme", "issue_date": day("2026-05-01"),
            "due_date": day("2026-05-31"), "status": "AUTHORISED", "line_amount_types": "Exclusive", "currency": "USD",
            "currency_rate": 1, "total": total, "total_tax": 0, "amount_due": total, "version": "v1",
        }  # fmt: skip
        self.add("invoices", **(defaults | values))

    def credit_note(self, note_id: str, total: str, **values: object) -> None:
        defaults: dict[str, object] = {
            "id": note_id, "number": note_id, "contact_id": "acme", "issue_date": day("2026-05-01"), "status": "AUTHORISED",
            "line_amount_types": "Exclusive", "currency": "USD", "currency_rate": 1, "total": total, "total_tax": 0,
            "remaining_credit": total, "version": "v1",
        }  # fmt: skip
        self.add("credit_notes", **(defaults | values))

    def line(self, owner: str, number: int, amount: str | None, table: str = "invoice_lines", **values: object) -> None:
        defaults = {"version": "v1", "line_number": number, "line_amount": amount, "tax_amount": 0}
        if amount is not None:
            defaults |= {"quantity": 1, "unit_price": amount}
        self.add(table, **{table.removesuffix("_lines") + "_id": owner}, **(defaults | values))

    def payment(self, payment_id: str, amount: str, **values: object) -> None:
        defaults: dict[str, object] = {
            "id": payment_id, "payment_type": "ACCRECPAYMENT", "status": "AUTHORISED", "payment_date": day("2026-06-01"),
            "amount": amount, "currency": "USD", "currency_rate": 1, "contact_id": "acme",
        }  # fmt: skip
        self.add("payments", **(defaults | values))

    def credit(self, table: str, credit_id: str, total: str, remaining: str, **values: object) -> None:
        defaults: dict[str, object] = {
            "id": credit_id, "contact_id": "acme", "payment_date": day("2026-06-02"), "status": "AUTHORISED", "currency": "USD",
            "currency_rate": 1, "total": total, "total_tax": 0, "remaining_credit": remaining, "version": "v1",
        }  # fmt: skip
        self.add(table, **(defaults | values))

    def allocate(self, kind: str, source_id: str, invoice_id: str, amount: str, **values: object) -> None:
        defaults: dict[str, object] = {
            "version": "v1", "line_number": 1, "allocated_on": day("2026-06-03"), "is_deleted": False,
        }  # fmt: skip
        self.add("allocations", source_type=kind, source_id=source_id, invoice_id=invoice_id, amount=amount, **(defaults | values))


class Night(StagingNight):
    def __init__(self, folder: Path) -> None:
        self.books = Books(NIGHT)
        super().__init__(folder, "xero", self.books, crms=[], ledgers=["xero"])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    night = Night(tmp_path_factory.mktemp("xero"))
    books = night.books
    books.add("organisations", name="Ours", base_currency="USD")
    contacts(books)
    invoices(books)
    lines(books)
    money(books)
    balances(books)
    night.build(*WHOLE)
    return night


def contacts(books: Books) -> None:
    books.contact("acme", crm_id="001ACME", website="https://www.acme.example/shop")
    books.contact("merged", status="ARCHIVED", merged_to_id="acme", crm_id="", is_customer=False)
    books.contact("plain", sales_terms_day=14, sales_terms_type="DAYSAFTERBILLDATE")
    books.contact("after_month", sales_terms_day=10, sales_terms_type="DAYSAFTERBILLMONTH")
    books.contact("this_month", sales_terms_day=31, sales_terms_type="OFCURRENTMONTH")
    books.contact("next_month", sales_terms_day=31, sales_terms_type="OFFOLLOWINGMONTH")
    books.contact("supplier", is_customer=False, is_supplier=True)
    books.contact("bank_only", is_customer=False, is_supplier=False)
    books.contact("unsaid", is_customer=None, is_supplier=None)
    books.contact("unsaid_supplier", is_customer=None, is_supplier=True)
    books.contact("new_from_crm", is_customer=False, crm_id="001NEW")
    books.contact("first_draft", is_customer=False)
    books.contact("euro", currency="EUR")
    books.contact("ahead")
    books.contact("paid_after")
    books.contact("disputed")


def invoices(books: Books) -> None:
    books.invoice("open", "115", total_tax=15, sent=True, reference="006DEAL")
    books.invoice("paid", "100", status="PAID", amount_due=0)
    books.invoice("voided", "550", status="VOIDED")
    books.invoice("draft", "70", status="DRAFT", contact_id="first_draft", due_date=None, number=None)
    books.invoice("submitted", "80", status="SUBMITTED")
    books.invoice("deleted", "90", status="DELETED")
    books.invoice("twice", "10", number="ORC1040")
    books.invoice("twice_too", "20", number="ORC1040")
    books.invoice("due_before", "5", due_date=day("2026-04-01"))
    for contact in ("acme", "plain", "after_month", "this_month", "next_month"):
        books.invoice(f"of_{contact}", "1", contact_id=contact, issue_date=day("2026-01-30"), due_date=None)
    books.invoice("gone", "1")
    books.add("invoices", id="gone", _deleted=True)
    books.credit_note("note", "34.5", total_tax="4.5", remaining_credit="12.5")
    books.credit_note("note_voided", "40", status="VOIDED")
    books.credit_note("note_paid", "40", status="PAID", remaining_credit=0)
    books.invoice("foreign", "110", currency="EUR", currency_rate="0.8", contact_id="euro", issue_date=day("2026-05-02"))
    books.invoice("unquoted", "110", currency="GBP", currency_rate=None, contact_id="nobody")


def lines(books: Books) -> None:
    books.line("open", 1, "100", item_code="CONS", tax_amount=15, quantity=4, unit_price=25)
    books.line("open", 2, None, description="As agreed")
    books.line("open", 1, "999", version="v0")
    books.line("deleted", 1, "90")
    books.invoice("inclusive", "110", total_tax=10, line_amount_types="Inclusive", amount_due=110)
    books.line("inclusive", 1, "121", tax_amount=11, item_code="CONS")
    books.line("inclusive", 2, "-11", tax_amount=-1, description="Goodwill")
    books.invoice("discounted", "187", amount_due=187)
    books.line("discounted", 1, "90", discount_rate=10, quantity=2, unit_price=50)
    books.line("discounted", 2, "97", discount_amount="3", discount_rate=0, quantity=1, unit_price=100)
    books.invoice("discounted_inclusive", "108.9", total_tax="9.9", line_amount_types="Inclusive")
    books.line("discounted_inclusive", 1, "108.9", tax_amount="9.9", discount_rate=10, quantity=1, unit_price=121)
    books.line("note", 1, "30", "credit_note_lines", tax_amount="4.5")


def money(books: Books) -> None:
    books.payment("of_paid", "60", invoice_id="paid")
    books.payment("deleted_payment", "60", invoice_id="open", status="DELETED")
    books.payment("refund", "2", payment_type="ARCREDITPAYMENT", credit_note_id="note")
    books.payment("refund_as_recorded", "0.5", payment_type="ARCREDITPAYMENT", invoice_id="note", contact_id=None, currency=None)
    books.payment("over_back", "7", payment_type="AROVERPAYMENTPAYMENT", overpayment_id="over")
    books.payment("pre_back", "9", payment_type="ARPREPAYMENTPAYMENT", prepayment_id="pre")
    books.payment("in_euro", "50", invoice_id="foreign", currency="EUR", currency_rate="0.5", contact_id="euro")
    books.credit("overpayments", "over", "47", "10")
    books.credit("overpayments", "over_voided", "47", "47", status="VOIDED")
    books.credit("prepayments", "pre", "9", "9", status="PAID")
    books.allocate("overpayment", "over", "paid", "30")
    books.allocate("overpayment", "over_voided", "paid", "47")
    books.allocate("credit_note", "note", "paid", "10")
    books.allocate("credit_note", "note", "paid", "9.5", line_number=2)
    books.allocate("credit_note", "note", "open", "5", line_number=3, is_deleted=True)
    books.allocate("credit_note", "note", "open", "34.5", version="v0")
    books.allocate("credit_note", "note_voided", "open", "40")


def balances(books: Books) -> None:
    """Raw balances: in the currency of what is owed, knowing of what is dated after the business date."""
    books.invoice("of_ahead", "40", contact_id="ahead", issue_date=day("2026-07-01"))
    books.invoice("of_paid_after", "60", contact_id="paid_after", amount_due=0, status="PAID")
    books.payment("after", "60", contact_id="paid_after", invoice_id="of_paid_after", payment_date=day("2026-07-01"))
    books.invoice("of_disputed", "60", contact_id="disputed")
    held = {"euro": "110", "ahead": "40", "disputed": "75"}
    for contact, outstanding in held.items():
        books.add("contact_balances", contact_id=contact, contact_name=contact, outstanding=outstanding, report_date=AS_OF)
    books.add("contact_balances", contact_id="yesterday", outstanding=7, report_date=AS_OF - timedelta(days=1))


def test_a_contact_is_a_customer_when_anything_says_so(night: Night) -> None:
    rows = night.rows("select customer_id, parent_id, active, terms_days, crm_account_id, domain, currency "
                      "from staging.stg_xero__customers order by 1")
    customers = {row[0]: row[1:] for row in rows}
    assert not {"supplier", "bank_only"} & set(customers)
    assert {"new_from_crm", "first_draft", "unsaid", "unsaid_supplier"} <= set(customers)
    assert customers["acme"] == (None, True, None, "001ACME", "acme.example", "USD")
    assert customers["merged"] == ("acme", False, None, None, None, "USD")
    assert customers["plain"][2] == 14
    assert [customers[name][2] for name in ("after_month", "this_month", "next_month")] == [None, None, None]
    assert customers["euro"][-1] == "EUR"


@pytest.mark.parametrize(("document", "status", "open_amount", "gross"), [
    ("open", "issued", 115, 115),
    ("paid", "issued", 0, 100),
    ("voided", "void", 0, 550),
    ("draft", "draft", 70, 70),
    ("submitted", "pending_approval", 80, 80),
    ("note", "issued", Decimal("12.5"), Decimal("34.5")),
    ("note_voided", "void", 0, 40),
    ("note_paid", "issued", 0, 40),
])  # fmt: skip
def test_the_status_decides_what_is_open(night: Night, document: str, status: str, open_amount: object, gross: object) -> None:
    found = night.rows(f"select status, open_amount, gross from staging.stg_xero__documents where document_id = '{document}'")
    assert found == [(status, open_amount, gross)]


def test_deleted_documents_are_no_documents_and_numbers_repeat(night: Night) -> None:
    rows = night.rows("select document_id, number from staging.stg_xero__documents")
    numbers = dict(rows)
    assert len(rows) == len(numbers)
    assert not {"deleted", "gone"} & set(numbers)
    assert [numbers["twice"], numbers["twice_too"], numbers["draft"]] == ["ORC1040", "ORC1040", None]


@pytest.mark.parametrize(("document", "due"), [
    ("open", "2026-05-31"),
    ("due_before", "2026-04-01"),
    ("of_plain", "2026-02-13"),
    ("of_after_month", "2026-02-10"),
    ("of_this_month", "2026-01-31"),
    ("of_next_month", "2026-02-28"),
    ("of_acme", None),
    ("note", None),
])  # fmt: skip
def test_due_dates_come_from_the_document_or_the_contacts_terms(night: Night, document: str, due: str | None) -> None:
    rows = night.rows(f"select due_date from staging.stg_xero__documents where document_id = '{document}'")
    assert rows == [(due and day(due),)]


def test_a_rate_is_one_over_the_quote_as_it_was_written(night: Night) -> None:
    rows = night.rows("select document_id, net, tax, rate, rate_divisor from staging.stg_xero__documents "
                      "where document_id in ('open', 'foreign', 'unquoted') order by 1")
    assert rows == [
        ("foreign", 110, 0, 1, Decimal("0.8")), ("open", 100, 15, 1, None), ("unquoted", 110, 0, None, None),
    ]  # fmt: skip
    assert night.rows("select from_currency, to_currency, rate_divisor, rate_date from staging.stg_xero__rates order by 4") == [
        ("EUR", "USD", Decimal("0.8"), day("2026-05-02")), ("EUR", "USD", Decimal("0.5"), day("2026-06-01")),
    ]  # fmt: skip


def test_an_organisation_with_another_base_currency_quotes_into_its_own(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.books.add("organisations", name="Ours", base_currency="NZD")
    night.books.invoice("home", "10", currency=None, currency_rate=1)
    night.books.invoice("euro", "10", currency="EUR", currency_rate="0.5", modified_at=NIGHT)
    night.books.invoice("euro_before", "10", currency="EUR", currency_rate="0.4", modified_at=NIGHT - timedelta(days=1))
    night.books.invoice("dollar", "10", currency="USD", currency_rate="0.6")
    night.build(*WHOLE)
    assert night.rows("select document_id, currency, rate from staging.stg_xero__documents order by 1") == [
        ("dollar", "USD", 1), ("euro", "EUR", None), ("euro_before", "EUR", None), ("home", "NZD", None),
    ]  # fmt: skip
    rows = night.rows("select from_currency, to_currency, rate, rate_divisor from staging.stg_xero__rates order by 1")
    assert rows == [("EUR", "NZD", 1, Decimal("0.5")), ("USD", "NZD", 1, Decimal("0.6"))]


def test_lines_are_net_and_of_the_newest_version(night: Night) -> None:
    rows = night.rows("select document_id, line_number, line_kind, quantity, unit_price, amount from staging.stg_xero__document_lines "
                      "order by 1, 2")
    assert rows == [
        ("discounted", 1, "item", 2, 50, 100),
        ("discounted", 2, "item", 1, 100, 100),
        ("discounted", 1000001, "discount", None, None, -10),
        ("discounted", 1000002, "discount", None, None, -3),
        ("discounted_inclusive", 1, "item", 1, 110, 110),
        ("discounted_inclusive", 1000001, "discount", None, None, -11),
        ("inclusive", 1, "item", 1, 110, 110),
        ("inclusive", 2, "discount", 1, -10, -10),
        ("note", 1, "item", 1, 30, 30),
        ("open", 1, "item", 4, 25, 100),
        ("open", 2, "text", None, None, None),
    ]  # fmt: skip


def test_lines_and_tax_make_the_total(night: Night) -> None:
    rows = night.rows(
        "select documents.document_id, documents.gross - documents.tax - sum(lines.amount) from staging.stg_xero__documents documents "
        "join staging.stg_xero__document_lines lines using (document_type, document_id) group by documents.document_id, gross, tax"
    )
    assert {difference for _, difference in rows} == {0}
    assert len(rows) == 5


def test_payments_are_what_moved_and_was_not_deleted(night: Night) -> None:
    rows = night.rows("select payment_id, payment_type, amount, unapplied_amount, customer_id, currency, "
                      "coalesce(rate_divisor, rate) from staging.stg_xero__payments where payment_id <> 'after' order by 1")
    assert rows == [
        ("in_euro", "payment", 50, 0, "euro", "EUR", Decimal("0.5")),
        ("of_paid", "payment", 60, 0, "acme", "USD", 1),
        ("over", "payment", 47, 10, "acme", "USD", 1),
        ("over_back", "refund", 7, 0, "acme", "USD", 1),
        ("pre", "payment", 9, 0, "acme", "USD", 1),
        ("pre_back", "refund", 9, 0, "acme", "USD", 1),
        ("refund", "refund", 2, 0, "acme", "USD", 1),
        ("refund_as_recorded", "refund", Decimal("0.5"), 0, "acme", "USD", 1),
    ]  # fmt: skip


def test_applications_name_what_was_spent_on_what(night: Night) -> None:
    rows = night.rows("select applied_type, applied_id, document_type, document_id, amount, applied_date "
                      "from staging.stg_xero__applications where applied_id <> 'after' order by 2, 4, 5")
    june = {number: date(2026, 6, number) for number in (1, 3)}
    assert rows == [
        ("payment", "in_euro", "invoice", "foreign", 50, june[1]),
        ("credit_note", "note", "invoice", "paid", Decimal("9.5"), june[3]),
        ("credit_note", "note", "invoice", "paid", 10, june[3]),
        ("payment", "of_paid", "invoice", "paid", 60, june[1]),
        ("payment", "over", "other", "over_back", 7, june[1]),
        ("payment", "over", "invoice", "paid", 30, june[3]),
        ("payment", "pre", "other", "pre_back", 9, june[1]),
        ("payment", "refund", "credit_note", "note", 2, june[1]),
        ("payment", "refund_as_recorded", "credit_note", "note", Decimal("0.5"), june[1]),
    ]  # fmt: skip


def test_a_note_is_what_was_spent_refunded_and_left_of_it(night: Night) -> None:
    rows = night.rows(
        "select gross - open_amount - refunded_amount - (select sum(amount) from staging.stg_xero__applications "
        "where 'note' in (applied_id, document_id)) from staging.stg_xero__documents where document_id = 'note'"
    )
    assert rows == [(0,)]


def test_money_in_is_what_was_spent_and_what_is_left_of_it(night: Night) -> None:
    rows = night.rows(
        "select payment_id, amount - unapplied_amount - (select sum(amount) from staging.stg_xero__applications "
        "where applied_type = 'payment' and applied_id = payment_id) from staging.stg_xero__payments where payment_type = 'payment'"
    )
    assert {difference for _, difference in rows} == {0}
    assert len(rows) == 5


def test_control_totals_are_the_balances_in_base_on_the_business_date(night: Night) -> None:
    rows = night.rows("select customer_id, total, bucket_current, currency, report_date from staging.stg_xero__control_totals order by 1")
    totals = {row[0]: row[1] for row in rows}
    assert totals["euro"] == Decimal("137.5")
    assert "ahead" not in totals
    assert totals["paid_after"] == 60
    assert totals["disputed"] == 75
    assert "yesterday" not in totals
    assert {row[2:] for row in rows} == {(None, "USD", AS_OF)}


def test_values_that_nobody_enumerated_are_of_their_record_alone(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.books.contact("whenever", sales_terms_type="WHENEVER", sales_terms_day=3)
    night.books.invoice("on_hold", "1", status="ON_HOLD")
    night.books.invoice("both", "1", line_amount_types="Both")
    night.books.line("both", 1, "1")
    night.books.invoice("no_due_date", "1", contact_id="whenever", due_date=None)
    night.books.invoice("own_due_date", "1", contact_id="whenever")
    night.books.payment("barter", "1", payment_type="BARTER")
    night.books.payment("pending", "1", status="PENDING")
    night.build(*WHOLE)
    rows = night.rows("select document_id, status, problem from staging.stg_xero__documents order by 1")
    assert rows == [
        ("both", "issued", None), ("no_due_date", "issued", "payment terms of its contact: unknown: WHENEVER"),
        ("on_hold", "unknown: ON_HOLD", None), ("own_due_date", "issued", None),
    ]  # fmt: skip
    assert night.rows("select line_kind from staging.stg_xero__document_lines") == [("unknown: Both",)]
    rows = night.rows("select payment_id, payment_type from staging.stg_xero__payments order by 1")
    assert rows == [("barter", "unknown: BARTER"), ("pending", "unknown: PENDING")]


def test_no_rows_are_no_problem(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.build(*WHOLE)
    assert night.rows("select count(*) from staging.stg_xero__control_totals") == [(0,)]


def test_the_unit_tests_of_the_models(night: Night) -> None:
    units = night.dbt("test", "--select", "path:models/staging/xero,test_type:unit", unit_tests=True)
    assert units.success, messages_of(units)
    assert {row.node.tested_node_unique_id.rpartition("__")[2] for row in units.result.results} >= {
        "document_lines", "control_totals", "closing_dates"}
