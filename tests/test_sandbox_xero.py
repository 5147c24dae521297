"""Xero's rules in the sandbox, one by one, over real HTTP."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_fixture import Ticker, control, running_sandbox

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.world import World, make_world
from pipelines.vendors.xero.sandbox import TENANTS, Sandbox
from pipelines.vendors.xero.sandbox_books import moment_of
from pipelines.vendors.xero.sandbox_render import Renderer
from pipelines.vendors.xero.sandbox_shapes import quoted, record_id
from pipelines.vendors.xero.sandbox_where import BadWhere, parse_order, parse_where

RECORDED = Path(__file__).parents[1].parent / "shared" / "recorded" / "xero"
SALES = 'Type=="ACCREC"'
ZERO = Decimal(0)


@dataclass
class Books:
    """A client of a running sandbox that is signed in."""

    url: str
    ticker: Ticker | None = None
    tenant: str | None = TENANTS[0]
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.sign_in()

    def sign_in(self) -> None:
        token = self.token(grant_type="client_credentials", scope="accounting.contacts.read").json()
        self.headers = {"Authorization": f"Bearer {token['access_token']}", "Accept": "application/json"}

    def token(self, secret: str = "sandbox-secret", **form: str) -> requests.Response:
        return self.session.post(f"{self.url}/xero/connect/token", form, auth=("sandbox-client", secret), timeout=10)

    def call(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None, **params: Any) -> requests.Response:
        tenant = {"Xero-Tenant-Id": self.tenant} if self.tenant else {}
        url = f"{self.url}/xero/api.xro/2.0/{path}"
        return self.session.request(method, url, params=params, headers={**self.headers, **tenant, **(headers or {})}, timeout=20)

    def get(self, path: str, **params: Any) -> Any:
        """The answer of a good call, fractions as Decimal."""
        headers = {"If-Modified-Since": params.pop("since")} if "since" in params else {}
        answer = self.call(path, headers=headers, **params)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_float=Decimal)

    def all(self, endpoint: str, **params: Any) -> dict[str, dict[str, Any]]:
        """Every record of a list, by id."""
        archived = {"includeArchived": "true"} if endpoint == "Contacts" else {}
        rows = self.get(endpoint, page=1, pageSize=1000, **archived, **params)[endpoint]
        return {row[f"{endpoint[:-1]}ID"]: row for row in rows}

    def names(self, where: str, **params: Any) -> set[str]:
        return {row["Name"] for row in self.get("Contacts", page=1, pageSize=1000, where=where, **params)["Contacts"]}


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def books(world: World) -> Iterator[Books]:
    """Only read: tests that change something take `fresh`."""
    with running_sandbox(world, vendors={"xero": Sandbox}, rate_limits=False) as url:
        yield Books(url)


@pytest.fixture
def fresh() -> Iterator[tuple[Books, World]]:
    world, ticker = make_world(), Ticker()
    with running_sandbox(world, vendors={"xero": Sandbox}, monotonic=ticker) as url:
        yield Books(url, ticker), world


# -- sign-in --------------------------------------------------------------------------------------------------------


def test_refresh_tokens_are_used_once_but_for_a_grace(fresh: tuple[Books, World]) -> None:
    books, _ = fresh
    first = books.token(grant_type="refresh_token", refresh_token="sandbox-refresh-0").json()
    assert first["refresh_token"] != "sandbox-refresh-0" and first["expires_in"] == 1800
    books.ticker.wait(1700)
    again = books.token(grant_type="refresh_token", refresh_token="sandbox-refresh-0")
    assert again.status_code == 200
    books.ticker.wait(200)
    gone = books.token(grant_type="refresh_token", refresh_token="sandbox-refresh-0")
    assert (gone.status_code, gone.json()) == (400, {"error": "invalid_grant"})
    assert books.token(grant_type="refresh_token", refresh_token=first["refresh_token"]).status_code == 200


def test_access_tokens_end(fresh: tuple[Books, World]) -> None:
    books, _ = fresh
    assert books.call("Organisation").status_code == 200
    books.ticker.wait(1800)
    refused = books.call("Organisation")
    assert refused.status_code == 401 and refused.json()["Detail"].startswith("TokenExpired: token expired at ")
    books.sign_in()
    assert books.call("Organisation").status_code == 200
    assert books.token(secret="wrong", grant_type="client_credentials").json() == {"error": "invalid_client"}
    assert books.token(grant_type="password").json() == {"error": "unsupported_grant_type"}


def test_calls_name_their_organisation(books: Books) -> None:
    connections = books.session.get(f"{books.url}/xero/connections", headers=books.headers, timeout=10).json()
    assert [(one["tenantId"], one["tenantType"]) for one in connections] == [(TENANTS[0], "ORGANISATION")]
    for tenant in (None, TENANTS[1]):
        refused = Books(books.url, tenant=tenant).call("Organisation")
        body = refused.json()
        assert refused.status_code == 403 and body.pop("Instance")
        assert body == {"Type": None, "Title": "Forbidden", "Status": 403, "Detail": "AuthenticationUnsuccessful", "Extensions": {}}
    assert books.call("Organisation", headers={"Authorization": "Bearer nobody"}).status_code == 401
    assert books.session.get(f"{books.url}/xero/connections", timeout=10).status_code == 401


def test_nothing_can_be_written_and_journals_are_of_another_tier(books: Books) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert books.call("Invoices", method=method).status_code == 403
        assert books.call("Invoices/10000000-0000-4000-8000-000000000101", method=method).status_code == 403
    assert books.call("Journals").json()["Detail"] == "AuthorizationUnsuccessful"
    assert books.call("Payslips").status_code == 404 and books.call("Invoices/nothing").status_code == 404
    assert books.call("Organisation", headers={"Accept": "*/*"}).headers["content-type"].startswith("text/xml")


# -- lists ----------------------------------------------------------------------------------------------------------


def test_pages_follow_one_another_without_gap(books: Books) -> None:
    whole = list(books.all("Invoices", order="UpdatedDateUTC ASC"))
    pages = [books.get("Invoices", page=n, pageSize=45, order="UpdatedDateUTC ASC") for n in (1, 2, 3, 4)]
    assert [row["InvoiceID"] for page in pages for row in page["Invoices"]] == whole
    assert pages[0]["pagination"] == {"page": 1, "pageSize": 45, "pageCount": 3, "itemCount": len(whole)}
    assert len(books.get("Invoices", page=1)["Invoices"]) == 100 and pages[3]["Invoices"] == []
    for params in ({"page": 0}, {"page": "one"}, {"page": 1, "pageSize": 1001}, {"page": 1, "pageSize": "-5"}, {"summaryOnly": "yes"}):
        refused = books.call("Invoices", **params)
        assert refused.status_code == 400 and refused.json()["Type"] == "ValidationException"


def test_without_page_there_are_only_headers(books: Books) -> None:
    listed = books.get("Invoices")
    assert "pagination" not in listed and len(listed["Invoices"]) == len(books.all("Invoices"))
    assert all(row["LineItems"] == [] for row in listed["Invoices"] + books.get("CreditNotes")["CreditNotes"])
    assert all(row["LineItems"] for row in books.all("Invoices").values())
    assert all("Balances" not in row and "PaymentTerms" not in row for row in books.get("Contacts")["Contacts"])
    assert any("Balances" in row for row in books.all("Contacts").values())
    assert all(row["LineItems"] == [] for row in books.get("Invoices", page=1, summaryOnly="true")["Invoices"])


def test_changes_since_a_moment(books: Books) -> None:
    stamps = sorted(moment_of(row["UpdatedDateUTC"]) for row in books.all("Invoices").values())
    middle = stamps[len(stamps) // 2]
    later = sum(stamp > middle for stamp in stamps)
    for text in (f"{middle:%Y-%m-%dT%H:%M:%SZ}", f"{middle:%Y-%m-%dT%H:%M:%S}", f"{middle:%a, %d %b %Y %H:%M:%S GMT}"):
        assert len(books.all("Invoices", since=text)) == later
    assert books.get("Invoices", page=1, since="2030-01-01T00:00:00Z")["pagination"]["itemCount"] == 0
    assert books.call("Invoices", headers={"If-Modified-Since": "yesterday"}).status_code == 400


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ('Name=="Late Larch Lumber"', {"Late Larch Lumber"}),
        ('name = "Late Larch Lumber" or Name == "Part Paid Pottery"', {"Late Larch Lumber", "Part Paid Pottery"}),
        ('(Name.Contains("Larch") OR Name.StartsWith("Part Paid")) && !Name.EndsWith("Pottery")', {"Late Larch Lumber"}),
        ('EmailAddress != null AND Name == "O\'Brien & ""Sons"" Barrels"', {"O'Brien & \"Sons\" Barrels"}),
        ('Name == "O\'Brien & \\"Sons\\" Barrels"', {"O'Brien & \"Sons\" Barrels"}),
        ("IsSupplier == true && IsCustomer==false", {"Northgate Hosting"}),
        ('ContactID == Guid("C0000000-0000-4000-8000-000000000020")', {"Freemont Stadium Group"}),
        ('Name > "Zz"', set()),
        ("MergedToContactID != null", set()),
    ],
)
def test_where(books: Books, where: str, names: set[str]) -> None:
    assert books.names(where) == names


def test_where_reads_dates_amounts_and_what_is_inside(books: Books) -> None:
    rows = books.all("Invoices").values()
    found = books.all("Invoices", where='Type=="ACCREC" AND AmountDue >= 1000.00 AND Date < DateTime(2026, 06, 01)')
    assert set(found) == {
        row["InvoiceID"] for row in rows
        if row["Type"] == "ACCREC" and row["AmountDue"] >= 1000 and row["DateString"] < "2026-06-01"
    } != set()  # fmt: skip
    one = next(iter(found.values()))["Contact"]["ContactID"]
    assert all(row["Contact"]["ContactID"] == one for row in books.all("Invoices", where=f'Contact.ContactID == Guid("{one}")').values())
    assert set(books.all("Invoices", where='DueDate.Value >= DateTime.Parse("2026-06-01")')) == {
        row["InvoiceID"] for row in rows if row.get("DueDateString", "") >= "2026-06-01"
    }
    assert {row["Type"] for row in books.all("Invoices", where='Type!="ACCREC"').values()} == {"ACCPAY"}


@pytest.mark.parametrize(
    "where",
    ['Colour == "red"', "Name ==", 'Name == "open', "Name", 'Name.Like("x")', "Name == 5", "Name = 'x'", "(IsCustomer == true", "and",
     'DateTime(2026, 99, 1) < UpdatedDateUTC', "#", "!" * 30 + "IsCustomer", "IsCustomer == true IsSupplier == true", 'Name < IsCustomer'],
)  # fmt: skip
def test_bad_filters_are_refused(books: Books, where: str) -> None:
    refused = books.call("Contacts", where=where)
    assert refused.status_code == 400 and (refused.json()["ErrorNumber"], refused.json()["Type"]) == (16, "QueryParseException")


def test_the_parser_alone() -> None:
    record = {"A": Decimal(5), "B": "text", "C": None, "D": datetime(2026, 1, 2, tzinfo=UTC), "E": True}
    names = tuple(record)

    def holds(text: str) -> bool:
        return parse_where(text, names)(record.get)

    assert holds("A > 4 AND A<=5 AND A <> 6") and holds("C == null") and not holds("C > 1") and not holds("C != null")
    assert holds("E") and holds("NOT (A == 6 OR B == \"x\")") and holds("D >= DateTime(2026,1,2) && D < DateTime(2026,1,2,0,0,1)")
    assert holds('A == 6 OR A == 5 AND B == "text"') and not holds('(A == 6 OR A == 5) AND B == "x"')
    assert parse_order("a desc, B", names) == (("A", True), ("B", False))
    for text in ("A desc B", "", "Z"):
        with pytest.raises(BadWhere):
            parse_order(text, names)


def test_order_and_lists_of_values(books: Books) -> None:
    names = [row["Name"] for row in books.get("Contacts", page=1, pageSize=1000, order="Name DESC")["Contacts"]]
    assert names == sorted(names, reverse=True)
    drafts = books.all("Invoices", Statuses="DRAFT,SUBMITTED").values()
    assert {row["Status"] for row in drafts} == {"DRAFT", "SUBMITTED"} and all(row["Type"] == "ACCREC" for row in drafts)
    ids = list(books.all("Invoices"))[5:8]
    assert set(books.all("Invoices", IDs=",".join(ids))) == set(ids)
    assert books.all("Invoices", createdByMyApp="true") == {}
    twice = books.all("Invoices", InvoiceNumbers="1001").values()
    assert {row["Type"] for row in twice} == {"ACCREC", "ACCPAY"}
    shown = books.get("Contacts")["Contacts"]
    assert all(row["ContactStatus"] == "ACTIVE" for row in shown) and len(shown) < len(books.all("Contacts"))
    assert {row["Name"] for row in books.get("Contacts", searchTerm="LARCH")["Contacts"]} == {"Late Larch Lumber"}


# -- what the company is in Xero ------------------------------------------------------------------------------------


def _sales(books: Books, world: World) -> Iterator[tuple[Any, dict[str, Any]]]:
    rows = books.all("Invoices", where=SALES)
    for invoice in world.invoices.values():
        yield invoice, rows[record_id("invoice", invoice.id)]


def test_invoices_carry_the_worlds_amounts(books: Books, world: World) -> None:
    for invoice, row in _sales(books, world):
        net = sum((line.amount for line in invoice.lines), ZERO)
        assert (row["SubTotal"], row["TotalTax"], row["Total"]) == (net, invoice.tax, net + invoice.tax)
        assert sum(line["LineAmount"] for line in row["LineItems"]) == net
        assert sum(line["TaxAmount"] for line in row["LineItems"]) == invoice.tax
        assert row["Total"] == row["AmountDue"] + row["AmountPaid"] + row["AmountCredited"]
        # Foreign units for one of the base currency: dividing by it gives the base amount.
        assert row["CurrencyRate"] == (1 / invoice.rate).quantize(Decimal("0.000001")) and row["CurrencyCode"] == invoice.currency
        assert row["Reference"] == (invoice.deal_ref or "") and row["InvoiceNumber"] == invoice.number
        if not (invoice.voided or invoice.deleted):
            due = world.open_amount(invoice)
            assert (row["AmountDue"], row["Status"]) == (due, "AUTHORISED" if due else "PAID")
            assert ("FullyPaidOnDate" in row) == (not due)
    discounts = [line for _, row in _sales(books, world) for line in row["LineItems"] if line["LineAmount"] < 0]
    assert discounts and all(line["Quantity"] == 1 and line["UnitAmount"] == line["LineAmount"] for line in discounts)
    assert b'"Total":1250.5,' in books.call("Invoices", page=1, pageSize=1000).content


def test_a_void_keeps_its_total_and_what_was_due(books: Books, world: World) -> None:
    voided = [row for invoice, row in _sales(books, world) if invoice.voided]
    assert voided and all(row["Status"] == "VOIDED" and row["AmountDue"] == row["Total"] > 0 for row in voided)


def test_due_dates_are_left_out_where_the_terms_say_the_same(books: Books, world: World) -> None:
    contacts = books.all("Contacts")
    missing = 0
    for invoice, row in _sales(books, world):
        if "DueDate" in row:
            assert row["DueDateString"] == f"{world.due_date(invoice)} 00:00:00"
            assert moment_of(row["DueDate"]).date() == world.due_date(invoice)
        else:
            missing += 1
            terms = contacts[row["Contact"]["ContactID"]].get("PaymentTerms", {}).get("Sales", {"Day": 0})
            assert (world.due_date(invoice) - invoice.issued).days == terms["Day"]
    assert missing


def test_terms_of_an_invoice_that_are_not_the_contacts_give_a_due_date() -> None:
    world = make_world()
    invoice = next(i for i in world.invoices.values() if i.due is None and world.customers[i.customer_id].terms_id == "3")
    assert "DueDate" not in Renderer(world).invoice(invoice)
    invoice.terms_id = "2"
    assert Renderer(world).invoice(invoice)["DueDateString"] == f"{invoice.issued + timedelta(days=15)} 00:00:00"


def test_sub_customers_are_merged_into_their_parents(books: Books, world: World) -> None:
    contacts = books.all("Contacts")
    jobs = [customer for customer in world.customers.values() if customer.parent_id]
    for job in jobs:
        row, parent = contacts[record_id("customer", job.id)], record_id("customer", job.parent_id)
        assert (row["ContactStatus"], row["MergedToContactID"]) == ("ARCHIVED", parent) and "Balances" not in row
        billed = {r["Contact"]["ContactID"] for i, r in _sales(books, world) if i.customer_id == job.id}
        assert billed == {parent}
    assert jobs


def test_what_contacts_owe_is_the_books_less_their_credits(books: Books, world: World) -> None:
    contacts = books.all("Contacts")
    for one in world.customers.values():
        if one.parent_id:
            continue
        family = {c.id for c in world.customers.values() if one.id in (c.id, c.parent_id)}
        owed = sum((world.open_amount(i) for i in world.invoices.values()
                    if i.customer_id in family and not (i.deleted or i.voided) and i.issued <= world.today), ZERO)  # fmt: skip
        credit = sum((world.open_amount(n) for n in world.credit_notes.values() if n.customer_id in family), ZERO)
        credit += sum((p.unapplied for p in world.payments.values() if p.customer_id in family and not p.deleted), ZERO)
        credit += sum((world.open_amount(d) for d in world.deposits.values() if d.customer_id in family), ZERO)
        cells = contacts[record_id("customer", one.id)].get("Balances", {}).get("AccountsReceivable", {"Outstanding": ZERO})
        assert cells["Outstanding"] == owed - credit


def _received(books: Books) -> Decimal:
    """All money from customers in base currency, by Xero's records."""
    def base(row: dict[str, Any], amount: str) -> Decimal:
        return row[amount] / row["CurrencyRate"]

    payments = [p for p in books.all("Payments").values() if p["Status"] == "AUTHORISED"]
    total = sum((base(p, "Amount") for p in payments if p["PaymentType"] == "ACCRECPAYMENT"), ZERO)
    for endpoint, kind in (("Overpayments", "RECEIVE-OVERPAYMENT"), ("Prepayments", "RECEIVE-PREPAYMENT")):
        total += sum((base(r, "Total") for r in books.all(endpoint).values() if r["Type"] == kind and r["Status"] != "VOIDED"), ZERO)
    return total


