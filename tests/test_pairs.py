"""Every CRM with every ledger: the same company gives the same statuses, the same reconciliation and the same written values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from night_fixture import FAST, House
from sandbox_fixture import running_sandbox

from flows import when
from pipelines import night as steps
from pipelines.sandbox.server import load_vendors
from pipelines.sandbox.world import World, make_world
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import ACCOUNT_FIELDS, DEAL_FIELDS
from pipelines.writeback import setup

CRMS, LEDGERS = ([slug for slug, card in VENDORS.items() if card.side == side] for side in ("crm", "ledger"))
PAIRS = list(itertools.product(CRMS, LEDGERS))
ACCOUNT_SQL = "SELECT * EXCLUDE (source, account_id, url, sources, owner_id), account_id AS id FROM marts.account_status WHERE source = ?"
DEAL_SQL = ("SELECT * EXCLUDE (source, deal_id, account_id, owner_id, url, document_ids), deal_id AS id "
            "FROM marts.fct_deal_reconciliation WHERE source = ?")
MATCH_SQL = "SELECT customer_id AS id, match_rung, match_outcome FROM marts.dim_customers WHERE source = ?"
RECORD_ID = {slug: make.record_id for slug, make in load_vendors([*CRMS, *LEDGERS]).items()}


@dataclass(frozen=True)
class Evening:
    """What a pair made of the company, by the ids of the world."""

    world: World
    statuses: dict[str, Any]
    deals: dict[str, Any]
    matches: dict[str, Any]
    written: dict[str, dict[str, Any]]
    totals: dict[str, Any]


def configuration(crms: list[str], ledgers: list[str]) -> str:
    quoted = {key: ", ".join(f'"{slug}"' for slug in slugs) for key, slugs in (("crms", crms), ("ledgers", ledgers))}
    return FAST + "[vendors]\n" + "".join(f"{key} = [{slugs}]\n" for key, slugs in quoted.items())


@contextmanager
def company(folder: Path, crms: list[str], ledgers: list[str]) -> Iterator[House]:
    """A sandbox of the company in these systems' words, with Crossfoot's fields in its CRMs."""
    folder.mkdir(parents=True, exist_ok=True)
    world = make_world()
    with running_sandbox(world, rate_limits=False, crms=crms, ledgers=ledgers) as url:
        at = House(url, folder, world, configuration(crms, ledgers))
        for crm in at.crms.values():
            setup.create(crm)
        yield at


def by_world_id(at: House, slug: str, kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """{id in the world: row without its id}."""
    records = {"account": at.world.accounts, "deal": at.world.deals, "customer": at.world.customers}[kind]
    there = {RECORD_ID[slug](kind, one): one for one in records}
    return {there[row["id"]]: {name: value for name, value in row.items() if name != "id"} for row in rows}


def written(at: House, slug: str) -> dict[str, dict[str, Any]]:
    """{account or deal: {id in the world: {field: text}}} as the CRM has it."""
    crm, found = at.crms[slug], {}
    for kind, (object, fields) in zip(("account", "deal"), crm.objects.items(), strict=True):
        records = at.world.accounts if kind == "account" else at.world.deals
        there = {RECORD_ID[slug](kind, one): one for one in records}
        values = crm.read(object, list(there), [field.name for field in fields])
        found[kind] = {there[one]: value for one, value in values.items()}
    return found


def evening(at: House, crm: str, ledger: str) -> Evening:
    matches = at.rows(MATCH_SQL, ledger)
    return Evening(
        at.world, by_world_id(at, crm, "account", at.rows(ACCOUNT_SQL, crm)), by_world_id(at, crm, "deal", at.rows(DEAL_SQL, crm)),
        by_world_id(at, ledger, "customer", matches), written(at, crm),
        at.rows("SELECT * FROM marts.revenue_cycle_monthly ORDER BY ALL"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Callable[[str, str], Evening]:
    """The first night of a pair, run once."""
    known: dict[tuple[str, str], Evening] = {}

    def of(crm: str, ledger: str) -> Evening:
        if (crm, ledger) not in known:
            with company(tmp_path_factory.mktemp(f"{crm}-{ledger}"), [crm], [ledger]) as at:
                night = at.whole_night()
                assert [receipt.status for receipt in night.receipts] == ["complete", "complete"]
                assert night.plan.blocks == () and night.applied.rejected == 0 and night.applied.skipped == 0
                known[crm, ledger] = evening(at, crm, ledger)
        return known[crm, ledger]

    return of


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """{id: {field: (here, there)}} where the two differ; amounts in base may differ by the rounding of a rate."""
    found: dict[str, Any] = {key: "only one has it" for key in here.keys() ^ there.keys()}
    for key in here.keys() & there.keys():
        unlike = {name: (value, there[key][name]) for name, value in here[key].items() if not same(name, value, there[key][name])}
        found |= {key: unlike} if unlike else {}
    return found


def same(name: str, left: Any, right: Any) -> bool:
    if name.endswith("_base") and isinstance(left, Decimal) and isinstance(right, Decimal):
        return (left - right).copy_abs() < Decimal("0.01")
    return left == right


def billed(world: World) -> set[str]:
    return {one.customer_id for records in (world.invoices, world.credit_notes, world.payments, world.refunds) for one in records.values()}


@pytest.mark.parametrize(("crm", "ledger"), PAIRS)
def test_every_pair_comes_to_the_answer_key(told, crm, ledger):
    found = told(crm, ledger)
    key = found.world.answers()
    assert {one: row["financial_status"] for one, row in found.statuses.items()} == {
        one: answer["financial_status"] for one, answer in key["accounts"].items()}
    assert {one: str(row["total_outstanding"].quantize(Decimal("0.01"))) for one, row in found.statuses.items()} == {
        one: answer["total_outstanding"] for one, answer in key["accounts"].items()}
    assert {one: (row["status"], row["main_cause"]) for one, row in found.deals.items()} == {
        one: (answer["status"], answer["cause"]) for one, answer in key["deals"].items()}
    matches = {one: (answer["account_id"] is not None, answer["rung"]) for one, answer in key["matches"].items()}
    assert {one: (row["match_outcome"] == "matched", row["match_rung"]) for one, row in found.matches.items()} == {
        one: matches[one] for one in found.matches}
    # A ledger may call nobody a customer whom it never billed.
    assert matches.keys() - found.matches.keys() <= found.world.customers.keys() - billed(found.world)


@pytest.mark.parametrize(("crm", "ledger"), PAIRS[1:])
def test_every_pair_says_and_writes_the_same(told, crm, ledger):
    first, found = told(*PAIRS[0]), told(crm, ledger)
    assert differences(found.statuses, first.statuses) == {}
    assert differences(found.deals, first.deals) == {}
    for kind in ("account", "deal"):
        assert differences(found.written[kind], first.written[kind]) == {}
    fields = {"account": ACCOUNT_FIELDS, "deal": DEAL_FIELDS}
    assert all(sum(row[fields[kind][0].name] is not None for row in found.written[kind].values()) > 20 for kind in fields)


def test_a_second_night_of_the_new_pair_reads_only_what_changed_and_agrees(tmp_path):
    crm, ledger = PAIRS[-1]
    with company(tmp_path, [crm], [ledger]) as at:
        first = at.whole_night(tests=False)
        at.advance()
        second = at.whole_night(tests=False)
        for receipt in second.receipts:
            assert receipt.status == "complete"
        # The CRM's records come again: our own write-back of the first night changed them.
        assert sum(second.receipts[1].rows.values()) < sum(first.receipts[1].rows.values()) / 2
        found, key = evening(at, crm, ledger), at.world.answers()
        assert {one: row["financial_status"] for one, row in found.statuses.items()} == {
            one: answer["financial_status"] for one, answer in key["accounts"].items()}
        at.forget()
        quiet = at.write(when.tonight(at.settings))
        assert quiet.plan.changes == () and quiet.applied.written == 0
        assert steps.roll_back(at.built_night(), second.applied.run_id).rejected == 0
