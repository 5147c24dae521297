"""Salesforce's sandbox over real HTTP: SOQL, paging, bulk jobs, collections, setup, deletions, sign-in, and recorded exchanges."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sandbox_fixture import Ticker, control, running_sandbox

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.world import World, make_world
from pipelines.vendors.salesforce.sandbox import Sandbox
from pipelines.vendors.salesforce.sandbox_people import compute
from pipelines.vendors.salesforce.sandbox_schema import as_id, full_id
from pipelines.vendors.salesforce.sandbox_soql import BadQuery, parse
from pipelines.vendors.salesforce.sandbox_state import Org

DATA = "/services/data/v68.0"
RECORDED = Path(__file__).parents[1].parent / "shared" / "recorded" / "salesforce"
SECRET = {"grant_type": "client_credentials", "client_id": "sandbox-client", "client_secret": "sandbox-secret"}
USER = Sandbox.record_id("owner", "1")
Answer = requests.Response


@dataclass
class Client:
    """The org over HTTP: every method gives the answer as it came."""

    url: str
    ticker: Ticker
    box: Sandbox | None = None
    token: str = ""

    def call(self, method: str, path: str, body: Any = None, headers: dict | None = None, **params: Any) -> Answer:
        with requests.Session() as session:
            session.trust_env = False
            known = {"Authorization": f"Bearer {self.token}", **(headers or {})}
            return session.request(method, f"{self.url}/salesforce{path}", json=body, params=params, headers=known,
                                   timeout=20, allow_redirects=False)  # fmt: skip

    def sign_in(self, **form: str) -> Answer:
        answer = requests.post(f"{self.url}/salesforce/services/oauth2/token", data=form or SECRET, timeout=20)
        self.token = answer.json().get("access_token", self.token)
        return answer

    def query(self, text: str, verb: str = "query", **headers: str) -> dict:
        """The answer to a good query, with Decimals."""
        answer = self.call("GET", f"{DATA}/{verb}", q=text, headers=headers)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.text, parse_float=Decimal)

    def rows(self, text: str, verb: str = "query") -> list[dict]:
        return self.query(text, verb)["records"]

    def refused(self, text: str, verb: str = "query") -> dict:
        """The one error of a bad query."""
        answer = self.call("GET", f"{DATA}/{verb}", q=text)
        assert answer.status_code == 400, answer.text
        (error,) = answer.json()
        return error

    def update(self, *records: dict, together: bool = False, name: str = "Account") -> list[dict]:
        body = {"allOrNone": together, "records": [{"attributes": {"type": name}, **record} for record in records]}
        answer = self.call("PATCH", f"{DATA}/composite/sobjects", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def field(self, name: str, **metadata: Any) -> Answer:
        return self.call("POST", f"{DATA}/tooling/sobjects/CustomField", {"FullName": name, "Metadata": metadata})

    def grant(self, *fields: str, edit: bool = True) -> str:
        """Lets the running user see fields; the permission set's id."""
        made = self.call("POST", f"{DATA}/sobjects/PermissionSet", {"Name": f"S{len(fields)}{edit}", "Label": "S"})
        assert made.status_code == 201, made.text
        for field in fields:
            body = {"ParentId": made.json()["id"], "SobjectType": field.partition(".")[0], "Field": field, "PermissionsRead": True,
                    "PermissionsEdit": edit}  # fmt: skip
            assert self.call("POST", f"{DATA}/sobjects/FieldPermissions", body).status_code == 201
        body = {"AssigneeId": USER, "PermissionSetId": made.json()["id"]}
        assert self.call("POST", f"{DATA}/sobjects/PermissionSetAssignment", body).status_code == 201
        return made.json()["id"]


def _serving(world: World, box: type[Sandbox] = Sandbox, **options: Any) -> Iterator[Client]:
    ticker, made = Ticker(), []

    class Kept(box):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    vendors = {"salesforce": Kept}
    with running_sandbox(world, vendors=vendors, monotonic=ticker, remake=make_world, **options) as url:
        client = Client(url, ticker, made[0])
        client.sign_in()
        yield client


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def org(world: World) -> Iterator[Client]:
    """Shared by tests that only read."""
    yield from _serving(world)


@pytest.fixture
def fresh() -> Iterator[Client]:
    """A sandbox of the test's own."""
    yield from _serving(make_world())


def _id(kind: str, row: Any) -> str:
    return Sandbox.record_id(kind, row.id)


def _sold(client: Client) -> tuple[str, str]:
    """(account, opportunity) of something that was sold."""
    where = "AccountId != null AND HasOpportunityLineItem = true AND IsWon = true"
    (row,) = client.rows(f"SELECT Id, AccountId FROM Opportunity WHERE {where} ORDER BY Id LIMIT 1")
    return row["AccountId"], row["Id"]


def _named(client: Client, name: str, entity: str = "Account") -> str:
    return client.rows(f"SELECT Id FROM {entity} WHERE Name = '{name}'")[0]["Id"]


# -- ids ------------------------------------------------------------------------------------------------------------


def test_ids_have_a_real_checksum_and_sort_as_their_numbers() -> None:
    # From recorded exchanges.
    for known in ("0014S000007NxmlQAC", "0034S000005YJTJQA4", "00Q4S000002sSacUAE", "0FT4S000001MwbwWAC"):
        assert full_id(known[:15]) == known and as_id(known[:15]) == known and as_id(known) == known
    assert as_id("0014S000007NxmlQAD") is None and as_id("x' OR Id != '") is None
    ids = [Sandbox.record_id("deal", str(number)) for number in (9, 10, 31_000_000_001, 31_000_000_010)]
    assert ids == sorted(ids) and {len(one) for one in ids} == {18}
    assert Sandbox.record_id("stage", "closedwon") == "closedwon"