def test_money_is_payments_overpayments_and_prepayments(books: Books, world: World) -> None:
    money_in = [*(p for p in world.payments.values() if not (p.deleted or p.voided)), *world.deposits.values()]
    expected = sum((one.amount / quoted(one.rate) for one in money_in), ZERO)
    assert _received(books).quantize(Decimal("0.01")) == expected.quantize(Decimal("0.01"))
    unspent = [row for row in books.all("Overpayments").values() if row["RemainingCredit"] and row["Type"] == "RECEIVE-OVERPAYMENT"]
    assert {(row["Total"], row["RemainingCredit"], row["Status"]) for row in unspent} == {(150, 50, "AUTHORISED"), (400, 400, "AUTHORISED")}
    allocated = [*books.all("Overpayments").values(), *books.all("Prepayments").values()]
    assert any(row["Allocations"] for row in allocated)
    for row in allocated:
        spent = sum((part["Amount"] for part in (*_standing(row), *row["Payments"])), ZERO)
        assert row["Total"] == spent + row["RemainingCredit"]
    for payment in books.all("Payments").values():
        if "Invoice" in payment:
            assert payment["Invoice"]["InvoiceID"] and payment["Invoice"]["Type"] in ("ACCREC", "ACCPAY", "ACCRECCREDIT")


