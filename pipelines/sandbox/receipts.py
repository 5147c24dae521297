"""What moves receivables besides invoices, credit notes and the payments that people enter for them.

Facts that every ledger has means of its own for: the renderer of each vendor's sandbox says which.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.sandbox.entities import ZERO, Application, CreditNote, Customer, Deposit, DocLine, Invoice, Payment, Refund

if TYPE_CHECKING:
    from pipelines.sandbox.world import World


def sell_at_once(world: World, customer: Customer, day: date, lines: list[DocLine], **fields: object) -> Invoice:
    """A sale that is paid as it is made, in full."""
    sale = world.add_invoice(customer, day, lines, due=day, terms_id=None, at_once=True, **fields)
    take_with_document(world, sale, sale.gross)
    return sale


def take_with_document(world: World, invoice: Invoice, amount: Decimal) -> Payment:
    """Money that came with the invoice on its day, and is taken down on it."""
    payment = world.pay(invoice.customer_id, invoice.issued, amount, [("invoice", invoice.id, amount)])
    payment.with_document = True
    return payment


def deposit(world: World, customer: Customer, day: date, amount: Decimal) -> Deposit:
    """Money that the bank received from a customer, put to the customer's account: nothing is paid with it yet."""
    stamp = world.moment(day)
    received = Deposit(
        world.new_id("transaction"), customer.id, day, customer.currency, world.rate(customer.currency, day), amount,
        created=stamp, modified=stamp,
    )  # fmt: skip
    world.deposits[received.id] = received
    world.balance_moved(customer.id, stamp)
    return received


def spend_deposit(world: World, received: Deposit, invoice: Invoice, day: date, amount: Decimal) -> Payment:
    """Pay an invoice from a deposit: a payment of nothing that links the two."""
    return world.pay(invoice.customer_id, day, ZERO, [("invoice", invoice.id, amount), ("deposit", received.id, amount)])


def write_off(world: World, customer: Customer, day: date, amount: Decimal) -> CreditNote:
    """What the customer will never pay, taken off receivables by a journal entry, which is then spent as a credit note is."""
    line = DocLine(None, "Written off", "Written off", Decimal(1), amount, amount)
    return world.add_credit_note(customer, day, [line], journal=True)


def pay_back(world: World, credit: Payment | CreditNote | Deposit, day: date, amount: Decimal, way: str) -> Refund:
    """Give a customer's credit back by `check` or as an `expense`: what is left of a payment, of a credit note or of a deposit."""
    refund = world.add_refund(world.customers[credit.customer_id], day, amount, None, way)
    if isinstance(credit, Payment):
        part = Application("refund", refund.id, amount, day)
        credit.applications.append(part)
        world.applied[refund.id] = [(credit, part)]
        world.touch(credit, day)
        world.balance_moved(credit.customer_id, credit.modified)
    else:
        kind = "deposit" if isinstance(credit, Deposit) else "credit_note"
        world.pay(credit.customer_id, day, ZERO, [("refund", refund.id, amount), (kind, credit.id, amount)])
    return refund
