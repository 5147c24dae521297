"""QuickBooks' source against the sandbox over HTTP, and its row functions on recorded answers."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from extract_fixture import DAY, FAST, calls, clear, collect, empty_world, fault, following, job_for, settings_at
from sandbox_fixture import Ticker, control, running_sandbox

from pipelines import http
from pipelines.http import ApiError, WriteRefused
from pipelines.sandbox.entities import DocLine
from pipelines.sandbox.world import World, make_world
from pipelines.vendors.quickbooks import report, source
from pipelines.vendors.quickbooks import rows as shapes
from pipelines.vendors.quickbooks.sandbox import REALM, Sandbox

RECORDED = Path(__file__).parents[1].parent / "shared" / "recorded" / "quickbooks"
TICKER = Ticker()
PAGE = 10


def without_pacing(monkeypatch, **more) -> None:
    monkeypatch.setattr(source, "CARD", replace(source.CARD, limits=(), **more))


@pytest.fixture(autouse=True)
def no_pacing(monkeypatch):
    """The sandbox of these tests has no rate limits, so nothing need wait for them."""
    without_pacing(monkeypatch)


@pytest.fixture
def small_pages(monkeypatch):
    """Pages of ten, so that a few records are many pages."""
    without_pacing(monkeypatch, page_sizes={"query": PAGE, "cdc": 1000})


@dataclass
class Person:
    """Somebody who works in the company's books while the night reads them."""

    url: str

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        answer = self.session.post(
            f"{self.url}/quickbooks/oauth2/v1/tokens/bearer",
            {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-0"},
            headers={"Authorization": "Basic " + base64.b64encode(b"sandbox-client:sandbox-secret").decode()},
            timeout=10,
        ).json()
        self.session.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def call(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        address = f"{self.url}/quickbooks/v3/company/{REALM}/{path}"
        answer = self.session.request(method, address, json=body, params=params, timeout=10)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_float=Decimal)

    def ids(self, entity: str) -> set[str]:
        found = self.call("GET", "query", query=f"SELECT Id FROM {entity} WHERE Id > '0' MAXRESULTS 1000")
        return {one["Id"] for one in found["QueryResponse"].get(entity, [])}

    def version(self, record_id: str) -> dict[str, str]:
        return {"Id": record_id, "SyncToken": self.call("GET", f"invoice/{record_id}")["Invoice"]["SyncToken"]}

    def note(self, record_id: str, text: str) -> None:
        self.call("POST", "invoice", {**self.version(record_id), "PrivateNote": text})

    def delete(self, record_id: str) -> None:
        self.call("POST", "invoice", self.version(record_id), operation="delete")

    def void(self, record_id: str) -> None:
        self.call("POST", "invoice", self.version(record_id), operation="void")


@pytest.fixture(scope="module")
def shop():
    """The planted world of 60 accounts, as the ledger shows it."""
    world = make_world(7, 60)
    with running_sandbox(world, vendors={"quickbooks": Sandbox}, rate_limits=False) as url:
        yield world, url


def invoiced(count: int) -> World:
    """One customer with so many invoices, each changed at a second of its own."""
    world = empty_world()
    customer = world.add_customer("Paging Partners")
    for n in range(count):
        invoice = world.add_invoice(
            customer, date(2026, 3, 1), [DocLine("A", "A", None, Decimal(1), Decimal(n), Decimal(n))]
        )
        invoice.modified = datetime(2026, 3, 1, 8, tzinfo=UTC) + timedelta(seconds=n)
    return world


class Shelf:
    """One sandbox whose ledger can be made anew, on a clock that stands still."""

    def __init__(self) -> None:
        self.count, self.url, self.world = 45, "", None

    def remake(self) -> World:
        self.world = invoiced(self.count)
        return self.world

    def refill(self, count: int = 45) -> tuple[World, str]:
        self.count = count
        control(self.url, "POST", "reset")
        return self.world, self.url


@pytest.fixture(scope="module")
def shelf() -> Iterator[Shelf]:
    found = Shelf()
    options = {"vendors": {"quickbooks": Sandbox}, "rate_limits": False, "monotonic": TICKER, "remake": found.remake}
    with running_sandbox(found.remake(), **options) as found.url:
        yield found


@pytest.fixture
def books(shelf) -> tuple[World, str]:
    """(world, url) of a ledger of 45 invoices for one test alone."""
    return shelf.refill()


def invoices(job) -> Iterator:
    return source.records(job, "Invoice", lambda item: shapes.invoice_rows(item, job))


def everything(job) -> dict[str, list[dict]]:
    """All rows of a night, in its order."""

    def of(entity, table, rows_of=None):
        return source.records(
            job, entity, rows_of or (lambda item: [(table, [getattr(source, f"{table[:-1]}_row")(item)])])
        )

    parts = (
        source.company(job),
        of("Term", "terms"),
        of("Customer", "customers"),
        invoices(job),
        of("SalesReceipt", "sales_receipts", lambda item: shapes.sales_receipt_rows(item, job)),
        of("CreditMemo", "credit_memos", lambda item: shapes.credit_memo_rows(item, job)),
        of("Payment", "payments", shapes.payment_rows),
        of("RefundReceipt", "refund_receipts", lambda item: [("refund_receipts", [shapes.refund_row(item)])]),
        source.entries(job, {entity: set() for entity in source.ENTRIES}),
        source.deletions(job),
        source.aged_receivables(job),
    )
    found: dict[str, list[dict]] = {name: [] for name in source.TABLES}
    for part in parts:
        for table, rows in part:
            found[table] += rows
    return found


# --- The planted world


@pytest.fixture(scope="module")
def first_night(shop, tmp_path_factory):
    """(world, job, rows) of a first load."""
    world, url = shop
    patched = pytest.MonkeyPatch()
    without_pacing(patched)
    job = job_for(source, settings_at(url, tmp_path_factory.mktemp("books")))
    found = everything(job)
    patched.undo()
    return world, job, found


def test_a_first_load_takes_one_call_for_each_object_and_a_token(first_night, shop):
    _, job, _ = first_night
    assert set(job.api.calls.values()) == {1}
    assert sorted(job.api.calls) == [
        "Account",
        "AgedReceivables",
        "CompanyInfo",
        "CreditMemo",
        "Customer",
        "Deposit",
        "ExchangeRate",
        "Invoice",
        "JournalEntry",
        "Payment",
        "Preferences",
        "Purchase",
        "RefundReceipt",
        "SalesReceipt",
        "Term",
    ]
    assert [call["path"].rpartition("/")[2] for call in calls(shop[1], "quickbooks")][0] == "bearer"
    assert len(calls(shop[1], "quickbooks")) == 16


def test_every_record_lands_with_the_worlds_amounts(first_night):
    world, _, found = first_night
    assert {row["id"] for row in found["customers"]} == world.customers.keys()
    assert {row["id"]: row["total"] for row in found["invoices"]} == {
        one.id: one.gross for one in world.invoices.values() if not (one.deleted or one.at_once)
    }
    assert {row["id"]: row["balance"] for row in found["invoices"]} == {
        one.id: world.open_amount(one) for one in world.invoices.values() if not (one.deleted or one.at_once)
    }
    assert {row["id"]: row["remaining_credit"] for row in found["credit_memos"]} == {
        one.id: world.open_amount(one) for one in world.credit_notes.values() if not (one.deleted or one.journal)
    }
    assert {row["id"]: row["unapplied"] for row in found["payments"]} == {
        one.id: one.unapplied for one in world.payments.values() if not (one.deleted or one.with_document)
    }
    assert {row["id"]: row["total"] for row in found["refund_receipts"]} == {
        one.id: one.amount for one in world.refunds.values() if one.way == "receipt"
    }
    assert {row["id"]: row["total"] for row in found["sales_receipts"]} == {
        one.id: one.gross for one in world.invoices.values() if one.at_once
    }
    assert {row["id"]: row["deposit"] for row in found["invoices"] if row["deposit"]} == {
        part.doc_id: part.amount for payment in world.payments.values() if payment.with_document for part in payment.applications
        if not world.record(part).at_once
    }
    assert {row["id"]: row["due_days"] for row in found["terms"]} == {one.id: one.days for one in world.terms.values()}
    assert [(row["home_currency"], row["multicurrency"], row["book_close_date"]) for row in found["preferences"]] == [
        ("USD", True, date(2024, 12, 31))]
    assert len(found["exchange_rates"]) == len({row["id"] for row in found["exchange_rates"]}) == len(world.rates)


def test_inactive_customers_are_read_too(first_night):
    world, _, found = first_night
    inactive = {one.id for one in world.customers.values() if not one.active}
    assert inactive
    assert {row["id"] for row in found["customers"] if row["active"] is False} == inactive


def test_lines_add_up_to_the_documents_net_with_discounts_negative_and_no_sub_total(first_night):
    world, _, found = first_night
    nets: dict[str, Decimal] = {}
    for row in found["invoice_lines"]:
        nets[row["invoice_id"]] = nets.get(row["invoice_id"], Decimal(0)) + row["amount"]
    for row in found["sales_receipt_lines"]:
        nets[row["sales_receipt_id"]] = nets.get(row["sales_receipt_id"], Decimal(0)) + row["amount"]
    assert nets == {one.id: one.net for one in world.invoices.values() if not one.deleted}
    discounts = [row["amount"] for row in found["invoice_lines"] if row["detail_type"] == "DiscountLineDetail"]
    assert discounts
    assert max(discounts) < 0
    assert shapes.SUBTOTAL not in {row["detail_type"] for row in found["invoice_lines"]}


def test_a_void_invoice_is_worth_nothing_and_its_note_says_so(first_night):
    world, _, found = first_night
    voided = {one.id for one in world.invoices.values() if one.voided and not one.deleted}
    rows = [row for row in found["invoices"] if row["id"] in voided]
    assert voided
    assert {(row["total"], row["private_note"]) for row in rows} == {(Decimal(0), "Voided")}


def test_payments_say_what_they_were_applied_to(first_night):
    world, _, found = first_night
    kinds = {"Invoice": "Invoice", "CreditNote": "CreditMemo", "Deposit": "Deposit", "check": "Check", "expense": "Expense"}

    def kind_of(part):
        record = world.record(part)
        return "JournalEntry" if getattr(record, "journal", False) else kinds[getattr(record, "way", type(record).__name__)]

    expected = {
        (p.id, a.doc_id, kind_of(a), a.amount)
        for p in world.payments.values()
        if not (p.deleted or p.voided or p.with_document)
        for a in p.applications
    }
    got = {(row["payment_id"], row["txn_id"], row["txn_type"], row["amount"]) for row in found["payment_applications"]}
    assert got == expected
    assert {"JournalEntry", *kinds.values()} == {txn_type for _, _, txn_type, _ in got}


def test_only_what_stands_on_receivables_lands_of_deposits_purchases_and_journals(first_night):
    world, _, found = first_night
    paid_out = [one for one in world.refunds.values() if one.way != "receipt"]
    journals = [one for one in world.credit_notes.values() if one.journal]
    for table, owner, wanted in (
        ("deposit_lines", "deposit_id", {one.id: (one.customer_id, one.amount) for one in world.deposits.values()}),
        ("purchase_lines", "purchase_id", {one.id: (one.customer_id, one.amount) for one in paid_out}),
        ("journal_entry_lines", "journal_entry_id", {one.id: (one.customer_id, one.gross) for one in journals}),
    ):
        assert {row[owner]: (row["customer_id"], row["amount"]) for row in found[table]} == wanted
        assert {row["account_id"] for row in found[table]} == {row["id"] for row in found["accounts"]}
    assert {row["posting"] for row in found["journal_entry_lines"]} == {"Credit"}


def test_the_ageing_report_is_the_ledgers_own_control_total(first_night):
    world, _, found = first_night
    expected: dict[str, Decimal] = {}
    signed = [(one, 1) for one in world.invoices.values()] + [(one, -1) for one in world.credit_notes.values()]
    for one, sign in signed:
        if not one.deleted and one.issued <= DAY:
            expected[one.customer_id] = (
                expected.get(one.customer_id, Decimal(0)) + sign * world.open_amount(one, DAY) * one.rate
            )
    for one in world.payments.values():
        if not one.deleted and one.date <= DAY:
            expected[one.customer_id] = expected.get(one.customer_id, Decimal(0)) - one.unapplied * one.rate
    for one in world.deposits.values():
        expected[one.customer_id] = expected.get(one.customer_id, Decimal(0)) - world.open_amount(one, DAY) * one.rate
    shown = {row["customer_id"]: row["total"] for row in found["aged_receivables"]}
    whole = shown.pop(None)
    assert whole == sum(shown.values()) and whole > 0
    assert shown == {
        customer: total.quantize(Decimal("0.01")) for customer, total in expected.items() if customer in shown
    }
    assert {customer for customer, total in expected.items() if total} <= set(shown)
    buckets = [name for name in report.BUCKETS if name != "total"]
    assert all(sum(row[name] for name in buckets) == row["total"] for row in found["aged_receivables"])


def test_the_second_night_reads_only_what_changed(first_night, shop):
    world, first, _ = first_night
    with running_sandbox(make_world(7, 60), vendors={"quickbooks": Sandbox}, rate_limits=False) as url:
        first_job = job_for(source, settings_at(url, first.settings.data_dir.parent / "second"))
        before = everything(first_job)
        control(url, "POST", "advance", {"days": 1})
        second = following(first_job, source, known=lambda table: {row["id"] for row in before[table]})
        found = everything(second)
        answers = control(url, "GET", "answers")
    assert answers["as_of"] == "2026-07-01"
    assert 0 < len(found["invoices"]) < len(before["invoices"]) / 2
    assert 0 < len(found["customers"]) < len(before["customers"]) / 2
    assert second.api.calls["cdc"] == 1
    assert second.api.calls.total() == 16
    changed = [row for row in found["invoices"] if not row.get("_deleted")]
    assert min(row["modified_at"] for row in changed) >= datetime(2026, 6, 30, 21, 58, tzinfo=UTC)


def test_nothing_is_ever_written_to_a_ledger(first_night):
    with pytest.raises(WriteRefused, match="quickbooks: refused POST .*invoice; the vendor's card lists no such call"):
        first_night[1].api.post("invoice", {"Id": "1"})


# --- Pages


@pytest.mark.parametrize(("count", "most"), [(0, 1), (9, 1), (10, 2), (11, 2), (20, 3), (28, 4), (45, 5)])
def test_every_record_lands_once_over_pages_of_any_fill(shelf, tmp_path, small_pages, count, most):
    world, url = shelf.refill(count)
    job = job_for(source, settings_at(url, tmp_path))
    rows = collect(invoices(job)).get("invoices", [])
    assert [row["id"] for row in rows] == list(world.invoices)
    assert job.api.calls["Invoice"] <= most


def interrupted(books, folder, at_page: int, act) -> tuple[Any, dict[str, list[dict]], Person]:
    """A night in which `act(person)` happens after a page was read."""
    person = Person(books[1])
    job = job_for(source, settings_at(books[1], folder))
    pages, found = invoices(job), {}
    for number, (table, rows) in enumerate(pages):
        found.setdefault(table, []).extend(rows)
        # Each page gives its invoices and then its lines.
        if number == 2 * at_page + 1:
            act(person)
    return job, found, person


@pytest.mark.parametrize("at_page", [0, 1, 3])
def test_a_record_that_changes_while_pages_are_read_pushes_nobody_off(books, tmp_path, small_pages, at_page):
    first = next(iter(books[0].invoices))
    # In the same second as the night began: a stamp to the second cannot tell before from after.
    job, found, person = interrupted(books, tmp_path, at_page, lambda one: one.note(first, "changed in mid-run"))
    assert {row["id"] for row in found["invoices"]} == person.ids("Invoice") == books[0].invoices.keys()
    assert "changed in mid-run" in {row["private_note"] for row in found["invoices"] if row["id"] == first}
    assert job.notes == []
    assert job.api.calls["Invoice"] <= 8


@pytest.mark.parametrize("at_page", [0, 1, 3])
def test_a_record_that_is_deleted_while_pages_are_read_pushes_nobody_off(books, tmp_path, small_pages, at_page):
    first = next(iter(books[0].invoices))
    job, found, person = interrupted(books, tmp_path, at_page, lambda one: one.delete(first))
    assert person.ids("Invoice") == books[0].invoices.keys() - {first}
    assert {row["id"] for row in found["invoices"]} - {first} == person.ids("Invoice")
    # Read as alive; the next night hears of the deletion, since its cursor is from before this one's first page.
    collect(source.company(job))
    later = following(job, source)
    later.cursors["cdc"] = job.next_cursors["cdc"]
    collect(source.company(later))
    assert [row["id"] for row in collect(source.deletions(later))["invoices"]] == [first]


def test_an_object_that_never_stands_still_is_read_again_next_night(books, tmp_path, small_pages, monkeypatch):
    monkeypatch.setattr(source, "MAX_REREADS", 2)
    person, job = Person(books[1]), job_for(source, settings_at(books[1], tmp_path))
    for table, rows in invoices(job):
        if table == "invoices":
            person.delete(rows[0]["id"])
    assert job.notes == ["Invoice kept changing while it was read; the next night starts where this one did"]
    assert "Invoice" not in job.next_cursors
    rows = collect(invoices(following(job, source)))["invoices"]
    assert {row["id"] for row in rows} == person.ids("Invoice")


@pytest.mark.parametrize("nth", [1, 2, 5])
def test_a_page_with_every_record_twice_hides_no_other_page(books, tmp_path, small_pages, nth):
    fault(books[1], "duplicate_page", "from Invoice", vendor="quickbooks", nth=nth)
    fault(books[1], "duplicate_page", "FROM Invoice", vendor="quickbooks", nth=nth)
    job = job_for(source, settings_at(books[1], tmp_path))
    rows = collect(invoices(job))["invoices"]
    assert [row["id"] for row in rows] == list(books[0].invoices)
    assert job.notes == []


def test_a_page_that_repeats_the_one_before_is_asked_for_again(books, tmp_path, small_pages):
    job = job_for(source, settings_at(books[1], tmp_path))
    real, asked = job.api.get, []

    def get(path, params=None, **options):
        asked.append(params)
        # The second answer is the first one's page once more.
        return real(path, asked[0] if len(asked) == 2 else params, **options)

    job.api.get = get
    rows = collect(invoices(job))["invoices"]
    assert {row["id"] for row in rows} == books[0].invoices.keys()


def test_a_page_that_always_repeats_is_an_error_that_says_so(books, tmp_path, small_pages):
    job = job_for(source, settings_at(books[1], tmp_path))
    real, asked = job.api.get, []

    def get(path, params=None, **options):
        asked.append(params)
        return real(path, asked[0], **options)

    job.api.get = get
    with pytest.raises(RuntimeError, match="quickbooks: Invoice gave the same page 5 times; run again later"):
        collect(invoices(job))


@pytest.mark.parametrize("kind", ["429", "500", "reset", "reset_after", "expired_token"])
def test_a_fault_on_any_page_loses_nothing(books, tmp_path, small_pages, kind):
    fault(books[1], kind, "FROM Invoice", vendor="quickbooks", nth=3)
    rows = collect(invoices(job_for(source, settings_at(books[1], tmp_path))))["invoices"]
    assert [row["id"] for row in rows] == list(books[0].invoices)
    assert [one["hits"] for one in control(books[1], "GET", "faults")] == [1]


def test_a_page_that_takes_too_long_is_asked_for_again(books, tmp_path, small_pages):
    fault(books[1], "timeout", "FROM Invoice", vendor="quickbooks", nth=3, seconds=20)
    settings = settings_at(books[1], tmp_path, "[network]\nretry_base_seconds = 0.001\ntimeout_seconds = 1\n")
    rows = collect(invoices(job_for(source, settings)))["invoices"]
    assert [row["id"] for row in rows] == list(books[0].invoices)


# --- Deletions


def test_deletions_come_from_change_data_capture(books, tmp_path):
    person, first = Person(books[1]), job_for(source, settings_at(books[1], tmp_path))
    held = {row["id"] for row in everything(first)["invoices"]}
    gone, voided = sorted(held)[3], sorted(held)[4]
    person.delete(gone)
    person.void(voided)
    second = following(first, source, known=lambda table: held)
    found = everything(second)
    assert [row["id"] for row in found["invoices"] if row.get("_deleted")] == [gone]
    (void,) = [row for row in found["invoices"] if row["id"] == voided]
    assert (void["total"], void["private_note"]) == (Decimal(0), "Voided")
    assert second.api.calls["cdc"] == 1
    assert second.notes == []


def test_the_first_night_asks_for_no_deletions(books, tmp_path):
    job = job_for(source, settings_at(books[1], tmp_path))
    assert everything(job)["invoices"]
    assert "cdc" not in job.api.calls


@pytest.mark.parametrize("reason", ["too long ago", "too many changes"])
def test_beyond_cdcs_limits_all_ids_are_compared(books, tmp_path, monkeypatch, small_pages, reason):
    person = Person(books[1])
    held = person.ids("Invoice")
    gone = sorted(held)[3]
    person.delete(gone)
    since = datetime(2026, 6, 30, 22, tzinfo=UTC) - timedelta(days=40 if reason == "too long ago" else 1)
    if reason == "too many changes":
        monkeypatch.setattr(source, "CDC_OBJECTS", 2)
    known = {"invoices": held}
    job = job_for(
        source,
        settings_at(books[1], tmp_path),
        {"cdc": since.isoformat(), "Invoice": since.isoformat()},
        known=lambda table: set(known.get(table, ())),
    )
    collect(source.company(job))
    for number in sorted(held - {gone})[:5]:
        person.note(number, "changed")
    found = collect(source.deletions(job))
    assert {table: [row["id"] for row in rows] for table, rows in found.items()} == {
        table: [gone] if table == "invoices" else [] for table in source.TRANSACTIONS.values()
    }
    assert (len(job.notes), job.api.calls["cdc"]) == (1, 0 if reason == "too long ago" else 1)
    assert "deletions found by comparing all ids" in job.notes[0]


def test_a_list_that_shifts_while_it_is_compared_makes_no_false_deletion(books, tmp_path, small_pages):
    person = Person(books[1])
    held = person.ids("Invoice")
    job = job_for(
        source,
        settings_at(books[1], tmp_path),
        {"cdc": "2026-01-01T00:00:00+00:00", "Invoice": "2026-01-01T00:00:00+00:00"},
        known=lambda table: set(held) if table == "invoices" else set(),
    )
    real, hidden = job.api.get, set(sorted(held)[5:9])

    def get(path, params=None, **options):
        answer = real(path, params, **options)
        query = (params or {}).get("query", "")
        if "Id FROM Invoice" in query and "WHERE" not in query:
            # The list loses some: others were pushed off their page.
            rows = answer.json["QueryResponse"].get("Invoice", [])
            rows[:] = [{**row, "Id": "9" + row["Id"]} if row["Id"] in hidden else row for row in rows]
        return answer

    job.api.get = get
    gone = sorted(held)[20]
    person.delete(gone)
    collect(source.company(job))
    found = collect(source.deletions(job))
    assert [row["id"] for row in found["invoices"]] == [gone]
    assert job.api.calls["Invoice"] == 5 + 1, "the missing ones are asked for by name in one call"


# --- Row functions


def settings_job(tmp_path, more: str = ""):
    return job_for(source, settings_at("http://127.0.0.1:9", tmp_path, FAST + more))


def recorded(name: str) -> list[dict[str, Any]]:
    """The recorded answers, numbers as Decimal from their text."""
    path = RECORDED / f"{name}.json"
    if not path.exists():
        pytest.skip("the recorded exchanges are not beside this repository")
    return [exchange["response"]["body"] for exchange in json.loads(path.read_text(), parse_float=Decimal)]


def recorded_items(name: str, entity: str) -> list[dict[str, Any]]:
    found = []
    for body in recorded(name):
        pages = [body.get("QueryResponse", {})]
        pages += [page for part in body.get("CDCResponse", ()) for page in part["QueryResponse"]]
        for page in [*pages, body]:
            value = page.get(entity, [])
            found += value if isinstance(value, list) else [value]
    return [item for item in found if "MetaData" in item]


def test_the_recorded_customers_are_accepted():
    rows = [shapes.customer_row(item) for item in recorded_items("all__customers", "Customer")]
    assert len({row["id"] for row in rows}) == 41
    assert {row["_problem"] for row in rows} == {None}
    assert sum(row["balance"] for row in rows) == Decimal("5204.02")
    assert len([row for row in rows if row["is_job"]]) > 0
    assert all(row["parent_id"] for row in rows if row["is_job"])


@pytest.mark.parametrize(
    ("name", "entity"),
    [
        ("cdc__basic", "Estimate"),
        ("void__invoice", "Invoice"),
        ("delete__invoice", "Invoice"),
        ("create__invoice", "Invoice"),
    ],
)
def test_the_recorded_documents_are_accepted(tmp_path, name, entity):
    items = recorded_items(name, entity)
    job = settings_job(tmp_path)
    assert items
    for item in items:
        (_, (invoice,)), (_, lines) = shapes.invoice_rows(item, job)
        # An estimate has no balance, and is no invoice in the end.
        assert invoice["_problem"] == ("Balance: is missing" if entity == "Estimate" else None)
        assert {line["_problem"] for line in lines} <= {None}
        assert (
            sum(line["amount"] for line in lines) + invoice["tax"] == invoice["total"] == Decimal(str(item["TotalAmt"]))
        )
        assert shapes.SUBTOTAL not in {line["detail_type"] for line in lines}
        assert invoice["modified_at"].utcoffset() == timedelta(0)


def test_the_recorded_void_is_a_void(tmp_path):
    last = shapes.invoice_rows(recorded_items("void__invoice", "Invoice")[-1], settings_job(tmp_path))[0][1][0]
    assert (last["total"], last["balance"]) == (Decimal(0), Decimal(0))
    assert last["private_note"].startswith("Voided")


def test_the_recorded_sales_documents_have_lines_that_add_up():
    for item in recorded_items("all__sales_receipts", "SalesReceipt"):
        lines = shapes.line_rows(item, "invoice_id")
        assert lines
        net = Decimal(str(item["TotalAmt"])) - Decimal(str(item.get("TxnTaxDetail", {}).get("TotalTax", 0)))
        assert sum(line["amount"] for line in lines) == net


INVOICE = {
    "Id": "7",
    "SyncToken": "2",
    "DocNumber": "1041",
    "TxnDate": "2026-03-31",
    "DueDate": "2026-04-30",
    "TotalAmt": Decimal("97.20"),
    "Balance": 0,
    "HomeTotalAmt": Decimal("97.2"),
    "CustomerRef": {"value": "58", "name": "Kookies"},
    "CurrencyRef": {"value": "USD"},
    "ExchangeRate": 1,
    "TxnTaxDetail": {"TotalTax": Decimal("7.2")},
    "CustomerMemo": {"value": "Thank you"},
    "EmailStatus": "EmailSent",
    "SalesTermRef": {"value": "3"},
    "MetaData": {"LastUpdatedTime": "2026-03-31T09:00:00-07:00"},
    "CustomField": [
        {"DefinitionId": "2", "Name": "Other"},
        {"DefinitionId": "1", "Name": "CRM Deal ID", "StringValue": "31"},
    ],
    "Line": [
        {
            "Id": "1",
            "Amount": 60,
            "DetailType": "SalesItemLineDetail",
            "SalesItemLineDetail": {
                "ItemRef": {"value": "5", "name": "PLT"},
                "Qty": 2,
                "UnitPrice": 30,
                "ServiceDate": "2026-03-02",
            },
        },
        {
            "Id": "2",
            "Amount": 40,
            "DetailType": "GroupLineDetail",
            "GroupLineDetail": {
                "Line": [
                    {"Id": "3", "Amount": 15, "DetailType": "SalesItemLineDetail"},
                    {"Id": "4", "Amount": 25, "DetailType": "SalesItemLineDetail"},
                    {"Amount": 40, "DetailType": "SubTotalLineDetail"},
                ]
            },
        },
        {"Amount": 100, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}},
        {
            "Amount": 10,
            "DetailType": "DiscountLineDetail",
            "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 10},
        },
        {"Description": "a remark", "DetailType": "DescriptionOnly"},
    ],
}


