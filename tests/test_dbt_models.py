"""The dbt project on hand-made raw rows: what the marts say about an invented company, and what stops a night."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
import yaml
from dbt.cli.main import dbtRunnerResult
from dbt_fixture import MODELS_ALONE, PROJECT, messages_of, run_dbt
from jinja2 import Environment
from raw_rows import RawRows, create_raw_tables

AS_OF = date(2026, 6, 30)
NIGHT = datetime(2026, 7, 1, 2, tzinfo=UTC)
NEXT_NIGHT = NIGHT + timedelta(days=1)


def days_ago(count: int) -> date:
    return AS_OF - timedelta(days=count)


@dataclass(frozen=True)
class Warehouse:
    """A DuckDB file with raw tables, and dbt run on it in this process, with the models of the given vendors."""

    path: Path
    scratch: Path
    project: Path = PROJECT
    crms: tuple[str, ...] = ("hubspot",)
    ledgers: tuple[str, ...] = ("quickbooks",)
    rates: tuple[str, ...] = ()

    def dbt(self, *command: str, as_of: date = AS_OF, known_at: datetime = NIGHT, **more: object) -> dbtRunnerResult:
        names = {"crms": self.crms, "ledgers": self.ledgers, "rates": self.rates} | more
        return run_dbt([*command, *self._others()], self.path, self.scratch, as_of, known_at, names, self.project)

    def _others(self) -> list[str]:
        """The options that leave out the models and tests of vendors that are not configured, as a night does."""
        rooms = [self.project / "models" / "staging", self.project / "models" / "activation", self.project / "tests"]
        folders = [
            f"path:{folder.relative_to(self.project)}"
            for room in rooms
            for folder in sorted(room.iterdir())
            if folder.is_dir() and folder.name not in (*self.crms, *self.ledgers, *self.rates)
        ]
        return ["--exclude", *folders] if folders else []

    def build(self, *choice: str, **arguments: object) -> None:
        """Builds and tests the models, or what of them is chosen by dbt's options."""
        result = self.dbt("build", *choice, **arguments)
        assert result.success, messages_of(result)

    def rows(self, sql: str, *values: object) -> list[tuple]:
        with duckdb.connect(str(self.path), read_only=True) as connection:
            return connection.execute(sql, values).fetchall()

    def one(self, sql: str, *values: object) -> tuple:
        rows = self.rows(sql, *values)
        assert len(rows) == 1, f"{len(rows)} rows: {sql} {values}"
        return rows[0]

    def export(self) -> dict[str, list[str]]:
        """Every mart and activation row as text, in order; the histories, which are made of all nights, are left out."""
        with duckdb.connect(str(self.path), read_only=True) as connection:
            connection.execute("set timezone='UTC'")
            tables = connection.execute(
                "select table_schema, table_name from information_schema.tables where table_name not like ? "
                "and table_schema in ('marts', 'activation') order by all",
                ["%_history"],
            ).fetchall()
            return {
                f"{schema}.{name}": sorted(
                    repr(row)
                    for row in connection.execute(f"select columns(*)::varchar from {schema}.{name}").fetchall()
                )
                for schema, name in tables
            }


