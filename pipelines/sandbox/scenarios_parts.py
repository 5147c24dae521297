"""What planted situations are made of: an account with its customer, an invoice, a won deal, and what must come out of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.sandbox.entities import Account, Customer, Deal, DocLine, Invoice, Sold
from pipelines.sandbox.growth import line_of

if TYPE_CHECKING:
    from pipelines.sandbox.world import World

D = Decimal
IN_BASE = {"total_outstanding", "overdue_amount", "unapplied_credit", "collected_to_date", "invoiced_to_date", "bridge"}


def _named(world: World, name: str) -> str:
    return f"{name} {world.currency}" if world.currency else name


def client(world: World, name: str, *, ledger: dict | None = None, **fields: object) -> tuple[Account, Customer]:
    """An account and its accounting customer, tied by the id stored on the account (rung 2)."""
    account = world.add_account(_named(world, name), **fields)
    known = {"email": f"ap@{account.domain}", "website": f"https://{account.domain}"}
    customer = world.add_customer(account.name, **(known | (ledger or {})))
    account.customer_ids.append(customer.id)
    return account, customer


def planted(world: World, name: str) -> tuple[Account, Customer]:
    """The account of an earlier scenario, and its customer: for deals that need no account of their own."""
    account = next(account for account in world.accounts.values() if account.name == _named(world, name))
    return account, world.customers[account.customer_ids[0]]


def item(amount: str, sku: str = "PLT-STD", name: str = "Platform Standard", quantity: str = "1") -> DocLine:
    """One line of `quantity` that comes to `amount`."""
    return line_of(sku, name, D(quantity), D(amount) / D(quantity))


def discount(amount: str) -> DocLine:
    return DocLine(None, "Discount", "Discount", None, None, -D(amount), "discount")


def bill(world: World, customer: Customer, amount: str, *, due_ago: int, **fields: object) -> Invoice:
    """An invoice of one line, issued 30 days before it falls due."""
    due = world.ago(due_ago)
    return world.add_invoice(customer, due - timedelta(days=30), [item(amount)], due=due, **fields)


def sale(amount: str, sku: str = "PLT-STD", name: str = "Platform Standard", **fields: object) -> Sold:
    return Sold(sku, name, D(1), D(amount), **fields)


def won(world: World, account: Account | None, title: str, *sold: Sold, closed_ago: int = 70, **fields) -> Deal:
    return world.add_deal(account, title, sold, world.ago(closed_ago), **fields)


def paid_bill(world: World, customer: Customer, lines: list[DocLine], *, ago: int = 60, **fields: object) -> Invoice:
    """An invoice issued `ago` days before today and paid two weeks later, so that only its deal is of interest."""
    invoice = world.add_invoice(customer, world.ago(ago), lines, **fields)
    world.settle(invoice, min(world.today, invoice.issued + timedelta(days=14)))
    return invoice


def status(world: World, account: Account, status: str, days: int = 0, **values: object) -> None:
    world.expect("accounts", account.id, financial_status=status, days_overdue=days, **_sayable(world, values))


def verdict(world: World, deal: Deal, status: str, cause: str | None, **values: object) -> None:
    world.expect("deals", deal.id, status=status, cause=cause, **_sayable(world, values))


def _sayable(world: World, values: dict[str, object]) -> dict[str, object]:
    """Of a foreign currency a scenario says nothing in base: every document and payment has a rate of its own."""
    return {name: value for name, value in values.items() if not (world.currency and name in IN_BASE)}


def match(world: World, customer: Customer, account: Account | None, rung: int | None) -> None:
    world.expect("matches", customer.id, account_id=account.id if account else None, rung=rung)
