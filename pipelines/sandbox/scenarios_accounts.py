"""What accounts come to: their statuses, whose customer each is, and what the first days bring.

Each function adds its accounts and facts to the world and names what must come out.
"""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from pipelines.sandbox.entities import Customer, Deal
from pipelines.sandbox.growth import line_of
from pipelines.sandbox.scenarios_parts import D, bill, client, item, match, sale, status

if TYPE_CHECKING:
    from pipelines.sandbox.world import World

RTL_NAME = "\u0634\u0631\u0643\u0629 \u0627\u0644\u0646\u0648\u0631 Trading"
LONG_NAME = ("The Very Long Named Worshipful Company of Instrument Makers and Allied Trades " * 4)[:300]


# -- statuses -------------------------------------------------------------------------------------------------------


def no_invoices(world: World) -> None:
    account, _ = client(world, "Quiet Harbor Bookbinders")
    status(world, account, "No Invoices", last_invoice_date=None)


def prospect(world: World) -> None:
    account = world.add_account("Prospect Peak Cycling")
    sold = (sale("2400", "PLT-PRO", "Platform Professional"),)
    world.add_deal(account, "First platform deal", sold, world.ago(-40), stage_id="qualifiedtobuy")
    status(world, account, "No Invoices")


def due_today(world: World) -> None:
    account, customer = client(world, "Punctual Clockworks")
    bill(world, customer, "1000", due_ago=0)
    status(world, account, "Current", total_outstanding="1000.00", last_invoice_status="Sent")
    world.expect("accounts", account.id, 1, financial_status="Overdue", days_overdue=1)


def one_cent_open(world: World) -> None:
    account, customer = client(world, "Pennywise Print")
    invoice = bill(world, customer, "1000", due_ago=90)
    world.pay(customer.id, world.ago(80), D("999.99"), [("invoice", invoice.id, D("999.99"))])
    status(world, account, "Current", overdue_amount="0.00", last_invoice_status="Paid")


def overdue(world: World) -> None:
    account, customer = client(world, "Late Larch Lumber")
    bill(world, customer, "1250.50", due_ago=10)
    status(world, account, "Overdue", 10, overdue_amount="1250.50", overdue_invoices=1)


def held_at_sixty_days(world: World) -> None:
    account, customer = client(world, "Sixty Day Stoneworks")
    bill(world, customer, "3100", due_ago=60)
    status(world, account, "Credit Hold", 60)


def not_held_at_fifty_nine(world: World) -> None:
    account, customer = client(world, "Fifty Nine Foundry")
    bill(world, customer, "2900", due_ago=59)
    status(world, account, "Overdue", 59)
    world.expect("accounts", account.id, 1, financial_status="Credit Hold", days_overdue=60)


def still_held(world: World) -> None:
    account, customer = client(world, "Lingering Ledger Leather")
    older = bill(world, customer, "1800", due_ago=70)
    bill(world, customer, "700", due_ago=40)
    world.settle(older, world.ago(5))
    status(world, account, "Credit Hold", 40)


def left_hold(world: World) -> None:
    account, customer = client(world, "Recovered Rope Works")
    older = bill(world, customer, "1800", due_ago=110)
    bill(world, customer, "700", due_ago=45)
    world.settle(older, world.ago(30))
    status(world, account, "Overdue", 45)


def credit_covers_overdue(world: World) -> None:
    account, customer = client(world, "Covered Canopy Tents")
    bill(world, customer, "1000", due_ago=20)
    world.add_credit_note(customer, world.ago(12), [item("1200")])
    status(world, account, "Current", overdue_amount="0.00", overdue_invoices=0, unapplied_credit="1200.00",
            total_outstanding="1000.00", credit_status="Credit Note Open")  # fmt: skip


def payment_covers_part(world: World) -> None:
    account, customer = client(world, "Part Paid Pottery")
    bill(world, customer, "1000", due_ago=15)
    world.pay(customer.id, world.ago(3), D(400), [])
    status(world, account, "Overdue", 15, overdue_amount="600.00", unapplied_credit="400.00")


def paid_by_credit_only(world: World) -> None:
    account, customer = client(world, "O'Brien & \"Sons\" Barrels")
    invoice = bill(world, customer, "500", due_ago=25)
    note = world.add_credit_note(customer, world.ago(35), [item("500")])
    world.apply_credit(note, invoice, world.ago(28), D(500))
    status(world, account, "Current", collected_to_date="0.00", last_payment_date=None, last_invoice_status="Paid",
            credit_status="None")  # fmt: skip


def void_only(world: World) -> None:
    account, customer = client(world, '=HYPERLINK("http://x.example","Void")', domain="void-hyperlink.example")
    invoice = bill(world, customer, "640", due_ago=30)
    world.void_invoice(invoice, world.ago(33))
    status(world, account, "No Invoices", last_invoice_status="Voided", last_invoice_date=invoice.issued.isoformat())


