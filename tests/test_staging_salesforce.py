"""Salesforce's staging models on hand-made raw rows: which canonical rows they give, and what stops a night."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from dbt_fixture import PROJECT, messages_of
from raw_rows import RawRows
from staging_fixture import NIGHT, StagingNight

from pipelines.vendors import VENDORS

LEDGER = next(card.slug for card in VENDORS.values() if card.side == "ledger")


def day(text: str) -> date:
    return date.fromisoformat(text)


# One number of the two that a rate is quoted in.
RATE = "cast(rate / coalesce(rate_divisor, 1) as decimal(28,12))"


class Org(RawRows):
    """Raw Salesforce rows in the words of the tests below."""

    def add(self, table: str, **values: object) -> None:
        stamps = {"_landed_at": self.known_at, "_deleted": False}
        self._rows.append((table if "." in table else f"raw_salesforce.{table}", stamps | values))

    def stages(self) -> None:
        stages = [("Closed Won", True, True, 1), ("Closed Lost", True, False, 0), ("Id. Makers", False, False, "0.4")]
        for name, closed, won, share in stages:
            self.add("opportunity_stages", id=f"01J{name}", api_name=name, label=f"{name}!", is_active=True, is_closed=closed,
                     is_won=won, default_probability=share)  # fmt: skip

    def currencies(self) -> None:
        """Corporate USD; EUR at 0.8 for one USD, but 0.5 in April and 0.4 from May to June."""
        self.add("organization", id="00D", currency="USD", multicurrency=True)
        for code, rate in (("USD", 1), ("EUR", "0.8"), ("GBP", "0.64")):
            self.add("currency_types", id=f"01L{code}", iso_code=code, conversion_rate=rate, is_corporate=code == "USD", is_active=True)
        for start, end, rate in (("2026-04-01", "2026-05-01", "0.5"), ("2026-05-01", "2026-06-01", "0.4")):
            self.add("dated_conversion_rates", id=f"04w{start}", iso_code="EUR", conversion_rate=rate, start_date=day(start),
                     next_start_date=day(end))  # fmt: skip

    def deal(self, deal_id: str, **values: object) -> None:
        defaults: dict[str, object] = {
            "id": deal_id, "name": deal_id, "account_id": "acme", "owner_id": "olga", "stage_name": "Closed Won", "amount": 100,
            "close_date": day("2026-05-01"),
        }  # fmt: skip
        self.add("opportunities", **(defaults | values))


class Night(StagingNight):
    def __init__(self, folder: Path) -> None:
        self.org = Org(NIGHT)
        super().__init__(folder, "salesforce", self.org, crms=["salesforce"], ledgers=[])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    night = Night(tmp_path_factory.mktemp("salesforce"))
    org = night.org
    org.stages()
    org.currencies()
    accounts(org)
    deals(org)
    processes(org)
    lines(org)
    night.build(ledgers=[LEDGER])
    return night


def accounts(org: Org) -> None:
    org.add("accounts", id="acme", name="Acme", website="HTTPS://www.Acme.example:443/x", billing_email="pay@acme.example", state="OH",
            owner_id="olga", parent_id="", customer_ids="one:0000-58; Other: 60;61;", url="https://crm.example/acme")  # fmt: skip
    org.add("accounts", id="plain", name="Plain", website="plain.example", parent_id="acme")
    merges(org)
    org.add("contacts", id="carl", account_id="acme", email="carl@acme.example", first_name="Carl", last_name="C")
    org.add("accounts", id="ada", name="Ada Lovelace", person_email="ada@home.example")
    org.add("accounts", id="bea", name="Bea Both", person_email="bea@home.example", billing_email="books@bea.example")
    org.add("users", id="olga", email="olga@us.example", first_name="Olga", last_name="O", active=False)
    org.add("users", id="one_name", email="x@us.example", active=False)
    org.add("users", id="there", email="t@us.example", first_name="Tea", last_name="T", active=True)
    org.add("users", id="unsaid", email="u@us.example", first_name="Una", last_name="U")


# Who is gone, and into whom.
MERGED = (("south", "acme"), *((f"m{step}", f"m{step + 1}") for step in range(12)), ("m12", "acme"), ("round", "about"), ("about", "round"),
          ("own", "own"), ("lost", "nobody"), ("restored", "acme"), ("twice", "nobody"), ("twice", "plain"))  # fmt: skip


def merges(org: Org) -> None:
    """Chains, circles and an account that was restored. What names a merged account has not been moved by the vendor."""
    org.known_at = NIGHT - timedelta(days=2)
    for loser in dict.fromkeys(loser for loser, _ in MERGED):
        org.add("accounts", id=loser, name=loser, customer_ids=f"{LEDGER}:{loser}-1")
    org.add("accounts", id="plain", name="Plain", customer_ids=f"{LEDGER}:south-1")
    for step, (loser, survivor) in enumerate(MERGED):
        org.known_at = NIGHT - timedelta(days=1) + timedelta(minutes=step)
        org.add("accounts", id=loser, _deleted=True, merged_into=survivor)
    org.known_at = NIGHT
    org.add("accounts", id="restored", name="Back again")
    org.add("contacts", id="sue", account_id="south", email="sue@south.example")
    for account in ("m0", "round", "lost", "restored", "twice"):
        org.deal(f"of_{account}", account_id=account)
    org.add("accounts", id="child", name="Child", parent_id="m3")


def deals(org: Org) -> None:
    org.deal("won", probability=1, is_won=True, is_closed=True, record_type="New Business", invoice_numbers="INV-7, INV-8; INV-9")
    org.deal("by_stage", stage_name="Id. Makers")
    org.deal("lost_though_won", stage_name="Closed Won", is_won=False, is_closed=True, probability=0)
    org.deal("odd", stage_name="Gone Fishing")
    org.deal("staged_nowhere", stage_name=None)
    org.deal("deleted")
    org.add("opportunities", id="deleted", _deleted=True)
    for close in ("2026-03-31", "2026-04-01", "2026-04-30", "2026-05-01", "2026-06-01"):
        org.deal(f"euro_{close}", currency="EUR", close_date=day(close))
    org.deal("euro_undated", currency="EUR", close_date=None)
    org.deal("pound", currency="GBP")
    org.deal("yen", currency="JPY")


def processes(org: Org) -> None:
    """Opportunities of two record types, one of which was renamed since they were read."""
    org.known_at = NIGHT - timedelta(days=1)
    for kind, name in (("r1", "Renewals"), ("r2", "New Business")):
        org.add("record_types", id=kind, name=name)
    for deal, more in {"old": {"record_type_id": "r1", "record_type": "Renewals"}, "new": {"record_type_id": "r2"}, "none": {},
                       "open": {"record_type_id": "r1", "stage_name": "Id. Makers"},
                       "hidden": {"record_type_id": "r9", "record_type": "As it was read"}}.items():
        org.deal(f"process_{deal}", account_id="plain", **more)
    org.known_at = NIGHT
    org.add("record_types", id="r1", name="Extensions")


def lines(org: Org) -> None:
    org.add("products", id="01t", name="Consulting", product_code="CONS")
    given = {"opportunity_id": "won", "product_id": "01t", "name": "won Consulting", "quantity": 3, "unit_price": "33.33"}
    org.add("opportunity_lines", id="discounted", discount_percent=10, total_price="89.99", billing_frequency="Monthly",
            billing_periods=12, currency="EUR", **given)  # fmt: skip
    org.add("opportunity_lines", id="plain", total_price="99.99", product_code="OWN", billing_frequency="QUARTERLY", **given)
    org.add("opportunity_lines", id="yearly", total_price="99.99", billing_frequency=" annually ", **given)
    org.add("opportunity_lines", id="unpriced", **given)
    org.add("opportunity_lines", id="gone", total_price=1, **given)
    org.add("opportunity_lines", id="gone", _deleted=True)


def test_accounts_are_those_that_were_not_deleted(night: Night) -> None:
    rows = night.rows("select account_id, domain, email, region, owner_id, parent_id from staging.stg_salesforce__accounts "
                      "where account_id not in ('ada', 'bea') order by 1")
    assert rows == [
        ("acme", "acme.example", "pay@acme.example", "OH", "olga", None), ("child", None, None, None, None, "acme"),
        ("plain", "plain.example", None, None, None, "acme"), ("restored", None, None, None, None, None),
    ]  # fmt: skip
    rows = night.rows("select contact_id, account_id, email from staging.stg_salesforce__contacts order by 1")
    assert rows == [("carl", "acme", "carl@acme.example"), ("sue", "acme", "sue@south.example")]


def test_a_person_account_has_an_address_without_a_billing_one(night: Night) -> None:
    rows = night.rows("select account_id, name, email from staging.stg_salesforce__accounts where account_id in ('ada', 'bea') order by 1")
    assert rows == [("ada", "Ada Lovelace", "ada@home.example"), ("bea", "Bea Both", "books@bea.example")]


def test_an_owner_who_left_is_named_and_marked(night: Night) -> None:
    assert night.rows("select owner_id, first_name, last_name from staging.stg_salesforce__owners order by 1") == [
        ("olga", "Olga", "O (deactivated)"), ("one_name", None, "(deactivated)"), ("there", "Tea", "T"), ("unsaid", "Una", "U"),
    ]  # fmt: skip


def test_a_deals_pipeline_is_its_record_type_as_it_is_called_by_now(night: Night) -> None:
    """Two sales processes share stages: the list is the org's, and the record type tells them apart."""
    rows = night.rows("select deal_id, pipeline, stage, is_won from staging.stg_salesforce__deals where deal_id like 'process%' order by 1")
    assert rows == [
        ("process_hidden", "As it was read", "Closed Won!", True), ("process_new", "New Business", "Closed Won!", True),
        ("process_none", None, "Closed Won!", True), ("process_old", "Extensions", "Closed Won!", True),
        ("process_open", "Extensions", "Id. Makers!", False),
    ]  # fmt: skip


