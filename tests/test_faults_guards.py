"""Known faults of the guards, over one built first night: what must not be written, whatever the configuration says."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from extract_fixture import settings_at
from fake_crm import FREE
from night_fixture import FAST, House, command_here, first_night, house

from flows import show, when
from pipelines import acceptance, extract, settings
from pipelines import night as steps
from pipelines.http import BudgetSpent
from pipelines.landing import Job
from pipelines.outcome import Outcome
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import ACCOUNT_FIELDS
from pipelines.writeback.companies import Companies, OtherCompany
from pipelines.writeback.guarded import Block, Guarded, Memory
from pipelines.writeback.plan import BlockedPlan, DesiredRecord, WritebackPolicy, make_plan

COMPANIES = {("hubspot", "companies"): ACCOUNT_FIELDS}
REALM = next(secret.sandbox for secret in VENDORS["quickbooks"].secrets if secret.name == "realm_id")


@pytest.fixture
def at(tmp_path, tmp_path_factory):
    with house(tmp_path / "house", data=first_night(tmp_path_factory)) as made:
        made.forget()
        yield made


@pytest.fixture
def command(monkeypatch, capsys, at):
    monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, at.url)

    def run(*arguments: object) -> Any:
        return command_here(monkeypatch, capsys, "--config", at.settings.path, "--data-dir", at.data, *arguments)

    return run


# -- writeback/06: a business date that is not the day on which the vendors were heard


def moved(at: House, days: int) -> steps.Night:
    """The built night, as if it were about another day."""
    at.change("UPDATE raw_crossfoot.builds SET as_of = as_of + ?::INTEGER", days)
    return at.built_night()


def test_writeback_06_a_business_date_in_the_past_is_planned_and_never_written(at, command):
    _, honest = steps.make_plan(at.built_night(), at.crms, [])
    night, said = moved(at, -30), "business date 2026-05-31 is past (the vendors were heard on 2026-06-30)"
    plan, path = steps.make_plan(night, at.crms, steps.guard_blocks(night))
    assert plan.size > 900 and steps.guard_blocks(night) == [], "it is shown, and its marts may be published"
    (sentence,) = plan.guard_blocks
    assert sentence.startswith(said)
    with pytest.raises(BlockedPlan, match="is past"):
        steps.apply_night(night, plan, at.crms)
    for saved in (path, honest):
        ended = command("apply", saved)
        assert ended.code == 3 and said in ended.err
    assert at.writes() == []


@pytest.mark.parametrize(("profile", "zone", "known_at", "day"), [
    ("live", "UTC", datetime(2026, 7, 1, 2, tzinfo=UTC), date(2026, 7, 1)),
    ("live", "America/Los_Angeles", datetime(2026, 7, 1, 2, tzinfo=UTC), date(2026, 6, 30)),
    ("live", "Pacific/Auckland", datetime(2026, 6, 30, 14, tzinfo=UTC), date(2026, 7, 1)),
    ("sandbox", "Pacific/Auckland", datetime(2026, 6, 30, 22, tzinfo=UTC), date(2026, 6, 30)),
    ("sandbox", "UTC", datetime(2026, 7, 1, 21, 59, tzinfo=UTC), date(2026, 6, 30)),
])
def test_the_day_of_a_night_is_the_companys_or_the_sandboxs(tmp_path, profile, zone, known_at, day):
    path = tmp_path / "crossfoot.toml"
    path.write_text(f'profile = "{profile}"\n[company]\ntime_zone = "{zone}"\n', encoding="utf-8")
    chosen = settings.load(VENDORS, config=path, data_dir=tmp_path, environment={})
    assert steps.Night(chosen, day, known_at, when.now).heard_on == day
    assert steps.date_blocks(steps.Night(chosen, day, known_at, when.now)) == []
    for days, said in ((-1, "is past"), (1, "has not come yet")):
        (sentence,) = steps.date_blocks(steps.Night(chosen, day + timedelta(days=days), known_at, when.now))
        assert f"{said} (the vendors were heard on {day})" in sentence


def test_a_time_that_has_not_come_yet_is_no_night(tmp_path):
    path = tmp_path / "crossfoot.toml"
    path.write_text('profile = "live"\n', encoding="utf-8")
    chosen = settings.load(VENDORS, config=path, data_dir=tmp_path, environment={})
    for known_at in (f"{when.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}", "9999-12-31T00:00:00Z"):
        with pytest.raises(settings.ConfigurationError, match="which has not come yet; leave it out"):
            when.tonight(chosen, None, known_at)
    assert when.tonight(chosen, None, "2026-06-30T00:00:00Z").as_of == date(2026, 6, 30)


# -- write-back that is off


def test_with_write_back_off_no_command_writes(at, command):
    plan, path = steps.make_plan(at.built_night(), at.crms, [])
    written = steps.apply_saved(at.built_night(), path)
    at.forget()
    at.config = FAST + '[writeback]\nmode = "off"\n'
    for arguments in (("apply", path), ("rollback", written.run_id), ("run", "--apply")):
        ended = command(*arguments)
        assert ended.code == 2 and ended.err.startswith('crossfoot: [writeback] mode is "off"'), arguments
    assert at.writes() == []


# -- writeback/07: the share limit


def records(count: int, changed: int, billed: int, *, allowance: int = 2, field: str = "overdue_invoices", before: str | None = None,
            after: str = "1") -> tuple[str, ...]:
    """The limits' words on `count` records of which the first `billed` have invoices and the first `changed` change."""
    def values(place: int, wanted: bool) -> dict[str, str | None]:
        billing = {"last_invoice_date": "2026-05-01" if place < billed else None}
        return {one.name: None for one in ACCOUNT_FIELDS} | billing | {field: after if wanted and place < changed else before}

    desired = [DesiredRecord("hubspot", "companies", str(place), values(place, True)) for place in range(count)]
    live = {one.key: values(place, False) for place, one in enumerate(desired)}
    ours = {(*one.key, field): before for one in desired}
    policy = WritebackPolicy(max_change_share=Decimal("0.25"), change_allowance=allowance)
    return make_plan(desired, live, ours, COMPANIES, policy).limit_blocks


