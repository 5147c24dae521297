"""QuickBooks' rules in the sandbox, one by one, over real HTTP."""

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sandbox_fixture import control, running_sandbox

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.scenarios import plant_further
from pipelines.sandbox.world import Invoice, World, make_world
from pipelines.vendors.quickbooks.sandbox import Sandbox
from pipelines.vendors.quickbooks.sandbox_ageing import Ageing
from pipelines.vendors.quickbooks.sandbox_noise import FIRST
from pipelines.vendors.quickbooks.sandbox_query import BadQuery, parse
from pipelines.vendors.quickbooks.sandbox_render import RECEIVABLES
from pipelines.vendors.quickbooks.sandbox_state import QuickBooksState

REALM = "4620816365000000001"


@dataclass
class Books:
    """A signed-in client of a running sandbox."""

    url: str
    token: str = ""
    now: list[float] = None

    def call(self, path: str, params: dict | None = None, body: Any = None) -> tuple[int, dict]:
        """(status, JSON with Decimals) of a call below the company's path."""
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        data = None if body is None else json.dumps(body).encode()
        return self._send(f"/quickbooks/v3/company/{REALM}/{path}{query}", data, f"Bearer {self.token}")

    def query(self, text: str) -> dict:
        """The QueryResponse of a good query."""
        status, answer = self.call("query", {"query": text})
        assert status == 200, answer
        return answer["QueryResponse"]

    def refused(self, text: str) -> dict:
        """The one error of a bad query."""
        status, answer = self.call("query", {"query": text})
        assert status == 400, answer
        assert answer["Fault"]["type"] == "ValidationFault"
        return answer["Fault"]["Error"][0]

    def refresh(self, token: str) -> tuple[int, dict]:
        """What the token endpoint says to a refresh token."""
        form = urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": token}).encode()
        basic = "Basic " + base64.b64encode(b"sandbox-client:sandbox-secret").decode()
        return self._send("/quickbooks/oauth2/v1/tokens/bearer", form, basic)

    def _send(self, path: str, data: bytes | None, authorization: str) -> tuple[int, dict]:
        request = urllib.request.Request(self.url + path, data, headers={"Authorization": authorization})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read(), parse_float=Decimal)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read(), parse_float=Decimal)


def _signed_in(url: str, now: list[float]) -> Books:
    books = Books(url, now=now)
    books.token = books.refresh("sandbox-refresh-0")[1]["access_token"]
    return books


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def books(world: World) -> Iterator[Books]:
    """Only read: tests that write take `fresh`."""
    with running_sandbox(world, vendors={"quickbooks": Sandbox}, rate_limits=False) as url:
        yield _signed_in(url, [0.0])


@pytest.fixture()
def fresh() -> Iterator[Books]:
    now = [0.0]
    options = {"vendors": {"quickbooks": Sandbox}, "rate_limits": False, "monotonic": lambda: now[0]}
    with running_sandbox(make_world(), **options) as url:
        yield _signed_in(url, now)


# -- queries --------------------------------------------------------------------------------------------------------


def test_a_page_holds_100_unless_asked_and_1000_at_most(books: Books, world: World) -> None:
    page = books.query("select * from Invoice")
    assert (len(page["Invoice"]), page["startPosition"], page["maxResults"]) == (100, 1, 100)
    whole = books.query("SELECT * FROM Invoice MAXRESULTS 1000 STARTPOSITION 1")
    assert whole["maxResults"] == len(whole["Invoice"]) == len(_billed(world))
    assert books.refused("select * from Invoice maxresults 1001")["code"] == "4001"


def test_pages_follow_one_another_without_gap(books: Books) -> None:
    order = "ORDER BY MetaData.LastUpdatedTime"
    pages = [books.query(f"select * from Invoice {order} startposition {at} maxresults 40") for at in (1, 41, 81)]
    rows = [row for page in pages for row in page["Invoice"]]
    whole = books.query(f"select * from Invoice {order} asc maxresults 120")["Invoice"]
    assert rows == whole[: len(rows)] and len(rows) > 81
    assert [r["MetaData"]["LastUpdatedTime"] for r in rows] == sorted(
        (r["MetaData"]["LastUpdatedTime"] for r in rows), key=datetime.fromisoformat
    )
    turned = books.query("select * from Invoice orderby Id desc maxresults 1000")["Invoice"]
    assert [int(r["Id"]) for r in turned] == sorted((int(r["Id"]) for r in turned), reverse=True)


