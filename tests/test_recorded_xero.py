"""The vendor's own example answers load through the source without a special case."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from extract_fixture import DAY, FAST, NIGHT, MemoryTokens
from xero_books import TENANT, Books, Call, served

from pipelines import settings
from pipelines.landing import Job, arrow
from pipelines.vendors import VENDORS
from pipelines.vendors.xero import CARD, reading, report, rows, source

RECORDED = Path(__file__).parents[1].parent / "shared" / "recorded" / "xero"
ORGANISATION = rows.Tenant("b2c885a9-4bb9-4a00-9b6e-6c2bf60b1a2b", "Dev Evangelist - Sid Test 3 (NZ-2016-02)", "!mBdtL")
ROWS_OF = {
    "Invoices": rows.invoice_rows, "CreditNotes": rows.credit_note_rows, "Payments": rows.payment_rows,
    "Overpayments": rows.overpayment_rows, "Prepayments": rows.prepayment_rows,
    "Contacts": lambda item, tenant: [("contacts", [rows.contact_row(item, tenant)])],
}  # fmt: skip
SINGLE = ("Invoices_InvoiceID", "CreditNotes_CreditNoteID", "Payments_PaymentID", "Overpayments_OverpaymentID",
          "Prepayments_PrepaymentID", "Contacts_ContactID", "Contacts_ContactNumber")  # fmt: skip


def recorded(name: str) -> dict[str, Any]:
    """A recorded answer, fractions as Decimal; numbers keep their text."""
    path = RECORDED / f"GET_{name}.json"
    if not path.exists():
        pytest.skip("the recorded answers are not beside this repository")
    return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)


def landed(name: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of every record of an answer, by table."""
    path = name.partition("_")[0]
    return dict(rows.by_table(ROWS_OF[path](item, ORGANISATION) for item in recorded(name)[path]))


@pytest.mark.parametrize("name", [*ROWS_OF, *SINGLE])
def test_no_record_has_a_problem_and_all_fit_their_columns(name):
    for table, found in landed(name).items():
        assert [row["_problem"] for row in found] == [None] * len(found)
        assert arrow(source.TABLES[table], found, NIGHT).num_rows == len(found)


def test_invoices_keep_their_totals_and_a_void_one_keeps_its_own():
    found = landed("Invoices")["invoices"]
    assert [(row["number"], row["status"], row["total"], row["amount_due"], row["amount_paid"]) for row in found] == [
        ("INV-0001", "VOIDED", Decimal(40), Decimal(0), Decimal(0)),
        ("INV-0002", "PAID", Decimal(46), Decimal(0), Decimal(46)),
        ("INV-0003", "AUTHORISED", Decimal(115), Decimal(115), Decimal(0)),
    ]
    first = found[0]
    assert (first["issue_date"], first["due_date"], first["sent"]) == (date(2018, 10, 20), date(2018, 12, 30), True)
    assert (first["currency"], first["currency_rate"], first["line_amount_types"]) == ("NZD", Decimal(1), "Exclusive")
    assert (first["version"], first["modified_at"]) == (
        "/Date(1541176290160+0000)/", datetime(2018, 11, 2, 16, 31, 30, 160000, UTC)
    )  # fmt: skip
    assert first["url"].endswith(f"shortcode=!mBdtL&redirecturl=/AccountsReceivable/View.aspx?InvoiceID={first['id']}")
    assert [row["reference"] for row in found] == ["Red Fish, Blue Fish", "Red Fish, Blue Fish", None]


def test_an_invoice_that_is_asked_for_alone_has_its_line():
    (line,) = landed("Invoices_InvoiceID")["invoice_lines"]
    assert (line["item_code"], line["quantity"], line["unit_price"], line["line_amount"], line["tax_amount"]) == (
        "123", Decimal(1), Decimal("148062.76"), Decimal("148062.76"), Decimal(0)
    )  # fmt: skip
    assert line["version"] == "/Date(1551981568133+0000)/"


def test_a_suppliers_credit_note_is_out_and_the_customers_keeps_what_remains():
    found = landed("CreditNotes")
    (note,) = found["credit_notes"]
    assert (note["number"], note["total"], note["remaining_credit"]) == ("CN-0005", Decimal("34.5"), Decimal("32.5"))
    assert found["allocations"] == []


def test_payments_name_the_invoice_or_the_credit_note_that_they_are_for():
    found = landed("Payments")["payments"]
    assert [(row["payment_type"], row["amount"], row["currency"], row["payment_date"]) for row in found] == [
        ("ACCRECPAYMENT", Decimal(46), "NZD", date(2018, 11, 29)), ("ARCREDITPAYMENT", Decimal(2), "NZD", date(2019, 3, 14))
    ]  # fmt: skip
    assert [(row["invoice_id"], row["credit_note_id"]) for row in found] == [
        ("046d8a6d-1ae1-4b4d-9340-5601bdf41b87", None), (None, "249f15fa-f2a7-4acc-8769-0984103f2225")
    ]  # fmt: skip
    assert [row["contact_id"][:8] for row in found] == ["a3675fc4", "430fa14a"]


