"""Known faults of Xero's side, each on the smallest records that showed it, and other inputs of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from fault_fixture import FaultNight

from pipelines.http import Response
from pipelines.vendors.xero import reading

Json = dict[str, Any]


def guid(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-{number:012d}"


def stamp(day: str) -> str:
    return f"/Date({int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1000}+0000)/"


def day_of(name: str, day: str) -> Json:
    return {name: stamp(day), f"{name}String": f"{day}T00:00:00"}


def contact(number: int, owed: float | None = None, crm: bool = True, **more: Any) -> Json:
    balances = {} if owed is None else {"Balances": {"AccountsReceivable": {"Outstanding": owed, "Overdue": 0}}}
    crm_id = {"ContactNumber": str(number)} if crm else {}
    return {"ContactID": guid(number), "ContactStatus": "ACTIVE", "Name": f"Customer {number}", "IsCustomer": True, "IsSupplier": False,
            "UpdatedDateUTC": stamp("2010-01-01"), **crm_id, **balances, **more}  # fmt: skip


def line(code: str | None, quantity: float | None, price: float | None, amount: float, tax: float = 0, **more: Any) -> Json:
    return {"ItemCode": code, "Description": code or "Line", "Quantity": quantity, "UnitAmount": price, "LineAmount": amount,
            "TaxAmount": tax, "TaxType": "OUTPUT", **more}  # fmt: skip


def invoice(number: int, customer: int, total: float, *, day: str = "2026-06-01", lines: Sequence[Json] = (), **more: Any) -> Json:
    return {
        "Type": "ACCREC", "InvoiceID": guid(number), "InvoiceNumber": f"INV-{number}", "Reference": "",
        "Contact": {"ContactID": guid(customer)},
        **day_of("Date", day), **day_of("DueDate", "2026-07-01"), "Status": "AUTHORISED", "LineAmountTypes": "Exclusive",
        "LineItems": list(lines), "SubTotal": total, "TotalTax": 0, "Total": total, "AmountDue": total, "AmountPaid": 0,
        "AmountCredited": 0, "CurrencyCode": "USD", "CurrencyRate": 1, "SentToContact": True, "UpdatedDateUTC": stamp("2026-06-20"), **more,
    }  # fmt: skip


def payment(number: int, invoice_id: int, customer: int, amount: float, day: str = "2026-06-10", **more: Any) -> Json:
    subject = {"InvoiceID": guid(invoice_id), "CurrencyCode": "USD", "Contact": {"ContactID": guid(customer)}}
    return {"PaymentID": guid(number), "PaymentType": "ACCRECPAYMENT", "Status": "AUTHORISED", **day_of("Date", day), "Amount": amount,
            "CurrencyRate": 1, "Invoice": subject, "UpdatedDateUTC": stamp("2026-06-20"), **more}  # fmt: skip


def without(record: Json, name: str) -> Json:
    return {key: value for key, value in record.items() if key != name}


def company(number: int) -> Json:
    return {"id": str(number), "properties": {"name": f"Customer {number}", "domain": f"c{number}.example"},
            "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-02T00:00:00Z", "archived": False}  # fmt: skip


def deal(number: int, lines: Sequence[tuple[str, float, float]]) -> tuple[Json, list[Json]]:
    """A won deal of the company of the same number, with lines of (product, quantity, price)."""
    items = [
        {"id": str(number * 100 + place), "properties": {"hs_sku": code, "name": code, "quantity": str(count), "price": str(price),
                                                          "hs_line_item_currency_code": "USD",
                                                          "amount": str(count * price)},
         "createdAt": "2026-05-01T00:00:00Z", "updatedAt": "2026-05-20T12:00:00Z", "archived": False}
        for place, (code, count, price) in enumerate(lines)
    ]  # fmt: skip
    amount = sum(count * price for _, count, price in lines)
    linked = {"companies": {"results": [{"id": str(number), "type": "deal_to_company"}]},
              "line items": {"results": [{"id": one["id"], "type": "deal_to_line_item"} for one in items]}}  # fmt: skip
    properties = {"dealname": f"Deal {number}", "amount": str(amount), "dealstage": "closedwon", "pipeline": "default",
                  "closedate": "2026-05-20T12:00:00Z", "hs_is_closed_won": "true", "hs_is_closed": "true"}  # fmt: skip
    return {"id": str(number), "properties": properties, "createdAt": "2026-05-01T00:00:00Z", "updatedAt": "2026-05-20T12:00:00Z",
            "archived": False, "associations": linked}, items  # fmt: skip


STAGES = {"id": "default", "label": "Sales", "displayOrder": 0, "archived": False, "stages": [
    {"id": "closedwon", "label": "Won", "displayOrder": 1, "archived": False,
     "metadata": {"isClosed": "true", "probability": "1.0"}}]}  # fmt: skip
# Weak currencies: (code, amount, Xero's quote, its worth in USD to the cent, divided by hand).
WEAK = {
    21: ("VND", "60000000000", "25431.117645", "2359314.32"), 22: ("IDR", "987654321012.34", "16234.567891", None),
    23: ("LBP", "123456789012", "89512.345678", None), 24: ("COP", "55555555555.55", "4123.456789", None),
    25: ("IRR", "999999999999", "42105.263157", None),
}  # fmt: skip
# Invoices that come without their ids, by day.
NAMELESS = {197: "2026-06-02", 198: "2026-06-03"}
TAX_INSIDE = {"LineAmountTypes": "Inclusive", "SubTotal": 100, "TotalTax": 20}
AMOUNTS = {"invoices": (31, "AmountDue"), "credit_notes": (32, "RemainingCredit"), "overpayments": (33, "RemainingCredit"),
           "prepayments": (34, "RemainingCredit")}  # fmt: skip


def credit(kind: str, number: int, customer: int, total: float, left: float, **more: Any) -> Json:
    types = {"CreditNote": "ACCRECCREDIT", "Overpayment": "RECEIVE-OVERPAYMENT", "Prepayment": "RECEIVE-PREPAYMENT"}
    return {f"{kind}ID": guid(number), "Type": types[kind], "Contact": {"ContactID": guid(customer)}, **day_of("Date", "2026-06-02"),
            "Status": "AUTHORISED", "LineAmountTypes": "NoTax", "LineItems": [], "SubTotal": total, "TotalTax": 0, "Total": total,
            "RemainingCredit": left, "CurrencyCode": "USD", "CurrencyRate": 1, "Allocations": [], "Payments": [],
            "UpdatedDateUTC": stamp("2026-06-20"), **more}  # fmt: skip


def records() -> dict[str, dict[str, list[Json]]]:
    deals = [
        deal(14, [("P", 1, 100), ("T", 1, 100)]), deal(15, [("C", 5, 20)]), deal(17, [("C", 5, 20)]),
        deal(18, [("P", 1, 100), ("T", 1, 100)]),
    ]
    invoices = [
        invoice(101, 14, 120, Reference="14", **TAX_INSIDE, lines=[
            line("P", 1, 120, 120, 20), line("T", 1, 120, 0, DiscountRate=100)]),
        invoice(102, 18, 120.01, Reference="18", LineAmountTypes="Inclusive", SubTotal=100.01, TotalTax=20, lines=[
            line("P", 1, 120, 120, 20), line("T", 1, 120, 0.01, DiscountRate=99.99)]),
        invoice(103, 15, 80, Reference="15", lines=[line("C", 5, 20, 100), line("C", -1, 20, -20)]),
        invoice(104, 17, 80, Reference="17", lines=[line("C", 5, 20, 100), line(None, 1, -20, -20)]),
        invoice(161, 1, 1200, SubTotal=1000, TotalTax=200, AmountDue=1000, CISDeduction=200, CISRate=20),
        invoice(171, 2, 1200, SubTotal=1000, TotalTax=200, Status="PAID", AmountDue=0, AmountPaid=1000, CISDeduction=200),
        invoice(142, 42, 5, Status="ON_HOLD"),
        invoice(172, 3, 1000, AmountDue=600, AmountPaid=400, CISDeduction=200),  # Total is after the deduction already
        *(invoice(400 + number, number, float(amount), Total=amount, SubTotal=amount, AmountDue=amount, CurrencyCode=code,
                  CurrencyRate=rate) for number, (code, amount, rate, _) in WEAK.items()),
        without(invoice(131, 31, 50), "AmountDue"),
        without(without(invoice(141, 41, 70), "DueDate"), "DueDateString"),
    ]  # fmt: skip
    invoices += [invoice(number, 71, 75.5, day=day) for number, day in NAMELESS.items()]
    customers = {71: 151, 1: 1000, 2: 0, 42: 5, 3: 600, 14: 120, 15: 80, 17: 80, 18: 120.01, 31: 50, 32: -40, 33: -40, 34: -40}
    contacts = [*(contact(number, owed) for number, owed in customers.items()),
                *(contact(number, float(amount)) for number, (_, amount, *_) in WEAK.items()),
                contact(41, 70, PaymentTerms={"Sales": {"Day": 3, "Type": "WHENEVER"}}),
                contact(61, crm=False, IsCustomer=False), contact(62, crm=False, IsCustomer=False, IsSupplier=True),
                without(contact(63, crm=False), "IsCustomer")]  # fmt: skip
    return {
        "hubspot": {"companies": [company(one) for one in (*customers, *WEAK)], "deals": [one for one, _ in deals],
                    "line_items": [item for _, items in deals for item in items], "deal_stages": [STAGES]},
        "xero": {
            "contacts": contacts, "invoices": invoices,
            "payments": [payment(271, 171, 2, 1000), payment(272, 172, 3, 400), payment(273, 142, 42, 5, PaymentType="BARTER")],
            "credit_notes": [without(credit("CreditNote", 132, 32, 40, 40), "RemainingCredit")],
            "overpayments": [without(credit("Overpayment", 133, 33, 40, 40), "RemainingCredit")],
            "prepayments": [without(credit("Prepayment", 134, 34, 40, 40), "RemainingCredit")],
        },
    }  # fmt: skip


def without_some_ids(answer: Response, path: str) -> reading.Page:
    page = page_of(answer, path)
    for item in page.items:
        if item.get("InvoiceID") in map(guid, NAMELESS):
            del item["InvoiceID"]
    return page


page_of = reading.page_of


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> FaultNight:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "page_of", without_some_ids)
        return FaultNight(tmp_path_factory.mktemp("xero_faults"), records())


def test_records_without_an_id_hold_their_customer_and_stop_no_night(night: FaultNight) -> None:
    found = night.rows("SELECT message, amount_base FROM rpt_exceptions WHERE kind = 'not_read' AND source = 'xero'")
    assert [tuple(row.values()) for row in found] == [("151.00 USD in 2 Invoices is not counted: the record has no id", 151)]
    assert "151.00 USD on receivables that is not counted (Invoices without an id)" in night.account("71")["hold_reason"]
    assert night.account("1")["hold_reason"] is None


def test_ledger_13_not_a_customer(night: FaultNight) -> None:
    assert night.exceptions(guid(61)) == night.exceptions(guid(62)) == set()
    assert night.exceptions(guid(63)) == {"customer_only_in_accounting"}


def test_ledger_14_free_line_with_tax_inside(night: FaultNight) -> None:
    bridge = night.bridge("14")
    assert {cause: amount for cause, amount in bridge.items() if amount} == {"discount": -100}
    assert night.deal("14")["status"] == "Explained"
    lines = night.rows("SELECT line_number, unit_price, amount FROM stg_xero__document_lines WHERE document_id = ? ORDER BY 1", guid(102))
    # What is left of a line of 120 less 99.99 % says nothing of its tax: the line beside it does.
    assert [(row["unit_price"], row["amount"]) for row in lines[:1]] == [(100, 100)]
    assert abs(lines[1]["unit_price"] - 100) < Decimal("0.02")
    assert sum(row["amount"] for row in lines) == Decimal("100.01")


def test_ledger_15_return_called_discount(night: FaultNight) -> None:
    assert night.bridge("15").get("discount", 0) == 0 and night.bridge("15")["price_or_quantity"] == -20
    assert night.deal("15")["status"] == "Review"
    assert night.bridge("17")["discount"] == -20 and night.deal("17")["status"] == "Explained"


@pytest.mark.parametrize("number", WEAK)
def test_ledger_16_weak_currency(night: FaultNight, number: int) -> None:
    code, amount, rate, by_hand = WEAK[number]
    expected = (Decimal(amount) / Decimal(rate)).quantize(Decimal("0.01"))
    assert by_hand is None or expected == Decimal(by_hand)
    (tied,) = night.rows("SELECT net_outstanding, ledger_total, total_ties FROM int_receivables__tied WHERE customer_id = ?", guid(number))
    assert tied == {"net_outstanding": expected, "ledger_total": expected, "total_ties": True}, code
    (stated,) = night.rows("SELECT own_currency, own_total FROM stg_xero__control_totals WHERE customer_id = ?", guid(number))
    assert stated == {"own_currency": code, "own_total": Decimal(amount)}


def test_ledger_21_withheld_looks_like_part_payment(night: FaultNight) -> None:
    rows = night.rows("SELECT document_id, gross, withheld, open_amount FROM stg_xero__documents WHERE document_id IN (?, ?, ?)",
                      guid(161), guid(171), guid(172))
    found = {row["document_id"]: (row["gross"], row["withheld"], row["open_amount"]) for row in rows}
    assert found == {guid(161): (1200, 200, 1000), guid(171): (1200, 200, 0), guid(172): (1000, 0, 600)}
    assert night.account("1")["total_outstanding"] == 1000
    shown = night.rows("SELECT document_id, payment_status FROM fct_invoices WHERE document_id IN (?, ?, ?)",
                       guid(161), guid(171), guid(172))
    assert {row["document_id"]: row["payment_status"] for row in shown} == {
        guid(161): "Sent", guid(171): "Paid", guid(172): "Partially Paid"}
    assert not any("document_open_differs" in night.exceptions(guid(number)) for number in (161, 171, 172))


@pytest.mark.parametrize("table", AMOUNTS)
def test_ledger_22_open_amount_missing(night: FaultNight, table: str) -> None:
    number, name = AMOUNTS[table]
    assert night.exceptions(guid(100 + number)), table
    (row,) = night.rows(f"SELECT _problem FROM raw_xero.{table} WHERE id = ?", guid(100 + number))
    assert row == {"_problem": f"{name}: is missing"}


@pytest.mark.parametrize(("number", "said"), [(141, "WHENEVER"), (142, "ON_HOLD"), (273, "BARTER")])
def test_a_word_that_nobody_enumerated_stops_nobody(night: FaultNight, number: int, said: str) -> None:
    rows = night.rows("SELECT message FROM rpt_exceptions WHERE record_id = ?", guid(number))
    assert any(said in row["message"] for row in rows)
    assert night.account("1")["total_outstanding"] == 1000


# -- the sandbox's own reports, in a company whose base currency is CAD ----------------------------------------------

LATE = "2011-06-10"


def own_books() -> dict[str, dict[str, list[Json]]]:
    """An account of receivables that is not the sandbox's own; invoices that were settled after the business date."""
    common = {"CurrencyCode": "CAD", "LineAmountTypes": "NoTax", "UpdatedDateUTC": stamp("2011-06-20")}
    early = {**common, "day": "2011-05-01", **day_of("DueDate", "2011-05-31")}
    paid = {"Status": "PAID", "AmountDue": 0}
    spent = [{"Amount": 30, **day_of("Date", LATE), "Invoice": {"InvoiceID": guid(504)}, "AllocationID": guid(900)}]
    return {
        "hubspot": {"companies": [company(number) for number in (1, 2, 3, 4)]},
        "xero": {
            "organisations": [{"OrganisationID": guid(700), "Name": "Own", "BaseCurrency": "CAD"}],
            "accounts": [{"AccountID": guid(800), "Code": "110", "Name": "Debtors of our own", "Type": "CURRENT", "Status": "ACTIVE",
                          "SystemAccount": "DEBTORS", "UpdatedDateUTC": stamp("2011-01-01")}],
            "contacts": [contact(number) for number in (1, 2, 3, 4)],
            "invoices": [
                invoice(501, 1, 100, **early), invoice(502, 2, 100, **early, **paid, AmountPaid=100),
                invoice(504, 4, 30, **early, **paid, AmountCredited=30),
                *(invoice(510 + place, 3, 10.01, **{**early, "CurrencyCode": "EUR", "CurrencyRate": 0.7}) for place in range(3)),
            ],
            "payments": [payment(602, 502, 2, 100, LATE, UpdatedDateUTC=stamp("2011-06-20"))],
            "credit_notes": [credit("CreditNote", 704, 4, 30, 0, **common,
                                    **day_of("Date", "2011-05-02"), Status="PAID", Allocations=spent)],
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def own_night(tmp_path_factory: pytest.TempPathFactory) -> FaultNight:
    known_at = datetime(2011, 7, 1, 2, tzinfo=UTC)
    return FaultNight(tmp_path_factory.mktemp("own_books"), own_books(), base="CAD", as_of=date(2011, 5, 31), known_at=known_at)


def test_sandbox_01_trial_balance_of_another_account(own_night: FaultNight) -> None:
    (row,) = own_night.rows("SELECT account_id, account_name, balance, _problem FROM raw_xero.trial_balance")
    # 100 still open, 100 paid later, 30 less 30 allocated later, and three times 10.01 / 0.7 = 14.30, each rounded by itself.
    assert row == {"account_id": guid(800), "account_name": "Debtors of our own", "balance": Decimal("242.90"), "_problem": None}


def test_sandbox_02_earlier_dates_use_todays_balances(own_night: FaultNight) -> None:
    (ours,) = own_night.rows("SELECT sum(net_outstanding) AS owed FROM int_receivables__tied")
    (theirs,) = own_night.rows("SELECT total FROM stg_xero__control_totals WHERE customer_id IS NULL")
    assert ours["owed"] == theirs["total"] == Decimal("242.90")
    assert own_night.account("2")["total_outstanding"] == 100
