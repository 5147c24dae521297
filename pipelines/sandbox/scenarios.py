"""The planted situations: each a small function that adds its accounts and facts and names what must come out.

`plant(world)` adds each of SCENARIOS once, `plant_further(world)` drafts and the same situations in two foreign currencies.
What a scenario expects is checked against the answer key, which is computed
from the facts alone; the two must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import TYPE_CHECKING

from pipelines.sandbox.entities import (
    ZERO,
    Account,
    Customer,
    Deal,
    DocLine,
    Invoice,
    Sold,
    add_months,
    instalment_dates,
)
from pipelines.sandbox.growth import line_of, quote_monthly
from pipelines.sandbox.scenarios_groups import entities_of_a_group, form_on_one_side, mailbox_of_a_bookkeeper

if TYPE_CHECKING:
    from pipelines.sandbox.world import World

D = Decimal
RTL_NAME = "\u0634\u0631\u0643\u0629 \u0627\u0644\u0646\u0648\u0631 Trading"
IN_BASE = {"total_outstanding", "overdue_amount", "unapplied_credit", "collected_to_date", "invoiced_to_date", "bridge"}
LONG_NAME = ("The Very Long Named Worshipful Company of Instrument Makers and Allied Trades " * 4)[:300]


@dataclass(frozen=True)
class Scenario:
    """A named situation; `says` is the sentence that it proves. In a foreign `currency` its customers and deals are other ones."""

    name: str
    says: str
    add: Callable[[World], None]
    currency: str | None = None

    def plant(self, world: World) -> None:
        """Add it to the world, its expectations under its name."""
        world.scenario, world.currency = self.name, self.currency
        self.add(world)
        world.scenario, world.currency = "", None


# -- parts ----------------------------------------------------------------------------------------------------------


def _named(world: World, name: str) -> str:
    return f"{name} {world.currency}" if world.currency else name


def _client(world: World, name: str, *, ledger: dict | None = None, **fields: object) -> tuple[Account, Customer]:
    """An account and its accounting customer, tied by the id stored on the account (rung 2)."""
    account = world.add_account(_named(world, name), **fields)
    known = {"email": f"ap@{account.domain}", "website": f"https://{account.domain}"}
    customer = world.add_customer(account.name, **(known | (ledger or {})))
    account.customer_ids.append(customer.id)
    return account, customer


def _planted(world: World, name: str) -> tuple[Account, Customer]:
    """The account of an earlier scenario, and its customer: for deals that need no account of their own."""
    account = next(account for account in world.accounts.values() if account.name == _named(world, name))
    return account, world.customers[account.customer_ids[0]]


def _item(amount: str, sku: str = "PLT-STD", name: str = "Platform Standard", quantity: str = "1") -> DocLine:
    """One line of `quantity` that comes to `amount`."""
    return line_of(sku, name, D(quantity), D(amount) / D(quantity))


def _discount(amount: str) -> DocLine:
    return DocLine(None, "Discount", "Discount", None, None, -D(amount), "discount")


def _bill(world: World, customer: Customer, amount: str, *, due_ago: int, **fields: object) -> Invoice:
    """An invoice of one line, issued 30 days before it falls due."""
    due = world.ago(due_ago)
    return world.add_invoice(customer, due - timedelta(days=30), [_item(amount)], due=due, **fields)


def _sale(amount: str, sku: str = "PLT-STD", name: str = "Platform Standard", **fields: object) -> Sold:
    return Sold(sku, name, D(1), D(amount), **fields)


def _won(world: World, account: Account | None, title: str, *sold: Sold, closed_ago: int = 70, **fields) -> Deal:
    return world.add_deal(account, title, sold, world.ago(closed_ago), **fields)


def _paid_bill(world: World, customer: Customer, lines: list[DocLine], *, ago: int = 60, **fields: object) -> Invoice:
    """An invoice issued `ago` days before today and paid two weeks later, so that only its deal is of interest."""
    invoice = world.add_invoice(customer, world.ago(ago), lines, **fields)
    world.settle(invoice, min(world.today, invoice.issued + timedelta(days=14)))
    return invoice


def _status(world: World, account: Account, status: str, days: int = 0, **values: object) -> None:
    world.expect("accounts", account.id, financial_status=status, days_overdue=days, **_sayable(world, values))


def _verdict(world: World, deal: Deal, status: str, cause: str | None, **values: object) -> None:
    world.expect("deals", deal.id, status=status, cause=cause, **_sayable(world, values))


def _sayable(world: World, values: dict[str, object]) -> dict[str, object]:
    """Of a foreign currency a scenario says nothing in base: every document and payment has a rate of its own."""
    return {name: value for name, value in values.items() if not (world.currency and name in IN_BASE)}


def _match(world: World, customer: Customer, account: Account | None, rung: int | None) -> None:
    world.expect("matches", customer.id, account_id=account.id if account else None, rung=rung)


# -- statuses -------------------------------------------------------------------------------------------------------


def _no_invoices(world: World) -> None:
    account, _ = _client(world, "Quiet Harbor Bookbinders")
    _status(world, account, "No Invoices", last_invoice_date=None)


def _prospect(world: World) -> None:
    account = world.add_account("Prospect Peak Cycling")
    sold = (_sale("2400", "PLT-PRO", "Platform Professional"),)
    world.add_deal(account, "First platform deal", sold, world.ago(-40), stage_id="qualifiedtobuy")
    _status(world, account, "No Invoices")


def _due_today(world: World) -> None:
    account, customer = _client(world, "Punctual Clockworks")
    _bill(world, customer, "1000", due_ago=0)
    _status(world, account, "Current", total_outstanding="1000.00", last_invoice_status="Sent")
    world.expect("accounts", account.id, 1, financial_status="Overdue", days_overdue=1)


def _one_cent_open(world: World) -> None:
    account, customer = _client(world, "Pennywise Print")
    invoice = _bill(world, customer, "1000", due_ago=90)
    world.pay(customer.id, world.ago(80), D("999.99"), [("invoice", invoice.id, D("999.99"))])
    _status(world, account, "Current", overdue_amount="0.00", last_invoice_status="Paid")


def _overdue(world: World) -> None:
    account, customer = _client(world, "Late Larch Lumber")
    _bill(world, customer, "1250.50", due_ago=10)
    _status(world, account, "Overdue", 10, overdue_amount="1250.50", overdue_invoices=1)


def _held_at_sixty_days(world: World) -> None:
    account, customer = _client(world, "Sixty Day Stoneworks")
    _bill(world, customer, "3100", due_ago=60)
    _status(world, account, "Credit Hold", 60)


def _not_held_at_fifty_nine(world: World) -> None:
    account, customer = _client(world, "Fifty Nine Foundry")
    _bill(world, customer, "2900", due_ago=59)
    _status(world, account, "Overdue", 59)
    world.expect("accounts", account.id, 1, financial_status="Credit Hold", days_overdue=60)


def _still_held(world: World) -> None:
    account, customer = _client(world, "Lingering Ledger Leather")
    older = _bill(world, customer, "1800", due_ago=70)
    _bill(world, customer, "700", due_ago=40)
    world.settle(older, world.ago(5))
    _status(world, account, "Credit Hold", 40)


def _left_hold(world: World) -> None:
    account, customer = _client(world, "Recovered Rope Works")
    older = _bill(world, customer, "1800", due_ago=110)
    _bill(world, customer, "700", due_ago=45)
    world.settle(older, world.ago(30))
    _status(world, account, "Overdue", 45)


def _credit_covers_overdue(world: World) -> None:
    account, customer = _client(world, "Covered Canopy Tents")
    _bill(world, customer, "1000", due_ago=20)
    world.add_credit_note(customer, world.ago(12), [_item("1200")])
    _status(world, account, "Current", overdue_amount="0.00", overdue_invoices=0, unapplied_credit="1200.00",
            total_outstanding="1000.00", credit_status="Credit Note Open")  # fmt: skip


def _payment_covers_part(world: World) -> None:
    account, customer = _client(world, "Part Paid Pottery")
    _bill(world, customer, "1000", due_ago=15)
    world.pay(customer.id, world.ago(3), D(400), [])
    _status(world, account, "Overdue", 15, overdue_amount="600.00", unapplied_credit="400.00")


def _paid_by_credit_only(world: World) -> None:
    account, customer = _client(world, "O'Brien & \"Sons\" Barrels")
    invoice = _bill(world, customer, "500", due_ago=25)
    note = world.add_credit_note(customer, world.ago(35), [_item("500")])
    world.apply_credit(note, invoice, world.ago(28), D(500))
    _status(world, account, "Current", collected_to_date="0.00", last_payment_date=None, last_invoice_status="Paid",
            credit_status="None")  # fmt: skip


def _void_only(world: World) -> None:
    account, customer = _client(world, '=HYPERLINK("http://x.example","Void")', domain="void-hyperlink.example")
    invoice = _bill(world, customer, "640", due_ago=30)
    world.void_invoice(invoice, world.ago(33))
    _status(world, account, "No Invoices", last_invoice_status="Voided", last_invoice_date=invoice.issued.isoformat())


def _partly_refunded(world: World) -> None:
    account, customer = _client(world, "Returned Rugs")
    world.settle(_bill(world, customer, "1000", due_ago=50), world.ago(52))
    world.add_refund(customer, world.ago(20), D(250), "PLT-STD")
    _status(world, account, "Current", collected_to_date="750.00", invoiced_to_date="750.00",
            credit_status="Refunded")  # fmt: skip


def _fully_refunded(world: World) -> None:
    account, customer = _client(world, "<script>alert(1)</script> Sweets", domain="script-sweets.example")
    world.settle(_bill(world, customer, "480", due_ago=80), world.ago(85))
    world.add_refund(customer, world.ago(60), D(480), "PLT-STD")
    _status(world, account, "Current", collected_to_date="0.00", invoiced_to_date="0.00", credit_status="Refunded")


def _no_due_date_with_terms(world: World) -> None:
    account, customer = _client(world, "Undated Umbrella")
    world.add_invoice(customer, world.ago(40), [_item("860")], due=None)
    _status(world, account, "Overdue", 10)


def _no_due_date_without_terms(world: World) -> None:
    account, customer = _client(world, "Termless Tailors", ledger={"terms_id": None})
    world.add_invoice(customer, world.ago(12), [_item("330")], due=None)
    _status(world, account, "Overdue", 12)


def _future_dated(world: World) -> None:
    account, customer = _client(world, LONG_NAME, domain="very-long-name.example")
    world.add_invoice(customer, world.ago(-10), [_item("900")])
    _status(world, account, "No Invoices", invoiced_to_date="0.00")


def _partly_paid(world: World) -> None:
    account, customer = _client(world, "Halfway Hats")
    invoice = _bill(world, customer, "1000", due_ago=-12)
    world.pay(customer.id, world.ago(6), D(400), [("invoice", invoice.id, D(400))])
    _status(world, account, "Current", total_outstanding="600.00", last_invoice_status="Partially Paid")


def _euro_overdue(world: World) -> None:
    account, customer = _client(world, "Elbe Seilerei GmbH", ledger={"currency": "EUR"}, country="Germany",
                                city="Hamburg", state=None)  # fmt: skip
    invoice = _bill(world, customer, "2000", due_ago=22)
    owed = (D(2000) * invoice.rate).quantize(D("0.01"))
    _status(world, account, "Overdue", 22, overdue_amount=str(owed), total_outstanding=str(owed))


# -- customers and accounts -----------------------------------------------------------------------------------------


def _sub_customers(world: World) -> None:
    account, parent = _client(world, "Freemont Stadium Group")
    for job, amount in (("Freemont - North Stand", "1500"), ("Freemont - South Stand", "2500")):
        child = world.add_customer(job, company_name=parent.company_name, parent_id=parent.id)
        _bill(world, child, amount, due_ago=18)
        _match(world, child, account, 2)
    world.settle(_bill(world, parent, "300", due_ago=30), world.ago(31))
    _match(world, parent, account, 2)
    _status(world, account, "Overdue", 18, overdue_amount="4000.00", overdue_invoices=2, invoiced_to_date="4300.00")


def _two_customers(world: World) -> None:
    account, first = _client(world, "Twin Towers Tiling")
    second = world.add_customer("Twin Towers Tiling (Projects)", email="projects@twin.example")
    account.customer_ids.append(second.id)
    _bill(world, first, "100", due_ago=8)
    _bill(world, second, "250", due_ago=4)
    _match(world, second, account, 2)
    _status(world, account, "Overdue", 8, overdue_amount="350.00", overdue_invoices=2)


def _customer_stores_crm_id(world: World) -> None:
    account = world.add_account("Emoji \U0001f680 Rockets", domain="emoji-rockets.example")
    customer = world.add_customer("ER Holding", email="ledger@er-holding.example", crm_id=account.id)
    world.settle(_bill(world, customer, "775", due_ago=45), world.ago(40))
    _match(world, customer, account, 3)
    _status(world, account, "Current", collected_to_date="775.00")


def _billing_email(world: World) -> None:
    account = world.add_account(RTL_NAME, domain="alnoor.example", email="Accounts@AlNoor.example")
    customer = world.add_customer("Al Noor General Trade", email="accounts@alnoor.example")
    _bill(world, customer, "220", due_ago=3)
    _match(world, customer, account, 4)
    _status(world, account, "Overdue", 3)


def _contact_email(world: World) -> None:
    account = world.add_account("Contacted Cabinets", domain="cabinets.example", email=None)
    world.add_contact(account, "Nora", "Quill", "nora.quill@cabinets.example")
    customer = world.add_customer("CC Joinery Workshop", email="Nora.Quill@cabinets.example")
    _match(world, customer, account, 4)


def _legal_form(world: World) -> None:
    account = world.add_account("Domain Dairy")
    customer = world.add_customer("DOMAIN DAIRY, L.L.C.", email=None, website=f"http://www.{account.domain}/shop")
    _match(world, customer, account, 5)


def _accents(world: World) -> None:
    account = world.add_account("Café Zürich GmbH", domain="cafe-zurich.example", country="Switzerland")
    customer = world.add_customer("Cafe Zurich GmbH", email="rechnung@cafe-zurich.example")
    _bill(world, customer, "410", due_ago=-5)
    _match(world, customer, account, 5)


def _email_of_two_accounts(world: World) -> None:
    shared = "office@shared-books.example"
    world.add_account("Shared Books East", email=shared)
    world.add_account("Shared Books West", email=shared)
    customer = world.add_customer("Shared Books", email=shared)
    _bill(world, customer, "640", due_ago=9)
    _match(world, customer, None, 4)


def _email_of_two_customers(world: World) -> None:
    account = world.add_account("Doubled Deli")
    for name in ("Deli Counter", "Deli Catering"):
        _match(world, world.add_customer(name, email=account.email), None, 4)
    world.expect("accounts", account.id, financial_status="No Invoices", review=True)


def _claimed_twice(world: World) -> None:
    customer = world.add_customer("Contested Cranes", email="ap@contested.example")
    for name in ("Contested Cranes North", "Contested Cranes South"):
        account = world.add_account(name, customer_ids=[customer.id])
        world.expect("accounts", account.id, review=True)
    _bill(world, customer, "5100", due_ago=33)
    _match(world, customer, None, 2)


def _same_name_and_domain_twice(world: World) -> None:
    for name in ("Mirror Mills Inc.", "Mirror Mills LLC"):
        world.add_account(name, domain="mirror-mills.example", email=None)
    _match(world, world.add_customer("Mirror Mills", website="https://mirror-mills.example"), None, 5)


def _free_mail(world: World) -> None:
    world.add_account("Garage Guitars", domain="gmail.com", email="garage.guitars@gmail.com")
    customer = world.add_customer("Garage Guitars", email="guitars.garage@gmail.com")
    _bill(world, customer, "95", due_ago=2)
    _match(world, customer, None, None)


def _only_in_accounting(world: World) -> None:
    customer = world.add_customer("Walk-in Customers", email="counter@walkin.example")
    world.settle(_bill(world, customer, "58.40", due_ago=28), world.ago(30))
    _match(world, customer, None, None)


def _archived_company(world: World) -> None:
    account, customer = _client(world, "Archived Anchors")
    _bill(world, customer, "720", due_ago=31)
    world.change(account, world.ago(15), archived=True)
    _match(world, customer, None, None)


# -- causes ---------------------------------------------------------------------------------------------------------


def _clean(world: World) -> None:
    account, customer = _client(world, "Exact Exhibits")
    deal = _won(world, account, "Exact platform", _sale("3600"))
    _paid_bill(world, customer, [_item("3600")], tax=D(288), deal_ref=deal.id)
    _verdict(world, deal, "Matched", None, variance="0.00")
    parts = _won(world, account, "Milestone rollout", _sale("9000", "MIG-PKG", "Migration Package"), closed_ago=120)
    for ago, amount in ((110, "3000"), (80, "3000"), (50, "3000")):
        _paid_bill(world, customer, [_item(amount, "MIG-PKG", "Migration Package")], ago=ago, deal_ref=parts.id)
    _verdict(world, parts, "Matched", None, variance="0.00")


def _clean_in_euro(world: World) -> None:
    account, customer = _client(world, "Rhein Optik GmbH", ledger={"currency": "EUR"}, country="Germany")
    deal = _won(world, account, "Optik Plattform", _sale("5000"), currency="EUR")
    _paid_bill(world, customer, [_item("5000")], tax=D(1000), deal_ref=deal.id)
    _verdict(world, deal, "Matched", None)


def _other_currency(world: World) -> None:
    account, customer = _client(world, "Crossborder Crates")
    deal = _won(world, account, "Crates in euro", _sale("4000"), currency="EUR")
    _paid_bill(world, customer, [_item("4360")], deal_ref=deal.id)
    _verdict(world, deal, "Review", "other_currency", variance=None)


def _tax_and_duplicate(world: World) -> None:
    account, customer = _client(world, "Gross Grain Growers")
    taxed = _won(world, account, "Sold with tax", _sale("1080"))
    _paid_bill(world, customer, [_item("1000")], tax=D(80), deal_ref=taxed.id)
    _verdict(world, taxed, "Explained", "tax_in_contract", variance="-80.00")
    twice = _won(world, account, "Billed twice", _sale("1450", "SUP-GLD", "Gold Support"))
    for ago in (60, 58):
        _paid_bill(world, customer, [_item("1450", "SUP-GLD", "Gold Support")], ago=ago, deal_ref=twice.id)
    _verdict(world, twice, "Review", "duplicate_invoice", variance="1450.00")


def _credit_notes(world: World) -> None:
    account, customer = _client(world, "Credited Carpets")
    by_reference = _won(world, account, "Credited by reference", _sale("2200"))
    _paid_bill(world, customer, [_item("2200")], deal_ref=by_reference.id)
    note = world.add_credit_note(customer, world.ago(30), [_item("200")], deal_ref=by_reference.id)
    later = world.add_invoice(customer, world.ago(28), [_item("260", "TRN-DAY", "Training Day")])
    world.apply_credit(note, later, world.ago(27), D(200))
    world.settle(later, world.ago(20))
    _verdict(world, by_reference, "Explained", "credit_note", variance="-200.00")
    by_application = _won(world, account, "Credited by application", _sale("3300"))
    invoice = world.add_invoice(customer, world.ago(60), [_item("3300")], deal_ref=by_application.id)
    applied = world.add_credit_note(customer, world.ago(45), [_item("330")])
    world.apply_credit(applied, invoice, world.ago(44), D(330))
    world.settle(invoice, world.ago(40))
    _verdict(world, by_application, "Explained", "credit_note", variance="-330.00")


def _discounted(world: World) -> None:
    account, customer = _client(world, "Discount Drapes")
    deal = _won(world, account, "Discounted on the invoice", _sale("1900"))
    _paid_bill(world, customer, [_item("1900"), _discount("190")], deal_ref=deal.id)
    _verdict(world, deal, "Explained", "discount", variance="-190.00")


def _price_and_quantity(world: World) -> None:
    account, customer = _client(world, "Requoted Roofing")
    price = _won(world, account, "Other price", Sold("PLT-STD", "Platform Standard", D(10), D(100)))
    _paid_bill(world, customer, [line_of("PLT-STD", "Platform Standard", D(10), D(95))], deal_ref=price.id)
    _verdict(world, price, "Review", "price_or_quantity", variance="-50.00")
    quantity = _won(world, account, "Other quantity", Sold("TRN-DAY", "Training Day", D(4), D(900)))
    _paid_bill(world, customer, [line_of("TRN-DAY", "Training Day", D(5), D(900))], deal_ref=quantity.id)
    _verdict(world, quantity, "Review", "price_or_quantity", variance="900.00")


def _scheduled(world: World) -> None:
    account, customer = _client(world, "Instalment Instruments")
    start = add_months(world.today, -4)
    sold = Sold("PLT-PRO", "Platform Professional", D(4), D(300), ZERO, "quarterly", start, 4)
    deal = world.add_deal(account, "Quarterly platform", (sold,), start - timedelta(days=4))
    _bill_instalments(world, customer, deal)
    _verdict(world, deal, "Explained", "scheduled", variance="-600.00")
    soon = Sold("SUP-GLD", "Gold Support", D(12), D(75), ZERO, "monthly", world.ago(-20), 12)
    ahead = world.add_deal(account, "Support that starts later", (soon,), world.ago(5))
    _bill_instalments(world, customer, ahead)
    _verdict(world, ahead, "Explained", "scheduled", variance="-900.00")


def _recurring(world: World) -> None:
    account, customer = _client(world, "Subscription Saddlery")
    for name, sold, later in (
        ("Twelve months", Sold("SUP-GLD", "Gold Support", D(24), D(75), ZERO, "monthly", add_months(world.today, -4), 12), "-1050.00"),
        ("Without an end", Sold("PLT-STD", "Platform Standard", D(12), D(100), ZERO, "monthly", add_months(world.today, -2), 12, True),
         "-900.00"),
        ("Three years", Sold("PLT-PRO", "Platform Professional", D(6), D(250), ZERO, "annually", add_months(world.today, -1), 3),
         "-1000.00"),
    ):  # fmt: skip
        deal = world.add_deal(account, name, (sold,), sold.start - timedelta(days=3))
        _bill_instalments(world, customer, deal)
        _verdict(world, deal, "Explained", "scheduled", variance=later)


def _bill_instalments(world: World, customer: Customer, deal: Deal) -> None:
    """Bill each instalment of the deal's one line on its day, the same product each time; paid ten days later."""
    for day in instalment_dates(world.lines_of[deal.id][0]):
        world.at(day, partial(_bill_instalment, world, customer, deal))


