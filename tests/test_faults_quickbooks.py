"""Books that are unlike the invented company: what else moves receivables and money in QuickBooks, in one night of small records."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fault_fixture import FaultNight

from pipelines.vendors.quickbooks.sandbox_query import Query
from pipelines.vendors.quickbooks.sandbox_table import Table

AR = "84"
STAGING = Path(__file__).parents[1] / "dbt_project" / "models" / "staging" / "quickbooks"
STAMP = {"CreateTime": "2026-05-01T09:00:00-07:00", "LastUpdatedTime": "2026-06-20T09:00:00-07:00"}
Row = dict[str, Any]


class Books:
    """QuickBooks records, and for each customer an account of the CRM with the same id, which the customer stores."""

    def __init__(self) -> None:
        self.quickbooks: dict[str, list[Row]] = {}
        self.hubspot: dict[str, list[Row]] = {"companies": [], "deals": [], "deal_stages": [STAGES]}

    def add(self, table: str, record_id: str, **fields: Any) -> None:
        row = {"Id": record_id, "SyncToken": "0", "MetaData": STAMP, **fields}
        self.quickbooks.setdefault(table, []).append({name: value for name, value in row.items() if value is not None})

    def customer(self, key: str, **fields: Any) -> str:
        self.add("customers", key, **{"DisplayName": f"Customer {key}", "Active": True, "ResaleNum": key, "Balance": 0, **fields})
        self.hubspot["companies"].append({"id": key, "properties": {"name": f"Account {key}", "domain": f"c{key}.example"},
                                          "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-02T00:00:00Z", "archived": False})
        return key

    def sale(self, table: str, record_id: str, customer: str, total: Any, day: str = "2026-06-01", **fields: Any) -> None:
        self.add(table, record_id, **{
            "DocNumber": f"N-{record_id}", "TxnDate": day, "CustomerRef": {"value": customer}, "CurrencyRef": {"value": "USD"},
            "TotalAmt": total, "Balance": 0, "TxnTaxDetail": {"TotalTax": 0}, "Line": [line(total)], **fields})

    def invoice(self, record_id: str, customer: str, total: Any, balance: Any, day: str = "2026-06-01", **fields: Any) -> None:
        self.sale("invoices", record_id, customer, total, day, **{"Balance": balance, "DueDate": "2026-07-01", **fields})

    def payment(self, record_id: str, customer: str, total: Any, *links: tuple[str, str, Any], day: str = "2026-06-10", unapplied: Any = 0,
                **fields: Any) -> None:
        self.add("payments", record_id, **{
            "TxnDate": day, "CustomerRef": {"value": customer}, "CurrencyRef": {"value": "USD"}, "TotalAmt": total,
            "UnappliedAmt": unapplied, **fields,
            "Line": [{"Amount": amount, "LinkedTxn": [{"TxnId": txn, "TxnType": kind}]} for kind, txn, amount in links]})

    def deal(self, key: str, company: str, amount: str, **fields: str) -> None:
        self.hubspot["deals"].append({
            "id": key, "createdAt": "2026-05-01T00:00:00Z", "updatedAt": "2026-05-20T12:00:00Z", "archived": False,
            "properties": {"dealname": f"Deal {key}", "amount": amount, "dealstage": "closedwon", "pipeline": "default",
                           "closedate": "2026-05-20T12:00:00Z", "hs_is_closed_won": "true", "hs_is_closed": "true", **fields},
            "associations": {"companies": {"results": [{"id": company, "type": "deal_to_company"}]}}})


STAGES = {"id": "default", "label": "Sales", "displayOrder": 0, "archived": False, "stages": [
    {"id": "closedwon", "label": "Won", "displayOrder": 1, "metadata": {"isClosed": "true", "probability": "1.0"}, "archived": False}]}


def line(amount: Any, quantity: Any = 1, detail: str = "SalesItemLineDetail") -> Row:
    return {"Id": "1", "LineNum": 1, "Amount": amount, "DetailType": detail,
            detail: {"ItemRef": {"value": "1", "name": "Services"}, "Qty": quantity, "UnitPrice": amount}}


def named(deal: str) -> Row:
    return {"CustomField": [{"DefinitionId": "1", "Name": "CRM Deal ID", "Type": "StringType", "StringValue": deal}]}


def on_receivables(customer: str, amount: Any, detail: str, **more: Any) -> list[Row]:
    return [{"Id": "1", "Amount": amount, "DetailType": detail, detail: {"AccountRef": {"value": AR}, **more}}]


def sales_receipts(books: Books) -> None:
    books.sale("sales_receipts", "2501", books.customer("21"), 100, "2026-06-03")
    books.sale("sales_receipts", "2601", books.customer("22"), 100, "2026-06-03")
    books.sale("refund_receipts", "2602", "22", 100, "2026-06-05")
    books.sale("sales_receipts", "2701", books.customer("23"), 0, "2026-06-04", Line=[line(0, 0)], PrivateNote="Storniert")
    books.deal("24", books.customer("24"), "60")
    books.sale("sales_receipts", "2801", "24", 60, "2026-06-02", **named("24"))


def refunds(books: Books) -> None:
    for key, kind in (("31", "Check"), ("32", "Expense")):
        books.invoice(f"{key}01", books.customer(key), 100, 0)
        books.payment(f"{key}02", key, 150, ("Invoice", f"{key}01", 100), (kind, f"{key}03", 50))
    # The check is read: its own day counts, and it is one refund.
    books.invoice("3301", books.customer("33"), 100, 0)
    books.payment("3302", "33", 150, ("Invoice", "3301", 100), ("Check", "3303", 50))
    books.add("purchases", "3303", TxnDate="2026-06-12", PaymentType="Check", TotalAmt=50, EntityRef={"value": "33", "type": "Customer"},
              Line=on_receivables("33", 50, "AccountBasedExpenseLineDetail"))
    # Nobody linked this one: the customer's credit is given back all the same.
    books.payment("3402", books.customer("34"), 80, unapplied=80)
    books.add("purchases", "3403", TxnDate="2026-06-12", PaymentType="Check", TotalAmt=80, EntityRef={"value": "34", "type": "Customer"},
              Line=on_receivables("34", 80, "AccountBasedExpenseLineDetail"))
    books.add("purchases", "3499", TxnDate="2026-06-12", PaymentType="Cash", TotalAmt=9, Line=[
        {"Id": "1", "Amount": 9, "DetailType": "AccountBasedExpenseLineDetail",
         "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "7"}}}])


def other_credits(books: Books) -> None:
    books.invoice("4101", books.customer("41"), 100, 0)
    books.payment("4102", "41", 0, ("Invoice", "4101", 100), ("Deposit", "4103", 100))
    for key, links in (("42", (("JournalEntry", "4203", 30), ("Invoice", "4201", 100))),
                       ("43", (("Invoice", "4301", 100), ("JournalEntry", "4303", 30)))):
        books.deal(key, books.customer(key), "100")
        books.invoice(f"{key}01", key, 100, 0, **named(key))
        books.payment(f"{key}02", key, 70, *links)
    # The other way round: the payment pays a journal entry, too.
    books.invoice("4401", books.customer("44"), 100, 0)
    books.payment("4402", "44", 130, ("JournalEntry", "4403", 30), ("Invoice", "4401", 100))
    books.invoice("4501", books.customer("45"), 100, 0)
    books.payment("4502", "45", 70, ("JournalEntry", "4503", 31), ("Invoice", "4501", 100))
    # Entries that are read: a deposit on receivables that nothing links, and a journal entry that writes off.
    books.customer("46")
    books.add("deposits", "4603", TxnDate="2026-06-08", TotalAmt=40, Line=on_receivables(
        "46", 40, "DepositLineDetail", Entity={"value": "46", "type": "CUSTOMER"}))
    books.customer("47", Balance=-25)
    books.add("journal_entries", "4703", TxnDate="2026-06-08", Line=on_receivables(
        "47", 25, "JournalEntryLineDetail", PostingType="Credit", Entity={"Type": "Customer", "EntityRef": {"value": "47"}}))


def deposits_on_invoices(books: Books) -> None:
    books.invoice("5101", books.customer("51"), 100, 60, Deposit=40.0)
    books.deal("52", books.customer("52"), "100")
    books.invoice("5201", "52", 100, 0, Deposit=40.0, **named("52"))
    books.payment("5202", "52", 60, ("Invoice", "5201", 60))
    books.invoice("5301", books.customer("53"), 100, 60, "2026-07-05", Deposit=40.0)
    books.invoice("5401", books.customer("54"), 0, 0, Deposit=40.0, Line=[line(0, 0)])


def voids(books: Books) -> None:
    for key, note in (("171", "wrong customer (voided)"), ("172", "Annulée - doublon"), ("173", None)):
        books.invoice(f"{key}1", books.customer(key), 100, 0, "2026-05-01", DueDate="2026-05-31")
        books.payment(f"{key}2", key, 100, ("Invoice", f"{key}1", 100), day="2026-05-10")
        books.invoice(f"{key}3", key, 0, 0, "2026-06-01", Line=[line(0, 0)], PrivateNote=note)
    books.invoice("1741", books.customer("174"), 0, 0, "2026-06-01", Line=[line(0, 3)])


def kinds(books: Books) -> None:
    for key, kind in (("191", "ReimburseLineDetail"), ("192", "TDSLineDetail"), ("193", "NovelLineDetail"), ("195", "SalesItemLineDetail")):
        books.invoice(f"{key}1", books.customer(key), 100, 100, Line=[line(100), line(0, 0, kind)])
    books.invoice("1941", books.customer("194"), 100, 0)
    books.payment("1942", "194", 130, ("Invoice", "1941", 100), ("Charge", "1943", 30))


def absent(books: Books) -> None:
    books.invoice("2211", books.customer("221"), 100, None)
    books.sale("credit_memos", "2221", books.customer("222"), 50, Balance=None)
    books.payment("2231", books.customer("223"), 50, unapplied=None)


def terms(books: Books) -> None:
    books.add("terms", "901", Name="On the 15th", Type="DATE_DRIVEN", DayOfMonthDue=15, DueNextMonthDays=5, Active=True)
    for number, day in zip(count(1), ("2026-06-01", "2026-06-10", "2026-06-11", "2026-06-20"), strict=False):
        books.invoice(f"80{number}", "80" if number > 1 else books.customer("80"), 10, 10, day, DueDate=None, SalesTermRef={"value": "901"})


def withheld_by_the_lists(books: Books) -> None:
    """Records that QuickBooks counts and that its lists do not give."""
    books.invoice("9801", books.customer("98"), 100, 100)
    books.add("journal_entries", "9802", TxnDate="2026-06-08", Line=[])


def lists_without(table: Table, query: Query) -> list[Any]:
    found = view(table, query)
    return found if query.count else [record for record in found if record.id not in ("9801", "9802")]


view = Table.view


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> FaultNight:
    books = Books()
    for plant in (sales_receipts, refunds, other_credits, deposits_on_invoices, voids, kinds, absent, terms, withheld_by_the_lists):
        plant(books)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Table, "view", lists_without)
        return FaultNight(tmp_path_factory.mktemp("quickbooks"), {"hubspot": books.hubspot, "quickbooks": books.quickbooks})


def shown(night: FaultNight, account: str, *names: str) -> tuple[Any, ...]:
    row = night.account(account)
    return tuple(int(value) if isinstance(value := row[name], Decimal) and value == int(value) else value for name in names)


def test_ledger_02_sales_receipts(night: FaultNight) -> None:
    names = ("invoiced_to_date", "collected_to_date", "last_payment_date", "last_invoice_status", "total_outstanding")
    assert shown(night, "21", *names) == (100, 100, date(2026, 6, 3), "Paid", 0)
    assert shown(night, "22", "invoiced_to_date", "collected_to_date", "credit_status") == (0, 0, "Refunded")
    names = ("financial_status", "invoiced_to_date", "collected_to_date", "last_payment_date")
    assert shown(night, "23", *names) == ("No Invoices", 0, 0, None)
    assert (night.deal("24")["status"], night.deal("24")["collected_base"]) == ("Matched", 60)


@pytest.mark.parametrize("account", ["31", "32", "33"])
def test_ledger_03_refund_by_check(night: FaultNight, account: str) -> None:
    assert shown(night, account, "collected_to_date", "credit_status", "unapplied_credit", "total_outstanding") == (100, "Refunded", 0, 0)
    (refund,) = night.rows("SELECT payment_date FROM fct_payments WHERE payment_type = 'refund' AND customer_id = ?", account)
    assert refund["payment_date"] == date(2026, 6, 12 if account == "33" else 10)


def test_ledger_03_a_refund_that_nobody_linked(night: FaultNight) -> None:
    assert shown(night, "34", "collected_to_date", "credit_status", "unapplied_credit") == (0, "Refunded", 0)
    assert night.rows("SELECT * FROM raw_quickbooks.purchases WHERE id = '3499'") == []


def test_ledger_04_deposit_or_journal_as_credit(night: FaultNight) -> None:
    assert shown(night, "41", "collected_to_date", "last_payment_date", "average_days_to_pay") == (100, date(2026, 6, 10), 9)
    for key in ("42", "43"):
        assert shown(night, key, "collected_to_date", "average_days_to_pay", "total_outstanding") == (70, 9, 0)
        assert night.deal(key)["collected_base"] == 70
        assert "document_open_differs" not in night.exceptions(f"{key}01")
    assert shown(night, "44", "collected_to_date", "total_outstanding") == (130, 0)


def test_ledger_04_a_payment_that_does_not_balance_holds_its_account(night: FaultNight) -> None:
    assert "data_problem" in night.exceptions("4502")
    assert night.account("45")["hold_reason"]


def test_ledger_04_a_deposit_on_receivables_is_money(night: FaultNight) -> None:
    assert shown(night, "46", "collected_to_date", "unapplied_credit", "last_payment_date") == (40, 40, date(2026, 6, 8))


def test_ledger_04_a_journal_entry_is_named_with_its_amount(night: FaultNight) -> None:
    (entry,) = night.rows("SELECT entity, amount, customer_id, reason FROM int_not_read__unioned WHERE record_id = 'journal-4703'")
    assert (entry["entity"], entry["amount"], entry["customer_id"]) == ("JournalEntry", -25, "47")
    assert "-25.00" in entry["reason"]
    linked = night.rows("SELECT record_id, amount FROM int_not_read__unioned WHERE record_id = 'journal-4203'")
    assert [row["amount"] for row in linked] == [0]


def test_ledger_05_deposit_on_the_invoice(night: FaultNight) -> None:
    assert shown(night, "51", "collected_to_date", "last_payment_date", "total_outstanding") == (40, date(2026, 6, 1), 60)
    assert shown(night, "52", "collected_to_date", "last_payment_date", "total_outstanding") == (100, date(2026, 6, 10), 0)
    assert night.deal("52")["collected_base"] == 100
    assert not night.exceptions("5101") & {"document_open_differs"} and not night.exceptions("5201") & {"document_open_differs"}
    assert shown(night, "53", "collected_to_date", "last_payment_date") == (0, None)
    assert shown(night, "54", "collected_to_date", "financial_status") == (0, "No Invoices")


@pytest.mark.parametrize("account", ["171", "172", "173"])
def test_ledger_17_void_by_its_note(night: FaultNight, account: str) -> None:
    (june,) = night.rows("SELECT status FROM fct_invoices WHERE document_id = ?", f"{account}3")
    assert june["status"] == "void"
    assert shown(night, account, "last_invoice_date", "last_invoice_amount") == (date(2026, 5, 1), 100)


def test_ledger_17_a_free_invoice_is_issued(night: FaultNight) -> None:
    assert shown(night, "174", "last_invoice_date", "last_invoice_status") == (date(2026, 6, 1), "Paid")


@pytest.mark.parametrize(("account", "held"), [("191", False), ("192", False), ("193", True), ("194", False), ("195", False)])
def test_ledger_19_unknown_line_kind_stops_everybody(night: FaultNight, account: str, held: bool) -> None:
    assert bool(night.account(account)["hold_reason"]) is held
    messages = [row["message"] for row in night.rows("SELECT message FROM rpt_exceptions WHERE record_id = ?", f"{account}1")]
    assert any("nobody enumerated NovelLineDetail" in message for message in messages) is held


def test_ledger_19_every_published_value_is_mapped() -> None:
    xsd = Path(__file__).parents[2] / "shared" / "reference" / "specs" / "quickbooks" / "xsd" / "Finance.xsd"
    if not xsd.exists():
        pytest.skip("Intuit's schema is not beside the project")
    text = xsd.read_text(encoding="utf-8")
    for enumeration, model in (("LineDetailTypeEnum", "document_lines"), ("TxnTypeEnum", "applications"), ("EmailStatusEnum", "documents")):
        block = re.search(rf'<xs:simpleType name="{enumeration}".*?</xs:simpleType>', text, re.DOTALL)
        published = set(re.findall(r'enumeration value="(\w+)"', block.group(0)))
        mapped = set(re.findall(r"'(\w+)': '", (STAGING / f"stg_quickbooks__{model}.sql").read_text(encoding="utf-8")))
        assert published and published - mapped == set(), enumeration


def test_ledger_22_open_amount_missing(night: FaultNight) -> None:
    for account, record in (("221", "2211"), ("222", "2221"), ("223", "2231")):
        assert "data_problem" in night.exceptions(record), record
        assert night.account(account)["hold_reason"], account


def test_terms_by_day_of_the_month(night: FaultNight) -> None:
    found = night.rows("SELECT document_id, due_date FROM fct_invoices WHERE customer_id = '80'")
    june, july = date(2026, 6, 15), date(2026, 7, 15)
    assert {row["document_id"]: row["due_date"] for row in found} == {"801": june, "802": june, "803": july, "804": july}


def test_what_is_counted_and_not_given_is_named(night: FaultNight) -> None:
    found = night.rows("SELECT record_id, message, severity FROM rpt_exceptions WHERE kind = 'not_read' AND object = record_id")
    ((here, *_),) = (row.values() for row in night.rows("SELECT count(*) AS here FROM raw_quickbooks.invoices"))
    assert {row["record_id"]: row["message"] for row in found} == {
        "Invoice": f"an unknown amount in 1 Invoice is not counted: QuickBooks counts {here + 1}, and here are {here}",
        "JournalEntry": "an unknown amount in 1 JournalEntry is not counted: QuickBooks counts 2 that changed since the last night, "
                        "and gave 1",
    }
    assert night.account("98")["hold_reason"].startswith("quickbooks does not tie out"), "the report of the day names whom it is missing"
    assert night.account("21")["hold_reason"] is None
