"""The steps of a night as plain functions: what the flow calls in order, and the command line one by one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pipelines import extract, fingerprint, guard, landing, transform
from pipelines.extract import Forecast, Receipt
from pipelines.landing import Table
from pipelines.settings import SANDBOX_HOUR, ConfigurationError, Settings
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import ACCOUNT_FIELDS, DEAL_FIELDS, Crm
from pipelines.writeback import setup
from pipelines.writeback.apply import ApplyResult, apply_approved, apply_plan
from pipelines.writeback.companies import Companies
from pipelines.writeback.desired import Desired, read_desired
from pipelines.writeback.journal import Holder, Journal, Run
from pipelines.writeback.lease import Lease
from pipelines.writeback.live import prepare_plan
from pipelines.writeback.plan import BlockedPlan, Plan, WritebackPolicy
from pipelines.writeback.plan_files import load_plan, save_plan
from pipelines.writeback.rollback import rollback

# How many nights may share one known_at before that is taken for a mistake (a night that is run again and again).
MAX_REPEATS = 1000

# What a policy may name, with or without the object before it ("companies.days_overdue").
FIELD_NAMES = frozenset(field.name for field in (*ACCOUNT_FIELDS, *DEAL_FIELDS))
# Which night the models in the warehouse are of: one row, beside the raw tables.
BUILDS = Table("builds", {"as_of": "date", "known_at": "timestamp", "status": "text"})

# What is counted, how many so far, of how many (None: unknown; 0: nothing is counted, the text is a sentence to show).
Progress = Callable[[str, int, int | None], None]


def silent(what: str, done: int, total: int | None) -> None:
    """Shows no progress."""


@dataclass(frozen=True)
class Night:
    """One night: what day it is about, up to when the vendors are heard, and the configuration.

    `now` is only for the journal's stamps. `on_progress` is told what each step has done.
    """

    settings: Settings
    as_of: date
    known_at: datetime
    now: Callable[[], datetime]
    on_progress: Progress = silent

    @property
    def heard_on(self) -> date:
        """The day that it is when the vendors are heard: the company's, or the sandbox's, which begins at 22:00 UTC."""
        if self.settings.profile == "sandbox":
            return (self.known_at.astimezone(UTC) - timedelta(hours=SANDBOX_HOUR)).date()
        return self.known_at.astimezone(self.settings.zone).date()

    @property
    def policy(self) -> WritebackPolicy:
        chosen, ledgers = self.settings.values["writeback"], self.settings.get("vendors", "ledgers")
        strange = [name for name in {**chosen["field_policies"], **chosen["null_policies"]}
                   if name.rpartition(".")[2] not in FIELD_NAMES]
        if strange:
            raise ConfigurationError([f"{self.settings.path}: [writeback] has a policy for {name!r}; the fields are "
                                      f"{', '.join(sorted(FIELD_NAMES))}" for name in strange])
        return WritebackPolicy(
            mode=chosen["mode"], max_change_share=chosen["max_change_share"],
            change_allowance=chosen["change_allowance"], field_policies=chosen["field_policies"],
            null_policies=chosen["null_policies"], overdue_tasks=chosen["overdue_tasks"],
            ledger=ledgers[0] if len(ledgers) == 1 else None,
            task_owners={slug: owner for slug in self.settings.get("vendors", "crms")
                         if (owner := self.settings.values.get(slug, {}).get("task_owner_id"))},
        )


class Tokens:
    """The journal's token store as the vendors use it: each stored token follows the one that was read."""

    def __init__(self, journal: Journal, now: Callable[[], datetime]):
        self._store, self._now, self._sequence = journal.token_store, now, 0

    def get(self, vendor: str, account: str) -> str | None:
        found = self._store.get(vendor, account)
        self._sequence = found.sequence if found else 0
        return found.token if found else None

    def put(self, vendor: str, account: str, token: str) -> None:
        self._sequence += 1
        self._store.put(vendor, account, token, self._sequence, self._now())


@contextmanager
def open_journal(settings: Settings, *, reading: bool = False) -> Iterator[Journal]:
    """The configured journal, closed again at the end; with `reading` nothing is made or changed."""
    journal = Journal(settings.journal, reading=reading)
    try:
        yield journal
    finally:
        journal.close()


def unlock(settings: Settings, by: str, why: str, now: datetime) -> Lease | None:
    """Frees the journal's lock in somebody's name; what it was, None where nobody had it."""
    name = " ".join(by.split())
    if not name:
        raise ConfigurationError(["--by is empty; give the name of the person who frees the lock"])
    with open_journal(settings) as journal:
        return journal.unlock(name, " ".join(why.split()), now)


def extract_vendor(night: Night, slug: str, *, full: bool = False) -> Receipt:
    """Reads one vendor; every record of it again where it is `full`. Raises ExtractFailed, and OtherCompany before anything landed."""
    done: dict[str, int] = {}

    def on_rows(table: str, rows: int) -> None:
        done[table] = done.get(table, 0) + rows
        night.on_progress(f"{slug} {table}", done[table], None)

    def on_forecast(forecast: Forecast) -> None:
        night.on_progress(f"{slug}: {forecast}", 0, 0)

    with open_journal(night.settings) as journal:
        companies = Companies(night.settings, journal)

        def on_company(found: Mapping[str, str]) -> None:
            companies.check()
            companies.check_source(slug, found)
            companies.keep(slug, found)

        return extract.extract(slug, night.settings, as_of=night.as_of, known_at=night.known_at, tokens=Tokens(journal, night.now),
                               full=full, on_rows=on_rows, on_forecast=on_forecast, on_company=on_company)