def _bill_instalment(world: World, customer: Customer, deal: Deal, day: date) -> None:
    line = world.lines_of[deal.id][0]
    part = line_of(line.sku, line.name, line.quantity / line.periods, line.unit_price)
    invoice = world.add_invoice(customer, day, [part], deal_ref=deal.id)
    world.at(day + timedelta(days=10), partial(world.settle, invoice))


def _short_and_over(world: World) -> None:
    account, customer = _client(world, "Uneven Upholstery")
    _verdict(world, _won(world, account, "Never billed", _sale("1700", "TRN-DAY", "Training Day")),
             "Review", "not_invoiced", variance="-1700.00")  # fmt: skip
    partly = _won(world, account, "Half billed", _sale("2000"), _sale("1200", "IMP-DAY", "Implementation Day"))
    _paid_bill(world, customer, [_item("2000")], deal_ref=partly.id)
    _verdict(world, partly, "Review", "partly_invoiced", variance="-1200.00")
    over = _won(world, account, "Billed beyond", _sale("2600", "PLT-PRO", "Platform Professional"))
    extra = [_item("2600", "PLT-PRO", "Platform Professional"), _item("450", "TRN-DAY", "Training Day")]
    _paid_bill(world, customer, extra, deal_ref=over.id)
    _verdict(world, over, "Review", "over_invoiced", variance="450.00")


