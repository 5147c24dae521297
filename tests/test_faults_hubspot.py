"""Known faults of HubSpot's reading: what a portal answers, and what must come of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from extract_fixture import FAST, empty_world, job_for, settings_at
from fault_fixture import FaultNight
from sandbox_fixture import Portal as Caller
from sandbox_fixture import running_sandbox

from pipelines.extract import ExtractFailed, extract
from pipelines.http import FieldMissing, Response
from pipelines.sandbox.entities import Sold
from pipelines.vendors.hubspot import source, source_links, source_rows
from pipelines.vendors.hubspot.sandbox import Sandbox

STAMP = "2026-06-01T08:00:00.000Z"
Records = dict[str, list[dict[str, Any]]]


class Portal:
    """The records of a portal, as its list endpoints answer them."""

    def __init__(self) -> None:
        self.records: Records = {name: [] for name in ("companies", "contacts", "owners", "deals", "line_items", "deal_stages")}
        self.records["company_currency"] = [{"createdAt": STAMP, "id": "USD"}]

    def _add(self, kind: str, record_id: str, properties: dict[str, Any], **more: Any) -> None:
        self.records[kind].append({"id": record_id, "properties": properties, "createdAt": STAMP, "updatedAt": STAMP,
                                   "archived": False, **more})

    def company(self, record_id: str, **properties: str) -> None:
        self._add("companies", record_id, {"name": f"Company {record_id}", **properties})

    def pipeline(self, pipeline_id: str, *stages: tuple[str, str, str, str]) -> None:
        """Stages as (id, label, is closed, probability)."""
        self.records["deal_stages"].append({"id": pipeline_id, "label": f"Pipeline {pipeline_id}", "displayOrder": 0, "stages": [
            {"id": stage, "label": label, "displayOrder": n, "metadata": {"isClosed": closed, "probability": probability}}
            for n, (stage, label, closed, probability) in enumerate(stages)]})

    def deal(self, record_id: str, company: str | None, stage: str = "won", lines: tuple[dict[str, Any], ...] = (),
             **properties: Any) -> None:
        won = stage == "won"
        values = {"dealname": f"Deal {record_id}", "pipeline": "default", "dealstage": stage, "deal_currency_code": "USD",
                  "closedate": "2026-01-02T12:00:00Z", "hs_is_closed_won": str(won).lower(), "hs_is_closed": str(won).lower(),
                  **properties}
        linked: dict[str, Any] = {"companies": {"results": [{"id": company, "type": "deal_to_company"}]}} if company else {}
        for number, line in enumerate(lines):
            line_id = f"{record_id}{number}"
            linked.setdefault("line items", {"results": []})["results"].append({"id": line_id, "type": "deal_to_line_item"})
            self._add("line_items", line_id, {"name": "Seat", "quantity": "1", "price": "100", "amount": "100",
                                              "hs_recurring_billing_start_date": "2026-01-05", **line})
        self._add("deals", record_id, values, associations=linked)


LINES = {  # deal: (the line, what is contracted, billing periods, whether the term is assumed, whether it is a problem)
    "31": ({"recurringbillingfrequency": "monthly", "hs_recurring_billing_number_of_payments": "12"}, 1200, 12, False, False),
    "32": ({"recurringbillingfrequency": "monthly"}, 1200, 12, True, False),
    "33": ({"recurringbillingfrequency": "annually", "hs_recurring_billing_period": "P36M"}, 300, 3, False, False),
    "34": ({"recurringbillingfrequency": "quarterly", "hs_recurring_billing_period": "P1Y"}, 400, 4, False, False),
    "35": ({"recurringbillingfrequency": "monthly", "hs_recurring_billing_number_of_payments": "12", "hs_tcv": "1200"}, 1200, 12, False,
           False),
    "36": ({"recurringbillingfrequency": "monthly", "hs_recurring_billing_number_of_payments": "12", "hs_tcv": "100"}, 100, 12, False,
           False),
    "37": ({"recurringbillingfrequency": "monthly", "hs_recurring_billing_number_of_payments": "12", "hs_tcv": "700"}, 1200, 12, False,
           True),
    "38": ({"recurringbillingfrequency": "annually", "hs_recurring_billing_period": "P18M"}, 100, 1, False, True),
    "39": ({"recurringbillingfrequency": "monthly", "hs_recurring_billing_end_date": "2026-07-05"}, 600, 6, False, False),
    "40": ({"recurringbillingfrequency": "weekly", "hs_recurring_billing_period": "P4W"}, 400, 4, False, False),
    "41": ({"recurringbillingfrequency": "per_two_years"}, 100, 1, True, False),
    "42": ({}, 100, None, False, False),
    "43": ({"recurringbillingfrequency": "monthly", "hs_recurring_billing_period": "soon"}, 1200, 12, True, True),
    "44": ({"recurringbillingfrequency": "monthly", "hs_recurring_billing_number_of_payments": "0"}, 100, 1, False, True),
}


def portal() -> Records:
    hub = Portal()
    hub.pipeline("default", ("open", "Proposal", "false", "0.5"), ("won", "Won", "true", "1"), ("same", "Here", "false", "0.1"))
    hub.pipeline("renewals", ("same", "There", "false", "0.9"))
    hub.company("1")
    for deal, (line, *_) in LINES.items():
        hub.deal(deal, "1", lines=(line,))
    hub.deal("101", "1", stage="424242", amount="500")
    hub.deal("102", "1", stage="same", pipeline="renewals", amount="500")
    hub.deal("103", "1", stage="same", amount="500")
    hub.deal("104", "1", stage="open")
    # 7 and 8 were merged into 9, and 9 into 10: the deal and the contact still name their first company.
    hub.company("10", hs_merged_object_ids="9;11")
    hub.deal("105", "7", amount="500")
    hub.company("12", hs_merged_object_ids="7;8")
    hub.company("13")
    hub.deal("106", "13", amount="500")
    hub.records["companies"] = [c for c in hub.records["companies"] if c["id"] != "12"]
    hub.company("9", hs_merged_object_ids="7;8", crossfoot_customer_ids="quickbooks:58")
    hub.company("7")
    hub._add("contacts", "201", {"email": "ap@seven.example", "associatedcompanyid": "7"})
    hub.records["owners"] = [
        {"id": "301", "email": "a@x.example", "firstName": "Ada", "lastName": "Here", "archived": False, "updatedAt": STAMP},
        {"id": "302", "email": "g@x.example", "firstName": "Guy", "lastName": "Gone", "archived": True, "updatedAt": STAMP},
    ]
    return hub.records


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> FaultNight:
    stamped = {"SyncToken": "0", "MetaData": {"CreateTime": STAMP, "LastUpdatedTime": STAMP}}
    customer = {"Id": "58", "DisplayName": "Company 7", "Active": True, "ResaleNum": "8", "Balance": 0, **stamped}
    return FaultNight(tmp_path_factory.mktemp("hubspot"), {"hubspot": portal(), "quickbooks": {"customers": [customer]}}, tests=False)


def test_crm_01_hubspot_company_currency(night):
    assert [receipt.status for receipt in night.receipts if receipt.source == "hubspot"] == ["complete"]
    assert night.rows("SELECT currency FROM raw_hubspot.company_currency") == [{"currency": "USD"}]


@pytest.mark.parametrize(("answer", "there"), [("{}", "nothing"), ('{"id": null, "email": "a@x.example"}', "email"), ("[]", "a list"),
                                               ('"no"', "a str"), ("", "a NoneType")])
def test_crm_01_a_missing_field_names_vendor_object_and_remedy(answer, there):
    with pytest.raises(FieldMissing, match=rf"^hubspot: .*owners.* has no field 'id' .*\(there: {there}\); .*documentation"):
        source_rows.field(Response(200, {}, answer, "hubspot: GET /crm/owners/2026-09").json, "id", "owners")


@pytest.mark.parametrize("error", [KeyError("currencyCode"), TypeError("'NoneType' object is not subscriptable"), IndexError("x")])
def test_crm_01_an_answer_that_no_code_expected_is_a_sentence(error, tmp_path, monkeypatch):
    def fails(job: Any) -> Iterator[Any]:
        raise error
        yield

    monkeypatch.setattr(source, "owners", fails)
    with running_sandbox(empty_world(), vendors={"hubspot": Sandbox}, rate_limits=False) as url:
        chosen = settings_at(url, tmp_path, FAST)
        with pytest.raises(ExtractFailed, match=r"hubspot: owners: an answer .*run again"):
            extract("hubspot", chosen, as_of=date(2026, 6, 30), known_at=job_for(source, chosen).known_at, tokens=None)


@pytest.mark.parametrize("deal", LINES)
def test_crm_03_recurring_line_is_one_period(night, deal):
    _, contracted, periods, assumed, is_problem = LINES[deal]
    (line,) = night.rows("SELECT * FROM stg_hubspot__deal_lines WHERE deal_id = ?", deal)
    assert (line["amount"], line["billing_periods"], line["term_assumed"]) == (contracted, periods, assumed)
    assert line["quantity"] * line["unit_price"] - (line["discount"] or 0) == line["amount"]
    assert bool(line["problem"]) is is_problem, line["problem"]


def test_crm_03_what_is_contracted_and_still_to_bill(night):
    assert night.deal("31")["contracted_base"] == 1200
    (later,) = night.rows("SELECT later_amount FROM int_deal_lines__scheduled WHERE deal_id = '31'")
    assert later["later_amount"] == Decimal(600)


def test_crm_10_unknown_stage_stops_all(night):
    stages = {row["deal_id"]: row["stage"] for row in night.rows("SELECT deal_id, stage FROM stg_hubspot__deals")}
    assert (stages["101"], stages["102"], stages["103"]) == ("unknown: 424242", "There", "Here")
    assert len(stages) == len(night.rows("SELECT DISTINCT id FROM raw_hubspot.deals")), "no deal twice"
    (receipt,) = (one for one in night.receipts if one.source == "hubspot")
    assert receipt.calls["pipelines"] == 2, "the unknown stage is asked for again, once"


def test_an_open_deal_without_an_amount_has_none(night):
    assert night.rows("SELECT amount FROM stg_hubspot__deals WHERE deal_id = '104'") == [{"amount": None}]


def test_what_belongs_to_a_merged_company_belongs_to_its_survivor(night):
    assert night.rows("SELECT account_id FROM stg_hubspot__deals WHERE deal_id = '105'") == [{"account_id": "10"}]
    assert night.rows("SELECT account_id FROM stg_hubspot__contacts WHERE contact_id = '201'") == [{"account_id": "10"}]
    assert night.rows("SELECT account_id, customer_id FROM stg_hubspot__account_customer_ids") == [
        {"account_id": "10", "customer_id": "58"}]
    offered = night.rows("SELECT account_id, rung FROM int_match_candidates__found WHERE customer_id = '58'")
    assert {"account_id": "10", "rung": 3} in offered
    assert night.exceptions("58") & {"stored_account_unknown"} == set()
    accounts = {row["account_id"] for row in night.rows("SELECT account_id FROM stg_hubspot__accounts")}
    assert accounts == {"1", "10", "13"}


def test_an_owner_who_left_is_named_and_marked(night):
    names = night.rows("SELECT owner_id, last_name FROM stg_hubspot__owners ORDER BY 1")
    assert [row["last_name"] for row in names] == ["Here", "Gone (deactivated)"]


@pytest.mark.parametrize(("as_of", "close_days", "first"), [
    (date(2026, 6, 30), 5, date(2026, 6, 1)), (date(2026, 7, 4), 5, date(2026, 6, 1)), (date(2026, 7, 5), 5, date(2026, 7, 1)),
    (date(2026, 7, 1), 1, date(2026, 7, 1)), (date(2026, 7, 1), 0, date(2026, 7, 1)),
])  # fmt: skip
def test_the_first_open_month(as_of, close_days, first):
    assert source_links.first_open_day(as_of, close_days) == first


def test_an_association_that_changes_without_its_deal_is_noticed(tmp_path):
    """Only the deals that are open, or won in a month that is not closed, are compared; only what differs lands."""
    world = empty_world()
    first, second = (world.add_account(name, domain=f"{name}.example") for name in ("one", "two"))
    sold = Sold("SEAT", "Seat", Decimal(1), Decimal(100))
    recent, old, open_deal = (
        world.add_deal(first, name, (sold,), closed, **more).id
        for name, closed, more in (("recent", date(2026, 6, 20), {}), ("old", date(2025, 1, 20), {}),
                                   ("open", date(2026, 9, 1), {"stage_id": "contractsent"}))
    )  # fmt: skip
    with running_sandbox(world, vendors={"hubspot": Sandbox}, rate_limits=False) as url:
        chosen, hub = settings_at(url, tmp_path, FAST), Caller(url)

        def heard(day: int) -> Any:
            return extract("hubspot", chosen, as_of=date(2026, 6, 30), known_at=datetime(2026, 7, day, 2, tzinfo=UTC), tokens=None)

        heard(1)
        quiet = heard(2)
        assert (quiet.calls["associations compared"], quiet.rows["deal_companies"], quiet.rows["deal_line_items"]) == (2, 0, 0)
        for deal in (recent, old):
            base = f"/crm/v4/objects/deals/{deal}/associations"
            assert hub.call("DELETE", f"{base}/companies/{first.id}", None).status_code == 204
            assert hub.call("PUT", f"{base}/default/companies/{second.id}", {}).status_code == 200
        line = next(one.id for one in world.deal_lines.values() if one.deal_id == open_deal)
        hub.call("DELETE", f"/crm/v4/objects/deals/{open_deal}/associations/line_items/{line}", None)
        changed = heard(3)
        assert (changed.calls["associations compared"], changed.rows["deals"]) == (2, 0)
        with duckdb.connect(str(chosen.warehouse), read_only=True) as connection:
            landed = "SELECT {} FROM raw_hubspot.{} WHERE _landed_at = (SELECT max(_landed_at) FROM raw_hubspot.{})"
            companies = connection.execute(landed.format("deal_id, company_id", "deal_companies", "deal_companies")).fetchall()
            lines = connection.execute(landed.format("deal_id, line_item_id", "deal_line_items", "deal_line_items")).fetchall()
        assert (companies, lines) == ([(recent, second.id)], [(open_deal, None)])
        assert heard(4).rows["deal_companies"] == 0
