"""Documents, payments and rates against hand-written records: who bills what, on which day it counts, and to the cent."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fault_fixture import FaultNight
from jinja2 import Environment

Record = dict[str, Any]
D = Decimal
ROOT = Path(__file__).resolve().parents[1]


# -- records as the list endpoints return them ----------------------------------------------------------------------


def company(number: int, ledger: str, *customers: int, **properties: str) -> Record:
    """A company that stores the ids of its accounting customers."""
    ids = ";".join(f"{ledger}:{guid(customer) if ledger == 'xero' else customer}" for customer in customers)
    return {"id": str(number), "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-02T00:00:00Z", "archived": False,
            "properties": {"name": f"Company {number}", "crossfoot_customer_ids": ids, **properties}}  # fmt: skip


def deal(number: int, account: int, amount: str, **properties: str) -> Record:
    return {"id": str(number), "createdAt": "2026-05-01T00:00:00Z", "updatedAt": "2026-05-20T12:00:00Z", "archived": False,
            "associations": {"companies": {"results": [{"id": str(account), "type": "deal_to_company"}]}},
            "properties": {"dealname": f"Deal {number}", "amount": amount, "dealstage": "closedwon", "pipeline": "default",
                           "closedate": "2026-05-20T12:00:00Z", "hs_is_closed_won": "true", "hs_is_closed": "true",
                           **properties}}  # fmt: skip


STAGES = [{"id": "default", "label": "Sales", "displayOrder": 0, "archived": False, "stages": [
    {"id": "closedwon", "label": "Won", "displayOrder": 1, "metadata": {"isClosed": "true", "probability": "1.0"}, "archived": False}]}]
META = {"MetaData": {"CreateTime": "2026-05-01T09:00:00-07:00", "LastUpdatedTime": "2026-06-20T09:00:00-07:00"}}
CHANGED = {"UpdatedDateUTC": "/Date(1781900000000+0000)/"}


def guid(number: int) -> str:
    return f"{number:08d}-0000-4000-8000-{number:012d}"


def moment(day: str) -> str:
    """A date as Xero's JSON writes it."""
    return f"/Date({int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)}+0000)/"


def customer(number: int) -> Record:
    return {"Id": str(number), "SyncToken": "0", "DisplayName": f"Company {number}", "Active": True, **META}


def qb_invoice(number: int, of: int, amount: int, day: str, *, left: int = 0, name: str | None = None) -> Record:
    line = {"Id": "1", "LineNum": 1, "Amount": amount, "DetailType": "SalesItemLineDetail",
            "SalesItemLineDetail": {"ItemRef": {"value": "1", "name": "Services"}, "Qty": 1, "UnitPrice": amount}}  # fmt: skip
    return {"Id": str(number), "SyncToken": "0", "DocNumber": name or str(number), "TxnDate": day, "DueDate": "2026-07-31",
            "CustomerRef": {"value": str(of)}, "CurrencyRef": {"value": "USD"}, "TotalAmt": amount, "Balance": left, "Line": [line],
            "TxnTaxDetail": {"TotalTax": 0}, "EmailStatus": "EmailSent", "LinkedTxn": [], **META}  # fmt: skip


def qb_payment(number: int, of: int, amount: int, day: str, *invoices: tuple[int, int]) -> Record:
    lines = [{"Amount": part, "LinkedTxn": [{"TxnId": str(invoice), "TxnType": "Invoice"}]} for invoice, part in invoices]
    return {"Id": str(number), "SyncToken": "0", "TxnDate": day, "CustomerRef": {"value": str(of)}, "CurrencyRef": {"value": "USD"},
            "TotalAmt": amount, "UnappliedAmt": amount - sum(part for _, part in invoices), "Line": lines, **META}  # fmt: skip


def contact(number: int, **more: str) -> Record:
    return {"ContactID": guid(number), "ContactStatus": "ACTIVE", "Name": f"Company {number}", "IsCustomer": True,
            "IsSupplier": False, **CHANGED, **more}  # fmt: skip