def extract_vendors(night: Night, slugs: Sequence[str], *, full: bool = False) -> list[Receipt]:
    """Reads vendors side by side. One that failed is a receipt that says so; the others go on."""

    def one(slug: str) -> Receipt:
        try:
            return extract_vendor(night, slug, full=full)
        except extract.ExtractFailed as error:
            return error.receipt

    with ThreadPoolExecutor(max_workers=max(1, len(slugs))) as pool:
        return list(pool.map(one, slugs))


def is_past(night: Night) -> bool:
    """Whether a later night was heard already: then this one is a replay, which shows its marts again and writes nothing."""
    loads = [extract.last_load(night.settings, slug) for slug in night.settings.sources]
    return any(load is not None and load.known_at > night.known_at for load in loads)


def warm_up(night: Night) -> None:
    """Loads what extract and build need and prepares the models, for a caller that has to wait for something else."""
    for slug in night.settings.sources:
        importlib.import_module(f"pipelines.vendors.{slug}.source")
    transform.prepare(night.settings)


def build(night: Night, *, again: bool = False) -> list[transform.Node]:
    """Lands the journal and builds every model. Raises TransformFailed.

    A past night, and one that is built `again` to be held against itself, is built from what was known then, without what
    was written or decided since; the hashes of its marts stay those that it left.
    """
    from pipelines.writeback import source as journal_source  # late: dlt takes two seconds to load

    settings = night.settings
    with open_journal(settings) as journal:
        Companies(settings, journal).check()
    declared = {slug: importlib.import_module(f"pipelines.vendors.{slug}.source").TABLES.values() for slug in VENDORS}
    ours = [*journal_source.TABLES.values(), BUILDS, fingerprint.NIGHTS]
    extract.prepare_warehouse(settings, {**declared, journal_source.SLUG: ours})
    past = again or is_past(night)
    if not past:
        with open_journal(settings) as journal:
            extract.land_journal(settings, journal_source, journal, as_of=night.as_of, known_at=night.known_at, now=night.now)
    with open_journal(settings) as journal:
        Companies(settings, journal).keep_base_currency()
    _record_build(night, "started")
    nodes = transform.build(settings, night.as_of, night.known_at)
    if not past:
        fingerprint.record(settings, night.as_of, night.known_at)
    _record_build(night, "complete")
    return nodes


def _record_build(night: Night, status: str) -> None:
    """Which night the models are of; one that stays "started" failed or was cut off, and its models are not to be used."""
    with landing.connect(night.settings.warehouse) as connection:
        connection.execute("DELETE FROM raw_crossfoot.builds")
        connection.execute("INSERT INTO raw_crossfoot.builds (as_of, known_at, status) VALUES (?, ?, ?)",
                           [night.as_of, night.known_at, status])


@dataclass(frozen=True)
class Built:
    """The night that the models in the warehouse are of."""

    as_of: date
    known_at: datetime
    complete: bool


def built(settings: Settings) -> Built | None:
    """What the warehouse's models show; None before the first build."""
    if not settings.warehouse.exists():
        return None
    with landing.connect(settings.warehouse) as connection:
        landing.ensure_tables(connection, "raw_crossfoot", [BUILDS])
        found = connection.execute("SELECT as_of, known_at, status FROM raw_crossfoot.builds").fetchone()
    return Built(found[0], found[1], found[2] == "complete") if found else None


def guard_blocks(night: Night) -> list[str]:
    """What makes this night too doubtful to write or publish anything; empty: nothing. What the guard sees is remembered."""
    models = built(night.settings)
    blocks = [] if models and models.complete else ["the models are not completely built; run `crossfoot build` and mend what it names"]
    blocks += ["a later night was heard already: this one is a replay, and the CRM is of today"] if is_past(night) else []
    if blocks:
        return blocks  # a night that is none of the newest, or has no numbers, is nothing to measure later ones against
    with open_journal(night.settings) as journal:
        return [one.sentence for one in guard.judge(night.settings, night.as_of, night.known_at, journal).blocks]


def date_blocks(night: Night) -> list[str]:
    """Why nothing of the night may be written although it may be shown: its business date is not the day that it was heard on."""
    if night.as_of == night.heard_on:
        return []
    when = "is past" if night.as_of < night.heard_on else "has not come yet"
    return [f"business date {night.as_of} {when} (the vendors were heard on {night.heard_on}): such a night is planned and shown, and "
            "never written; leave --as-of out to write"]


def need_writing(settings: Settings) -> None:
    """Raises ConfigurationError where write-back is off: then no command writes to a CRM."""
    if settings.get("writeback", "mode") == "off":
        raise ConfigurationError(["[writeback] mode is \"off\", and nothing is written to a CRM; set it to \"plan\" to apply a plan "
                                  "or to roll a run back"])