def test_groups_are_opened_discounts_negative_and_sub_totals_left_out(tmp_path):
    (_, (invoice,)), (_, lines) = shapes.invoice_rows(INVOICE, settings_job(tmp_path))
    assert [(line["line_number"], line["line_id"], line["amount"]) for line in lines] == [
        (1, "1", 60),
        (2, "3", 15),
        (3, "4", 25),
        (4, None, -10),
        (5, None, None),
    ]
    assert {(line["invoice_id"], line["sync_token"]) for line in lines} == {("7", "2")}
    assert (lines[0]["item_id"], lines[0]["item_name"], lines[0]["quantity"], lines[0]["service_date"]) == (
        "5",
        "PLT",
        2,
        date(2026, 3, 2),
    )
    assert {
        name: invoice[name]
        for name in ("total", "tax", "crm_deal_id", "customer_id", "memo", "terms_id", "due_date", "modified_at")
    } == {
        "total": Decimal("97.2"),
        "tax": Decimal("7.2"),
        "crm_deal_id": "31",
        "customer_id": "58",
        "memo": "Thank you",
        "terms_id": "3",
        "due_date": date(2026, 4, 30),
        "modified_at": datetime(2026, 3, 31, 16, tzinfo=UTC),
    }


def test_the_deal_id_may_stand_in_another_field(tmp_path):
    job = settings_job(tmp_path, '[quickbooks]\ndeal_id_field = "Opportunity"\n')
    assert shapes.invoice_rows(INVOICE, job)[0][1][0]["crm_deal_id"] is None
    named = {**INVOICE, "CustomField": [{"Name": "Opportunity", "StringValue": "44"}]}
    assert shapes.invoice_rows(named, job)[0][1][0]["crm_deal_id"] == "44"