def xero_invoice(number: int, of: int, total: float, day: str, **more: Any) -> Record:
    return {"Type": "ACCREC", "InvoiceID": guid(number), "InvoiceNumber": f"X-{number}", "Contact": {"ContactID": guid(of)},
            "DateString": f"{day}T00:00:00", "Date": moment(day), "DueDateString": "2026-07-31T00:00:00", "Status": "AUTHORISED",
            "LineAmountTypes": "NoTax", "LineItems": [], "SubTotal": total, "TotalTax": 0, "Total": total, "AmountDue": total,
            "AmountPaid": 0, "AmountCredited": 0, "CurrencyCode": "USD", "CurrencyRate": 1, "SentToContact": True, **CHANGED,
            **more}  # fmt: skip


def xero_note(number: int, of: int, total: float, day: str, *invoices: tuple[int, int], **more: Any) -> Record:
    parts = [{"Amount": part, "Date": moment(day), "Invoice": {"InvoiceID": guid(invoice)}} for invoice, part in invoices]
    left = total - sum(part for _, part in invoices)
    return {"Type": "ACCRECCREDIT", "CreditNoteID": guid(number), "CreditNoteNumber": f"C-{number}",
            "Contact": {"ContactID": guid(of)}, "Date": moment(day), "DateString": f"{day}T00:00:00",
            "Status": "AUTHORISED" if left else "PAID", "LineAmountTypes": "NoTax", "LineItems": [], "SubTotal": total, "TotalTax": 0,
            "Total": total, "RemainingCredit": left,
            "CurrencyCode": "USD", "CurrencyRate": 1, "Allocations": parts, **CHANGED, **more}  # fmt: skip


def xero_payment(number: int, of: int, amount: float, day: str, invoice: int, currency: str = "USD", rate: float = 1) -> Record:
    return {"PaymentID": guid(number), "Date": moment(day), "Amount": amount, "CurrencyRate": rate, "Status": "AUTHORISED",
            "PaymentType": "ACCRECPAYMENT", "Invoice": {"InvoiceID": guid(invoice), "Type": "ACCREC", "CurrencyCode": currency,
                                                        "Contact": {"ContactID": guid(of)}}, **CHANGED}  # fmt: skip


PAID = {"Status": "PAID", "AmountDue": 0}


# -- one night of them ----------------------------------------------------------------------------------------------