class Company(RawRows):
    """Raw rows in the words of the stories below."""

    def base(self) -> None:
        stages = [("won", True, 1), ("lost", True, 0), ("proposal", False, Decimal("0.4"))]
        for order, (name, closed, probability) in enumerate(stages):
            self.add(
                "raw_hubspot.deal_stages", id=name, pipeline_id="default", pipeline_label="Sales", label=name.title(),
                is_closed=closed, probability=probability, display_order=order,
            )  # fmt: skip
        self.add("raw_hubspot.company_currency", id="home", currency="USD")
        self.add("raw_hubspot.owners", id="olga", email="olga@crossfoot.example", first_name="Olga", last_name="Owner")
        self.add("raw_quickbooks.preferences", id="company", company_name="Us", home_currency="USD", multicurrency=True)
        self.add("raw_quickbooks.terms", id="net30", name="Net 30", due_days=30, active=True)

    def loaded(self, source: str, status: str = "complete", message: str | None = None) -> None:
        self.add(
            "raw_crossfoot.loads",
            source=source,
            known_at=self.known_at,
            status=status,
            message=message,
            calls=3,
            rows=9,
        )

    def account(self, account_id: str, **values: object) -> None:
        defaults = {"name": account_id, "owner_id": "olga", "url": f"https://crm.example/{account_id}"}
        self.add("raw_hubspot.companies", id=account_id, **(defaults | values))

    def customer(self, customer_id: str, **values: object) -> None:
        defaults = {"display_name": customer_id, "active": True, "currency": "USD"}
        self.add("raw_quickbooks.customers", id=customer_id, **(defaults | values))

    def pair(self, name: str) -> None:
        """An account and a customer that know each other by id, both of that name."""
        self.account(name, customer_ids=f"quickbooks:{name}")
        self.customer(name)

    def invoice(self, invoice_id: str, customer_id: str, net: str, **values: object) -> None:
        tax = Decimal(str(values.pop("tax", 0)))
        lines = values.pop("lines", None) or [("consulting", "1", net, "SalesItemLineDetail")]
        total = Decimal(net) + tax
        defaults: dict[str, object] = {
            "doc_number": invoice_id, "txn_date": days_ago(40), "due_date": days_ago(10), "currency": "USD",
            "balance": total, "total": total, "tax": tax, "sync_token": "0", "email_status": "EmailSent",
        }  # fmt: skip
        self.add("raw_quickbooks.invoices", id=invoice_id, customer_id=customer_id, **(defaults | values))
        for number, (product, quantity, amount, kind) in enumerate(lines, start=1):
            self.add(
                "raw_quickbooks.invoice_lines", invoice_id=invoice_id, sync_token="0", line_number=number,
                detail_type=kind, item_name=product, quantity=quantity, amount=amount,
                unit_price=Decimal(amount) / Decimal(quantity),
            )  # fmt: skip

    def credit_note(self, note_id: str, customer_id: str, net: str, **values: object) -> None:
        defaults = {
            "doc_number": note_id, "txn_date": days_ago(20), "currency": "USD", "total": net, "tax": 0,
            "balance": net, "remaining_credit": net, "sync_token": "0",
        }  # fmt: skip
        self.add("raw_quickbooks.credit_memos", id=note_id, customer_id=customer_id, **(defaults | values))

    def payment(
        self, payment_id: str, customer_id: str, total: str, *links: tuple[str, str, str], **values: object
    ) -> None:
        defaults = {"txn_date": days_ago(5), "currency": "USD", "total": total, "unapplied": 0, "sync_token": "0"}
        self.add("raw_quickbooks.payments", id=payment_id, customer_id=customer_id, **(defaults | values))
        for number, (kind, document_id, amount) in enumerate(links, start=1):
            self.add(
                "raw_quickbooks.payment_applications", payment_id=payment_id, sync_token="0", line_number=number,
                txn_type=kind, txn_id=document_id, amount=amount,
            )  # fmt: skip

    def deal(self, deal_id: str, account_id: str | None, amount: str | None, **values: object) -> None:
        lines = values.pop("lines", [("consulting", "1", amount)])
        defaults: dict[str, object] = {
            "name": deal_id, "stage_id": "won", "is_won": True, "is_closed": True, "amount": amount,
            "close_date": days_ago(45), "probability": 1, "currency": "USD",
            "url": f"https://crm.example/deal/{deal_id}",
        }  # fmt: skip
        self.add("raw_hubspot.deals", id=deal_id, **(defaults | values))
        self.add(
            "raw_hubspot.deal_companies", deal_id=deal_id, company_id=account_id, is_primary=account_id is not None
        )
        if not lines:
            self.add("raw_hubspot.deal_line_items", deal_id=deal_id)
        for product, quantity, line_amount, *schedule in lines:
            line_id = f"{deal_id}/{product}"
            frequency, start, periods = schedule or (None, None, None)
            self.add("raw_hubspot.deal_line_items", deal_id=deal_id, line_item_id=line_id)
            # A recurring line item states what one period bills.
            share = periods or 1
            self.add(
                "raw_hubspot.line_items", id=line_id, sku=product, name=product.title(), quantity=Decimal(quantity) / share,
                unit_price=Decimal(line_amount) / Decimal(quantity), amount=Decimal(line_amount) / share, currency="USD",
                billing_frequency=frequency, billing_start=start, billing_periods=periods,
            )  # fmt: skip