def test_what_names_a_merged_account_is_its_survivors(night: Night) -> None:
    rows = dict(night.rows("select merged_id, account_id from staging.stg_salesforce__account_merges"))
    assert rows == {"south": "acme", "twice": "plain", **{f"m{step}": "acme" for step in range(13)}}
    rows = night.rows("select deal_id, account_id from staging.stg_salesforce__deals where deal_id like 'of\\_%' escape '\\' order by 1")
    assert rows == [("of_lost", "lost"), ("of_m0", "acme"), ("of_restored", "restored"), ("of_round", "round"), ("of_twice", "plain")]
    rows = night.rows("select account_id, customer_id, stored_on from staging.stg_salesforce__account_customer_ids "
                      "where customer_id in ('south-1', 'm0-1', 'm12-1', 'lost-1', 'restored-1', 'twice-1') order by all")
    assert rows == [("acme", "m0-1", "m0"), ("acme", "m12-1", "m12"), ("acme", "south-1", "south"), ("plain", "twice-1", "twice")]


def test_customer_ids_name_their_ledger_or_mean_the_only_one(night: Night) -> None:
    rows = night.rows("select account_id, ledger, customer_id from staging.stg_salesforce__account_customer_ids "
                      "where stored_on is null order by 3")
    assert rows == [("acme", "one", "0000-58"), ("acme", "other", "60"), ("acme", LEDGER, "61")]


