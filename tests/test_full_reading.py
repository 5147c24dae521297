"""A full reading finds what is gone although every cursor has passed it, and deletes nothing that is still there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from extract_fixture import FAST, alive, collect, empty_world, following, job_for, settings_at
from salesforce_org_fixture import Nights, Org, accounts, settings_with
from sandbox_fixture import running_sandbox
from test_xero_source import job_at, night
from xero_books import Books, invoice, served

from pipelines import extract
from pipelines.landing import Job
from pipelines.sandbox.entities import DocLine, Sold
from pipelines.vendors.hubspot import sandbox as hubspot_sandbox
from pipelines.vendors.hubspot import source as hubspot
from pipelines.vendors.quickbooks import sandbox as quickbooks_sandbox
from pipelines.vendors.quickbooks import source as quickbooks
from pipelines.vendors.salesforce import source as salesforce
from pipelines.vendors.xero import source as xero


def full(job: Job, source: ModuleType, **options: Any) -> Job:
    """The full reading after `job`."""
    found = following(job, source, **options)
    found.cursors = extract.cursors_of_deletions(source, found.cursors)
    return found


def gone(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows if row.get("_deleted")]


# -- HubSpot --------------------------------------------------------------------------------------------------------


@pytest.fixture
def portal() -> Iterator[tuple[str, hubspot_sandbox.Sandbox, list[str]]]:
    """A portal with four deals: its address, the sandbox itself, and the ids of the deals as HubSpot has them."""
    world, made = empty_world(), []
    account = world.add_account("One", domain="one.example")
    for number in range(4):
        world.add_deal(account, f"Deal {number}", (Sold("SEAT", "Seat", Decimal(1), Decimal(100)),), date(2026, 6, 1))

    def serve(*arguments: Any) -> hubspot_sandbox.Sandbox:
        made.append(hubspot_sandbox.Sandbox(*arguments))
        return made[-1]

    with running_sandbox(world, vendors={"hubspot": serve}, rate_limits=False) as url:
        yield url, made[-1], [str(number) for number in made[-1].state.tables["deals"].live]


def test_hubspot_finds_an_archived_record_behind_its_cursor(portal: Any, tmp_path: Path) -> None:
    url, served_here, deals = portal
    first = job_for(hubspot, settings_at(url, tmp_path, FAST))
    held = set(alive(collect(hubspot.deals(first))["deals"]))
    assert held == set(deals)
    table = served_here.state.tables["deals"]
    table.archive(int(deals[1]), "2026-05-01T08:00:00.000Z")
    first.next_cursors["deals_archived"] = "2026-06-01T08:00:00.000Z"
    options: dict[str, Any] = {"known": lambda name: held if name == "deals" else set()}
    assert gone(collect(hubspot.deals(following(first, hubspot, **options)))["deals"]) == [], "its cursor has passed it"
    job = full(first, hubspot, **options)
    rows = collect(hubspot.deals(job))["deals"]
    assert gone(rows) == [deals[1]] and set(alive(rows)) == held - {deals[1]}
    assert "deals by id" not in job.calls, "nothing else was missing"


def test_hubspot_finds_what_is_in_no_list_and_keeps_what_the_index_left_out(portal: Any, tmp_path: Path, monkeypatch: Any) -> None:
    url, served_here, deals = portal
    first = job_for(hubspot, settings_at(url, tmp_path, FAST))
    held = set(alive(collect(hubspot.deals(first))["deals"]))
    table = served_here.state.tables["deals"]
    table.archive(int(deals[0]), "2026-05-01T08:00:00.000Z")
    table.archived.remove(int(deals[0]))  # deleted for good: in no archive
    search = hubspot.searched

    def late(*arguments: Any) -> Iterator[Any]:
        for records, answered in search(*arguments):
            yield [record for record in records if record["id"] != deals[3]], answered

    monkeypatch.setattr(hubspot, "searched", late)
    job = full(first, hubspot, known=lambda name: held if name == "deals" else set())
    assert gone(collect(hubspot.deals(job))["deals"]) == [deals[0]]
    assert job.calls["deals by id"] == 1


# -- Salesforce -----------------------------------------------------------------------------------------------------


def test_salesforce_finds_what_left_the_recycle_bin_behind_its_log(tmp_path: Path) -> None:
    org = Org()
    nights = Nights(org, settings_with(tmp_path))
    first, *others = accounts(org, 3)
    nights.run()
    org.purge("Account", 1)
    org.log = {}
    assert gone(nights.run()["accounts"]) == [], "its log has passed it"
    nights.cursors = extract.cursors_of_deletions(salesforce, nights.cursors)
    rows = nights.run()["accounts"]
    assert gone(rows) == [first] and set(alive(rows)) == set(others)


# -- Xero: nothing is deleted, a status says so ----------------------------------------------------------------------


def test_xero_finds_a_void_that_moved_no_stamp(tmp_path: Path) -> None:
    with served(Books()) as books:
        books.put("Invoices", invoice(1), invoice(2))
        first = job_at(books, tmp_path)
        night(first)
        books.put("Invoices", invoice(1, Status="VOIDED"))
        second = job_at(books, tmp_path, {**first.cursors, **first.next_cursors})
        assert [row["status"] for row in night(second)["invoices"] if row["id"] == "i-0001"] == []
        cursors = extract.cursors_of_deletions(xero, {**second.cursors, **second.next_cursors})
        assert cursors == {}, "there are no deletions to remember"
        again = job_at(books, tmp_path, cursors)
        assert [row["status"] for row in night(again)["invoices"] if row["id"] == "i-0001"] == ["VOIDED"]


# -- QuickBooks -----------------------------------------------------------------------------------------------------


def test_quickbooks_finds_what_was_deleted_without_a_trace(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(quickbooks, "CARD", replace(quickbooks.CARD, limits=()))
    world, made = empty_world(), []
    customer = world.add_customer("One")
    for number in range(3):
        world.add_invoice(customer, date(2026, 3, 1), [DocLine("A", "A", None, Decimal(1), Decimal(number), Decimal(number))])

    def serve(*arguments: Any) -> quickbooks_sandbox.Sandbox:
        made.append(quickbooks_sandbox.Sandbox(*arguments))
        return made[-1]

    with running_sandbox(world, vendors={"quickbooks": serve}, rate_limits=False) as url:
        first = job_for(quickbooks, settings_at(url, tmp_path, FAST))
        collect(quickbooks.company(first))
        rows = collect(quickbooks.records(first, "Invoice", lambda item: [("invoices", [{"id": item["Id"]}])]))["invoices"]
        held = {row["id"] for row in rows}
        table, lost = made[-1].state.tables["Invoice"], min(held)
        table.drop(lost, made[-1].clock.now())
        table.deleted.clear()
        options: dict[str, Any] = {"known": lambda name: set(held) if name == "invoices" else set()}
        second = following(first, quickbooks, **options)
        assert gone(collect(quickbooks.deletions(second)).get("invoices", [])) == [], "change data capture does not know it"
        assert gone(collect(quickbooks.deletions(full(first, quickbooks, **options)))["invoices"]) == [lost]