def _standing(credit: dict[str, Any]) -> list[dict[str, Any]]:
    return [allocation for allocation in credit["Allocations"] if not allocation["IsDeleted"]]


def test_credit_notes_are_spent_by_allocations_and_refunds_are_paid_out(books: Books, world: World) -> None:
    notes = books.all("CreditNotes", where='Type=="ACCRECCREDIT"')
    for note in world.credit_notes.values():
        row = notes[record_id("credit_note", note.id)]
        spent = sum((part["Amount"] for part in (*_standing(row), *row["Payments"])), ZERO)
        assert row["Total"] == note.gross == spent + row["RemainingCredit"]
        assert row["Status"] == ("AUTHORISED" if row["RemainingCredit"] else "PAID")
    assert any(row["Allocations"] for row in notes.values())
    payments = books.all("Payments")
    receipts = [refund for refund in world.refunds.values() if refund.way == "receipt"]
    for refund in receipts:
        row = payments[record_id("refund", refund.id)]
        note = notes[row["Invoice"]["InvoiceID"]]
        assert (row["PaymentType"], row["Amount"], row["Invoice"]["Type"]) == ("ARCREDITPAYMENT", refund.amount, "ACCRECCREDIT")
        assert (note["Total"], note["RemainingCredit"], note["Status"]) == (refund.amount, 0, "PAID")
    assert len(notes) == len(world.credit_notes) + len(receipts)