@pytest.mark.parametrize("empty", ["absent", None])
def test_a_record_with_nothing_in_it_lands_and_says_what_is_missing(tmp_path, empty):
    job = settings_job(tmp_path)
    bare = {"Id": "7", "SyncToken": "0"}
    if empty is None:
        bare |= {name: None for name in INVOICE if name not in bare}
        bare |= dict.fromkeys(
            ("PrimaryEmailAddr", "WebAddr", "ParentRef", "UnappliedAmt", "LinkedTxn", "RemainingCredit")
        )
    missing = "TxnDate: is missing; TotalAmt: is missing"
    assert shapes.invoice_rows(bare, job)[0][1][0]["_problem"] == f"{missing}; Balance: is missing"
    assert shapes.credit_memo_rows(bare, job)[0][1][0]["_problem"] == f"{missing}; Balance: is missing"
    assert shapes.sales_receipt_rows(bare, job)[0][1][0]["_problem"] == missing
    assert shapes.payment_rows(bare)[0][1][0]["_problem"] == f"{missing}; UnappliedAmt: is missing; CustomerRef: is missing"
    assert shapes.refund_row(bare)["_problem"] == missing
    assert shapes.customer_row(bare)["_problem"] is None
    assert shapes.invoice_rows(bare, job)[1][1] == shapes.payment_rows(bare)[1][1] == []


