"""HubSpot's source against the sandbox over HTTP: what it asks for, how often, and that nothing is lost on the way."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from extract_fixture import (
    FAST,
    alive,
    calls,
    clear,
    collect,
    empty_world,
    fault,
    following,
    job_for,
    settings_at,
)
from sandbox_fixture import Portal, Ticker, control, running_sandbox

from pipelines.http import ApiError, ConnectionLost
from pipelines.sandbox.entities import Sold
from pipelines.vendors.hubspot import VERSION, source, source_links
from pipelines.vendors.hubspot.sandbox import Sandbox

DEALS = 450
NAMES = [
    'O\'Brien "The" Co;--',
    '=HYPERLINK("http://evil")',
    "Emoji \U0001f680\U0001f468‍\U0001f469",
    "شركة النور",
    "‮reversed",
    "{{ jinja }}",
    " spaces ",
]
TICKER = Ticker()


@pytest.fixture(autouse=True)
def no_pacing(monkeypatch):
    """The sandbox of these tests has no rate limits, so nothing need wait for them."""
    monkeypatch.setattr(source, "CARD", replace(source.CARD, limits=()))


def populated():
    """450 deals of 7 companies: the first 440 have a company, the first 430 a line, one has two lines."""
    world = empty_world()
    accounts = [world.add_account(name, domain=f"a{n}.example") for n, name in enumerate(NAMES)]
    sold = Sold("PLT-STD", "Platform", Decimal("1.5"), Decimal("33.33"), Decimal("0.01"))
    for n in range(DEALS):
        lines = () if n >= 430 else (sold, sold) if n == 0 else (sold,)
        world.add_deal(accounts[n % len(accounts)] if n < 440 else None, f"Deal {n}", lines, date(2026, 3, 1))
    return world


@pytest.fixture(scope="module")
def running():
    world = populated()
    options = {"vendors": {"hubspot": Sandbox}, "rate_limits": False, "monotonic": TICKER}
    with running_sandbox(world, **options) as url:
        yield world, url


@pytest.fixture
def hub(running) -> Iterator[str]:
    """The portal without faults and with an empty log; the tests before may have changed records."""
    clear(running[1])
    yield running[1]
    clear(running[1])


@pytest.fixture
def chosen(hub, tmp_path):
    return settings_at(hub, tmp_path)


def patch(url: str, kind: str, record_id: str, **properties) -> None:
    """A person changes a record; search shows it after its lag."""
    answer = Portal(url).call("PATCH", f"/crm/objects/{VERSION}/{kind}/{record_id}", {"properties": properties})
    assert answer.status_code == 200, answer.text


def live_deals(url: str) -> dict[str, str]:
    """{id: name} of the deals that the portal lists now."""
    found, after = {}, None
    while True:
        page = (
            Portal(url)
            .get(
                f"/crm/objects/{VERSION}/deals", limit=100, properties="dealname", **({"after": after} if after else {})
            )
            .json()
        )
        found.update((one["id"], one["properties"]["dealname"]) for one in page["results"])
        after = page.get("paging", {}).get("next", {}).get("after")
        if not after:
            return found


def everything(job) -> dict[str, list[dict]]:
    """All rows of a night."""
    steps = (
        source.companies,
        source.contacts,
        source.owners,
        source.deal_stages,
        source.deals,
        source.line_items,
        source.currencies,
    )
    found: dict[str, list[dict]] = {}
    for step in steps:
        for table, rows in collect(step(job)).items():
            found.setdefault(table, []).extend(rows)
    return found


# --- How many calls


def test_a_first_load_uses_as_few_calls_as_the_page_sizes_allow(hub, chosen, running):
    job = job_for(source, chosen)
    found = everything(job)
    assert dict(job.api.calls) == {
        "companies": 1,
        "companies archived": 1,
        "contacts": 1,
        "contacts archived": 1,
        "owners": 2,
        "pipelines": 1,
        "deals": 3,
        "deals to companies": 1,
        "deals to line_items": 1,
        "deals archived": 1,
        "line_items": 3,
        "line_items archived": 1,
        "currencies": 2,
    }
    logged = Counter(call["path"].rpartition("/")[2] for call in calls(hub))
    assert (len(calls(hub)), logged["search"]) == (job.api.calls.total(), 8)
    world = running[0]
    assert alive(found["deals"]).keys() == world.deals.keys()
    assert alive(found["line_items"]).keys() == world.deal_lines.keys()
    assert alive(found["companies"]).keys() == world.accounts.keys()
    assert {row["id"] for row in found["deal_stages"]} == world.stages.keys()
    assert {row["id"] for row in found["owners"]} == world.owners.keys()


def test_the_second_night_reads_only_what_changed(hub, chosen, running):
    first = job_for(source, chosen)
    everything(first)
    deal = list(running[0].deals)[7]
    # Beyond the overlap, so that the first night's last minutes are not read again.
    TICKER.wait(3600)
    patch(hub, "deals", deal, amount="1234.56")
    TICKER.wait(900)
    clear(hub)
    job = following(first, source)
    found = everything(job)
    assert [(row["id"], row["amount"]) for row in found["deals"]] == [(deal, Decimal("1234.560000"))]
    assert (
        {row["deal_id"] for row in found["deal_companies"]}
        == {row["deal_id"] for row in found["deal_line_items"]}
        == {deal}
    )
    assert [found[table] for table in ("companies", "contacts", "line_items")] == [[], [], []]
    assert job.api.calls.total() == len(calls(hub)) == 15

    TICKER.wait(3600)
    quiet = following(job, source)
    assert everything(quiet)["deals"] == []
    assert quiet.api.calls.total() == 13, "no deal changed: no associations are asked for"
    assert not [label for label in quiet.api.calls if label.startswith("deals to")]


def test_a_change_that_search_lists_late_is_found_the_next_night(hub, chosen, running):
    first = job_for(source, chosen)
    TICKER.wait(3600)
    deal = list(running[0].deals)[8]
    patch(hub, "deals", deal, dealname="Changed a moment before the night")
    early = collect(source.deals(first))["deals"]
    assert alive(early)[deal]["name"] != "Changed a moment before the night", "search was not late: nothing is tested"
    TICKER.wait(86_400)
    late = collect(source.deals(following(first, source)))["deals"]
    assert [(row["id"], row["name"]) for row in late] == [(deal, "Changed a moment before the night")]


def test_the_cursor_is_the_vendors_time_at_the_first_answer_less_the_lag(hub, chosen):
    job = job_for(source, chosen)
    pages = source.deals(job)
    next(pages)
    assert "deals" not in job.next_cursors, "what is not read to its end has no cursor"
    TICKER.wait(500)
    collect(pages)
    first = datetime.fromisoformat(job.next_cursors["deals"])
    lag = datetime(2026, 6, 30, 22, tzinfo=UTC) + timedelta(seconds=TICKER.now - 1000 - 500 - 600)
    assert timedelta(0) <= lag - first < timedelta(seconds=2)


def test_a_vendor_that_tells_no_time_is_read_from_the_same_place_again():
    assert source.next_cursor(None, None, "2026-06-30T21:50:00+00:00") == "2026-06-30T21:50:00+00:00"
    assert source.next_cursor(None, None, None) == ""


def test_the_cursor_never_moves_back(chosen, hub):
    job = job_for(source, chosen)
    later = "2030-01-01T00:00:00+00:00"
    assert source.next_cursor("Tue, 30 Jun 2026 22:00:00 GMT", job, later) == later


def test_contacts_have_a_modified_property_of_their_own():
    assert source.search_body("2026-06-30T21:50:00+00:00", 7, ["email", "lastmodifieddate"])["filterGroups"] == [
        {
            "filters": [
                {"propertyName": "hs_object_id", "operator": "GT", "value": "7"},
                {"propertyName": "lastmodifieddate", "operator": "GTE", "value": "1782856200000"},
            ]
        }
    ]


def test_ten_thousand_records_changed_in_one_millisecond_all_land(tmp_path):
    world = empty_world()
    moment = datetime(2026, 6, 30, 12, 0, 0, 123_000, tzinfo=UTC)
    for n in range(10_250):
        world.add_deal(None, f"Deal {n}", (), date(2026, 3, 1), amount=Decimal(n) / 100).modified = moment
    with running_sandbox(world, vendors={"hubspot": Sandbox}, rate_limits=False) as url:
        # Everything changed after the cursor: an incremental night, with the search's filter on the time.
        job = job_for(source, settings_at(url, tmp_path), {"deals": "2026-06-30T11:00:00+00:00"})
        found = collect(source.deals(job))
    rows = found["deals"]
    assert {row["modified_at"] for row in rows} == {moment}
    assert len(rows) == 10_250
    assert {row["id"]: row["amount"] for row in rows} == {deal.id: deal.amount for deal in world.deals.values()}
    assert {row["deal_id"] for row in found["deal_companies"]} == world.deals.keys()
    assert dict(job.api.calls) == {
        "deals": 52,
        "deals to companies": 11,
        "deals to line_items": 11,
        "deals archived": 1,
    }


# --- What the rows say


def test_names_land_byte_for_byte(hub, chosen):
    rows = collect(source.companies(job_for(source, chosen)))["companies"]
    assert sorted(row["name"].encode() for row in rows) == sorted(name.encode() for name in NAMES)


def test_a_deal_without_company_or_lines_says_so(hub, chosen, running):
    deals, found = list(running[0].deals), collect(source.deals(job_for(source, chosen)))
    companies, lines = Counter(), {}
    for row in found["deal_companies"]:
        companies[row["deal_id"]] += 1
    for row in found["deal_line_items"]:
        lines.setdefault(row["deal_id"], []).append(row["line_item_id"])
    assert {"deal_id": deals[-1], "company_id": None, "is_primary": False} in found["deal_companies"]
    assert set(companies) == set(lines) == set(deals)
    assert lines[deals[-1]] == [None]
    assert len(lines[deals[0]]) == 2
    assert {len(lines[deal]) for deal in deals[1:]} == {1}
    values = {row["id"]: row for row in found["deals"]}
    assert values[deals[-1]]["amount"] is None
    assert values[deals[-1]]["_problem"] is None


def test_a_deal_of_several_companies_names_the_primary_one(hub, chosen, running):
    accounts, deal = list(running[0].accounts), list(running[0].deals)[9]
    path = f"/crm/objects/{VERSION}/deals/{deal}/associations"
    Portal(hub).call("PUT", f"{path}/default/companies/{accounts[5]}")
    rows = [row for row in collect(source.deals(job_for(source, chosen)))["deal_companies"] if row["deal_id"] == deal]
    Portal(hub).call("DELETE", f"{path}/companies/{accounts[5]}")
    assert {row["company_id"]: row["is_primary"] for row in rows} == {
        accounts[9 % len(NAMES)]: True,
        accounts[5]: False,
    }


def test_a_line_item_is_exact(hub, chosen, running):
    line = next(iter(running[0].deal_lines.values()))
    row = next(row for row in collect(source.line_items(job_for(source, chosen)))["line_items"] if row["id"] == line.id)
    assert {name: row[name] for name in ("sku", "quantity", "unit_price", "discount", "amount", "currency")} == {
        "sku": "PLT-STD",
        "quantity": Decimal("1.5"),
        "unit_price": Decimal("33.33"),
        "discount": Decimal("0.01"),
        "amount": line.amount,
        "currency": "USD",
    }


def test_malformed_values_are_named_and_the_next_record_goes_on(hub, chosen):
    record = {
        "id": "1",
        "properties": {
            "dealname": "x",
            "amount": "12,50",
            "closedate": "soon",
            "hs_is_closed": "maybe",
            "contract_start_date": "1743685150726",
            "hs_deal_stage_probability": "0.2" + "0" * 53,
        },
    }
    row = source.deal_row(record, job_for(source, chosen), chosen.values["hubspot"])
    assert (row["amount"], row["close_date"], row["is_closed"], row["contract_start"]) == (
        None,
        None,
        None,
        date(2025, 4, 3),
    )
    assert row["probability"] == Decimal("0.2")
    assert row["_problem"] == (
        "amount: '12,50' is not a number; closedate: 'soon' is not a date; hs_is_closed: 'maybe' is not a true or false"
    )


def test_a_deal_closes_on_the_day_in_the_companys_time_zone(hub, tmp_path):
    record = {"id": "1", "properties": {"closedate": "2026-06-30T03:00:00Z"}}
    for zone, day in (("America/New_York", date(2026, 6, 29)), ("Europe/Berlin", date(2026, 6, 30))):
        chosen = settings_at(hub, tmp_path, f'{FAST}\n[company]\ntime_zone = "{zone}"\n[hubspot]\nportal_id = "77"\n')
        row = source.deal_row(record, job_for(source, chosen), chosen.values["hubspot"])
        assert (row["close_date"], row["url"]) == (day, "https://app.hubspot.com/contacts/77/record/0-3/1")


def test_a_property_that_is_not_configured_is_neither_asked_for_nor_read(hub, tmp_path):
    chosen = settings_at(hub, tmp_path, f'{FAST}[hubspot]\nbilling_email_property = ""\npayment_terms_property = ""\n')
    job = job_for(source, chosen)
    assert {row["billing_email"] for row in collect(source.companies(job))["companies"]} == {None}
    assert {row["payment_terms"] for row in collect(source.deals(job))["deals"]} == {None}


def test_merged_records_are_gone_under_their_old_ids():
    page = [
        {"id": "9", "properties": {"hs_merged_object_ids": "7;8"}},
        {"id": "10", "properties": {}},
        {"id": "11", "properties": {"hs_merged_object_ids": None}},
    ]
    assert source.merged(page, source.TABLES["deals"]) == [{"id": "7", "_deleted": True}, {"id": "8", "_deleted": True}]


# --- Deletions


def test_a_deletion_lands_once(hub, chosen, running):
    first = job_for(source, chosen)
    before = alive(collect(source.deals(first))["deals"])
    gone = sorted(before)[-2:]
    for deal in gone:
        TICKER.wait(60)
        Portal(hub).call("DELETE", f"/crm/objects/{VERSION}/deals/{deal}")
    second = following(first, source, known=lambda table: set(before))
    assert [row for row in collect(source.deals(second))["deals"] if row.get("_deleted")] == [
        {"id": deal, "_deleted": True} for deal in gone
    ]
    third = following(second, source, known=lambda table: set(before) - set(gone))
    assert [row for row in collect(source.deals(third))["deals"] if row.get("_deleted")] == []


def test_a_deletion_that_is_listed_late_still_lands(chosen, hub, running):
    archive = [
        {"id": "5", "archivedAt": "2026-06-30T20:58:00Z"},
        {"id": "6", "archivedAt": "2026-06-30T20:10:00Z"},
        {"id": "7", "archivedAt": "2026-06-30T21:00:00Z"},
        {"id": "8", "archivedAt": "2026-06-30T21:00:01Z"},
    ]

    class Listing:
        def get(self, *args, **options):
            return type("Answer", (), {"json": {"results": archive}})

    job = job_for(source, chosen, {"deals": "2026-06-30T21:00:00Z", "deals_archived": "2026-06-30T21:00:00Z"},
                  known=lambda table: {"5", "6"})
    job.api = Listing()
    rows = collect(source.archived(job, "deals"))["deals"]
    assert [row["id"] for row in rows] == ["5", "8"], "in the lag and still held, or newer; 7 is known to be gone"
    assert job.next_cursors["deals_archived"] == "2026-06-30T21:00:01Z"


def test_a_record_that_is_deleted_while_it_is_read_ends_as_deleted(hub, chosen):
    victim = sorted(live_deals(hub))[20]
    fault(hub, "delete_midrun", "deals/companies/batch/read", object="deals", id=victim)
    job = job_for(source, chosen)
    found = collect(source.deals(job))
    assert victim in {row["id"] for row in found["deals"] if not row.get("_deleted")}, (
        "it was not read before: nothing is tested"
    )
    assert alive(found["deals"]).keys() == live_deals(hub).keys()
    assert {"deal_id": victim, "company_id": None, "is_primary": False} in found["deal_companies"]


# --- Faults


@pytest.mark.parametrize(
    "match", ["deals/search", "deals/companies/batch/read", "deals/line_items/batch/read", "archived=true"]
)
@pytest.mark.parametrize("kind", ["429", "500", "reset", "reset_after", "duplicate_page"])
def test_a_fault_on_any_call_loses_nothing(hub, chosen, kind, match):
    fault(hub, kind, match, nth=2 if match == "deals/search" else 1)
    job = job_for(source, chosen)
    found = collect(source.deals(job))
    assert {deal: row["name"] for deal, row in alive(found["deals"]).items()} == live_deals(hub)
    assert {row["deal_id"] for row in found["deal_companies"]} == live_deals(hub).keys()
    assert {row["deal_id"] for row in found["deal_line_items"]} == live_deals(hub).keys()
    assert [one["hits"] for one in control(hub, "GET", "faults")] == [1]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_page_with_every_record_twice_hides_no_other_page(hub, chosen, nth):
    fault(hub, "duplicate_page", "deals/search", nth=nth)
    rows = [row for row in collect(source.deals(job_for(source, chosen)))["deals"] if not row.get("_deleted")]
    assert sorted(row["id"] for row in rows) == sorted(live_deals(hub)), "each lands, and lands once"


def test_a_page_that_never_ends_is_an_error_that_says_so(chosen, hub):
    class Stuck:
        calls = 0

        def post(self, *args, **options):
            self.calls += 1
            return type("Answer", (), {"headers": {}, "json": {"total": 900, "results": [{"id": "7"}]}})

    job = job_for(source, chosen)
    job.api = Stuck()
    with pytest.raises(
        RuntimeError, match="hubspot: search of deals returned nothing above id 7 4 times; run again later"
    ):
        list(source.changed(job, "deals", ["dealname"], "hs_lastmodifieddate"))
    assert job.api.calls == 5


def test_a_call_that_takes_too_long_is_repeated(hub, tmp_path):
    chosen = settings_at(hub, tmp_path, "[network]\nretry_base_seconds = 0.001\ntimeout_seconds = 1\n")
    fault(hub, "timeout", "deals/search", seconds=20)
    job = job_for(source, chosen)
    assert alive(collect(source.deals(job))["deals"]).keys() == live_deals(hub).keys()
    assert job.api.calls["deals"] == 4


def test_a_portal_that_stays_away_is_an_error_that_says_so(hub, chosen):
    fault(hub, "reset", "deals/search", times=99)
    with pytest.raises(ConnectionLost, match=f"hubspot: POST /hubspot/crm/objects/{VERSION}/deals/search: no answer"):
        collect(source.deals(job_for(source, chosen)))


def test_an_expired_token_stops_the_vendor_with_its_remedy(hub, chosen):
    fault(hub, "expired_token", "deals/search", nth=2)
    with pytest.raises(ApiError, match="answered 401: .*; set HUBSPOT_ACCESS_TOKEN to a valid token"):
        collect(source.deals(job_for(source, chosen)))
    assert alive(collect(source.deals(job_for(source, chosen)))["deals"]).keys() == live_deals(hub).keys()


@pytest.mark.parametrize("kind", ["partial", "numerrors"])
def test_a_deal_whose_associations_are_not_found_has_none(hub, chosen, kind):
    victim = sorted(live_deals(hub))[3]
    fault(hub, kind, "deals/companies/batch/read", ids=[victim])
    found = collect(source.deals(job_for(source, chosen)))
    assert [row["company_id"] for row in found["deal_companies"] if row["deal_id"] == victim] == [None]
    assert {row["deal_id"] for row in found["deal_companies"]} == live_deals(hub).keys()


def test_an_association_error_of_another_kind_stops_the_vendor():
    with pytest.raises(RuntimeError, match="hubspot: associations of deals to companies: try later; run again later"):
        source_links._check_association_errors({"errors": [{"category": "INTERNAL", "message": "try later"}]}, "companies")


def test_associations_of_more_than_a_page_are_followed():
    class Paged:
        def post(self, path, body, **options):
            start = int(body["inputs"][0].get("after", 0))
            to = [{"toObjectId": start + n, "associationTypes": []} for n in range(500)]
            more = {"paging": {"next": {"after": str(start + 500)}}} if start < 1000 else {}
            return type("Answer", (), {"json": {"results": [{"from": {"id": "1"}, "to": to, **more}]}})

    assert len(source_links.associations(Paged(), "line_items", ["1"])["1"]) == 1500


# --- What HubSpot asks of its clients


@pytest.mark.parametrize(
    ("status", "body", "attempt", "units"),
    [
        (
            429,
            '{"policyName":"TEN_SECONDLY_ROLLING","message":"You have reached your ten_secondly_rolling limit."}',
            1,
            10,
        ),
        (429, '{"policyName":"TEN_SECONDLY_ROLLING"}', 2, 20),
        (429, '{"message":"You have reached your secondly limit."}', 1, 1),
        (423, "", 1, 2),
        (500, "", 3, 4),
    ],
)
def test_waits_are_those_of_hubspots_own_client(status, body, attempt, units):
    assert source.wait(status, {}, body, attempt) == units


def test_a_portal_with_one_currency_has_no_rates(hub, chosen):
    fault(hub, "404", "exchange-rates")
    job = job_for(source, chosen)
    assert collect(source.currencies(job)) == {
        "company_currency": [{"id": "home", "currency": "USD", "_problem": None}],
        "exchange_rates": [],
    }
    assert job.notes == ["the portal has one currency: no exchange rates"]
    fault(hub, "403", "exchange-rates")
    with pytest.raises(ApiError, match="give the token the scopes"):
        collect(source.currencies(job))


def test_the_doctor_names_every_missing_scope_and_property(hub, chosen, tmp_path):
    assert source.check(job_for(source, chosen).api, chosen) == []
    fault(hub, "403", "/crm/owners")
    fault(hub, "403", f"/crm/objects/{VERSION}/contacts")
    fault(hub, "403", f"/crm/objects/{VERSION}/tasks/batch/update")
    fault(hub, "403", f"/crm/properties/{VERSION}/deals/batch/create")
    problems = source.check(job_for(source, chosen).api, chosen)
    assert [p.partition("; ")[2] for p in problems] == [
        "give the token the scope crm.objects.contacts.read",
        "give the token the scope crm.objects.owners.read",
        "give the token the scope crm.objects.contacts.write",
        "give the token the scope crm.schemas.deals.write",
    ]
    other = settings_at(hub, tmp_path, f'{FAST}[hubspot]\npayment_terms_property = "no_such"\n')
    (problem,) = source.check(job_for(source, other).api, other)
    assert problem.startswith(
        "hubspot: deals have no property 'no_such'; create it, or name another in [hubspot] payment_terms_property"
    )
