"""What else is in real books and moves nobody's receivables: a bank deposit of payments that were received before, what was bought,
and a journal entry between accounts of cost. A nightly reader is given them with the others and has to leave them out. Shapes: Line and
LinkedTxn in Intuit's schema; which of the fields a line has that banks a payment is unverified."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from pipelines.sandbox.entities import Payment
from pipelines.vendors.quickbooks.sandbox_render import BAD_DEBTS, CHECKING, Json, amount, stamp

FIRST = 900_000_001  # ids of noise begin here, behind all of the world's
SUPPLIES = {"value": "7", "name": "Office Supplies"}


def noise(payments: list[Payment], moment: datetime) -> list[tuple[str, Json]]:
    """(entity, object): beside `payments` in the base currency, which the bank received in one sum."""
    meta = {"CreateTime": stamp(moment), "LastUpdatedTime": stamp(moment)}

    def head(place: int, total: Decimal) -> Json:
        return {"domain": "QBO", "sparse": False, "Id": str(FIRST + place), "SyncToken": "0", "MetaData": meta,
                "TxnDate": moment.date().isoformat(), "CurrencyRef": {"value": "USD", "name": "United States Dollar"},
                "TotalAmt": amount(total)}  # fmt: skip

    banked = [{"Amount": amount(one.amount), "LinkedTxn": [{"TxnId": one.id, "TxnType": "Payment", "TxnLineId": "0"}]} for one in payments]
    spent = Decimal("86.40")
    bought = {"Id": "1", "Amount": amount(spent), "DetailType": "AccountBasedExpenseLineDetail",
              "AccountBasedExpenseLineDetail": {"AccountRef": SUPPLIES, "BillableStatus": "NotBillable"}}  # fmt: skip
    moved = [
        {"Id": str(place), "Amount": amount(spent), "DetailType": "JournalEntryLineDetail",
         "JournalEntryLineDetail": {"PostingType": side, "AccountRef": account}}
        for place, (side, account) in enumerate((("Debit", BAD_DEBTS), ("Credit", SUPPLIES)))
    ]  # fmt: skip
    return [
        ("Deposit", {"DepositToAccountRef": CHECKING, **head(0, sum((one.amount for one in payments), Decimal(0))), "Line": banked}),
        ("Purchase", {"AccountRef": CHECKING, "PaymentType": "CreditCard", "Credit": False, **head(1, spent), "Line": [bought]}),
        ("JournalEntry", {"Adjustment": False, **head(2, spent), "Line": moved}),
    ]