def test_an_empty_page_has_no_keys(books: Books) -> None:
    assert books.query("select * from Invoice startposition 5000") == {}
    assert books.query("select * from Estimate") == {}


def test_counts(books: Books, world: World) -> None:
    assert books.query("select count(*) from Invoice") == {"totalCount": len(_billed(world))}
    active = sum(customer.active for customer in world.customers.values())
    assert books.query("SELECT COUNT(*) FROM customer") == {"totalCount": active}


def test_inactive_customers_are_hidden_unless_asked_for(books: Books, world: World) -> None:
    everyone = books.query("select * from Customer where Active in (true, false) maxresults 1000")["Customer"]
    assert len(everyone) == len(world.customers)
    hidden = books.query("select * from Customer where Active = false")["Customer"]
    assert [c["DisplayName"] for c in hidden] == ["Dormant Docks"]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("DisplayName = 'Late Larch Lumber'", {"Late Larch Lumber"}),
        ("DisplayName = 'O\\'Brien & \"Sons\" Barrels'", {"O'Brien & \"Sons\" Barrels"}),
        ("DisplayName LIKE '%larch%'", {"Late Larch Lumber"}),
        ("displayname in ('Late Larch Lumber', 'Part Paid Pottery')", {"Late Larch Lumber", "Part Paid Pottery"}),
        ("Balance > '5000' AND DisplayName like 'Contested%'", {"Contested Cranes"}),
        ("Job = true and BillWithParent = true", {"Freemont - North Stand", "Freemont - South Stand"}),
        ("ResaleNum > '0' and DisplayName = 'ER Holding'", {"ER Holding"}),
    ],
)
def test_conditions(books: Books, condition: str, names: set[str]) -> None:
    rows = books.query(f"select * from Customer where {condition}").get("Customer", [])
    assert {row["DisplayName"] for row in rows} == names


def test_changes_since_a_time_include_that_second(books: Books) -> None:
    rows = books.query("select * from Invoice orderby MetaData.LastUpdatedTime desc maxresults 5")["Invoice"]
    middle = rows[2]["MetaData"]["LastUpdatedTime"]
    since = books.query(f"select * from Invoice where MetaData.LastUpdatedTime >= '{middle}'")["Invoice"]
    assert {row["Id"] for row in since} == {row["Id"] for row in rows[:3]}
    later = books.query(f"select * from Invoice where MetaData.LastUpdatedTime > '{middle}'")["Invoice"]
    assert {row["Id"] for row in later} == {row["Id"] for row in rows[:2]}
    in_utc = datetime.fromisoformat(middle).astimezone(tz=None).isoformat()
    counted = books.query(f"select count(*) from Invoice where MetaData.LastUpdatedTime >= '{in_utc}'")
    assert counted == {"totalCount": 3}


def test_columns(books: Books) -> None:
    rows = books.query("SELECT Id, DocNumber FROM Invoice MAXRESULTS 2")["Invoice"]
    assert [set(row) for row in rows] == [{"Id", "DocNumber", "domain", "sparse"}] * 2


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("select * from Custmoer", "4001"),
        ("select * from Customer where Colour = 'red'", "4001"),
        ("select * from Customer where MetaData.LastUpdatedTime > 'yesterday'", "4001"),
        ("select * Customer", "4000"),
        ("select * from Customer where DisplayName = 'O'Brien'", "4000"),
        ("select * from Customer where Active = true or Active = false", "4000"),
        ("select * from Customer startposition 0", "4000"),
        ("delete from Customer", "4000"),
        ("", "4000"),
    ],
)
def test_bad_queries_are_refused(books: Books, text: str, code: str) -> None:
    assert books.refused(text)["code"] == code