def partly_refunded(world: World) -> None:
    account, customer = client(world, "Returned Rugs")
    world.settle(bill(world, customer, "1000", due_ago=50), world.ago(52))
    world.add_refund(customer, world.ago(20), D(250), "PLT-STD")
    status(world, account, "Current", collected_to_date="750.00", invoiced_to_date="750.00",
            credit_status="Refunded")  # fmt: skip


def fully_refunded(world: World) -> None:
    account, customer = client(world, "<script>alert(1)</script> Sweets", domain="script-sweets.example")
    world.settle(bill(world, customer, "480", due_ago=80), world.ago(85))
    world.add_refund(customer, world.ago(60), D(480), "PLT-STD")
    status(world, account, "Current", collected_to_date="0.00", invoiced_to_date="0.00", credit_status="Refunded")


def no_due_date_with_terms(world: World) -> None:
    account, customer = client(world, "Undated Umbrella")
    world.add_invoice(customer, world.ago(40), [item("860")], due=None)
    status(world, account, "Overdue", 10)


def no_due_date_without_terms(world: World) -> None:
    account, customer = client(world, "Termless Tailors", ledger={"terms_id": None})
    world.add_invoice(customer, world.ago(12), [item("330")], due=None)
    status(world, account, "Overdue", 12)


def future_dated(world: World) -> None:
    account, customer = client(world, LONG_NAME, domain="very-long-name.example")
    world.add_invoice(customer, world.ago(-10), [item("900")])
    status(world, account, "No Invoices", invoiced_to_date="0.00")


def partly_paid(world: World) -> None:
    account, customer = client(world, "Halfway Hats")
    invoice = bill(world, customer, "1000", due_ago=-12)
    world.pay(customer.id, world.ago(6), D(400), [("invoice", invoice.id, D(400))])
    status(world, account, "Current", total_outstanding="600.00", last_invoice_status="Partially Paid")


def euro_overdue(world: World) -> None:
    account, customer = client(world, "Elbe Seilerei GmbH", ledger={"currency": "EUR"}, country="Germany",
                                city="Hamburg", state=None)  # fmt: skip
    invoice = bill(world, customer, "2000", due_ago=22)
    owed = (D(2000) * invoice.rate).quantize(D("0.01"))
    status(world, account, "Overdue", 22, overdue_amount=str(owed), total_outstanding=str(owed))


# -- customers and accounts -----------------------------------------------------------------------------------------


def sub_customers(world: World) -> None:
    account, parent = client(world, "Freemont Stadium Group")
    for job, amount in (("Freemont - North Stand", "1500"), ("Freemont - South Stand", "2500")):
        child = world.add_customer(job, company_name=parent.company_name, parent_id=parent.id)
        bill(world, child, amount, due_ago=18)
        match(world, child, account, 2)
    world.settle(bill(world, parent, "300", due_ago=30), world.ago(31))
    match(world, parent, account, 2)
    status(world, account, "Overdue", 18, overdue_amount="4000.00", overdue_invoices=2, invoiced_to_date="4300.00")


def two_customers(world: World) -> None:
    account, first = client(world, "Twin Towers Tiling")
    second = world.add_customer("Twin Towers Tiling (Projects)", email="projects@twin.example")
    account.customer_ids.append(second.id)
    bill(world, first, "100", due_ago=8)
    bill(world, second, "250", due_ago=4)
    match(world, second, account, 2)
    status(world, account, "Overdue", 8, overdue_amount="350.00", overdue_invoices=2)


def customer_stores_crm_id(world: World) -> None:
    account = world.add_account("Emoji \U0001f680 Rockets", domain="emoji-rockets.example")
    customer = world.add_customer("ER Holding", email="ledger@er-holding.example", crm_id=account.id)
    world.settle(bill(world, customer, "775", due_ago=45), world.ago(40))
    match(world, customer, account, 3)
    status(world, account, "Current", collected_to_date="775.00")


def billing_email(world: World) -> None:
    account = world.add_account(RTL_NAME, domain="alnoor.example", email="Accounts@AlNoor.example")
    customer = world.add_customer("Al Noor General Trade", email="accounts@alnoor.example")
    bill(world, customer, "220", due_ago=3)
    match(world, customer, account, 4)
    status(world, account, "Overdue", 3)


def contact_email(world: World) -> None:
    account = world.add_account("Contacted Cabinets", domain="cabinets.example", email=None)
    world.add_contact(account, "Nora", "Quill", "nora.quill@cabinets.example")
    customer = world.add_customer("CC Joinery Workshop", email="Nora.Quill@cabinets.example")
    match(world, customer, account, 4)


def legal_form(world: World) -> None:
    account = world.add_account("Domain Dairy")
    customer = world.add_customer("DOMAIN DAIRY, L.L.C.", email=None, website=f"http://www.{account.domain}/shop")
    match(world, customer, account, 5)


