"""Two CRMs and two ledgers in one night: who is matched where, what adds up, and whom a failure holds back.

The second of each is invented: its staging models hand on rows that are canonical already, and the rest of its room is
what any vendor's is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from dbt_fixture import MODELS_ALONE, PROJECT
from raw_rows import create_raw_tables
from test_dbt_models import AS_OF, NIGHT, Company, Warehouse, canonical_columns, days_ago

CRM, BOOKS = "second_crm", "second_books"
OBJECTS = {
    CRM: ("accounts", "account_customer_ids", "account_merges", "contacts", "owners", "deals", "deal_lines",
          "deal_invoice_references", "rates"),
    BOOKS: ("customers", "documents", "document_lines", "payments", "applications", "control_totals", "closing_dates",
            "not_read", "rates"),
}  # fmt: skip
ACME, SOUTH = "9a0c1a46-0000-4000-8000-000000000001", "9a0c1a46-0000-4000-8000-000000000002"
NOTE, REFUND, BILL = "c7000000-0000-4000-8000-000000000009", "fa000000-0000-4000-8000-000000000009", "b1000000-1"
PARTIAL = f"{BOOKS} has not been read to its end: its calls for the night were used up"


def project_with_invented_vendors(folder: Path) -> Path:
    """A copy of the dbt project with a second CRM and a second ledger: their folders are all that is added."""
    project = folder / "project"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("target", "logs", "dbt_packages"))
    for slug, objects in OBJECTS.items():
        room = project / "models" / "staging" / slug
        room.mkdir()
        tables = "".join(f"      - {{name: {name}}}\n" for name in objects)
        (room / f"{slug}_sources.yml").write_text(
            f"version: 2\nsources:\n  - name: raw_{slug}\n    schema: raw_{slug}\n    tables:\n{tables}"
        )
        for name in objects:
            (room / f"stg_{slug}__{name}.sql").write_text(
                f"{{{{ canonical_select('{name}', source('raw_{slug}', '{name}')) }}}}"
            )
    room = project / "models" / "activation" / CRM
    room.mkdir()
    contracts = (project / "models" / "activation" / "hubspot" / "sync_hubspot.yml").read_text()
    (room / f"sync_{CRM}.yml").write_text(
        contracts.replace("hubspot__companies", f"{CRM}__accounts").replace("hubspot__deals", f"{CRM}__deals")
        .replace("hubspot_fields", f"{CRM}_fields")
    )
    (room / f"sync_{CRM}__accounts.sql").write_text(f"{{{{ activate_accounts('{CRM}') }}}}")
    (room / f"sync_{CRM}__deals.sql").write_text(f"{{{{ activate_deals('{CRM}') }}}}")
    (project / "tests" / CRM).mkdir()
    (project / "tests" / CRM / f"assert_activation_covers_{CRM}.sql").write_text(
        f"{{{{ activation_covers('{CRM}', 'sync_{CRM}__accounts', 'sync_{CRM}__deals') }}}}"
    )
    return project


class Several(Company):
    """Raw rows of the first CRM and ledger, and canonical rows of the second ones."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._canonical: list[tuple[str, dict[str, object]]] = []

    def second(self, slug: str, table: str, /, **values: object) -> None:
        self._canonical.append((f"raw_{slug}.{table}", {"source": slug} | values))

    def second_account(self, account_id: str, *customers: str, **values: object) -> None:
        self.second(CRM, "accounts", account_id=account_id, name=account_id, owner_id="otto", **values)
        for stored in customers:
            ledger, _, customer_id = stored.partition(":")
            self.second(CRM, "account_customer_ids", account_id=account_id, ledger=ledger, customer_id=customer_id)

    def second_document(self, kind: str, document_id: str, customer_id: str, net: str, **values: object) -> None:
        tax = Decimal(str(values.pop("tax", 0)))
        gross = Decimal(net) + tax
        defaults: dict[str, object] = {
            "number": document_id, "status": "issued", "delivery": "sent", "issue_date": days_ago(40),
            "due_date": days_ago(10) if kind == "invoice" else None, "currency": "USD", "rate": 1, "net": net,
            "tax": tax, "gross": gross, "open_amount": gross, "refunded_amount": 0,
        }  # fmt: skip
        self.second(
            BOOKS, "documents", document_type=kind, document_id=document_id, customer_id=customer_id,
            **(defaults | values),
        )  # fmt: skip

    def land(self, path: Path) -> None:
        super().land(path)
        with duckdb.connect(str(path)) as connection:
            for table, values in self._canonical:
                marks = ", ".join("?" for _ in values)
                connection.execute(f"insert into {table} ({', '.join(values)}) values ({marks})", list(values.values()))
        self._canonical.clear()


def create_canonical_tables(path: Path) -> None:
    columns = canonical_columns()
    with duckdb.connect(str(path)) as connection:
        for slug, objects in OBJECTS.items():
            connection.execute(f"create schema raw_{slug}")
            for name in objects:
                listed = ", ".join(f"{column} {type_}" for column, type_ in columns[name])
                connection.execute(f"create table raw_{slug}.{name} ({listed})")


