"""`make campaign`: an apply, and its rollback, that die before and after each call to the CRM and each commit of the journal; with
every CRM, and with the journal in a file and in PostgreSQL. The next run finishes, and a rollback leads back to the first state."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake_crm import FREE, NIGHT, START, Killed, Switch
from night_fixture import tasks_of
from postgres_fixture import running_postgres
from sandbox_fixture import TOKEN, Portal, running_sandbox
from test_apply_killed import small_world, wishes

from pipelines.http import Api, Bearer, Response, RetryPolicy
from pipelines.oauth import ClientCredentials
from pipelines.vendors import hubspot, salesforce
from pipelines.vendors.crm_types import Crm
from pipelines.vendors.hubspot.crm import HubSpotCrm
from pipelines.vendors.hubspot.sandbox import Sandbox as HubSpotSandbox
from pipelines.vendors.salesforce.crm import SalesforceCrm
from pipelines.vendors.salesforce.crm_answers import DATA
from pipelines.vendors.salesforce.sandbox import Sandbox as SalesforceSandbox
from pipelines.writeback import setup
from pipelines.writeback.apply import apply_plan
from pipelines.writeback.journal import Holder, Journal, Run
from pipelines.writeback.live import prepare_plan
from pipelines.writeback.plan import DesiredRecord
from pipelines.writeback.rollback import rollback

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(3600)]
BATCH = 3


class Dying(Api):
    """An API in a process that dies where its switch says: before or after a call."""

    switch: Switch

    def _call(self, method: str, path: str, **content: Any) -> Response:
        self.switch.tick(f"before {method} {path}")
        answer = super()._call(method, path, **content)
        self.switch.tick(f"after {method} {path}")
        return answer


class HubSpot:
    """A portal, and how its records and tasks are reached."""

    sandbox, crm, objects = HubSpotSandbox, HubSpotCrm, ("companies", "deals")

    def __init__(self, url: str):
        self.api = Dying(f"{url}/hubspot", vendor="hubspot", auth=Bearer(TOKEN), allowed=hubspot.CARD.allowed)
        self.portal = Portal(url)

    def ids(self, world: Any) -> tuple[list[str], list[str]]:
        return list(world.accounts), list(world.deals)

    def tasks(self) -> list[Any]:
        return sorted((task["company"], task["status"], task["subject"]) for task in tasks_of(self.portal))


class Salesforce:
    """An org, and how its records and tasks are reached."""

    sandbox, crm, objects = SalesforceSandbox, SalesforceCrm, ("accounts", "opportunities")

    def __init__(self, url: str):
        base = f"{url}/salesforce"
        auth = ClientCredentials(base, "services/oauth2/token", vendor="salesforce", client_id="sandbox-client",
                                 client_secret="sandbox-secret", retry=RetryPolicy(), basic=False)
        self.api = Dying(base, vendor="salesforce", auth=auth, allowed=salesforce.CARD.allowed)
        self.seen = Api(base, vendor="salesforce", auth=auth)

    def _rows(self, soql: str) -> list[dict[str, Any]]:
        return self.seen.get(f"{DATA}/query", params={"q": soql}).json["records"]

    def ids(self, world: Any) -> tuple[list[str], list[str]]:
        accounts, deals = ([row["Id"] for row in self._rows(f"SELECT Id FROM {name} ORDER BY Id")] for name in ("Account", "Opportunity"))
        return accounts, deals

    def tasks(self) -> list[Any]:
        return sorted((row["WhatId"], row["Status"], row["Subject"]) for row in self._rows("SELECT WhatId, Status, Subject FROM Task"))


@dataclass
class Stage:
    """One CRM and one journal for all the deaths; each `start` is a new process on them, which dies at the moment it is told."""

    vendor: Any
    crm: Crm
    journal: Journal
    switch: Switch
    before: list[DesiredRecord]
    after: list[DesiredRecord]
    time: datetime = START
    starts: int = 0

    def start(self, kill_at: int | None = None) -> None:
        self.starts += 1
        self.switch.restart(kill_at)

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time

    def _holder(self, run_id: str) -> Holder:
        return Holder(run_id, pid=2**22 + self.starts, born="1")

    @property
    def crms(self) -> dict[str, Crm]:
        return {self.crm.slug: self.crm}

    def night(self, run_id: str, desired: list[DesiredRecord], as_of: date = NIGHT) -> None:
        plan = prepare_plan(desired, self.crms, self.journal, FREE, as_of=as_of, holder=self._holder(run_id), now=self.now)
        apply_plan(plan, self.crms, self.journal, Run(run_id, "nightly", as_of, START), now=self.now, holder=self._holder(run_id))

    def back(self, run_id: str, of: str) -> None:
        run = Run(run_id, "rollback", NIGHT, START, rollback_of=of)
        rollback(self.crms, self.journal, FREE, run, now=self.now, holder=self._holder(run_id))

    def dies(self, step: Any, *arguments: Any) -> bool:
        """Whether the step was killed; a new process follows."""
        try:
            step(*arguments)
        except Killed:
            self.start()
            return True
        self.start()
        return False

    def state(self) -> tuple[Any, Any]:
        """What a person sees in the CRM: fields, and each task with its account; ids of tasks are of no interest."""
        fields = {}
        for object in self.vendor.objects:
            ids = sorted({record.record_id for record in self.before + self.after if record.object == object})
            names = [field.name for field in self.crm.objects[object]]
            for start in range(0, len(ids), BATCH):
                fields |= self.crm.read(object, ids[start : start + BATCH], names)
        return fields, self.vendor.tasks()


@contextmanager
def stage(vendor: type, place: str | Path) -> Iterator[Stage]:
    world = small_world()
    slug = vendor.crm.slug
    with running_sandbox(world, vendors={slug: vendor.sandbox}, crms=[slug], rate_limits=False) as url:
        made = vendor(url)
        made.api.switch = switch = Switch()
        crm = type("SmallBatches", (vendor.crm,), {"batch_size": BATCH})(made.api)
        setup.create(crm)
        accounts, deals = made.ids(world)
        names = dict(zip((*world.accounts, *world.deals), (*accounts, *deals), strict=True))
        objects = dict(zip(("companies", "deals"), vendor.objects, strict=True))
        before, after = ([replace(record, system=slug, object=objects[record.object], record_id=names[record.record_id],
                                  account_id=names.get(record.account_id, "")) for record in records] for records in wishes(world))
        journal = Journal(place, observe=switch.tick)
        yield Stage(made, crm, journal, switch, before, after)
        journal.close()


@pytest.fixture(params=["file", "postgresql"])
def place(request, tmp_path) -> Iterator[str | Path]:
    if request.param == "file":
        yield tmp_path / "journal.sqlite"
        return
    with running_postgres() as server:
        yield server.create()


@pytest.mark.parametrize("vendor", [HubSpot, Salesforce])
def test_a_death_at_any_call_or_commit_is_made_good(vendor, place, record_property):
    with stage(vendor, place) as at:
        at.start()
        at.night("before", at.before)
        before = at.state()
        at.start()
        at.night("told", at.after)
        moments, after = list(at.switch.moments), at.state()
        at.back("untold", "told")
        assert at.state() == before != after
        for kind in ("before intents", "after outcomes", "before lock", "after release", "before plan", "after finish run"):
            assert kind in moments, kind
        forth = back = 0
        for number in itertools.count(1):
            at.start(kill_at=number)
            killed = at.dies(at.night, f"{number}-one", at.after)
            if killed:
                at.night(f"{number}-two", at.after)
            assert at.state() == after and at.journal.unresolved() == [], number
            # A night that died after its last outcome left nothing to do: then it is the one to roll back.
            whole = "two" if killed and at.journal.written(at.journal.chain(f"{number}-two")) else "one"
            at.start()
            at.back(f"{number}-three", f"{number}-{whole}")
            assert at.state() == before, number
            if not killed:
                break
            forth += 1
        assert forth >= len(moments)
        for number in itertools.count(1):
            at.start()
            at.night(f"{number}-forth", at.after)
            at.start(kill_at=number)
            killed = at.dies(at.back, f"{number}-back", f"{number}-forth")
            if killed:
                at.back(f"{number}-again", f"{number}-forth")
            assert at.state() == before and at.journal.unresolved() == [], number
            if not killed:
                break
            back += 1
        record_property("deaths", (forth, back))
        print(f"{vendor.__name__}: {forth} deaths of an apply and {back} of a rollback, all made good")
