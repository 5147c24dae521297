"""Whose records the warehouse and the journal hold: the accounts at each vendor, and the base currency.

Ids of one company's records mean something else at another. So each source says whose account it reaches before anything is
landed or written, and that is held against what it was when the warehouse, or the journal, first heard of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pipelines import landing
from pipelines.landing import Table
from pipelines.settings import Settings
from pipelines.vendors import VENDORS
from pipelines.writeback.journal import Journal
from pipelines.writeback.journal.tables import companies
from pipelines.writeback.plan import BlockedPlan

SCHEMA = "raw_crossfoot"
BASE_CURRENCY = "base_currency"  # in the place of a source: what the warehouse adds up in
REMEDY = "give each company a data folder and a journal of its own (--data-dir, [journal] url), or correct the configuration"
COMPANIES = Table("companies", {"source": "text", "id": "text", "name": "text"})
Known = Mapping[str, Mapping[str, str]]  # source -> id of an account -> its name ("" where the vendor says none)


class OtherCompany(BlockedPlan):
    """What is configured reaches another company than the warehouse's or the journal's; the message has both names."""


@dataclass(frozen=True)
class Companies:
    """What the warehouse and the journal know of their company."""

    settings: Settings
    journal: Journal

    def check(self) -> None:
        """Holds the warehouse, the journal and the configured base currency against each other. Raises OtherCompany."""
        here, there = self._in_warehouse(), self._in_journal()
        base = next(iter(here.get(BASE_CURRENCY, {})), self.settings.base_currency)
        if base != self.settings.base_currency:
            raise OtherCompany([f"[company] base_currency is {self.settings.base_currency} and {self.settings.warehouse} was built in "
                                f"{base}: set it to {base}, or delete that file to read everything again"])
        for source in here.keys() & there.keys():
            if not here[source].keys() & there[source].keys():
                raise OtherCompany([f"{self.settings.warehouse} holds {named(source, here[source])} and the journal is of "
                                    f"{named(source, there[source])}: {REMEDY}"])

    def check_source(self, source: str, found: Mapping[str, str]) -> None:
        """Holds the accounts that a source reaches ({id: name}) against those that are known. Raises OtherCompany.

        The warehouse keeps the records of every account that it ever heard, so none of them may be missing; a journal is of another
        company only where none is left.
        """
        here, there = self._in_warehouse().get(source, {}), self._in_journal().get(source, {})
        for place, known, wrong in ((str(self.settings.warehouse), here, here.keys() - found.keys()),
                                    ("the journal", there, there.keys() if not there.keys() & found.keys() else ())):
            if wrong:
                raise OtherCompany([f"{source} now reaches {named(source, found)} and {place} holds "
                                    f"{named(source, {one: known[one] for one in wrong})}: {REMEDY}"])

    def keep(self, source: str, found: Mapping[str, str]) -> None:
        """Remembers the accounts that a source reaches, in both places."""
        if found and self._in_warehouse().get(source) != found:
            self._keep_in_warehouse(source, found)
        if found and self._in_journal().get(source) != found:
            self._keep_in_journal(source, found)

    def keep_base_currency(self) -> None:
        """Remembers in which currency the warehouse is built, from its first build on."""
        if BASE_CURRENCY not in self._in_warehouse():
            self._keep_in_warehouse(BASE_CURRENCY, {self.settings.base_currency: ""})

    def _in_warehouse(self) -> Known:
        path: Path = self.settings.warehouse
        if not path.exists():
            return {}
        with landing.connect(path) as connection:
            landing.ensure_tables(connection, SCHEMA, [COMPANIES])
            return _by_source(connection.execute(f"SELECT source, id, name FROM {SCHEMA}.companies ORDER BY ALL").fetchall())

    def _in_journal(self) -> Known:
        with self.journal._engine.connect() as connection:
            query = sa.select(companies.c.source, companies.c.id, companies.c.name).order_by(companies.c.source, companies.c.id)
            return _by_source(connection.execute(query).tuples().all())

    def _keep_in_warehouse(self, source: str, found: Mapping[str, str]) -> None:
        with landing.connect(self.settings.warehouse) as connection:
            landing.ensure_tables(connection, SCHEMA, [COMPANIES])
            connection.execute("BEGIN")
            connection.execute(f"DELETE FROM {SCHEMA}.companies WHERE source = ?", [source])
            for one, name in found.items():
                connection.execute(f"INSERT INTO {SCHEMA}.companies (source, id, name) VALUES (?, ?, ?)", [source, one, name])
            connection.execute("COMMIT")

    def _keep_in_journal(self, source: str, found: Mapping[str, str]) -> None:
        with self.journal._transaction("companies") as connection:
            connection.execute(sa.delete(companies).where(companies.c.source == source))
            connection.execute(sa.insert(companies), [{"source": source, "id": one, "name": name} for one, name in found.items()])


def named(source: str, accounts: Mapping[str, str]) -> str:
    """The accounts for a sentence, in the vendor's word: "organisation 4f2c (Acme Ltd)"."""
    word = VENDORS[source].account if source in VENDORS else ""
    listed = ", ".join(f"{one} ({name})" if name else one for one, name in accounts.items())
    return " ".join(filter(None, (source, word, listed or "none")))


def _by_source(rows) -> Known:
    found: dict[str, dict[str, str]] = {}
    for source, one, name in rows:
        found.setdefault(source, {})[one] = name
    return found
