"""HubSpot's rules as the sandbox keeps them, over real HTTP."""

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from sandbox_fixture import Portal, Ticker, control, running_sandbox

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.entities import Account, Contact, Deal, DealLine, Owner, Rate, Stage
from pipelines.sandbox.world import World, make_world
from pipelines.vendors.hubspot import VERSION
from pipelines.vendors.hubspot.sandbox import Sandbox
from pipelines.vendors.hubspot.sandbox_state import HubSpotState, Query

OBJECTS = f"/crm/objects/{VERSION}"
COMPANIES, DEALS, TASKS = f"{OBJECTS}/companies", f"{OBJECTS}/deals", f"{OBJECTS}/tasks"
PROPERTIES = f"/crm/properties/{VERSION}"
ACME, BLUE, GONE = "101", "102", "103"
WON, OPEN = "201", "202"
TICKER = Ticker()


class SmallWorld(World):
    """Three companies, two deals; one more deal is won on the day that `advance` brings."""

    def advance(self, days: int) -> None:
        self.today = date.fromordinal(self.today.toordinal() + days)
        moment = datetime(self.today.year, self.today.month, self.today.day, 9, tzinfo=UTC)
        deal = self.deals[OPEN]
        deal.stage_id, deal.probability, deal.modified = "won", Decimal(1), moment
        self.accounts[BLUE].city, self.accounts[BLUE].modified = None, moment

    def answers(self) -> dict:
        return {"as_of": self.today.isoformat()}


def small_world() -> World:
    world = SmallWorld(7, date(2026, 6, 30))
    world.owners = {"7": Owner("7", "ida@us.example", "Ida", "Berg")}
    world.stages = {
        "open": Stage("open", "Open", False, False, Decimal("0.2"), 0),
        "won": Stage("won", "Won", True, True, Decimal(1), 1),
    }
    world.accounts = {
        ACME: Account(ACME, "Acme", "acme.example", "pay@acme.example", owner_id="7", customer_ids=["58", "60"]),
        BLUE: Account(BLUE, 'Blue "Ünïcode" 🌊, Ltd', "blue.example", None, city="Bergen"),
        GONE: Account(GONE, "Gone", "gone.example", None, archived=True),
    }
    world.contacts = {"301": Contact("301", "ann@acme.example", "Ann", "Lee", ACME)}
    world.deals = {
        WON: Deal(WON, "Acme 2026", ACME, "won", Decimal("1500.00"), "EUR", date(2026, 3, 31), Decimal(1), "7"),
        OPEN: Deal(OPEN, "Blue", BLUE, "open", None, None, date(2026, 9, 1), Decimal("0.2"), None),
    }
    world.deal_lines = {
        "401": DealLine("401", WON, "SKU", "Seats", Decimal(3), Decimal("500"), Decimal(0), Decimal("1500"), "EUR"),
    }
    world.rates = [
        Rate("EUR", "USD", Decimal("1.1000"), date(2026, 1, 1)),
        Rate("EUR", "USD", Decimal("1.0750"), date(2026, 6, 1)),
        Rate("EUR", "USD", Decimal("9"), date(2026, 7, 1)),
    ]
    return world


@pytest.fixture(scope="module")
def url():
    options = {"vendors": {"hubspot": Sandbox}, "remake": small_world, "rate_limits": False, "monotonic": TICKER}
    with running_sandbox(small_world(), **options) as url:
        yield url


@pytest.fixture
def hub(url) -> Portal:
    control(url, "POST", "reset")
    return Portal(url)


def update(hub: Portal, *inputs: dict, path: str = COMPANIES):
    return hub.post(f"{path}/batch/update", {"inputs": list(inputs)})


def search(hub: Portal, *filters: dict, path: str = COMPANIES, **more):
    return hub.post(f"{path}/search", {"filterGroups": [{"filters": list(filters)}], **more})


def found(hub: Portal, *filters: dict, path: str = COMPANIES, **more) -> list[str]:
    answer = search(hub, *filters, path=path, **more)
    assert answer.status_code == 200, answer.text
    return [record["id"] for record in answer.json()["results"]]


def where(name: str, operator: str, **operands) -> dict:
    return {"propertyName": name, "operator": operator, **operands}


def refused(answer, status: int = 400, category: str = "VALIDATION_ERROR") -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["status"] == "error" and body["category"] == category and body["correlationId"]
    return body["message"]


# Records


def test_every_value_is_text_or_null_and_only_what_was_asked_for_comes(hub):
    record = hub.get(f"{DEALS}/{WON}", properties="amount,dealtype,closedate,hs_is_closed_won,nonsense").json()
    assert record["properties"] == {
        "amount": "1500.00", "closedate": "2026-03-31T12:00:00Z", "createdate": "2020-01-06T08:00:00.000Z",
        "dealtype": None, "hs_is_closed_won": "true", "hs_lastmodifieddate": "2020-01-06T08:00:00.000Z",
        "hs_object_id": WON,
    }  # fmt: skip
    assert (record["id"], record["archived"]) == (WON, False)
    assert record["createdAt"] == record["updatedAt"] == "2020-01-06T08:00:00.000Z"