def accounts_of_the_first_night(company: Company) -> None:
    for name in ("late", "covered", "prompt", "euro", "garbled", "voided", "dealer", "repaid"):
        company.pair(name)
    company.account("quiet")
    company.account("twin_east", customer_ids="quickbooks:twins")
    company.account("twin_west", customer_ids="quickbooks:twins; quickbooks:nobody")
    company.customer("twins")
    company.account("mailer", billing_email="Billing@Mailer.example", domain="mailer.example")
    company.customer("mailer_customer", email="billing@mailer.example")
    company.account("müller", name="Müller-Bau GmbH", domain="mueller.example")
    company.customer("muller_gmbh", display_name="MULLERBAU", website="https://www.mueller.example/kontakt")
    company.customer("muller_site", parent_id="muller_gmbh", is_job=True)
    company.account("known", name='=CMD("x") 🎉 שלום')
    company.customer("knows_its_account", crm_id="known")
    company.customer("stranger", display_name="Dealer Inc")


def documents_of_the_first_night(company: Company) -> None:
    short = [("consulting", "1", "90", "SalesItemLineDetail")]
    company.invoice("late-1", "late", "100", tax="19", txn_date=days_ago(120), due_date=days_ago(60), lines=short)
    company.invoice("covered-1", "covered", "80")
    company.payment("covered-p", "covered", "100", unapplied="100")
    company.invoice("prompt-1", "prompt", "200", txn_date=days_ago(30), balance=0)
    company.payment("prompt-p", "prompt", "200", ("Invoice", "prompt-1", "200"), txn_date=days_ago(10))
    company.invoice("euro-1", "euro", "100", currency="EUR", exchange_rate="1.1")
    company.invoice("garbled-1", "garbled", "10", total=None, balance=None, _problem="total: 'ten' is not a number")
    company.invoice("voided-1", "voided", "50", balance=0, txn_date=days_ago(50))
    company.payment("voided-p", "voided", "50", ("Invoice", "voided-1", "50"))
    company.invoice("voided-2", "voided", "0", private_note="Voided", lines=[("x", "1", "0", "SalesItemLineDetail")])
    company.invoice("site-1", "muller_site", "30", txn_date=days_ago(3), due_date=None)
    company.invoice("repaid-1", "repaid", "60", balance=0, txn_date=days_ago(70))
    company.payment("repaid-p", "repaid", "60", ("Invoice", "repaid-1", "60"))
    company.add(
        "raw_quickbooks.refund_receipts", id="9", txn_date=days_ago(2), customer_id="repaid", currency="USD", total=20,
        tax=0, sync_token="0",
    )  # fmt: skip
    company.invoice("ahead-1", "prompt", "5", txn_date=AS_OF + timedelta(days=1), due_date=AS_OF + timedelta(days=31))


def confirmed(company: Company) -> None:
    """A person matched two customers to two accounts, and each has an invoice."""
    for account_id, customer_id in (("survivor", "loser"), ("absorbed", "moved")):
        company.account(account_id)
        company.customer(customer_id)
        company.invoice(f"{customer_id}-1", customer_id, "70")
        company.add("raw_quickbooks.aged_receivables", customer_id=customer_id, customer_name="x", total=70, report_date=AS_OF)
        company.add("raw_crossfoot.decisions", id=account_id, kind="match", source="hubspot", left_id=account_id,
                    right_source="quickbooks", right_id=customer_id, verdict="same", decided_by="Olga", reason="asked")  # fmt: skip


def merged_and_renamed(later: Company) -> None:
    """QuickBooks merges a customer into another: it stays, inactive, and its documents are the other's. HubSpot merges a
    company into another: its id is gone, and the survivor has what it stored. A customer is renamed."""
    later.customer("loser", display_name="loser (deleted)", active=False, modified_at=NEXT_NIGHT)
    later.customer("winner")
    later.invoice("loser-1", "winner", "70", sync_token="1", modified_at=NEXT_NIGHT)
    later.account("survivor", customer_ids="quickbooks:winner", modified_at=NEXT_NIGHT)
    later.delete("raw_hubspot.companies", "absorbed")
    later.account("keeper", customer_ids="quickbooks:moved")
    later.customer("covered", display_name="Renamed & Reborn", modified_at=NEXT_NIGHT)


