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
from pipelines.sandbox.scenarios import plant_further
from pipelines.sandbox.server import load_vendors
from pipelines.sandbox.world import World, make_world
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import ACCOUNT_FIELDS, DEAL_FIELDS, FINANCIALS_AS_OF
from pipelines.writeback import setup

CRMS, LEDGERS = ([slug for slug, card in VENDORS.items() if card.side == side] for side in ("crm", "ledger"))
PAIRS = list(itertools.product(CRMS, LEDGERS))
ACCOUNT_SQL = "SELECT * EXCLUDE (source, account_id, url, sources, owner_id), account_id AS id FROM marts.account_status WHERE source = ?"
DEAL_SQL = ("SELECT * EXCLUDE (source, deal_id, account_id, owner_id, url, document_ids), deal_id AS id "
            "FROM marts.fct_deal_reconciliation WHERE source = ?")
MATCH_SQL = "SELECT customer_id AS id, match_rung, match_outcome FROM marts.dim_customers WHERE source = ?"
BRIDGE_SQL = "SELECT deal_id AS id, cause, amount_base FROM marts.fct_deal_variance_bridge WHERE source = ?"
FX_SQL = ("SELECT document_id AS id, applied_type, applied_date, sum(amount) AS amount, sum(gain_base) AS gain "
          "FROM marts.fct_realised_fx WHERE source = ? AND document_type = 'invoice' GROUP BY ALL")
CENT = Decimal("0.01")
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
    tie_out: list[dict[str, Any]]
    bridges: dict[tuple[str, str], Decimal]
    realised: dict[tuple[str, str, str], tuple[Decimal, Decimal]]


def configuration(crms: list[str], ledgers: list[str]) -> str:
    quoted = {key: ", ".join(f'"{slug}"' for slug in slugs) for key, slugs in (("crms", crms), ("ledgers", ledgers))}
    return FAST + "[vendors]\n" + "".join(f"{key} = [{slugs}]\n" for key, slugs in quoted.items())


@contextmanager
def company(folder: Path, crms: list[str], ledgers: list[str], world: World | None = None) -> Iterator[House]:
    """A sandbox of the company in these systems' words, with Crossfoot's fields in its CRMs."""
    folder.mkdir(parents=True, exist_ok=True)
    world = world or make_world()
    with running_sandbox(world, rate_limits=False, crms=crms, ledgers=ledgers) as url:
        at = House(url, folder, world, configuration(crms, ledgers))
        for crm in at.crms.values():
            setup.create(crm)
        yield at


def larger_company() -> World:
    """The company with drafts, and with what it has in its base currency in two foreign ones."""
    world = make_world()
    plant_further(world)
    return world


def ids_there(at: House, slug: str, kind: str) -> dict[str, str]:
    """{a vendor's id of a record: its id in the world}."""
    records = {"account": at.world.accounts, "deal": at.world.deals, "customer": at.world.customers, "invoice": at.world.invoices}[kind]
    return {RECORD_ID[slug]("receipt" if getattr(record, "at_once", False) else kind, one): one for one, record in records.items()}


