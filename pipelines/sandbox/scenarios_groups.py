"""Groups of companies: one name and one domain with several legal forms, and a mailbox that serves strangers.

Each function adds its accounts and facts to the world and names what must come out, like those of `scenarios_accounts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.sandbox.scenarios_parts import match

if TYPE_CHECKING:
    from pipelines.sandbox.world import World


def entities_of_a_group(world: World) -> None:
    """Ltd and GmbH are each matched with their own account, and Inc., which the CRM does not have, with none."""
    site = "halden-group.example"
    there = {form: world.add_account(f"Halden {form}", domain=site, email=None) for form in ("Ltd", "GmbH")}
    for spelled, account in (("Limited", there["Ltd"]), ("GmbH", there["GmbH"]), ("Inc.", None)):
        customer = world.add_customer(f"Halden {spelled}", website=f"https://{site}")
        match(world, customer, account, 5 if account else None)


def form_on_one_side(world: World) -> None:
    """A form on one side is the same company, and a question once two companies of the name have one."""
    account = world.add_account("Ilmari Instruments", email=None)
    match(world, world.add_customer("Ilmari Instruments Ltd", website=f"https://{account.domain}"), account, 5)
    account = world.add_account("Jasper Joists", email=None)
    for form in ("Ltd", "GmbH"):
        match(world, world.add_customer(f"Jasper Joists {form}", website=f"https://{account.domain}"), None, 5)
    world.expect("accounts", account.id, review=True)


def mailbox_of_a_bookkeeper(world: World) -> None:
    """The address of a bookkeeper matches nobody with another of the clients."""
    mailbox = "clients@ledger-keepers.example"
    world.add_account("Pinewood Bakery", email=mailbox)
    match(world, world.add_customer("Oakmoor Dental", email=mailbox), None, None)