def test_a_probability_is_the_text_of_a_binary_fraction(hub):
    record = hub.get(f"{DEALS}/{OPEN}", properties="hs_deal_stage_probability,amount").json()
    text = "0.200000000000000011102230246251565404236316680908203125"
    assert record["properties"]["hs_deal_stage_probability"] == text
    assert record["properties"]["amount"] is None


def test_contacts_keep_their_time_of_change_elsewhere(hub):
    properties = hub.get(f"{OBJECTS}/contacts/301").json()["properties"]
    assert "lastmodifieddate" in properties and "hs_lastmodifieddate" not in properties


@pytest.mark.parametrize("name", ["companies", "COMPANY", "company", "0-2"])
def test_an_object_is_found_under_all_its_names_and_on_the_legacy_path(hub, name):
    assert hub.get(f"{OBJECTS}/{name}/{ACME}").json()["id"] == ACME
    assert hub.get(f"/crm/v3/objects/{name}/{ACME}").json()["id"] == ACME


def test_an_unknown_object_is_refused_by_name(hub):
    assert "rabbits" in refused(hub.get(f"{OBJECTS}/rabbits"))


def test_a_list_pages_by_id_and_says_where_it_goes_on(hub):
    first = hub.get(COMPANIES, limit=1, properties="name").json()
    assert [record["id"] for record in first["results"]] == [ACME]
    following = first["paging"]["next"]
    assert following["after"] == ACME and following["link"].startswith(hub.url)
    second = hub.get(COMPANIES, limit=1, after=following["after"]).json()
    assert [record["id"] for record in second["results"]] == [BLUE] and "paging" not in second


def test_archived_records_are_listed_apart_with_their_time(hub):
    assert GONE not in [record["id"] for record in hub.get(COMPANIES).json()["results"]]
    [gone] = hub.get(COMPANIES, archived="true").json()["results"]
    assert gone["id"] == GONE and gone["archived"] is True and gone["archivedAt"].endswith("Z")
    refused(hub.get(f"{COMPANIES}/{GONE}"), 404, "OBJECT_NOT_FOUND")
    assert hub.get(f"{COMPANIES}/{GONE}", archived="true").json()["id"] == GONE


def test_a_list_page_holds_at_most_100(hub):
    assert "100" in refused(hub.get(COMPANIES, limit=101))


def test_an_inline_list_of_associations_comes_when_asked_for(hub):
    [record] = hub.get(DEALS, limit=1, associations="companies,line_items").json()["results"]
    assert {"id": ACME, "type": "deal_to_company"} in record["associations"]["companies"]["results"]
    assert record["associations"]["line items"]["results"] == [{"id": "401", "type": "deal_to_line_item_unlabeled"}]


def test_the_life_of_one_record(hub):
    made = hub.post(COMPANIES, {"properties": {"name": "New", "domain": "new.example"}})
    assert made.status_code == 201
    record_id = made.json()["id"]
    assert made.json()["properties"]["website"] == "new.example"
    changed = hub.call("PATCH", f"{COMPANIES}/{record_id}", {"properties": {"name": "Newer"}})
    assert changed.status_code == 200 and changed.json()["properties"]["name"] == "Newer"
    gone = hub.call("DELETE", f"{COMPANIES}/{record_id}")
    assert gone.status_code == 204 and gone.content == b""
    refused(hub.call("PATCH", f"{COMPANIES}/{record_id}", {"properties": {"name": "x"}}), 404, "OBJECT_NOT_FOUND")
    assert record_id in [record["id"] for record in hub.get(COMPANIES, archived="true").json()["results"]]


def test_a_cleared_property_is_empty_text_and_one_never_set_is_null(hub):
    update(hub, {"id": ACME, "properties": {"billing_email": ""}})
    properties = hub.get(f"{COMPANIES}/{ACME}", properties="billing_email,phone").json()["properties"]
    assert properties["billing_email"] == "" and properties["phone"] is None


def test_every_write_moves_the_time_of_change(hub):
    stamps = []
    for _ in range(3):
        TICKER.wait(1)
        result = update(hub, {"id": ACME, "properties": {"city": "Oslo"}}).json()["results"][0]
        assert result["updatedAt"] == result["properties"]["hs_lastmodifieddate"]
        stamps.append(result["updatedAt"])
    assert all(before < after for before, after in pairwise(stamps))


def test_a_won_stage_makes_the_deal_won(hub):
    answer = hub.call("PATCH", f"{DEALS}/{OPEN}", {"properties": {"dealstage": "won", "amount": "10"}})
    assert answer.status_code == 200, answer.text
    names = "hs_is_closed_won,hs_deal_stage_probability,amount_in_home_currency"
    properties = hub.get(f"{DEALS}/{OPEN}", properties=names).json()["properties"]
    assert properties["hs_is_closed_won"] == "true" and properties["hs_deal_stage_probability"] == "1"
    assert properties["amount_in_home_currency"] == "10"


def test_an_amount_in_another_currency_is_worked_out_at_todays_rate(hub):
    hub.call("PATCH", f"{DEALS}/{WON}", {"properties": {"amount": "200"}})
    properties = hub.get(f"{DEALS}/{WON}", properties="amount_in_home_currency").json()["properties"]
    assert Decimal(properties["amount_in_home_currency"]) == Decimal("215")