def test_a_deal_is_won_as_its_record_says_and_else_as_its_stage(night: Night) -> None:
    rows = night.rows("select deal_id, stage, is_won, is_closed, probability, pipeline from staging.stg_salesforce__deals "
                      "where currency = 'USD' and account_id = 'acme' and not starts_with(deal_id, 'of_') order by 1")
    assert rows == [
        ("by_stage", "Id. Makers!", False, False, Decimal("0.4"), None),
        ("lost_though_won", "Closed Won!", False, True, 0, None),
        ("odd", "unknown: Gone Fishing", False, False, None, None),
        ("staged_nowhere", "unknown: none", False, False, None, None),
        ("won", "Closed Won!", True, True, 1, "New Business"),
    ]  # fmt: skip


@pytest.mark.parametrize(("deal", "rate"), [
    ("won", "1"),
    ("euro_2026-03-31", "1.25"),
    ("euro_2026-04-01", "2"),
    ("euro_2026-04-30", "2"),
    ("euro_2026-05-01", "2.5"),
    ("euro_2026-06-01", "1.25"),
    ("euro_undated", "1.25"),
    ("pound", "1.5625"),
    ("yen", None),
])  # fmt: skip
def test_the_rate_is_that_of_the_close_and_else_the_currencys_own(night: Night, deal: str, rate: str | None) -> None:
    rows = night.rows(f"select {RATE} from staging.stg_salesforce__deals where deal_id = '{deal}'")
    assert rows == [(rate and Decimal(rate),)]


def test_rates_are_the_inverse_of_the_quotes(night: Night) -> None:
    rows = night.rows(f"select from_currency, to_currency, {RATE}, rate_date from staging.stg_salesforce__rates order by 1, 4")
    assert rows == [
        ("EUR", "USD", 2, day("2026-04-01")), ("EUR", "USD", Decimal("2.5"), day("2026-05-01")),
        ("EUR", "USD", Decimal("1.25"), None), ("GBP", "USD", Decimal("1.5625"), None),
    ]  # fmt: skip