def test_malformed_values_are_named_and_the_rest_of_the_record_lands(tmp_path):
    bad = {
        **INVOICE,
        "TotalAmt": "n/a",
        "DueDate": "soon",
        "TxnTaxDetail": {"TotalTax": "?"},
        "Line": [{"Amount": "x", "DetailType": "DiscountLineDetail", "SalesItemLineDetail": {"Qty": "many"}}],
    }
    (_, (invoice,)), (_, (line,)) = shapes.invoice_rows(bad, settings_job(tmp_path))
    assert (invoice["id"], invoice["total"], invoice["due_date"], invoice["tax"]) == ("7", None, None, None)
    assert (
        invoice["_problem"]
        == "DueDate: 'soon' is not a date; TotalAmt: 'n/a' is not a number; TotalTax: '?' is not a number"
    )
    assert line["_problem"] == "Amount: 'x' is not a number; Qty: 'many' is not a number"


def test_a_payment_without_lines_is_unapplied():
    payment = {"Id": "9", "SyncToken": "0", "TxnDate": "2026-03-31", "TotalAmt": 50, "UnappliedAmt": 50,
               "CustomerRef": {"value": "1"}}
    (_, (row,)), (_, applications) = shapes.payment_rows(payment)
    assert (row["total"], row["unapplied"], row["_problem"], applications) == (50, 50, None, [])


