"""What each date may be, what contradicts itself, and what a ledger's own report says otherwise: whom it holds, in both ledgers;
and that everything is read again where a report says that something is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from extract_fixture import DAY, FAST, NIGHT, MemoryTokens, settings_at
from fault_fixture import FaultNight
from sandbox_fixture import running_sandbox

from pipelines import extract, guard
from pipelines.sandbox.world import make_world
from pipelines.settings import Settings
from pipelines.vendors.quickbooks.sandbox import Sandbox
from pipelines.vendors.quickbooks.sandbox_ageing import Ageing
from pipelines.vendors.xero import report

Row = dict[str, Any]
STAMP = "2026-06-20T09:00:00Z"
IMPOSSIBLE = {1: "0024-05-01", 2: "1926-07-01", 3: "2926-07-01", 4: "9999-12-31"}
STAGES = {"id": "default", "label": "Sales", "displayOrder": 0, "archived": False, "stages": [
    {"id": stage, "label": stage, "displayOrder": 1, "metadata": {"isClosed": closed, "probability": odds}, "archived": False}
    for stage, closed, odds in (("won", "true", "1.0"), ("open", "false", "0.5"))]}


def on(name: str, day: str) -> Row:
    """A day as Xero answers it: milliseconds since 1970, and a text."""
    days = (date.fromisoformat(day) - date(1970, 1, 1)).days
    return {name: f"/Date({days * 86_400_000}+0000)/", f"{name}String": f"{day}T00:00:00"}


class Company:
    """A CRM and two ledgers; a customer has the id of its account, which it stores."""

    def __init__(self) -> None:
        self.hubspot: dict[str, list[Row]] = {"companies": [], "deals": [], "deal_stages": [STAGES]}
        self.quickbooks: dict[str, list[Row]] = {"customers": []}
        self.xero: dict[str, list[Row]] = {"contacts": []}

    def records(self) -> dict[str, dict[str, list[Row]]]:
        return {"hubspot": self.hubspot, "quickbooks": self.quickbooks, "xero": self.xero}

    def account(self, key: str) -> str:
        self.hubspot["companies"].append({"id": key, "properties": {"name": f"Account {key}", "domain": f"a{key}.example"},
                                          "createdAt": STAMP, "updatedAt": STAMP, "archived": False})
        return key

    def deal(self, key: str, account: str, stage: str = "won", amount: str | None = "77", close: str = "2026-05-20") -> None:
        values = {"dealname": f"Deal {key}", "dealstage": stage, "pipeline": "default", "closedate": f"{close}T12:00:00Z",
                  "hs_is_closed_won": str(stage == "won").lower(), "hs_is_closed": str(stage == "won").lower()}
        self.hubspot["deals"].append({
            "id": key, "createdAt": STAMP, "updatedAt": STAMP, "archived": False, "properties": {**values, "amount": amount},
            "associations": {"companies": {"results": [{"id": account, "type": "deal_to_company"}]}}})

    def customer(self, key: str, **fields: Any) -> str:
        self._entry("customers", self.account(key), DisplayName=f"Customer {key}", Active=True, ResaleNum=key, Balance=0, **fields)
        return key

    def _entry(self, table: str, key: str, **fields: Any) -> None:
        self.quickbooks.setdefault(table, []).append({
            "Id": key, "SyncToken": "0", "MetaData": {"CreateTime": STAMP, "LastUpdatedTime": STAMP}, **fields})

    def invoice(self, key: str, customer: str, balance: Any = 100, day: str = "2026-06-01", due: str = "2026-07-01", total: Any = 100,
                **fields: Any) -> None:
        line = {"Id": "1", "LineNum": 1, "Amount": total, "DetailType": "SalesItemLineDetail",
                "SalesItemLineDetail": {"ItemRef": {"value": "1", "name": "Services"}, "Qty": 1, "UnitPrice": total}}
        self._entry("invoices", key, **{
            "DocNumber": f"N-{key}", "TxnDate": day, "DueDate": due, "CustomerRef": {"value": customer}, "CurrencyRef": {"value": "USD"},
            "TotalAmt": total, "Balance": balance, "TxnTaxDetail": {"TotalTax": 0}, "Line": [line], **fields})

    def payment(self, key: str, customer: str, invoice: str, day: str, applied: Any = 100, unapplied: Any = 0) -> None:
        self._entry("payments", key, TxnDate=day, CustomerRef={"value": customer}, CurrencyRef={"value": "USD"}, TotalAmt=100,
                    UnappliedAmt=unapplied, Line=[{"Amount": applied, "LinkedTxn": [{"TxnId": invoice, "TxnType": "Invoice"}]}])

    def sale_in_xero(self, key: int, day: str = "2026-06-01", due: str = "2026-07-01") -> str:
        guid = f"{key:08d}-0000-4000-8000-{key:012d}"
        self.xero["contacts"].append({
            "ContactID": guid, "ContactStatus": "ACTIVE", "Name": f"Customer {key}", "IsCustomer": True, "IsSupplier": False,
            "ContactNumber": self.account(str(key)), "UpdatedDateUTC": "/Date(1262304000000+0000)/"})
        self.xero.setdefault("invoices", []).append({
            "Type": "ACCREC", "InvoiceID": guid, "InvoiceNumber": f"X-{key}", "Contact": {"ContactID": guid}, "Status": "AUTHORISED",
            **on("Date", day), **on("DueDate", due), "LineAmountTypes": "NoTax", "LineItems": [],
            "SubTotal": 100, "TotalTax": 0, "Total": 100, "AmountDue": 100, "AmountPaid": 0, "AmountCredited": 0, "CurrencyCode": "USD",
            "CurrencyRate": 1, "SentToContact": True, "UpdatedDateUTC": "/Date(1781000000000+0000)/"})
        return guid


def impossible_days(books: Company) -> None:
    books.deal("200", books.account("200"))
    for n, day in IMPOSSIBLE.items():
        books.deal(f"20{n}", books.account(f"20{n}"), close=day)
        books.deal(f"24{n}", books.account(f"24{n}"), "open", close=day)
        books.invoice(f"6{n}01", books.customer(f"61{n}"), due=day)
        books.invoice(f"6{n}02", books.customer(f"62{n}"), day=day)
        books.invoice(f"6{n}03", books.customer(f"63{n}"), 0)
        books.payment(f"6{n}04", f"63{n}", f"6{n}03", day)
        books.sale_in_xero(640 + n, due=day)
    # A few days before the issue is the ledger's own business, and so is a due date within the window.
    books.invoice("6901", books.customer("691"), due="2026-05-28")
    books.invoice("6902", books.customer("692"), due="2035-07-01")
    books.sale_in_xero(693)


def contradictions(books: Company) -> None:
    books.invoice("4101", books.customer("41"), 0)
    books.invoice("4201", books.customer("42"), 60)
    books.payment("4202", "42", "4201", "2026-06-10", applied=40, unapplied=10)
    books.invoice("4301", books.customer("43"), 60)
    books.payment("4302", "43", "4301", "2026-06-10", applied=40, unapplied=60)


def differences(books: Company) -> None:
    books.invoice("2301", books.customer("231"), 37, total=37)
    books.customer("232")
    # Two that are short of what a third has too much: nothing says which of them it is.
    books.invoice("2303", books.customer("234"), 41, total=41)
    books.customer("235")
    books.customer("236")
    books.invoice("2302", books.customer("233"))
    books.invoice("2401", books.customer("251", CurrencyRef={"value": "EUR"}), CurrencyRef={"value": "EUR"}, ExchangeRate=1.1)
    books.quickbooks["customers"][-1]["Balance"] = 100
    books.invoice("2402", books.customer("252", CurrencyRef={"value": "EUR"}), CurrencyRef={"value": "EUR"}, ExchangeRate=1.1)
    books.quickbooks["customers"][-1]["Balance"] = 95


def unknown_values(books: Company) -> None:
    books.invoice("1901", books.customer("190"), CurrencyRef={"value": "XXQ"}, ExchangeRate=2)


OTHERWISE = {"231": Decimal(-37), "232": Decimal(37), "234": Decimal(-41), "235": Decimal(41), "236": Decimal(41),
             "251": Decimal(5), "252": Decimal(5)}


def says_otherwise(honest: Any) -> Any:
    """A report that has the invoice of 231 at 232 and that of 234 twice elsewhere, and values what is in euros at the day's rate."""

    def open_records(self: Ageing, on: date) -> Iterator[tuple[str, date, Decimal]]:
        yield from honest(self, on)
        yield from ((customer, date(2026, 7, 1), amount) for customer, amount in OTHERWISE.items())

    return open_records


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultNight]:
    books = Company()
    for plant in (impossible_days, contradictions, differences, unknown_values):
        plant(books)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ageing, "open_records", says_otherwise(Ageing.open_records))
        patch.setattr(report, "receivable_row", unreadable(report.receivable_row))
        yield FaultNight(tmp_path_factory.mktemp("holds"), books.records())


