"""HubSpot's own Python client reads and writes the sandbox, and its models take every body that the source sends."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from extract_fixture import empty_world, job_for, settings_at
from sandbox_fixture import TOKEN, Portal, running_sandbox

from pipelines.http import Api
from pipelines.sandbox.entities import Owner, Sold
from pipelines.vendors.crm_types import FoundTask, TaskRequest, task_marker
from pipelines.vendors.hubspot import crm, source
from pipelines.vendors.hubspot.sandbox import Sandbox

pytest.importorskip("hubspot", reason="the official client is in the test group of pyproject.toml")
KINDS = ("companies", "contacts", "deals", "line_items")


def portal() -> Any:
    world = empty_world()
    first = world.add_account("One Ltd", domain="one.example")
    world.add_account("Two Ltd", domain="two.example")
    world.add_contact(first, "Ada", "Day", "ada@one.example")
    for number in range(3):
        world.add_deal(first, f"Deal {number}", (Sold("SEAT", "Seat", Decimal(12), Decimal(10), Decimal(0), "monthly",
                                                      date(2026, 1, 5), 12),), date(2026, 3, 1))
    world.owners.setdefault("1", Owner("1", "o@x.example", "O", "X"))
    return world


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Any, str]]:
    world = portal()
    with running_sandbox(world, vendors={"hubspot": Sandbox}, rate_limits=False) as url:
        yield world, url


def api(served: tuple[Any, str], package: str, name: str) -> Any:
    """An API class of the client at the sandbox's address."""
    module = importlib.import_module(f"hubspot.{package}")
    configuration = module.Configuration(host=f"{served[1]}/hubspot")
    configuration.access_token = TOKEN
    return getattr(module, name)(module.ApiClient(configuration))


@pytest.mark.parametrize("kind", KINDS)
def test_the_client_pages_through_each_object(served, kind):
    basic = api(served, f"crm.{kind}", "BasicApi")
    found, after = [], None
    while True:
        page = basic.get_page(limit=1, after=after, archived=False)
        found += [one.id for one in page.results]
        if page.paging is None:
            break
        after = page.paging.next.after
    world = served[0]
    held = {"companies": world.accounts, "contacts": world.contacts, "deals": world.deals, "line_items": world.deal_lines}[kind]
    assert found == sorted(held, key=int)


def test_the_client_searches_as_the_source_does(served):
    module = importlib.import_module("hubspot.crm.deals")
    asked = module.PublicObjectSearchRequest(
        filter_groups=[module.FilterGroup(filters=[module.Filter(property_name="hs_object_id", operator="GT", value="0")])],
        sorts=["hs_object_id"], properties=["dealname"], limit=2, after="0")  # fmt: skip
    page = api(served, "crm.deals", "SearchApi").do_search(public_object_search_request=asked)
    assert (page.total, [one.id for one in page.results]) == (3, sorted(served[0].deals, key=int)[:2])


def test_the_client_reads_owners_pipelines_and_properties(served):
    owners = api(served, "crm.owners", "OwnersApi")
    assert {one.id for one in owners.get_page(archived=False).results} == set(served[0].owners)
    assert owners.get_page(archived=True).results == []
    (pipeline,) = api(served, "crm.pipelines", "PipelinesApi").get_all("deals").results
    assert {stage.id for stage in pipeline.stages} == set(served[0].stages)
    stages = api(served, "crm.pipelines", "PipelineStagesApi").get_all("deals", pipeline.id).results
    assert len(stages) == len(pipeline.stages)
    names = {one.name for one in api(served, "crm.properties", "CoreApi").get_all("deals").results}
    assert {"amount", "dealstage", "closedate"} <= names


def test_the_client_reads_associations(served):
    deal = next(iter(served[0].deals.values()))
    page = api(served, "crm.associations.v4", "BasicApi").get_page("deals", deal.id, "companies")
    assert [str(one.to_object_id) for one in page.results] == [deal.account_id]
    module = importlib.import_module("hubspot.crm.associations.v4")
    body = module.BatchInputPublicFetchAssociationsBatchRequest(inputs=[module.PublicFetchAssociationsBatchRequest(id=deal.id)])
    batch = api(served, "crm.associations.v4", "BatchApi").get_page(
        "deals", "line_items", batch_input_public_fetch_associations_batch_request=body)
    assert len(batch.results) == 1


def test_the_client_updates_a_batch_of_which_one_fails(served):
    module = importlib.import_module("hubspot.crm.companies")
    company = next(iter(served[0].accounts))
    body = module.BatchInputSimplePublicObjectBatchInput(inputs=[
        module.SimplePublicObjectBatchInput(id=company, properties={"city": "Leeds"}),
        module.SimplePublicObjectBatchInput(id="999", properties={"city": "Leeds"}),
    ])
    answer = api(served, "crm.companies", "BatchApi").update_with_http_info(body)
    assert (answer[1], answer[0].num_errors, [one.id for one in answer[0].results]) == (207, 1, [company])