def test_a_credit_application_links_an_invoice_and_a_credit_memo():
    lines = [
        {"Amount": 20, "LinkedTxn": [{"TxnId": "1", "TxnType": "Invoice"}]},
        {"Amount": 20, "LinkedTxn": [{"TxnId": "2", "TxnType": "CreditMemo"}]},
    ]
    payment = {"Id": "9", "SyncToken": "3", "TxnDate": "2026-03-31", "TotalAmt": 0, "UnappliedAmt": 0, "Line": lines}
    applications = shapes.payment_rows(payment)[1][1]
    assert [(a["line_number"], a["amount"], a["txn_id"], a["txn_type"], a["sync_token"]) for a in applications] == [
        (1, 20, "1", "Invoice", "3"),
        (2, 20, "2", "CreditMemo", "3"),
    ]


def cells(name: str, customer_id: str | None, *values: str) -> list[dict]:
    return [{"value": name, **({"id": customer_id} if customer_id else {})}, *({"value": value} for value in values)]


def test_the_ageing_report_is_read_at_any_depth_with_empty_cells_as_zero():
    child = {"ColData": cells("Freeman:Ocean View", "14", "", "", "19.99", "", "", "19.99"), "type": "Data"}
    deeper = {
        "Header": {"ColData": cells("Freeman:Hall", "15", "", "", "", "", "", "")},
        "Rows": {"Row": [{"ColData": cells("Freeman:Hall:Annex", "16", "1.10", "", "", "", "", "1.10")}]},
        "Summary": {"ColData": cells("Total Hall", None, "1.10", "", "", "", "", "1.10")},
    }
    rows = {
        "Row": [
            {"ColData": cells("Amy's", "1", "", "239.00", "", "", "", "239.00"), "type": "Data"},
            {
                "Header": {"ColData": cells("Freeman", "13", "", "", "", "-5.00", "", "-5.00")},
                "Rows": {"Row": [child, deeper]},
                "Summary": {"ColData": cells("Total Freeman", None, "1.10", "", "19.99", "-5.00", "", "16.09")},
                "type": "Section",
            },
            {
                "Summary": {"ColData": cells("TOTAL", None, "1.10", "239.00", "19.99", "-5.00", "0.00", "255.09")},
                "type": "Section",
                "group": "GrandTotal",
            },
        ]
    }
    *found, whole = report.report_rows({"Columns": COLUMNS, "Rows": rows}, DAY)
    assert {row["customer_id"]: row["total"] for row in found} == {
        "1": Decimal(239),
        "13": Decimal(-5),
        "14": Decimal("19.99"),
        "16": Decimal("1.1"),
    }
    assert sum(row["total"] for row in found) == Decimal("255.09")
    assert found[0] == {
        "customer_id": "1",
        "customer_name": "Amy's",
        "report_date": DAY,
        "bucket_current": 0,
        "bucket_1_30": 239,
        "bucket_31_60": 0,
        "bucket_61_90": 0,
        "bucket_91_plus": 0,
        "total": 239,
        "_problem": None,
    }
    assert (whole["customer_id"], whole["customer_name"], whole["total"]) == (None, None, Decimal("255.09"))
    (nobody,) = report.report_rows({"Columns": COLUMNS, "Rows": {}}, DAY)
    assert (nobody["customer_id"], nobody["total"], nobody["_problem"]) == (None, 0, None)