def connect_crms(settings: Settings, slugs: Sequence[str] | None = None) -> dict[str, Crm]:
    """These CRMs, or all that are configured, ready to read and to write. Raises as connect_crm."""
    return {slug: connect_crm(settings, slug) for slug in (settings.get("vendors", "crms") if slugs is None else slugs)}


def connect_crm(settings: Settings, slug: str) -> Crm:
    """One CRM, ready to read and to write. Raises OtherCompany, and errors of the CRM that is asked whose it is."""
    source = importlib.import_module(f"pipelines.vendors.{slug}.source")
    api = source.connect(settings)
    check_company(settings, slug, api)
    return importlib.import_module(f"pipelines.vendors.{slug}.crm").CRM(api)


def check_company(settings: Settings, slug: str, api: Any) -> None:
    """Raises OtherCompany where the source reaches another company than the warehouse's or the journal's, and OddAnswer."""
    if not VENDORS[slug].account:
        return
    with landing.documented(f"{slug}: account"):
        found = importlib.import_module(f"pipelines.vendors.{slug}.source").identity(api, settings)
    with open_journal(settings) as journal:
        Companies(settings, journal).check()
        Companies(settings, journal).check_source(slug, found)


def desired_records(settings: Settings, crms: Mapping[str, Crm]) -> Desired:
    """What the activation models want on the CRMs' records; nothing where they were not built to the end."""
    models = built(settings)
    if models is None or not models.complete:
        return Desired()  # some may not even exist; the guard says so and blocks the plan
    with landing.connect(settings.warehouse) as connection:
        return read_desired(connection, crms)


def make_plan(night: Night, crms: Mapping[str, Crm], blocks: Sequence[str]) -> tuple[Plan, Path]:
    """Compares the activation models with the CRMs as they are now, and saves the plan."""
    missing = [block for slug, crm in crms.items() for block in setup.blocks(slug, setup.missing(crm))]
    desired = desired_records(night.settings, crms)
    with open_journal(night.settings) as journal:
        plan = prepare_plan(
            desired.records, crms, journal, night.policy, as_of=night.as_of, leaving=desired.leaving,
            holder=Holder(free_run_id(night, journal, "plan")), now=night.now, guard_blocks=[*blocks, *date_blocks(night), *missing],
            on_progress=lambda done, total: night.on_progress("records compared", done, total),
        )
    return plan, save_plan(plan, night.settings.data_dir / "plans")


def apply_night(night: Night, plan: Plan, crms: Mapping[str, Crm]) -> ApplyResult:
    """Writes the plan that was just made. Raises BlockedPlan, LockHeld, ApplyStopped and errors of the CRM."""
    with open_journal(night.settings) as journal:
        run = Run(free_run_id(night, journal, "night"), "nightly", night.as_of, night.known_at)
        return apply_plan(plan, crms, journal, run, now=night.now, on_progress=_written(night))


def apply_saved(night: Night, path: Path) -> ApplyResult:
    """Writes what a saved and shown plan approved, as far as the CRM still is as it was. Raises as apply_night, and
    ConfigurationError where write-back is off."""
    need_writing(night.settings)
    approved = load_plan(path)
    crms = connect_crms(night.settings)
    desired = desired_records(night.settings, crms)
    with open_journal(night.settings) as journal:
        run = Run(free_run_id(night, journal, "apply"), "apply", night.as_of, night.known_at, approved_plan_id=approved.id)
        return apply_approved(
            approved, desired.records, crms, journal, night.policy, run, now=night.now, leaving=desired.leaving,
            guard_blocks=[*guard_blocks(night), *date_blocks(night)], on_progress=_written(night),
        )


def roll_back(night: Night, run_id: str) -> ApplyResult:
    """Undoes what a run wrote, as far as nobody changed it since. Raises as apply_saved, and JournalError.

    What a person approved may be taken back as a whole: the limit on the share of records holds for the other runs.
    """
    need_writing(night.settings)
    with open_journal(night.settings) as journal:
        approved = any(row["approved_plan_id"] for row in journal.runs_by_id([run_id]))
        policy = replace(night.policy, max_change_share=Decimal(1)) if approved else night.policy
        run = Run(free_run_id(night, journal, "rollback"), "rollback", night.as_of, night.known_at, rollback_of=run_id)
        return rollback(connect_crms(night.settings), journal, policy, run, now=night.now, on_progress=_written(night))


def free_run_id(night: Night, journal: Journal, kind: str) -> str:
    """A run id that says when and what, with a number where a night is run again."""
    base = f"{kind}-{night.known_at:%Y%m%dT%H%M%SZ}"
    for repeat in range(1, MAX_REPEATS):
        run_id = base if repeat == 1 else f"{base}-{repeat}"
        if not journal.runs_by_id([run_id]):
            return run_id
    raise BlockedPlan([f"{base} was run {MAX_REPEATS} times; give the next night a later --known-at"])


def _written(night: Night) -> Callable[[int, int], None]:
    return lambda done, total: night.on_progress("changes written", done, total)