def test_the_client_makes_lists_changes_and_deletes_a_task(served, tmp_path):
    module, company = importlib.import_module("hubspot.crm.objects.tasks"), next(iter(served[0].accounts))
    basic, batch = (api(served, "crm.objects.tasks", name) for name in ("BasicApi", "BatchApi"))
    kind = module.AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=crm.TASK_TO_COMPANY)
    made = basic.create(module.SimplePublicObjectInputForCreate(
        properties={"hs_timestamp": "2026-07-01T09:00:00Z", "hs_task_subject": "Call", "hs_task_body": f"Please. {task_marker('k1')}",
                    "hs_task_status": "NOT_STARTED", "hs_task_priority": "HIGH", "hs_task_type": "TODO"},
        associations=[module.PublicAssociationsForObject(to=module.PublicObjectId(id=company), types=[kind])]))
    assert made.id in {one.id for one in basic.get_page(limit=10).results}
    linked = api(served, "crm.associations.v4", "BasicApi").get_page("companies", company, "tasks")
    assert [str(one.to_object_id) for one in linked.results] == [made.id]
    asked = module.BatchReadInputSimplePublicObjectId(properties=["hs_task_body"], properties_with_history=[],
                                                      inputs=[module.SimplePublicObjectId(id=made.id)])
    assert "k1" in batch.read(asked).results[0].properties["hs_task_body"]
    basic.update(made.id, module.SimplePublicObjectInput(properties={"hs_task_status": "COMPLETED"}))

    ours = crm.HubSpotCrm(job_for(source, settings_at(served[1], tmp_path)).api)
    assert (ours.find_tasks([company]), ours.task_status(made.id)) == ({company: [FoundTask("k1", made.id, "completed")]}, "completed")
    own = ours.create_task(TaskRequest("k2", company, None, "Ask", "Please", datetime(2026, 7, 2, 9, tzinfo=UTC)))
    shown = basic.get_by_id(own, properties=["hs_task_subject", "hs_task_status"])
    assert (shown.properties["hs_task_subject"], shown.properties["hs_task_status"]) == ("Ask", "NOT_STARTED")
    basic.archive(made.id)
    assert ours.task_status(made.id) is None
    with pytest.raises(module.ApiException, match="404"):
        basic.get_by_id(made.id)


def test_the_client_merges_two_companies_and_both_ids_answer_with_the_new_one():
    world = portal()
    with running_sandbox(world, vendors={"hubspot": Sandbox}, rate_limits=False) as url:
        module = importlib.import_module("hubspot.crm.companies")
        here = (world, url)
        one, two = world.accounts
        basic = api(here, "crm.companies", "BasicApi")
        merged = basic.merge(module.PublicMergeInput(primary_object_id=one, object_id_to_merge=two))
        assert {basic.get_by_id(old).id for old in (one, two)} == {merged.id}
        shown = basic.get_by_id(merged.id, properties=["hs_merged_object_ids", "name"])
        assert (shown.properties["hs_merged_object_ids"], shown.properties["name"]) == (f"{one};{two}", "One Ltd")
        deal = next(iter(world.deals))
        page = api(here, "crm.associations.v4", "BasicApi").get_page("deals", deal, "companies")
        assert [str(to.to_object_id) for to in page.results] == [merged.id]


def test_every_body_of_the_source_fits_the_clients_models(served, tmp_path, monkeypatch):
    """crm/12: only fields that the model knows, every field that it requires, texts where it has texts."""
    sent: list[tuple[str, dict[str, Any]]] = []
    post = Api.post

    def noted(self: Api, path: str, json: Any = None, **more: Any) -> Any:
        sent.append((path, json))
        return post(self, path, json, **more)

    monkeypatch.setattr(Api, "post", noted)
    job = job_for(source, settings_at(served[1], tmp_path))
    for step in (source.companies, source.contacts, source.deals, source.line_items):
        list(step(job))
    deals, links = (importlib.import_module(f"hubspot.crm.{name}") for name in ("deals", "associations.v4"))
    assert {path.rpartition("/")[2] for path, _ in sent} == {"search", "read"}
    for path, body in sent:
        if path.endswith("/search"):
            names = set(deals.PublicObjectSearchRequest.attribute_map.values())
            assert set(body) == names - {"query"}, path
            assert all(isinstance(one, str) for one in (*body["sorts"], *body["properties"], body["after"]))
            assert all(set(one) <= set(deals.Filter.attribute_map.values()) for group in body["filterGroups"] for one in group["filters"])
        else:
            model = links.PublicFetchAssociationsBatchRequest
            assert set(body) == {"inputs"} and all(set(one) <= set(model.attribute_map.values()) for one in body["inputs"])


@pytest.mark.parametrize(("method", "path", "status", "says"), [
    ("GET", "/crm/v3/objects/companies?associations=tickets", 200, "results"),
    ("GET", "/crm/v3/objects/tickets", 400, "not served by the sandbox"),
    ("GET", "/crm/v3/objects/contracts/1/none", 404, "not served by the sandbox"),
    ("PATCH", "/crm/v3/pipelines/deals", 404, "not served by the sandbox"),
    ("PATCH", "/crm/v3/properties/companies/billing_email", 200, "Invoices to"),
    ("PATCH", "/crm/v3/properties/companies/name", 400, "read-only"),
    ("PATCH", "/crm/v3/properties/companies/nothing", 404, "does not exist"),
])  # fmt: skip
def test_every_answer_has_hubspots_shape(served, method, path, status, says):
    answer = Portal(served[1]).call(method, path, {"label": "Invoices to"} if method == "PATCH" else None)
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (status, "application/json")
    assert says in json.dumps(answer.json())
    assert status < 400 or {"category", "correlationId", "message"} <= set(answer.json())


def test_a_propertys_history_comes_when_asked_for(served):
    company = next(iter(served[0].accounts))
    shown = Portal(served[1]).call("GET", f"/crm/v3/objects/companies/{company}?propertiesWithHistory=name", None).json()
    assert [version["value"] for version in shown["propertiesWithHistory"]["name"]] == ["One Ltd"]
