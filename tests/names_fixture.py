"""Invented accounts and the customers that are them under other names, on the models that match and suggest alone.

Everything follows from a seed. A customer shares no id, e-mail or domain with its account unless its kind says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random

import duckdb
from dbt_fixture import messages_of, run_dbt
from raw_rows import columns_of

CRM, BOOKS = "hubspot", "quickbooks"
MODELS = ("int_customers__rooted", "int_match_proofs__found", "int_match_candidates__found", "int_customers__matched",
          "int_match_suggestions__scored")
GIVEN = {
    "int_customers__unioned": "source customer_id name legal_name email domain parent_id currency crm_account_id url",
    "int_accounts__unioned": "source account_id name domain email url",
    "int_contacts__unioned": "source account_id email",
    "int_account_merges__unioned": "source merged_id account_id",
    "int_account_customer_ids__decided": "source account_id ledger customer_id wish",
}
STEMS = ("brel", "cor", "dan", "fen", "gal", "har", "jun", "kest", "lor", "mar", "nor", "pel", "quil", "rost", "sav", "tor", "ulm", "ver",
         "wex", "yar", "zol", "asp", "blan", "crest", "drov", "elm", "falk", "grim", "hest", "ivor")  # fmt: skip
ENDS = ("ia", "on", "eth", "ova", "ham", "wick", "stad", "mere", "ford", "ley", "ano", "berg", "aire", "ux", "inger", "holm")
TRADES = ("Foods", "Logistics", "Systems", "Consulting", "Textiles", "Energy", "Media", "Robotics", "Pharma", "Interiors", "Marine",
          "Ceramics", "Dental", "Software", "Steel", "Gardens", "Shipping", "Bakery", "Optics", "Travel")  # fmt: skip
PLACES = ("North", "South", "Berlin", "Lyon", "Texas", "Oslo", "Porto", "Kyoto")
FORMS = ("Inc.", "LLC", "Ltd", "GmbH", "GmbH & Co. KG", "S.A.", "S.p.A.", "AB", "A/S", "Oy", "B.V.", "N.V.", "Sp. z o.o.", "S.r.l.",
         "Pty Ltd", "Pte. Ltd.", "K.K.", "d.o.o.", "s.r.o.", "Kft.", "S.A. de C.V.", "Ltda.", "SAS", "Sdn. Bhd.", "PLC")  # fmt: skip
ACCENTS = str.maketrans({"a": "á", "e": "é", "o": "ö", "u": "ü", "i": "í"})


@dataclass(frozen=True)
class Planted:
    """A customer, the account that it is, and how its name differs; `domain` is that of both, where they share one."""

    customer_id: str
    account_id: str
    kind: str
    account_name: str
    customer_name: str
    domain: str | None = None


def account_names(count: int, dice: Random) -> list[str]:
    """Distinct names of two words or of three; the rest of the words are shared by many."""
    found: dict[str, None] = {}
    while len(found) < count:
        first = dice.choice(STEMS).title() + dice.choice(ENDS)
        second = dice.choice(STEMS).title() + dice.choice(ENDS) if dice.random() < 0.35 else ""
        place = dice.choice(PLACES) if dice.random() < 0.15 else ""
        found[" ".join(part for part in (first, second and f"& {second}", dice.choice(TRADES), place) if part)] = None
    return list(found)


def _misspelt(name: str, dice: Random) -> str:
    """One letter of the name dropped, doubled, exchanged with its neighbour, or another."""
    at = dice.choice([i for i in range(1, len(name) - 1) if name[i].isalpha() and name[i + 1].isalpha()])
    kind = dice.randrange(4)
    return name[:at] + ("", name[at] * 2, name[at + 1] + name[at], dice.choice("aeinrst"))[kind] + name[at + (2 if kind == 2 else 1):]


KINDS: dict[str, Callable[[str, Random], str]] = {
    "legal form": lambda name, dice: f"{name} {dice.choice(FORMS)}",
    "other case": lambda name, dice: f"{name.upper()}, {dice.choice(FORMS).upper()}",
    "accents": lambda name, dice: name.translate(ACCENTS),
    "the and and": lambda name, dice: f"The {name.replace('&', 'and')} Company",
    "punctuation": lambda name, dice: f"{name.replace(' ', '-')}.",
    "no spaces": lambda name, dice: name.replace(" & ", " ").replace(" ", ""),
    "turned round": lambda name, dice: ", ".join(reversed(name.replace(" & ", " ").split(" ", 1))),
    "misspelt": lambda name, dice: _misspelt(name, dice),
    "misspelt with a form": lambda name, dice: f"{_misspelt(name, dice)} {dice.choice(FORMS)}",
    "branch": lambda name, dice: f"{name} {dice.choice(('Group', 'Holding', 'International', 'Europe'))}",
}  # fmt: skip


HIDDEN = ("\u200b", "\u00ad", "\u202e", "\u2060", "\ufeff")


def _edited(name: str, dice: Random, kind: int) -> str:
    """The name with one letter of its first word dropped (0), added (1), another (2) or exchanged with the next (3)."""
    word = name.split()[0]
    at = dice.choice([i for i in range(len(word) - 1) if kind != 3 or word[i] != word[i + 1]])
    other = dice.choice([letter for letter in "abcdefghiklmnoprstuvwz" if letter != word[at].lower()])
    return name[:at] + ("", word[at] + other, other, word[at + 1] + word[at])[kind] + name[at + (2 if kind == 3 else 1):]


DISTURBANCES: dict[str, Callable[[str, Random], str]] = {
    "missing letter": lambda name, dice: _edited(name, dice, 0),
    "extra letter": lambda name, dice: _edited(name, dice, 1),
    "wrong letter": lambda name, dice: _edited(name, dice, 2),
    "exchanged letters": lambda name, dice: _edited(name, dice, 3),
    "words exchanged": lambda name, dice: " ".join(reversed(name.split())),
    "word cut short": lambda name, dice: f"{name.rsplit(' ', 1)[0]} {name.rsplit(' ', 1)[1][:4]}." if " " in name else name.upper(),
    "words joined": lambda name, dice: name.replace(" ", ""),
    "characters nobody sees": lambda name, dice: name[:2] + dice.choice(HIDDEN) + name[2:].replace(" ", "\u00a0"),
    "accents and case": lambda name, dice: name.translate(ACCENTS).upper(),
}  # fmt: skip


def disturbed(count: int, seed: int) -> tuple[list[tuple[str, str]], list[Planted]]:
    """As many accounts, two of three with one word of five to eight letters for a name, the rest with a trade after it; and a customer
    for each whose name has one of DISTURBANCES."""
    dice = Random(f"disturbed:{seed}")
    found: dict[str, None] = {}
    while len(found) < count:
        word = "".join(dice.choice("bcdfghjklmnprstvwz") + dice.choice("aeiou") for _ in range(3))[: dice.choice((5, 6))]
        word += dice.choice(("", "n", "l")) + dice.choice(("", "d", "k"))
        found[word.title() if len(found) % 3 else f"{word.title()} {dice.choice(TRADES)}"] = None
    accounts = [(f"a{number}", name) for number, name in enumerate(found)]
    kinds = list(DISTURBANCES)
    one_word, more = [kind for kind in kinds if "word" not in kind], kinds
    planted = []
    for number, (account_id, name) in enumerate(accounts):
        choice = more if " " in name else one_word
        kind = choice[number // 3 % len(choice)]
        planted.append(Planted(f"c{number}", account_id, kind, name, DISTURBANCES[kind](name, dice)))
    return accounts, planted


def plant(accounts: int, customers: int, seed: int) -> tuple[list[tuple[str, str]], list[Planted]]:
    """(account id, name) of every account, and one customer of another name for each of `customers` of them."""
    dice = Random(f"names:{seed}")
    rows = [(f"a{number}", name) for number, name in enumerate(account_names(accounts, dice))]
    chosen = dice.sample(rows, customers)
    kinds = list(KINDS)
    # Every third pair shares a domain of its own, and a sister company is on it too; every seventh is at a free-mail provider.
    return rows, [
        Planted(f"c{number}", account_id, kinds[number % len(kinds)], name, KINDS[kinds[number % len(kinds)]](name, dice),
                f"{account_id}.example" if number % 3 == 0 else "gmail.com" if number % 7 == 0 else None)
        for number, (account_id, name) in enumerate(chosen)
    ]


def sisters(planted: list[Planted], taken: set[str], seed: int) -> list[tuple[str, str, str]]:
    """(account id, name, domain) of another company on each shared domain, under a name that no other account has."""
    owned = [one for one in planted if one.domain and one.domain != "gmail.com"]
    free = [name for name in account_names(4 * len(owned) or 1, Random(f"sisters:{seed}")) if name not in taken]
    return [(f"{one.account_id}-sister", name, one.domain) for one, name in zip(owned, free, strict=False)]


def warehouse(path: Path, accounts: list[tuple[str, str]], customers: list[Planted], strangers: list[str], seed: int = 7) -> None:
    """A warehouse with the tables that the models read: nothing but names, and the domains of those that share one."""
    domains = {one.account_id: one.domain for one in customers}
    more = sisters(customers, {name for _, name in accounts}, seed)
    tables: dict[str, list[tuple[str | None, ...]]] = {
        "int_accounts__unioned": [*((CRM, one, name, domains.get(one), None, None) for one, name in accounts),
                                  *((CRM, one, name, domain, None, None) for one, name, domain in more)],
        "int_customers__unioned": [(BOOKS, one, name, None, None, domain, *[None] * 4) for one, name, domain in
                                   [*((one.customer_id, one.customer_name, one.domain) for one in customers),
                                    *((f"s{number}", name, None) for number, name in enumerate(strangers))]],
    }  # fmt: skip
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema intermediate")
        connection.execute("create schema raw_crossfoot")
        for name, columns in GIVEN.items():
            connection.execute(f"create table intermediate.{name} ({', '.join(f'{column} varchar' for column in columns.split())})")
            rows = tables.get(name, [])
            for start in range(0, len(rows), 5000):
                part = rows[start : start + 5000]
                marks = ", ".join(f"({', '.join('?' * len(columns.split()))})" for _ in part)
                connection.execute(f"insert into intermediate.{name} values {marks}", [value for row in part for value in row])
        decisions = ", ".join(f'"{column}" {kind}' for column, kind in columns_of("raw_crossfoot.decisions").items())
        connection.execute(f"create table raw_crossfoot.decisions ({decisions})")


def build(path: Path, scratch: Path, models: tuple[str, ...] = MODELS) -> dict[str, float]:
    """Runs the models; seconds by model. Raises AssertionError with dbt's message."""
    names = {"crms": [CRM], "ledgers": [BOOKS]}
    result = run_dbt(["run", "--select", *models], path, scratch, date(2026, 6, 30), datetime(2026, 7, 1, 2, tzinfo=UTC), names)
    assert result.success, messages_of(result)
    return {row.node.name: row.execution_time for row in result.result}


def first_suggestions(path: Path) -> Iterator[tuple[str, str, str]]:
    """(customer id, account id, matched or suggested) of whatever came first for each customer."""
    with duckdb.connect(str(path), read_only=True) as connection:
        yield from connection.execute(
            "select customer_id, account_id, 'matched' from intermediate.int_customers__matched where account_id is not null "
            "union all select customer_id, account_id, 'suggested' from intermediate.int_match_suggestions__scored where place = 1"
        ).fetchall()
