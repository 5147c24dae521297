"""What Xero's source does where an answer is not what it rests on: controls say "not compared", lists say what they did not give."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_fixture import running_sandbox
from test_xero_source import DAY, job_at, night
from xero_books import RECEIVABLE_ACCOUNT, TENANT, Books, contact, invoice, payment, served

from pipelines.http import FieldMissing
from pipelines.sandbox.world import make_world
from pipelines.vendors.xero import report
from pipelines.vendors.xero.rows import Tenant
from pipelines.vendors.xero.sandbox import TENANTS, Sandbox

KEA = Tenant(TENANT, "Kea Ltd")
ACCOUNT = {"AccountID": RECEIVABLE_ACCOUNT, "Name": "Debtors"}


@pytest.fixture
def books() -> Iterator[Books]:
    with served(Books()) as found:
        yield found


def table(*titles: str, cells: tuple[str, ...] = (), account: str = RECEIVABLE_ACCOUNT) -> dict[str, Any]:
    marks = [{"Value": account, "Id": "account"}]
    line = {"RowType": "Row", "Cells": [{"Value": value, "Attributes": marks} for value in cells]}
    return {"Rows": [{"RowType": "Header", "Cells": [{"Value": title} for title in titles]}, {"RowType": "Section", "Rows": [line]}]}


FIVE = ("Account", "Debit", "Credit", "YTD Debit", "YTD Credit")
UNREADABLE = {
    "other columns": {"Reports": [table("Account", "Debit", "Credit", cells=("Debtors", "1.00", ""))]},
    "a column more in the heading": {"Reports": [table(*FIVE, "30 Jun 2025", cells=("Debtors", "1.00", "", "120.00", ""))]},
    "no account is marked": {"Reports": [table(*FIVE, cells=("Debtors", "1.00", "", "120.00", ""), account="")]},
    "an amount that is none": {"Reports": [table(*FIVE, cells=("Debtors", "1.00", "", "many", ""))]},
    "no lines": {"Reports": [{"Rows": []}]}, "no report": {"Reports": []}, "nothing": {}, "an error as an answer": {
        "ErrorNumber": 10, "Type": "ValidationException", "Message": "no", "Elements": [{"ValidationErrors": [{"Message": "no"}]}]},
    "a list": [], "a text": "<html>maintenance</html>", "null": None, "texts for objects": {"Reports": ["text"]},
    "texts for lines": {"Reports": [{"Rows": ["text", {"Cells": "text"}, {"Cells": [None]}, {"Rows": "text"}]}]},
}  # fmt: skip


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
def test_ledger_09_a_trial_balance_that_cannot_be_read_fails_nothing(books: Books, tmp_path: Path, answer: Any) -> None:
    books.put("Invoices", invoice(1))
    books.watch = lambda call: (200, {}, answer) if call.path.endswith("TrialBalance") else None
    job = job_at(books, tmp_path)
    found = night(job)
    assert len(found["invoices"]) == 1
    (row,) = found["trial_balance"]
    assert row["balance"] is None
    assert "TrialBalance" in row["_problem"] or "YTD Debit" in row["_problem"]
    assert [note for note in job.notes if "there is no control total" in note]


@pytest.mark.parametrize(("path", "status"), [("TrialBalance", 403), ("TrialBalance", 404), ("Accounts", 403), ("Accounts", 400)])
def test_ledger_09_a_refused_control_fails_nothing(books: Books, tmp_path: Path, path: str, status: int) -> None:
    books.watch = lambda call: (status, {}, {"Detail": "no"}) if call.path.endswith(path) else None
    (row,) = night(job_at(books, tmp_path))["trial_balance"]
    assert row["balance"] is None and "could not be read" in row["_problem"]


def test_ledger_09_no_account_of_receivables_is_no_balance_of_0(books: Books, tmp_path: Path) -> None:
    books.watch = lambda call: (200, {}, {"Accounts": [{"AccountID": "x", "Name": "Bank"}]}) if call.path.endswith("Accounts") else None
    (row,) = night(job_at(books, tmp_path))["trial_balance"]
    assert (row["balance"], row["_problem"]) == (None, "TrialBalance: no account is the system's accounts receivable")


def test_an_account_by_another_name_counts_by_its_id_and_one_that_is_left_out_is_0() -> None:
    shown = table(*FIVE, cells=("Trade debtors (1100)", "", "", "", "12.50"))
    assert report.receivable_row(shown, ACCOUNT, KEA, DAY)["balance"] == Decimal("-12.50")
    assert report.receivable_row(shown, {**ACCOUNT, "AccountID": "other"}, KEA, DAY)["balance"] == 0


# -- what lists do not give -----------------------------------------------------------------------------------------


def test_records_without_an_id_are_named_with_their_amount_and_the_rest_goes_on(books: Books, tmp_path: Path) -> None:
    nameless = {key: value for key, value in invoice(2, AmountDue="75.50").items() if key != "InvoiceID"}
    answer = {"DateTimeUTC": "/Date(1772409600000+0000)/", "pagination": {"page": 1, "pageCount": 1, "itemCount": 2},
              "Invoices": [invoice(1), nameless]}  # fmt: skip
    books.watch = lambda call: (200, {}, answer) if call.path.endswith("/Invoices") else None
    job = job_at(books, tmp_path)
    found = night(job)
    assert [row["id"] for row in found["invoices"]] == ["i-0001"]
    (row,) = found["unread"]
    assert (row["listed"], row["contact_id"], row["amount"], row["currency"], row["record_count"]) == (
        "Invoices", "c-0001", Decimal("75.50"), "NZD", 1)  # fmt: skip
    assert "Invoices:" + TENANT not in job.next_cursors, "the next night reads it again"
    assert any("1 of Invoices could not be read" in note for note in job.notes)


def test_records_that_a_list_counts_and_does_not_give_are_named(books: Books, tmp_path: Path) -> None:
    answer = {"pagination": {"page": 1, "pageCount": 1, "itemCount": 3}, "Payments": [payment(1), payment(2)]}
    books.watch = lambda call: (200, {}, answer) if call.path.endswith("/Payments") else None
    found = night(job_at(books, tmp_path))
    assert len(found["payments"]) == 2
    assert [(row["listed"], row["record_count"], row["amount"]) for row in found["unread"]] == [("Payments", 1, None)]


def test_a_list_of_other_records_is_another_shape(books: Books, tmp_path: Path) -> None:
    books.watch = lambda call: (200, {}, {"Contacts": [{"renamed": 1}, {"renamed": 2}]}) if call.path.endswith("/Contacts") else None
    with pytest.raises(FieldMissing, match="'ContactID'"):
        night(job_at(books, tmp_path))


def test_a_whole_night_leaves_nothing_unread(books: Books, tmp_path: Path) -> None:
    books.put("Contacts", contact(1))
    books.put("Invoices", invoice(1), invoice(2))
    assert night(job_at(books, tmp_path))["unread"] == []


# -- the sandbox answers as Xero, or says that it does not -----------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with running_sandbox(make_world(), vendors={"xero": Sandbox}, rate_limits=False) as url:
        yield f"{url}/xero"


def call(sandbox: str, method: str, path: str, **params: str) -> requests.Response:
    form = {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
    token = requests.post(f"{sandbox}/connect/token", form, timeout=10).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Xero-Tenant-Id": TENANTS[0]}
    return requests.request(method, f"{sandbox}/{path}", params=params, headers=headers, timeout=10)


@pytest.mark.parametrize("path", ["connections", "Connections", "api.xro/2.0/Organisation", "api.xro/2.0/Organisations"])
def test_sandbox_04_both_names_are_answered(sandbox: str, path: str) -> None:
    assert call(sandbox, "GET", path).status_code == 200


@pytest.mark.parametrize("where", [
    'Name.ToLower()=="late larch lumber"', 'Name.ToUpper().Contains("LARCH L")', 'Name.ToLower().Trim().StartsWith("late l")',
    'Name.ToLower() == "LATE Larch Lumber".ToLower()',
])  # fmt: skip
def test_sandbox_04_texts_are_compared_in_lower_case(sandbox: str, where: str) -> None:
    found = call(sandbox, "GET", "api.xro/2.0/Contacts", where=where)
    assert [one["Name"] for one in found.json()["Contacts"]] == ["Late Larch Lumber"]


@pytest.mark.parametrize("where", ['Name.Substring(0, 1) == "L"', "Name.Length > 3", "UpdatedDateUTC.Year == 2026"])
def test_sandbox_04_filters_that_are_not_served_say_so_in_xeros_shape(sandbox: str, where: str) -> None:
    refused = call(sandbox, "GET", "api.xro/2.0/Contacts", where=where)
    assert refused.status_code == 400 and refused.json()["Type"] == "QueryParseException"
    assert "not served by the sandbox" in refused.json()["Message"]


@pytest.mark.parametrize(("method", "path"), [
    ("DELETE", "connections/1"), ("POST", "connections"), ("GET", "connect/token"), ("GET", "connect/authorize"), ("GET", "elsewhere"),
    ("GET", "api.xro/2.0/BankTransactions"), ("GET", "api.xro/2.0/Reports/BalanceSheet"), ("GET", "api.xro/2.0/Items/1"),
    ("PATCH", "api.xro/1.0/Contacts"),
])  # fmt: skip
def test_sandbox_04_calls_that_are_not_served_say_so_in_xeros_shape(sandbox: str, method: str, path: str) -> None:
    refused = call(sandbox, method, path)
    assert refused.status_code == 404 and refused.headers["content-type"].startswith("application/json")
    assert "not served by the sandbox" in refused.json()["Detail"]
