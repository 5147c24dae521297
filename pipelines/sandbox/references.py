"""How one system of the company names a record of another: an invoice that carries a deal's id, an account that carries a
customer's. The sandbox has one company and many dialects, so ids are put into the words of the systems that are in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.sandbox.entities import Customer
from pipelines.sandbox.world import World


class Dialect(Protocol):
    """What a vendor's sandbox says of itself; a ledger has drafts or journal entries on receivables where it says so."""

    @staticmethod
    def record_id(kind: str, world_id: str) -> str: ...


@dataclass(frozen=True)
class References:
    """The ids that are written into other systems: those of `crm`, and those of the ledger that has the customer.

    `vendors` by slug. With several `ledgers` every customer is in one of them, see `Share`.
    """

    world: World
    vendors: Mapping[str, Dialect]
    crm: str
    ledgers: Sequence[str]

    def __call__(self, kind: str, record_id: str) -> str:
        """The id of an account or deal; of a customer "<ledger>:<id>"."""
        if kind != "customer":
            return self.vendors[self.crm].record_id(kind, record_id)
        ledger = self.ledger_of(record_id)
        return f"{ledger}:{self.vendors[ledger].record_id('customer', record_id)}"

    def ledger_of(self, customer_id: str) -> str:
        """The ledger that has the customer."""
        return self.ledgers[share_of(self.world, customer_id, len(self.ledgers))]

    def has_drafts(self, customer_id: str) -> bool:
        """Whether the customer's ledger keeps drafts."""
        return getattr(self.vendors[self.ledger_of(customer_id)], "has_drafts", False)

    def has_journals(self, customer_id: str) -> bool:
        """Whether people post journal entries on receivables in the customer's ledger."""
        return getattr(self.vendors[self.ledger_of(customer_id)], "has_journals", False)

    def answers(self) -> dict[str, Any]:
        """The world's answer key in the ids of the CRM and of the (first) ledger."""
        key, crm, ledger = self.world.answers(), self.vendors[self.crm].record_id, self.vendors[self.ledgers[0]].record_id
        kinds = {"account": crm, "deal": crm, "customer": ledger, "invoice": ledger, "journal": ledger}

        def of(kind: str, record_id: str | None) -> str | None:
            if kind == "invoice" and self.world.invoices[record_id].at_once:
                return ledger("receipt", record_id)
            return None if record_id is None else kinds[kind](kind, record_id)

        return {
            **key,
            "accounts": {of("account", one): answer for one, answer in key["accounts"].items()},
            "deals": {of("deal", one): {**answer, "linked": [of("invoice", linked) for linked in answer["linked"]]}
                      for one, answer in key["deals"].items()},
            "matches": {of("customer", one): {**answer, "account_id": of("account", answer["account_id"])}
                        for one, answer in key["matches"].items()},
            "realised_fx": [{**one, "invoice_id": of("invoice", one["invoice_id"])} for one in key["realised_fx"]],
            "exceptions": [{**one, "record_id": of(_kind_of(one["kind"]), one["record_id"])} for one in key["exceptions"]],
        }


def _kind_of(exception: str) -> str:
    """What an exception is about."""
    if exception.startswith(("account_", "deal_")):
        return exception.partition("_")[0]
    kinds = {"header_differs_from_lines": "deal", "repeated_invoice_number": "invoice", "not_read": "journal"}
    return kinds.get(exception, "customer")


def share_of(world: World, customer_id: str, count: int) -> int:
    """Which of `count` ledgers has a customer: its family stays together. A customer that does not exist is in the first."""
    if count == 1 or customer_id not in world.customers:
        return 0
    customer: Customer = world.customers[customer_id]
    while customer.parent_id:
        customer = world.customers[customer.parent_id]
    return int(customer.id) % count


class Share:
    """The world as one of several ledgers knows it: its own customers and what was done with them. All else is the
    world's, and grows with it."""

    _OWN = ("customers", "invoices", "drafts", "credit_notes", "payments", "deposits", "refunds")

    def __init__(self, world: World, position: int, count: int):
        self._world, self._position, self._count = world, position, count
        self._kept: dict[str, tuple[tuple[int, str | None], dict[str, Any]]] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in self._OWN:
            return getattr(self._world, name)
        records = getattr(self._world, name)
        mark = (len(records), next(reversed(records), None))
        known, own = self._kept.get(name, (None, {}))
        if known != mark:  # records are changed in place; only a draft is ever taken away, and new ones come last
            own = {key: one for key, one in records.items() if self._has(key if name == "customers" else one.customer_id)}
            self._kept[name] = (mark, own)
        return own

    def _has(self, customer_id: str) -> bool:
        return share_of(self._world, customer_id, self._count) == self._position