def test_what_gives_a_credit_back_is_a_payment_of_the_credit(books: Books, world: World) -> None:
    """Shapes: PaymentType and the Overpayment and Prepayment of a Payment in the OpenAPI file; the credit note's as recorded."""
    payments, found = books.all("Payments"), {}
    lists = {"Overpayment": books.all("Overpayments"), "Prepayment": books.all("Prepayments"), "Invoice": books.all("CreditNotes")}
    for refund in world.refunds.values():
        if refund.way == "receipt":
            continue
        row = payments[record_id("refund", refund.id)]
        key = next(name for name in lists if name in row)
        id_field = f"{key}ID"
        credit = lists[key][row[key][id_field]]
        assert [(one["PaymentID"], one["Amount"]) for one in credit["Payments"]] == [(row["PaymentID"], refund.amount)]
        found[row["PaymentType"]] = (row["Amount"], credit["Total"], credit["RemainingCredit"])
    assert found == {"AROVERPAYMENTPAYMENT": (100, 150, 50), "ARCREDITPAYMENT": (80, 80, 0), "ARPREPAYMENTPAYMENT": (300, 300, 0)}


def test_what_xero_has_no_record_for_is_what_its_users_enter(books: Books, world: World) -> None:
    invoices, notes = books.all("Invoices"), books.all("CreditNotes")
    with_document = [payment for payment in world.payments.values() if payment.with_document]
    at_once = {invoice.id for invoice in world.invoices.values() if invoice.at_once}
    assert {part.doc_id for payment in with_document for part in payment.applications} > at_once
    for payment in with_document:
        (part,) = payment.applications
        row = invoices[record_id("invoice", part.doc_id)]
        assert row["Payments"][0]["Amount"] == payment.amount and row["Payments"][0]["Date"] == row["Date"]
    for received in world.deposits.values():
        row = books.all("Prepayments")[record_id("prepayment", received.id)]
        assert (row["Total"], row["RemainingCredit"]) == (received.amount, world.open_amount(received))
    written_off = {note.gross: notes[record_id("journal", note.id)] for note in world.credit_notes.values() if note.journal}
    assert {amount: row["Allocations"][0]["Amount"] for amount, row in written_off.items()} == {30: 30, 60: 60}


