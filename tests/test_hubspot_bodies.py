"""Every body that is written to HubSpot is one that the models of its own client take: all that is required, nothing unknown."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sandbox_fixture import TOKEN, running_sandbox
from test_vendor_fields import HUBSPOT_BODIES, plain

from pipelines.http import Api, Bearer, Response
from pipelines.sandbox.world import make_world
from pipelines.vendors.crm_types import FoundTask, RecordUpdate, TaskRequest, task_marker
from pipelines.vendors.hubspot import CARD, VERSION
from pipelines.vendors.hubspot.crm import HubSpotCrm
from pipelines.vendors.hubspot.sandbox import Sandbox
from pipelines.writeback import setup

pytest.importorskip("hubspot", reason="the models are those of hubspot-api-client")


class Listening(Api):
    """Remembers what is sent."""

    def __init__(self, url: str):
        super().__init__(f"{url}/hubspot", vendor="hubspot", auth=Bearer(TOKEN), allowed=CARD.allowed)
        self.sent: list[tuple[str, Any]] = []

    def post(self, path: str, json: Any = None, **more: Any) -> Response:
        self.sent.append((f"POST {path}", json))
        return super().post(path, json=json, **more)

    def patch(self, path: str, json: Any = None, **more: Any) -> Response:
        self.sent.append((f"PATCH {path}", json))
        return super().patch(path, json=json, **more)


@pytest.fixture(scope="module")
def sent() -> list[tuple[str, Any]]:
    """The bodies of everything that the write-back does: fields, values, tasks."""
    with running_sandbox(make_world(7, 30), vendors={"hubspot": Sandbox}, crms=["hubspot"], rate_limits=False) as url:
        api = Listening(url)
        crm = HubSpotCrm(api)
        setup.create(crm)
        hidden = [{"label": "Current", "value": "Current", "description": "", "displayOrder": 0, "hidden": True}]
        api.patch(f"/crm/properties/{VERSION}/companies/crossfoot_financial_status", json={"options": hidden})
        assert setup.create(crm)
        for object in crm.objects:
            record = api.get(f"/crm/objects/{VERSION}/{object}", params={"limit": "1"}).json["results"][0]["id"]
            names = [field.name for field in crm.objects[object]]
            assert crm.read(object, [record], names).keys() == {record}
            assert crm.update(object, [RecordUpdate(record, dict.fromkeys(names))])[0].status == "written"
        company = api.get(f"/crm/objects/{VERSION}/companies", params={"limit": "1"}).json["results"][0]["id"]
        owner = api.get(f"/crm/owners/{VERSION}").json["results"][0]["id"]
        task = crm.create_task(TaskRequest("k1", company, owner, "Overdue", task_marker("k1"), datetime(2026, 7, 1, tzinfo=UTC)))
        assert crm.find_tasks([company])[company] == [FoundTask("k1", task, "open")]
        crm.complete_task(task)
        crm.reopen_task(task)
        crm.delete_task(task)
    return api.sent


def problems(room: Any, kind: str, value: Any, way: str = "body") -> Iterator[str]:
    """What of a JSON value its model of the client's does not take."""
    if listed := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            yield f"{way} is no list"
            return
        for place, entry in enumerate(value):
            yield from problems(room, listed[1], entry, f"{way}.{place}")
    elif mapped := re.fullmatch(r"dict(?:\[str, (.+)\]|\(str, (.+)\))", kind):
        for key, entry in value.items():
            yield from problems(room, mapped[1] or mapped[2], entry, f"{way}.{key}")
    elif model := getattr(room, kind, None):
        attributes = {name: attribute for attribute, name in model.attribute_map.items()}
        yield from (f"{way}.{name} is unknown" for name in value.keys() - attributes.keys())
        try:
            strict = importlib.import_module(room.__name__.removesuffix("models") + "configuration").Configuration()
            strict.client_side_validation = True  # the client leaves it off, and the vendor judges
            model(local_vars_configuration=strict, **{attributes[name]: part for name, part in value.items() if name in attributes})
        except ValueError as error:  # a required part is missing, or a value is none of those listed
            yield f"{way}: {error}"
        for name, part in value.items():
            if name in attributes:
                yield from problems(room, model.openapi_types[attributes[name]], part, f"{way}.{name}")
    elif not isinstance(value, {"str": str, "bool": bool, "int": int}.get(kind, object)):
        yield f"{way} is {value!r}, no {kind}"


def judged(request: str, body: Any) -> list[str]:
    name = next(name for pattern, name in HUBSPOT_BODIES.items() if re.fullmatch(pattern, plain("hubspot", request)))
    room, _, kind = name.rpartition(".")
    return list(problems(importlib.import_module(f"hubspot.{room}"), kind, body))


def test_crm_12_every_body_is_one_of_hubspots_models(sent: list[tuple[str, Any]]) -> None:
    assert {re.sub(r"/\d{4}-\d\d|/\d{5,}", "", request) for request, _ in sent} >= {
        "POST /crm/properties/companies/groups", "POST /crm/properties/deals/batch/create", "POST /crm/objects/companies/batch/read",
        "PATCH /crm/properties/companies/crossfoot_financial_status", "POST /crm/objects/deals/batch/update", "POST /crm/objects/tasks",
        "POST /crm/objects/tasks/batch/read", "PATCH /crm/objects/tasks",
    }
    assert [(request, found) for request, body in sent for found in judged(request, body)] == []


@pytest.mark.parametrize(("request_", "body", "said"), [
    ("POST /crm/objects/companies/batch/read", {"inputs": [{"id": "1"}], "properties": []}, "`properties_with_history`"),
    ("POST /crm/objects/companies/batch/update", {"inputs": [{"id": 1, "properties": {"name": "x"}}]}, "body.inputs.0.id is 1, no str"),
    ("POST /crm/objects/companies/batch/update", {"inputs": [{"id": "1", "properties": {"name": None}}]}, "name is None, no str"),
    ("POST /crm/properties/companies/batch/create", {"inputs": [{"name": "x", "label": "X", "type": "number", "fieldType": "number",
     "groupName": "g", "showCurrencySymbol": True}]}, "body.inputs.0.showCurrencySymbol is unknown"),
    ("POST /crm/properties/companies/batch/create", {"inputs": [{"name": "x", "label": "X", "type": "money", "fieldType": "number",
     "groupName": "g"}]}, "Invalid value for `type`"),
])  # fmt: skip
def test_a_body_that_hubspot_would_not_know_is_found(request_: str, body: Any, said: str) -> None:
    assert said in " ".join(judged(request_, body))
