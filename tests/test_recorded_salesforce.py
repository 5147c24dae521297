"""Answers that were recorded from live orgs, through the source's own functions: records become rows without a special case,
and a recorded describe decides which fields are asked for."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines import settings
from pipelines.http import Api, ApiError, Response
from pipelines.landing import Job, batches
from pipelines.vendors import VENDORS
from pipelines.vendors.salesforce import CARD, source, source_query, source_rows

FOLDER = Path(__file__).parents[1].parent / "shared" / "recorded" / "salesforce"
KINDS = {kind.name: kind for kind in source_rows.KINDS}
DAY = date(2026, 6, 30)


@pytest.fixture
def job(tmp_path) -> Job:
    (tmp_path / "crossfoot.toml").write_text('profile = "sandbox"\n[vendors]\ncrms = ["salesforce"]\n', encoding="utf-8")
    chosen = settings.load({**VENDORS, CARD.slug: CARD}, config=tmp_path / "crossfoot.toml", data_dir=tmp_path, environment={})
    return Job(Api("https://acme.my.salesforce.com", vendor="salesforce"), chosen, DAY, None, {}, lambda table: set())


@pytest.fixture(scope="module")
def exchanges() -> list[dict[str, Any]]:
    files = sorted(FOLDER.glob("export-*.json"))
    if not files:
        pytest.skip(f"no recordings at {FOLDER}")
    return [one for path in files for one in json.loads(path.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def opportunity() -> dict[str, dict[str, Any]]:
    path = FOLDER / "describe_Opportunity_cumulusci.json"
    if not path.exists():
        pytest.skip(f"no recording at {path}")
    return {field["name"]: field for field in json.loads(path.read_text(encoding="utf-8"))["fields"]}


def queries(exchanges: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Answered queries that ask for the id, as every query of the source does."""
    for one in exchanges:
        if one["path"].endswith("/query") and one["status"] == 200 and all("Id" in item for item in one["response"]["records"]):
            yield one


def test_recorded_records_load_as_rows(job, exchanges):
    """Every recorded account and contact, whichever of its fields were asked for."""
    loaded = dict.fromkeys(("Account", "Contact"), 0)
    for exchange in queries(exchanges):
        for item in source_query.distinct(exchange["response"]["records"]):
            kind = KINDS.get(item["attributes"]["type"])
            if kind is None:
                continue
            row = kind.row_of(item, job)
            assert row["id"] == item["Id"] and row["_problem"] is None
            assert set(row) == {*source.TABLES[kind.table].columns, "_problem"}
            assert row.get("email") == item.get("Email")
            loaded[kind.name] += 1
    assert loaded["Account"] > 100 and loaded["Contact"] > 20


def test_recorded_answers_read_as_pages(exchanges):
    """The reader takes the recorded answers as they are: their end, their total and the vendor's time."""
    for exchange in queries(exchanges):
        answer = Response(200, exchange["headers"], json.dumps(exchange["response"]))
        fake = type("Recorded", (), {"get": lambda self, *args, answer=answer, **options: answer})()
        assert list(source_query.pages(fake, "query", "SELECT Id FROM Account", "Account")) == [answer]
        assert exchange["response"]["totalSize"] == len(exchange["response"]["records"])


def test_the_vendors_time_of_a_recorded_answer_is_the_next_cursor(job, exchanges):
    exchange = next(one for one in queries(exchanges) if one["headers"]["Date"] == "Fri, 03 Dec 2021 18:19:14 GMT")
    answer = Response(200, exchange["headers"], "{}")
    assert source_query.time_before(answer, job) == "2021-12-03T18:17:14.000Z"


def test_a_recorded_describe_drives_the_fields_of_an_org_with_one_currency(job, opportunity):
    """The described org has no other currency, no record types and none of the custom fields."""
    fields = source.selected(KINDS["Opportunity"], opportunity, job)
    assert fields == [
        "Id", "SystemModstamp", "IsDeleted", "Name", "AccountId", "OwnerId", "StageName", "Amount", "CloseDate", "Probability",
        "IsWon", "IsClosed", "Type",
    ]  # fmt: skip
    assert "CurrencyIsoCode" not in source_query.changed_query("Opportunity", fields, "")


def test_a_recorded_describe_with_several_currencies_and_record_types_asks_for_them(job, opportunity):
    more = {name: {"name": name, "calculated": False} for name in ("CurrencyIsoCode", "RecordTypeId", "Payment_Terms__c")}
    fields = source.selected(KINDS["Opportunity"], {**opportunity, **more}, job)
    assert {"CurrencyIsoCode", "RecordTypeId", "RecordType.Name", "Payment_Terms__c"} <= set(fields)


def test_recorded_describes_of_other_objects_drive_their_fields(job, exchanges):
    found = {}
    for exchange in exchanges:
        name = exchange["path"].split("/")[-2]
        if exchange["path"].endswith("/describe") and name in KINDS:
            found[name] = source.selected(KINDS[name], {field["name"]: field for field in exchange["response"]["fields"]}, job)
    assert found.keys() == {"Account", "Contact"}
    assert {"MasterRecordId", "BillingCountry", "Website"} <= set(found["Account"]) and "BillingAddress" not in found["Account"]
    assert found["Contact"] == ["Id", "SystemModstamp", "IsDeleted", "MasterRecordId", "AccountId", "Email", "FirstName", "LastName"]


def test_a_recorded_stage_name_and_deal_name_stand_as_they_are(job):
    item = {"Id": "0064S000001pIx9QAE", "Name": "Acme | renewal, 2 years", "StageName": "Id. Decision Makers", "Amount": None}
    row = KINDS["Opportunity"].row_of(item, job)
    assert (row["name"], row["stage_name"], row["amount"]) == ("Acme | renewal, 2 years", "Id. Decision Makers", None)
    list(batches(job, [source.TABLES["opportunities"]], [("opportunities", [row])]))


def test_a_recorded_refusal_gives_its_code(exchanges):
    refused = [one for one in exchanges if one["status"] == 404]
    assert refused
    assert {frozenset(source_query.codes(ApiError(404, one["response"], "GET"))) for one in refused} == {frozenset({"NOT_FOUND"})}
