"""The answer key of customer matching: whose customer each one is, by which rung of the ladder."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.sandbox.entities import Account, Customer

if TYPE_CHECKING:
    from pipelines.sandbox.world import World

FREE_MAIL = frozenset(
    (
        "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "yahoo.com", "icloud.com", "aol.com",
        "proton.me", "protonmail.com", "gmx.de", "gmx.net", "web.de", "msn.com", "mail.com", "me.com",
    )
)  # fmt: skip
# Each spelling of a legal form that the company's names use, and the form that it is.
LEGAL_FORMS = {
    "inc": "inc", "incorporated": "inc", "llc": "llc", "ltd": "ltd", "limited": "ltd", "gmbh": "gmbh", "corp": "corp",
    "corporation": "corp", "co": "co", "company": "co", "ag": "ag", "sa": "sa", "bv": "bv", "plc": "plc", "spa": "spa", "kg": "kg",
}  # fmt: skip
# Words of the company's names that say what a business does or where, not which one it is.
COMMON_WORDS = frozenset(("deli", "catering", "trading", "books", "dental", "bakery", "dairy", "east", "west", "north", "south"))


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
    for account in live.values():
        for customer_id in account.customer_ids:
            claims[customer_id].add(account.id)
    facts = _Facts(world, live, roots)

    def decide(customer: Customer) -> Match:
        if found := claims.get(customer.id):
            return _one(found, 2)
        if customer.crm_id in live:
            return Match(customer.crm_id, 3)
        return facts.by_email(customer) or facts.by_domain(customer) or Match(None, None)

    decided = {customer.id: decide(customer) for customer in roots}
    return {customer.id: decided[root_of(world, customer).id] for customer in world.customers.values()}


def _one(found: set[str], rung: int, certain: bool = True) -> Match:
    return Match(next(iter(found)), rung) if len(found) == 1 and certain else Match(None, rung, tuple(sorted(found)))


class _Facts:
    """What addresses, domains and names say together."""

    def __init__(self, world: World, live: dict[str, Account], roots: list[Customer]) -> None:
        self.live, self.roots = live, roots
        self.holders: dict[str, set[str]] = defaultdict(set)
        for account in live.values():
            if account.email:
                self.holders[account.email.lower()].add(account.id)
        for contact in world.contacts.values():
            if contact.email and contact.account_id in live:
                self.holders[contact.email.lower()].add(contact.account_id)
        self.senders = Counter(customer.email.lower() for customer in roots if customer.email)
        self.sites = Counter(account_domain(account) for account in live.values())
        self.visitors = Counter(domain for customer in roots for domain in _domains(customer))
        self.namesakes: dict[str, list[Account]] = defaultdict(list)
        for account in live.values():
            self.namesakes[normal_name(account.name)].append(account)
        self.buyers: dict[str, list[Customer]] = defaultdict(list)
        for customer in roots:
            self.buyers[normal_name(customer.name)].append(customer)
        self.borne = [Counter(word for one in side for word in set(normal_name(one.name).split())) for side in (live.values(), roots)]
        self.limits = [max(5, len(side) // 200) for side in (live, roots)]

    def by_email(self, customer: Customer) -> Match | None:
        email = (customer.email or "").lower()
        holders = self.holders.get(email, set())
        proven = {key for key in holders if self._same_entity_by_email(customer, self.live[key], email)}
        if not proven:
            return None
        certain = len(holders) == 1 and self.senders[email] == 1 and all(self._alone(customer, self.live[key], email) for key in proven)
        return _one(proven, 4, certain)

    def _same_entity_by_email(self, customer: Customer, account: Account, email: str) -> bool:
        if _nearness(customer.name, account.name) is None:
            return False
        domain = business_domain(email.rpartition("@")[2])
        return self._names_agree(customer, account) or domain == account_domain(account) != ""

    def _names_agree(self, customer: Customer, account: Account) -> bool:
        shared = set(normal_name(customer.name).split()) & set(normal_name(account.name).split())
        telling = {word for word in shared - COMMON_WORDS if len(word) > 2
                   and all(names[word] <= limit for names, limit in zip(self.borne, self.limits, strict=True))}
        return bool(telling) or normal_name(customer.name) == normal_name(account.name)

    def _alone(self, customer: Customer, account: Account, email: str) -> bool:
        """No other company bears the name as well, and where the domain alone speaks, it is nobody else's."""
        domain = email.rpartition("@")[2]
        owned = self._names_agree(customer, account) or (self.sites[domain] == 1 and self.visitors[domain] == 1)
        return owned and not self._rivalled(customer, account)

    def _rivalled(self, customer: Customer, account: Account) -> bool:
        near = _nearness(customer.name, account.name) or 0
        others = [(_nearness(customer.name, one.name) or 0, legal_form(one.name) != legal_form(account.name))
                  for one in self.namesakes[normal_name(customer.name)] if one.id != account.id and _may_meet(customer, one)]
        others += [(_nearness(one.name, account.name) or 0, legal_form(one.name) != legal_form(customer.name))
                   for one in self.buyers[normal_name(account.name)] if one.id != customer.id and _may_meet(one, account)]
        return any(other > near or (other == near == 2 and unlike) for other, unlike in others)

    def by_domain(self, customer: Customer) -> Match | None:
        near = {account.id: nearness for account in self.namesakes[normal_name(customer.name)]
                if account_domain(account) in _domains(customer) and (nearness := _nearness(customer.name, account.name))}
        found = {key for key, nearness in near.items() if nearness == max(near.values())}
        certain = not any(self._rivalled(customer, self.live[key]) for key in found)
        return _one(found, 5, certain) if found else None


def _nearness(left: str, right: str) -> int | None:
    """3 the same name and form, 2 a form on one side only, 1 another name; nothing where the forms are two."""
    forms = {legal_form(left), legal_form(right)}
    if len(forms - {None}) == 2:
        return None
    return 1 if normal_name(left) != normal_name(right) else 3 if len(forms) == 1 else 2


def _may_meet(customer: Customer, account: Account) -> bool:
    site = business_domain(_host(customer))
    return not site or not account_domain(account) or account_domain(account) in _domains(customer)


def account_domain(account: Account) -> str:
    """The account's business domain, or nothing."""
    return business_domain(account.domain or "")


def root_of(world: World, customer: Customer) -> Customer:
    while customer.parent_id is not None:
        customer = world.customers[customer.parent_id]
    return customer


def _domains(customer: Customer) -> set[str]:
    mail = (customer.email or "").rpartition("@")[2]
    return {business_domain(_host(customer)), business_domain(mail)} - {""}


def _host(customer: Customer) -> str:
    return re.sub(r"^[a-z]+://", "", (customer.website or "").lower()).partition("/")[0]


def business_domain(domain: str) -> str:
    """The bare domain, or nothing when it belongs to a free-mail service."""
    bare = domain.lower().removeprefix("www.")
    return "" if bare in FREE_MAIL else bare


def normal_name(name: str) -> str:
    """Lower case, no accents, no punctuation, no legal form at the end."""
    words = _words(name)
    while words and words[-1] in LEGAL_FORMS:
        words.pop()
    return " ".join(words)


def legal_form(name: str) -> str | None:
    """The legal form that the name ends with, whichever way it is spelled."""
    words = _words(name)
    return LEGAL_FORMS.get(words[-1]) if words else None


def _words(name: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.lower()) if not unicodedata.combining(c))
    return re.sub(r"[^\w\s]", "", plain).split()


def accounts_in_review(world: World, matches: dict[str, Match]) -> set[str]:
    return {account_id for match in matches.values() for account_id in match.candidates}
