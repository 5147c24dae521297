"""Two hundred small companies in one build: every deal's bridge closes without residual, and what was planted is found."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal

import pytest
from dbt_fixture import MODELS_ALONE, messages_of
from random_worlds import CENT, CURRENCIES, SINGLE, TOGETHER, Bill, Deal, World, land, make_world
from raw_rows import RawRows, create_raw_tables
from test_dbt_models import NIGHT, Warehouse
from test_dbt_several import BOOKS, CRM, project_with_invented_vendors

WORLDS = 200
MICRO = Decimal("0.000001")
MODELS = ("+fct_deal_reconciliation", "+fct_deal_variance_bridge")


def based(amount: Decimal, rate: Decimal) -> Decimal:
    """In base, to the cent, as ledgers post it."""
    return (amount * rate).quantize(CENT, ROUND_HALF_UP)


def net_based(bill: Bill) -> Decimal:
    """The gross in base less the tax in base, each to the cent: then the three add up for every document."""
    net = based(bill.net + bill.tax, bill.rate) - based(bill.tax, bill.rate)
    return net if bill.document_type == "invoice" else -net


@pytest.fixture(scope="module")
def worlds() -> tuple[World, ...]:
    return tuple(make_world(seed) for seed in range(WORLDS))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, worlds: tuple[World, ...]) -> Warehouse:
    folder = tmp_path_factory.mktemp("worlds")
    warehouse = Warehouse(folder / "warehouse.duckdb", folder, project_with_invented_vendors(folder), (CRM,), (BOOKS,))
    create_raw_tables(warehouse.path)
    land(warehouse.path, worlds)
    loads = RawRows(NIGHT)
    for source in (CRM, BOOKS):
        loads.add("raw_crossfoot.loads", source=source, known_at=NIGHT, status="complete", calls=1, rows=1)
    loads.land(warehouse.path)
    result = warehouse.dbt("build", *MODELS_ALONE, "--select", *MODELS)
    assert result.success, messages_of(result)
    return warehouse


@pytest.fixture(scope="module")
def reconciled(built: Warehouse) -> dict[str, tuple[Decimal, Decimal, Decimal, Decimal]]:
    """Contracted, invoiced, variance and variance in base by deal."""
    rows = built.rows("SELECT deal_id, contracted_amount, invoiced_amount, variance_amount, variance_base "
                      "FROM marts.fct_deal_reconciliation")
    return {row[0]: row[1:] for row in rows}


@pytest.fixture(scope="module")
def bridges(built: Warehouse) -> dict[str, dict[str, tuple[Decimal, Decimal]]]:
    """By deal and cause: the amount in the deal's currency and in base."""
    found: dict[str, dict[str, tuple[Decimal, Decimal]]] = defaultdict(dict)
    for deal, cause, amount, base in built.rows("SELECT deal_id, cause, amount_deal, amount_base FROM marts.fct_deal_variance_bridge"):
        found[deal][cause] = (amount, base)
    return found


def every(worlds: tuple[World, ...]) -> list[Deal]:
    return [deal for world in worlds for deal in world.deals]


def test_the_same_seed_gives_the_same_world_and_all_causes_and_currencies_are_there(worlds):
    assert make_world(17) == worlds[17]
    alone = {(next(iter(deal.planted)), deal.currency) for deal in every(worlds) if len(deal.planted) == 1}
    # The base currency has no rate to itself, and the yen nothing to round.
    cannot = {("fx", "USD"), ("rounding", "JPY")}
    assert alone == {(cause.__name__, currency) for cause in SINGLE for currency in CURRENCIES} - cannot
    together = {(cause, deal.currency) for deal in every(worlds) for cause in deal.planted if len(deal.planted) > 1}
    assert together == {(cause.__name__, currency) for cause in TOGETHER for currency in CURRENCIES} - cannot
    assert sum(len(deal.planted) > 1 for deal in every(worlds)) > WORLDS