def who_is_where(company: Several) -> None:
    company.account("acme", customer_ids=f"quickbooks:acme;{BOOKS}:{ACME}")
    company.second_account("A-1", "quickbooks:acme")
    company.customer("acme", email="pay@acme.example")
    company.second(BOOKS, "customers", customer_id=ACME, name="Acme", email="pay@acme.example", crm_account_id="A-1",
                   active=True, currency="USD")  # fmt: skip
    company.pair("solo")
    company.second_account("S-1", "quickbooks:solo")
    company.account("shared", billing_email="desk@agency.example", domain="agency.example")
    company.second_account("T-1", "quickbooks:twin_1")
    for name in ("twin_1", "twin_2"):
        company.customer(name, email="desk@agency.example")
    company.customer("only_second", display_name="Only Second Ltd")
    company.second_account("O-1", "quickbooks:only_second")
    company.customer("stranger")
    company.second(BOOKS, "customers", customer_id=SOUTH, name="South", active=True, currency="USD")
    company.account("lonely")


def what_they_bought(company: Several) -> None:
    company.invoice("100", "acme", "100", crm_deal_id="d-1")
    company.deal("d-1", "acme", "100", close_date=days_ago(50))
    company.second(CRM, "deals", deal_id="D-1", name="D-1", account_id="A-1", owner_id="otto", stage="Won", amount=100,
                   currency="USD", rate=1, close_date=days_ago(50), is_won=True, is_closed=True, probability=1)  # fmt: skip
    company.second_document("invoice", BILL, ACME, "50", tax="10")
    # Paid back: a credit note, and a payment out that is applied to it.
    company.second_document("credit_note", NOTE, ACME, "20", tax="4", open_amount=0)
    company.second(BOOKS, "payments", payment_id=REFUND, payment_type="refund", customer_id=ACME, currency="USD",
                   payment_date=days_ago(3), rate=1, amount=24, unapplied_amount=0)  # fmt: skip
    company.second(BOOKS, "applications", applied_type="payment", applied_id=REFUND, document_type="credit_note",
                   document_id=NOTE, amount=24, applied_date=days_ago(3))  # fmt: skip
    company.second_document("invoice", "draft", ACME, "7", status="draft", open_amount=0)
    company.second(BOOKS, "control_totals", customer_id=ACME, customer_name="Acme", report_date=AS_OF, currency="USD",
                   total=60)  # fmt: skip
    company.invoice("200", "solo", "70")
    company.deal("cross", "solo", "30", close_date=days_ago(300))
    company.second_document("invoice", "crossing", SOUTH, "30", deal_reference="cross")
    for customer in ("twin_1", "twin_2", "only_second", "stranger"):
        company.invoice(f"of-{customer}", customer, "5")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    folder = tmp_path_factory.mktemp("several")
    path = folder / "warehouse.duckdb"
    create_raw_tables(path)
    create_canonical_tables(path)
    warehouse = Warehouse(
        path, folder, project_with_invented_vendors(folder), ("hubspot", CRM), ("quickbooks", BOOKS)
    )
    company = Several(NIGHT)
    company.base()
    who_is_where(company)
    what_they_bought(company)
    for source in (*warehouse.crms, *warehouse.ledgers):
        company.loaded(source)
    company.land(path)
    warehouse.build()
    yield warehouse


def test_a_customer_of_two_crms_is_matched_in_both(night: Warehouse) -> None:
    assert night.rows(
        "select source, customer_id, account_source, account_id, match_rung, is_first from marts.dim_customer_matches "
        "where customer_id in ('acme', ?) order by all", ACME,
    ) == [
        ("quickbooks", "acme", "hubspot", "acme", 2, True),
        ("quickbooks", "acme", CRM, "A-1", 2, False),
        (BOOKS, ACME, "hubspot", "acme", 2, True),
        (BOOKS, ACME, CRM, "A-1", 3, False),
    ]  # fmt: skip


def test_two_ledgers_add_up_once_on_the_account_of_each_crm(night: Warehouse) -> None:
    sql = (
        "select financial_status, total_outstanding, invoiced_to_date, collected_to_date, credit_status, sources, "
        "hold_reason from marts.account_status where source = ? and account_id = ?"
    )
    told = ("Overdue", 160, 130, -24, "Refunded", f"quickbooks,{BOOKS}", None)
    assert night.one(sql, "hubspot", "acme") == told
    assert night.one(sql, CRM, "A-1") == told
    assert night.one("select total_outstanding from activation.sync_second_crm__accounts where record_id = 'S-1'") == (
        70,
    )