def test_the_parser_reads_clauses_in_any_order() -> None:
    query = parse("SELECT * FROM Invoice MAXRESULTS 5 STARTPOSITION 2 ORDERBY Id DESC, TxnDate")
    assert (query.limit, query.start, query.order) == (5, 2, (("Id", True), ("TxnDate", False)))
    with pytest.raises(BadQuery, match="Lexical error"):
        parse("select * from Invoice where Id = #")


# -- shapes ---------------------------------------------------------------------------------------------------------


def _billed(world: World) -> list[Invoice]:
    """What is an Invoice here: a sale that was paid at once is a SalesReceipt."""
    return [invoice for invoice in world.invoices.values() if not invoice.at_once]


def _linked(payment: dict) -> list[tuple[str, Decimal]]:
    return [(line["LinkedTxn"][0]["TxnType"], line["Amount"]) for line in payment["Line"]]


def _invoices(books: Books) -> dict[str, dict]:
    return {row["Id"]: row for row in books.query("select * from Invoice maxresults 1000")["Invoice"]}


def test_amounts_are_exact_text(world: World) -> None:
    state = QuickBooksState(world, Clock(world.today, lambda: 0.0), None)
    bodies = b"".join(record.body for record in state.tables["Invoice"].records.values())
    assert b'"TotalAmt":1250.5,' in bodies and b'"Balance":0,' in bodies and b'"Amount":33.33,' in bodies
    assert b'"Amount":1000.0,' in bodies and b'"UnitPrice":100,"Qty":' in bodies
    assert b"E+" not in bodies and b":null" not in bodies


def test_invoices_in_the_vendors_shape(books: Books, world: World) -> None:
    for record_id, row in _invoices(books).items():
        invoice = world.invoices[record_id]
        assert Decimal(row["TotalAmt"]) == invoice.gross and Decimal(row["Balance"]) == world.open_amount(invoice)
        assert ("DueDate" in row) == (invoice.due is not None)
        assert ("SalesTermRef" in row) == (invoice.terms_id is not None)
        assert ("StringValue" in row["CustomField"][0]) == (invoice.deal_ref is not None)
        subtotal = row["Line"][-1]
        assert subtotal["DetailType"] == "SubTotalLineDetail" and "Id" not in subtotal
        assert Decimal(row["HomeTotalAmt"]) == (invoice.gross * invoice.rate).quantize(Decimal("0.01"))
        net = Decimal(row["TotalAmt"]) - Decimal(row["TxnTaxDetail"]["TotalTax"])
        signs = {"SalesItemLineDetail": 1, "DiscountLineDetail": -1, "SubTotalLineDetail": 0}
        assert sum(signs[line["DetailType"]] * Decimal(line["Amount"]) for line in row["Line"]) == net
    assert any(line["DetailType"] == "DiscountLineDetail" for r in _invoices(books).values() for line in r["Line"])


def test_a_void_is_zeros_and_a_note_without_a_status(books: Books, world: World) -> None:
    voided = next(invoice.id for invoice in world.invoices.values() if invoice.voided)
    row = _invoices(books)[voided]
    assert (row["TotalAmt"], row["Balance"], row["PrivateNote"]) == (0, 0, "Voided")
    assert all(line["Amount"] == 0 for line in row["Line"]) and "status" not in row


def test_a_credit_application_is_a_payment_of_nothing(books: Books) -> None:
    payments = books.query("select * from Payment where TotalAmt = '0' maxresults 1000")["Payment"]
    found = set()
    for payment in payments:
        (_, paid), (_, pays) = linked = _linked(payment)
        assert paid == pays and payment["UnappliedAmt"] == 0
        found.add(tuple(kind for kind, _ in linked))
    assert found == {("Invoice", "CreditMemo"), ("Invoice", "Deposit"), ("Invoice", "JournalEntry"), ("Expense", "CreditMemo"),
                     ("Check", "Deposit")}  # fmt: skip
    unapplied = books.query("select * from Payment where UnappliedAmt > '0' orderby Id")["Payment"]
    assert [(p["TotalAmt"], p["UnappliedAmt"], _linked(p)) for p in unapplied] == [
        (400, 400, []), (1150, 50, [("Invoice", 1000), ("Check", 100)])]
    notes = books.query("select * from CreditMemo where RemainingCredit > '0'")["CreditMemo"]
    assert [n["RemainingCredit"] for n in notes] == [1200]