BOOKS: dict[str, dict[str, list[Record]]] = {
    "hubspot": {
        "deal_stages": STAGES,
        "companies": [
            # ledger/01
            company(101, "xero", 101), company(102, "xero", 102), company(103, "xero", 103), company(104, "xero", 104),
            company(105, "xero"), company(106, "xero", 106, hs_parent_company_id="105"),
            # ledger/07
            company(701, "quickbooks", 701), company(702, "quickbooks", 702), company(703, "xero", 703),
            # ledger/10
            company(1001, "xero", 1001),
            # ledger/11
            company(1101, "xero", 1101), company(1102, "xero", 1102),
            # ledger/12
            company(1201, "xero", 1201), company(1202, "xero", 1202),
            # ledger/16
            company(1601, "xero", 1601),
            # ledger/18
            company(1801, "xero", 1801),
            # ledger/20
            company(2001, "quickbooks", 2001), company(2002, "quickbooks", 2002), company(2003, "quickbooks", 2003),
            # ledger/21
            company(2101, "quickbooks", 2101),
        ],
        "deals": [
            deal(101, 101, "100"), deal(103, 103, "100"), deal(105, 105, "77"), deal(107, 101, "55"),
            deal(2001, 2001, "100", invoice_numbers="INV-7"), deal(2002, 2002, "100", invoice_numbers="inv 8"),
            deal(2003, 2003, "100", invoice_numbers="INV-9"),
            deal(1601, 1601, "60000000000", deal_currency_code="VND", amount_in_home_currency="2359314.32"),
            deal(1602, 1601, "9000000000000000000000", deal_currency_code="VND", amount_in_home_currency="8999999999999999999999.99"),
        ],
    },
    "quickbooks": {
        "customers": [customer(n) for n in (701, 702, 2001, 2002, 2003, 2101)],
        "invoices": [
            qb_invoice(7011, 701, 100, "2026-06-20"), qb_invoice(7021, 702, 100, "2026-07-01"),
            qb_invoice(20011, 2001, 100, "2026-01-05", left=100, name="INV-7 "),
            qb_invoice(20021, 2002, 100, "2026-01-05", left=100, name="INV\u20138"),
            qb_invoice(20031, 2003, 100, "2026-01-05", left=100, name="INV-9"),
            qb_invoice(20032, 2003, 100, "2026-01-06", left=100, name="inv-9 "),
            qb_invoice(21011, 2101, 100, "2026-06-01", left=60),
            # What the customer withholds is no payment.
            {**qb_invoice(21013, 2101, 100, "2026-06-02", left=60), "LessCIS": 40},
        ],
        "payments": [
            qb_payment(7012, 701, 100, "2026-05-21", (7011, 100)), qb_payment(7022, 702, 100, "2026-06-25", (7021, 100)),
            qb_payment(21012, 2101, 40, "2026-06-05", (21011, 40)),
        ],
    },
    "xero": {
        "organisations": [{"OrganisationID": guid(1), "Name": "Books", "BaseCurrency": "USD"}],
        "contacts": [
            *(contact(n) for n in (101, 102, 103, 104, 106, 108, 703, 1001, 1101, 1102, 1201, 1202, 1601, 1801)),
            *(contact(n, ContactStatus="ARCHIVED", MergedToContactID=guid(n - 1)) for n in range(1802, 1810)),
            contact(1821, MergedToContactID=guid(1822)), contact(1822, MergedToContactID=guid(1821)),
        ],
        "invoices": [
            xero_invoice(1011, 102, 100, "2026-06-01", Reference="101"),
            xero_invoice(1031, 103, 100, "2026-06-01", Reference="103"),
            xero_invoice(1061, 106, 77, "2026-01-01", Reference="105"),
            xero_invoice(1081, 108, 55, "2026-01-01", Reference="107"),
            xero_invoice(7031, 703, 100, "2026-06-20", AmountPaid=100, **PAID),
            xero_invoice(10011, 1001, 100, "2026-06-01", CurrencyCode="CAD", CurrencyRate=0.99996),
            xero_invoice(10012, 1001, 100, "2026-06-02", CurrencyCode="CAD", CurrencyRate=0.99996),
            xero_invoice(10013, 1001, 100, "2026-06-03", CurrencyCode="CAD", CurrencyRate=0.99996, AmountPaid=66, AmountDue=34),
            xero_invoice(11011, 1101, 620, "2026-06-01", Status="VOIDED", AmountDue=0),
            xero_invoice(11010, 1101, 480, "2026-06-01", DueDateString="2026-06-10T00:00:00"),
            xero_invoice(11021, 1102, 300, "2026-05-01", AmountPaid=300, **PAID),
            xero_invoice(11022, 1102, 620, "2026-06-01", Status="VOIDED", AmountDue=0),
            xero_invoice(12011, 1201, 600, "2026-03-02", AmountCredited=600, **PAID),
            xero_invoice(12012, 1201, 1400, "2026-03-02", AmountPaid=1400, **PAID),
            xero_invoice(12021, 1202, 1000, "2026-01-01", AmountPaid=400, AmountCredited=600, **PAID),
            xero_invoice(16011, 1601, 60000000000, "2026-06-01", CurrencyCode="VND", CurrencyRate=25431.117645),
            xero_invoice(18091, 1809, 70, "2026-06-01", AmountPaid=70, **PAID),
            xero_invoice(18221, 1822, 33, "2026-06-01"),
        ],
        "credit_notes": [
            xero_note(1039, 104, 30, "2026-06-05", Reference="103"),
            xero_note(12013, 1201, 600, "2026-03-02", (12011, 600)),
            xero_note(12023, 1202, 600, "2026-06-10", (12021, 600)),
        ],
        "payments": [
            xero_payment(7032, 703, 100, "2026-06-01", 7031),
            xero_payment(10014, 1001, 33, "2026-06-10", 10013, "CAD", 0.99996),
            xero_payment(10015, 1001, 33, "2026-06-11", 10013, "CAD", 0.99996),
            xero_payment(12014, 1201, 1400, "2026-03-15", 12012),
            xero_payment(12024, 1202, 400, "2026-01-11", 12021),
            xero_payment(18092, 1809, 70, "2026-06-20", 18091),
        ],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultNight]:
    night = FaultNight(tmp_path_factory.mktemp("documents"), BOOKS)
    assert [receipt.status for receipt in night.receipts] == ["complete"] * 3, night.receipts
    yield night


def invoice_of(night: FaultNight, source: str, record_id: int) -> Record:
    key = guid(record_id) if source == "xero" else str(record_id)
    rows = night.rows("SELECT * FROM fct_invoices WHERE source = ? AND document_id LIKE '%' || ?", source, key)
    assert len(rows) == 1
    return rows[0]


# -- ledger/01: two proofs asked against each other --------------------------------------------------------------------


def test_ledger_01_document_of_another_customer(night: FaultNight) -> None:
    assert night.bridge("101") == {"not_invoiced": -100}
    assert night.deal("103")["status"] == "Matched" and night.deal("103")["invoiced_base"] == 100
    questions = night.rows("SELECT deal_id, rule, outcome FROM int_documents__linked WHERE rule = 'deal_of_another_account' ORDER BY 1")
    assert questions == [{"deal_id": number, "rule": "deal_of_another_account", "outcome": "question"} for number in ("101", "103")]
    assert "link_ambiguous" in night.exceptions("101") and "link_ambiguous" in night.exceptions("103")


def test_ledger_01_a_child_of_the_account_and_a_customer_of_nobody_contradict_nothing(night: FaultNight) -> None:
    assert night.deal("105")["status"] == "Matched"
    assert night.deal("107")["status"] == "Matched"


# -- ledger/07: an application counts from the later of its ends -------------------------------------------------------


def test_ledger_07_payment_older_than_invoice(night: FaultNight) -> None:
    assert night.account("701")["average_days_to_pay"] == 0
    assert night.account("703")["average_days_to_pay"] == 0
    early = night.account("702")
    assert (early["unapplied_credit"], early["collected_to_date"], early["invoiced_to_date"]) == (100, 100, 0)
    months = night.rows("SELECT month, outstanding FROM revenue_cycle_monthly WHERE outstanding < 0")
    assert months == []


# -- ledger/10: one receivable, one value ------------------------------------------------------------------------------


def test_ledger_10_cent_of_unrounded_sums(night: FaultNight) -> None:
    """Three of 100 at 1 / 0.99996, of one 66 paid in two: 100.00 + 100.00 + 34.00."""
    assert night.account("1001")["total_outstanding"] == 234
    [aged] = night.rows("SELECT net_outstanding FROM rpt_receivables_ageing WHERE customer_id LIKE '%' || ?", guid(1001))
    assert aged["net_outstanding"] == 234
    for value in night.rows("SELECT outstanding, overdue, invoiced, collected FROM revenue_cycle_monthly"):
        assert all(amount is None or amount == round(amount, 2) for amount in value.values()), value
    for row in night.rows("SELECT net_base, gross_base, open_base FROM fct_invoices"):
        assert all(amount is None or amount == round(amount, 2) for amount in row.values()), row


# -- ledger/11 and 12 --------------------------------------------------------------------------------------------------


def test_ledger_11_void_and_reissue_same_day(night: FaultNight) -> None:
    shown = night.account("1101")
    assert (shown["last_invoice_date"], shown["last_invoice_amount"], shown["last_invoice_status"]) == (date(2026, 6, 1), 480, "Overdue")


def test_ledger_11_a_later_void_does_not_lend_its_status(night: FaultNight) -> None:
    shown = night.account("1102")
    assert (shown["last_invoice_date"], shown["last_invoice_amount"], shown["last_invoice_status"]) == (date(2026, 5, 1), 300, "Paid")


def test_ledger_12_credited_counts_as_paid(night: FaultNight) -> None:
    assert night.account("1201")["average_days_to_pay"] == 13
    credited = invoice_of(night, "xero", 12011)
    assert (credited["payment_status"], credited["paid_on"], credited["paid_base"]) == ("Credited", None, 0)


def test_ledger_12_what_a_credit_note_settled_after_money_counts_the_money_alone(night: FaultNight) -> None:
    partly = invoice_of(night, "xero", 12021)
    assert (partly["payment_status"], partly["paid_on"], partly["paid_base"]) == ("Paid", date(2026, 1, 11), 400)
    assert night.account("1202")["average_days_to_pay"] == 10


# -- ledger/16, 18, 20, 21 ---------------------------------------------------------------------------------------------


def test_ledger_16_weak_currency(night: FaultNight) -> None:
    assert night.deal("1601")["contracted_base"] == D("2359314.32")


def test_ledger_16_what_does_not_fit_has_no_value_and_stops_nothing(night: FaultNight) -> None:
    assert night.deal("1602")["contracted_base"] is None


def test_every_base_currency_is_rounded_to_the_digits_of_the_list() -> None:
    """The macro base_unit and the seed iso_currencies say the same of every currency."""
    text = (ROOT / "dbt_project/macros/engine.sql").read_text(encoding="utf-8")
    macro = Environment().from_string(text[text.index("{% macro base_unit()"):].split("{% endmacro %}")[0]
                                                                 .replace("{{ return(10 ** (6 - digits)) }}", "{{ digits }}")
                                                                 + "{% endmacro %}{{ base_unit() }}")  # fmt: skip
    with (ROOT / "dbt_project/seeds/iso_currencies.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert int(macro.render(var=lambda _, code=row["code"]: code)) == int(row["minor_units"]), row["code"]


def test_ledger_18_long_merge_chain(night: FaultNight) -> None:
    shown = night.account("1801")
    assert (shown["invoiced_to_date"], shown["collected_to_date"]) == (70, 70)


def test_ledger_18_a_circle_is_named_with_its_amount(night: FaultNight) -> None:
    rows = night.rows("SELECT record_id, amount_base FROM rpt_exceptions WHERE kind = 'customer_parents_endless' ORDER BY 1")
    assert [row["amount_base"] for row in rows] == [None, 33]


def test_ledger_20_number_compared_to_the_byte(night: FaultNight) -> None:
    for number in ("2001", "2002"):
        assert night.deal(number)["status"] == "Matched"
        assert not night.exceptions(number) & {"reference_not_found", "reference_ambiguous"}
    assert invoice_of(night, "quickbooks", 20021)["number"] == "INV\u20138"


def test_ledger_20_what_is_equal_only_after_it_is_ambiguous(night: FaultNight) -> None:
    assert night.deal("2003")["invoiced_base"] == 0
    assert "reference_ambiguous" in night.exceptions("2003")
    assert "repeated_invoice_number" in night.exceptions("20031") & night.exceptions("20032")


def test_ledger_21_part_payment_is_what_was_applied(night: FaultNight) -> None:
    assert invoice_of(night, "quickbooks", 21011)["payment_status"] == "Partially Paid"
    assert invoice_of(night, "quickbooks", 21013)["payment_status"] == "Sent"