def unreadable(honest: Any) -> Any:
    """A trial balance of which the table is another one."""
    return lambda answer, *more: honest({"Rows": []}, *more)


def hold(night: FaultNight, account: str) -> str:
    return night.account(account)["hold_reason"] or ""


def said(night: FaultNight, record: str, kind: str = "data_problem") -> str:
    rows = night.rows("SELECT message FROM rpt_exceptions WHERE record_id = ? AND kind = ? ORDER BY 1", record, kind)
    return "; ".join(row["message"] for row in rows)


@pytest.mark.parametrize("n", IMPOSSIBLE)
def test_crm_02_close_date_stops_every_night(night: FaultNight, n: int) -> None:
    for deal in (f"20{n}", f"24{n}"):
        assert "close_date: " in said(night, deal) and IMPOSSIBLE[n] in said(night, deal)
        assert night.rows("SELECT close_date FROM int_deals__unioned WHERE deal_id = ?", deal) == [{"close_date": None}]
    assert hold(night, f"20{n}") == "a record behind these numbers has a data problem"
    assert hold(night, f"24{n}") == "", "an open deal says nothing of what was sold"


def test_crm_02_months_are_few_and_end_a_year_ahead(night: FaultNight) -> None:
    (months,) = night.rows("SELECT min(month) AS first, max(month) AS last, count(*) AS count FROM revenue_cycle_monthly")
    assert months["last"] == date(2027, 6, 1) and months["first"] == date(2026, 5, 1) and months["count"] == 14