def _rounding(world: World) -> None:
    account, customer = _client(world, "Thirds Thatching")
    deal = _won(world, account, "In three parts", _sale("100"), closed_ago=80)
    for ago in (75, 65, 55):
        _paid_bill(world, customer, [_item("33.33")], ago=ago, deal_ref=deal.id)
    _verdict(world, deal, "Matched", "rounding", variance="-0.01")


def _several_causes(world: World) -> None:
    account, customer = _planted(world, "Uneven Upholstery")
    plan = Sold("PLT-PRO", "Platform Professional", D(12), D(100), ZERO, "quarterly", add_months(world.today, -4), 4)
    deal = world.add_deal(account, "Instalments with a discount", (plan,), world.ago(125))
    for day in instalment_dates(world.lines_of[deal.id][0])[:2]:
        part = [line_of("PLT-PRO", "Platform Professional", D(3), D(100)), _discount("30")]
        world.settle(world.add_invoice(customer, day, part, deal_ref=deal.id), day + timedelta(days=9))
    _verdict(world, deal, "Explained", "scheduled", variance="-660.00", bridge={"discount": "-60.00", "scheduled": "-600.00"})
    taxed = _won(world, account, "Sold with tax, half billed", _sale("1080"), _sale("324", "TRN-DAY", "Training Day"))
    _paid_bill(world, customer, [_item("1000")], tax=D(80), deal_ref=taxed.id)
    _verdict(world, taxed, "Review", "partly_invoiced", bridge={"tax_in_contract": "-104.00", "partly_invoiced": "-300.00"})
    twice = _won(world, account, "Billed twice, half forgotten", _sale("1450"), _sale("550", "TRN-DAY", "Training Day"))
    for ago in (60, 58):
        _paid_bill(world, customer, [_item("1450")], ago=ago, deal_ref=twice.id)
    _verdict(world, twice, "Review", "partly_invoiced", bridge={"duplicate_invoice": "1450.00", "partly_invoiced": "-550.00"})
    dearer = _won(world, account, "Dearer, with a discount", Sold("PLT-STD", "Platform Standard", D(10), D(100)))
    _paid_bill(world, customer, [line_of("PLT-STD", "Platform Standard", D(10), D(110)), _discount("40")], deal_ref=dearer.id)
    _verdict(world, dearer, "Review", "price_or_quantity", bridge={"discount": "-40.00", "price_or_quantity": "100.00"})