# Values


@pytest.mark.parametrize(
    ("path", "properties", "reason"),
    [
        (f"{COMPANIES}/{ACME}", {"nonsense": "1"}, "PROPERTY_DOESNT_EXIST"),
        (f"{COMPANIES}/{ACME}", {"facebookfans": "many"}, "INVALID_DOUBLE"),
        (f"{COMPANIES}/{ACME}", {"facebookfans": " 3"}, "INVALID_DOUBLE"),
        (f"{COMPANIES}/{ACME}", {"facebookfans": 3}, "INVALID_STRING"),
        (f"{COMPANIES}/{ACME}", {"name": None}, "INVALID_STRING"),
        (f"{COMPANIES}/{ACME}", {"name": "x" * 65_537}, "PROPERTY_LENGTH_TOO_LARGE"),
        (f"{COMPANIES}/{ACME}", {"hubspot_owner_id": "999"}, "INVALID_OPTION"),
        (f"{COMPANIES}/{ACME}", {"hs_object_id": "5"}, "READ_ONLY_VALUE"),
        (f"{DEALS}/{WON}", {"dealtype": "renewal"}, "INVALID_OPTION"),
        (f"{DEALS}/{WON}", {"dealstage": "nowhere"}, "INVALID_OPTION"),
        (f"{DEALS}/{WON}", {"deal_currency_code": "XXX"}, "INVALID_OPTION"),
        (f"{DEALS}/{WON}", {"contract_start_date": "31.03.2026"}, "INVALID_DATE"),
        (f"{DEALS}/{WON}", {"contract_start_date": "2026-03-31T01:00:00Z"}, "INVALID_DATE"),
        (f"{DEALS}/{WON}", {"closedate": "soon"}, "INVALID_DATE"),
    ],
)
def test_a_value_that_the_property_does_not_take_is_refused_by_name(hub, path, properties, reason):
    message = refused(hub.call("PATCH", path, {"properties": properties}))
    assert reason in message and next(iter(properties)) in message


@pytest.mark.parametrize(
    ("name", "written", "kept"),
    [
        ("contract_start_date", "2026-03-31", "2026-03-31"),
        ("contract_start_date", "1774915200000", "2026-03-31"),
        ("closedate", "1774915200123", "2026-03-31T00:00:00.123Z"),
        ("closedate", "2026-03-31T02:00:00+02:00", "2026-03-31T00:00:00Z"),
        ("amount", "1500.50", "1500.50"),
    ],
)
def test_a_value_is_kept_as_hubspot_writes_it(hub, name, written, kept):
    answer = hub.call("PATCH", f"{DEALS}/{WON}", {"properties": {name: written}})
    assert answer.json()["properties"][name] == kept


def test_an_update_without_properties_is_refused(hub):
    assert "No properties" in refused(hub.call("PATCH", f"{COMPANIES}/{ACME}", {"properties": {}}))


# Batches


def test_a_batch_update_says_what_it_wrote_and_not_in_the_order_of_the_inputs(hub):
    inputs = [{"id": ACME, "properties": {"city": "Oslo"}, "objectWriteTraceId": "one"},
              {"id": BLUE, "properties": {"city": "Rome"}}]  # fmt: skip
    answer = update(hub, *inputs)
    body = answer.json()
    assert answer.status_code == 200 and body["status"] == "COMPLETE" and "numErrors" not in body
    assert [result["id"] for result in body["results"]] == [BLUE, ACME]
    assert body["results"][1]["objectWriteTraceId"] == "one"
    assert body["results"][0]["properties"]["city"] == "Rome"


def test_one_invalid_input_refuses_the_whole_batch(hub):
    refused(update(hub, {"id": ACME, "properties": {"city": "Oslo"}}, {"id": BLUE, "properties": {"nonsense": "1"}}))
    assert hub.get(f"{COMPANIES}/{ACME}", properties="city").json()["properties"]["city"] is None


@pytest.mark.parametrize("verb", ["update", "read", "archive"])
def test_one_record_twice_refuses_the_whole_batch(hub, verb):
    twice = [{"id": ACME, "properties": {"city": "Oslo"}}] * 2
    assert ACME in refused(hub.post(f"{COMPANIES}/batch/{verb}", {"inputs": twice}))
    assert hub.get(f"{COMPANIES}/{ACME}").status_code == 200


@pytest.mark.parametrize("verb", ["update", "read", "archive", "create"])
def test_a_batch_takes_100_inputs(hub, verb):
    inputs = [{"id": str(number), "properties": {"name": "x"}} for number in range(1, 102)]
    assert "100" in refused(hub.post(f"{COMPANIES}/batch/{verb}", {"inputs": inputs}))
    assert hub.post(f"{COMPANIES}/batch/{verb}", {"inputs": inputs[:100]}).status_code < 300


@pytest.mark.parametrize(("verb", "status"), [("update", 200), ("create", 201), ("read", 200)])
def test_a_body_without_inputs_does_nothing_and_says_it_is_complete(hub, verb, status):
    answer = hub.post(f"{COMPANIES}/batch/{verb}", {"id": ACME, "properties": {"name": "x"}})
    assert answer.status_code == status
    assert answer.json()["status"] == "COMPLETE" and answer.json()["results"] == []