@pytest.mark.parametrize(("count", "changed", "billed", "allowance", "said"), [
    (9, 9, 0, 2, "9 of 9 hubspot companies would change (100 %)"),
    (3, 3, 0, 2, "3 of 3 hubspot companies would change (100 %)"),
    (2, 2, 0, 2, None),
    (2, 2, 0, 1, "2 of 2 hubspot companies would change (100 %)"),
    (9, 9, 0, 9, None),
    (100, 25, 0, 2, None),
    (100, 26, 0, 2, "26 of 100 hubspot companies would change (26 %)"),
    (1000, 40, 44, 2, "40 of 44 hubspot companies with invoices would change (91 %)"),
    (1000, 11, 44, 2, None),
    (1000, 12, 44, 2, "12 of 44 hubspot companies with invoices would change (27 %)"),
])
def test_writeback_07_the_share_holds_for_few_records_and_is_not_diluted_by_prospects(count, changed, billed, allowance, said):
    blocks = records(count, changed, billed, allowance=allowance)
    assert [one.partition(",")[0] for one in blocks] == ([said] if said else [])


def test_an_account_that_loses_its_invoices_counts_by_what_the_crm_holds():
    live = {one: {field.name: None for field in ACCOUNT_FIELDS} | {"last_invoice_date": "2026-05-01", "invoiced_to_date": "100"}
            for one in (("hubspot", "companies", str(place)) for place in range(5))}
    ours = {(*key, name): value for key, values in live.items() for name, value in values.items()}
    prospects = {("hubspot", "companies", f"p{place}"): {field.name: None for field in ACCOUNT_FIELDS} for place in range(500)}
    desired = [DesiredRecord(*key, {field.name: None for field in ACCOUNT_FIELDS}) for key in (*live, *prospects)]
    (block,) = make_plan(desired, live | prospects, ours, COMPANIES, FREE_OF_NOTHING).limit_blocks
    assert block.startswith("5 of 5 hubspot companies with invoices would change (100 %)")


FREE_OF_NOTHING = dataclasses.replace(FREE, max_change_share=Decimal("0.25"))


@pytest.mark.parametrize(("before", "after", "counts"), [("3", "4", False), (None, "4", True), ("3", None, True), ("0", "1", True)])
def test_a_day_more_overdue_is_no_change_to_approve(before, after, counts):
    assert bool(records(9, 9, 9, field="days_overdue", before=before, after=after)) is counts


# -- a blocked night that somebody accepts


def test_a_night_is_accepted_by_name_and_that_is_shown(at, command):
    night = at.built_night()
    doubts = (Block("fell", "quickbooks", "invoices", "quickbooks: invoices fell from 77 to 61 records"),)
    with steps.open_journal(at.settings) as journal:
        Memory(at.settings.warehouse, journal).record(Guarded(night.known_at, night.as_of, {}, doubts))
    name = Guarded(night.known_at, night.as_of, {}).name
    for arguments, said in (((name, "--by", "Ada"), "--why missing"), ((name, "--why", "x"), "--by missing"),
                            (("2026-01-01", "--by", "Ada", "--why", "x"), f"no blocked night is called '2026-01-01'; blocked and not "
                                                                          f"accepted: {name} (2026-06-30)")):
        refused = command("accept", *arguments)
        assert refused.code == 2 and len(refused.err.splitlines()) == 1 and said in refused.err
    done = command("--json", "accept", name, "--by", "Ada", "--why", "the old project is closed")
    assert done.code == 0 and done.json["blocks"] == [] and done.json["accepted"] == [doubts[0].sentence]
    assert (done.json["accepted_by"], done.json["reason"], done.json["night"]) == ("Ada", "the old project is closed", name)
    again = command("accept", name, "--by", "Ada", "--why", "x")
    assert again.code == 2 and again.err.endswith("blocked and not accepted: none\n")
    (row,) = command("--json", "status").json["accepted"]
    assert (row["accepted_by"], row["reason"], row["as_of"]) == ("Ada", "the old project is closed", "2026-06-30")
    assert "the old project is closed" in command("status").out
    (said,) = acceptance.resting_on(night)
    ended = Outcome(night.as_of, night.known_at, "plan", "complete", "There is nothing to write.", accepted=(said,))
    assert said.startswith("Ada accepted the night of 2026-06-30")
    assert said in show.outcome(ended) and ended.document()["accepted"] == [said]