def _several_causes_in_euro(world: World) -> None:
    account, customer = _planted(world, "Rhein Optik GmbH")
    deal = _won(world, account, "Optik mit Rabatt", _sale("5000"), currency="EUR", closed_ago=100)
    invoice = _paid_bill(world, customer, [_item("5000"), _discount("500")], tax=D(900), deal_ref=deal.id)
    at_close = world.rate("EUR", deal.close_date)
    parts = {"fx": invoice.net * (invoice.rate - at_close), "discount": -500 * at_close}
    _verdict(world, deal, "Explained", "discount", variance="-500.00",
             bridge={cause: str(amount.quantize(D("0.01"), ROUND_HALF_UP)) for cause, amount in parts.items()})  # fmt: skip


def _more_causes(world: World) -> None:
    account, customer = _client(world, "Manifold Mirrors")
    credited = _won(world, account, "Credited, and billed beyond", _sale("2600"))
    _paid_bill(world, customer, [_item("2600"), _item("450", "TRN-DAY", "Training Day")], deal_ref=credited.id)
    world.add_credit_note(customer, world.ago(30), [_item("200")], deal_ref=credited.id)
    _verdict(world, credited, "Review", "over_invoiced", bridge={"credit_note": "-200.00", "over_invoiced": "450.00"})
    later = _sale("900", "SUP-GLD", "Gold Support", start=world.ago(-25))
    never = _won(world, account, "Not billed, and more to come", _sale("1200", "IMP-DAY", "Implementation Day"), later)
    _verdict(world, never, "Review", "not_invoiced", bridge={"scheduled": "-900.00", "not_invoiced": "-1200.00"})
    thirds = _won(world, account, "In three parts with a discount", _sale("100"))
    for ago, more in ((60, [_discount("10")]), (55, []), (50, [])):
        _paid_bill(world, customer, [_item("33.33"), *more], ago=ago, deal_ref=thirds.id)
    _verdict(world, thirds, "Explained", "discount", variance="-10.01", bridge={"discount": "-10.00", "rounding": "-0.01"})