@pytest.mark.parametrize("verb", ["update", "read"])
def test_an_id_that_does_not_exist_is_a_partial_failure(hub, verb):
    inputs = [{"id": number, "properties": {"name": "x"}} for number in (ACME, "999", GONE)]
    answer = hub.post(f"{COMPANIES}/batch/{verb}", {"inputs": inputs})
    body = answer.json()
    assert answer.status_code == 207 and [result["id"] for result in body["results"]] == [ACME]
    assert body["numErrors"] == len(body["errors"]) == 2
    assert {error["category"] for error in body["errors"]} == {"OBJECT_NOT_FOUND"}
    assert [error["context"]["ids"] for error in body["errors"]] == [["999"], [GONE]]


@pytest.mark.parametrize(("kind", "status"), [("numerrors", 200), ("partial", 207)])
def test_a_fault_rejects_some_of_a_batch(hub, kind, status):
    control(hub.url, "POST", "faults", {"vendor": "hubspot", "kind": kind, "ids": [BLUE], "match": "batch/update"})
    inputs = [{"id": number, "properties": {"city": "Oslo"}} for number in (ACME, BLUE)]
    answer = update(hub, *inputs)
    assert answer.status_code == status and answer.json()["numErrors"] == 1
    assert answer.json()["errors"][0]["context"]["ids"] == [BLUE]
    assert hub.get(f"{COMPANIES}/{BLUE}", properties="city").json()["properties"]["city"] == "Bergen"
    assert update(hub, *inputs).json()["results"][0]["id"] == BLUE


def test_a_batch_creates_and_archives(hub):
    inputs = [{"properties": {"name": f"n{number}"}} for number in range(3)]
    answer = hub.post(f"{COMPANIES}/batch/create", {"inputs": inputs})
    assert answer.status_code == 201
    ids = [result["id"] for result in answer.json()["results"]]
    assert len(set(ids)) == 3
    archived = hub.post(f"{COMPANIES}/batch/archive", {"inputs": [{"id": one} for one in [*ids[:2], "999"]]})
    assert archived.status_code == 204 and archived.content == b""
    read = hub.post(f"{COMPANIES}/batch/read", {"inputs": [{"id": one} for one in ids], "properties": ["name"]})
    assert [result["id"] for result in read.json()["results"]] == ids[2:]


def test_an_id_property_must_be_unique(hub):
    wrong = {"id": ACME, "idProperty": "hs_object_id", "properties": {"city": "x"}}
    assert "hs_object_id" in refused(update(hub, wrong))
    definition = {"name": "ref", "label": "Ref", "type": "string", "fieldType": "text", "hasUniqueValue": True,
                  "groupName": "companyinformation"}  # fmt: skip
    assert hub.post(f"{PROPERTIES}/companies", definition).status_code == 201
    update(hub, {"id": ACME, "properties": {"ref": "R-1"}})
    body = {"inputs": [{"id": "R-1"}], "idProperty": "ref"}
    assert hub.post(f"{COMPANIES}/batch/read", body).json()["results"][0]["id"] == ACME


def test_a_malformed_body_is_refused(hub):
    for raw in (b"{", b"[]", b'{"inputs": ["x"]}'):
        answer = hub.session.post(f"{hub.url}/hubspot{COMPANIES}/batch/update", data=raw, timeout=20)
        assert "Invalid input JSON" in refused(answer)


# Search


def test_search_lags_behind_a_write_by_seconds(hub):
    made = hub.post(COMPANIES, {"properties": {"name": "New"}}).json()["id"]
    update(hub, {"id": ACME, "properties": {"name": "Renamed"}})
    is_new, is_renamed = where("name", "EQ", value="new"), where("name", "EQ", value="renamed")
    assert found(hub, is_new) == found(hub, is_renamed) == []
    old = search(hub, where("name", "EQ", value="acme"), properties=["name"]).json()["results"]
    assert [record["properties"]["name"] for record in old] == ["Acme"]
    assert hub.get(f"{COMPANIES}/{ACME}", properties="name").json()["properties"]["name"] == "Renamed"
    TICKER.wait(3)
    assert found(hub, is_new) == [made] and found(hub, is_renamed) == [ACME]


def test_two_writes_within_the_lag_show_one_after_the_other(hub):
    update(hub, {"id": ACME, "properties": {"city": "Oslo"}})
    TICKER.wait(2)
    update(hub, {"id": ACME, "properties": {"city": "Rome"}})
    TICKER.wait(1)
    assert found(hub, where("city", "EQ", value="Oslo")) == [ACME]
    TICKER.wait(2)
    assert found(hub, where("city", "EQ", value="Rome")) == [ACME]


def test_what_the_world_changes_is_found_at_once(hub):
    since = "2026-06-30T23:00:00Z"
    changed = where("hs_lastmodifieddate", "GTE", value=since)
    assert found(hub, changed, path=DEALS) == []
    control(hub.url, "POST", "advance", {"days": 1})
    assert found(hub, changed, path=DEALS) == [OPEN]
    assert found(hub, where("dealstage", "EQ", value="won"), path=DEALS) == [WON, OPEN]


