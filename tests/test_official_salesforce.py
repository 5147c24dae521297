"""simple-salesforce, which nobody here wrote, reads the sandbox and writes to it: over the vendor's own host names and HTTPS, which an
adapter of requests leads to this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter
from sandbox_fixture import running_sandbox
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceMalformedRequest, SalesforceResourceNotFound

from pipelines.sandbox.world import World, make_world
from pipelines.vendors.salesforce.sandbox_auth import CLIENT_ID, CLIENT_SECRET

# What we read of each object, as our own queries name it.
READ = {
    "Account": "Id, Name, Website, OwnerId, ParentId", "Contact": "Id, AccountId, Email", "User": "Id, Email, IsActive",
    "Opportunity": "Id, Name, AccountId, StageName, Amount, CloseDate, IsWon", "OpportunityLineItem": "Id, OpportunityId, TotalPrice",
    "Product2": "Id, Name, ProductCode", "OpportunityStage": "Id, ApiName, IsWon", "Organization": "Id, Name",
}  # fmt: skip


class Here(HTTPAdapter):
    """Leads every HTTPS call to the sandbox."""

    def __init__(self, url: str):
        self.url = url
        super().__init__()

    def send(self, request: requests.PreparedRequest, *more: Any, **options: Any) -> requests.Response:
        asked = urlsplit(request.url or "")
        path = asked.path.removeprefix("/salesforce")
        request.url = f"{self.url}/salesforce{path}" + (f"?{asked.query}" if asked.query else "")
        return super().send(request, *more, **options)


@pytest.fixture(scope="module")
def org() -> Iterator[tuple[World, requests.Session]]:
    world = make_world()
    with running_sandbox(world, rate_limits=False, crms=["salesforce"]) as url, requests.Session() as session:
        session.trust_env = False
        session.mount("https://", Here(url))
        yield world, session


@pytest.fixture(scope="module")
def client(org: tuple[World, requests.Session]) -> Salesforce:
    return Salesforce(consumer_key=CLIENT_ID, consumer_secret=CLIENT_SECRET, domain="acme.my", session=org[1], version="68.0")


def test_a_wrong_secret_is_refused(org: tuple[World, requests.Session]) -> None:
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid_client"):
        Salesforce(consumer_key=CLIENT_ID, consumer_secret="wrong", domain="acme.my", session=org[1])


@pytest.mark.parametrize("name", READ)
def test_every_object_is_read_page_by_page(client: Salesforce, name: str) -> None:
    first = client.query(f"SELECT {READ[name]} FROM {name}", headers={"Sforce-Query-Options": "batchSize=200"})
    found, page = list(first["records"]), first
    while not page["done"]:
        page = client.query_more(page["nextRecordsUrl"], identifier_is_url=True)
        found += page["records"]
    assert len({row["Id"] for row in found}) == len(found) == first["totalSize"] > 0
    assert set(READ[name].split(", ")) <= set(found[0])
    assert len(client.query_all(f"SELECT Id FROM {name}")["records"]) == len(found)


def test_amounts_are_the_worlds(org: tuple[World, requests.Session], client: Salesforce) -> None:
    world = org[0]
    shown = client.query_all("SELECT Name, Amount FROM Opportunity WHERE Amount != null")["records"]
    amounts = sorted(float(deal.amount) for deal in world.deals.values() if deal.amount is not None and not deal.archived)
    assert sorted(row["Amount"] for row in shown) == amounts


def test_deleted_ones_are_told(client: Salesforce) -> None:
    rows = client.query_all("SELECT Id, IsDeleted FROM Account", include_deleted=True)["records"]
    assert any(row["IsDeleted"] for row in rows)


def test_describes_say_what_is_there(client: Salesforce) -> None:
    names = {field["name"] for field in client.Account.describe()["fields"]}
    assert {"Id", "Name", "OwnerId", "SystemModstamp"} <= names
    assert "Opportunity" in {one["name"] for one in client.describe()["sobjects"]}
    assert client.limits()["DailyApiRequests"]["Max"] > 0


def test_records_are_written_one_by_one_and_in_batches_with_a_partial_failure(client: Salesforce) -> None:
    first, second = [row["Id"] for row in client.query("SELECT Id FROM Account ORDER BY Id LIMIT 2")["records"]]
    assert client.Account.update(first, {"Website": "https://first.example"}) == 204
    assert client.Account.get(first)["Website"] == "https://first.example"
    rows = [{"attributes": {"type": "Account"}, "id": record, "Website": "https://batch.example"}
            for record in (second, "001000000000000AAA")]
    good, bad = client.restful("composite/sobjects", method="PATCH", json={"allOrNone": False, "records": rows})
    assert good["success"] is True and bad["success"] is False and bad["errors"][0]["statusCode"]
    assert client.Account.get(second)["Website"] == "https://batch.example"


def test_what_is_not_there_is_refused_in_the_vendors_shape(client: Salesforce) -> None:
    with pytest.raises(SalesforceResourceNotFound):
        client.Account.get("001000000000000AAA")
    with pytest.raises(SalesforceMalformedRequest, match="MALFORMED_QUERY"):
        client.query("SELECT Id FROM")


@pytest.mark.parametrize("query", [
    "SELECT StageName, COUNT(Id) FROM Opportunity GROUP BY StageName HAVING COUNT(Id) > 1",
    "SELECT Id, (SELECT Id FROM Contacts) FROM Account", "SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Opportunity)",
    "SELECT FIELDS(ALL) FROM Account LIMIT 200", "SELECT TYPEOF What WHEN Account THEN Name END FROM Task",
    "SELECT Id FROM Account WHERE CreatedDate = LAST_N_DAYS:30", "SELECT Id FROM Account USING SCOPE mine",
    "SELECT Id FROM Account FOR VIEW",
    "SELECT CALENDAR_YEAR(CloseDate), COUNT(Id) FROM Opportunity GROUP BY CALENDAR_YEAR(CloseDate)",
])  # fmt: skip
def test_sandbox_05_valid_soql_called_malformed(client: Salesforce, query: str) -> None:
    with pytest.raises(SalesforceMalformedRequest, match="not served by the sandbox") as refused:
        client.query(query)
    assert "MALFORMED_QUERY" not in str(refused.value)


@pytest.mark.parametrize("query", ["SELECT Id FROM Account HAVING", "SELECT Id, FROM Account WHERE Name = 'HAVING'", "SELECT (SELECT"])
def test_sandbox_05_what_is_malformed_stays_so(client: Salesforce, query: str) -> None:
    with pytest.raises(SalesforceMalformedRequest, match="MALFORMED_QUERY"):
        client.query(query)


@pytest.mark.parametrize(("method", "path"), [("GET", "analytics/reports"), ("PUT", "limits"), ("PATCH", "query"), ("DELETE", "sobjects")])
def test_sandbox_04_other_calls_are_refused_in_json(client: Salesforce, method: str, path: str) -> None:
    answer = client.session.request(method, f"{client.base_url}{path}", headers=client.headers, timeout=10)
    (error,) = answer.json()
    assert answer.status_code in (404, 405) and error["errorCode"] and "not served by the sandbox" in error["message"]