# -- whose company it is


def other(at: House, source: str) -> None:
    """The house's memory, as if it were of another company."""
    at.change("UPDATE raw_crossfoot.companies SET id = '999', name = 'Other Ltd' WHERE source = ?", source)


@pytest.mark.parametrize(("source", "word", "found"), [
    ("hubspot", "portal", "4711001"), ("quickbooks", "company", f"{REALM} (Northwind Sample Co)")])
def test_another_company_is_refused_with_both_names_before_anything_lands(at, source, word, found):
    other(at, source)
    rows = at.rows("SELECT count(*) AS rows FROM raw_crossfoot.loads")
    at.advance()
    with pytest.raises(OtherCompany) as refused:
        steps.extract_vendor(when.tonight(at.settings), source)
    said = str(refused.value)
    assert f"{source} now reaches {source} {word} {found.partition(' (')[0]}" in said and f"holds {source} {word} 999 (Other Ltd)" in said
    assert at.rows("SELECT count(*) AS rows FROM raw_crossfoot.loads") == rows


def test_nothing_is_planned_or_written_for_another_portal(at, command):
    _, path = steps.make_plan(at.built_night(), at.crms, [])
    other(at, "hubspot")
    for arguments in (("plan",), ("apply", path)):
        ended = command(*arguments)
        assert ended.code == 3 and "portal 999 (Other Ltd)" in ended.err
    assert at.writes() == []
    named = command("doctor")
    assert named.code == 1 and "portal 999 (Other Ltd)" in named.out


def test_another_base_currency_is_refused(at):
    at.config = FAST + '[company]\nbase_currency = "EUR"\n'
    for step in (lambda: steps.build(at.built_night()), lambda: at.crms,
                 lambda: steps.extract_vendor(dataclasses.replace(at.built_night(), known_at=when.now()), "hubspot")):
        with pytest.raises(OtherCompany, match=r"base_currency is EUR and .* was built in USD: set it to USD"):
            step()


def test_where_no_calls_are_left_nobody_is_asked_and_nobody_refused():
    class Spent:
        @staticmethod
        def identity(api, chosen):
            raise BudgetSpent("no more calls")

    job = Job(None, None, date(2026, 6, 30), when.now(), {}, lambda table: set())
    assert extract._identity("hubspot", Spent, job) is None and extract._identity("ecb", Spent, job) == {}


class Places:
    """A warehouse and a journal with nothing in them but what they know of their company."""

    def __init__(self, folder):
        self.settings = settings_at("http://127.0.0.1:9", folder)

    def __enter__(self) -> Companies:
        self._journal = steps.open_journal(self.settings)
        return Companies(self.settings, self._journal.__enter__())

    def __exit__(self, *error: object) -> None:
        self._journal.__exit__(*error)


def test_a_journal_of_another_company_is_refused_with_both_names(tmp_path):
    with Places(tmp_path) as companies:
        companies._keep_in_warehouse("xero", {"t-1": "Acme Ltd"})
        companies._keep_in_journal("xero", {"t-2": "Beta Inc"})
        with pytest.raises(OtherCompany, match=r"organisation t-1 \(Acme Ltd\) and the journal is of xero organisation t-2 \(Beta Inc\)"):
            companies.check()


def test_a_warehouse_that_is_deleted_leaves_the_journal_to_know_the_company(tmp_path):
    with Places(tmp_path) as companies:
        companies.keep("hubspot", {"1": ""})
        companies.settings.warehouse.unlink()
        with pytest.raises(OtherCompany, match="hubspot now reaches hubspot portal 2 and the journal holds hubspot portal 1"):
            companies.check_source("hubspot", {"2": ""})


def test_an_organisation_more_is_none_too_many_and_one_less_is(tmp_path):
    with Places(tmp_path) as companies:
        companies.keep("xero", {"t-1": "Acme Ltd"})
        companies.check_source("xero", {"t-1": "Acme Limited", "t-2": "Acme Trading"})
        companies.keep("xero", {"t-1": "Acme Limited", "t-2": "Acme Trading"})
        with pytest.raises(OtherCompany, match=r"now reaches xero organisation t-1 \(Acme Limited\) and .* holds xero organisation t-2"):
            companies.check_source("xero", {"t-1": "Acme Limited"})
        companies.settings.warehouse.unlink()
        companies.check_source("xero", {"t-1": "Acme Limited"})


@pytest.mark.parametrize("slug", [slug for slug, card in VENDORS.items() if card.account])
def test_every_source_with_accounts_says_whose_it_reaches(at, slug):
    source = __import__(f"pipelines.vendors.{slug}.source", fromlist=["source"])
    with steps.open_journal(at.settings) as journal:
        (found,) = source.identity(source.connect(at.settings, steps.Tokens(journal, when.now)), at.settings).items()
    assert found[0] and (found[1] or slug == "hubspot"), "a portal's details have no name"
