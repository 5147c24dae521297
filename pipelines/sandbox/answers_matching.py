"""The answer key of customer matching: whose customer each one is, by which rung of the ladder."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.sandbox.entities import Customer

if TYPE_CHECKING:
    from pipelines.sandbox.world import World

FREE_MAIL = frozenset(
    (
        "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "yahoo.com", "icloud.com", "aol.com",
        "proton.me", "protonmail.com", "gmx.de", "gmx.net", "web.de", "msn.com", "mail.com", "me.com",
    )
)  # fmt: skip
LEGAL_WORDS = frozenset(
    ("inc", "llc", "ltd", "gmbh", "corp", "co", "company", "limited", "ag", "sa", "bv", "plc")
)  # fmt: skip


@dataclass(frozen=True)
class Match:
    """Whose customer it is, by which rung; candidates without an account are a question."""

    account_id: str | None
    rung: int | None
    candidates: tuple[str, ...] = ()


def match_customers(world: World) -> dict[str, Match]:
    """Every customer's account by the first rung that answers; sub-customers take their parent's answer."""
    live = {key: account for key, account in world.accounts.items() if not account.archived}
    roots = [customer for customer in world.customers.values() if customer.parent_id is None]
    claims: dict[str, set[str]] = defaultdict(set)
    emails: dict[str, set[str]] = defaultdict(set)
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for account in live.values():
        for customer_id in account.customer_ids:
            claims[customer_id].add(account.id)
        if account.email:
            emails[account.email.lower()].add(account.id)
        if account.domain and business_domain(account.domain):
            names[business_domain(account.domain), normal_name(account.name)].add(account.id)
    for contact in world.contacts.values():
        if contact.email and contact.account_id in live:
            emails[contact.email.lower()].add(contact.account_id)
    senders = Counter(customer.email.lower() for customer in roots if customer.email)

    def decide(customer: Customer) -> Match:
        if found := claims.get(customer.id):
            return _one(found, 2)
        if customer.crm_id in live:
            return Match(customer.crm_id, 3)
        email = (customer.email or "").lower()
        if found := emails.get(email):
            return _one(found, 4) if senders[email] == 1 else Match(None, 4, tuple(sorted(found)))
        found = set().union(*(names.get((d, normal_name(customer.name)), set()) for d in _domains(customer)))
        return _one(found, 5) if found else Match(None, None)

    decided = {customer.id: decide(customer) for customer in roots}
    return {customer.id: decided[root_of(world, customer).id] for customer in world.customers.values()}


def _one(found: set[str], rung: int) -> Match:
    return Match(next(iter(found)), rung) if len(found) == 1 else Match(None, rung, tuple(sorted(found)))


def root_of(world: World, customer: Customer) -> Customer:
    while customer.parent_id is not None:
        customer = world.customers[customer.parent_id]
    return customer


def _domains(customer: Customer) -> set[str]:
    host = re.sub(r"^[a-z]+://", "", (customer.website or "").lower()).partition("/")[0]
    mail = (customer.email or "").rpartition("@")[2]
    return {business_domain(host), business_domain(mail)} - {""}


def business_domain(domain: str) -> str:
    """The bare domain, or nothing when it belongs to a free-mail service."""
    bare = domain.lower().removeprefix("www.")
    return "" if bare in FREE_MAIL else bare


def normal_name(name: str) -> str:
    """Lower case, no accents, no punctuation, no legal form."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(c))
    words = re.sub(r"[^\w\s]", "", plain).split()
    return " ".join(word for word in words if word not in LEGAL_WORDS)


def accounts_in_review(world: World, matches: dict[str, Match]) -> set[str]:
    return {account_id for match in matches.values() for account_id in match.candidates}
