"""Known faults of matching: what may link by itself, what is only suggested, and which suggestion comes first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import names_fixture as names
import pytest
from fault_fixture import FaultNight
from names_fixture import Planted

STAMP = "2026-06-01T08:00:00.000Z"
Pairs = list[tuple[str, str]]

# Name of an account, name of a customer on its domain: two companies.
TWO_COMPANIES: Pairs = [
    ("Acme Ltd", "Acme GmbH"), ("Brune Inc.", "Brune LLC"), ("Corvale S.A.", "Corvale AG"), ("Dorrin S.p.A.", "Dorrin SRL"),
    ("Ekholm AB", "Ekholm Oy"), ("Falster A/S", "Falster ApS"), ("Gravin S.A.S.", "Gravin Sàrl"), ("Hobart Pty Ltd", "Hobart Ltd"),
    ("Ibbets LLP", "Ibbets Limited"), ("Jungholz KG", "Jungholz GmbH & Co. KG"), ("Kuiper B.V.", "Kuiper N.V."),
    ("Lomax Corp", "Lomax Inc"), ("Merion PLC", "Merion Ltd"), ("Nowak Sp. z o.o.", "Nowak S.A."), ("Orsolya Kft.", "Orsolya Zrt."),
    ("Pangkor Sdn. Bhd.", "Pangkor Pte. Ltd."), ("Quirin UG (haftungsbeschränkt)", "Quirin GmbH"), ("Ruspini AG & Co. KG", "Ruspini AG"),
]  # fmt: skip
# Two spellings of one company.
ONE_COMPANY: Pairs = [
    ("Sandor Ltd", "SANDOR LIMITED"), ("Tessin SA", "Tessin S.A."),
    ("Ulmen Inc", "Ulmen, Incorporated"), ("Varga Corp.", "Varga Corporation"),
    ("Wesel GmbH & Co. KG", "Wesel GmbH und Co KG"), ("Xanten L.L.C.", "Xanten LLC"), ("Yarrow Pty. Limited", "Yarrow Pty Ltd"),
    ("Zabel", "Zabel AG"), ("Aarhof A/S", "Aarhof AS"), ("Bexley S. A. S.", "Bexley SAS"), ("Cadogan Co., Ltd.", "Cadogan Ltd"),
]  # fmt: skip
HIDDEN = "\u200b\u00ad\u202e\ufeff"


def company(record_id: str, name: str, domain: str | None = None, email: str | None = None) -> dict[str, Any]:
    return {"id": record_id, "createdAt": STAMP, "updatedAt": STAMP, "archived": False,
            "properties": {"name": name, "domain": domain, "billing_email": email}}


def customer(record_id: str, name: str, domain: str | None = None, email: str | None = None) -> dict[str, Any]:
    more = ({"WebAddr": {"URI": f"https://{domain}"}} if domain else {}) | ({"PrimaryEmailAddr": {"Address": email}} if email else {})
    return {"Id": record_id, "SyncToken": "0", "DisplayName": name, "CompanyName": name, "Active": True, "Balance": 0, "Job": False,
            "BalanceWithJobs": 0, "CurrencyRef": {"value": "USD"},
            "MetaData": {"CreateTime": "2026-06-01T01:00:00-07:00", "LastUpdatedTime": "2026-06-01T01:00:00-07:00"}} | more


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> FaultNight:
    companies, customers = [], []
    for number, (left, right) in enumerate([*TWO_COMPANIES, *ONE_COMPANY], start=1):
        site = f"{left.split()[0].lower()}.example"
        companies.append(company(f"{1000 + number}", left, site, f"ap@{site}"))
        customers.append(customer(f"{2000 + number}", right, site, f"ap@{site}" if number % 2 else None))
    companies += [
        company("3001", "Pine Bakery", None, "books@ledgerfirm.example"), company("3002", "Copper Hill SpA"),
        company("3003", "Copper Hill AG"), company("3004", "Copper Hill"), company("3005", "Terrow LLC"), company("3006", "Walden Ltd"),
        company("3007", "Fjordgate"), company("3008", "Marlin Optics"),
    ]  # fmt: skip
    customers += [
        customer("4001", "Oak Dental", None, "books@ledgerfirm.example"), customer("4002", "Copper Hill AG"),
        customer("4005", "Teprow LLC"), customer("4006", "Wablen Ltd"),
        customer("4007", f"Fj{HIDDEN}ordgaet"), customer("4008", "MARLÍN\u00a0OPTICS"),
    ]  # fmt: skip
    records = {"hubspot": {"companies": companies, "company_currency": [{"createdAt": STAMP, "id": "USD"}]},
               "quickbooks": {"customers": customers}}
    return FaultNight(tmp_path_factory.mktemp("matching"), records, tests=False)


def linked(night: FaultNight) -> dict[str, str]:
    return {row["customer_id"]: row["account_id"] for row in
            night.rows("SELECT customer_id, account_id FROM dim_customers WHERE match_outcome = 'matched'")}


def suggested(night: FaultNight, customer_id: str) -> list[dict[str, Any]]:
    sql = "SELECT account_id, score, evidence FROM int_match_suggestions__scored WHERE customer_id = ? ORDER BY place"
    return night.rows(sql, customer_id)


def test_crm_04_other_legal_entity_is_linked(night):
    found, apart = linked(night), len(TWO_COMPANIES)
    assert {pair: found.get(f"{2000 + number}") for number, pair in enumerate(TWO_COMPANIES, start=1)
            if f"{2000 + number}" in found} == {}
    assert {pair for number, pair in enumerate(ONE_COMPANY, start=apart + 1)
            if found.get(f"{2000 + number}") != f"{1000 + number}"} == set()
    evidence = {number: suggested(night, f"{2000 + number}")[0] for number in range(1, apart + 1)}
    assert all(row["account_id"] == f"{1000 + number}" and "other legal form" in row["evidence"] for number, row in evidence.items())
    assert evidence[1]["evidence"].startswith("same name, other legal form: GmbH and Ltd")
    assert "4001" not in found
    (row,) = suggested(night, "4001")
    assert row["account_id"] == "3001"
    assert "same mailbox books@ledgerfirm.example, names share no uncommon word" in row["evidence"]


def test_crm_07_same_name_stands_second(night):
    rows = suggested(night, "4002")
    assert [row["account_id"] for row in rows] == ["3003", "3004", "3002"]
    assert [row["score"] == 1 for row in rows] == [True, False, False]


def test_crm_07_the_review_asks_in_that_order(night):
    rows = night.rows("SELECT left_id FROM rpt_match_review WHERE right_id = '4002' ORDER BY score DESC")
    assert [row["left_id"] for row in rows] == ["3003", "3004", "3002"]


def test_crm_08_one_wrong_letter(night):
    found = linked(night)
    for mine, account in (("4005", "3005"), ("4006", "3006"), ("4007", "3007"), ("4008", "3008")):
        assert mine not in found and [row["account_id"] for row in suggested(night, mine)][:1] == [account], mine


# -- many names


def test_crm_08_short_names_with_one_edit_are_found_first(tmp_path):
    """2,000 customers, each an account's name with one of names_fixture.DISTURBANCES; the account is first for 95 %."""
    accounts, planted = names.disturbed(2000, seed=11)
    names.warehouse(tmp_path / "w.duckdb", accounts, planted, [])
    names.build(tmp_path / "w.duckdb", tmp_path)
    first = {one: account for one, account, _ in names.first_suggestions(tmp_path / "w.duckdb")}
    wrong = [one for one in planted if first.get(one.customer_id) != one.account_id]
    assert {one.kind for one in planted} == set(names.DISTURBANCES)
    assert len(wrong) <= 0.05 * len(planted), [(one.kind, one.account_name, one.customer_name) for one in wrong[:20]]