def test_what_else_moves_receivables_in_the_vendors_shape(books: Books, world: World) -> None:
    def only(entity: str) -> dict[str, dict]:
        rows = {row["Id"]: row for row in books.query(f"select * from {entity} maxresults 1000")[entity]}
        noise = {record_id for record_id in rows if int(record_id) >= FIRST}
        assert noise or entity not in ("Deposit", "JournalEntry", "Purchase"), "real books have others"
        assert RECEIVABLES["name"] not in str([rows[record_id]["Line"] for record_id in noise])
        return {record_id: row for record_id, row in rows.items() if record_id not in noise}

    (account,) = only("Account").values()
    receivables = {"value": account["Id"], "name": account["Name"]}
    assert receivables == RECEIVABLES
    for record_id, row in (sales := only("SalesReceipt")).items():
        assert (row["TotalAmt"], row["Balance"]) == (world.invoices[record_id].gross, 0) and "DueDate" not in row
    assert sales.keys() == {one.id for one in world.invoices.values() if one.at_once}
    for record_id, row in (deposits := only("Deposit")).items():
        (line,) = row["Line"]
        received, detail = world.deposits[record_id], line["DepositLineDetail"]
        assert line["Amount"] == row["TotalAmt"] == received.amount and detail["AccountRef"] == receivables
        assert (detail["Entity"]["value"], detail["Entity"]["type"]) == (received.customer_id, "CUSTOMER")
    assert deposits.keys() == world.deposits.keys()
    for record_id, row in (entries := only("JournalEntry")).items():
        sides = {line["JournalEntryLineDetail"]["PostingType"]: line for line in row["Line"]}
        entry, credit = world.credit_notes[record_id], sides["Credit"]["JournalEntryLineDetail"]
        assert sides["Debit"]["Amount"] == sides["Credit"]["Amount"] == entry.gross and credit["AccountRef"] == receivables
        assert (credit["Entity"]["Type"], credit["Entity"]["EntityRef"]["value"]) == ("Customer", entry.customer_id)
    assert entries.keys() == {one.id for one in world.credit_notes.values() if one.journal}
    for record_id, row in (purchases := only("Purchase")).items():
        (line,) = row["Line"]
        refund = world.refunds[record_id]
        assert line["Amount"] == row["TotalAmt"] == refund.amount and row["EntityRef"]["value"] == refund.customer_id
        assert line["AccountBasedExpenseLineDetail"]["AccountRef"] == receivables
        assert row["PaymentType"] == {"check": "Check", "expense": "Cash"}[refund.way]
    assert purchases.keys() == {one.id for one in world.refunds.values() if one.way != "receipt"}


def test_the_deposit_taken_on_an_invoice_is_no_payment(books: Books, world: World) -> None:
    payments = {row["Id"] for row in books.query("select * from Payment maxresults 1000")["Payment"]}
    with_document = {payment.id: payment for payment in world.payments.values() if payment.with_document}
    assert payments == world.payments.keys() - with_document.keys()
    rows = {record_id: row for record_id, row in _invoices(books).items() if "Deposit" in row}
    assert {(row["TotalAmt"], row["Deposit"], row["Balance"]) for row in rows.values()} == {(500, 200, 0), (100, 40, 60)}
    assert not {link["TxnId"] for row in rows.values() for link in row["LinkedTxn"]} & with_document.keys()


def test_the_ageing_report_agrees_with_the_records_on_every_day() -> None:
    """What the world says was open on a day, in three currencies, is what its records say by the days of what they link."""
    world = make_world()
    plant_further(world)
    clock = Clock(world.today, lambda: 0.0)
    tables = QuickBooksState(world, clock, None).tables
    by_facts, by_records = (Ageing(world, clock, tables, from_records=given) for given in (False, True))
    for ago in (*range(0, 72), 90, 120):
        on = world.ago(ago)
        assert _by_customer(by_facts.open_items(on)) == _by_customer(by_records.open_records(on)), on