def test_only_what_was_received_is_an_overpayment_or_a_prepayment():
    over, pre = landed("Overpayments")["overpayments"], landed("Prepayments")["prepayments"]
    twenty = (Decimal(20), Decimal(20), date(2019, 3, 13))
    assert [(row["total"], row["remaining_credit"], row["payment_date"]) for row in over] == [twenty] * 3
    assert [(row["total"], row["total_tax"], row["remaining_credit"]) for row in pre] == [(Decimal(3450), Decimal(450), Decimal(3450))]
    assert landed("Overpayments_OverpaymentID") == {}
    (allocation,) = landed("Prepayments_PrepaymentID")["allocations"]
    assert (allocation["source_type"], allocation["amount"], allocation["allocated_on"], allocation["invoice_id"][:8]) == (
        "prepayment", Decimal(1), date(2019, 3, 13), "c7c37b83"
    )  # fmt: skip


def test_contacts_and_what_they_owe():
    items = recorded("Contacts")["Contacts"]
    found = landed("Contacts")["contacts"]
    assert [(row["name"], row["is_customer"]) for row in found] == [("Katherine Warren", True), ("Lisa Parker", False)]
    balances = [rows.balance_row(item, ORGANISATION, DAY) for item in items]
    assert (balances[0]["outstanding"], balances[0]["overdue"], balances[1]) == (Decimal(760), Decimal(920), None)


def test_the_organisation_and_its_currency():
    (organisation,) = recorded("Organisation")["Organisations"]
    found = rows.organisation_row(organisation, ORGANISATION.id)
    assert (found["base_currency"], found["country"], found["short_code"], found["_problem"]) == ("NZD", "NZ", "!mBdtL", None)
    assert (found["period_lock_date"], found["end_of_year_lock_date"]) == (date(2018, 12, 31), date(2018, 12, 31))
    assert rows.currency_row(recorded("Currencies")["Currencies"][0], ORGANISATION)["code"] == "NZD"


def test_the_trial_balance_gives_the_balance_and_not_the_months_movement():
    account = {"AccountID": "31ae5bb4-611c-4f89-a369-86e4d56e90b6", "Name": "Accounts Receivable"}
    balances = recorded("Reports_TrialBalance")["Reports"][0]
    found = report.receivable_row(balances, account, ORGANISATION, DAY)
    assert (found["balance"], found["_problem"]) == (Decimal("36555.04"), None)
    owed = {"AccountID": "e8b2b2b4-0000-0000-0000-000000000000", "Name": "Nobody's"}
    assert report.receivable_row(balances, owed, ORGANISATION, DAY)["balance"] == 0


def test_amounts_and_flags_that_are_texts_are_read():
    batch = recorded("Payments")["Payments"][0]["BatchPayment"]
    fields = rows.Record(batch)
    assert (fields.number("TotalAmount"), fields.flag("IsReconciled"), fields.problems) == (Decimal(50), False, [])
    item = {**recorded("Invoices")["Invoices"][0], "Total": "40.00", "SentToContact": "false"}
    ((_, [found]), _) = rows.invoice_rows(item, ORGANISATION)
    assert (found["total"], found["sent"], found["_problem"]) == (Decimal(40), False, None)


@pytest.fixture
def replayed(monkeypatch) -> Iterator[Books]:
    """The recorded answers behind a port, as they are."""
    answers = {name: (RECORDED / f"GET_{name}.json") for name in (*ROWS_OF, "Organisation", "Currencies", "Reports_TrialBalance")}
    if not all(path.exists() for path in answers.values()):
        pytest.skip("the recorded answers are not beside this repository")

    def watch(call: Call) -> tuple[int, dict[str, str], Any] | None:
        name = call.path.removeprefix("/xero/api.xro/2.0/").replace("/", "_")
        if name == "Accounts":
            return 200, {}, {"Accounts": [{"AccountID": "31ae5bb4-611c-4f89-a369-86e4d56e90b6", "SystemAccount": "DEBTORS"}]}
        return (200, {}, json.loads(answers[name].read_text(encoding="utf-8"))) if name in answers else None

    card = replace(CARD, limits=())
    monkeypatch.setattr(source, "CARD", card)
    monkeypatch.setattr(reading, "CARD", card)
    with served(Books(watch=watch)) as books:
        yield books


def test_the_recorded_answers_load_over_http(replayed, tmp_path):
    config = tmp_path / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n{FAST}\n[vendors]\nledgers = ["xero"]\n', encoding="utf-8")
    chosen = settings.load({**VENDORS, "xero": CARD}, config=config, data_dir=tmp_path, environment={"CROSSFOOT_SANDBOX_URL": replayed.url})
    job = Job(source.connect(chosen, MemoryTokens()), chosen, DAY, NIGHT, {}, lambda table: set())
    extracted = {name: list(part) for name, part in source.source(job).resources.items()}
    assert job.rows == {
        "organisations": 1, "contacts": 2, "contact_balances": 1, "invoices": 3, "invoice_lines": 0, "credit_notes": 1,
        "credit_note_lines": 0, "allocations": 0, "payments": 2, "overpayments": 3, "prepayments": 1, "currencies": 1, "trial_balance": 1,
        "unread": 0,
    }  # fmt: skip
    assert len(extracted) == 9
    assert job.notes == []
    assert job.next_cursors["Invoices:" + TENANT] == "2019-03-11T17:51:36.230000+00:00"