# -- SOQL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "SELECT FROM Account", "SELECT Id Account", "SELECT Id FROM Account WHERE",
    "SELECT Id FROM Account WHERE Name = 'a' AND Name = 'b' OR Name = 'c'",
    "SELECT Id FROM Account WHERE Name = 'a", "SELECT Id FROM Account LIMIT ten", "SELECT Id FROM Account WHERE Name = '\\x'",
    "SELECT Id FROM Account WHERE SystemModstamp > 2026-13-01T00:00:00Z", "SELECT Id FROM Account ORDER Name", "DELETE FROM Account",
    "SELECT Id FROM Account WHERE " + "(" * 60 + "Name = 'a'" + ")" * 60,
])  # fmt: skip
def test_what_is_no_soql_is_malformed(text: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse(text)
    assert caught.value.code == "MALFORMED_QUERY"


def test_conditions_hold_for_the_records_that_they_should(org: Client, world: World) -> None:
    def count(where: str, entity: str = "Account") -> int:
        answer = org.query(f"SELECT COUNT() FROM {entity} WHERE {where}", "queryAll")
        assert answer["records"] == [] and answer["done"] is True
        return answer["totalSize"]

    live = list(world.accounts.values())
    known = [a for a in live if a.customer_ids]
    assert count("Name = 'LATE larch lumber'") == 1  # text without regard to case
    assert count("Name LIKE 'late%'") == sum(a.name.lower().startswith("late") for a in live)
    assert count("Name LIKE '_ate Larch Lumber'") == 1 and count("Name LIKE '\\%ate%'") == 0
    field = "Crossfoot_Customer_Ids__c"
    assert count(f"{field} = null") == len(live) - len(known) > 0 and count(f"{field} != null") == len(known) > 0
    assert count(f"NOT {field} = null") == len(known) and count(f"{field} != 'x'") == len(live)
    assert count("(Name = 'Late Larch Lumber' OR Name LIKE 'Part Paid%') AND BillingState IN ('OR', 'WA')") == 2
    assert count("Name NOT IN ('Late Larch Lumber')") == len(live) - 1
    assert count("IsDeleted = true") == sum(a.archived for a in live) == 1
    deals = list(world.deals.values())
    amounts = [d.amount for d in deals if d.amount is not None]
    assert count("Amount > 1000.5", "Opportunity") == sum(a > Decimal("1000.5") for a in amounts)
    assert count("Amount < 1000.5", "Opportunity") == sum(a < Decimal("1000.5") for a in amounts)
    assert count("Amount = null", "Opportunity") == len(deals) - len(amounts)  # a word among the amounts is no number
    assert count("CloseDate >= 2026-06-01", "Opportunity") == sum(d.close_date.isoformat() >= "2026-06-01" for d in deals)
    assert count("IsWon = true AND StageName = 'closedwon'", "Opportunity") == sum(d.stage_id == "closedwon" for d in deals)
    name = next(world.accounts[d.account_id].name for d in deals if d.account_id and "'" not in world.accounts[d.account_id].name)
    same = sum(bool(d.account_id) and world.accounts[d.account_id].name == name for d in deals)
    assert count(f"Account.Name = '{name}'", "Opportunity") == same >= 1
    assert count("Owner.Email LIKE '%@brightwater.example'", "Opportunity") == len(deals)


def test_times_are_compared_by_the_second_and_in_any_offset(org: Client) -> None:
    row = org.rows("SELECT Id, SystemModstamp FROM Account ORDER BY SystemModstamp, Id LIMIT 1")[0]
    at = row["SystemModstamp"].replace(".000+0000", "")
    earlier = at[:11] + f"{int(at[11:13]) + 2:02d}" + at[13:] + "+02:00"
    for literal in (f"{at}Z", f"{at}.000Z", f"{at}.000+0000", earlier):
        assert row["Id"] in {r["Id"] for r in org.rows(f"SELECT Id FROM Account WHERE SystemModstamp = {literal}")}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000", row["SystemModstamp"])


def test_a_keyset_reads_every_record_once_and_in_order(org: Client) -> None:
    everything = org.rows("SELECT Id, SystemModstamp FROM Opportunity ORDER BY SystemModstamp, Id", "queryAll")
    keys = [(row["SystemModstamp"], row["Id"]) for row in everything]
    assert keys == sorted(keys) and len(keys) > 30
    found: list[str] = []
    where = ""
    for _ in range(100):
        page = org.rows(f"SELECT Id, SystemModstamp FROM Opportunity {where} ORDER BY SystemModstamp, Id LIMIT 7", "queryAll")
        if not page:
            break
        found += [row["Id"] for row in page]
        stamp, last = page[-1]["SystemModstamp"].replace("+0000", "Z"), page[-1]["Id"]
        where = f"WHERE (SystemModstamp > {stamp} OR (SystemModstamp = {stamp} AND Id > '{last}'))"
    assert found == [one for _, one in keys]


def test_order_limit_and_offset(org: Client) -> None:
    names = [row["Name"] for row in org.rows("SELECT Name FROM Account ORDER BY Name DESC")]
    assert names == sorted(names, key=str.lower, reverse=True)
    assert [row["Name"] for row in org.rows("SELECT Name FROM Account ORDER BY Name DESC LIMIT 3 OFFSET 2")] == names[2:5]
    for order, empty in (("", True), ("DESC", True), ("NULLS FIRST", True), ("NULLS LAST", False), ("DESC NULLS LAST", False)):
        (row,) = org.rows(f"SELECT Invoice_Numbers__c FROM Opportunity ORDER BY Invoice_Numbers__c {order}, Name LIMIT 1")
        assert (row["Invoice_Numbers__c"] is None) == empty


def test_records_have_attributes_parents_inside_and_names_as_they_are_spelled(org: Client, world: World) -> None:
    line = next(line for line in world.deal_lines.values() if line.sku)
    (row,) = org.rows("select id, product2.productcode, Opportunity.Account.Name, totalprice, quantity from OpportunityLineItem "
                      f"where Id = '{_id('deal_line', line)}'")  # fmt: skip
    deal = world.deals[line.deal_id]
    assert row["attributes"] == {"type": "OpportunityLineItem", "url": f"{DATA}/sobjects/OpportunityLineItem/{_id('deal_line', line)}"}
    assert row["Product2"]["ProductCode"] == line.sku and row["Product2"]["attributes"]["type"] == "Product2"
    assert row["Opportunity"]["Account"]["Name"] == world.accounts[deal.account_id].name
    assert row["TotalPrice"] == line.amount and row["Quantity"] == line.quantity
    nobody = org.rows("SELECT Parent.Name FROM Account WHERE ParentId = null LIMIT 1")[0]
    assert nobody["Parent"] is None


def test_the_company_is_rendered_exactly(org: Client, world: World) -> None:
    fields = "Amount, CurrencyIsoCode, CloseDate, Probability, Invoice_Numbers__c, IsWon, RecordType.Name, StageName"
    for row in org.rows(f"SELECT Id, Name, {fields} FROM Opportunity", "queryAll"):
        deal = next(d for d in world.deals.values() if _id("deal", d) == row["Id"])
        assert row["Amount"] == (deal.amount if deal.amount_text is None else deal.amount_text)
        assert row["CurrencyIsoCode"] == (deal.currency or "USD") and row["CloseDate"] == deal.close_date.isoformat()
        assert row["Probability"] == deal.probability * 100 and row["RecordType"]["Name"] == "Standard"
        assert row["Invoice_Numbers__c"] == ("; ".join(deal.invoice_numbers) or None)
    assert {row["Amount"] for row in org.rows("SELECT Amount FROM Opportunity WHERE Name LIKE '%is a word%'")} == {"twelve"}
    stages = {row["ApiName"]: row for row in org.rows("SELECT ApiName, MasterLabel, IsWon, DefaultProbability FROM OpportunityStage")}
    assert stages["closedwon"]["MasterLabel"] == "Closed Won" and stages["closedwon"]["DefaultProbability"] == 100


def test_rates_are_foreign_units_for_one_corporate_unit(org: Client, world: World) -> None:
    kinds = {row["IsoCode"]: row for row in org.rows("SELECT IsoCode, ConversionRate, IsCorporate FROM CurrencyType")}
    assert kinds["USD"]["ConversionRate"] == 1 and kinds["USD"]["IsCorporate"] is True
    dated = org.rows("SELECT IsoCode, StartDate, NextStartDate, ConversionRate FROM DatedConversionRate ORDER BY StartDate")
    known = [rate for rate in world.rates if rate.as_of <= world.today]
    assert [row["ConversionRate"] for row in dated] == [(1 / rate.rate).quantize(Decimal("0.000001")) for rate in known]
    assert [row["NextStartDate"] for row in dated[:-1]] == [row["StartDate"] for row in dated[1:]]
    assert kinds["EUR"]["ConversionRate"] == dated[-1]["ConversionRate"] and dated[-1]["NextStartDate"] == "9999-12-31"


def test_aggregates(org: Client, world: World) -> None:
    (count,) = org.rows("SELECT COUNT(Id) FROM Opportunity")
    live = [deal for deal in world.deals.values() if not deal.archived]
    assert count == {"attributes": {"type": "AggregateResult"}, "expr0": len(live)}
    rows = org.rows("SELECT CurrencyIsoCode, COUNT(Id) n, SUM(Amount) FROM Opportunity GROUP BY CurrencyIsoCode")
    sums = {row["CurrencyIsoCode"]: (row["n"], row["expr0"]) for row in rows}
    for code in ("USD", "EUR"):
        of_code = [deal for deal in live if (deal.currency or "USD") == code]
        assert sums[code] == (len(of_code), sum(deal.amount for deal in of_code if deal.amount is not None))
    (total,) = org.rows("SELECT SUM(Amount) total FROM Opportunity")  # in the corporate currency
    rate = org.rows("SELECT ConversionRate FROM CurrencyType WHERE IsoCode = 'EUR'")[0]["ConversionRate"]
    assert total["total"] == (sums["USD"][1] + sums["EUR"][1] / rate).quantize(Decimal("0.000001"))
    assert org.refused("SELECT Name, COUNT(Id) FROM Account GROUP BY ParentId")["errorCode"] == "MALFORMED_QUERY"
    assert org.refused("SELECT SUM(Name) FROM Account")["errorCode"] == "MALFORMED_QUERY"


@pytest.mark.parametrize(("text", "code", "words"), [
    ("SELECT Foo__c FROM Account", "INVALID_FIELD", "No such column 'Foo__c' on entity 'Account'"),
    ("SELECT Id FROM Account WHERE Foo = 1", "INVALID_FIELD", "No such column 'Foo'"),
    ("SELECT Id FROM Account ORDER BY Foo", "INVALID_FIELD", "No such column 'Foo'"),
    ("SELECT Boss.Name FROM Account", "INVALID_FIELD", "Didn't understand relationship 'Boss'"),
    ("SELECT Id, Id FROM Account", "INVALID_FIELD", "duplicate field selected: Id"),
    ("SELECT Id FROM Accounts", "INVALID_TYPE", "sObject type 'Accounts' is not supported"),
    ("SELECT Id FROM CustomField", "INVALID_TYPE", "not supported"),
    ("SELECT Id FROM Account WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD", "should not be enclosed in quotes"),
    ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD", "should be enclosed in quotes"),
    ("SELECT Id FROM Account WHERE Id = 'abc'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: abc"),
    ("SELECT Id FROM Task WHERE Description LIKE '%x%'", "INVALID_FIELD", "can not be filtered in a query call"),
    ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
    ("SELECT Id FROM Account WHERE Name = 'O'Hara'", "MALFORMED_QUERY", "ERROR at Row:1:Column:"),
])  # fmt: skip
def test_bad_queries_are_refused_in_salesforces_shape(org: Client, text: str, code: str, words: str) -> None:
    error = org.refused(text)
    assert error["errorCode"] == code and words in error["message"] and set(error) == {"errorCode", "message"}


def test_an_org_with_one_currency_has_no_field_or_object_for_it() -> None:
    class Single(Sandbox):
        several_currencies = False

    for client in _serving(make_world(), Single):
        for name in ("Account", "Opportunity", "OpportunityLineItem", "Product2", "User"):
            assert "No such column 'CurrencyIsoCode'" in client.refused(f"SELECT CurrencyIsoCode FROM {name}")["message"]
            fields = {f["name"] for f in client.call("GET", f"{DATA}/sobjects/{name}/describe").json()["fields"]}
            assert "CurrencyIsoCode" not in fields and "SystemModstamp" in fields
        assert client.refused("SELECT Id FROM CurrencyType")["errorCode"] == "INVALID_TYPE"
        listed = {one["name"] for one in client.call("GET", f"{DATA}/sobjects").json()["sobjects"]}
        assert "CurrencyType" not in listed and "Opportunity" in listed
        assert client.query("SELECT SUM(Amount) FROM Opportunity")["records"][0]["expr0"] > 0
        row = client.call("GET", f"{DATA}/sobjects/Account/{client.rows('SELECT Id FROM Account LIMIT 1')[0]['Id']}").json()
        assert "CurrencyIsoCode" not in row and "Name" in row


# -- paging ---------------------------------------------------------------------------------------------------------


def test_pages_follow_next_records_url() -> None:
    class Small(Sandbox):
        page_size = 20

    for client in _serving(make_world(), Small):
        text = "SELECT Id FROM Account ORDER BY SystemModstamp, Id"
        page = client.query(text)
        total, ids = page["totalSize"], [row["Id"] for row in page["records"]]
        assert len(ids) == 20 < total and page["done"] is False and page["nextRecordsUrl"].startswith(f"{DATA}/query/01g")
        while not page["done"]:
            page = client.call("GET", page["nextRecordsUrl"]).json()
            assert page["totalSize"] == total
            ids += [row["Id"] for row in page["records"]]
        assert len(ids) == len(set(ids)) == total and "nextRecordsUrl" not in page
        lost = client.call("GET", f"{DATA}/query/01g000000000099AAA-20")
        assert lost.status_code == 400 and lost.json()[0]["errorCode"] == "INVALID_QUERY_LOCATOR"


def test_a_batch_size_can_be_asked_for(org: Client) -> None:
    assert org.query("SELECT Id FROM Contact", **{"Sforce-Query-Options": "batchSize=5"})["done"] is True  # never below 200


# -- Bulk API 2.0 ---------------------------------------------------------------------------------------------------


def _job(client: Client, query: str, operation: str = "query") -> str:
    made = client.call("POST", f"{DATA}/jobs/query", {"operation": operation, "query": query, "contentType": "CSV"})
    assert made.status_code == 200 and made.json()["state"] == "UploadComplete", made.text
    early = client.call("GET", f"{DATA}/jobs/query/{made.json()['id']}/results")
    assert early.status_code == 400
    states = [client.call("GET", f"{DATA}/jobs/query/{made.json()['id']}").json()["state"] for _ in range(2)]
    assert states == ["InProgress", "JobComplete"]
    return made.json()["id"]


def test_a_bulk_job_gives_the_same_records_as_a_query(fresh: Client) -> None:
    query = "SELECT Id, Name, Owner.Name, ParentId, SystemModstamp, IsDeleted FROM Account"
    job, rows, locator, sets = _job(fresh, query, "queryAll"), [], "", 0
    for _ in range(100):
        params = {"maxRecords": 25, **({"locator": locator} if locator else {})}
        answer = fresh.call("GET", f"{DATA}/jobs/query/{job}/results", **params)
        part = list(csv.DictReader(io.StringIO(answer.text)))
        assert answer.headers["Sforce-NumberOfRecords"] == str(len(part)) and answer.headers["Content-Type"].startswith("text/csv")
        rows, sets = rows + part, sets + 1
        locator = answer.headers["Sforce-Locator"]
        if locator == "null":
            break
    assert locator == "null" and sets == -(-len(rows) // 25)
    rest = {row["Id"]: row for row in fresh.rows(query, "queryAll")}
    assert len(rows) == len(rest) > 25
    for row in rows:
        same = rest[row["Id"]]
        assert row["Name"] == same["Name"] and row["ParentId"] == (same["ParentId"] or "") and row["Owner.Name"] == same["Owner"]["Name"]
        assert row["SystemModstamp"] == same["SystemModstamp"].replace("+0000", "Z") and row["IsDeleted"] == str(same["IsDeleted"]).lower()
    info = fresh.call("GET", f"{DATA}/jobs/query/{job}").json()
    assert info["numberRecordsProcessed"] == len(rows) and info["jobType"] == "V2Query" and info["apiVersion"] == 68.0
    assert fresh.call("DELETE", f"{DATA}/jobs/query/{job}").status_code == 204
    assert fresh.call("GET", f"{DATA}/jobs/query/{job}").status_code == 404


def test_csv_quotes_what_people_write(fresh: Client) -> None:
    one = _named(fresh, "Late Larch Lumber")
    nasty = 'Larch, "Late"\nand Sons'
    assert fresh.update({"id": one, "Name": nasty})[0]["success"]
    job = _job(fresh, f"SELECT Name, Site FROM Account WHERE Id = '{one}'")
    text = fresh.call("GET", f"{DATA}/jobs/query/{job}/results").text
    assert list(csv.reader(io.StringIO(text, newline=""))) == [["Name", "Site"], [nasty, ""]]
    assert text.startswith('"Name","Site"\n')


def test_bad_bulk_jobs_are_refused(org: Client) -> None:
    for body, words in (
        ({"operation": "query", "query": "SELECT Foo FROM Account"}, "INVALID_FIELD"),
        ({"operation": "query", "query": "SELECT COUNT(Id) FROM Account"}, "not supported"),
        ({"operation": "query", "query": "SELECT BillingAddress FROM Account"}, "compound"),
        ({"operation": "insert", "query": "SELECT Id FROM Account"}, "operation"),
    ):
        answer = org.call("POST", f"{DATA}/jobs/query", body)
        assert answer.status_code == 400 and words in answer.json()[0]["message"]


# -- describe -------------------------------------------------------------------------------------------------------


def test_describe_has_the_keys_and_types_of_a_recorded_one(org: Client) -> None:
    recorded = json.loads(_recorded("describe_Opportunity_cumulusci.json"))
    mine = org.call("GET", f"{DATA}/sobjects/Opportunity/describe").json()
    assert set(recorded) == set(mine)
    fields = {field["name"]: field for field in mine["fields"]}
    same = ("type", "length", "precision", "scale", "nillable", "calculated", "updateable", "soapType", "relationshipName",
            "restrictedPicklist")  # fmt: skip
    compared = 0
    for field in recorded["fields"]:
        assert set(field) == set(fields["Id"]), set(field) ^ set(fields["Id"])
        if field["name"] in fields:
            compared += 1
            assert {key: field[key] for key in same} == {key: fields[field["name"]][key] for key in same}, field["name"]
    assert compared > 15


def test_describe_global_and_what_is_not_there(org: Client) -> None:
    listed = {one["name"]: one for one in org.call("GET", f"{DATA}/sobjects").json()["sobjects"]}
    assert listed["Opportunity"]["keyPrefix"] == "006" and "CustomField" not in listed
    assert listed["Account"]["urls"]["describe"] == f"{DATA}/sobjects/Account/describe"
    for path in ("sobjects/Nothing/describe", "sobjects/Nothing/1", "nothing/at/all"):
        answer = org.call("GET", f"{DATA}/{path}")
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (404, "NOT_FOUND")
    assert org.call("GET", "/services/data/v99.0/limits").status_code == 404
    assert org.call("GET", "/services/data/v28.0/limits").json()[0]["errorCode"] == "UNSUPPORTED_API_VERSION"
    assert org.call("GET", "/services/data").json()[-1] == {"label": "Version 68", "url": "/services/data/v68.0", "version": "68.0"}


# -- writing --------------------------------------------------------------------------------------------------------


def test_a_collection_answers_by_position_and_a_failed_record_has_no_id(fresh: Client) -> None:
    late, part = _named(fresh, "Late Larch Lumber"), _named(fresh, "Part Paid Pottery")
    before = {row["Id"]: row["SystemModstamp"] for row in fresh.rows("SELECT Id, SystemModstamp FROM Account")}
    results = fresh.update(
        {"id": late, "Billing_Email__c": "new@larch.example", "AnnualRevenue": 12},
        {"id": part, "Billing_Email__c": "badone"}, {"id": "001999999999999AAA", "Site": "x"}, {"id": part, "Name": None},
        {"id": late, "Foo__c": 1}, {"id": late, "SystemModstamp": "2026-01-01T00:00:00Z"}, {"Id": part[:15], "Site": "here"},
    )  # fmt: skip
    assert results[0] == {"id": late, "success": True, "errors": []} and results[6]["success"]
    codes = [result["errors"][0]["statusCode"] for result in results[1:6]]
    assert codes == ["INVALID_EMAIL_ADDRESS", "INVALID_CROSS_REFERENCE_KEY", "REQUIRED_FIELD_MISSING", "INVALID_FIELD",
                     "INVALID_FIELD_FOR_INSERT_UPDATE"]  # fmt: skip
    assert all("id" not in result and set(result["errors"][0]) == {"statusCode", "message", "fields"} for result in results[1:6])
    rows = {row["Id"]: row for row in fresh.rows("SELECT Id, Billing_Email__c, SystemModstamp, Site, AnnualRevenue FROM Account")}
    assert rows[late]["Billing_Email__c"] == "new@larch.example" and rows[late]["AnnualRevenue"] == 12 and rows[part]["Site"] == "here"
    assert rows[late]["SystemModstamp"].startswith("2026-06-30T22:") and rows[late]["SystemModstamp"] > before[late]
    untouched = next(one for one in rows if one not in (late, part))
    assert rows[untouched]["SystemModstamp"] == before[untouched]


def test_all_or_none_takes_everything_back(fresh: Client) -> None:
    late, part = _named(fresh, "Late Larch Lumber"), _named(fresh, "Part Paid Pottery")
    results = fresh.update({"id": late, "Site": "x"}, {"id": part, "Billing_Email__c": "bad"}, together=True)
    assert results[0]["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK" and "id" not in results[0]
    assert results[1]["errors"][0]["statusCode"] == "INVALID_EMAIL_ADDRESS"
    (row,) = fresh.rows(f"SELECT Site, SystemModstamp FROM Account WHERE Id = '{late}'")
    assert row["Site"] is None and not row["SystemModstamp"].startswith("2026-06-30T22")
    body = {"allOrNone": True, "records": [{"attributes": {"type": "Account"}, "Name": "New"}, {"attributes": {"type": "Account"}}]}
    assert [r["success"] for r in fresh.call("POST", f"{DATA}/composite/sobjects", body).json()] == [False, False]
    assert fresh.rows("SELECT Id FROM Account WHERE Name = 'New'") == []


@pytest.mark.parametrize(("field", "value", "code"), [
    ("Name", "x" * 256, "STRING_TOO_LONG"), ("Name", 5, "INVALID_FIELD"), ("AnnualRevenue", "a lot", "INVALID_FIELD"),
    ("AnnualRevenue", 10**18, "NUMBER_OUTSIDE_VALID_RANGE"), ("CurrencyIsoCode", "XXX", "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
    ("OwnerId", "nobody", "MALFORMED_ID"), ("OwnerId", "005999999999999AAA", "INVALID_CROSS_REFERENCE_KEY"),
    ("ParentId", USER, "FIELD_INTEGRITY_EXCEPTION"), ("NumberOfEmployees", [1], "INVALID_FIELD"),
])  # fmt: skip
def test_values_are_checked_record_by_record(fresh: Client, field: str, value: Any, code: str) -> None:
    one = _named(fresh, "Late Larch Lumber")
    bad, good = fresh.update({"id": one, field: value}, {"id": one, "Site": "ok"})
    assert bad["success"] is False and bad["errors"][0]["statusCode"] == code and good["success"] is True
    single = fresh.call("PATCH", f"{DATA}/sobjects/Account/{one}", {field: value})
    expected = "JSON_PARSER_ERROR" if code == "INVALID_FIELD" else code
    assert single.status_code == 400 and single.json()[0]["errorCode"] == expected


def test_numbers_as_text_are_numbers_and_decimals_are_rounded(fresh: Client) -> None:
    one = fresh.rows("SELECT Id FROM Opportunity WHERE IsWon = true LIMIT 1")[0]["Id"]
    assert fresh.update({"id": one, "Amount": "1234.565"}, name="Opportunity")[0]["success"]
    answer = fresh.call("GET", f"{DATA}/query", q=f"SELECT Amount FROM Opportunity WHERE Id = '{one}'").text
    assert '"Amount":1234.57' in answer


def test_collections_have_their_limits(fresh: Client) -> None:
    one = _named(fresh, "Late Larch Lumber")
    record = {"attributes": {"type": "Account"}, "id": one, "Site": "x"}
    person = {"attributes": {"type": "Contact"}, "id": one, "Title": "x"}
    for records in ([record] * 201, [], [record, person] * 6, "x", [{"id": one}]):
        assert fresh.call("PATCH", f"{DATA}/composite/sobjects", {"records": records}).status_code == 400
    assert len(fresh.call("PATCH", f"{DATA}/composite/sobjects", {"records": [record] * 200}).json()) == 200
    assert fresh.call("PATCH", f"{DATA}/composite/sobjects", [record]).json()[0]["errorCode"] == "JSON_PARSER_ERROR"


def test_many_are_retrieved_with_null_for_what_is_not_there(org: Client, world: World) -> None:
    gone = next(a for a in world.accounts.values() if a.archived)
    ids = [_named(org, "Late Larch Lumber"), "001999999999999AAA", _id("account", gone), _named(org, "Part Paid Pottery")]
    body = {"ids": ids, "fields": ["id", "Name", "Owner.Email"]}
    found = org.call("POST", f"{DATA}/composite/sobjects/Account", body).json()
    assert [row and row["Name"] for row in found] == ["Late Larch Lumber", None, None, "Part Paid Pottery"]
    assert found[0]["Id"] == ids[0] and found[0]["Owner"]["Email"].endswith("@brightwater.example")
    same = org.call("GET", f"{DATA}/composite/sobjects/Account", ids=",".join(ids), fields="Id,Name,Owner.Email").json()
    assert same == found
    bad = org.call("POST", f"{DATA}/composite/sobjects/Account", {"ids": ids, "fields": ["Nope"]})
    assert bad.status_code == 400 and bad.json()[0]["errorCode"] == "INVALID_FIELD"


def test_tasks(fresh: Client) -> None:
    late, deal = _sold(fresh)
    body = {"Subject": "Call", "WhatId": late, "Description": "a [crossfoot:1] b", "Priority": "High", "ActivityDate": "2026-07-02"}
    made = fresh.call("POST", f"{DATA}/sobjects/Task", body)
    assert made.status_code == 201 and made.json()["success"] is True and made.json()["id"].startswith("00T")
    path = f"{DATA}/sobjects/Task/{made.json()['id']}"
    row = fresh.call("GET", path).json()
    assert (row["Status"], row["IsClosed"], row["OwnerId"], row["AccountId"]) == ("Not Started", False, USER, late)
    assert fresh.call("PATCH", path, {"Status": "Completed"}).status_code == 204
    (done,) = fresh.rows(f"SELECT Id, Description FROM Task WHERE AccountId = '{late}' AND IsClosed = true")
    assert done["Description"] == body["Description"]
    other = fresh.call("POST", f"{DATA}/sobjects/Task", {"Subject": "x", "WhatId": deal}).json()["id"]
    assert fresh.call("GET", f"{DATA}/sobjects/Task/{other}").json()["AccountId"] == late
    assert fresh.call("DELETE", path).status_code == 204 and fresh.call("GET", path).json()[0]["errorCode"] == "NOT_FOUND"
    again = fresh.call("DELETE", path)
    assert again.status_code == 404 and again.json() == [{"message": "entity is deleted", "errorCode": "ENTITY_IS_DELETED", "fields": []}]
    assert fresh.call("POST", f"{DATA}/sobjects/Task", {"Id": other}).status_code == 400


# -- setup ----------------------------------------------------------------------------------------------------------

NAME = "Account.Crossfoot_Total__c"
MONEY = {"type": "Currency", "label": "Total", "precision": 18, "scale": 2}


def test_a_new_field_is_out_of_sight_until_a_permission_set_shows_it(fresh: Client) -> None:
    one = _named(fresh, "Late Larch Lumber")
    made = fresh.field(NAME, **MONEY)
    assert made.status_code == 201 and made.json()["id"].startswith("00N") and made.json()["errors"] == []

    def visible() -> tuple[bool, int, str]:
        fields = {field["name"] for field in fresh.call("GET", f"{DATA}/sobjects/Account/describe").json()["fields"]}
        status = fresh.call("GET", f"{DATA}/query", q="SELECT Crossfoot_Total__c FROM Account LIMIT 1").status_code
        (result,) = fresh.update({"id": one, "Crossfoot_Total__c": 5})
        return "Crossfoot_Total__c" in fields, status, "" if result["success"] else result["errors"][0]["statusCode"]

    assert visible() == (False, 400, "INVALID_FIELD")
    listed = fresh.call("GET", f"{DATA}/tooling/query", q="SELECT Id, DeveloperName, TableEnumOrId FROM CustomField WHERE "
                        "TableEnumOrId = 'Account' AND DeveloperName LIKE 'Crossfoot%'").json()["records"]  # fmt: skip
    assert {row["DeveloperName"] for row in listed} == {"Crossfoot_Customer_Ids", "Crossfoot_Total"}
    readers = fresh.grant(NAME, edit=False)
    assert visible() == (True, 200, "INVALID_FIELD_FOR_INSERT_UPDATE")
    (row,) = fresh.rows(f"SELECT Id FROM FieldPermissions WHERE ParentId = '{readers}'")
    assert fresh.call("PATCH", f"{DATA}/sobjects/FieldPermissions/{row['Id']}", {"PermissionsEdit": True}).status_code == 204
    assert visible() == (True, 200, "")
    assert fresh.rows(f"SELECT Crossfoot_Total__c FROM Account WHERE Id = '{one}'")[0]["Crossfoot_Total__c"] == 5
    (assigned,) = fresh.rows("SELECT Id FROM PermissionSetAssignment")
    assert fresh.call("DELETE", f"{DATA}/sobjects/PermissionSetAssignment/{assigned['Id']}").status_code == 204
    assert visible() == (False, 400, "INVALID_FIELD")


def test_new_fields_are_described_as_they_were_made_and_hold_their_types(fresh: Client) -> None:
    values = {"restricted": True, "valueSetDefinition": {"sorted": False, "value": [
        {"fullName": one, "label": one, "default": False} for one in ("Overdue", "Current")]}}  # fmt: skip
    fields = {
        "Crossfoot_Status__c": {"type": "Picklist", "label": "Status", "valueSet": values},
        "Crossfoot_Days__c": {"type": "Number", "label": "Days", "precision": 6, "scale": 0},
        "Crossfoot_Text__c": {"type": "Text", "label": "Text", "length": 10},
        "Crossfoot_As_Of__c": {"type": "DateTime", "label": "As Of"},
        "Crossfoot_Day__c": {"type": "Date", "label": "Day"}, "Crossfoot_Total__c": MONEY,
    }  # fmt: skip
    for name, metadata in fields.items():
        assert fresh.field(f"Account.{name}", **metadata).status_code == 201
    fresh.grant(*(f"Account.{name}" for name in fields))
    described = {f["name"]: f for f in fresh.call("GET", f"{DATA}/sobjects/Account/describe").json()["fields"]}
    status, total = described["Crossfoot_Status__c"], described["Crossfoot_Total__c"]
    assert status["restrictedPicklist"] and [v["value"] for v in status["picklistValues"]] == ["Overdue", "Current"]
    assert (total["type"], total["precision"], total["scale"], total["custom"], total["updateable"]) == ("currency", 18, 2, True, True)
    one = _named(fresh, "Late Larch Lumber")
    good = {"Crossfoot_Status__c": "Overdue", "Crossfoot_Days__c": 4, "Crossfoot_Text__c": "ten or les", "Crossfoot_Day__c": "2026-06-30",
            "Crossfoot_As_Of__c": "2026-06-30T22:00:00Z", "Crossfoot_Total__c": 10.5}  # fmt: skip
    assert fresh.update({"id": one, **good})[0]["success"]
    (row,) = fresh.rows(f"SELECT {', '.join(good)} FROM Account WHERE Id = '{one}'")
    assert row["Crossfoot_As_Of__c"] == "2026-06-30T22:00:00.000+0000" and row["Crossfoot_Total__c"] == Decimal("10.5")
    bad = {"Crossfoot_Status__c": "Late", "Crossfoot_Days__c": 1_000_000, "Crossfoot_Text__c": "eleven chars", "Crossfoot_Day__c": "soon",
           "Crossfoot_As_Of__c": "2026-06-30", "Crossfoot_Total__c": "much"}  # fmt: skip
    results = fresh.update(*({"id": one, name: value} for name, value in bad.items()))
    assert [result["errors"][0]["statusCode"] for result in results] == [
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", "NUMBER_OUTSIDE_VALID_RANGE", "STRING_TOO_LONG", "INVALID_FIELD", "INVALID_FIELD",
        "INVALID_FIELD",
    ]  # fmt: skip
    assert results[0]["errors"][0]["fields"] == ["Crossfoot_Status__c"]
    assert fresh.update({"id": one, **dict.fromkeys(good)})[0]["success"]
    (row,) = fresh.rows(f"SELECT {', '.join(good)} FROM Account WHERE Id = '{one}'")
    assert [row[name] for name in good] == [None] * 6


def test_setup_refuses_what_salesforce_refuses(fresh: Client) -> None:
    assert fresh.field(NAME, **MONEY).status_code == 201
    assert fresh.field(NAME, **MONEY).json()[0]["errorCode"] == "DUPLICATE_DEVELOPER_NAME"
    for name, metadata in (
        ("Nothing.X__c", MONEY), ("Account.NoSuffix", MONEY), ("Account." + "X" * 41 + "__c", MONEY),
        ("Account.X__c", {**MONEY, "scale": 19}), ("Account.X__c", {**MONEY, "label": "x" * 41}),
        *(("Account.X__c", {"type": kind, "label": "x"}) for kind in ("Odd", "Picklist", "Text", "Checkbox")),
    ):  # fmt: skip
        assert fresh.field(name, **metadata).status_code == 400, (name, metadata)
    kept = fresh.grant(NAME)
    double = {"ParentId": kept, "SobjectType": "Account", "Field": NAME, "PermissionsRead": True}
    for name, body, code in (
        ("FieldPermissions", double, "DUPLICATE_VALUE"),
        ("FieldPermissions", {**double, "Field": "Account.No__c"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ("PermissionSet", {"Name": "S1True", "Label": "again"}, "DUPLICATE_DEVELOPER_NAME"),
        ("PermissionSet", {"Name": "N"}, "REQUIRED_FIELD_MISSING"),
        ("PermissionSetAssignment", {"AssigneeId": USER, "PermissionSetId": kept}, "DUPLICATE_VALUE"),
        ("User", {"LastName": "x"}, "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"),
    ):
        answer = fresh.call("POST", f"{DATA}/sobjects/{name}", body)
        assert answer.status_code == 400 and answer.json()[0]["errorCode"] == code
    many = fresh.call("GET", f"{DATA}/tooling/query", q="SELECT Id, FullName FROM CustomField")
    assert many.json()[0]["errorCode"] == "MALFORMED_QUERY" and "no more than one row" in many.json()[0]["message"]
    one = "SELECT Id, Metadata FROM CustomField WHERE DeveloperName = 'Crossfoot_Total'"
    (row,) = fresh.call("GET", f"{DATA}/tooling/query", q=one).json()["records"]
    assert row["Metadata"] == MONEY
    assert fresh.call("DELETE", f"{DATA}/tooling/sobjects/CustomField/{row['Id']}").status_code == 204
    assert fresh.refused("SELECT Crossfoot_Total__c FROM Account")["errorCode"] == "INVALID_FIELD"


def test_the_running_user_can_be_asked_for(org: Client) -> None:
    assert org.call("GET", "/services/oauth2/userinfo").json()["user_id"] == USER
    assert org.rows(f"SELECT Username, IsActive FROM User WHERE Id = '{USER}'")[0]["IsActive"] is True


# -- deletions, merges, days ----------------------------------------------------------------------------------------


def test_deleted_records_are_only_in_query_all_and_in_the_log(fresh: Client) -> None:
    _, deal = _sold(fresh)
    assert fresh.call("DELETE", f"{DATA}/sobjects/Opportunity/{deal}").status_code == 204
    assert fresh.rows(f"SELECT Id FROM Opportunity WHERE Id = '{deal}'") == []
    (row,) = fresh.rows(f"SELECT Id, IsDeleted, SystemModstamp FROM Opportunity WHERE Id = '{deal}'", "queryAll")
    assert row["IsDeleted"] is True and row["SystemModstamp"].startswith("2026-06-30T22")
    lines = fresh.rows(f"SELECT IsDeleted FROM OpportunityLineItem WHERE OpportunityId = '{deal}'", "queryAll")
    assert lines and all(line["IsDeleted"] for line in lines)
    assert fresh.call("GET", f"{DATA}/sobjects/Opportunity/{deal}").status_code == 404
    (result,) = fresh.update({"id": deal, "Name": "x"}, name="Opportunity")
    assert result["errors"][0]["statusCode"] == "ENTITY_IS_DELETED"
    log = fresh.call("GET", f"{DATA}/sobjects/Opportunity/deleted/", start="2026-06-30T22:00:00Z", end="2026-06-30T22:05:00+00:00").json()
    assert log["deletedRecords"] == [{"id": deal, "deletedDate": row["SystemModstamp"]}]
    assert set(log) == {"deletedRecords", "earliestDateAvailable", "latestDateCovered"}
    now = "2026-06-30T22:00:00Z"
    for start, end in (("2026-06-01T00:00:00Z", now), (now, "2026-06-30T22:00:40Z"), ("soon", "later")):
        bad = fresh.call("GET", f"{DATA}/sobjects/Opportunity/deleted", start=start, end=end)
        assert bad.status_code == 400 and bad.json()[0]["errorCode"] == "INVALID_REPLICATION_DATE"


def test_deleting_a_collection(fresh: Client) -> None:
    late = _named(fresh, "Late Larch Lumber")
    ids = f"{late},001999999999999AAA"
    together = fresh.call("DELETE", f"{DATA}/composite/sobjects", ids=ids, allOrNone="true").json()
    assert [result["success"] for result in together] == [False, False]
    assert fresh.rows(f"SELECT Id FROM Account WHERE Id = '{late}'")
    assert [r["success"] for r in fresh.call("DELETE", f"{DATA}/composite/sobjects", ids=ids).json()] == [True, False]
    assert fresh.rows(f"SELECT Id FROM Account WHERE Id = '{late}'") == []


def test_a_merge_leaves_the_losers_id_behind(fresh: Client) -> None:
    loser, kept = _sold(fresh)[0], _named(fresh, "Part Paid Pottery")
    deals = {row["Id"] for row in fresh.rows(f"SELECT Id FROM Opportunity WHERE AccountId = '{loser}'")}
    fresh.box.merge("Account", loser, kept)
    (row,) = fresh.rows(f"SELECT IsDeleted, MasterRecordId FROM Account WHERE Id = '{loser}'", "queryAll")
    assert (row["IsDeleted"], row["MasterRecordId"]) == (True, kept) and fresh.rows(f"SELECT Id FROM Account WHERE Id = '{loser}'") == []
    assert deals and deals <= {row["Id"] for row in fresh.rows(f"SELECT Id FROM Opportunity WHERE AccountId = '{kept}'")}
    control(fresh.url, "POST", "advance", {"days": 3})
    fresh.sign_in()
    assert fresh.rows(f"SELECT MasterRecordId FROM Account WHERE Id = '{loser}'", "queryAll")[0]["MasterRecordId"] == kept


def test_a_formula_changes_without_moving_the_stamp(fresh: Client) -> None:
    late = _named(fresh, "Late Larch Lumber")
    before = fresh.rows(f"SELECT SystemModstamp, Site FROM Account WHERE Id = '{late}'")[0]
    compute(fresh.box.org, "Account", late, "Site", "computed")
    after = fresh.rows(f"SELECT SystemModstamp, Site FROM Account WHERE Id = '{late}'")[0]
    assert after["Site"] == "computed" and after["SystemModstamp"] == before["SystemModstamp"]
    field = next(f for f in fresh.call("GET", f"{DATA}/sobjects/Account/describe").json()["fields"] if f["name"] == "Site")
    assert field["calculated"] is True and field["updateable"] is False


def test_a_day_moves_what_the_company_changed_and_keeps_what_was_written(fresh: Client) -> None:
    last = fresh.rows("SELECT Id, SystemModstamp FROM Opportunity ORDER BY SystemModstamp DESC LIMIT 1")[0]["SystemModstamp"]
    opened = fresh.rows("SELECT Id FROM Opportunity WHERE IsClosed = false")
    results = [fresh.update({"id": row["Id"], "NextStep": "ask"}, name="Opportunity")[0]["success"] for row in opened]
    assert results and all(results)
    control(fresh.url, "POST", "advance", {"days": 30})
    fresh.sign_in()
    changed = fresh.rows(f"SELECT Id, NextStep, IsClosed FROM Opportunity WHERE SystemModstamp > {last.replace('+0000', 'Z')}")
    moved = [row for row in changed if row["Id"] in {one["Id"] for one in opened} and row["IsClosed"]]
    assert moved and all(row["NextStep"] == "ask" for row in moved)


def test_what_was_deleted_stays_deleted_although_the_company_goes_on_working_on_it(fresh: Client) -> None:
    gone = [row["Id"] for row in fresh.rows("SELECT Id FROM Opportunity WHERE IsClosed = false")]
    assert all(r["success"] for r in fresh.call("DELETE", f"{DATA}/composite/sobjects", ids=",".join(gone)).json())
    control(fresh.url, "POST", "advance", {"days": 30})
    fresh.sign_in()
    where = ", ".join(f"'{one}'" for one in gone)
    rows = fresh.rows(f"SELECT IsDeleted, SystemModstamp FROM Opportunity WHERE Id IN ({where})", "queryAll")
    assert rows and all(row["IsDeleted"] for row in rows)
    assert any(row["SystemModstamp"] > "2026-07" for row in rows)


# -- sign-in, usage, faults -----------------------------------------------------------------------------------------


def test_an_app_signs_in_with_its_secret(fresh: Client) -> None:
    answer = fresh.sign_in()
    assert answer.status_code == 200 and "expires_in" not in answer.json() and "refresh_token" not in answer.json()
    assert answer.json()["instance_url"] == f"{fresh.url}/salesforce" and answer.json()["id"].endswith(USER)
    basic = requests.post(f"{fresh.url}/salesforce/services/oauth2/token", data={"grant_type": "client_credentials"},
                          auth=("sandbox-client", "sandbox-secret"), timeout=20)  # fmt: skip
    assert basic.status_code == 200
    for form, error in (({"client_secret": "wrong"}, "invalid_client"), ({"client_id": "x"}, "invalid_client_id"),
                        ({"grant_type": "password"}, "unsupported_grant_type")):  # fmt: skip
        refused = fresh.sign_in(**{**SECRET, **form})
        assert refused.status_code == 400 and refused.json()["error"] == error


def test_a_session_ends_when_nothing_uses_it(fresh: Client) -> None:
    for _ in range(3):
        fresh.ticker.wait(7000)
        assert fresh.call("GET", f"{DATA}/limits").status_code == 200
    fresh.ticker.wait(7300)
    ended = fresh.call("GET", f"{DATA}/limits")
    assert ended.status_code == 401 and ended.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    fresh.token = "made up"
    assert fresh.call("GET", f"{DATA}/limits").status_code == 401


def test_an_app_signs_in_with_an_assertion() -> None:
    key = rsa.generate_private_key(65537, 2048)
    other = rsa.generate_private_key(65537, 2048)

    class Signed(Sandbox):
        public_key = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        username = "integration@brightwater.example"

    for client in _serving(make_world(), Signed):
        now = int(client.box.clock.now().timestamp())
        good = {"iss": "sandbox-client", "sub": "integration@brightwater.example", "aud": "https://login.salesforce.com", "exp": now + 120}

        def ask(claims: dict, signer: Any = key, client: Client = client) -> dict:
            assertion = jwt.encode(claims, signer, algorithm="RS256")
            return client.sign_in(grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion).json()

        client.token = ""
        for wrong, words in (
            ({"aud": "https://elsewhere.example"}, "audience is invalid"),
            ({"sub": "else@x.example"}, "user hasn't approved this consumer"),
            ({"exp": now - 60}, "expired authorization code"),
            ({"exp": now + 900}, "invalid assertion"),
            ({"iss": "x"}, "client identifier invalid"),
        ):
            assert ask({**good, **wrong})["error_description"] == words
        assert ask(good, other)["error_description"] == "invalid assertion"
        assert client.call("GET", f"{DATA}/limits").status_code == 401
        assert ask(good)["token_type"] == "Bearer" and client.call("GET", f"{DATA}/limits").status_code == 200


def test_usage_is_on_every_answer_and_the_days_calls_end() -> None:
    class Poor(Sandbox):
        calls_a_day = 5

    for client in _serving(make_world(), Poor):
        paths = ("limits", "query?q=nonsense", "sobjects/Account/1", "nothing", "limits")
        usage = [client.call("GET", f"{DATA}/{path}").headers["Sforce-Limit-Info"] for path in paths]
        assert usage == [f"api-usage={n}/5" for n in range(1, 6)]
        spent = client.call("GET", f"{DATA}/limits")
        assert spent.status_code == 403 and spent.headers["Sforce-Limit-Info"] == "api-usage=5/5"
        assert spent.json() == [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
        assert client.call("GET", "/services/data").status_code == 200
        control(client.url, "POST", "advance", {"days": 1})
        client.sign_in()
        assert client.call("GET", f"{DATA}/limits").json()["DailyApiRequests"] == {"Max": 5, "Remaining": 4}


def test_injected_faults_speak_salesforce(fresh: Client) -> None:
    def hit(**fault: Any) -> None:
        control(fresh.url, "POST", "faults", {"vendor": "salesforce", **fault})

    for kind, status, code in (
        ("429", 403, "REQUEST_LIMIT_EXCEEDED"), ("500", 500, "UNKNOWN_EXCEPTION"), ("503", 503, "SERVER_UNAVAILABLE"),
        ("expired_token", 401, "INVALID_SESSION_ID"),
    ):  # fmt: skip
        hit(kind=kind)
        answer = fresh.call("GET", f"{DATA}/limits")
        assert answer.status_code == status and answer.json()[0]["errorCode"] == code and "Sforce-Limit-Info" in answer.headers
    assert fresh.call("GET", f"{DATA}/limits").status_code == 401
    fresh.sign_in()
    late, part = _named(fresh, "Late Larch Lumber"), _named(fresh, "Part Paid Pottery")
    wanted = ({"id": late, "Site": "a"}, {"id": part, "Site": "b"})
    for fault, expected in (
        ({"kind": "partial", "count": 1}, ["FIELD_CUSTOM_VALIDATION_EXCEPTION", ""]),
        ({"kind": "numerrors", "ids": [part]}, ["", "UNABLE_TO_LOCK_ROW"]),
        ({"kind": "partial", "count": 2, "message": "UNABLE_TO_LOCK_ROW: busy"}, ["UNABLE_TO_LOCK_ROW"] * 2),
        ({"kind": "partial", "message": "refused by a rule"}, ["FIELD_CUSTOM_VALIDATION_EXCEPTION", ""]),
    ):  # fmt: skip
        hit(**fault)
        results = fresh.update(*wanted)
        assert [r["errors"][0]["statusCode"] if r["errors"] else "" for r in results] == expected
        assert all(("id" in result) == result["success"] for result in results)
        if "message" in fault:
            assert results[0]["errors"][0]["message"] == fault["message"].removeprefix("UNABLE_TO_LOCK_ROW: ")
    assert all(result["success"] for result in fresh.update(*wanted))
    hit(kind="delete_midrun", object="accounts", id=late)
    assert fresh.rows(f"SELECT Id FROM Account WHERE Id = '{late}'") == []
    hit(kind="duplicate_page", match="/query")
    assert len(fresh.rows("SELECT Id FROM Account LIMIT 3")) == 6


# -- recorded exchanges ---------------------------------------------------------------------------------------------


def _recorded(name: str) -> str:
    if not RECORDED.is_dir():
        pytest.skip("no recorded exchanges here")
    return (RECORDED / name).read_text(encoding="utf-8")


def _shape(value: Any, depth: int = 0) -> Any:
    """Keys and types of a JSON value; a record's own fields may differ from org to org, so null fits everything."""
    if isinstance(value, dict):
        return {key: _shape(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(value[0], depth + 1)] if value else []
    return type(value).__name__


def _exchanges() -> Iterator[dict]:
    if not RECORDED.is_dir():
        pytest.skip("no recorded exchanges here")
    for path in sorted(RECORDED.glob("export-*.json")):
        yield from json.loads(path.read_text(encoding="utf-8"))


def test_recorded_queries_are_answered_in_their_shape(fresh: Client) -> None:
    for entity in ("Account", "Contact"):
        fresh.field(f"{entity}.Custom_External_ID__c", type="Text", label="External", length=100)
    fresh.field("Contact.float_field__c", type="Number", label="float", precision=18, scale=2)
    fresh.grant("Account.Custom_External_ID__c", "Contact.Custom_External_ID__c", "Contact.float_field__c")
    known = {one["name"] for one in fresh.call("GET", f"{DATA}/sobjects").json()["sobjects"]}
    replayed = 0
    for exchange in _exchanges():
        query = unquote((exchange.get("query") or {}).get("q", ""))
        entity = re.search(r"FROM (\w+)", query)
        if entity is None or entity.group(1) not in known:
            continue
        answer = fresh.query(query)
        recorded = exchange["response"]
        assert set(answer) == set(recorded) and type(answer["totalSize"]) is int and answer["done"] is True
        assert answer["totalSize"] == len(answer["records"])
        if answer["records"] and recorded["records"]:
            assert _shape(answer["records"]) == _shape(recorded["records"])
        replayed += 1
    assert replayed > 50


def test_recorded_writes_are_answered_in_their_shape(fresh: Client) -> None:
    for entity, label in (("Account", "email_field"), ("Contact", "email field")):
        assert fresh.field(f"{entity}.email_field__c", type="Email", label=label).status_code == 201
    fresh.field("Contact.float_field__c", type="Number", label="float", precision=18, scale=2)
    for entity in ("Account", "Contact"):
        fresh.field(f"{entity}.Custom_External_ID__c", type="Text", label="External", length=100)
    fresh.grant("Account.email_field__c", "Contact.email_field__c", "Contact.float_field__c", "Account.Custom_External_ID__c",
                "Contact.Custom_External_ID__c")  # fmt: skip
    ids: dict[str, str] = {}
    kept = {"Account", "Contact"}
    replayed, failed = 0, 0
    for exchange in _exchanges():
        method, path, body = exchange["method"], exchange["path"], exchange["body"]
        if not path.endswith("/composite/sobjects") or method == "DELETE":
            continue
        records = [record for record in body["records"] if record["attributes"]["type"] in kept]
        unknown = {key for record in records for key in record} - {"attributes", "id", "Name", "LastName", "FirstName", "Email", "Site",
                   "AccountNumber", "Custom_External_ID__c", "email_field__c", "float_field__c"}  # fmt: skip
        if len(records) != len(body["records"]) or unknown:
            continue
        for record in records:
            if method == "PATCH" and record["id"] not in ids:
                entity = record["attributes"]["type"]
                made = fresh.call("POST", f"{DATA}/sobjects/{entity}", {"Name" if entity == "Account" else "LastName": "x"})
                ids[record["id"]] = made.json()["id"]
        mine = fresh.call(method, f"{DATA}/composite/sobjects", {**body, "records": [
            {**record, **({"id": ids[record["id"]]} if "id" in record else {})} for record in records]}).json()  # fmt: skip
        for got, recorded in zip(mine, exchange["response"], strict=True):
            assert _shape(got) == _shape(recorded)
            if not recorded["success"]:
                failed += 1
                assert got == recorded
        replayed += 1
    assert replayed > 10 and failed >= 4


def test_the_recorded_404_is_answered_word_for_word(fresh: Client) -> None:
    recorded = next(e for e in _exchanges() if e["status"] == 404)
    late = _named(fresh, "Late Larch Lumber")
    fresh.call("DELETE", f"{DATA}/sobjects/Account/{late}")
    answer = fresh.call("GET", f"{DATA}/sobjects/Account/{late}")
    assert answer.status_code == 404 and answer.json() == recorded["response"]
    assert answer.headers["Content-Type"] == recorded["headers"]["Content-Type"]
    assert re.fullmatch(r"api-usage=\d+/\d+", answer.headers["Sforce-Limit-Info"])


# -- records from files, speed --------------------------------------------------------------------------------------


def test_records_from_files_are_served_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "salesforce"
    folder.mkdir()
    line = {"attributes": {"type": "Opportunity"}, "Id": "0064S00000abcdeQAA", "IsDeleted": False, "Name": "Müller | Söhne, Id. 5",
            "StageName": "Id. Decision Makers", "CloseDate": "2021-12-03", "Account": {"attributes": {"type": "Account"}, "Name": "Acme"},
            "Odd_Field__c": "odd", "SystemModstamp": "2021-12-03T17:59:15.000+0000"}  # fmt: skip
    text = json.dumps(line)[:-1] + ', "Amount": 639.000}'
    (folder / "opportunities.jsonl").write_text(text + "\n")
    for client in _serving(make_world(), records=tmp_path):
        query = "SELECT Name, Account.Name, Amount, Odd_Field__c, NextStep FROM Opportunity WHERE Amount = 639"
        answer = client.call("GET", f"{DATA}/query", q=query)
        assert '"Amount":639.000' in answer.text
        (row,) = answer.json()["records"]
        assert row["Name"] == line["Name"] and row["Account"]["Name"] == "Acme" and row["Odd_Field__c"] == "odd" and row["NextStep"] is None
        assert client.refused("SELECT CurrencyIsoCode FROM Opportunity")["errorCode"] == "INVALID_FIELD"
        assert client.rows("SELECT Id FROM Account") == [] and len(client.rows("SELECT Id FROM Organization")) == 1
        control(client.url, "POST", "advance", {"days": 1})


def test_a_bad_line_of_a_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"salesforce/accounts\.jsonl, line 2"):
        Org(make_world(), Clock(make_world().today, lambda: 0.0), {"accounts": [b'{"Id": "001000000000001AAA"}', b"nonsense"]})


def test_pages_behind_a_key_cost_what_they_hold() -> None:
    world = make_world(accounts=400)
    org = Org(world, Clock(world.today, lambda: 0.0), None)
    started, where, found = time.perf_counter(), "", 0
    for _ in range(200):
        query = f"SELECT Id, Name, Amount FROM Opportunity {where} ORDER BY SystemModstamp, Id LIMIT 100"
        parsed, rows = org.query(query, True)
        if not rows:
            break
        assert [org.reader.show(row, org.reader.shown(row_object(org), org.reader.paths(parsed))) for row in rows[:1]]
        found += len(rows)
        stamp = rows[-1].stamp.replace("+0000", "Z")
        where = f"WHERE (SystemModstamp > {stamp} OR (SystemModstamp = {stamp} AND Id > '{rows[-1].id}'))"
    assert found == len(world.deals) > 1000
    assert time.perf_counter() - started < 5


def row_object(org: Org) -> Any:
    return org.objects["opportunity"]


def test_a_day_renders_only_what_changed() -> None:
    world = make_world(accounts=200)
    box = Sandbox(world, Clock(world.today, lambda: 0.0))
    before = dict(box.org.tables["Opportunity"].records)
    world.advance(1)
    box.advance(world.today)
    now = box.org.tables["Opportunity"].records
    changed = {key for key, record in now.items() if before.get(key) is not record}
    assert changed and len(changed) < len(now) / 2
    assert all(now[key].stamp.startswith("2026-07-01") for key in changed)