def _amount_is_a_word(world: World) -> None:
    account, customer = _client(world, "Wordy Wardrobes")
    sold = (_sale("2000"), _sale("1200", "IMP-DAY", "Implementation Day"))
    for title, discount, bridge in (
        ("Half billed, its amount a word", [], {"unexplained": "-1200.00"}),
        ("Half billed at a discount, its amount a word", [_discount("150")], {"discount": "-150.00", "unexplained": "-1200.00"}),
    ):
        # Closed this month: without an amount a CRM says no rate of the close, but only the newest.
        deal = _won(world, account, title, *sold, closed_ago=20, amount=None, amount_text="three grand")
        _paid_bill(world, customer, [_item("2000"), *discount], ago=15, deal_ref=deal.id)
        _verdict(world, deal, "Review", "unexplained", bridge=bridge)


# -- drafts ---------------------------------------------------------------------------------------------------------


def _draft(world: World, customer: Customer, deal: Deal, *lines: DocLine, status: str = "draft") -> Invoice:
    return world.add_draft(customer, world.ago(20), [*lines], status, deal_ref=deal.id)


def _in_draft(world: World) -> None:
    account, customer = _client(world, "Waiting Wickerwork")
    training = _item("1700", "TRN-DAY", "Training Day")
    whole = _won(world, account, "All of it in draft", _sale("1700", "TRN-DAY", "Training Day"))
    _draft(world, customer, whole, training)
    _verdict(world, whole, "Review", "awaiting_review", variance="-1700.00", linked=[], bridge={"awaiting_review": "-1700.00"})
    more = _won(world, account, "A draft of more than is missing", _sale("1000"), _sale("400", "TRN-DAY", "Training Day"))
    _paid_bill(world, customer, [_item("1000")], deal_ref=more.id)
    _draft(world, customer, more, training, status="pending_approval")
    _verdict(world, more, "Review", "awaiting_review", variance="-400.00", bridge={"awaiting_review": "-400.00"})
    part = _won(world, account, "One line in draft, one forgotten", _sale("900"), _sale("300", "IMP-DAY", "Implementation Day"))
    _draft(world, customer, part, _item("900"))
    _verdict(world, part, "Review", "not_invoiced", bridge={"awaiting_review": "-900.00", "not_invoiced": "-300.00"})


