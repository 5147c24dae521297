"""Salesforce's sandbox over HTTP: deletions, merges, days, sign-in, faults, recorded exchanges, records from files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from salesforce_client_fixture import DATA, RECORDED, SECRET, USER, Client, named, serving, sold
from sandbox_fixture import control

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.world import World, make_world
from pipelines.vendors.salesforce.sandbox import Sandbox
from pipelines.vendors.salesforce.sandbox_people import compute
from pipelines.vendors.salesforce.sandbox_state import Org


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


# -- deletions, merges, days ----------------------------------------------------------------------------------------


def test_deleted_records_are_only_in_query_all_and_in_the_log(fresh: Client) -> None:
    _, deal = sold(fresh)
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
    late = named(fresh, "Late Larch Lumber")
    ids = f"{late},001999999999999AAA"
    together = fresh.call("DELETE", f"{DATA}/composite/sobjects", ids=ids, allOrNone="true").json()
    assert [result["success"] for result in together] == [False, False]
    assert fresh.rows(f"SELECT Id FROM Account WHERE Id = '{late}'")
    assert [r["success"] for r in fresh.call("DELETE", f"{DATA}/composite/sobjects", ids=ids).json()] == [True, False]
    assert fresh.rows(f"SELECT Id FROM Account WHERE Id = '{late}'") == []


def test_a_merge_leaves_the_losers_id_behind(fresh: Client) -> None:
    loser, kept = sold(fresh)[0], named(fresh, "Part Paid Pottery")
    deals = {row["Id"] for row in fresh.rows(f"SELECT Id FROM Opportunity WHERE AccountId = '{loser}'")}
    fresh.box.merge("Account", loser, kept)
    (row,) = fresh.rows(f"SELECT IsDeleted, MasterRecordId FROM Account WHERE Id = '{loser}'", "queryAll")
    assert (row["IsDeleted"], row["MasterRecordId"]) == (True, kept) and fresh.rows(f"SELECT Id FROM Account WHERE Id = '{loser}'") == []
    assert deals and deals <= {row["Id"] for row in fresh.rows(f"SELECT Id FROM Opportunity WHERE AccountId = '{kept}'")}
    control(fresh.url, "POST", "advance", {"days": 3})
    fresh.sign_in()
    assert fresh.rows(f"SELECT MasterRecordId FROM Account WHERE Id = '{loser}'", "queryAll")[0]["MasterRecordId"] == kept


def test_a_formula_changes_without_moving_the_stamp(fresh: Client) -> None:
    late = named(fresh, "Late Larch Lumber")
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

    for client in serving(make_world(), Signed):
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

    for client in serving(make_world(), Poor):
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
    late, part = named(fresh, "Late Larch Lumber"), named(fresh, "Part Paid Pottery")
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
    late = named(fresh, "Late Larch Lumber")
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
    for client in serving(make_world(), records=tmp_path):
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