def test_lines_are_what_they_cost_after_discount(night: Night) -> None:
    rows = night.rows("select line_id, deal_id, product_code, name, discount, amount, currency, billing_frequency, billing_periods "
                      "from staging.stg_salesforce__deal_lines order by 1")
    assert rows == [
        ("discounted", "won", "CONS", "Consulting", 10, Decimal("89.99"), "EUR", "monthly", 12),
        ("plain", "won", "OWN", "Consulting", 0, Decimal("99.99"), "USD", "quarterly", None),
        ("unpriced", "won", "CONS", "Consulting", None, None, "USD", None, None),
        ("yearly", "won", "CONS", "Consulting", 0, Decimal("99.99"), "USD", "annually", None),
    ]  # fmt: skip


def test_invoice_numbers_are_one_row_each(night: Night) -> None:
    rows = night.rows("select deal_id, document_number from staging.stg_salesforce__deal_invoice_references order by 2")
    assert rows == [("won", "INV-7"), ("won", "INV-8"), ("won", "INV-9")]


def test_an_org_with_one_currency_names_it_once(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.org.add("organization", id="00D", currency="GBP", multicurrency=False)
    night.org.deal("pound")
    night.org.add("opportunity_lines", id="line", opportunity_id="pound", quantity=1, unit_price=1, total_price=1)
    night.build(base_currency="GBP")
    assert night.rows("select stage, currency, rate from staging.stg_salesforce__deals") == [("Closed Won", "GBP", 1)]
    assert night.rows("select currency from staging.stg_salesforce__deal_lines") == [("GBP",)]
    night.build(base_currency="USD")
    assert night.rows("select currency, rate from staging.stg_salesforce__deals") == [("GBP", None)]
    assert night.rows("select * from staging.stg_salesforce__rates") == []


def test_a_quote_into_another_corporate_currency_is_no_rate_into_ours(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.org.currencies()
    night.org.deal("pound", currency="GBP")
    night.org.deal("euro", currency="EUR")
    night.build(base_currency="EUR")
    assert night.rows(f"select deal_id, {RATE} from staging.stg_salesforce__deals order by 1") == [("euro", 1), ("pound", None)]


def test_a_snapshot_that_landed_twice_counts_once_and_an_older_one_not(tmp_path: Path) -> None:
    night = Night(tmp_path)
    for moment in (NIGHT - timedelta(days=1), NIGHT, NIGHT):
        night.org.known_at = moment
        night.org.currencies()
        night.org.stages()
    night.org.known_at = NIGHT - timedelta(days=1)
    night.org.add("dated_conversion_rates", id="04wold", iso_code="EUR", conversion_rate=9, start_date=day("2026-05-02"))
    night.org.deal("euro", currency="EUR", close_date=day("2026-05-03"))
    night.build()
    assert night.rows(f"select deal_id, {RATE} from staging.stg_salesforce__deals") == [("euro", Decimal("2.5"))]
    assert len(night.rows("select * from staging.stg_salesforce__rates")) == 4


def test_the_unit_tests_of_the_models(night: Night) -> None:
    units = night.dbt("test", "--select", "path:models/staging/salesforce,test_type:unit", unit_tests=True)
    assert units.success, messages_of(units)
    assert len(units.result.results) > 0


def test_values_that_nobody_enumerated_are_problems_of_their_records(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.org.stages()
    night.org.deal("odd", stage_name="Gone Fishing")
    night.org.add("opportunity_lines", id="line", opportunity_id="odd", total_price=1, billing_frequency="Fortnightly")
    night.org.land(night.path)
    result = night.dbt("build", "--indirect-selection", "empty", "--select", "+assert_every_structure_is_known", "+int_deal_lines__unioned")
    assert result.success, messages_of(result)
    assert night.rows("select stage, problem from intermediate.int_deals__unioned") == [
        ("unknown: Gone Fishing", "stage: nobody enumerated Gone Fishing")]
    assert night.rows("select problem from intermediate.int_deal_lines__unioned") == [
        ("billing_frequency: nobody enumerated fortnightly",)]


def test_what_may_be_written_has_the_columns_of_every_crm() -> None:
    folders = sorted(path for path in (PROJECT / "models" / "activation").iterdir() if path.is_dir())
    contracts = {}
    for folder in folders:
        models = yaml.safe_load(next(folder.glob("*.yml")).read_text(encoding="utf-8"))["models"]
        contracts[folder.name] = sorted([[column["name"], column["data_type"]] for column in model["columns"]] for model in models)
    assert "salesforce" in contracts
    assert all(contract == contracts["salesforce"] for contract in contracts.values())