@pytest.mark.parametrize("n", IMPOSSIBLE)
@pytest.mark.parametrize(("field", "account", "record"), [
    ("due_date", "61{n}", "6{n}01"), ("issue_date", "62{n}", "6{n}02"), ("payment_date", "63{n}", "6{n}04"),
    ("due_date", "64{n}", "0000064{n}-0000-4000-8000-00000000064{n}")])
def test_ledger_06_impossible_due_date(night: FaultNight, n: int, field: str, account: str, record: str) -> None:
    found = night.account(account.format(n=n))
    assert found["hold_reason"] == "a record behind these numbers has a data problem"
    assert found["financial_status"] != "Credit Hold"
    assert f"{field}: {IMPOSSIBLE[n]} is no plausible day" in said(night, record.format(n=n))


@pytest.mark.parametrize(("account", "overdue"), [("691", 100), ("692", 0), ("693", 0)])
def test_ledger_06_a_plausible_day_is_the_ledgers_own(night: FaultNight, account: str, overdue: int) -> None:
    assert (hold(night, account), night.account(account)["overdue_amount"]) == ("", overdue)


@pytest.mark.parametrize(("account", "kind", "record", "amounts"), [
    ("41", "document_open_differs", "4101", ("100.00", "0.00")), ("42", "payment_applied_differs", "4202", ("100.00", "50.00"))])
def test_ledger_04_a_contradiction_holds_its_account(
        night: FaultNight, account: str, kind: str, record: str, amounts: tuple[str, str]) -> None:
    assert kind in night.exceptions(record)
    for amount in amounts:
        assert amount in said(night, record, kind) and amount in hold(night, account)
    assert hold(night, account).startswith("quickbooks contradicts itself on ")


def test_ledger_04_books_that_agree_hold_nobody(night: FaultNight) -> None:
    assert hold(night, "43") == ""


def test_ledger_09_a_control_that_cannot_be_read_is_said_once_and_holds_nobody(night: FaultNight) -> None:
    assert night.rows("SELECT level, is_tied, kind FROM rpt_tie_out WHERE source = 'xero'") == [
        {"level": "ledger", "is_tied": None, "kind": "not_compared"}]
    rows = night.rows("SELECT kind FROM rpt_exceptions WHERE source = 'xero' AND kind LIKE 'tie_out%'")
    assert rows == [{"kind": "tie_out_not_compared"}]
    assert [receipt.status for receipt in night.receipts if receipt.source == "xero"] == ["complete"]
    assert hold(night, "693") == ""


def kind_of(night: FaultNight, customer: str) -> tuple[Any, ...]:
    (row,) = night.rows("SELECT kind, is_tied, difference FROM rpt_tie_out WHERE source = 'quickbooks' AND customer_id = ?", customer)
    return row["kind"], row["is_tied"], row["difference"]


def test_ledger_23_merged_and_restamped(night: FaultNight) -> None:
    assert kind_of(night, "231") == ("moved_between_customers", False, 37)
    assert kind_of(night, "232") == ("moved_between_customers", False, -37)
    assert all("does not tie out" in hold(night, account) for account in ("231", "232"))
    assert [kind_of(night, customer)[0] for customer in ("234", "235", "236")] == ["unknown", "journal", "journal"]
    assert (kind_of(night, "233"), hold(night, "233")) == ((None, True, 0), "")


def test_ledger_24_home_currency_revaluation(night: FaultNight) -> None:
    assert kind_of(night, "251") == ("revaluation", True, -5)
    assert hold(night, "251") == ""
    assert "tie_out_revalued" in night.exceptions("251") and "tie_out" not in night.exceptions("251")
    # What the ledger has in the customer's own currency is not ours: no rate explains that.
    assert kind_of(night, "252")[1] is False and "does not tie out" in hold(night, "252")


