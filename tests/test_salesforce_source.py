"""Salesforce's source: bulk results and pages as rows, queries, the org, configuration, doctor and forecast."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import pytest
from extract_fixture import DAY, NIGHT
from salesforce_org_fixture import ACCOUNT, NOW, OPPORTUNITY, START, Nights, Org, accounts, described_fields, settings_with

from pipelines.landing import Job, batches
from pipelines.vendors.salesforce import CARD, source, source_bulk, source_query, source_rows
from pipelines.vendors.salesforce.sandbox_soql import stamp


@pytest.fixture
def org() -> Org:
    return Org()


@pytest.fixture
def nights(org, tmp_path) -> Nights:
    return Nights(org, settings_with(tmp_path))


# --- Bulk


def rich_opportunities(org: Org) -> None:
    """Opportunities with everything that two formats could write differently."""
    org.fields["Opportunity"]["RecordTypeId"] = {"name": "RecordTypeId", "calculated": False}
    for n in range(1, 36):
        org.put(
            "Opportunity", n, START + timedelta(seconds=n // 9), Name=f'Deal, "{n}"\nnext line | é',
            Amount=None if n % 5 == 0 else n * 1.25, CloseDate="2026-05-01", Probability=n, IsWon=n % 2 == 0,
            IsClosed=True, StageName="Proposal/Price Quote", CurrencyIsoCode="EUR",
            RecordType={"attributes": {}, "Name": "Renewal"} if n % 3 else None, IsDeleted=n == 7,
        )  # fmt: skip


def test_bulk_gives_the_rows_of_rest(org, nights, tmp_path, monkeypatch):
    monkeypatch.setattr(source_bulk, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "bulk": 8}))
    rich_opportunities(org)
    by_page = nights.run(OPPORTUNITY)["opportunities"]
    bulk = Nights(Org(fields=org.fields), settings_with(tmp_path / "bulk", "bulk_threshold = 20\n"))
    bulk.org.records = org.records
    by_job = bulk.run(OPPORTUNITY)["opportunities"]
    assert sorted(by_job, key=lambda row: row["id"]) == sorted(by_page, key=lambda row: row["id"]) and len(by_job) == 35
    assert {row.get("record_type") for row in by_job} == {None, "Renewal"}
    assert bulk.org.calls["Opportunity bulk"] == 1 + 1 + 5 and bulk.org.calls["Opportunity"] == 1
    assert bulk.cursors == nights.cursors
    (body,) = map(json.loads, bulk.org.jobs.values())
    assert body["operation"] == "queryAll" and "ORDER BY" not in body["query"]


def test_a_night_that_is_cut_off_in_bulk_starts_it_again(org, tmp_path, monkeypatch):
    monkeypatch.setattr(source_bulk, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "bulk": 8}))
    rich_opportunities(org)
    nights = Nights(org, settings_with(tmp_path, "bulk_threshold = 20\n"))
    org.budget = 11
    nights.run(OPPORTUNITY)
    assert nights.spent and "Opportunity" not in nights.cursors
    org.budget = 10_000
    nights.run(OPPORTUNITY)
    assert len(nights.alive("opportunities")) == 34


def test_a_job_is_waited_for_with_longer_and_longer_pauses(org, tmp_path):
    rich_opportunities(org)
    org.job_states = ["UploadComplete"] + ["InProgress"] * 7
    Nights(org, settings_with(tmp_path, "bulk_threshold = 20\n")).run(OPPORTUNITY)
    assert org.waited == [1, 2, 4, 8, 16, 32, 32, 32]


@pytest.mark.parametrize("state", ["Failed", "Aborted"])
def test_a_job_that_ends_otherwise_is_named(org, state):
    org.job_states = [state]
    with pytest.raises(RuntimeError, match=rf"bulk job 75\d+ \(Account\) ended as {state}: why; run again later, or raise"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_a_job_that_never_ends_is_given_up(org, monkeypatch):
    monkeypatch.setattr(source_bulk, "MAX_POLLS", 3)
    org.job_states = ["InProgress"] * 5
    with pytest.raises(RuntimeError, match="not complete after 3 looks"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_sets_that_end_early_are_an_error(org):
    accounts(org, 5)
    org.results = [("Id\n1\n2\n", "MTA"), ("Id\n3\n", "null")]
    with pytest.raises(RuntimeError, match="gave 3 records, not 5"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_a_set_that_comes_again_is_an_error(org):
    org.results = [("Id\n1\n", "MTA")] * 5
    with pytest.raises(RuntimeError, match="repeats a set of results"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_results_that_miss_records_are_an_error(org):
    accounts(org, 5)
    org.short = 1
    with pytest.raises(RuntimeError, match="gave 4 records, not 5"):
        list(source_bulk.bulk_records(org, "query", "SELECT Id FROM Account", "Account"))


def test_a_line_of_results_that_is_cut_off_is_an_error():
    with pytest.raises(RuntimeError, match="line 3 of the bulk results of Account has 1 cells, not 2"):
        source_bulk.csv_records("Id,Name\n001,Acme\n002\n", "Account")


def test_an_empty_cell_is_null_and_a_parents_field_is_inside():
    text = '\ufeff"Id","Name","RecordType.Name"\n"1","null","Renewal"\n"2","",""\n'
    assert source_bulk.csv_records(text, "Opportunity") == [
        {"Id": "1", "Name": "null", "RecordType": {"Name": "Renewal"}}, {"Id": "2", "Name": None, "RecordType": None},
    ]  # fmt: skip



# --- Rows


def job_of(tmp_path: Path, more: str = "") -> Job:
    return Job(Org(), settings_with(tmp_path, more), DAY, NIGHT, {}, lambda table: set())


def test_an_opportunity_as_rest_writes_it(tmp_path):
    text = """{"attributes": {"type": "Opportunity", "url": "/x"}, "Id": "006000000000001AAA", "Name": "Acme | 10 seats, yearly",
        "AccountId": "001000000000001AAA", "OwnerId": "005000000000001AAA", "RecordTypeId": "012000000000001AAA",
        "RecordType": {"attributes": {}, "Name": "Renewal"}, "StageName": "Id. Decision Makers", "Amount": 1234.57,
        "CurrencyIsoCode": "EUR", "CloseDate": "2026-05-31", "Probability": 62.5, "IsWon": false, "IsClosed": false,
        "Type": null, "Contract_Start__c": "2026-06-01", "SystemModstamp": "2026-05-02T10:00:00.000+0000"}"""
    row = source_rows.opportunity_row(json.loads(text, parse_float=Decimal), job_of(tmp_path))
    assert row == {
        "id": "006000000000001AAA", "name": "Acme | 10 seats, yearly", "account_id": "001000000000001AAA",
        "owner_id": "005000000000001AAA", "record_type_id": "012000000000001AAA", "record_type": "Renewal",
        "stage_name": "Id. Decision Makers", "amount": Decimal("1234.57"), "currency": "EUR",
        "close_date": date(2026, 5, 31), "probability": Decimal("0.625"),
        "is_won": False, "is_closed": False, "deal_type": None, "payment_terms": None, "contract_start": date(2026, 6, 1),
        "contract_end": None, "invoice_numbers": None, "url": "https://acme.my.salesforce.com/006000000000001AAA",
        "modified_at": datetime(2026, 5, 2, 10, tzinfo=UTC), "_problem": None,
    }  # fmt: skip


@pytest.mark.parametrize("amount", ["12,50 EUR", True, "NaN", "1e40", [1]])
def test_an_amount_that_is_none_is_named_and_the_rest_of_the_row_stands(tmp_path, amount):
    row = source_rows.opportunity_row({"Id": "006000000000001AAA", "Name": "Deal", "Amount": amount}, job_of(tmp_path))
    assert row["amount"] is None and row["name"] == "Deal" and row["_problem"].startswith("Amount: ")


def test_a_garbage_amount_stops_no_other_record(org, nights):
    for n, amount in enumerate(["1.10", "garbage", 3], 1):
        org.put("Opportunity", n, Name=f"Deal {n}", Amount=amount)
    rows = nights.run(OPPORTUNITY)["opportunities"]
    assert [(row["amount"], bool(row["_problem"])) for row in rows] == [(Decimal("1.10"), False), (None, True), (Decimal(3), False)]


@pytest.mark.parametrize(("percentage", "share"), [(0, "0"), (75, "0.75"), (1000, "10"), ("33.333", "0.33333"), (None, None)])
def test_a_percentage_becomes_a_share(tmp_path, percentage, share):
    row = source_rows.opportunity_row({"Id": "1", "Probability": percentage}, job_of(tmp_path))
    assert row["probability"] == (None if share is None else Decimal(share)) and row["_problem"] is None


def test_a_percentage_beyond_reason_is_named(tmp_path):
    row = source_rows.stage_row({"Id": "1", "DefaultProbability": 10_000_000})
    assert row["default_probability"] is None and "not a percentage" in row["_problem"]


def test_a_line_keeps_its_discount_percentage_and_billing(tmp_path):
    item = {"Id": "1", "OpportunityId": "2", "Quantity": Decimal("3.00"), "UnitPrice": 100, "Discount": Decimal("12.5"),
            "TotalPrice": Decimal("262.50"), "Billing_Frequency__c": "monthly", "Billing_Start__c": "2026-01-01",
            "Billing_Periods__c": Decimal("12.0")}  # fmt: skip
    row = source_rows.opportunity_line_row(item, job_of(tmp_path))
    assert (row["discount_percent"], row["total_price"], row["billing_periods"]) == (Decimal("12.5"), Decimal("262.5"), 12)
    assert row["billing_start"] == date(2026, 1, 1) and row["_problem"] is None


def test_every_row_fits_its_table(org, nights):
    """The rows of all objects become Arrow tables, which refuse a column or a type that was not declared."""
    for name in ("Account", "Contact", "User", "Opportunity", "OpportunityLineItem", "Product2"):
        org.put(name, 1, IsActive=True)
    org.put("OpportunityStage", 1, ApiName="Won", DefaultProbability=100)
    org.put("RecordType", 1, Name="Renewals")
    org.put("CurrencyType", 1, IsoCode="USD", IsCorporate=True, ConversionRate=1)
    org.put("DatedConversionRate", 1, IsoCode="EUR", ConversionRate=0.923456, StartDate="2026-01-01")
    rows = nights.run()
    job = nights.job()
    for name, found in rows.items():
        assert found, name
        assert set(found[0]) - {"_problem"} == set(source.TABLES[name].columns), name
        list(batches(job, [source.TABLES[name]], [(name, found)]))



# --- Stages, record types, person accounts


def test_a_stage_that_is_made_while_opportunities_are_read_is_asked_for_again(org, nights):
    org.put("OpportunityStage", 1, ApiName="Won")
    org.put("Opportunity", 1, StageName="Won")
    nights.run()
    assert [row["api_name"] for row in nights.rows["opportunity_stages"]] == ["Won"]
    org.put("Opportunity", 2, NOW, StageName="Made meanwhile")
    org.put("Opportunity", 3, NOW, StageName="In no list")
    org.on_query = lambda one: "FROM Opportunity " in one.queries[-1] and one.put("OpportunityStage", 2, ApiName="Made meanwhile")
    asked = org.calls["OpportunityStage"]
    nights.run()
    assert [row["api_name"] for row in nights.rows["opportunity_stages"]] == ["Won", "Won", "Made meanwhile"]
    assert org.calls["OpportunityStage"] == asked + 2
    assert [row["stage_name"] for row in nights.rows["opportunities"]] == ["Made meanwhile", "In no list"]


def test_a_record_type_is_read_by_id_and_its_new_name_is_noticed(nights, org):
    org.fields = described_fields("record types")
    kind = org.put("RecordType", 1, Name="Renewals")
    org.put("Opportunity", 1, RecordTypeId=kind, RecordType={"Name": "Renewals"})
    rows = nights.run()
    assert [(row["record_type_id"], row["record_type"]) for row in rows["opportunities"]] == [(kind, "Renewals")]
    org.change("RecordType", 1, Name="Extensions")
    rows = nights.run(OPPORTUNITY)
    assert [row["name"] for row in rows["record_types"]] == ["Extensions"] and rows["opportunities"] == []


def test_an_org_without_person_accounts_is_not_asked_for_their_fields(nights, org):
    org.put("Account", 1, Name="Acme")
    (row,) = nights.run(ACCOUNT)["accounts"]
    assert row["person_email"] is None and not any("Person" in query for query in org.queries)


def test_a_person_account_has_its_own_address(nights, org):
    org.fields = described_fields("person accounts")
    org.put("Account", 1, Name="Ada Lovelace", FirstName="Ada", LastName="Lovelace", PersonEmail="ada@home.example", IsPersonAccount=True)
    (row,) = nights.run(ACCOUNT)["accounts"]
    assert (row["name"], row["person_email"], row["_problem"]) == ("Ada Lovelace", "ada@home.example", None)


def test_what_the_total_of_a_recurring_product_is_of_lands_with_the_org(org, nights, tmp_path):
    assert nights.run()["organization"][0]["recurring_total"] == "term"
    other = Nights(org, settings_with(tmp_path / "other", 'recurring_total = "period"'))
    assert other.run()["organization"][0]["recurring_total"] == "period"



# --- The org


def test_an_org_with_several_currencies_says_its_corporate_one_and_its_rates(org, nights):
    org.put("CurrencyType", 1, IsoCode="EUR", IsCorporate=False, IsActive=True, ConversionRate=0.92)
    org.put("CurrencyType", 2, IsoCode="CHF", IsCorporate=True, IsActive=True, ConversionRate=1)
    org.put("DatedConversionRate", 1, IsoCode="EUR", ConversionRate=0.925, StartDate="2026-01-01", NextStartDate="2026-02-01")
    rows = nights.run()
    assert [(row["currency"], row["multicurrency"]) for row in rows["organization"]] == [("CHF", True)]
    assert [row["conversion_rate"] for row in rows["currency_types"]] == [Decimal("0.92"), Decimal(1)]
    assert [row["next_start_date"] for row in rows["dated_conversion_rates"]] == [date(2026, 2, 1)]


def test_an_org_with_one_currency_is_asked_for_no_other(tmp_path):
    org = Org(fields={**described_fields(currencies=False), "Organization": described_fields()["Organization"]})
    org.put("Account", 1, Name="Acme")
    nights = Nights(org, settings_with(tmp_path))
    rows = nights.run()
    assert [(row["currency"], row["multicurrency"]) for row in rows["organization"]] == [("USD", False)]
    assert rows["accounts"][0]["currency"] is None and rows["currency_types"] == []
    assert not any("CurrencyIsoCode" in query for query in org.queries if "Organization" not in query)
    assert not any(name in query for query in org.queries for name in ("CurrencyType", "DatedConversionRate"))


def test_an_org_that_does_not_say_its_currency_is_noted(tmp_path):
    org = Org()
    org.fields = described_fields(currencies=False)
    nights = Nights(org, settings_with(tmp_path))
    assert nights.run()["organization"][0]["currency"] is None
    assert any("does not say its currency: taken as USD" in note for note in nights.notes)



# --- Queries and addresses


def test_the_longest_query_fits_into_an_address(tmp_path):
    """16,384 bytes for the address and the headers; a session id takes some 200 of them."""
    long = {name: f"{'X' * 37}{n}__c" for n, name in enumerate(sorted(s.key for s in CARD.settings if s.key.endswith("_field")))}
    more = "".join(f'{name} = "{value}"\n' for name, value in long.items())
    job = job_of(tmp_path, more)
    for kind in source_rows.KINDS:
        chosen = ["Id", "SystemModstamp", *kind.fields(job.settings.values["salesforce"]).values()]
        listed = ", ".join(["'001000000000001AAA'"] * source_query.IDS_A_QUERY)
        assert len(quote(f"SELECT {', '.join(chosen)} FROM {kind.name} WHERE Id IN ({listed})")) < 14_000


def test_ids_that_are_none_are_never_written_into_a_query(org, nights):
    """Such a record lands, is not asked for, and so never counts as deleted either."""
    first, *_ = accounts(org, 12)
    odd = "x' OR Name != '"
    org.records["Account"][odd] = {**org.records["Account"][first], "Id": odd, "SystemModstamp": stamp(NOW)}
    org.lose = set(range(1, 40))
    nights.run(ACCOUNT)
    assert odd in nights.alive("accounts")
    org.records["Account"].pop(odd)
    org.log["Account"] = [odd]
    nights.run(ACCOUNT)
    assert odd in nights.alive("accounts") and not any("OR Name" in query for query in org.queries)


def test_a_record_without_a_readable_stamp_is_a_row_with_a_problem(org, nights):
    accounts(org, 2)
    org.change("Account", 2, SystemModstamp="soon")
    rows = nights.run(ACCOUNT)["accounts"]
    assert rows[1]["modified_at"] is None and "SystemModstamp" in rows[1]["_problem"]