def test_an_advancing_world_leaves_what_people_wrote(hub):
    hub.call("PATCH", f"{COMPANIES}/{BLUE}", {"properties": {"zip": "5003", "name": "By hand"}})
    control(hub.url, "POST", "advance", {"days": 1})
    properties = hub.get(f"{COMPANIES}/{BLUE}", properties="zip,name,city").json()["properties"]
    assert (properties["zip"], properties["name"], properties["city"]) == ("5003", "By hand", "")


def test_the_time_of_change_never_goes_back(hub):
    TICKER.wait(20 * 3600)
    written = hub.call("PATCH", f"{DEALS}/{OPEN}", {"properties": {"dealname": "Late"}}).json()["updatedAt"]
    control(hub.url, "POST", "advance", {"days": 1})
    assert hub.get(f"{DEALS}/{OPEN}").json()["updatedAt"] >= written


def test_search_never_finds_archived_records_nor_shows_associations(hub):
    hub.call("DELETE", f"{COMPANIES}/{ACME}")
    answer = hub.post(f"{COMPANIES}/search", {"associations": ["deals"], "limit": 200}).json()
    assert [record["id"] for record in answer["results"]] == [BLUE]
    assert "associations" not in answer["results"][0]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([where("name", "EQ", value="ACME")], [ACME]),
        ([where("name", "NEQ", value="acme")], [BLUE]),
        ([where("hs_object_id", "GT", value="99"), where("hs_object_id", "LT", value="102")], [ACME]),
        ([where("hs_object_id", "GTE", value=BLUE)], [BLUE]),
        ([where("hs_object_id", "LTE", value=ACME)], [ACME]),
        ([where("facebookfans", "GT", value="9")], [ACME]),
        ([where("facebookfans", "BETWEEN", value="9", highValue="11.5")], [ACME]),
        ([where("facebookfans", "EQ", value="10.0")], [ACME]),
        ([where("facebookfans", "LT", value="10")], []),
        ([where("domain", "IN", values=["acme.example", "x"])], [ACME]),
        ([where("domain", "IN", values=["ACME.example"])], []),
        ([where("domain", "NOT_IN", values=["acme.example"])], [BLUE]),
        ([where("billing_email", "HAS_PROPERTY")], [ACME]),
        ([where("billing_email", "NOT_HAS_PROPERTY")], [BLUE]),
        ([where("name", "CONTAINS_TOKEN", value="ünï*")], [BLUE]),
        ([where("name", "CONTAINS_TOKEN", value="ünï")], []),
        ([where("hs_lastmodifieddate", "GTE", value="1578297600000")], [ACME, BLUE]),
        ([where("createdate", "LT", value="2020-01-06T08:00:00Z")], []),
        ([where("hubspot_owner_id", "EQ", value="7")], [ACME]),
    ],
)
def test_each_operator(hub, filters, expected):
    update(hub, {"id": ACME, "properties": {"facebookfans": "10"}})
    TICKER.wait(3)
    assert found(hub, *filters) == expected


def test_groups_are_alternatives(hub):
    groups = [{"filters": [where("name", "EQ", value="acme")]}, {"filters": [where("city", "EQ", value="bergen")]}]
    assert hub.post(f"{COMPANIES}/search", {"filterGroups": groups}).json()["total"] == 2
    assert hub.post(f"{COMPANIES}/search", {"query": "acm"}).json()["total"] == 1


def test_pages_by_id_see_the_whole_total_shrink(hub):
    hub.post(f"{COMPANIES}/batch/create", {"inputs": [{"properties": {"name": f"n{n}"}} for n in range(5)]})
    TICKER.wait(3)
    seen, last, totals = [], "0", []
    while True:
        sorts = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
        page = search(hub, where("hs_object_id", "GT", value=last), sorts=sorts, limit=3).json()
        totals.append(page["total"])
        seen += [record["id"] for record in page["results"]]
        if page["total"] <= len(page["results"]):
            break
        last = seen[-1]
    assert totals == [7, 4, 1] and seen == sorted(seen, key=int) and len(set(seen)) == 7


def test_a_sort_goes_by_value_with_the_valueless_last(hub):
    update(hub, {"id": ACME, "properties": {"facebookfans": "10"}}, {"id": BLUE, "properties": {"facebookfans": "9"}})
    third = hub.post(COMPANIES, {"properties": {"name": "No fans"}}).json()["id"]
    TICKER.wait(3)
    for direction, expected in (("ASCENDING", [BLUE, ACME, third]), ("DESCENDING", [ACME, BLUE, third])):
        assert found(hub, sorts=[{"propertyName": "facebookfans", "direction": direction}]) == expected
    assert found(hub, sorts=[{"propertyName": "hs_object_id", "direction": "DESCENDING"}]) == [third, BLUE, ACME]