def test_there_is_noise(books: Books) -> None:
    invoices, payments, contacts = books.all("Invoices").values(), books.all("Payments").values(), books.all("Contacts").values()
    ours = {row["InvoiceNumber"] for row in invoices if row["Type"] == "ACCREC" and "InvoiceNumber" in row}
    bills = [row for row in invoices if row["Type"] == "ACCPAY"]
    assert len(bills) == 2 and {row["InvoiceNumber"] for row in bills} <= ours
    assert {row["Status"] for row in invoices} == {"DRAFT", "SUBMITTED", "AUTHORISED", "PAID", "VOIDED"}
    assert [row["PaymentType"] for row in payments if row["Status"] == "DELETED"] == ["ACCRECPAYMENT"]
    assert any(row["ContactStatus"] == "ARCHIVED" and not row["IsCustomer"] and "MergedToContactID" not in row for row in contacts)
    draft = next(row for row in invoices if row["Status"] == "DRAFT")
    assert "InvoiceNumber" not in draft and "DueDate" not in draft and draft["AmountDue"] == draft["Total"]


def test_the_control_account_is_the_books_in_base_currency(books: Books, world: World) -> None:
    account = books.get("Accounts", where='SystemAccount=="DEBTORS"')["Accounts"][0]
    assert (account["Name"], account["Code"]) == ("Accounts Receivable", "610")
    report = books.get("Reports/TrialBalance", date=world.today.isoformat())["Reports"][0]
    rows = [row for section in report["Rows"] for row in section.get("Rows", [])]
    cells = next(row["Cells"] for row in rows if row["Cells"][0].get("Attributes", [{}])[0].get("Value") == account["AccountID"])
    assert cells[0]["Value"] == "Accounts Receivable (610)" and cells[4]["Value"] == ""
    owed = ZERO
    for invoice, row in _sales(books, world):
        if row["Status"] == "AUTHORISED" and invoice.issued <= world.today:
            owed += row["AmountDue"] / row["CurrencyRate"]
    for endpoint, kind in (("CreditNotes", "ACCRECCREDIT"), ("Overpayments", "RECEIVE-OVERPAYMENT"), ("Prepayments", "RECEIVE-PREPAYMENT")):
        for row in books.all(endpoint).values():
            if row["Type"] == kind and row["Status"] == "AUTHORISED":
                owed -= row["RemainingCredit"] / row["CurrencyRate"]
    assert Decimal(cells[3]["Value"]) == owed.quantize(Decimal("0.01")) > 0
    earlier = books.get("Reports/TrialBalance", date="2025-01-01")["Reports"][0]
    assert earlier["ReportTitles"][2] == "As at 1 January 2025" and earlier["Rows"] != report["Rows"]


