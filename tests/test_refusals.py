"""What a refusal means, vendor by vendor: wait so long, the day is spent, a right is missing. Salesforce's are in its own tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from extract_fixture import FAST, clear, collect, empty_world, fault, job_for, settings_at
from sandbox_fixture import running_sandbox

from pipelines.http import ApiError, BudgetSpent
from pipelines.landing import Job
from pipelines.vendors.hubspot import refusals as hubspot_refusals
from pipelines.vendors.hubspot import sandbox as hubspot_sandbox
from pipelines.vendors.hubspot import source as hubspot
from pipelines.vendors.quickbooks import refusals as quickbooks_refusals
from pipelines.vendors.quickbooks import sandbox as quickbooks_sandbox
from pipelines.vendors.quickbooks import source as quickbooks
from pipelines.vendors.xero import refusals as xero_refusals

VENDORS = {"hubspot": hubspot_sandbox.Sandbox, "quickbooks": quickbooks_sandbox.Sandbox}
# As recorded in ruckus/quickbooks-ruby issue 338 (403) and pull 348 (429).
XML = ('<?xml version="1.0" encoding="UTF-8" standalone="yes"?><IntuitResponse><Fault type="SERVICE">'
       '<Error code="3001"><Message>message=ThrottleExceeded; errorCode=003001; statusCode=%d</Message></Error></Fault></IntuitResponse>')


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    world = empty_world()
    world.add_invoice(world.add_customer("One"), date(2026, 3, 1), [])
    world.add_account("One", domain="one.example")
    with running_sandbox(world, vendors=VENDORS, rate_limits=False) as url:
        yield url


@pytest.fixture
def url(served: str) -> str:
    clear(served)
    return served


def waiting(job: Job) -> list[Decimal]:
    """What the job sleeps from now on, in seconds, without sleeping."""
    slept: list[Decimal] = []
    job.api.retry = replace(job.api.retry, base_seconds=Decimal(1), sleep=slept.append)
    return slept


# -- HubSpot --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "slept"), [("ten_secondly_rolling", [10, 20]), ("secondly", [1, 2])])
def test_hubspots_short_limits_are_waited_for(url: str, tmp_path: Path, policy: str, slept: list[int]) -> None:
    job = job_for(hubspot, settings_at(url, tmp_path, FAST))
    found = waiting(job)
    fault(url, "429", "companies/search", message=policy, times=2)
    assert collect(hubspot.companies(job))["companies"]
    assert found == slept


def test_hubspots_spent_day_is_not_waited_for_and_keeps_what_came(url: str, tmp_path: Path) -> None:
    job = job_for(hubspot, settings_at(url, tmp_path, FAST))
    found = waiting(job)
    fault(url, "429", "crm/objects", message="daily", times=9)
    with pytest.raises(BudgetSpent, match=r"^hubspot: the portal's API calls of the day are used up; .* midnight"):
        collect(hubspot.companies(job))
    assert (found, job.calls) == ([], {"companies": 1})
    assert hubspot.check(job.api, job.settings) == ["hubspot: the portal's API calls of the day are used up; they come back at midnight in "
                                                    "the portal's time zone"]


@pytest.mark.parametrize(("body", "policy"), [
    ('{"policyName":"DAILY","message":"You have reached your daily limit."}', "DAILY"),
    ('{"policyName": "TEN_SECONDLY_ROLLING", "message": "of today\'s DAILY calls there are some left"}', "TEN_SECONDLY_ROLLING"),
    ('{"message":"You have reached your secondly limit."}', "SECONDLY"), ('{"message":"You have reached your daily limit."}', "DAILY"),
    ("<html>Too many requests</html>", ""), ("", ""),
])  # fmt: skip
def test_hubspots_limits_by_name(body: str, policy: str) -> None:
    assert hubspot_refusals.policy(body) == policy
    assert (hubspot_refusals.spent(429, {}, body) is not None) is (policy == "DAILY")
    assert hubspot_refusals.spent(403, {}, body) is None, "only a refusal for too many calls speaks of a limit"


# -- QuickBooks -----------------------------------------------------------------------------------------------------


def invoices(job: Job) -> list[str]:
    return [row["id"] for row in collect(quickbooks.records(job, "Invoice", lambda item: [("invoices", [{"id": item["Id"]}])]))["invoices"]]


@pytest.mark.parametrize("status", ["403", "429"])
def test_quickbooks_throttle_is_waited_for_whatever_its_status(
        url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    monkeypatch.setattr(quickbooks, "CARD", replace(quickbooks.CARD, limits=()))
    job = job_for(quickbooks, settings_at(url, tmp_path, FAST))
    found = waiting(job)
    fault(url, status, "query", vendor="quickbooks", message="ThrottleExceeded", times=3)
    assert len(invoices(job)) == 1
    assert found == [1, 4, 16]


def test_quickbooks_missing_right_is_said_at_once_with_its_remedy(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickbooks, "CARD", replace(quickbooks.CARD, limits=()))
    job = job_for(quickbooks, settings_at(url, tmp_path, FAST))
    found = waiting(job)
    fault(url, "403", "query", vendor="quickbooks", times=3)
    with pytest.raises(ApiError, match=r"answered 403: .*3100.*; connect the app to this company again with the accounting scope"):
        invoices(job)
    assert found == []


@pytest.mark.parametrize(("status", "body", "later"), [
    (403, XML % 403, True), (429, XML % 429, True), (400, '{"fault":{"error":[{"code":"3001"}]}}', True),
    (403, '{"fault":{"error":[{"message":"message=AuthorizationFailed; errorCode=003100; statusCode=403","code":"3100"}]}}', False),
    (500, XML % 500, False), (200, XML % 200, False),
])  # fmt: skip
def test_quickbooks_throttle_by_its_code(status: int, body: str, later: bool) -> None:
    assert quickbooks_refusals.later(status, body) is later
    assert quickbooks_refusals.wait(status, {}, body, 2) == (4 if later else 2)


# -- Xero -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("headers", "units", "is_spent"), [
    ({"X-Rate-Limit-Problem": "minute", "Retry-After": "37"}, 37, False), ({"X-Rate-Limit-Problem": "Minute"}, 60, False),
    ({"X-Rate-Limit-Problem": "appMinute"}, 60, False), ({"X-Rate-Limit-Problem": "concurrent"}, 4, False), ({}, 4, False),
    ({"X-Rate-Limit-Problem": "day", "Retry-After": "66975"}, 66975, True), ({"X-Rate-Limit-Problem": "day"}, 4, True),
    ({"Retry-After": "121"}, 121, True), ({"Retry-After": "soon"}, 4, False),
])  # fmt: skip
def test_xeros_limits_by_name(headers: dict[str, str], units: int, is_spent: bool) -> None:
    assert xero_refusals.wait(429, headers, "", 2) == units
    assert (xero_refusals.spent(429, headers, "") is not None) is is_spent
    assert xero_refusals.spent(503, headers, "") is None
