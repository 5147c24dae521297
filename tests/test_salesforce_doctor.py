"""Salesforce's source: its configuration, what doctor says of an org, what a night will take."""

import re
from dataclasses import replace

import pytest
from salesforce_org_fixture import Nights, Org, accounts, described_fields, settings_with

from pipelines.settings import ConfigurationError
from pipelines.vendors.salesforce import CARD, VERSION, source, source_query, source_rows


@pytest.fixture
def org() -> Org:
    return Org()


@pytest.fixture
def nights(org, tmp_path) -> Nights:
    return Nights(org, settings_with(tmp_path))


# --- Configuration, doctor, forecast


@pytest.mark.parametrize("url", ["", "http://acme.my.salesforce.com", "acme.my.salesforce.com", "https://acme.my.salesforce.com/x",
                                 "https://user@evil.example"])
def test_a_live_org_needs_its_own_address(tmp_path, url):
    with pytest.raises(ConfigurationError, match=re.escape("[salesforce] instance_url")):
        source.connect(settings_with(tmp_path, f'instance_url = "{url}"\n', "live"))


def test_calls_go_to_the_my_domain_host(tmp_path):
    api = source.connect(settings_with(tmp_path, 'instance_url = "https://acme.my.salesforce.com/"\n', "live"))
    assert api.base_url == "https://acme.my.salesforce.com"


def test_a_jwt_speaks_for_the_app_and_the_user(tmp_path):
    more = 'instance_url = "https://acme.my.salesforce.com"\nauth = "jwt_bearer"\n'
    with pytest.raises(ConfigurationError, match="username is empty"):
        source.connect(settings_with(tmp_path, more, "live"))
    ready = settings_with(tmp_path, more + 'username = "robot@acme.example"\n')
    assert source.jwt_claims(ready) == {
        "iss": "sandbox-client", "sub": "robot@acme.example", "aud": "https://login.salesforce.com",
    }  # fmt: skip


def test_the_orgs_daily_limit_ends_the_night_and_a_crowd_does_not():
    body = '[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]'
    said = source.spent(403, {"Sforce-Limit-Info": "api-usage=15000/15000"}, body)
    assert said and "15000/15000" in said
    assert source.spent(403, {}, body.replace("TotalRequests", "ConcurrentRequests (Concurrent API Requests)")) is None
    assert source.spent(403, {}, '[{"errorCode":"INSUFFICIENT_ACCESS"}]') is None
    assert source.spent(200, {}, body) is None


def test_doctor_is_content_with_a_complete_org(tmp_path):
    assert source.check(Org(), settings_with(tmp_path)) == []


def test_doctor_misses_no_currency_where_there_is_only_one(tmp_path):
    org = Org()
    org.fields = described_fields(currencies=False)
    assert source.check(org, settings_with(tmp_path)) == []


def test_doctor_names_every_field_and_object_that_is_missing(tmp_path):
    org = Org()
    del org.fields["Account"]["Billing_Email__c"], org.fields["Account"]["Crossfoot_Customer_Ids__c"]
    del org.fields["Opportunity"]["Amount"], org.fields["Contact"]
    problems = source.check(org, settings_with(tmp_path))
    assert len(problems) == 3
    assert "Account has no field 'Billing_Email__c'" in problems[0] and "billing_email_field" in problems[0]
    assert problems[1] == "salesforce: the app's user cannot see Contact; give it read access to that object"
    assert problems[2] == "salesforce: the app's user cannot see Opportunity.Amount; give it read access to that field"


def test_doctor_says_when_the_version_is_not_spoken(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "VERSION", "v70.0")
    assert source.check(Org(), settings_with(tmp_path)) == [
        "salesforce: the org does not speak API version v70.0 (newest: v68.0); use a Crossfoot that fits the org's release"
    ]


def test_doctor_shows_a_refusal_with_its_remedy(tmp_path):
    org = Org(budget=0)
    assert source.check(org, settings_with(tmp_path)) == ["salesforce: the night's 0 calls are used up"]


def test_a_forecast_counts_pages_and_what_is_left_today(org, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "query": 10}))
    accounts(org, 25)
    for n in range(1, 40):
        org.put("Opportunity", n)
    nights = Nights(org, settings_with(tmp_path, "bulk_threshold = 30\n"))
    job = nights.job()
    calls = source.forecast(job)
    assert (calls["Account"], calls["Contact"], calls["Opportunity"]) == (3, 1, 13)
    assert job.notes == ["the org grants 14000 more API calls of its 15000 in 24 hours"]


def test_a_forecast_is_what_a_first_night_takes(org, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "CARD", replace(CARD, page_sizes={**CARD.page_sizes, "query": 10}))
    accounts(org, 25)
    nights = Nights(org, settings_with(tmp_path))
    org.calls.clear()
    calls = sum(source.forecast(nights.job()).values())
    nights.run()
    assert org.calls.total() == calls


def test_the_source_lands_every_table_in_the_order_of_the_night(nights):
    found = source.source(nights.job()).resources
    assert list(found) == ["organization", "opportunity_stages", *(kind.table for kind in source_rows.KINDS),
                           "new_opportunity_stages", "deletions"]


def test_the_card_lists_what_lands():
    assert sorted(CARD.objects) == sorted(source.TABLES)
    assert VERSION in source_query.DATA