def test_ledger_19_a_currency_that_nobody_knows_holds_its_account(night: FaultNight) -> None:
    assert "XXQ" in said(night, "1901") and hold(night, "190")


def test_crm_06_a_ledger_that_is_really_new_blocks_nothing(tmp_path: Path) -> None:
    books = Company()
    books.deal("1", books.account("1"))
    night = FaultNight(tmp_path, {"hubspot": books.hubspot, "quickbooks": books.quickbooks}, tests=False)
    assert len(guard.empty(night.settings)) == 1
    new = settings_at("http://127.0.0.1:9", tmp_path, FAST + '[vendors]\ncrms = ["hubspot"]\nledgers = ["quickbooks"]\n'
                      '[guard]\nnew_ledgers = ["quickbooks"]\n')
    assert guard.empty(new) == []


# -- Everything is read again ---------------------------------------------------------------------------------------


def heard(chosen: Settings, days: int, *, full: bool = False) -> extract.Receipt:
    return extract.extract("quickbooks", chosen, as_of=DAY, known_at=NIGHT + timedelta(days=days), tokens=TOKENS, full=full)


TOKENS = MemoryTokens()


def newest_customer(chosen: Settings, invoice: str) -> str:
    (value,) = extract.known_values(chosen, "quickbooks", "invoices", ["customer_id"])[invoice]
    return value


def tie_out(chosen: Settings, level: str, difference: str | None, kind: str, *, not_read: str = "") -> None:
    """The controls of the last night: what the tie-out says, and an exception of what was counted and not read."""
    with duckdb.connect(str(chosen.warehouse)) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS marts")
        connection.execute("CREATE OR REPLACE TABLE marts.rpt_exceptions AS SELECT 'quickbooks' AS source, 'not_read' AS kind, "
                           "'Invoice' AS object, 'Invoice' AS record_id, cast(? AS varchar) AS message WHERE message <> ''", [not_read])
        connection.execute("CREATE OR REPLACE TABLE marts.rpt_tie_out AS SELECT 'quickbooks' AS source, ? AS level, "
                           "cast(? AS decimal(28,6)) AS difference, false AS is_tied, ? AS kind", [level, difference, kind])


def move(invoice: Any, customer: str, books: list[Sandbox]) -> None:
    """To another customer, without a new stamp."""
    invoice.customer_id = customer
    invoice.version += 1
    books[-1].state.sync()


def test_ledger_23_a_full_reading_by_command_and_by_itself(tmp_path: Path) -> None:
    world = make_world(7, 20)
    invoice = next(one for one in world.invoices.values() if not one.deleted)
    before = invoice.customer_id
    other = next(one for one in world.customers if one != before)
    books: list[Sandbox] = []

    def serve(*arguments: Any) -> Sandbox:
        books.append(Sandbox(*arguments))
        return books[-1]

    with running_sandbox(world, vendors={"quickbooks": serve}, rate_limits=False) as url:
        chosen = settings_at(url, tmp_path)
        first = heard(chosen, 0)
        move(invoice, other, books)
        silent = heard(chosen, 1)
        assert silent.rows.get("invoices", 0) < first.rows["invoices"] and newest_customer(chosen, invoice.id) == before

        asked = heard(chosen, 2, full=True)
        assert asked.rows["invoices"] == first.rows["invoices"] and newest_customer(chosen, invoice.id) == other
        assert asked.message == "every record was read again (asked for)"

        move(invoice, before, books)
        tie_out(chosen, "customer", "100", "moved_between_customers")
        again = heard(chosen, 3)
        assert newest_customer(chosen, invoice.id) == before
        assert again.message == "every record was read again (its own control total differs by 100, moved between customers)"
        assert heard(chosen, 4).message == "", "once for each difference"

        tie_out(chosen, "ledger", "-12.34", "unknown")
        assert [heard(chosen, 5).message, heard(chosen, 9).message] == ["", ""], "another difference waits for a week"
        assert "differs by -12.34, unknown" in heard(chosen, 10).message
        tie_out(chosen, "customer", "12", "unknown")
        assert heard(chosen, 17).message == ""
        for day, there, said in ((18, 41, "every record was read again (an unknown amount in 1 Invoice is not counted)"), (26, 42, "")):
            counted = f"an unknown amount in 1 Invoice is not counted: QuickBooks counts {there}, and here are {there - 1}"
            tie_out(chosen, "ledger", None, "unknown", not_read=counted)
            assert heard(chosen, day).message == said, "the counts changed, their difference did not"