def _by_customer(items: Iterable[tuple[str, date, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for customer, _, amount in items:
        found[customer] += amount
    return {customer: amount.quantize(Decimal("0.000001")) for customer, amount in found.items() if amount}


def test_balances_of_jobs_are_counted_twice_only_with_jobs(books: Books) -> None:
    rows = {c["DisplayName"]: c for c in books.query("select * from Customer maxresults 1000")["Customer"]}
    parent, job = rows["Freemont Stadium Group"], rows["Freemont - North Stand"]
    assert (parent["Balance"], parent["BalanceWithJobs"], job["Balance"]) == (0, 4000, 1500)
    assert job["ParentRef"] == {"value": parent["Id"]} and job["CompanyName"] == "Freemont Stadium Group"
    assert job["FullyQualifiedName"] == "Freemont Stadium Group:Freemont - North Stand"


def test_single_objects_terms_rates_and_refunds(books: Books) -> None:
    assert books.query("select * from Preferences")["Preferences"][0]["CurrencyPrefs"] == {
        "MultiCurrencyEnabled": True, "HomeCurrency": {"value": "USD"},
    }  # fmt: skip
    assert books.query("select * from CompanyInfo")["CompanyInfo"][0]["CompanyName"] == "Brightwater Systems, Inc."
    assert books.call(f"companyinfo/{REALM}")[1]["CompanyInfo"]["Country"] == "US"
    assert books.call("preferences")[1]["Preferences"]["Id"] == "1"
    assert {t["DueDays"] for t in books.query("select * from Term")["Term"]} == {0, 15, 30, 60}
    rate = books.query("select * from ExchangeRate where sourcecurrencycode = 'EUR'")["ExchangeRate"][0]
    assert rate["TargetCurrencyCode"] == "USD" and "Id" not in rate
    assert len(books.query("select * from RefundReceipt")["RefundReceipt"]) == 3


def test_every_answer_has_the_companys_local_time(books: Books) -> None:
    good, bad = {"query": "select * from Term"}, {"query": "nonsense"}
    for path, params in (("query", good), ("query", bad), ("invoice/1", {})):
        local = books.call(path, params)[1]["time"]
        assert datetime.fromisoformat(local).utcoffset() == timedelta(hours=-7) and len(local) == 29


def test_reading_one_by_id(books: Books, world: World) -> None:
    record_id = next(iter(world.invoices))
    assert books.call(f"invoice/{record_id}")[1]["Invoice"]["Id"] == record_id
    assert books.call("invoice/99999999")[1]["Fault"]["Error"][0]["code"] == "610"
    assert books.call("customer/1.5")[1]["Fault"]["Error"][0]["code"] == "2030"
    assert books.call("customer/1/5")[1]["Fault"]["Error"][0]["code"] == "500"
    assert books.call("nothing/1")[1]["Fault"]["Error"][0]["code"] == "500"


# -- change data capture --------------------------------------------------------------------------------------------


def test_cdc_shows_what_a_day_changed_and_deleted(fresh: Books) -> None:
    before = fresh.query("select * from Invoice maxresults 1000")["Invoice"]
    since = "2026-06-30T15:00:00-07:00"
    everything = "Invoice,Payment,CreditMemo"
    quiet = fresh.call("cdc", {"entities": everything, "changedSince": since})[1]
    assert quiet["CDCResponse"] == [{"QueryResponse": [{}, {}, {}]}]
    control(fresh.url, "POST", "advance", {"days": 1})
    fresh.token = fresh.refresh("sandbox-refresh-1")[1]["access_token"]
    parts = fresh.call("cdc", {"entities": everything, "changedSince": since})[1]["CDCResponse"][0]["QueryResponse"]
    changed = {row["Id"]: row for part in parts[:1] for row in part["Invoice"]}
    gone = [row for row in changed.values() if row.get("status") == "Deleted"]
    assert len(gone) == 1 and set(gone[0]) == {"domain", "status", "Id", "MetaData"}
    assert any(row.get("PrivateNote") == "Voided" for row in changed.values())
    at = gone[0]["MetaData"]["LastUpdatedTime"]
    again = fresh.call("cdc", {"entities": "Invoice", "changedSince": at})[1]["CDCResponse"][0]["QueryResponse"]
    assert gone[0] in again[0]["Invoice"]
    newest = max((row["MetaData"]["LastUpdatedTime"] for row in changed.values()), key=datetime.fromisoformat)
    last = fresh.call("cdc", {"entities": "Invoice", "changedSince": newest})[1]["CDCResponse"][0]["QueryResponse"]
    assert [row["MetaData"]["LastUpdatedTime"] for row in last[0]["Invoice"]] == [newest]
    assert parts[0]["startPosition"] == 1 and parts[0]["maxResults"] == len(parts[0]["Invoice"])
    assert fresh.call(f"invoice/{gone[0]['Id']}")[0] == 400
    standing = fresh.query("select * from Invoice maxresults 1000")["Invoice"]
    assert {row["Id"] for row in before} - {row["Id"] for row in standing} == {gone[0]["Id"]}
    hidden = fresh.query("select * from Customer where Active = false")["Customer"]
    assert {c["DisplayName"] for c in hidden} == {"Dormant Docks", "Old Name Oats"}


def test_cdc_looks_back_30_days_and_shows_1000_objects(books: Books) -> None:
    assert books.call("cdc", {"entities": "Invoice", "changedSince": "2026-05-30T00:00:00Z"})[0] == 400
    assert books.call("cdc", {"entities": "Invoice", "changedSince": "2026-06-02T00:00:00Z"})[0] == 200
    assert books.call("cdc", {"entities": "Invoice"})[0] == 400
    unknown = books.call("cdc", {"entities": "Nothing", "changedSince": "2026-06-29"})[1]
    assert unknown["Fault"]["Error"][0]["code"] == "4001"
    large = make_world(accounts=1200)
    state = QuickBooksState(large, Clock(large.today, lambda: 0.0), None)
    answer = json.loads(state.changes(["Invoice", "Payment"], state.clock.now() - timedelta(days=29)))
    parts = answer[0]["QueryResponse"]
    assert sum(len(rows) for part in parts for rows in part.values() if isinstance(rows, list)) == 1000


# -- the ageing report ----------------------------------------------------------------------------------------------


def _rows(rows: dict) -> Iterator[tuple[str, dict[str, str]]]:
    """(customer id, its cells by title) of every customer's own row."""
    titles = ("Current", "1 - 30", "31 - 60", "61 - 90", "91 and over", "Total")
    for row in rows.get("Row", []):
        cells = row.get("ColData") or row.get("Header", {}).get("ColData", [])
        if cells and "id" in cells[0]:
            yield cells[0]["id"], dict(zip(titles, (cell["value"] for cell in cells[1:]), strict=True))
        yield from _rows(row.get("Rows", {}))


def test_the_ageing_report_is_open_invoices_less_unspent_credit(books: Books, world: World) -> None:
    report = books.call("reports/AgedReceivables", {"report_date": "2026-06-30", "aging_method": "Report_Date"})[1]
    rows = dict(_rows(report["Rows"]))
    ids = {customer.name: customer.id for customer in world.customers.values()}
    late = rows[ids["Late Larch Lumber"]]
    assert (late["1 - 30"], late["Current"], late["Total"]) == ("1250.50", "", "1250.50")
    covered = rows[ids["Covered Canopy Tents"]]
    assert (covered["1 - 30"], covered["Total"]) == ("-200.00", "-200.00")
    assert rows[ids["Sixty Day Stoneworks"]]["31 - 60"] == "3100.00"
    assert rows[ids["Punctual Clockworks"]]["Current"] == "1000.00"
    assert rows[ids["Part Paid Pottery"]]["Total"] == "600.00"
    assert ids["Signing Signs"] not in rows and rows[ids["Pennywise Print"]]["Total"] == "0.01"
    section = next(row for row in report["Rows"]["Row"] if "Header" in row)
    assert section["Header"]["ColData"][0]["id"] == ids["Freemont Stadium Group"]
    assert section["Summary"]["ColData"][-1]["value"] == "4000.00" and len(section["Rows"]["Row"]) == 2
    total = report["Rows"]["Row"][-1]
    assert total["group"] == "GrandTotal"
    assert Decimal(total["Summary"]["ColData"][-1]["value"]) == sum(Decimal(r["Total"] or 0) for r in rows.values())
    accounts = world.answers()["accounts"]
    unmatched = {ids[n] for n in ("Shared Books", "Contested Cranes", "Garage Guitars", "Archived Anchors")}
    matched = sum(Decimal(r["Total"] or 0) for c, r in rows.items() if c not in unmatched)
    known = sum(Decimal(a["total_outstanding"]) - Decimal(a["unapplied_credit"]) for a in accounts.values())
    assert matched == known + Decimal("0.01")  # the cent that is not open is still in the ledger


def test_the_ageing_report_of_an_empty_company_and_of_a_bad_date(books: Books) -> None:
    report = books.call("reports/AgedReceivables", {"report_date": "2019-01-01"})[1]
    assert report["Rows"] == {} and {"Name": "NoReportData", "Value": "true"} in report["Header"]["Option"]
    assert books.call("reports/AgedReceivables", {"report_date": "soon"})[0] == 400
    early = books.call("reports/AgedReceivables", {"report_date": "2025-06-30"})[1]
    totals = [cell["value"] for cell in early["Rows"]["Row"][-1]["Summary"]["ColData"][1:]]
    assert "0.00" in totals and "" not in totals


# -- sign-in, faults and limits -------------------------------------------------------------------------------------


def test_refresh_tokens_rotate(fresh: Books) -> None:
    status, pair = fresh.refresh("sandbox-refresh-0")
    assert status == 200 and pair["expires_in"] == 3600 and pair["token_type"] == "bearer"
    assert pair["refresh_token"] not in ("sandbox-refresh-0", "sandbox-refresh-1")
    assert fresh.refresh(pair["refresh_token"])[0] == 200
    assert fresh.refresh("sandbox-refresh-0") == (
        400, {"error": "invalid_grant", "error_description": "Incorrect or invalid refresh token"},
    )  # fmt: skip
    assert fresh.refresh(pair["refresh_token"])[0] == 200


def test_access_tokens_end_after_an_hour(fresh: Books) -> None:
    assert fresh.call("preferences")[0] == 200
    fresh.now[0] += 3601
    status, answer = fresh.call("preferences")
    assert status == 401 and answer["fault"]["error"][0]["code"] == "3200" and "Fault" not in answer


def test_injected_faults_speak_quickbooks(fresh: Books) -> None:
    for kind, status in (("429", 429), ("500", 500), ("expired_token", 401)):
        control(fresh.url, "POST", "faults", {"vendor": "quickbooks", "kind": kind})
        got, answer = fresh.call("query", {"query": "select * from Term"})
        assert got == status
        error = (answer.get("fault") or answer["Fault"]).get("error") or answer["Fault"]["Error"]
        assert ("ThrottleExceeded" in str(error)) == (status == 429)
    assert fresh.call("query", {"query": "select * from Term"})[0] == 401
    fresh.token = fresh.refresh("sandbox-refresh-1")[1]["access_token"]
    control(fresh.url, "POST", "faults", {"vendor": "quickbooks", "kind": "delete_midrun", "object": "invoices"})
    before = make_world()
    assert fresh.query("select count(*) from Invoice")["totalCount"] == len(_billed(before)) - 1


def test_ten_calls_a_second() -> None:
    with running_sandbox(make_world(), vendors={"quickbooks": Sandbox}, monotonic=lambda: 5.0) as url:
        books = _signed_in(url, [])
        statuses = [books.call("query", {"query": "select count(*) from Term"})[0] for _ in range(12)]
        assert statuses == [200] * 10 + [429] * 2
        assert books.call("preferences")[1]["fault"]["error"][0]["message"].startswith("message=ThrottleExceeded")
        assert books.refresh("sandbox-refresh-1")[0] == 200


def test_another_realm_is_forbidden(books: Books) -> None:
    assert books._send("/quickbooks/v3/company/1/query?query=x", None, f"Bearer {books.token}")[0] == 403


# -- writes ---------------------------------------------------------------------------------------------------------


def test_delete_and_void_need_the_newest_sync_token(fresh: Books) -> None:
    row = fresh.query("select * from Invoice where Balance > '0' maxresults 2")["Invoice"]
    stale = fresh.call("invoice", {"operation": "void"}, {"Id": row[0]["Id"], "SyncToken": "77"})
    assert stale[1]["Fault"]["Error"][0]["code"] == "5010"
    assert fresh.call("invoice", {"operation": "sing"}, {"Id": "1"})[1]["Fault"]["Error"][0]["code"] == "500"
    body = {"Id": row[0]["Id"], "SyncToken": row[0]["SyncToken"]}
    voided = fresh.call("invoice", {"operation": "void"}, body)[1]["Invoice"]
    assert voided["TotalAmt"] == 0 and voided["PrivateNote"] == "Voided"
    assert int(voided["SyncToken"]) == int(row[0]["SyncToken"]) + 1
    body = {"Id": row[1]["Id"], "SyncToken": row[1]["SyncToken"]}
    assert fresh.call("invoice", {"operation": "delete"}, body)[1]["Invoice"] == {
        "domain": "QBO", "status": "Deleted", "Id": row[1]["Id"],
    }  # fmt: skip
    changes = fresh.call("cdc", {"entities": "invoice", "changedSince": "2026-06-30T21:59:00Z"})[1]["CDCResponse"]
    found = {r["Id"]: r.get("status") for r in changes[0]["QueryResponse"][0]["Invoice"]}
    assert found == {row[0]["Id"]: None, row[1]["Id"]: "Deleted"}


# -- records from a folder ------------------------------------------------------------------------------------------


def test_records_are_served_byte_for_byte(tmp_path: Path) -> None:
    line = (
        b'{"Id":"1","DisplayName":"A \\u00e9","Balance":639.000,"Active":true,'
        b'"MetaData":{"LastUpdatedTime":"2020-01-01T00:00:00-08:00"}}'
    )
    (tmp_path / "quickbooks").mkdir()
    (tmp_path / "quickbooks" / "customers.jsonl").write_bytes(line + b"\n")
    with running_sandbox(make_world(), vendors={"quickbooks": Sandbox}, records=tmp_path) as url:
        books = _signed_in(url, [])
        query = urllib.parse.urlencode({"query": "select * from Customer where Balance = '639'"})
        target = f"{url}/quickbooks/v3/company/{REALM}/query?{query}"
        request = urllib.request.Request(target, headers={"Authorization": f"Bearer {books.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert line in answer.read()
        assert books.query("select * from Invoice") == {}
        currencies = books.query("select * from Preferences")["Preferences"][0]["CurrencyPrefs"]
        assert currencies["MultiCurrencyEnabled"] is False
        control(url, "POST", "advance", {"days": 1})
        assert books.refresh("sandbox-refresh-1")[0] == 200


# -- speed ----------------------------------------------------------------------------------------------------------


def test_paging_through_many_does_not_render_or_sort_again() -> None:
    world = make_world(accounts=1200)
    state = QuickBooksState(world, Clock(world.today, lambda: 0.0), None)
    started, position, pages = time.perf_counter(), 1, 0
    query = "select * from Invoice orderby MetaData.LastUpdatedTime startposition {} maxresults 1000"
    while state.query(query.format(position)) != b"{}":
        position, pages = position + 1000, pages + 1
    assert pages == -(-len(world.invoices) // 1000) > 5
    assert time.perf_counter() - started < 2


def test_a_day_renders_only_what_changed() -> None:
    world = make_world(accounts=200)
    box = Sandbox(world, Clock(world.today, lambda: 0.0), None)
    before = {key: record for key, record in box.state.tables["Invoice"].records.items()}
    world.advance(1)
    box.advance(world.today)
    now = box.state.tables["Invoice"].records
    changed = {key for key, record in now.items() if before.get(key) is not record}
    assert changed and all(world.invoices[key].modified.date() == date(2026, 7, 1) for key in changed)