EQ = where("name", "EQ", value="x")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"limit": 201}, "200"),
        ({"limit": 100, "after": "9950"}, "10000"),
        ({"filterGroups": [{"filters": [EQ]}] * 6}, "5 filterGroups"),
        ({"filterGroups": [{"filters": [EQ] * 7}]}, "6 filters"),
        ({"filterGroups": [{"filters": [EQ] * 4}] * 5}, "18"),
        ({"sorts": [{"propertyName": "name"}, {"propertyName": "domain"}]}, "one sort"),
        ({"sorts": [{"propertyName": "nonsense"}]}, "nonsense"),
        ({"filterGroups": [{"filters": [where("nonsense", "EQ", value="x")]}]}, "nonsense"),
        ({"filterGroups": [{"filters": [where("name", "LIKE", value="x")]}]}, "LIKE"),
        ({"filterGroups": [{"filters": [where("name", "EQ")]}]}, "needs value"),
        ({"filterGroups": [{"filters": [where("name", "IN", value="x")]}]}, "needs values"),
        ({"filterGroups": [{"filters": [where("name", "HAS_PROPERTY", value="x")]}]}, "no value"),
        ({"filterGroups": [{"filters": [where("hs_object_id", "GT", value="abc")]}]}, "abc"),
        ({"filterGroups": [{"filters": [where("createdate", "GT", value="soon")]}]}, "soon"),
        ({"query": "x" * 3001}, "3000"),
    ],
)
def test_search_refuses_what_breaks_its_rules(hub, body, says):
    assert says in refused(hub.post(f"{COMPANIES}/search", body))


# Associations


def read_associations(hub: Portal, to: str, *ids: str):
    path = f"/crm/associations/{VERSION}/deals/{to}/batch/read"
    return hub.post(path, {"inputs": [{"id": one} for one in ids]})


def test_associations_are_read_in_batches_with_their_labels(hub):
    [result] = read_associations(hub, "companies", WON).json()["results"]
    assert result["from"] == {"id": WON} and [to["toObjectId"] for to in result["to"]] == [ACME]
    types = {(one["category"], one["typeId"], one["label"]) for one in result["to"][0]["associationTypes"]}
    assert types == {("HUBSPOT_DEFINED", 341, None), ("HUBSPOT_DEFINED", 5, "Primary")}
    [items] = read_associations(hub, "line_items", WON).json()["results"]
    assert items["to"][0]["toObjectId"] == "401" and items["to"][0]["associationTypes"][0]["typeId"] == 19


def test_a_record_without_associations_is_an_error_of_its_own(hub):
    answer = read_associations(hub, "line_items", WON, OPEN, "999")
    assert answer.status_code == 207 and len(answer.json()["results"]) == 1
    none, unknown = answer.json()["errors"]
    assert none["subCategory"] == "crm.associations.NO_ASSOCIATIONS_FOUND"
    assert none["context"]["fromObjectId"] == [OPEN] and unknown["context"]["ids"] == ["999"]


def test_an_association_read_takes_1000_inputs(hub):
    assert read_associations(hub, "companies", *map(str, range(1000))).status_code == 207
    assert "1000" in refused(read_associations(hub, "companies", *map(str, range(1001))))


def test_associations_of_one_record_come_500_a_page(hub):
    path = f"{COMPANIES}/{ACME}/associations/tasks"
    assert "500" in refused(hub.get(path, limit=501))
    for _ in range(6):
        inputs = [task(str(number)) for number in range(100)]
        assert hub.post(f"{TASKS}/batch/create", {"inputs": inputs}).status_code == 201
    first = hub.get(path, limit=500).json()
    second = hub.get(path, limit=500, after=first["paging"]["next"]["after"]).json()
    ids = [to["toObjectId"] for page in (first, second) for to in page["results"]]
    assert len(first["results"]) == 500 and len(set(ids)) == 600 and "paging" not in second
    batch = f"/crm/associations/{VERSION}/companies/tasks/batch/read"
    [many] = hub.post(batch, {"inputs": [{"id": ACME}]}).json()["results"]
    assert len(many["to"]) == 500 and many["paging"]["next"]["after"] == first["paging"]["next"]["after"]


def test_a_default_association_is_put_and_taken_away(hub):
    path = f"{DEALS}/{OPEN}/associations"
    answer = hub.call("PUT", f"{path}/default/companies/{ACME}")
    assert answer.status_code == 200
    [there, back] = answer.json()["results"]
    assert (there["from"]["id"], there["to"]["id"], there["associationSpec"]["associationTypeId"]) == (OPEN, ACME, 341)
    assert back["associationSpec"]["associationTypeId"] == 342
    results = hub.get(f"{path}/companies").json()["results"]
    linked = {to["toObjectId"]: [one["label"] for one in to["associationTypes"]] for to in results}
    assert linked == {ACME: [None], BLUE: [None, "Primary"]}
    assert hub.call("DELETE", f"{path}/companies/{ACME}").status_code == 204
    assert [to["toObjectId"] for to in hub.get(f"{path}/companies").json()["results"]] == [BLUE]
    assert hub.call("PUT", f"{path}/default/companies/999").status_code == 404


def test_an_archived_record_is_nobodys_associate(hub):
    hub.call("DELETE", f"{COMPANIES}/{ACME}")
    assert hub.get(f"{DEALS}/{WON}/associations/companies").json()["results"] == []