def titled(*titles: str) -> dict:
    return {"Column": [{"ColTitle": title, "ColType": "Money" if title else "Customer"} for title in ("", *titles)]}


COLUMNS = titled("Current", "1 - 30", "31 - 60", "61 - 90", "91 and over", "Total")


def total_of(*values: str) -> dict:
    return {"Summary": {"ColData": cells("TOTAL", None, *values)}, "type": "Section", "group": "GrandTotal"}


def test_columns_are_read_by_their_titles():
    rows = {"Row": [{"ColData": cells("Amy's", "1", "9", "5", "", "4", "", "")}, total_of("9", "5", "", "4", "", "")]}
    columns = titled("Total", "31 - 60", "> 90", "Current", "1 - 30", "61 - 90")
    amy, whole = report.report_rows({"Columns": columns, "Rows": rows}, DAY)
    assert (amy["total"], amy["bucket_31_60"], amy["bucket_current"], amy["bucket_91_plus"], amy["_problem"]) == (9, 5, 4, 0, None)
    assert whole["total"] == 9


def test_a_report_with_other_periods_has_its_totals_and_says_that_its_ageing_is_not_compared():
    rows = {"Row": [{"ColData": cells("Amy's", "1", "100.00", "", "", "", "100.00")}, total_of("100.00", "0.00", "", "", "100.00")]}
    columns = titled("Current", "1 - 30", "31 - 60", "61 and over", "Total")
    amy, whole = report.report_rows({"Columns": columns, "Rows": rows}, DAY)
    assert (amy["total"], amy["bucket_current"], amy["_problem"]) == (100, None, None)
    assert whole["total"] == 100 and "61 and over, Total, not four periods of 30 days" in whole["_problem"]