CAUSES = {
    "exact": ("Matched", None),
    "cent": ("Matched", "rounding"),
    "taxed": ("Explained", "tax_in_contract"),
    "twice": ("Review", "duplicate_invoice"),
    "credited": ("Explained", "credit_note"),
    "discounted": ("Explained", "discount"),
    "pricier": ("Review", "price_or_quantity"),
    "monthly": ("Explained", "scheduled"),
    "next_year": ("Explained", "scheduled"),
    "forgotten": ("Review", "not_invoiced"),
    "half": ("Review", "partly_invoiced"),
    "more": ("Review", "over_invoiced"),
    "foreign": ("Review", "other_currency"),
    "blank": ("Review", "unexplained"),
}


def deals_of_the_first_night(company: Company) -> None:
    item = "SalesItemLineDetail"
    for deal_id in ("exact", "cent", "twice", "credited", "discounted", "forgotten"):
        company.deal(deal_id, "dealer", "1000")
    company.invoice("exact-1", "dealer", "1000", crm_deal_id="exact")
    company.invoice("cent-1", "dealer", "999.99", crm_deal_id="cent")
    company.deal("taxed", "dealer", "1190")
    company.invoice("taxed-1", "dealer", "1000", tax="190", crm_deal_id="taxed")
    for number in (1, 2):
        company.invoice(f"twice-{number}", "dealer", "1000", crm_deal_id="twice")
    company.invoice("credited-1", "dealer", "1000", crm_deal_id="credited", balance=700)
    company.credit_note("credited-n", "dealer", "300", balance=0, remaining_credit=0)
    company.payment("credited-a", "dealer", "0", ("Invoice", "credited-1", "300"), ("CreditMemo", "credited-n", "300"))
    lines = [("consulting", "1", "1000", item), ("", "1", "-100", "DiscountLineDetail")]
    company.invoice("discounted-1", "dealer", "900", crm_deal_id="discounted", lines=lines)
    company.deal("pricier", "dealer", "1000", lines=[("seats", "10", "1000")])
    company.invoice("pricier-1", "dealer", "1200", crm_deal_id="pricier", lines=[("seats", "12", "1200", item)])
    company.deal("monthly", "dealer", "1200", lines=[("plan", "12", "1200", "monthly", date(2026, 5, 15), 12)])
    for number in (1, 2):
        lines = [("plan", "1", "100", item)]
        company.invoice(f"monthly-{number}", "dealer", "100", crm_deal_id="monthly", lines=lines)
    company.deal("next_year", "dealer", "500", lines=[("plan", "1", "500", "annually", date(2027, 1, 1), 1)])
    company.deal("half", "dealer", "1000", lines=[("hardware", "1", "600"), ("setup", "1", "400")])
    company.invoice("half-1", "dealer", "600", crm_deal_id="half", lines=[("hardware", "1", "600", item)])
    company.deal("more", "dealer", "1000")
    lines = [("consulting", "1", "1000", item), ("travel", "1", "77", item)]
    company.invoice("more-1", "dealer", "1077", doc_number="M-1", lines=lines)
    company.add("raw_hubspot.deals", id="more", invoice_numbers="M-1; M-404", name="more", stage_id="won", is_won=True,
                is_closed=True, amount=1000, currency=None, close_date=days_ago(45), modified_at=NIGHT)  # fmt: skip
    company.deal("foreign", "euro", "100")
    company.invoice("foreign-1", "euro", "100", currency="EUR", exchange_rate="1.1", crm_deal_id="foreign")
    company.deal("blank", "dealer", None, lines=[], _problem="amount: 'tbd' is not a number")
    company.deal("open", None, "400", lines=[], stage_id="proposal", is_won=False, is_closed=False,
                 probability=Decimal("0.25"), close_date=AS_OF + timedelta(days=40))  # fmt: skip


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("dbt")
    path = folder / "warehouse.duckdb"
    create_raw_tables(path)
    return Warehouse(path, folder)