def test_associations_answer_on_the_v4_path_too(hub):
    assert hub.get(f"/crm/v4/objects/deals/{WON}/associations/companies").json()["results"][0]["toObjectId"] == ACME
    body = {"inputs": [{"id": WON}]}
    assert hub.post("/crm/v4/associations/deals/companies/batch/read", body).json()["results"][0]["from"]["id"] == WON


# Tasks and notes


def task(subject: str, type_id: int = 192, to: str = ACME) -> dict:
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}]
    properties = {"hs_timestamp": "2026-07-01T08:00:00Z", "hs_task_subject": subject, "hs_task_status": "NOT_STARTED"}
    return {"properties": properties, "associations": [{"to": {"id": to}, "types": types}]}


def test_a_task_is_made_with_its_company_in_one_call(hub):
    answer = hub.post(TASKS, task("Call"))
    assert answer.status_code == 201
    made = answer.json()["id"]
    [linked] = hub.get(f"{COMPANIES}/{ACME}/associations/tasks").json()["results"]
    assert linked["toObjectId"] == made and linked["associationTypes"][0]["typeId"] == 191
    done = hub.call("PATCH", f"{TASKS}/{made}", {"properties": {"hs_task_status": "COMPLETED"}})
    assert done.json()["properties"]["hs_task_status"] == "COMPLETED"


@pytest.mark.parametrize(("type_id", "to"), [(190, ACME), (192, "999"), (77777, ACME)])
def test_a_wrong_association_makes_no_task(hub, type_id, to):
    assert str(type_id) in refused(hub.post(TASKS, task("Call", type_id, to)))
    assert hub.get(TASKS).json()["results"] == []


@pytest.mark.parametrize(("kind", "word"), [("tasks", "TASK"), ("notes", "NOTE")])
def test_a_task_or_note_needs_its_time(hub, kind, word):
    answer = hub.post(f"{OBJECTS}/{kind}", {"properties": {}})
    assert word in refused(answer) and answer.json()["context"] == {"properties": ["hs_timestamp"]}
    assert hub.post(f"{OBJECTS}/{kind}", {"properties": {"hs_timestamp": "2026-07-01"}}).status_code == 201


# Properties


def definition(name: str, type_: str = "number", field_type: str = "number", **more) -> dict:
    return {"name": name, "label": name, "type": type_, "fieldType": field_type, "groupName": "crossfoot", **more}


@pytest.fixture
def group(hub):
    assert hub.post(f"{PROPERTIES}/companies/groups", {"name": "crossfoot", "label": "Crossfoot"}).status_code == 201


def test_a_property_is_made_once(hub, group):
    refused(hub.get(f"{PROPERTIES}/companies/crossfoot_total"), 404, "OBJECT_NOT_FOUND")
    made = hub.post(f"{PROPERTIES}/companies", definition("crossfoot_total"))
    assert made.status_code == 201 and made.json()["type"] == "number" and made.json()["hubspotDefined"] is False
    assert hub.get(f"{PROPERTIES}/companies/crossfoot_total").json()["groupName"] == "crossfoot"
    refused(hub.post(f"{PROPERTIES}/companies", definition("crossfoot_total")), 409, "CONFLICT")
    refused(hub.post(f"{PROPERTIES}/companies/groups", {"name": "crossfoot", "label": "x"}), 409, "CONFLICT")
    assert update(hub, {"id": ACME, "properties": {"crossfoot_total": "12.50"}}).status_code == 200


def test_properties_are_made_in_batches_with_those_that_exist_as_errors(hub, group):
    inputs = [definition("one"), definition("name", groupName="companyinformation")]
    answer = hub.post(f"{PROPERTIES}/companies/batch/create", {"inputs": inputs})
    assert answer.status_code == 207 and [one["name"] for one in answer.json()["results"]] == ["one"]
    assert answer.json()["errors"][0]["context"] == {"name": ["name"]}
    names = {one["name"] for one in hub.get(f"{PROPERTIES}/companies").json()["results"]}
    assert {"one", "name", "billing_email"} <= names
    answer = hub.post(f"{PROPERTIES}/companies/batch/create", {"inputs": [definition("two"), definition("three")]})
    assert answer.status_code == 201 and "errors" not in answer.json()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (definition("x", label=""), "label"),
        (definition("Bad Name"), "Bad Name"),
        (definition("x", "number", "text"), "fieldType 'text'"),
        (definition("x", "money", "number"), "'money'"),
        (definition("x", groupName="nowhere"), "nowhere"),
        (definition("x", "enumeration", "select"), "options"),
    ],
)
def test_a_wrong_definition_is_refused(hub, group, body, says):
    assert says in refused(hub.post(f"{PROPERTIES}/companies", body))


def test_an_enumeration_takes_its_options_only(hub, group):
    options = [{"label": word, "value": word} for word in ("Current", "Overdue")]
    assert hub.post(f"{PROPERTIES}/companies", definition("st", "enumeration", "select", options=options)).ok
    assert update(hub, {"id": ACME, "properties": {"st": "Overdue"}}).status_code == 200
    assert "INVALID_OPTION" in refused(update(hub, {"id": ACME, "properties": {"st": "Late"}}))


# Owners, pipelines, currencies, sign-in, limits