def _partly_in_draft(world: World) -> None:
    account, customer = _planted(world, "Waiting Wickerwork")
    implementation = _sale("1200", "IMP-DAY", "Implementation Day")
    half = _won(world, account, "Half in draft", _sale("2000"), implementation)
    _paid_bill(world, customer, [_item("2000"), _discount("100")], deal_ref=half.id)
    _draft(world, customer, half, _item("1200", "IMP-DAY", "Implementation Day"), status="pending_approval")
    _verdict(world, half, "Review", "awaiting_review", variance="-1300.00", bridge={"discount": "-100.00", "awaiting_review": "-1200.00"})
    forgotten = _won(world, account, "Issued, in draft, forgotten", _sale("2000"), implementation, _sale("300", "TRN-DAY", "Training Day"))
    _paid_bill(world, customer, [_item("2000")], deal_ref=forgotten.id)
    _draft(world, customer, forgotten, _item("1200", "IMP-DAY", "Implementation Day"))
    parts = {"awaiting_review": "-1200.00", "partly_invoiced": "-300.00"}
    _verdict(world, forgotten, "Review", "partly_invoiced", variance="-1500.00", bridge=parts)
    _status(world, account, "Current", total_outstanding="0.00", invoiced_to_date="4900.00")


def _approved_tomorrow(world: World) -> None:
    account, customer = _client(world, "Approval Appliances")
    for status in ("draft", "pending_approval"):
        deal = _won(world, account, f"Approved tomorrow, {status}", _sale("1500", "TRN-DAY", "Training Day"))
        draft = _draft(world, customer, deal, _item("1500", "TRN-DAY", "Training Day"), status=status)
        world.at(world.ago(-1), partial(world.approve, draft))
        _verdict(world, deal, "Review", "awaiting_review", bridge={"awaiting_review": "-1500.00"}, linked=[])
        world.expect("deals", deal.id, 1, status="Matched", cause=None, linked=[draft.id])
    _status(world, account, "No Invoices", last_invoice_date=None)
    world.expect("accounts", account.id, 1, financial_status="Current", last_invoice_status="Sent")
    submitted = _won(world, account, "Submitted tomorrow", _sale("800"))
    later = _draft(world, customer, submitted, _item("800"))
    world.at(world.ago(-1), partial(world.change, later, status="pending_approval"))
    world.at(world.ago(-2), partial(world.approve, later))
    world.expect("deals", submitted.id, 1, status="Review", cause="awaiting_review", linked=[])
    world.expect("deals", submitted.id, 2, status="Matched", cause=None, linked=[later.id])


# -- linking --------------------------------------------------------------------------------------------------------


def _linked_without_deal_id(world: World) -> None:
    account, customer = _client(world, "Numbered Nurseries")
    deal = _won(world, account, "Number on the deal", _sale("1320"))
    invoice = _paid_bill(world, customer, [_item("1320")])
    deal.invoice_numbers.append(invoice.number)
    _verdict(world, deal, "Matched", None, linked=[invoice.id])
    unique = _won(world, account, "Found by its amount", _sale("2745"), closed_ago=40)
    found = _paid_bill(world, customer, [_item("2745")], ago=25)
    _verdict(world, unique, "Matched", None, linked=[found.id])


def _ambiguous_amounts(world: World) -> None:
    account, customer = _client(world, "Lookalike Lamps")
    for title in ("First lamp order", "Second lamp order"):
        _verdict(world, _won(world, account, title, _sale("700")), "Review", "not_invoiced", linked=[])
    for ago in (65, 64):
        _paid_bill(world, customer, [_item("700")], ago=ago)
    late = _won(world, account, "Billed long after", _sale("1111"), closed_ago=130)
    _paid_bill(world, customer, [_item("1111")], ago=39)
    _verdict(world, late, "Review", "not_invoiced", linked=[])


def _repeated_number(world: World) -> None:
    account, customer = _client(world, "Repeated Reeds")
    deal = _won(world, account, "Number used twice", _sale("1000"))
    first = _paid_bill(world, customer, [_item("600")])
    _paid_bill(world, customer, [_item("400")], number=first.number)
    deal.invoice_numbers.append(first.number)
    _verdict(world, deal, "Review", "not_invoiced", linked=[])


# -- data as people leave it ----------------------------------------------------------------------------------------