def by_world_id(at: House, slug: str, kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """{id in the world: row without its id}."""
    there = ids_there(at, slug, kind)
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
    deals, invoices = ids_there(at, crm, "deal"), ids_there(at, ledger, "invoice")
    return Evening(
        at.world, by_world_id(at, crm, "account", at.rows(ACCOUNT_SQL, crm)), by_world_id(at, crm, "deal", at.rows(DEAL_SQL, crm)),
        by_world_id(at, ledger, "customer", matches), written(at, crm),
        at.rows("SELECT * FROM marts.revenue_cycle_monthly ORDER BY ALL"), at.rows("SELECT * FROM marts.rpt_tie_out"),
        {(deals[row["id"]], row["cause"]): row["amount_base"] for row in at.rows(BRIDGE_SQL, crm)},
        {(invoices[row["id"]], row["applied_type"], row["applied_date"].isoformat()): (row["amount"], row["gain"])
         for row in at.rows(FX_SQL, ledger)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Callable[[str, str], Evening]:
    """The first night of a pair, run once."""
    known: dict[tuple[str, str], Evening] = {}

    def of(crm: str, ledger: str) -> Evening:
        if (crm, ledger) not in known:
            with company(tmp_path_factory.mktemp(f"{crm}-{ledger}"), [crm], [ledger], larger_company()) as at:
                # Between them the first and the last pair run the tests of every vendor's models.
                night = at.whole_night(tests=(crm, ledger) in (PAIRS[0], PAIRS[-1]))
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
    if name == FINANCIALS_AS_OF.name:  # the sandbox's clock runs from 22:00 on while systems are asked
        return str(left)[:16] == str(right)[:16]
    if name.endswith("_base") and isinstance(left, Decimal) and isinstance(right, Decimal):
        return (left - right).copy_abs() < Decimal("0.01")
    return left == right


def in_no_ledgers_words(written: Mapping[str, Mapping[str, str | None]]) -> dict[str, dict[str, str | None]]:
    """What was written to accounts, without the ids of customers."""
    ids = {field.name for field in ACCOUNT_FIELDS if field.type == "ids"}
    return {one: {name: value for name, value in values.items() if name not in ids} for one, values in written.items()}


def billed(world: World) -> set[str]:
    kept = (world.invoices, world.credit_notes, world.payments, world.deposits, world.refunds)
    return {one.customer_id for records in kept for one in records.values()}


def written_off(world: World) -> set[str]:
    """Accounts of which something was written off."""
    customers = {note.customer_id for note in world.credit_notes.values() if note.journal}
    return {account.id for account in world.accounts.values() if customers & {*account.customer_ids}}


@pytest.mark.parametrize(("crm", "ledger"), PAIRS)
def test_every_pair_comes_to_the_answer_key(told, crm, ledger):
    found = told(crm, ledger)
    key = found.world.answers()
    assert {one: row["financial_status"] for one, row in found.statuses.items()} == {
        one: answer["financial_status"] for one, answer in key["accounts"].items()}
    for name in ("total_outstanding", "unapplied_credit", "invoiced_to_date", "collected_to_date"):
        assert {one: str(row[name].quantize(Decimal("0.01"))) for one, row in found.statuses.items()} == {
            one: answer[name] for one, answer in key["accounts"].items()}, name
    assert {one: row["last_payment_date"] and row["last_payment_date"].isoformat() for one, row in found.statuses.items()} == {
        one: answer["last_payment_date"] for one, answer in key["accounts"].items()}
    assert {one: (row["status"], row["main_cause"]) for one, row in found.deals.items()} == {
        one: (answer["status"], answer["cause"]) for one, answer in key["deals"].items()}
    matches = {one: (answer["account_id"] is not None, answer["rung"]) for one, answer in key["matches"].items()}
    assert {one: (row["match_outcome"] == "matched", row["match_rung"]) for one, row in found.matches.items()} == {
        one: matches[one] for one in found.matches}
    # A ledger may call nobody a customer whom it never billed.
    assert matches.keys() - found.matches.keys() <= found.world.customers.keys() - billed(found.world)


@pytest.mark.parametrize(("crm", "ledger"), PAIRS)
def test_every_pair_splits_every_difference_as_the_key_does(told, crm, ledger):
    """To two cents: a CRM may round what a deal is worth in its home currency to half a cent, and so says a rate of its own,
    which a deal that was billed twice has twice."""
    found = told(crm, ledger)
    deals = found.world.answers()["deals"]
    wanted = {(deal, cause): Decimal(amount) for deal, answer in deals.items() for cause, amount in answer["bridge"].items()}
    assert {one: (wanted.get(one, 0), found.bridges.get(one, 0)) for one in wanted.keys() | found.bridges.keys()
            if not -2 * CENT < found.bridges.get(one, 0) - wanted.get(one, 0) < 2 * CENT} == {}


@pytest.mark.parametrize(("crm", "ledger"), PAIRS)
def test_every_pair_finds_the_gains_and_losses_of_rates_of_the_key(told, crm, ledger):
    found = told(crm, ledger)
    wanted = {(one["invoice_id"], one["applied_type"], one["applied_date"]): (Decimal(one["amount"]), Decimal(one["gain"]))
              for one in found.world.answers()["realised_fx"]}
    assert found.realised.keys() == wanted.keys() and {kind for _, kind, _ in wanted} == {"payment", "credit_note"}
    assert {one: (wanted[one], there) for one, there in found.realised.items()
            if there[0] != wanted[one][0] or not -CENT < there[1] - wanted[one][1] < CENT} == {}
    assert any(gain > 0 for _, gain in wanted.values()) and any(gain < 0 for _, gain in wanted.values())


@pytest.mark.parametrize(("crm", "ledger"), PAIRS[1:])
def test_every_pair_says_and_writes_the_same(told, crm, ledger):
    first, found = told(*PAIRS[0]), told(crm, ledger)
    keys = [one.world.answers() for one in (first, found)]
    here, there = (key["deals"] for key in keys)
    drafted = {deal for deal, answer in here.items() if answer != there[deal]}  # a ledger may have no drafts
    assert drafted <= {draft.deal_ref for draft in first.world.drafts.values()}
    # Xero says itself who is no customer: of one without a document nobody can be in doubt there.
    doubtful = {account for account, answer in keys[0]["accounts"].items() if answer["review"]}
    # What is written off by a journal entry in one ledger is credited in another.
    credited = {account for account, answer in keys[0]["accounts"].items() if answer != keys[1]["accounts"][account]}
    assert credited == (written_off(first.world) if ledger == "xero" else set())
    apart = doubtful | credited if ledger == "xero" else set()
    assert differences(found.statuses, first.statuses).keys() <= apart
    assert differences(found.deals, first.deals).keys() <= drafted
    written = differences(in_no_ledgers_words(found.written["account"]), in_no_ledgers_words(first.written["account"]))
    assert written.keys() <= apart
    assert differences(found.written["deal"], first.written["deal"]).keys() <= drafted
    fields = {"account": ACCOUNT_FIELDS, "deal": DEAL_FIELDS}
    assert all(sum(row[fields[kind][0].name] is not None for row in found.written[kind].values()) > 20 for kind in fields)


@pytest.mark.parametrize(("crm", "ledger"), PAIRS)
def test_every_ledger_ties_and_says_the_same(told, crm, ledger):
    """The world's customers owe the same whoever keeps the books, by the documents and by the ledger's own report."""
    found = told(crm, ledger)
    (total,) = (row for row in found.tie_out if row["level"] == "ledger")
    assert (total["source"], total["is_tied"], total["kind"]) == (ledger, True, None)
    assert [row for row in found.tie_out if not row["is_tied"] or row["kind"]] == []
    assert len(found.tie_out) > 50
    (first,) = (row for row in told(*PAIRS[0]).tie_out if row["level"] == "ledger")
    assert (total["ours_base"], total["theirs_base"]) == (first["ours_base"], first["theirs_base"]) != (0, 0)


def test_a_second_night_of_the_new_pair_reads_only_what_changed_and_agrees(tmp_path):
    crm, ledger = PAIRS[-1]
    with company(tmp_path, [crm], [ledger], larger_company()) as at:
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
        assert {one: (row["status"], row["main_cause"]) for one, row in found.deals.items()} == {
            one: (answer["status"], answer["cause"]) for one, answer in key["deals"].items()}
        at.forget()
        quiet = at.write(when.tonight(at.settings))
        assert quiet.plan.changes == () and quiet.applied.written == 0
        assert steps.roll_back(at.built_night(), second.applied.run_id).rejected == 0