# -- groups of companies


@dataclass
class Group:
    """Accounts as (id, name, domain, email), customers likewise, and which customer is which account."""

    accounts: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    customers: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    truth: dict[str, str] = field(default_factory=dict)
    plain: set[str] = field(default_factory=set)

    def add(self, key: str, account: tuple[str, str | None, str | None] | None, buyer: tuple[str, str | None, str | None] | None,
            plain: bool = False) -> None:
        if account:
            self.accounts.append((f"a{key}", *account))
        if buyer:
            self.customers.append((f"c{key}", *buyer))
        if account and buyer:
            self.truth[f"c{key}"] = f"a{key}"
        if plain:
            self.plain.add(f"c{key}")


def groups(count: int, seed: int) -> Group:
    """`count` groups of 2 to 5 companies of one name and domain, of which either side lacks some; as many bookkeepers with 2 to
    10 clients, holdings whose companies share a domain and a mailbox, and companies that stand alone."""
    dice, made = Random(f"groups:{seed}"), Group()
    stems: Iterator[str] = iter(dict.fromkeys(name.split()[0] + "x" + str(number) for number, name in
                                              enumerate(names.account_names(9 * count, dice))))
    for number in range(count):
        name, site = next(stems).title(), f"group{number}.example"
        mailbox = f"ap@{site}" if number % 3 == 0 else None
        for form in dice.sample(names.FORMS, dice.randint(2, 5)):
            there = dice.choice(("both", "account", "customer", "both"))
            mail = mailbox if dice.random() < 0.5 else None
            made.add(f"g{number}{form}", (f"{name} {form}", site, mail) if there != "customer" else None,
                     (f"{name} {form}", site, mailbox) if there != "account" else None)
        keeper = f"books@keeper{number}.example"
        for client in range(dice.randint(2, 10) if number % 5 == 0 else 2):
            there = dice.choice(("account", "customer"))
            label = f"{next(stems)} {dice.choice(names.TRADES)}"
            made.add(f"k{number}-{client}", (label, None, keeper) if there == "account" else None,
                     (label, None, keeper) if there == "customer" else None)
        holding = f"holding{number}.example"
        for part in range(3):
            label = f"{next(stems)} {dice.choice(names.TRADES)}"
            made.add(f"h{number}-{part}", (label, holding, f"ap@{holding}") if part != 0 else None,
                     (label, holding, f"ap@{holding}") if part == 0 else None)
        label, own = next(stems), f"alone{number}.example"
        form = dice.choice(names.FORMS)
        made.add(f"p{number}", (label, own, f"ap@{own}"), (f"{label} {form}", own, f"ap@{own}"), plain=True)
    return made