def _careless_deals(world: World) -> None:
    account, customer = _client(world, "Careless Ceramics", owner_id=None)
    no_lines = world.add_deal(account, "No lines", (), world.ago(70), amount=D(810))
    _paid_bill(world, customer, [_item("810")], deal_ref=no_lines.id)
    _verdict(world, no_lines, "Matched", None)
    differs = _won(world, account, "Header differs from lines", _sale("4800"), amount=D(5000))
    _paid_bill(world, customer, [_item("4800")], deal_ref=differs.id)
    _verdict(world, differs, "Matched", None, contracted="4800.00")
    nothing = world.add_deal(account, "Neither amount nor lines", (), world.ago(66), amount=None)
    _verdict(world, nothing, "Review", "unexplained", contracted=None)
    text = world.add_deal(account, "Amount is a word", (), world.ago(64), amount=None, amount_text="twelve")
    _verdict(world, text, "Review", "unexplained", contracted=None)
    headless = world.add_deal(None, "Deal of nobody", (_sale("990"),), world.ago(50))
    _verdict(world, headless, "Review", "not_invoiced")


# -- what the first days bring --------------------------------------------------------------------------------------


def _pays_tomorrow(world: World) -> None:
    account, customer = _client(world, "Tomorrow Timber")
    invoice = _bill(world, customer, "2100", due_ago=21)
    world.at(world.ago(-1), partial(world.settle, invoice))
    _status(world, account, "Overdue", 21)
    world.expect("accounts", account.id, 1, financial_status="Current", days_overdue=0)


def _falls_overdue_tomorrow(world: World) -> None:
    account, customer = _client(world, "Eleventh Hour Enamel")
    _bill(world, customer, "1675.25", due_ago=0)
    _status(world, account, "Current")
    world.expect("accounts", account.id, 1, financial_status="Overdue", days_overdue=1, overdue_amount="1675.25")


def _wins_tomorrow(world: World) -> None:
    account, customer = _client(world, "Signing Signs")
    sold = (_sale("3900", "PLT-PRO", "Platform Professional"),)
    deal = world.add_deal(account, "Signed tomorrow", sold, world.ago(-1), stage_id="contractsent")
    world.at(world.ago(-1), partial(_win, world, deal))
    world.at(world.ago(-2), partial(_bill_on_the_day, world, deal, customer))
    world.expect("deals", deal.id, 1, status="Review", cause="not_invoiced")
    world.expect("deals", deal.id, 2, status="Matched", cause=None)


def _win(world: World, deal: Deal, day: date) -> None:
    world.close_deal(deal, day, "closedwon")


def _bill_on_the_day(world: World, deal: Deal, customer: Customer, day: date) -> None:
    lines = [line_of(s.sku, s.name, s.quantity, s.unit_price) for s in world.lines_of[deal.id]]
    world.add_invoice(customer, day, lines, deal_ref=deal.id)


def _deleted_tomorrow(world: World) -> None:
    account, customer = _client(world, "Vanishing Varnish")
    world.at(world.ago(-1), partial(world.delete_invoice, _bill(world, customer, "540", due_ago=26)))
    _status(world, account, "Overdue", 26)
    world.expect("accounts", account.id, 1, financial_status="No Invoices", last_invoice_status=None)


def _voided_tomorrow(world: World) -> None:
    account, customer = _client(world, "Annulled Awnings")
    world.at(world.ago(-1), partial(world.void_invoice, _bill(world, customer, "560", due_ago=27)))
    _status(world, account, "Overdue", 27)
    world.expect("accounts", account.id, 1, financial_status="No Invoices", last_invoice_status="Voided")


def _renamed_and_inactive_tomorrow(world: World) -> None:
    account, customer = _client(world, "Old Name Oats")
    _bill(world, customer, "835", due_ago=11)
    tomorrow = world.ago(-1)
    new_name = world.unique_name("New Name Oats")
    world.at(tomorrow, partial(world.change, account, name=new_name))
    world.at(tomorrow, partial(world.change, customer, active=False))
    _status(world, account, "Overdue", 11)
    world.expect("accounts", account.id, 1, financial_status="Overdue", name=new_name)


def _inactive_customer(world: World) -> None:
    account, customer = _client(world, "Dormant Docks", ledger={"active": False})
    _bill(world, customer, "415", due_ago=14)
    _match(world, customer, account, 2)
    _status(world, account, "Overdue", 14)


