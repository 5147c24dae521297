"""The sandbox's Salesforce org as a client without our code sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_fixture import Ticker, running_sandbox

from pipelines.sandbox.world import World, make_world
from pipelines.vendors.salesforce.sandbox import Sandbox

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


def serving(world: World, box: type[Sandbox] = Sandbox, **options: Any) -> Iterator[Client]:
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


def id_of(kind: str, row: Any) -> str:
    return Sandbox.record_id(kind, row.id)


def sold(client: Client) -> tuple[str, str]:
    """(account, opportunity) of something that was sold."""
    where = "AccountId != null AND HasOpportunityLineItem = true AND IsWon = true"
    (row,) = client.rows(f"SELECT Id, AccountId FROM Opportunity WHERE {where} ORDER BY Id LIMIT 1")
    return row["AccountId"], row["Id"]


def named(client: Client, name: str, entity: str = "Account") -> str:
    return client.rows(f"SELECT Id FROM {entity} WHERE Name = '{name}'")[0]["Id"]


def recorded_text(name: str) -> str:
    if not RECORDED.is_dir():
        pytest.skip("no recorded exchanges here")
    return (RECORDED / name).read_text(encoding="utf-8")