@pytest.mark.parametrize("answer", [
    {"Columns": titled("Current", "Betrag"), "Rows": {"Row": [total_of("1", "1")]}}, {"Rows": {}}, {},
    {"Columns": COLUMNS, "Rows": {"Row": [{"ColData": cells("Amy's", "1", "1")}, total_of("1", "", "", "", "", "1")]}},
    {"Columns": COLUMNS, "Rows": {"Row": [{"ColData": cells("Amy's", "1", "1", "", "", "", "", "1")}]}},
])  # fmt: skip
def test_a_report_that_cannot_be_read_is_one_row_that_says_so(tmp_path, answer):
    job = settings_job(tmp_path)
    job.api.get = lambda *_, **__: http.Response(200, {}, json.dumps(answer), "quickbooks: GET report")
    ((table, (row,)),) = report.aged_receivables(job)
    assert (table, row["customer_id"], row["total"]) == ("aged_receivables", None, None)
    assert "could not be read" in row["_problem"] and job.notes


@pytest.mark.parametrize("error", [
    http.ApiError(500, "oops", "quickbooks: GET report"), http.ConnectionLost("quickbooks: no answer"),
])  # fmt: skip
def test_a_report_that_does_not_come_is_one_row_that_says_so(tmp_path, error):
    job = settings_job(tmp_path)

    def refuse(*_, **__):
        raise error

    job.api.get = refuse
    ((_, (row,)),) = report.aged_receivables(job)
    assert row["total"] is None and "could not be read" in row["_problem"]