def test_crm_04_no_link_between_companies_of_groups_bookkeepers_and_holdings(tmp_path):
    made = groups(300, seed=3)
    names.warehouse(tmp_path / "w.duckdb", [], [], [])
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.executemany("INSERT INTO intermediate.int_accounts__unioned (source, account_id, name, domain, email) "
                               f"VALUES ('{names.CRM}', ?, ?, ?, ?)", made.accounts)
        connection.executemany("INSERT INTO intermediate.int_customers__unioned (source, customer_id, name, domain, email) "
                               f"VALUES ('{names.BOOKS}', ?, ?, ?, ?)", made.customers)
    names.build(tmp_path / "w.duckdb", tmp_path)
    found = {one: account for one, account, how in names.first_suggestions(tmp_path / "w.duckdb") if how == "matched"}
    wrong = {(one, account) for one, account in found.items() if made.truth.get(one) != account}
    print(f"{len(made.accounts)} accounts, {len(made.customers)} customers: {len(found)} links, {len(wrong)} wrong, "
          f"{len(made.plain & found.keys()) / len(made.plain):.1%} of the plain pairs linked")
    assert wrong == set()
    assert made.plain <= found.keys()


def test_every_form_of_the_bench_is_known_and_told_apart(tmp_path):
    """No two of the forms are the same one, and none stays in the name."""
    rows = [Planted(f"n{number}", "", "", "", f"Brandox {form}") for number, form in enumerate(names.FORMS)]
    names.warehouse(Path(tmp_path / "w.duckdb"), [], rows, [])
    names.build(tmp_path / "w.duckdb", tmp_path, ("int_customers__rooted",))
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        found = connection.execute("select name, plain_name, legal_form from intermediate.int_customers__rooted").fetchall()
    assert {plain for _, plain, _ in found} == {"brandox"}
    assert len({form for *_, form in found} - {None}) == len(names.FORMS), found