def test_a_document_keeps_its_source_and_one_row(night: Warehouse) -> None:
    assert night.rows(
        "select source, count(*), sum(gross_amount) from marts.fct_invoices group by 1 order by 1"
    ) == [("quickbooks", 6, 190), (BOOKS, 4, 60 + 24 + 7 + 30)]
    assert night.one("select sum(invoiced) from marts.revenue_cycle_monthly") == (190 + 50 - 20 + 30,)
    assert night.one("select account_source, account_id from marts.fct_invoices where document_id = 'of-only_second'") == (
        CRM, "O-1",
    )  # fmt: skip
    assert night.one("select account_source, account_id from marts.fct_invoices where document_id = 'of-stranger'") == (
        None, None,
    )  # fmt: skip


def test_a_document_bills_a_deal_in_each_crm(night: Warehouse) -> None:
    assert night.one("select deal_source, deal_id from marts.fct_invoices where document_id = '100'") == (
        "hubspot",
        "d-1",
    )
    assert night.rows(
        "select source, deal_id, status, invoiced_amount from marts.fct_deal_reconciliation "
        "where deal_id in ('d-1', 'D-1') order by all"
    ) == [("hubspot", "d-1", "Matched", 100), (CRM, "D-1", "Matched", 100)]
    # Two CRMs that hold one deal count it twice.
    assert night.one("select sum(bookings), sum(won_deals) from marts.revenue_cycle_monthly") == (230, 3)


def test_a_question_in_one_crm_is_none_in_the_other(night: Warehouse) -> None:
    assert night.rows(
        "select source, left_id, right_id from marts.rpt_match_review where not is_suggestion order by all"
    ) == [("hubspot", "shared", "twin_1"), ("hubspot", "shared", "twin_2")]
    assert night.rows(
        "select record_id, related_id from marts.rpt_exceptions where kind = 'ambiguous_match' order by all"
    ) == [("twin_1", "hubspot"), ("twin_2", "hubspot")]
    held = "select source, account_id from marts.account_status where hold_reason = 'customer match is not certain'"
    assert night.rows(held) == [("hubspot", "shared")]
    assert night.one("select account_source, account_id from marts.dim_customers where customer_id = 'twin_1'") == (
        CRM,
        "T-1",
    )


def test_only_in_accounting_means_in_no_crm(night: Warehouse) -> None:
    assert night.rows(
        "select source, record_id from marts.rpt_exceptions where kind = 'customer_only_in_accounting' order by all"
    ) == [("quickbooks", "stranger"), (BOOKS, SOUTH)]


def test_a_refund_that_is_applied_to_its_credit_note(night: Warehouse) -> None:
    assert night.one("select amount, net_amount from marts.fct_payments where payment_id = ?", REFUND) == (24, 20)
    assert night.one("select settled_on, is_open from marts.fct_invoices where document_id = ?", NOTE) == (
        days_ago(3),
        False,
    )
    assert night.rows("select kind, record_id from marts.rpt_exceptions where source = ? and kind like '%differ%'", BOOKS) == []
    assert night.one("select ties_out from marts.rpt_receivables_ageing where customer_id = ?", ACME) == (True,)


def test_one_ledger_failing_leaves_the_others_served(night: Warehouse) -> None:
    failed = Several(NIGHT + timedelta(days=1))
    for source in ("hubspot", CRM, "quickbooks"):
        failed.loaded(source)
    failed.loaded(BOOKS, "failed", "503")
    failed.land(night.path)
    night.build(*MODELS_ALONE, known_at=failed.known_at)
    reason = f"the last extract of {BOOKS} failed"
    assert dict(night.rows("select account_id, hold_reason from marts.account_status")) == {
        "acme": reason, "A-1": reason, "lonely": reason, "shared": reason,
        "solo": None, "S-1": None, "T-1": None, "O-1": None,
    }  # fmt: skip
    # Its account is served, but a document of the failed ledger bills the deal.
    assert dict(night.rows("select record_id, hold_reason from activation.sync_hubspot__deals")) == {
        "d-1": reason, "cross": reason,
    }  # fmt: skip


def test_what_was_read_in_part_and_another_crm_that_failed(night: Warehouse) -> None:
    partial = Several(NIGHT + timedelta(days=2))
    for source in ("hubspot", "quickbooks"):
        partial.loaded(source)
    partial.loaded(BOOKS, "partial")
    partial.loaded(CRM, "failed", "401")
    partial.land(night.path)
    night.build(*MODELS_ALONE, known_at=partial.known_at)
    held = dict(night.rows("select account_id, hold_reason from marts.account_status where source = 'hubspot'"))
    assert held == {"acme": PARTIAL, "lonely": PARTIAL, "shared": PARTIAL, "solo": None}
    reasons = night.rows(f"select distinct hold_reason from activation.sync_{CRM}__accounts where record_id <> 'A-1'")
    assert reasons == [(f"the last extract of {CRM} failed",)]
    assert night.one("select last_status, hold_reason, last_complete_at from marts.sync_health where source = ?", BOOKS) == (
        "partial", PARTIAL, NIGHT,
    )  # fmt: skip