def test_every_deal_has_the_numbers_of_its_documents(worlds, reconciled):
    assert reconciled.keys() == {deal.id for deal in every(worlds)}
    wrong = []
    for deal in every(worlds):
        issued = [bill for bill in deal.bills if bill.status == "issued"]
        base = sum(map(net_based, issued), Decimal(0))
        wanted = (deal.contracted, deal.invoiced, deal.invoiced - deal.contracted, base - based(deal.contracted, deal.rate))
        wrong += [(deal.id, wanted, reconciled[deal.id])] if wanted != reconciled[deal.id] else []
    assert wrong == []


def test_what_is_planted_is_the_whole_difference(worlds):
    """Else a bridge could not be right."""
    assert [deal.id for deal in every(worlds) if sum(deal.planted.values()) != deal.invoiced - deal.contracted] == []


def test_every_bridge_closes_without_residual(worlds, reconciled, bridges):
    wrong = [(deal.id, list(deal.planted), bridges[deal.id], reconciled[deal.id][3]) for deal in every(worlds)
             if sum((base for _, base in bridges[deal.id].values()), Decimal(0)) != reconciled[deal.id][3]]
    assert wrong == []


def found(bridge: dict[str, tuple[Decimal, Decimal]]) -> dict[str, Decimal]:
    """What is in the buckets, in the deal's currency, to the cent: a share of tax is rounded at the sixth decimal."""
    shown = {cause: amount.quantize(CENT, ROUND_HALF_UP) for cause, (amount, _) in bridge.items() if cause != "fx"}
    return {cause: amount for cause, amount in shown.items() if amount}


def wanted(deal: Deal) -> dict[str, Decimal]:
    return {cause: amount for cause, amount in deal.planted.items() if cause != "fx"}


def test_every_single_cause_is_in_its_bucket_and_nothing_in_another(worlds, bridges):
    single = [deal for deal in every(worlds) if len(deal.planted) <= 1]
    assert len(single) >= 3 * WORLDS
    assert [(deal.id, wanted(deal), bridges[deal.id]) for deal in single if found(bridges[deal.id]) != wanted(deal)] == []


def test_causes_planted_together_are_told_apart(worlds, bridges):
    several = [deal for deal in every(worlds) if len(deal.planted) > 1]
    assert [(deal.id, wanted(deal), bridges[deal.id]) for deal in several if found(bridges[deal.id]) != wanted(deal)] == []


def test_a_rate_that_moved_is_the_effect_of_rates_and_else_there_is_none(worlds, bridges):
    for deal in every(worlds):
        issued = [bill for bill in deal.bills if bill.status == "issued"]
        moved = any(bill.rate != deal.rate for bill in issued) and deal.invoiced != 0
        if moved and "fx" in deal.planted:
            assert "fx" in bridges[deal.id], deal.id
        else:  # every document is rounded to the cent by itself
            assert abs(bridges[deal.id].get("fx", (0, Decimal(0)))[1]) <= CENT * (len(issued) + 1), deal.id


def test_status_and_main_cause_are_those_of_the_bridge(built, bridges):
    """What nobody has explained comes first, else the largest; a deal is explained when no cause asks a person."""
    rest = {"unexplained", "not_invoiced", "partly_invoiced", "over_invoiced"}
    asks = {*rest, "duplicate_invoice", "price_or_quantity", "awaiting_review"}
    wrong = []
    for deal, status, main in built.rows("SELECT deal_id, status, main_cause FROM marts.fct_deal_reconciliation"):
        sizes = {cause: abs(amount) for cause, (amount, _) in bridges[deal].items() if cause not in {"fx", "rounding"}}
        mains = rest & {*sizes} or {cause for cause in sizes if sizes[cause] == max(sizes.values())}
        mains = mains or ({"rounding"} & {*bridges[deal]} or {None})
        allowed = "Matched" if not sizes else "Review" if asks & {*sizes} else "Explained"
        wrong += [] if main in mains and status == allowed else [(deal, status, main, bridges[deal])]
    assert wrong == []