def test_aged_receivables_of_a_contact(books: Books, world: World) -> None:
    customer = next(c for c in world.customers.values() if c.name == "Late Larch Lumber")
    contact_id = record_id("customer", customer.id)
    report = books.get("Reports/AgedReceivablesByContact", contactId=contact_id)["Reports"][0]
    rows = [[cell["Value"] for cell in row["Cells"]] for section in report["Rows"] for row in section.get("Rows", [])]
    assert any(row[3].endswith(" days overdue") for row in rows)
    owed = books.all("Contacts")[contact_id]["Balances"]["AccountsReceivable"]["Outstanding"]
    assert rows[-1][0] == "Closing Balance" and Decimal(rows[-1][7]) == owed
    assert books.call("Reports/AgedReceivablesByContact").status_code == 400


# -- days that pass -------------------------------------------------------------------------------------------------


def test_a_day_voids_deletes_and_frees_money(fresh: tuple[Books, World]) -> None:
    books, world = fresh
    before = books.all("Invoices")
    since = "2026-06-30T21:59:00Z"
    control(books.url, "POST", "advance", {"days": 1})
    books.sign_in()
    after = books.all("Invoices")
    changed = books.all("Invoices", since=since)
    assert set(before) <= set(after) and changed
    assert all(after[key] == row for key, row in before.items() if key not in changed)
    assert {"DELETED", "VOIDED"} <= {row["Status"] for row in changed.values()}


def test_a_voided_invoice_frees_what_was_spent_on_it(fresh: tuple[Books, World]) -> None:
    books, world = fresh
    paid = [i for i in world.invoices.values() if world.applied.get(i.id) and not i.voided]
    straight = next(i for i in paid if int(world.applied[i.id][0][0].id) % 17 != 3 and int(world.applied[i.id][0][0].id) % 19 != 5
                    and world.applied[i.id][0][0].amount)  # fmt: skip
    overpaid = next(i for i in paid if int(world.applied[i.id][0][0].id) % 17 == 3 and world.applied[i.id][0][0].amount)
    credited = next(i for i in paid if not world.applied[i.id][0][0].amount)
    money = {i.id: world.applied[i.id][0][0] for i in (straight, overpaid, credited)}
    note = next(a.doc_id for a in money[credited.id].applications if a.kind == "credit_note")
    for invoice in (straight, overpaid, credited):
        world.void_invoice(invoice, world.today)
    control(books.url, "POST", "advance", {"days": 1})
    books.sign_in()
    payment = books.all("Payments")[record_id("payment", money[straight.id].id)]
    assert (payment["Status"], payment["Amount"]) == ("DELETED", money[straight.id].amount)
    credits = books.all("Overpayments")
    assert credits[record_id("overpayment", money[straight.id].id)]["RemainingCredit"] == money[straight.id].amount
    credit = credits[record_id("overpayment", money[overpaid.id].id)]
    assert [a["IsDeleted"] for a in credit["Allocations"]] == [True] and credit["RemainingCredit"] == credit["Total"]
    taken = books.all("CreditNotes")[record_id("credit_note", note)]
    assert any(a["IsDeleted"] and a["Invoice"]["InvoiceID"] == record_id("invoice", credited.id) for a in taken["Allocations"])
    row = books.all("Invoices")[record_id("invoice", straight.id)]
    assert (row["Status"], row["AmountDue"], row["Payments"]) == ("VOIDED", row["Total"], [])