SCENARIOS = (
    Scenario("no_invoices", "A customer without an invoice has no status to speak of", _no_invoices),
    Scenario("prospect", "An account without a customer is not an error", _prospect),
    Scenario("due_today", "Due today is not overdue", _due_today),
    Scenario("one_cent_open", "One cent is not open", _one_cent_open),
    Scenario("overdue", "One day past due is overdue", _overdue),
    Scenario("held_at_sixty_days", "Credit hold begins at exactly 60 days", _held_at_sixty_days),
    Scenario("not_held_at_fifty_nine", "59 days are not yet a hold", _not_held_at_fifty_nine),
    Scenario("still_held", "A hold lasts while anything is 30 days overdue", _still_held),
    Scenario("left_hold", "A hold that fell below 30 days does not come back before 60", _left_hold),
    Scenario("credit_covers_overdue", "An open credit note covers what is overdue", _credit_covers_overdue),
    Scenario("payment_covers_part", "An unapplied payment covers a part", _payment_covers_part),
    Scenario("paid_by_credit_only", "Settled by credit is paid, and nothing was collected", _paid_by_credit_only),
    Scenario("void_only", "A voided invoice counts as nothing", _void_only),
    Scenario("partly_refunded", "A refund lowers invoiced and collected", _partly_refunded),
    Scenario("fully_refunded", "Refunded in full leaves nothing", _fully_refunded),
    Scenario("no_due_date_with_terms", "A missing due date comes from the terms", _no_due_date_with_terms),
    Scenario("no_due_date_without_terms", "Without terms an invoice is due when issued", _no_due_date_without_terms),
    Scenario("future_dated", "An invoice of a future date is not issued yet", _future_dated),
    Scenario("partly_paid", "A part paid invoice that is not due", _partly_paid),
    Scenario("euro_overdue", "Foreign amounts count at the document's rate", _euro_overdue),
    Scenario("sub_customers", "Jobs follow their parent's account", _sub_customers),
    Scenario("two_customers", "Customers of one account add up", _two_customers),
    Scenario("customer_stores_crm_id", "Rung 3: the customer stores the CRM id", _customer_stores_crm_id),
    Scenario("billing_email", "Rung 4: the account's billing e-mail", _billing_email),
    Scenario("contact_email", "Rung 4: a contact's e-mail", _contact_email),
    Scenario("legal_form", "Rung 5: legal forms do not matter", _legal_form),
    Scenario("accents", "Rung 5: accents do not matter", _accents),
    Scenario("email_of_two_accounts", "An e-mail of two accounts decides nothing", _email_of_two_accounts),
    Scenario("email_of_two_customers", "An e-mail of two customers decides nothing", _email_of_two_customers),
    Scenario("claimed_twice", "A customer claimed by two accounts belongs to neither", _claimed_twice),
    Scenario("same_name_and_domain_twice", "Two twins on rung 5 are a question", _same_name_and_domain_twice),
    Scenario("free_mail", "A free-mail domain proves nothing", _free_mail),
    Scenario("only_in_accounting", "A customer that the CRM does not know", _only_in_accounting),
    Scenario("archived_company", "A company archived in the CRM keeps no customer", _archived_company),
    Scenario("clean", "Equal is matched, in one invoice or in several", _clean),
    Scenario("clean_in_euro", "Equal in a foreign currency is matched", _clean_in_euro),
    Scenario("other_currency", "An invoice in another currency than its deal says so", _other_currency),
    Scenario("tax_and_duplicate", "Tax sold as revenue; one invoice sent twice", _tax_and_duplicate),
    Scenario("credit_notes", "A credit note explains, by reference or by application", _credit_notes),
    Scenario("discounted", "A discount on the invoice explains", _discounted),
    Scenario("price_and_quantity", "Another price or quantity is for review", _price_and_quantity),
    Scenario("scheduled", "Later instalments are not missing, though they bill the same product", _scheduled),
    Scenario("recurring", "A recurring line counts over its term, one without an end over twelve months", _recurring),
    Scenario("short_and_over", "Not, partly and over invoiced", _short_and_over),
    Scenario("rounding", "A cent over three documents is rounding", _rounding),
    Scenario("linked_without_deal_id", "Linked by number, or by a unique amount", _linked_without_deal_id),
    Scenario("ambiguous_amounts", "Equal amounts twice, or too late, link nothing", _ambiguous_amounts),
    Scenario("repeated_number", "A number used twice links nothing", _repeated_number),
    Scenario("careless_deals", "No lines, no amount, no owner, no company", _careless_deals),
    Scenario("pays_tomorrow", "Overdue today, paid tomorrow", _pays_tomorrow),
    Scenario("falls_overdue_tomorrow", "Current today, overdue tomorrow", _falls_overdue_tomorrow),
    Scenario("wins_tomorrow", "Won tomorrow, invoiced the day after", _wins_tomorrow),
    Scenario("deleted_tomorrow", "An invoice deleted for good", _deleted_tomorrow),
    Scenario("voided_tomorrow", "An invoice voided", _voided_tomorrow),
    Scenario("renamed_and_inactive_tomorrow", "Renamed here, made inactive there", _renamed_and_inactive_tomorrow),
    Scenario("inactive_customer", "An inactive customer still owes", _inactive_customer),
    Scenario("several_causes", "A difference that several causes make is split into each one's part", _several_causes),
    Scenario("several_causes_in_euro", "What the rate did and what the discount did are told apart", _several_causes_in_euro),
)

REPEATABLE = tuple(
    scenario
    for scenario in SCENARIOS
    if scenario.add
    in (_tax_and_duplicate, _credit_notes, _discounted, _price_and_quantity, _scheduled, _short_and_over, _rounding)
)


HERE = (
    Scenario("more_causes", "Credit beside too much, nothing beside a schedule, a cent beside a discount", _more_causes),
    Scenario("amount_is_a_word", "What is missing of a deal with a data problem is unexplained", _amount_is_a_word),
    Scenario("in_draft", "A draft is not invoiced, and not missing either", _in_draft),
    Scenario("partly_in_draft", "Issued in part, the rest in draft", _partly_in_draft),
    Scenario("approved_tomorrow", "A draft that is approved is an invoice from that day", _approved_tomorrow),
)
ABROAD = (
    _no_invoices, _due_today, _overdue, _held_at_sixty_days, _credit_covers_overdue, _void_only, _partly_refunded, _partly_paid,
    _clean, _tax_and_duplicate, _credit_notes, _discounted, _price_and_quantity, _scheduled, _short_and_over, _rounding,
    _several_causes, _linked_without_deal_id,
)  # fmt: skip
# Not in the company of the demo: drafts, which not every ledger has, groups of companies, and the base currency's situations in
# two foreign ones.
FURTHER_SCENARIOS = (
    *HERE,
    Scenario("entities_of_a_group", "Companies of one name and domain are told apart by their legal forms", entities_of_a_group),
    Scenario("form_on_one_side", "A legal form on one side only is the same company, unless two have one", form_on_one_side),
    Scenario("mailbox_of_a_bookkeeper", "An address of somebody else's proves nothing", mailbox_of_a_bookkeeper),
    *(
        Scenario(f"{known.name}_in_{currency}", f"{known.says}; in {currency}", known.add, currency)
        for currency in ("EUR", "GBP")
        for known in (*(s for s in SCENARIOS if s.add in ABROAD), *HERE)
    ),
)


def plant(world: World) -> None:
    """Add every scenario once."""
    for scenario in SCENARIOS:
        scenario.plant(world)


def plant_further(world: World) -> None:
    """Add every further scenario once to a company that has the others, and rates of the pound."""
    quote_monthly(world, "GBP", D("1.24"))
    for scenario in FURTHER_SCENARIOS:
        scenario.plant(world)
