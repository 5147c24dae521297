"""Salesforce's source against the sandbox over HTTP."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from extract_fixture import clear, fault
from salesforce_org_fixture import Nights, Org, settings_with
from sandbox_fixture import running_sandbox

from pipelines.card import Call
from pipelines.http import Api, ApiError
from pipelines.sandbox.world import make_world
from pipelines.vendors.salesforce import CARD, source, source_query, source_rows
from pipelines.vendors.salesforce.sandbox import Sandbox
from pipelines.vendors.salesforce.sandbox_people import compute


@pytest.fixture
def org() -> Org:
    return Org()


@pytest.fixture
def nights(org, tmp_path) -> Nights:
    return Nights(org, settings_with(tmp_path))


# --- Against the sandbox over HTTP


class SmallPages(Sandbox):
    """Pages of forty, so that a small company has several."""

    page_size = 40


class OneCurrency(Sandbox):
    several_currencies = False


@pytest.fixture(scope="module")
def shop():
    """(world, url) of the planted company of 60 accounts."""
    world = make_world(7, 60)
    with running_sandbox(world, vendors={"salesforce": SmallPages}, rate_limits=False) as url:
        yield world, url


@pytest.fixture
def cleared(shop):
    """The same org without faults and with an empty log of calls."""
    clear(shop[1])
    yield shop
    clear(shop[1])


def over_http(url: str, folder: Path, more: str = "", **secrets: str) -> Nights:
    """Nights over the sandbox, with a real Api."""
    chosen = settings_with(folder, more + "\n[network]\nretry_base_seconds = 0.001\ntimeout_seconds = 20\n")
    known = {**chosen.secrets, "salesforce": {**chosen.secrets["salesforce"], **secrets}}
    chosen = replace(chosen, sandbox_url=url, secrets=known)
    return Nights(source.connect(chosen), chosen)


@pytest.fixture(scope="module")
def first_night(shop, tmp_path_factory):
    nights = over_http(shop[1], tmp_path_factory.mktemp("org"))
    nights.run()
    return nights


def test_every_live_record_of_the_company_lands(shop, first_night):
    world, _ = shop
    archived = {deal.id for deal in world.deals.values() if deal.archived}
    for table, kind, expected in (
        ("accounts", "account", [one.id for one in world.accounts.values() if not one.archived]),
        ("opportunities", "deal", [one.id for one in world.deals.values() if not one.archived]),
        ("opportunity_lines", "deal_line", [one.id for one in world.deal_lines.values() if one.deal_id not in archived]),
        ("contacts", "contact", list(world.contacts)),
    ):
        assert set(first_night.alive(table)) == {Sandbox.record_id(kind, one) for one in expected}, table
    assert not first_night.spent and first_night.rows["opportunity_stages"]


def test_amounts_land_as_the_company_has_them_and_words_as_problems(shop, first_night):
    world, _ = shop
    rows, words = first_night.alive("opportunities"), 0
    for deal in world.deals.values():
        if not deal.archived:
            row = rows[Sandbox.record_id("deal", deal.id)]
            assert row["amount"] == (None if deal.amount_text else deal.amount)
            assert row["currency"] == (deal.currency or world.base_currency)
            assert bool(row["_problem"]) == bool(deal.amount_text)
            words += bool(deal.amount_text)
    assert words == 1


def test_the_rates_of_the_company_land_as_quotes(shop, first_night):
    world, _ = shop
    corporate = [row for row in first_night.rows["currency_types"] if row["is_corporate"]]
    assert [row["iso_code"] for row in corporate] == [world.base_currency] == [first_night.rows["organization"][0]["currency"]]
    assert {row["iso_code"] for row in first_night.rows["dated_conversion_rates"]} == {rate.source for rate in world.rates}


def test_a_first_night_takes_the_calls_that_were_forecast(cleared, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "query": SmallPages.page_size}))
    nights = over_http(cleared[1], tmp_path)
    before = nights.org.calls.total()
    expected = sum(source.forecast(nights.job()).values())
    nights.run()
    assert nights.org.calls.total() - before == expected


def test_bulk_and_pages_give_the_same_night_over_http(shop, first_night, tmp_path):
    bulk = over_http(shop[1], tmp_path, "bulk_threshold = 25")
    bulk.run()
    assert bulk.org.calls["Opportunity bulk"] >= 3 and bulk.org.calls["Account bulk"] >= 3
    assert {name: len(rows) for name, rows in bulk.rows.items()} == {name: len(rows) for name, rows in first_night.rows.items()}
    for name in ("accounts", "contacts", "opportunities", "opportunity_lines"):
        assert bulk.alive(name) == first_night.alive(name), name


def test_a_second_night_over_http_reads_nothing_twice(shop, tmp_path):
    nights = over_http(shop[1], tmp_path)
    nights.run()
    before = nights.org.calls.total()
    rows = nights.run()
    assert {name for name, found in rows.items() if found} <= {
        "organization", "record_types", "currency_types", "dated_conversion_rates", "opportunity_stages",
    }  # fmt: skip
    assert nights.org.calls.total() - before == 8 + 5 + len(source_rows.KINDS) + 1 + len(source_rows.DELETABLE)


@pytest.mark.parametrize("match", ["/queryAll?", "/query/", "/describe"])
def test_a_token_that_expires_in_the_middle_is_renewed(cleared, first_night, tmp_path, match):
    _, url = cleared
    fault(url, "expired_token", match, vendor="salesforce", nth=3)
    nights = over_http(url, tmp_path)
    nights.run()
    for name in source.TABLES:
        assert nights.alive(name) == first_night.alive(name), name


def test_the_orgs_last_call_ends_the_night_and_the_next_goes_on(cleared, first_night, tmp_path):
    _, url = cleared
    fault(url, "429", "/query", vendor="salesforce", nth=8, times=1000)
    nights = over_http(url, tmp_path)
    nights.run()
    assert "API calls of the last 24 hours are used up (api-usage=" in nights.spent
    assert 0 < len(nights.alive("accounts")) < len(first_night.alive("accounts"))
    clear(url)
    nights.run()
    for name in ("users", "accounts", "contacts", "opportunities", "opportunity_lines", "products"):
        assert nights.alive(name) == first_night.alive(name), name


def test_broken_calls_are_repeated(cleared, first_night, tmp_path):
    _, url = cleared
    for kind in ("500", "reset", "duplicate_page"):
        fault(url, kind, "/query", vendor="salesforce", nth=2, times=2)
    nights = over_http(url, tmp_path)
    nights.run()
    assert nights.alive("accounts") == first_night.alive("accounts")


def test_a_wrong_secret_is_refused_and_shown_nowhere(cleared, tmp_path):
    nights = over_http(cleared[1], tmp_path, client_secret="do-not-show-this-secret")
    with pytest.raises(ApiError, match="SALESFORCE_CLIENT_SECRET") as refused:
        nights.run()
    assert "do-not-show-this-secret" not in f"{refused.value} {refused.value.body} {refused.value.request}"
    (problem,) = source.check(nights.org, nights.settings)
    assert "SALESFORCE_CLIENT_ID" in problem and "do-not-show" not in problem


def test_a_signed_assertion_opens_the_org_and_a_wrong_one_is_refused(tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    box = type("Signed", (Sandbox,), {"public_key": public, "username": "robot@acme.example"})
    with running_sandbox(make_world(7, 20), vendors={"salesforce": box}, rate_limits=False) as url:
        more = 'auth = "jwt_bearer"\nusername = "{}"'
        nights = over_http(url, tmp_path, more.format("robot@acme.example"), private_key=private)
        assert source.check(nights.org, nights.settings) == []
        stranger = over_http(url, tmp_path, more.format("somebody@else.example"), private_key=private)
        (problem,) = source.check(stranger.org, stranger.settings)
    assert "[salesforce] username" in problem and "PRIVATE" not in problem


def test_a_token_is_not_shown_in_the_error_of_a_call(cleared, tmp_path):
    nights = over_http(cleared[1], tmp_path)
    with pytest.raises(ApiError) as refused:
        nights.org.get(f"{source_query.DATA}/query", {"q": "SELECT Nothing FROM Account"})
    token = nights.org.auth.header().removeprefix("Bearer ")
    assert "INVALID_FIELD" in str(refused.value) and token and token not in str(refused.value)


def test_doctor_is_content_with_the_sandbox(cleared, tmp_path):
    nights = over_http(cleared[1], tmp_path)
    assert source.check(nights.org, nights.settings) == []


def test_an_org_with_one_currency_reads_over_http(tmp_path):
    world = make_world(7, 20)
    with running_sandbox(world, vendors={"salesforce": OneCurrency}, rate_limits=False) as url:
        nights = over_http(url, tmp_path)
        assert source.check(nights.org, nights.settings) == []
        rows = nights.run()
    assert rows["currency_types"] == rows["dated_conversion_rates"] == [] and rows["opportunities"]
    assert {row["currency"] for row in rows["opportunities"] if not row.get("_deleted")} == {None}
    assert [(row["currency"], row["multicurrency"]) for row in rows["organization"]] == [(None, False)]


def test_a_person_deletes_and_changes_while_nights_go_by(tmp_path):
    """Over HTTP as another client: a deletion, a change, and a computed field that moves no stamp."""
    boxes: list[Sandbox] = []

    def make(*args: Any) -> Sandbox:
        boxes.append(SmallPages(*args))
        return boxes[0]

    make.record_id = Sandbox.record_id
    with running_sandbox(make_world(7, 20), vendors={"salesforce": make}, rate_limits=False) as url:
        nights = over_http(url, tmp_path)
        nights.run()
        (org,) = (box.org for box in boxes)
        first, second, third, *_ = sorted(nights.alive("accounts"))
        deal = min(nights.alive("opportunities"))
        person = Api(nights.org.base_url, vendor="a person", auth=nights.org.auth, allowed=[Call("DELETE", ".*")])
        person.delete(f"{source_query.DATA}/sobjects/Account/{first}")
        boxes[0].merge("Account", second, third)
        compute(org, "Opportunity", deal, "Invoice_Numbers__c", "INV-computed")
        nights.run()
        assert {first, second} & set(nights.alive("accounts")) == set() and third in nights.alive("accounts")
        assert "1 accounts were merged into others: their ids count as deleted" in nights.notes
        assert {row["id"]: row.get("merged_into") for row in nights.rows["accounts"] if row.get("_deleted")} == {first: None, second: third}
        assert nights.alive("opportunities")[deal]["invoice_numbers"] == "INV-computed"
        org.tables["Opportunity"].drop(deal)
        nights.cursors["deleted"] = "2020-01-01T00:00:00.000Z"
        nights.run()
        assert deal not in nights.alive("opportunities")
        assert len(nights.alive("opportunities")) == sum(not record.deleted for record in org.tables["Opportunity"].records.values())
