"""How the invented company grows: its fixed people and terms, its regular accounts, and what an ordinary day brings.

Regular accounts are clean (every reference is there) but not punctual. Each account's dice are its own, so a larger
world holds the smaller one's accounts unchanged.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from pipelines.sandbox.entities import (
    CENT,
    ZERO,
    Account,
    Customer,
    Deal,
    DocLine,
    Owner,
    Rate,
    Sold,
    Stage,
    Term,
    add_months,
    instalment_dates,
)

if TYPE_CHECKING:
    from pipelines.sandbox.world import World

PEOPLE = (
    ("Dana", "Whitfield"), ("Marco", "Oliveira"), ("Priya", "Raman"), ("Tom", "Becker"),
    ("Aisha", "Karim"), ("Lena", "Sorensen"), ("Victor", "Chen"), ("Ruth", "Okafor"),
)  # fmt: skip
STAGES = (
    ("appointmentscheduled", "Appointment Scheduled", False, False, "0.2"),
    ("qualifiedtobuy", "Qualified To Buy", False, False, "0.4"),
    ("contractsent", "Contract Sent", False, False, "0.9"),
    ("closedwon", "Closed Won", True, True, "1"),
    ("closedlost", "Closed Lost", True, False, "0"),
)
TERMS = (("1", "Due on receipt", 0), ("2", "Net 15", 15), ("3", "Net 30", 30), ("4", "Net 60", 60))
PRODUCTS = {
    "PLT-STD": ("Platform Standard", Decimal(100)),
    "PLT-PRO": ("Platform Professional", Decimal(250)),
    "SUP-GLD": ("Gold Support", Decimal(75)),
    "IMP-DAY": ("Implementation Day", Decimal(1200)),
    "TRN-DAY": ("Training Day", Decimal(900)),
    "MIG-PKG": ("Migration Package", Decimal("4800")),
}
FIRST_WORDS = (
    "Amber", "Arbor", "Aspen", "Atlas", "Beacon", "Birch", "Bluff", "Brook", "Canyon", "Cedar", "Cinder", "Cobalt",
    "Copper", "Coral", "Crescent", "Delta", "Dune", "Ember", "Falcon", "Fern", "Flint", "Forge", "Garnet",
    "Glacier", "Granite", "Grove", "Harbor", "Hazel", "Heron", "Horizon", "Indigo", "Iron", "Juniper", "Kestrel",
    "Lantern", "Larch", "Linden", "Maple", "Meadow", "Mesa", "North", "Onyx", "Orchid", "Osprey", "Pine", "Quarry",
    "Raven", "Ridge", "River", "Sable", "Sierra", "Slate", "Summit",
)  # fmt: skip
SECOND_WORDS = (
    "Analytics", "Bakery", "Biotech", "Brands", "Capital", "Ceramics", "Clinics", "Coffee", "Components",
    "Consulting", "Controls", "Dental", "Design", "Devices", "Digital", "Dynamics", "Electric", "Energy",
    "Engineering", "Fabrics", "Farms", "Finance", "Foods", "Freight", "Gardens", "Glass", "Health", "Holdings",
    "Hotels", "Imaging", "Insurance", "Interiors", "Kitchens", "Labs", "Learning", "Legal", "Lighting",
    "Logistics", "Marine", "Materials", "Media", "Metals", "Mobility", "Motors", "Networks", "Optics",
    "Outfitters",
)  # fmt: skip
REGIONS = ("", " East", " West", " South", " North", " Central", " Pacific", " Atlantic")
LEGAL_FORMS = (" Inc.", " LLC", " Ltd", " Corp.")
NEVER = 10_000  # days of delay of an invoice that nobody pays


def found_company(world: World) -> None:
    """Owners, stages, terms and two and a half years of monthly exchange rates."""
    for first, last in PEOPLE:
        owner = Owner(world.new_id("owner"), f"{first}.{last}@brightwater.example".lower(), first, last)
        world.owners[owner.id] = owner
    for order, (stage_id, label, closed, won, probability) in enumerate(STAGES):
        world.stages[stage_id] = Stage(stage_id, label, closed, won, Decimal(probability), order)
    for term_id, name, days in TERMS:
        world.terms[term_id] = Term(term_id, name, days)
    quote_monthly(world, "EUR", Decimal("1.05"))


def quote_monthly(world: World, currency: str, lowest: Decimal) -> None:
    """Two and a half years of monthly rates of `currency`, from `lowest` base units up."""
    first = add_months(world.today.replace(day=1), -29)
    for month in range(30):
        as_of = add_months(first, month)
        # Some vendors quote foreign per base with six decimals: rates are the inverse of such quotes, so that all can say them.
        quote = (1 / (lowest + Decimal("0.0025") * (month * 7 % 31))).quantize(Decimal("0.000001"))
        rate = (1 / quote).quantize(Decimal("0.000000000001"))
        world.rates.append(Rate(currency, world.base_currency, rate, as_of, world.moment(as_of)))


def grow(world: World, accounts: int) -> None:
    """Add regular accounts until there are `accounts`; every twelfth is a planted situation once more."""
    from pipelines.sandbox.scenarios import REPEATABLE  # here, because scenarios are built from parts of this module

    index = 0
    while len(world.accounts) < accounts:
        if index % 12 == 11:
            REPEATABLE[index // 12 % len(REPEATABLE)].plant(world)
        else:
            add_regular_account(world, index)
        index += 1


def add_regular_account(world: World, index: int) -> None:
    """A customer with one open or lost deal and, unless it is still a prospect, three or four won ones, invoiced."""
    dice = Random(f"{world.seed}:account:{index}")
    first, second = FIRST_WORDS[index % 53], SECOND_WORDS[(index // 53 + index) % 47]
    region = REGIONS[index // (53 * 47) % len(REGIONS)]
    name = f"{first} {second}{region}{LEGAL_FORMS[dice.randrange(4)]}"
    euro = index % 9 == 4
    place = {"country": "Germany", "city": "Hamburg", "state": None, "zip": "20095"} if euro else {}
    account = world.add_account(name, since=world.ago(dice.randrange(560, 640)), **place)
    world.add_contact(account, dice.choice(PEOPLE)[0], dice.choice(PEOPLE)[1], f"office@{account.domain}")
    add_open_deal(world, account, dice, "EUR" if euro else None)
    if index % 12 == 7:
        return
    customer = _customer_on_rung(world, account, 2 + index // 3 % 4, "EUR" if euro else world.base_currency)
    delay = _habit(dice)
    ages = [dice.randrange(420, 540), dice.randrange(280, 419), dice.randrange(120, 279), dice.randrange(12, 119)]
    for closed_ago in ages[index % 2 :]:
        _add_won_deal(world, account, customer, world.ago(closed_ago), dice, delay)


def _customer_on_rung(world: World, account: Account, rung: int, currency: str) -> Customer:
    """The accounting customer of a regular account, recognisable by exactly the given rung of the matching ladder."""
    email = account.email if rung == 4 else f"ap@{account.domain}"
    customer = world.add_customer(account.name, email=email, website=f"https://www.{account.domain}", currency=currency)
    world.billing[account.id] = customer.id
    if rung == 2:
        account.customer_ids.append(customer.id)
    if rung == 3:
        customer.crm_id = account.id
    return customer


def _habit(dice: Random) -> int:
    """How many days after the due date this customer pays, give or take a few."""
    return dice.choice((-8, -5, -3, -2, -1, 0, 0, 1, 2, 5, 9, 18, 35, 70, NEVER))


def _sold(dice: Random, start: date) -> tuple[Sold, ...]:
    """What a regular deal sells: a project, or a subscription billed in instalments."""
    sku = dice.choice(tuple(PRODUCTS))
    name, price = PRODUCTS[sku]
    kind = dice.choice(("once", "quarterly", "quarterly", "monthly", "monthly"))
    seats = dice.randrange(1, 12)
    if kind == "once":
        extra, extra_price = PRODUCTS["TRN-DAY"]
        other = (Sold("TRN-DAY", extra, Decimal(1), extra_price),) if sku != "TRN-DAY" else ()
        return (Sold(sku, name, Decimal(seats), price), *other)
    periods = 4 if kind == "quarterly" else dice.choice((6, 12))
    return (Sold(sku, name, Decimal(seats * periods), price, ZERO, kind, start, periods),)


def _add_won_deal(
    world: World, account: Account, customer: Customer, closed: date, dice: Random, delay: int
) -> None:
    sold = _sold(dice, closed + timedelta(days=dice.randrange(1, 10)))
    currency = customer.currency
    deal = world.add_deal(
        account, f"{account.name} - {sold[0].name}", sold, closed, currency=currency,
        contract_start=closed, contract_end=add_months(closed, 12),
    )  # fmt: skip
    bill_deal(world, deal, customer, delay, dice)


def bill_deal(world: World, deal: Deal, customer: Customer, delay: int, dice: Random) -> None:
    """Issue the deal's invoices on their days, all with the deal's id, each paid `delay` days after it is due."""
    rate = Decimal("0.20") if customer.currency == "EUR" else dice.choice((ZERO, ZERO, Decimal("0.08")))
    lines = world.lines_of[deal.id]
    dates = instalment_dates(lines[0]) or [deal.close_date + timedelta(days=5)]
    for day in dates:
        part = partial(_issue, world, deal, customer, len(dates), rate, delay + dice.randrange(-2, 3))
        world.at(day, part)


def _issue(
    world: World, deal: Deal, customer: Customer, share: int, tax_rate: Decimal, delay: int, day: date
) -> None:
    lines = [line_of(sold.sku, sold.name, sold.quantity / share, sold.unit_price) for sold in world.lines_of[deal.id]]
    net = sum((line.amount for line in lines), ZERO)
    tax = (net * tax_rate).quantize(CENT)
    invoice = world.add_invoice(customer, day, lines, tax=tax, deal_ref=deal.id)
    if delay < NEVER - 10:
        world.at(max(day, world.due_date(invoice) + timedelta(days=delay)), partial(world.settle, invoice))


def line_of(sku: str | None, name: str, quantity: Decimal, price: Decimal) -> DocLine:
    """An item line of a document."""
    return DocLine(sku, name, name, quantity, price, quantity * price)


def add_open_deal(world: World, account: Account, dice: Random, currency: str | None) -> Deal:
    """A deal that is lost, or open and expected to close within three months."""
    lost = dice.random() < 0.3
    closes = world.ago(dice.randrange(5, 200)) if lost else world.ago(-dice.randrange(2, 90))
    stage = "closedlost" if lost else dice.choice(("appointmentscheduled", "qualifiedtobuy", "contractsent"))
    sold = _sold(dice, closes + timedelta(days=3))
    return world.add_deal(
        account, f"{account.name} - expansion", sold, closes, stage_id=stage, currency=currency,
        deal_type="existingbusiness",
    )  # fmt: skip


def live_one_day(world: World) -> None:
    """What an ordinary day brings: regular deals that reach their close date are decided, new ones appear."""
    dice = Random(f"{world.seed}:day:{world.today.isoformat()}")
    for deal in [d for d in world.deals.values() if d.close_date == world.today and _is_open(world, d)]:
        if deal.deal_type != "existingbusiness":
            continue  # planted deals move by the agenda of their scenario
        _decide(world, deal, world.customers.get(world.billing.get(deal.account_id or "", "")), dice)
    regular = [a for a in world.accounts.values() if a.domain and not a.archived]
    for _ in range(len(regular) // 200):
        account = dice.choice(regular)
        customer = world.customers.get(world.billing.get(account.id, ""))
        add_open_deal(world, account, dice, customer.currency if customer else None)


def _is_open(world: World, deal: Deal) -> bool:
    return not world.stages[deal.stage_id].closed and not deal.archived


def _decide(world: World, deal: Deal, customer: Customer | None, dice: Random) -> None:
    """Win a deal whose customer is known in accounting and bills in its currency, at two chances in three."""
    fits = customer is not None and customer.currency == (deal.currency or world.base_currency)
    if not fits or dice.random() > 0.66:
        world.close_deal(deal, world.today, "closedlost")
        return
    world.close_deal(deal, world.today, "closedwon")
    bill_deal(world, deal, customer, dice.randrange(-3, 20), dice)
