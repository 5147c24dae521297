"""What QuickBooks says it has, beside what a night was given; and that no count keeps its ledger from being read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from extract_fixture import FAST, NIGHT, clear, collect, fault, following, job_for, settings_at
from sandbox_fixture import running_sandbox

from pipelines.http import BudgetSpent
from pipelines.landing import Job
from pipelines.sandbox.world import World, make_world
from pipelines.vendors.quickbooks import source
from pipelines.vendors.quickbooks.counts import WHOLE, counts
from pipelines.vendors.quickbooks.rows import ENTRIES
from pipelines.vendors.quickbooks.sandbox import Sandbox
from pipelines.vendors.quickbooks.sandbox_render import dumps
from pipelines.vendors.quickbooks.sandbox_table import record_of
from pipelines.vendors.quickbooks.tables import TABLES

Shop = tuple[World, str]


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A small ledger with an inactive customer and two deposits, one long before the night."""
    world, made = make_world(7, 10), []
    next(iter(world.customers.values())).active = False

    def serve(*arguments: Any) -> Sandbox:
        made.append(Sandbox(*arguments))
        return made[-1]

    with running_sandbox(world, vendors={"quickbooks": serve}, rate_limits=False) as url:
        for number, day in (("9001", "2026-03-01"), ("9002", "2026-06-29")):
            stamps = {"CreateTime": f"{day}T09:00:00-07:00", "LastUpdatedTime": f"{day}T09:00:00-07:00"}
            deposit = {"Id": number, "SyncToken": "0", "TxnDate": day, "TotalAmt": 5, "Line": [], "MetaData": stamps}
            made[-1].state.tables["Deposit"].put(number, record_of(dumps(deposit)))
        yield world, url


@pytest.fixture(autouse=True)
def no_pacing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "CARD", replace(source.CARD, limits=()))


def counted(job: Job, given: dict[str, set[str]] | None = None) -> dict[str, dict[str, Any]]:
    return {row["entity"]: row for row in collect(counts(job, given or {}))["counts"]}


def test_every_entity_is_counted_the_inactive_too(shop: Shop, tmp_path: Path) -> None:
    world, url = shop
    clear(url)
    job = job_for(source, settings_at(url, tmp_path))
    found = counted(job)
    assert set(found) == {*WHOLE, *ENTRIES} == {*source.TRANSACTIONS, "Customer", "Term"}
    for entity, records in (("Invoice", world.invoices), ("CreditMemo", world.credit_notes), ("RefundReceipt", world.refunds)):
        alive = [one for one in records.values() if getattr(one, "way", "receipt") == "receipt" and not (
            getattr(one, "deleted", False) or getattr(one, "at_once", False) or getattr(one, "journal", False))]
        assert found[entity]["record_count"] == len(alive) > 0, entity
    assert found["Customer"]["record_count"] == len(world.customers) and not all(one.active for one in world.customers.values())
    assert job.calls == {"count": len(found)}
    assert set(TABLES["counts"].columns) | {"_problem"} == set(found["Invoice"])


def test_what_is_kept_in_part_is_counted_by_what_changed(shop: Shop, tmp_path: Path) -> None:
    _, url = shop
    first = job_for(source, settings_at(url, tmp_path))
    given: dict[str, set[str]] = {entity: set() for entity in ENTRIES}
    collect(source.entries(first, given))
    found = counted(first, given)
    assert all(found[entity]["given_count"] == found[entity]["record_count"] == len(given[entity]) for entity in ENTRIES)
    every = found["Deposit"]["record_count"]
    assert all(found[entity]["given_count"] is None for entity in WHOLE)
    given["Deposit"].add("one that was never given")
    assert counted(first, given)["Deposit"]["given_count"] == found["Deposit"]["record_count"] + 1
    later = following(first, source)
    later.cursors = {**later.cursors, "Deposit": "2026-06-01T00:00:00+00:00", "Invoice": NIGHT.isoformat()}
    assert 0 < counted(later)["Deposit"]["record_count"] < every, "of these only what changed is asked for"
    assert counted(later)["Invoice"]["record_count"] > 0, "of these all"


def test_a_count_that_does_not_come_is_said_and_stops_nothing(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, url = shop
    clear(url)
    job = job_for(source, settings_at(url, tmp_path, FAST + "attempts = 1\n"))
    fault(url, "500", "Invoice", vendor="quickbooks")
    found = counted(job)
    assert (found["Invoice"]["record_count"], found["Payment"]["_problem"]) == (None, None)
    assert "answered 500" in found["Invoice"]["_problem"]
    assert [note for note in job.notes if "Invoice could not be counted" in note and note.endswith("nothing was compared")]
    answers = {"no total": {"QueryResponse": {}}, "no answer": {}, "a list": [], "no number": {"QueryResponse": {"totalCount": "many"}}}
    for name, answer in answers.items():
        monkeypatch.setattr(job.api, "get", lambda *_, answer=answer, **__: type("Answer", (), {"json": answer}))
        assert all(row["record_count"] is None and row["_problem"] for row in counted(job).values()), name


def test_calls_that_are_used_up_are_not_taken_for_a_count(shop: Shop, tmp_path: Path) -> None:
    _, url = shop
    job = job_for(source, settings_at(url, tmp_path))
    job.api.allow(1, 0)
    with pytest.raises(BudgetSpent):
        counted(job)
