"""One judge: status and main cause of a deal are read from its bridge, whatever the words in which it was billed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from fault_fixture import FaultNight
from test_faults_quickbooks import Books, named

Lines = list[tuple[str | None, str, Any, Any]]
# Of each product: code, name, quantity and price.
SOLD: Lines = [("DESK", "Desk", 1, 1000), ("LAMP", "Lamp", 7, 100)]
WORDS: Lines = [(None, "as agreed", 1, 1000), (None, "and delivered", 7, 100)]
OTHER_WORDS: Lines = [(None, "work in May", 1, 1000), (None, "travel", 7, 100)]
LESS: Lines = [*SOLD, (None, "less", None, -170)]

# By deal: what was sold, the invoices, and the bridge.
COPIES: dict[str, tuple[Lines, list[Lines], dict[str, int]]] = {
    "8101": (SOLD, [WORDS, OTHER_WORDS], {"duplicate_invoice": 1700}),
    "8102": (SOLD, [SOLD, OTHER_WORDS], {"duplicate_invoice": 1700}),
    "8103": (SOLD, [SOLD, [("DESK", "Desk", 1, 600), ("DESK", "Desk", 1, 400), ("LAMP", "Lamp", 7, 100)]], {"duplicate_invoice": 1700}),
    "8104": (SOLD, [SOLD, SOLD[::-1]], {"duplicate_invoice": 1700}),
    "8105": (SOLD, [SOLD, [("X-1", "Desk", 1, 1000), ("X-2", "Lamp", 7, 100)]], {"duplicate_invoice": 1700}),
    "8106": (SOLD, [SOLD, OTHER_WORDS[::-1]], {"duplicate_invoice": 1700}),
    "8107": (SOLD, [SOLD, [(None, "all of it", 1, 1700)]], {"duplicate_invoice": 1700}),
    "8108": (SOLD, [SOLD, OTHER_WORDS, WORDS], {"duplicate_invoice": 3400}),
    "8109": (SOLD, [LESS, LESS], {"duplicate_invoice": 1530, "discount": -170}),
    # Not the same again: half of it, and something else at the same price.
    "8110": (SOLD, [SOLD, SOLD[:1]], {"price_or_quantity": 1000}),
    "8111": (SOLD, [SOLD, [("SAFE", "Safe", 1, 1700)]], {"over_invoiced": 1700}),
    # The contract has room for both.
    "8112": ([("DESK", "Desk", 2, 1000)], [SOLD[:1], SOLD[:1]], {}),
    "8113": ([("DESK", "Desk", 2, 1000)], [WORDS[:1], OTHER_WORDS[:1]], {}),
}  # fmt: skip
CHAIRS: Lines = [("CHAIR", "Chair", 5, 20)]
RETURNS: dict[str, tuple[Lines, list[Lines], dict[str, int]]] = {
    "8201": (CHAIRS, [[*CHAIRS, ("CHAIR", "Chair", -1, 20)]], {"price_or_quantity": -20}),
    "8202": (CHAIRS, [[*CHAIRS, (None, "Chair", -1, 20)]], {"price_or_quantity": -20}),
    "8203": (CHAIRS, [CHAIRS, [("CHAIR", "Chair", 1, 20)], [("CHAIR", "Chair", 2, 20), ("CHAIR", "Chair", -3, 20)]], {}),
    # A discount is what the ledger states as one.
    "8204": (CHAIRS, [[*CHAIRS, (None, "less", None, -20)]], {"discount": -20}),
}


def bill_line(number: int, code: str | None, text: str, quantity: Any, price: Any) -> dict[str, Any]:
    kind = "DiscountLineDetail" if quantity is None else "SalesItemLineDetail"
    amount = -price if quantity is None else quantity * price
    detail = {} if quantity is None else {"Qty": quantity, "UnitPrice": price}
    return {"Id": str(number), "LineNum": number, "Amount": amount, "Description": text, "DetailType": kind,
            kind: detail | ({"ItemRef": {"value": code, "name": code}} if code else {})}


def add(books: Books, deal: str, sold: Lines, invoices: list[Lines]) -> None:
    books.deal(deal, books.customer(deal), str(sum(quantity * price for _, _, quantity, price in sold)))
    items = [f"{deal}0{number}" for number in range(len(sold))]
    books.hubspot["deals"][-1]["associations"]["line items"] = {"results": [{"id": item, "type": "deal_to_line_item"} for item in items]}
    books.hubspot.setdefault("line_items", []).extend(
        {"id": item, "createdAt": "2026-05-01T00:00:00Z", "updatedAt": "2026-05-20T12:00:00Z", "archived": False,
         "properties": {"hs_sku": code, "name": name, "quantity": str(quantity), "price": str(price), "amount": str(quantity * price),
                        "hs_line_item_currency_code": "USD"}}
        for item, (code, name, quantity, price) in zip(items, sold, strict=True))
    for number, lines in enumerate(invoices):
        total = sum(price if quantity is None else quantity * price for _, _, quantity, price in lines)
        books.invoice(f"{deal}{number}", deal, total, total, f"2026-06-0{number + 1}", **named(deal),
                      Line=[bill_line(place, *line) for place, line in enumerate(lines, start=1)])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> FaultNight:
    books = Books()
    for deal, (sold, invoices, _) in (COPIES | RETURNS).items():
        add(books, deal, sold, invoices)
    return FaultNight(tmp_path_factory.mktemp("judge"), {"hubspot": books.hubspot, "quickbooks": books.quickbooks})


def judged(night: FaultNight, deal: str) -> tuple[dict[str, Decimal], str, str | None]:
    row = night.deal(deal)
    return night.bridge(deal), row["status"], row["main_cause"]


@pytest.mark.parametrize("deal", COPIES)
def test_ledger_08_two_engines_two_causes(night, deal):
    bridge = COPIES[deal][2]
    main = max(bridge, key=lambda cause: abs(bridge[cause]), default=None)
    assert judged(night, deal) == (bridge, "Review" if bridge else "Matched", main)


@pytest.mark.parametrize("deal", RETURNS)
def test_ledger_15_return_called_discount(night, deal):
    bridge = RETURNS[deal][2]
    status = "Matched" if not bridge else "Explained" if "discount" in bridge else "Review"
    assert judged(night, deal) == (bridge, status, next(iter(bridge), None))