def accents(world: World) -> None:
    account = world.add_account("Café Zürich GmbH", domain="cafe-zurich.example", country="Switzerland")
    customer = world.add_customer("Cafe Zurich GmbH", email="rechnung@cafe-zurich.example")
    bill(world, customer, "410", due_ago=-5)
    match(world, customer, account, 5)


def email_of_two_accounts(world: World) -> None:
    shared = "office@shared-books.example"
    world.add_account("Shared Books East", email=shared)
    world.add_account("Shared Books West", email=shared)
    customer = world.add_customer("Shared Books", email=shared)
    bill(world, customer, "640", due_ago=9)
    match(world, customer, None, 4)


def email_of_two_customers(world: World) -> None:
    account = world.add_account("Doubled Deli")
    for name in ("Deli Counter", "Deli Catering"):
        match(world, world.add_customer(name, email=account.email), None, 4)
    world.expect("accounts", account.id, financial_status="No Invoices", review=True)


def claimed_twice(world: World) -> None:
    customer = world.add_customer("Contested Cranes", email="ap@contested.example")
    for name in ("Contested Cranes North", "Contested Cranes South"):
        account = world.add_account(name, customer_ids=[customer.id])
        world.expect("accounts", account.id, review=True)
    bill(world, customer, "5100", due_ago=33)
    match(world, customer, None, 2)


def same_name_and_domain_twice(world: World) -> None:
    for name in ("Mirror Mills Inc.", "Mirror Mills LLC"):
        world.add_account(name, domain="mirror-mills.example", email=None)
    match(world, world.add_customer("Mirror Mills", website="https://mirror-mills.example"), None, 5)


def free_mail(world: World) -> None:
    world.add_account("Garage Guitars", domain="gmail.com", email="garage.guitars@gmail.com")
    customer = world.add_customer("Garage Guitars", email="guitars.garage@gmail.com")
    bill(world, customer, "95", due_ago=2)
    match(world, customer, None, None)


def only_in_accounting(world: World) -> None:
    customer = world.add_customer("Walk-in Customers", email="counter@walkin.example")
    world.settle(bill(world, customer, "58.40", due_ago=28), world.ago(30))
    match(world, customer, None, None)


def archived_company(world: World) -> None:
    account, customer = client(world, "Archived Anchors")
    bill(world, customer, "720", due_ago=31)
    world.change(account, world.ago(15), archived=True)
    match(world, customer, None, None)


# -- what the first days bring --------------------------------------------------------------------------------------


def pays_tomorrow(world: World) -> None:
    account, customer = client(world, "Tomorrow Timber")
    invoice = bill(world, customer, "2100", due_ago=21)
    world.at(world.ago(-1), partial(world.settle, invoice))
    status(world, account, "Overdue", 21)
    world.expect("accounts", account.id, 1, financial_status="Current", days_overdue=0)


def falls_overdue_tomorrow(world: World) -> None:
    account, customer = client(world, "Eleventh Hour Enamel")
    bill(world, customer, "1675.25", due_ago=0)
    status(world, account, "Current")
    world.expect("accounts", account.id, 1, financial_status="Overdue", days_overdue=1, overdue_amount="1675.25")


def wins_tomorrow(world: World) -> None:
    account, customer = client(world, "Signing Signs")
    sold = (sale("3900", "PLT-PRO", "Platform Professional"),)
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


def deleted_tomorrow(world: World) -> None:
    account, customer = client(world, "Vanishing Varnish")
    world.at(world.ago(-1), partial(world.delete_invoice, bill(world, customer, "540", due_ago=26)))
    status(world, account, "Overdue", 26)
    world.expect("accounts", account.id, 1, financial_status="No Invoices", last_invoice_status=None)


def voided_tomorrow(world: World) -> None:
    account, customer = client(world, "Annulled Awnings")
    world.at(world.ago(-1), partial(world.void_invoice, bill(world, customer, "560", due_ago=27)))
    status(world, account, "Overdue", 27)
    world.expect("accounts", account.id, 1, financial_status="No Invoices", last_invoice_status="Voided")


def renamed_and_inactive_tomorrow(world: World) -> None:
    account, customer = client(world, "Old Name Oats")
    bill(world, customer, "835", due_ago=11)
    tomorrow = world.ago(-1)
    new_name = world.unique_name("New Name Oats")
    world.at(tomorrow, partial(world.change, account, name=new_name))
    world.at(tomorrow, partial(world.change, customer, active=False))
    status(world, account, "Overdue", 11)
    world.expect("accounts", account.id, 1, financial_status="Overdue", name=new_name)


def inactive_customer(world: World) -> None:
    account, customer = client(world, "Dormant Docks", ledger={"active": False})
    bill(world, customer, "415", due_ago=14)
    match(world, customer, account, 2)
    status(world, account, "Overdue", 14)
