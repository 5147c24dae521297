"""What a wrong record, a control and an empty ledger may stop: their own account, nothing, and the writing."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fault_fixture import FaultNight
from test_faults_quickbooks import Books, named

from pipelines import guard, http, tieout


def open_deal(books: Books, key: str, company: str, amount: str | None, close: str = "2026-07-20T12:00:00Z") -> None:
    books.deal(key, company, amount or "", dealstage="open", hs_is_closed_won="false", hs_is_closed="false", closedate=close)


def company() -> Books:
    books = Books()
    books.hubspot["deal_stages"][0] = {**books.hubspot["deal_stages"][0], "stages": [
        *books.hubspot["deal_stages"][0]["stages"],
        {"id": "open", "label": "Open", "displayOrder": 0, "metadata": {"isClosed": "false", "probability": "0.5"}, "archived": False}]}
    return books


MOST, MOST_PIECES, DEAREST = "999999999999999.99", "9999999999", "999999.99"
STAMPS = {"createdAt": "2026-05-01T00:00:00Z", "updatedAt": "2026-05-20T12:00:00Z", "archived": False}


def largest(books: Books) -> None:
    """The largest numbers that are read, and ones that are larger, wherever models multiply or add up."""
    rate = {"CurrencyRef": {"value": "XAU"}, "ExchangeRate": DEAREST}
    gold = {"Qty": MOST_PIECES, "UnitPrice": MOST, "ItemRef": {"value": "1", "name": "Gold"}}
    books.customer("69")
    for key, amount in (("691", MOST), ("692", MOST), ("693", "1e21")):
        lines = [{"Id": "1", "LineNum": 1, "Amount": amount, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": gold}]
        books.invoice(key, "69", amount, amount, Line=lines, **rate, **named("694"))
        books.payment(f"{key}1", "69", amount, ("Invoice", key, amount), **rate)
    books.deal("694", "69", MOST, deal_currency_code="XAU", hs_exchange_rate=DEAREST)
    sold = {"695": "600", "696": "601", "697": "999999999999"}
    books.hubspot["deals"][-1]["associations"]["line items"] = {"results": [{"id": key, "type": "deal_to_line_item"} for key in sold]}
    books.hubspot["line_items"] = [
        {"id": key, **STAMPS, "properties": {
            "name": "Gold", "quantity": MOST_PIECES, "price": MOST, "amount": MOST, "recurringbillingfrequency": "monthly",
            "hs_recurring_billing_start_date": "2026-06-01", "hs_recurring_billing_number_of_payments": periods}}
        for key, periods in sold.items()]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> FaultNight:
    books = company()
    books.invoice("611", books.customer("61"), 100, 100, DueDate="1926-07-01")
    books.invoice("621", books.customer("62"), 100, 100, "2926-06-01")
    books.payment("631", books.customer("63"), 50, day="0026-06-10", unapplied=50)
    books.invoice("641", books.customer("64"), 100, 100, DueDate="2026-05-25")
    books.invoice("651", books.customer("65"), 100, 40)  # open less than nothing paid would leave
    books.deal("661", books.customer("66"), "77", closedate="0024-05-01T12:00:00Z")
    books.deal("671", books.customer("67"), "80")
    books.invoice("672", "67", 80, 80, **named("671"))
    open_deal(books, "681", books.customer("68"), None)
    open_deal(books, "682", "68", "50")
    open_deal(books, "683", "68", None, "2026-09-20T12:00:00Z")
    books.deal("684", "68", "10", dealstage="424242")
    largest(books)
    return FaultNight(tmp_path_factory.mktemp("holds"), {"hubspot": books.hubspot, "quickbooks": books.quickbooks})


def message(night: FaultNight, record: str) -> str:
    return "; ".join(row["message"] for row in night.rows("SELECT message FROM rpt_exceptions WHERE record_id = ? ORDER BY 1", record))


@pytest.mark.parametrize(("account", "record", "words"), [
    ("61", "611", "due_date: 1926-07-01 is no plausible day"), ("62", "621", "issue_date: 2926-06-01 is no plausible day"),
    ("63", "631", "payment_date: 0026-06-10 is no plausible day"),
])  # fmt: skip
def test_ledger_06_impossible_due_date(night: FaultNight, account: str, record: str, words: str) -> None:
    assert words in message(night, record)
    row = night.account(account)
    assert row["hold_reason"] and row["financial_status"] != "Credit Hold" and row["days_overdue"] < 100


def test_ledger_06_a_due_date_before_the_issue_is_the_ledgers_own(night: FaultNight) -> None:
    assert night.account("64")["hold_reason"] is None and night.account("64")["days_overdue"] == 36


def test_ledger_04_a_contradiction_holds_its_account(night: FaultNight) -> None:
    assert night.account("65")["hold_reason"] == (
        "quickbooks contradicts itself on invoice N-651: total less what was applied 100.00, open in the ledger 40.00")
    assert "document_open_differs" in night.exceptions("651")


def test_crm_02_close_date_stops_every_night(night: FaultNight) -> None:
    assert "close_date: 0024-05-01 is no plausible day" in message(night, "661")
    assert night.deal("671")["status"] == "Matched"
    months = night.rows("SELECT min(month) AS first, max(month) AS last, count(*) AS count FROM revenue_cycle_monthly")[0]
    assert months["first"] >= date(2026, 5, 1) and months["last"] == date(2027, 6, 1) and months["count"] < 20


def test_crm_10_unknown_stage_stops_all(night: FaultNight) -> None:
    assert "stage: nobody enumerated 424242" in message(night, "684")
    assert night.account("68")["hold_reason"] == "a record behind these numbers has a data problem"
    assert night.account("67")["hold_reason"] is None


def test_the_largest_numbers_hold_their_own_account_alone(night: FaultNight) -> None:
    assert "TotalAmt: '1e21' is larger than can be meant" in message(night, "693")
    lines = {row["line_id"]: row["problem"] or "" for row in night.rows("SELECT line_id, problem FROM int_deal_lines__unioned")}
    assert [key for key in ("695", "696", "697") if "no number of billing periods that can be meant" in lines[key]] == ["696", "697"]
    assert night.account("69")["hold_reason"]
    assert (night.account("64")["hold_reason"], night.account("64")["total_outstanding"]) == (None, 100)


def test_crm_11_pipeline_of_unknown_amounts(night: FaultNight) -> None:
    assert {"681", "683"} == {row["record_id"] for row in night.rows(
        "SELECT record_id FROM rpt_exceptions WHERE kind = 'open_deal_without_amount'")}
    shown = {row["month"]: row for row in night.rows("SELECT * FROM revenue_cycle_monthly")}
    july, august, september = (shown[date(2026, month, 1)] for month in (7, 8, 9))
    assert (july["pipeline_amount"], july["pipeline_deals"], july["pipeline_deals_without_amount"]) == (50, 2, 1)
    assert (august["pipeline_amount"], august["pipeline_deals"]) == (0, 0)
    assert (september["pipeline_amount"], september["pipeline_weighted"], september["pipeline_deals_without_amount"]) == (None, None, 1)


SAID = [{"value": value} for value in ("100.00", "", "", "", "100.00")]
TITLES = ("", "Current", "1 - 30", "31 - 60", "61 and over", "Total")
OTHER = {"Columns": {"Column": [{"ColTitle": title} for title in TITLES]}, "Rows": {"Row": [
    {"ColData": [{"value": "Customer 1", "id": "1"}, *SAID]},
    {"Summary": {"ColData": [{"value": "TOTAL"}, *SAID]}, "group": "GrandTotal"}]}}


@pytest.mark.parametrize(("answer", "state"), [
    ((200, json.dumps(OTHER)), "tied"), ((500, "<html>oops</html>"), "not compared"), ((200, "<html>Log in</html>"), "not compared"),
    ((200, "{}"), "not compared"), ((403, "{}"), "not compared"),
])  # fmt: skip
def test_ledger_09_ageing_periods_fail_the_ledger(answer: tuple[int, str], state: str, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    send = http.Api._send

    def other(self: http.Api, method: str, url: str, header: str, shown: str, *more: Any, **content: Any) -> Any:
        if "AgedReceivables" in url:
            return http.Response(answer[0], {}, answer[1], shown)
        return send(self, method, url, header, shown, *more, **content)

    monkeypatch.setattr(http.Api, "_send", other)
    books = company()
    books.invoice("11", books.customer("1"), 100, 100)
    found = FaultNight(tmp_path, {"hubspot": books.hubspot, "quickbooks": books.quickbooks}, tests=state == "tied")
    assert {receipt.status for receipt in found.receipts} == {"complete"}
    assert (found.account("1")["hold_reason"], found.account("1")["total_outstanding"]) == (None, 100)
    (certificate,) = tieout.certificates(found.settings)
    assert certificate.state == state
    said = found.rows("SELECT message FROM rpt_exceptions WHERE object = 'control_total'")
    assert len(said) == 1 and ("not compared" in said[0]["message"] or "could not be read" in said[0]["message"])


def test_crm_06_empty_ledger_is_tied(tmp_path: Path) -> None:
    books = company()
    books.customer("1")
    books.deal("2", "1", "100")
    found = FaultNight(tmp_path, {"hubspot": books.hubspot, "quickbooks": {"customers": [], "invoices": []}}, tests=False)
    (doubt,) = guard.empty(found.settings)
    assert doubt.sentence.startswith("quickbooks has 0 customers and 0 documents beside 1 won deals: check that it is the right company")
    (certificate,) = tieout.certificates(found.settings)
    assert (certificate.state, certificate.kind) == ("not compared", "nothing_to_compare")
    assert "nothing to compare" in tieout.sentence("quickbooks", certificate.document())


@pytest.mark.parametrize(("won", "held", "sentences"), [
    (0, {"books": (0, 0)}, 0), (1, {"books": (0, 0)}, 1), (1, {"books": (3, 0)}, 1), (1, {"books": (3, 1)}, 0), (202, {"books": (9, 9)}, 1),
    (202, {"books": (9, 200)}, 0), (202, {"books": (0, 0), "more": (9, 200)}, 1), (19, {"books": (1, 0), "more": (0, 9)}, 2), (50, {}, 0),
    (20, {"books": (3, 1)}, 0), (21, {"books": (3, 1)}, 1),
])  # fmt: skip
def test_crm_06_next_to_nothing_beside_won_deals(won: int, held: dict[str, tuple[int, int]], sentences: int) -> None:
    assert len(guard.too_empty(won, held)) == sentences
