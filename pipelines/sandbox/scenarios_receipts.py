"""What else moves receivables: sales that are paid at once, deposits, journal entries, and money given back.

Each function adds its accounts and facts to the world and names what must come out.
"""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from pipelines.sandbox.entities import Customer, Deposit
from pipelines.sandbox.receipts import deposit, pay_back, sell_at_once, spend_deposit, take_with_document, write_off
from pipelines.sandbox.scenarios_parts import D, bill, client, item, paid_bill, sale, status, verdict, won

if TYPE_CHECKING:
    from pipelines.sandbox.world import World


def sold_at_once(world: World) -> None:
    account, customer = client(world, "Counter Coffee Roasters")
    sell_at_once(world, customer, world.ago(41), [item("100")])
    deal = won(world, account, "Sold over the counter", sale("640"), closed_ago=30)
    sell_at_once(world, customer, world.ago(27), [item("640")], tax=D("51.20"), deal_ref=deal.id)
    verdict(world, deal, "Matched", None, variance="0.00")
    status(world, account, "Current", invoiced_to_date="740.00", collected_to_date="791.20", total_outstanding="0.00",
           last_payment_date=world.ago(27).isoformat(), last_invoice_status="Paid", average_days_to_pay="0.0")  # fmt: skip


def sold_at_once_and_refunded(world: World) -> None:
    account, customer = client(world, "Returned Rucksacks")
    sell_at_once(world, customer, world.ago(27), [item("100")])
    world.add_refund(customer, world.ago(25), D(100), "PLT-STD")
    status(world, account, "Current", invoiced_to_date="0.00", collected_to_date="0.00", credit_status="Refunded")


def paid_by_deposit(world: World) -> None:
    """One deposit pays an invoice that was there, one came before its invoice and is spent on it tomorrow."""
    account, customer = client(world, "Banked Barrows")
    invoice = bill(world, customer, "900", due_ago=10)
    received = deposit(world, customer, world.ago(21), D(900))
    spend_deposit(world, received, invoice, world.ago(20), D(900))
    ahead = deposit(world, customer, world.ago(4), D(250))
    world.at(world.ago(-1), partial(_bill_and_spend, world, customer, ahead))
    paid_on = world.ago(4).isoformat()
    status(world, account, "Current", total_outstanding="0.00", unapplied_credit="250.00", collected_to_date="1150.00",
           last_payment_date=paid_on, last_invoice_status="Paid", average_days_to_pay="20.0")  # fmt: skip
    tomorrow = {} if world.currency else {"unapplied_credit": "0.00", "collected_to_date": "1150.00", "total_outstanding": "50.00"}
    world.expect("accounts", account.id, 1, last_invoice_status="Partially Paid", last_payment_date=paid_on, **tomorrow)


def _bill_and_spend(world: World, customer: Customer, received: Deposit, day: date) -> None:
    invoice = world.add_invoice(customer, day, [item("300")])
    spend_deposit(world, received, invoice, day, D(250))


def written_off_by_journal(world: World) -> None:
    """Receivables fall, nothing was collected, and the invoice is what it was: spent by itself, and beside money in one payment."""
    account, customer = client(world, "Unpaid Upholsterers")
    invoice = bill(world, customer, "100", due_ago=40)
    world.pay(customer.id, world.ago(61), D(70), [("invoice", invoice.id, D(70))])
    world.apply_credit(write_off(world, customer, world.ago(15), D(30)), invoice, world.ago(15), D(30))
    second, entry = bill(world, customer, "200", due_ago=20), write_off(world, customer, world.ago(43), D(60))
    world.pay(customer.id, world.ago(41), D(140), [("credit_note", entry.id, D(60)), ("invoice", second.id, D(200))])
    status(world, account, "Current", total_outstanding="0.00", invoiced_to_date="300.00", collected_to_date="210.00",
           unapplied_credit="0.00", credit_status="None", last_invoice_status="Paid", average_days_to_pay="9.0")  # fmt: skip


def refunded_by_check(world: World) -> None:
    """What was paid too much goes back by check, a credit note and a deposit as an expense: the sale stays what it was."""
    account, customer = client(world, "Overpaid Orchards")
    invoice = bill(world, customer, "1000", due_ago=60)
    payment = world.pay(customer.id, world.ago(62), D(1150), [("invoice", invoice.id, D(1000))])
    pay_back(world, payment, world.ago(50), D(100), "check")
    paid_bill(world, customer, [item("400")], ago=45)
    pay_back(world, world.add_credit_note(customer, world.ago(24), [item("80")]), world.ago(22), D(80), "expense")
    received = deposit(world, customer, world.ago(18), D(300))
    pay_back(world, received, world.ago(9), D(300), "check")
    status(world, account, "Current", total_outstanding="0.00", unapplied_credit="50.00", invoiced_to_date="1320.00",
           collected_to_date="1370.00", credit_status="Refunded")  # fmt: skip


def deposit_on_the_invoice(world: World) -> None:
    account, customer = client(world, "Downpayment Dormers")
    deal = won(world, account, "Half paid as it was billed", sale("500", "TRN-DAY", "Training Day"), closed_ago=45)
    settled = world.add_invoice(customer, world.ago(40), [item("500", "TRN-DAY", "Training Day")], deal_ref=deal.id)
    take_with_document(world, settled, D(200))
    world.settle(settled, world.ago(31))
    verdict(world, deal, "Matched", None)
    take_with_document(world, bill(world, customer, "100", due_ago=-11), D(40))
    status(world, account, "Current", total_outstanding="60.00", collected_to_date="540.00", last_invoice_status="Partially Paid",
           last_payment_date=world.ago(19).isoformat(), average_days_to_pay="9.0")  # fmt: skip