@pytest.fixture(scope="module")
def first_night(warehouse: Warehouse) -> Iterator[Warehouse]:
    company = Company(NIGHT)
    company.base()
    accounts_of_the_first_night(company)
    documents_of_the_first_night(company)
    deals_of_the_first_night(company)
    confirmed(company)
    company.add(
        "raw_quickbooks.aged_receivables", customer_id="late", customer_name="late", total=119, report_date=AS_OF
    )
    company.add("raw_quickbooks.aged_receivables", customer_id="covered", customer_name="c", total=5, report_date=AS_OF)
    company.add("raw_quickbooks.aged_receivables", customer_id="dealer", customer_name="d", total="9866.99", report_date=AS_OF)
    company.add("raw_quickbooks.aged_receivables", customer_id="euro", customer_name="e", total=220, report_date=AS_OF)
    company.loaded("hubspot")
    company.loaded("quickbooks")
    company.land(warehouse.path)
    warehouse.build()
    yield warehouse


def test_a_model_that_fails_leaves_what_was_there(first_night: Warehouse, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    model = project / "models" / "marts" / "dim_owners.sql"
    model.write_text(f"{model.read_text()}\nwhere error('boom') is null")
    before = first_night.export()
    assert not replace(first_night, project=project).dbt("run", "--select", "dim_owners").success
    assert first_night.export() == before and before["marts.dim_owners"]


@dataclass(frozen=True)
class Nights:
    """The first night, the first night again after more had landed, and the second night."""

    first: dict[str, list[str]]
    again: dict[str, list[str]]
    warehouse: Warehouse


@pytest.fixture(scope="module")
def nights(first_night: Warehouse) -> Nights:
    """Runs after the tests of the first night; a later landing deletes, pays, renames, and QuickBooks fails."""
    first = first_night.export()
    later = Company(NEXT_NIGHT)
    later.delete("raw_hubspot.companies", "quiet")
    later.delete("raw_quickbooks.invoices", "late-1")
    later.account("prompt", name="Prompt Renamed", customer_ids="quickbooks:prompt", modified_at=NEXT_NIGHT)
    merged_and_renamed(later)
    later.loaded("hubspot")
    later.loaded("quickbooks", "failed", "503 from the vendor")
    later.land(first_night.path)
    first_night.build(*MODELS_ALONE)
    again = first_night.export()
    first_night.build(*MODELS_ALONE, as_of=AS_OF + timedelta(days=1), known_at=NEXT_NIGHT)
    return Nights(first, again, first_night)


STATUSES = {
    "late": ("Credit Hold", 60, Decimal(119), Decimal(119), Decimal(0), "Overdue"),
    "covered": ("Current", 0, Decimal(80), Decimal(0), Decimal(100), "Overdue"),
    "prompt": ("Current", 0, Decimal(0), Decimal(0), Decimal(0), "Paid"),
    "euro": ("Overdue", 10, Decimal(220), Decimal(220), Decimal(0), "Overdue"),
    "voided": ("Current", 0, Decimal(0), Decimal(0), Decimal(0), "Paid"),
    "müller": ("Overdue", 3, Decimal(30), Decimal(30), Decimal(0), "Overdue"),
    "quiet": ("No Invoices", 0, Decimal(0), Decimal(0), Decimal(0), None),
}


@pytest.mark.parametrize("account_id", STATUSES)
def test_account_has_the_status_of_its_story(first_night: Warehouse, account_id: str) -> None:
    assert first_night.one(
        "select financial_status, days_overdue, total_outstanding, overdue_amount, unapplied_credit, "
        "last_invoice_status from marts.account_status where account_id = ?",
        account_id,
    ) == STATUSES[account_id]  # fmt: skip


@pytest.mark.parametrize("deal_id", CAUSES)
def test_deal_has_the_cause_of_its_story(first_night: Warehouse, deal_id: str) -> None:
    assert first_night.one(
        "select status, main_cause from marts.fct_deal_reconciliation where deal_id = ?", deal_id
    ) == CAUSES[deal_id]  # fmt: skip


def test_customers_are_matched_by_the_first_rung_that_answers(first_night: Warehouse) -> None:
    found = first_night.rows(
        "select customer_id, match_outcome, account_id, match_rung from marts.dim_customers "
        "where customer_id in ('late', 'knows_its_account', 'mailer_customer', 'muller_gmbh', 'muller_site', 'twins', "
        "'stranger') order by match_rung nulls last, customer_id"
    )
    assert found == [
        ("late", "matched", "late", 2),
        ("twins", "ambiguous", None, 2),
        ("knows_its_account", "matched", "known", 3),
        ("mailer_customer", "matched", "mailer", 4),
        ("muller_gmbh", "matched", "müller", 5),
        ("muller_site", "matched", "müller", 5),
        ("stranger", "unmatched", None, None),
    ]


def test_a_customer_of_two_accounts_is_a_question_and_both_are_held(first_night: Warehouse) -> None:
    assert first_night.rows(
        "select left_id, right_id, is_suggestion from marts.rpt_match_review where kind = 'match' order by all"
    ) == [("dealer", "stranger", True), ("twin_east", "twins", False), ("twin_west", "twins", False)]
    assert first_night.rows(
        "select record_id, hold_reason from activation.sync_hubspot__companies "
        "where hold_reason is not null and hold_reason not like '%does not tie out%' order by all"
    ) == [
        ("garbled", "a record behind these numbers has a data problem"),
        ("twin_east", "customer match is not certain"),
        ("twin_west", "customer match is not certain"),
    ]


def test_numbers_beside_the_status(first_night: Warehouse) -> None:
    numbers = "last_payment_date, credit_status, invoiced_to_date, collected_to_date, average_days_to_pay"
    sql = f"select {numbers} from activation.sync_hubspot__companies where record_id = ?"
    assert first_night.one(sql, "prompt") == (days_ago(10), "None", 200, 200, Decimal("20.0"))
    assert first_night.one(sql, "repaid") == (days_ago(5), "Refunded", 40, 40, Decimal("65.0"))
    assert first_night.one(sql, "late") == (None, "None", 100, 0, None)


def test_a_deal_in_another_currency_than_its_invoice_gives_no_number(first_night: Warehouse) -> None:
    assert first_night.one(
        "select reconciliation_status, variance_cause, contracted_amount, invoiced_amount, collected_amount, "
        "variance_amount, hold_reason from activation.sync_hubspot__deals where record_id = 'foreign'"
    ) == ("Review", "other_currency", 100, None, None, None, None)


def test_a_deal_with_a_problem_is_held_and_listed(first_night: Warehouse) -> None:
    assert first_night.one(
        "select hold_reason, contracted_amount from activation.sync_hubspot__deals where record_id = 'blank'"
    ) == ("a record behind these numbers has a data problem", None)
    assert first_night.rows(
        "select object, record_id, message from marts.rpt_exceptions where kind = 'data_problem' order by all"
    ) == [
        ("deal", "blank", "amount: 'tbd' is not a number"),
        ("invoice", "garbled-1", "total: 'ten' is not a number"),
    ]


def test_exceptions_name_their_record(first_night: Warehouse) -> None:
    sql = "select record_id, related_id, message from marts.rpt_exceptions where kind = ? order by all"
    assert [row[0] for row in first_night.rows(sql, "customer_only_in_accounting")] == ["stranger"]
    assert first_night.rows(sql, "customer_claimed_twice")[0][0] == "twins"
    assert first_night.rows(sql, "reference_not_found")[0][:2] == ("more", "M-404")
    assert first_night.rows(sql, "stored_customer_unknown")[0][:2] == ("twin_west", "nobody")
    assert [row[0] for row in first_night.rows(sql, "document_dated_ahead")] == ["ahead-1"]
    assert [row[0] for row in first_night.rows(sql, "deal_without_account")] == ["open"]
    assert first_night.rows(sql, "deal_without_amount") == []


def test_tie_out_lists_what_the_ledger_reports_otherwise(first_night: Warehouse) -> None:
    differences = dict(
        first_night.rows("select record_id, amount_base from marts.rpt_exceptions where kind = 'tie_out'")
    )
    assert "late" not in differences
    assert differences["covered"] == Decimal(80) - 100 - 5


def test_months_run_from_the_earliest_to_twelve_ahead(first_night: Warehouse) -> None:
    first, last = first_night.one("select min(month), max(month) from marts.revenue_cycle_monthly")
    assert (first, last) == (date(2026, 3, 1), date(2027, 6, 1))
    assert first_night.one(
        "select pipeline_amount, pipeline_weighted from marts.revenue_cycle_monthly where month = '2026-08-01'"
    ) == (400, 100)


def test_every_column_is_commented(first_night: Warehouse) -> None:
    assert first_night.rows(
        "select table_name, column_name from duckdb_columns() "
        "where schema_name in ('marts', 'activation') and coalesce(comment, '') = ''"
    ) == []  # fmt: skip


def test_ledger_rows_that_disagree_with_themselves_are_listed_not_fatal(first_night: Warehouse) -> None:
    assert first_night.rows(
        "select record_id, message, amount_base from marts.rpt_exceptions where kind = 'document_lines_differ'"
    ) == [("late-1", "lines and tax 109.000000, total 119.000000", -10)]


def test_a_later_landing_does_not_change_an_earlier_night(nights: Nights) -> None:
    assert nights.again == nights.first


def test_a_failed_ledger_holds_its_accounts(nights: Nights) -> None:
    reasons = nights.warehouse.rows(
        "select distinct hold_reason from activation.sync_hubspot__companies union "
        "select distinct hold_reason from activation.sync_hubspot__deals"
    )
    assert reasons == [("the last extract of quickbooks failed",)]
    assert nights.warehouse.one("select distinct financials_as_of from marts.account_status") == (NIGHT,)
    assert nights.warehouse.one(
        "select last_status, last_message, status from marts.sync_health where source = 'quickbooks'"
    ) == ("failed", "503 from the vendor", "held")


def test_what_is_deleted_never_existed(nights: Nights) -> None:
    assert nights.warehouse.rows("select 1 from marts.dim_accounts where account_id = 'quiet'") == []
    assert nights.warehouse.one(
        "select financial_status, last_invoice_date from marts.account_status where account_id = 'late'"
    ) == ("No Invoices", None)


def test_the_newest_version_counts(nights: Nights) -> None:
    assert nights.warehouse.one("select name from marts.dim_accounts where account_id = 'prompt'") == (
        "Prompt Renamed",
    )


def test_merged_and_renamed_customers_keep_their_history(nights: Nights) -> None:
    documents = "select account_id, customer_id, net_amount from marts.fct_invoices where document_id = ?"
    assert nights.warehouse.one(documents, "loser-1") == ("survivor", "winner", 70)
    assert nights.warehouse.one(documents, "moved-1") == ("keeper", "moved", 70)
    assert nights.warehouse.one(documents, "covered-1") == ("covered", "covered", 80)
    assert nights.warehouse.one("select name, match_rung from marts.dim_customers where customer_id = 'covered'") == ("Renamed & Reborn", 2)
    totals = "select account_id, total_outstanding from marts.account_status where account_id in ('survivor', 'keeper') order by 1"
    assert nights.warehouse.rows(totals) == [("keeper", 70), ("survivor", 70)]


def test_a_decision_about_what_was_merged_away_is_listed(nights: Nights) -> None:
    wanted = "select record_id, customer_ids from activation.sync_hubspot__companies where customer_ids is not null order by 1"
    assert nights.warehouse.rows(wanted) == [("survivor", "+quickbooks:loser")]
    lost = nights.warehouse.rows(
        "select record_id, related_id, message from marts.rpt_exceptions where kind = 'decision_lost' order by 1"
    )
    assert [row[:2] for row in lost] == [("absorbed", "quickbooks:moved"), ("survivor", "quickbooks:loser")]
    assert "Olga decided" in lost[0][2] and "the account is gone" in lost[0][2]
    assert "the customer is inactive and has no documents" in lost[1][2]
    assert not any("decision_lost" in row for row in nights.first["marts.rpt_exceptions"])


def test_history_keeps_a_row_per_night_and_account(nights: Nights) -> None:
    counts = nights.warehouse.rows("select as_of, count(*) from marts.account_status_history group by 1 order by 1")
    accounts = len(nights.first["marts.account_status"])
    assert counts == [(AS_OF, accounts), (AS_OF + timedelta(days=1), accounts - 1)]  # two are gone, one is new


UNKNOWN = {
    ("deal", "odd"): "stage: nobody enumerated shipped",
    ("invoice", "odd-1"): "delivery: nobody enumerated CarrierPigeon; issue_date: 1926-06-01 is no plausible day; "
                          "currency: XQX is no ISO 4217 code",
}


def test_unknown_values_and_impossible_days_are_problems_of_their_records(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    create_raw_tables(path)
    company = Company(NIGHT)
    company.base()
    company.customer("acme")
    company.customer("fine")
    company.deal("odd", None, "10", stage_id="shipped")
    company.invoice("odd-1", "acme", "10", currency="XQX", exchange_rate=1, email_status="CarrierPigeon", txn_date=date(1926, 6, 1))
    company.invoice("fine-1", "fine", "10")
    company.land(path)
    warehouse = Warehouse(path, tmp_path)
    result = warehouse.dbt("build", "--indirect-selection", "empty", "--select", "+rpt_exceptions", "assert_every_structure_is_known")
    assert result.success, messages_of(result)
    found = {(row[0], row[1]): row[2] for row in warehouse.rows(
        "select object, record_id, message from marts.rpt_exceptions where kind = 'data_problem'")}
    assert {key: sorted(text.split("; ")) for key, text in found.items()} == {
        key: sorted(text.split("; ")) for key, text in UNKNOWN.items()}


def test_a_field_that_no_record_has_stops_the_night(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    create_raw_tables(path)
    company = Company(NIGHT)
    company.base()
    company.customer("acme")
    for number in range(6):
        company.invoice(f"acme-{number}", "acme", "10", balance=None)
    company.land(path)
    result = Warehouse(path, tmp_path).dbt("build", "--indirect-selection", "empty", "--select", "+assert_every_structure_is_known")
    assert not result.success
    assert "quickbooks documents.open_amount (none of 6 records has it)" in messages_of(result)


def test_an_empty_warehouse_builds(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    create_raw_tables(path)
    empty = Warehouse(path, tmp_path)
    empty.build()
    assert empty.rows("select source, status from marts.sync_health order by 1") == [
        ("hubspot", "held"),
        ("quickbooks", "held"),
    ]
    units = empty.dbt("test", "--select", "test_type:unit", unit_tests=True)
    assert units.success, messages_of(units)
    assert len(units.result.results) == len(unit_tests(empty.crms + empty.ledgers))


def unit_tests(vendors: tuple[str, ...]) -> list[str]:
    """The names of all dbt unit tests in the project but those of other vendors."""
    found: list[str] = []
    for path in sorted((PROJECT / "models").rglob("*.yml")):
        if path.parent.parent.name != "staging" or path.parent.name in vendors:
            found += [test["name"] for test in yaml.safe_load(path.read_text(encoding="utf-8")).get("unit_tests", ())]
    return found


def canonical_columns() -> dict[str, list[list[str]]]:
    """The declaration of macros/canonical.sql, read by its own language."""
    text = (PROJECT / "macros" / "canonical.sql").read_text(encoding="utf-8")
    body = re.search(r"macro canonical_objects\(\) %}(.*?){% endmacro %}", text, re.DOTALL)
    assert body
    declared: dict[str, dict] = {}
    Environment().from_string(body.group(1)).render(**{"return": lambda objects: declared.update(objects) or ""})
    return {name: spec["columns"] for name, spec in declared.items()}


def test_contracts_of_the_unions_are_the_canonical_declaration() -> None:
    declared = canonical_columns()
    models = yaml.safe_load((PROJECT / "models" / "intermediate" / "unions.yml").read_text(encoding="utf-8"))["models"]
    contracts = {model["name"]: model for model in models}
    assert set(contracts) == {f"int_{name}__unioned" for name in declared}
    for name, columns in declared.items():
        model = contracts[f"int_{name}__unioned"]
        assert model["config"]["contract"]["enforced"] is True
        assert [[column["name"], column["data_type"]] for column in model["columns"]] == columns, name
        assert all(column["description"] for column in model["columns"]), name


def test_no_vendor_is_named_after_staging() -> None:
    for folder in ("intermediate", "marts"):
        for path in sorted((PROJECT / "models" / folder).rglob("*")):
            assert not re.search(r"hubspot|quickbooks", path.read_text(encoding="utf-8"), re.IGNORECASE), path
    for path in sorted((PROJECT / "macros").glob("*.sql")):
        assert not re.search(r"hubspot|quickbooks", path.read_text(encoding="utf-8"), re.IGNORECASE), path
