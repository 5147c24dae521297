"""Salesforce's sandbox over HTTP: ids, SOQL, pages, bulk jobs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from decimal import Decimal

import pytest
from salesforce_client_fixture import DATA, Client, id_of, named, serving

from pipelines.sandbox.world import World, make_world
from pipelines.vendors.salesforce.sandbox import Sandbox
from pipelines.vendors.salesforce.sandbox_schema import as_id, full_id
from pipelines.vendors.salesforce.sandbox_soql import BadQuery, parse


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def org(world: World) -> Iterator[Client]:
    """Shared by tests that only read."""
    yield from serving(world)


@pytest.fixture
def fresh() -> Iterator[Client]:
    """A sandbox of the test's own."""
    yield from serving(make_world())


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
                      f"where Id = '{id_of('deal_line', line)}'")  # fmt: skip
    deal = world.deals[line.deal_id]
    assert row["attributes"] == {"type": "OpportunityLineItem", "url": f"{DATA}/sobjects/OpportunityLineItem/{id_of('deal_line', line)}"}
    assert row["Product2"]["ProductCode"] == line.sku and row["Product2"]["attributes"]["type"] == "Product2"
    assert row["Opportunity"]["Account"]["Name"] == world.accounts[deal.account_id].name
    assert row["TotalPrice"] == line.amount and row["Quantity"] == line.quantity
    nobody = org.rows("SELECT Parent.Name FROM Account WHERE ParentId = null LIMIT 1")[0]
    assert nobody["Parent"] is None


def test_the_company_is_rendered_exactly(org: Client, world: World) -> None:
    fields = "Amount, CurrencyIsoCode, CloseDate, Probability, Invoice_Numbers__c, IsWon, RecordType.Name, StageName"
    for row in org.rows(f"SELECT Id, Name, {fields} FROM Opportunity", "queryAll"):
        deal = next(d for d in world.deals.values() if id_of("deal", d) == row["Id"])
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

    for client in serving(make_world(), Single):
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

    for client in serving(make_world(), Small):
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
    one = named(fresh, "Late Larch Lumber")
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