@pytest.mark.parametrize(("links", "money", "expected"), [
    ([("JournalEntry", 30), ("Invoice", 100)], 70, ["credit", "debit"]),
    ([("Invoice", 100), ("JournalEntry", 30)], 70, ["debit", "credit"]),
    ([("Invoice", 100), ("JournalEntry", 30)], 130, ["debit", "debit"]), ([("Invoice", 100), ("JournalEntry", 30)], 75, None),
    ([("JournalEntry", 20), ("JournalEntry", 50), ("Invoice", 100)], 130, ["credit", "debit", "debit"]),
    ([("Invoice", 100), ("Check", 50), ("CreditMemo", 20), ("Deposit", 30)], 100, ["debit", "debit", "credit", "credit"]),
    ([("JournalEntry", 1)] * 13, 0, None), ([], 50, []), ([("JournalEntry", None), ("Invoice", 100)], 70, ["debit", "debit"]),
])  # fmt: skip
def test_debits_and_credits_are_told_by_what_the_payment_comes_to(links, money, expected):
    assert shapes.sides([(kind, None if amount is None else Decimal(amount)) for kind, amount in links], Decimal(money)) == expected


def test_an_exchange_rate_has_currency_and_day_as_its_id():
    item = {
        "SourceCurrencyCode": "EUR",
        "TargetCurrencyCode": "USD",
        "Rate": Decimal("1.0525"),
        "AsOfDate": "2026-03-31",
    }
    row = shapes.rate_row(item)
    assert (row["id"], row["rate"], row["modified_at"]) == ("EUR>USD@2026-03-31", Decimal("1.0525"), None)


# --- What QuickBooks asks of its clients


@pytest.mark.parametrize(
    ("status", "attempt", "units"), [(429, 1, 1), (429, 2, 4), (429, 4, 60), (429, 9, 60), (500, 3, 4)]
)
def test_waits_reach_the_minute_of_the_limit(status, attempt, units):
    assert source.wait(status, {}, "", attempt) == units


def test_only_name_lists_are_asked_for_inactive_records():
    assert source.changed_query("Customer", "2026-06-30T00:00:00+00:00", 0) == (
        "SELECT * FROM Customer WHERE Active IN (true, false) "
        "AND MetaData.LastUpdatedTime >= '2026-06-30T00:00:00+00:00' "
        "ORDERBY MetaData.LastUpdatedTime STARTPOSITION 1 MAXRESULTS 1000"
    )
    assert "Active" not in source.changed_query("Invoice", None, 0)
    assert "STARTPOSITION 1999 MAXRESULTS 1000" in source.changed_query("Invoice", None, 2)


def test_the_doctor_passes_or_says_what_is_wrong(books, tmp_path):
    settings = settings_at(books[1], tmp_path)
    assert source.check(job_for(source, settings).api, settings) == []
    fault(books[1], "403", "AgedReceivables", vendor="quickbooks")
    (problem,) = source.check(job_for(source, settings).api, settings)
    assert "AgedReceivables answered 403" in problem
    assert "with the accounting scope, and check QUICKBOOKS_REALM_ID" in problem


def test_an_unknown_realm_is_an_error_with_its_remedy(books, tmp_path):
    settings = settings_at(books[1], tmp_path)
    other = replace(
        settings, secrets={**settings.secrets, "quickbooks": {**settings.secrets["quickbooks"], "realm_id": "1"}}
    )
    with pytest.raises(ApiError, match="check QUICKBOOKS_REALM_ID"):
        collect(source.company(job_for(source, other)))


def test_live_calls_go_to_the_host_of_the_environment(tmp_path):
    chosen = settings_at(
        "http://127.0.0.1:9",
        tmp_path,
        'profile = "live"\n[quickbooks]\nenvironment = "sandbox"\n'.replace('profile = "live"\n', ""),
    )
    live = replace(chosen, profile="live")
    assert source.connect(live, None).base_url.startswith("https://sandbox-quickbooks.api.intuit.com/v3/company/")
    clear_values = {**live.values, "quickbooks": {**live.values["quickbooks"], "environment": "production"}}
    assert source.connect(replace(live, values=clear_values), None).base_url.startswith(
        "https://quickbooks.api.intuit.com/"
    )


def test_the_log_of_calls_can_be_cleared(shop):
    clear(shop[1])
    assert calls(shop[1], "quickbooks") == []