def test_a_contacts_stamp_does_not_move_with_its_balance(fresh: tuple[Books, World]) -> None:
    books, world = fresh
    before = books.all("Contacts")
    for one in world.customers.values():
        if not one.version:
            assert moment_of(before[record_id("customer", one.id)]["UpdatedDateUTC"]) == one.created
    assert any(one.modified > one.created for one in world.customers.values() if not one.version)
    control(books.url, "POST", "advance", {"days": 5})
    books.sign_in()
    after = books.all("Contacts")
    moved = [key for key in before if before[key].get("Balances") != after[key].get("Balances")]
    assert moved and any(after[key]["UpdatedDateUTC"] == before[key]["UpdatedDateUTC"] for key in moved)
    customer = world.customers[next(iter(world.customers))]
    world.change(customer, world.today, website="https://new.example")
    control(books.url, "POST", "advance", {"days": 1})
    books.sign_in()
    row = books.all("Contacts")[record_id("customer", customer.id)]
    assert row["Website"] == "https://new.example" and row["UpdatedDateUTC"] != before[row["ContactID"]]["UpdatedDateUTC"]


def test_a_record_deleted_in_mid_run_stays_with_its_status(fresh: tuple[Books, World]) -> None:
    books, world = fresh
    invoice = next(i for i in world.invoices.values() if not i.voided)
    gone = {"vendor": "xero", "kind": "delete_midrun"}
    control(books.url, "POST", "faults", {**gone, "match": "/Invoices", "object": "invoices", "id": invoice.id})
    row = books.all("Invoices", since="2026-06-30T21:59:00Z")[record_id("invoice", invoice.id)]
    assert row["Status"] == "DELETED" and invoice.deleted
    control(books.url, "POST", "faults", {**gone, "match": "/Payments", "object": "payments"})
    deleted = [p for p in books.all("Payments", since="2026-06-30T21:59:00Z").values() if p["Status"] == "DELETED"]
    assert len(deleted) == 1
    again = books.all("Invoices", since="2026-06-30T21:59:00Z")[deleted[0]["Invoice"]["InvoiceID"]]
    assert (again["Status"], again["AmountDue"]) == ("AUTHORISED", again["Total"])


# -- limits and faults ----------------------------------------------------------------------------------------------


def test_sixty_calls_a_minute(fresh: tuple[Books, World]) -> None:
    books, _ = fresh
    for left in range(59, -1, -1):
        answer = books.call("Organisation")
        assert (answer.status_code, answer.headers["X-MinLimit-Remaining"]) == (200, str(left))
    assert (answer.headers["X-DayLimit-Remaining"], answer.headers["X-AppMinLimit-Remaining"]) == ("4940", "9940")
    books.ticker.wait(20)
    refused = books.call("Organisation")
    assert refused.status_code == 429 and refused.headers["X-Rate-Limit-Problem"] == "minute"
    assert (refused.headers["Retry-After"], refused.headers["X-MinLimit-Remaining"]) == ("40", "0")
    assert books.session.get(f"{books.url}/xero/connections", headers=books.headers, timeout=10).status_code == 200
    books.ticker.wait(40)
    assert books.call("Organisation").status_code == 200


class FewCalls(Sandbox):
    """Ten calls a day."""

    limits = (("minute", 60, 60, Sandbox.limits[0][3]), ("day", 10, 86_400, Sandbox.limits[1][3]))


def test_the_days_calls_end_and_the_wait_is_hours() -> None:
    ticker = Ticker()
    with running_sandbox(make_world(), vendors={"xero": FewCalls}, monotonic=ticker) as url:
        books = Books(url)
        for _ in range(10):
            assert books.call("Organisation").status_code == 200
        ticker.wait(1000)
        refused = books.call("Organisation")
        assert (refused.status_code, refused.headers["X-Rate-Limit-Problem"], refused.headers["Retry-After"]) == (429, "day", "85400")