def test_owners_pipelines_and_currencies(hub):
    [owner] = hub.get(f"/crm/owners/{VERSION}").json()["results"]
    assert owner["id"] == "7" and owner["firstName"] == "Ida"
    assert hub.get("/crm/v3/owners/7").json() == owner
    assert hub.get(f"/crm/owners/{VERSION}", archived="true").json()["results"] == []
    [pipeline] = hub.get(f"/crm/pipelines/{VERSION}/deals").json()["results"]
    assert [stage["metadata"] for stage in pipeline["stages"]] == [
        {"isClosed": "false", "probability": "0.2"}, {"isClosed": "true", "probability": "1"},
    ]  # fmt: skip
    assert hub.get(f"/settings/currencies/{VERSION}/company-currency").json() == {"createdAt": "2020-01-06T08:00:00.000Z", "id": "USD"}
    answer = hub.get(f"/settings/currencies/{VERSION}/exchange-rates/current")
    [rate] = answer.json()["results"]
    assert (rate["fromCurrencyCode"], rate["toCurrencyCode"]) == ("EUR", "USD")
    assert '"conversionRate":1.0750' in answer.text and rate["effectiveAt"] == "2026-06-01T00:00:00.000Z"


@pytest.mark.parametrize("token", ["wrong", ""])
def test_a_wrong_token_is_refused(hub, token):
    refused(Portal(hub.url, token).get(COMPANIES), 401, "INVALID_AUTHENTICATION")


def test_an_unknown_version_is_not_there(hub):
    assert hub.get("/crm/objects/1999-01/companies").status_code == 404


def header_names(answer) -> set[str]:
    return {name.lower().removeprefix("x-hubspot-ratelimit-") for name in answer.headers if "ratelimit" in name.lower()}


DAILY = {"daily", "daily-remaining"}
TEN_SECONDLY = DAILY | {"interval-milliseconds", "max", "remaining", "secondly", "secondly-remaining"}


def test_limits_are_hubspots_and_its_refusals_too():
    ticker = Ticker()
    with running_sandbox(small_world(), vendors={"hubspot": Sandbox}, monotonic=ticker) as url:
        hub = Portal(url)
        answers = [hub.get(f"/crm/owners/{VERSION}") for _ in range(191)]
        assert [answer.status_code for answer in answers] == [200] * 190 + [429]
        assert answers[0].headers["X-HubSpot-RateLimit-Max"] == "190"
        assert answers[0].headers["X-HubSpot-RateLimit-Remaining"] == "189"
        body = answers[-1].json()
        assert body["policyName"] == "TEN_SECONDLY_ROLLING" and body["errorType"] == "RATE_LIMIT"
        assert body["message"] == "You have reached your ten_secondly_rolling limit."
        assert body["category"] == "RATE_LIMITS"
        assert header_names(answers[-1]) == TEN_SECONDLY and "Retry-After" not in answers[-1].headers
        searches = [hub.post(f"{COMPANIES}/search", {}) for _ in range(6)]
        assert [answer.status_code for answer in searches] == [200] * 5 + [429]
        assert {"policyName", "errorType"}.isdisjoint(searches[-1].json())
        assert searches[-1].json()["message"] == "You have reached your secondly limit."
        assert header_names(searches[0]) == header_names(searches[-1]) == DAILY
        ticker.wait(1)
        assert hub.post(f"{COMPANIES}/search", {}).status_code == 200
        assert hub.get(f"/crm/owners/{VERSION}").status_code == 429
        ticker.wait(9)
        assert hub.get(f"/crm/owners/{VERSION}").status_code == 200


# Without HTTP


def test_ten_thousand_records_of_one_millisecond_can_be_paged_by_id_but_not_by_offset():
    world = small_world()
    world.accounts = {str(n): Account(str(n), f"A{n}", None, None) for n in range(1, 10_101)}
    state = HubSpotState(world, Clock(world.today))
    status, body = state.search("companies", {"limit": 200, "after": "9800"})
    assert status == 200 and body["total"] == 10_100 and body["paging"]["next"]["after"] == "10000"
    same = where("hs_lastmodifieddate", "EQ", value="2020-01-06T08:00:00.000999Z")
    bodies = [
        {"filterGroups": [{"filters": [same, where("hs_object_id", "GT", value=str(last))]}], "limit": 200}
        for last in range(0, 10_100, 200)
    ]
    pages = [state.search("companies", body)[1]["results"] for body in bodies]
    assert [record["id"] for page in pages for record in page] == list(world.accounts)


def test_the_real_world_is_served_whole():
    world = make_world()
    state = HubSpotState(world, Clock(world.today))
    shown = state.page("deals", Query({"limit": 100}, {}, None, None))[1]["results"]
    live = [deal for deal in world.deals.values() if not deal.archived]
    assert {record["id"] for record in shown} == {deal.id for deal in live[:100]}
    inputs = {"inputs": [{"id": deal.id} for deal in live]}
    linked = state.associations_of_many("deals", "companies", Query({}, inputs, None, None))[1]["results"]
    archived = {account.id for account in world.accounts.values() if account.archived}
    expected = {deal.id: deal.account_id for deal in live if deal.account_id and deal.account_id not in archived}
    assert {one["from"]["id"]: one["to"][0]["toObjectId"] for one in linked} == expected
