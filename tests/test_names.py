"""Suggestions for customers that no rung matches: the right account comes first, and nothing is matched by a name alone."""

from __future__ import annotations

from pathlib import Path
from random import Random

import duckdb
import names_fixture as names
import pytest
from names_fixture import KINDS, Planted

CASES = 400


@pytest.fixture(scope="module")
def suggested(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Planted], dict[str, tuple[str, str]]]:
    """400 customers under other names among 2,000 accounts and more, with 400 strangers: what came first for each."""
    folder = tmp_path_factory.mktemp("names")
    accounts, planted = names.plant(2000, CASES, seed=7)
    taken = {name for _, name in accounts}
    strangers = [name for name in names.account_names(800, Random("strangers")) if name not in taken][:400]
    names.warehouse(folder / "w.duckdb", accounts, planted, strangers)
    names.build(folder / "w.duckdb", folder)
    return planted, {customer: (account, how) for customer, account, how in names.first_suggestions(folder / "w.duckdb")}


def test_the_right_account_comes_first_in_nearly_every_case(suggested):
    planted, found = suggested
    wrong = [one for one in planted if found.get(one.customer_id, ("",))[0] != one.account_id]
    assert len(planted) == CASES and {one.kind for one in planted} == set(KINDS)
    assert len(wrong) <= 0.05 * CASES, [(one.kind, one.account_name, one.customer_name) for one in wrong]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_variant_is_recognised(suggested, kind):
    planted, found = suggested
    mine = [one for one in planted if one.kind == kind]
    wrong = [(one.account_name, one.customer_name) for one in mine if found.get(one.customer_id, ("",))[0] != one.account_id]
    assert len(wrong) <= 0.1 * len(mine), wrong


def test_no_automatic_match_is_wrong_and_a_name_alone_makes_none(suggested):
    planted, found = suggested
    by_id = {one.customer_id: one for one in planted}
    matched = {customer: account for customer, (account, how) in found.items() if how == "matched"}
    assert len(matched) >= 30
    assert [by_id[customer] for customer, account in matched.items() if by_id[customer].account_id != account] == []
    assert {by_id[customer].domain for customer in matched} & {None, "gmail.com"} == set()


def test_most_strangers_are_not_called_somebody(suggested):
    _, found = suggested
    assert sum(customer.startswith("s") for customer in found) <= 0.35 * 400


NAMES = {
    "The Müller & Söhne GmbH": "muller sohne",
    "Muller and Sohne": "muller sohne",
    "Groß Straße Sp. z o.o.": "gross strasse",
    "Ørsted Løsninger A/S": "orsted losninger",
    "Tienda Azul, S.A. de C.V.": "tienda azul",
    "AB Motors AB": "ab motors",
    "ООО Ромашка": "ромашка",
    "株式会社テスト": "テスト",
    "Acme L.L.C.": "acme",
    "Then Again Ltd": "then again",
}


def test_names_are_compared_without_what_does_not_tell_companies_apart(tmp_path: Path):
    rows = [Planted(f"n{number}", "", "", "", name) for number, name in enumerate(NAMES)]
    names.warehouse(tmp_path / "w.duckdb", [], rows, [])
    names.build(tmp_path / "w.duckdb", tmp_path, ("int_customers__rooted",))
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        found = dict(connection.execute("select name, plain_name from intermediate.int_customers__rooted").fetchall())
    assert found == NAMES
