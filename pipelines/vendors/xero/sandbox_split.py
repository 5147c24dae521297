"""How Xero keeps one payment of the world: as payments of documents, allocations of credits, and money that is not spent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from pipelines.sandbox.entities import Payment, Refund

# What a credit of the world is here.
CREDIT_KINDS = {"credit_note": "credit_note", "deposit": "prepayment"}
# Some customers' money comes before it is matched: of every so many payments one is an overpayment or a prepayment that was
# allocated to the invoice afterwards. What is owed and what was received are the same either way.
OVERPAID_EVERY, PREPAID_EVERY = 17, 19


@dataclass(frozen=True)
class Spent:
    """Part of a payment, or of a credit that `source` names, that settled an invoice."""

    kind: str  # payment | credit_note | overpayment | prepayment
    source: str  # the Xero id of the payment or credit
    id: str  # the Xero id of the payment or allocation
    invoice_id: str
    amount: Decimal
    date: date


@dataclass(frozen=True)
class PaidOut:
    """Part of a payment, or of a credit, that was given back: `kind` and `source` as in `Spent`."""

    kind: str
    source: str
    refund: Refund


@dataclass
class Split:
    """One payment of the world as Xero keeps it: payments and allocations, what was given back, and the money that is not spent."""

    spent: list[Spent] = field(default_factory=list)
    paid_out: list[PaidOut] = field(default_factory=list)
    credit: tuple[str, Decimal, Decimal] | None = None  # (overpayment | prepayment, total, remaining)


def style(payment: Payment) -> str:
    """How money came in: as payments of invoices, or first as a credit of its own."""
    number = int(payment.id)
    if payment.with_document:
        return "payment"
    if number % OVERPAID_EVERY == 3 and payment.amount:
        return "overpayment"
    return "prepayment" if number % PREPAID_EVERY == 5 and payment.amount else "payment"