@pytest.mark.parametrize(("kind", "status"), [("429", 429), ("500", 500), ("503", 503), ("expired_token", 401), ("403", 403), ("400", 400)])
def test_injected_faults_are_in_xeros_words(fresh: tuple[Books, World], kind: str, status: int) -> None:
    books, _ = fresh
    control(books.url, "POST", "faults", {"vendor": "xero", "kind": kind, "match": "/Contacts"})
    answer = books.call("Contacts", page=1)
    assert answer.status_code == status
    if status == 429:
        assert (answer.headers["Retry-After"], answer.headers["X-Rate-Limit-Problem"], answer.text) == ("1", "minute", "")
    else:
        assert answer.json()["Status" if status != 400 else "ErrorNumber"] in (status, 10)
    assert books.call("Contacts", page=1).status_code == (401 if status == 401 else 200)


# -- several organisations, given records ---------------------------------------------------------------------------


class TwoOrganisations(Sandbox):
    """Customers spread over two organisations."""

    organisations = 2


def test_two_organisations_share_the_customers(world: World) -> None:
    with running_sandbox(world, vendors={"xero": TwoOrganisations}, rate_limits=False) as url:
        both = [Books(url, tenant=tenant) for tenant in TENANTS]
        shown = both[0].session.get(f"{url}/xero/connections", headers=both[0].headers, timeout=10).json()
        assert [one["tenantId"] for one in shown] == list(TENANTS)
        invoices = [set(books.all("Invoices", where=SALES + ' AND Status != "DRAFT" AND Status != "SUBMITTED"')) for books in both]
        assert all(invoices) and not invoices[0] & invoices[1]
        assert set.union(*invoices) == {record_id("invoice", invoice.id) for invoice in world.invoices.values()}
        for books in both:
            contacts = set(books.all("Contacts"))
            assert {row["Contact"]["ContactID"] for row in books.all("Invoices", where=SALES).values()} <= contacts
            assert {row["Contact"]["ContactID"] for row in books.all("CreditNotes", where='Type=="ACCRECCREDIT"').values()} <= contacts
        names = [books.get("Organisation")["Organisations"][0] for books in both]
        assert [n["OrganisationID"] for n in names] == list(TENANTS) and names[0]["Name"] != names[1]["Name"]


TABLES = {"Contacts": "contacts", "Invoices": "invoices", "CreditNotes": "credit_notes", "Payments": "payments",
          "Overpayments": "overpayments", "Prepayments": "prepayments", "Currencies": "currencies", "Accounts": "accounts"}  # fmt: skip


def test_recorded_records_are_served_as_they_are(tmp_path: Path, world: World) -> None:
    if not RECORDED.is_dir():
        pytest.skip("the recorded examples are not beside this repository")
    (tmp_path / "xero").mkdir()
    given: dict[str, list[dict[str, Any]]] = {}
    sources = {**TABLES, "Organisations": "organisations", "Reports": "trial_balance"}
    files = {"Organisations": "GET_Organisation", "Reports": "GET_Reports_TrialBalance"}
    for name, table in sources.items():
        given[name] = json.loads((RECORDED / f"{files.get(name, f'GET_{name}')}.json").read_text())[name]
        (tmp_path / "xero" / f"{table}.jsonl").write_text("\n".join(json.dumps(row) for row in given[name]))
    with running_sandbox(world, vendors={"xero": Sandbox}, records=tmp_path, rate_limits=False) as url:
        books = Books(url)
        for name in TABLES:
            params = {"page": 1, "pageSize": 1000, "includeArchived": "true"} if name not in ("Currencies", "Accounts") else {}
            shown = books.call(name, **params).json()[name]
            assert sorted(map(str, shown)) == sorted(map(str, given[name]))
        assert books.get("Organisation")["Organisations"][0]["BaseCurrency"] == "NZD"
        assert books.call("Reports/TrialBalance").json()["Reports"] == given["Reports"]
        assert len(books.get("Invoices")["Invoices"]) == 3 and len(books.all("Invoices", Statuses="PAID")) == 1
        control(url, "POST", "advance", {"days": 1})
        books.sign_in()
        assert len(books.all("Invoices")) == 3


def test_ids_of_the_world() -> None:
    assert Sandbox.record_id("customer", "58") == "c0000000-0000-4000-8000-000000000058"
    assert Sandbox.record_id("customer", "58") < Sandbox.record_id("customer", "158")
    assert Sandbox.record_id("invoice", "no-number") == "no-number"
    kinds = ("customer", "invoice", "credit_note", "payment", "refund")
    assert len({Sandbox.record_id(kind, "1") for kind in kinds}) == len(kinds)


def test_the_world_is_rendered_alike_each_time() -> None:
    def bodies() -> list[bytes]:
        world = make_world()
        books = Sandbox(world, Clock(date(2026, 6, 30), lambda: 0.0)).books[TENANTS[0]]
        return [record.body for table in books.tables.values() for record in table.records.values()]

    first = bodies()
    assert first == bodies() and b"E+" not in b"".join(first) and b":null" not in b"".join(first)
