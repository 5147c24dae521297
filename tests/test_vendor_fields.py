"""Every field that we read from a vendor, or write to it, stands in something that the vendor has published.

What is asked of the vendors is recorded while all four are extracted from the sandbox and both CRMs are written to. The published
side is Xero's OpenAPI files, QuickBooks' XML schemas, the Salesforce columns and describes, and the models of HubSpot's client.
What is in none of them stands in UNPUBLISHED with its source.
"""

from __future__ import annotations

import importlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from extract_fixture import NIGHT
from night_fixture import FAST, House, house
from openapi_fixture import Specification
from vendor_fields_fixture import Asked, Schemas, listening, names_in, snake

from flows import when
from pipelines.vendors.crm_types import RecordUpdate, TaskRequest

SHARED = Path(__file__).parents[2] / "shared"
SPECS = SHARED / "reference" / "specs"
ALL = '[vendors]\ncrms = ["hubspot", "salesforce"]\nledgers = ["quickbooks", "xero"]\n'
pytestmark = pytest.mark.skipif(not SPECS.is_dir(), reason="the vendors' specifications are not beside the project")

# RFC 6749 (sections 4.4.2, 5.1 and 5.2) and OpenID Connect say what token endpoints take and answer, whoever the vendor is.
TOKENS = re.compile(r"/token(s/bearer)?$|/oauth2/token$|/connect/token$")

# Who describes what of HubSpot: the models of hubspot-api-client by request. A way goes on in them by their own names of attributes.
# Where neither stands, the client has no such call.
OBJECTS = "crm.objects.models"
HUBSPOT_ANSWERS = {
    r"GET /crm/owners$": "crm.owners.models.CollectionResponsePublicOwnerForwardPaging",
    r"GET /crm/pipelines/deals$": "crm.pipelines.models.CollectionResponsePipelineNoPaging",
    r"POST /crm/associations/\w+/\w+/batch/read$": "crm.associations.v4.models.BatchResponsePublicAssociationMultiWithLabelWithErrors",
    r"GET /crm/objects/\w+/ID/associations/\w+$":
        "crm.associations.v4.models.CollectionResponseMultiAssociatedObjectWithLabelForwardPaging",
    r"POST /crm/objects/\w+/search$": f"{OBJECTS}.CollectionResponseWithTotalSimplePublicObjectForwardPaging",
    r"POST /crm/objects/\w+/batch/\w+$": f"{OBJECTS}.BatchResponseSimplePublicObjectWithErrors",
    r"GET /crm/objects/\w+$": f"{OBJECTS}.CollectionResponseSimplePublicObjectWithAssociationsForwardPaging",
    r"(GET|PATCH) /crm/objects/\w+/ID$": f"{OBJECTS}.SimplePublicObjectWithAssociations",
    r"POST /crm/objects/\w+$": f"{OBJECTS}.SimplePublicObject",
    r"GET /crm/properties/\w+$": "crm.properties.models.CollectionResponsePropertyNoPaging",
    r"GET /crm/properties/\w+/groups$": "crm.properties.models.CollectionResponsePropertyGroupNoPaging",
    r"POST /crm/properties/\w+/batch/create$": "crm.properties.models.BatchResponsePropertyWithErrors",
    r"PATCH /crm/properties/\w+/\w+$": "crm.properties.models.ModelProperty",
}
HUBSPOT_BODIES = {
    r"POST /crm/associations/\w+/\w+/batch/read$": "crm.associations.v4.models.BatchInputPublicFetchAssociationsBatchRequest",
    r"POST /crm/objects/\w+/search$": f"{OBJECTS}.PublicObjectSearchRequest",
    r"POST /crm/objects/\w+/batch/read$": f"{OBJECTS}.BatchReadInputSimplePublicObjectId",
    r"POST /crm/objects/\w+/batch/update$": f"{OBJECTS}.BatchInputSimplePublicObjectBatchInput",
    r"PATCH /crm/objects/\w+/ID$": f"{OBJECTS}.SimplePublicObjectInput",
    r"POST /crm/objects/\w+$": f"{OBJECTS}.SimplePublicObjectInputForCreate",
    r"POST /crm/properties/\w+/groups$": "crm.properties.models.PropertyGroupCreate",
    r"POST /crm/properties/\w+/batch/create$": "crm.properties.models.BatchInputPropertyCreate",
    r"PATCH /crm/properties/\w+/\w+$": "crm.properties.models.PropertyUpdate",
}
# What no specification, recording or client that we hold has, as "vendor: way" patterns: where each is known from. (unverified), all.
UNPUBLISHED = {
    r"hubspot: (results\.)?stages\.metadata\.(isClosed|probability)|hubspot: results\.stages\.metadata\.(isClosed|probability)":
        "developers.hubspot.com, CRM pipelines guide: metadata of a deal stage (unverified)",
    r"hubspot: (id|results(\.(conversionRate|effectiveAt|fromCurrencyCode|toCurrencyCode))?)":
        "developers.hubspot.com, settings/currencies reference; the client has no such call (unverified)",
    "hubspot: portalId": "developers.hubspot.com, account information API, account details (unverified)",
    r"hubspot: results\.properties\.(address|city|country|domain|hs_lastmodifieddate|hs_merged_object_ids|hs_parent_company_id"
    r"|hubspot_owner_id|name|state|zip)": "knowledge.hubspot.com, default company properties (unverified)",
    r"hubspot: results\.properties\.(associatedcompanyid|email|firstname|lastmodifieddate|lastname)":
        "knowledge.hubspot.com, default contact properties (unverified)",
    r"hubspot: results\.properties\.(amount|amount_in_home_currency|closedate|deal_currency_code|dealname|dealstage|dealtype"
    r"|hs_deal_stage_probability|hs_is_closed|hs_is_closed_won|pipeline)": "knowledge.hubspot.com, default deal properties (unverified)",
    r"hubspot: results\.properties\.(hs_line_item_currency_code|hs_recurring_billing_number_of_payments|hs_recurring_billing_start_date"
    r"|hs_recurring_billing_(end_date|period)|hs_billing_start_delay_(days|months)|hs_tcv"
    r"|hs_sku|hs_total_discount|price|quantity|recurringbillingfrequency)":
        "knowledge.hubspot.com, default line item properties (unverified)",
    r"hubspot: (json:|results\.)?properties\.hs_(task_(body|priority|status|subject|type)|timestamp)":
        "developers.hubspot.com, CRM tasks guide (unverified)",
    r"hubspot: results\.properties\.(billing_email|contract_(start|end)_date|invoice_numbers|payment_terms)":
        "properties of the portal's own, named in the settings",
    r"hubspot: (results\.|json:inputs\.)properties\.crossfoot_\w+": "properties that setup-crm makes",
    r"salesforce: DailyApiRequests(\.Max|\.Remaining)?": "REST API developer guide, Limits (unverified)",
    r"salesforce: soql:(CurrencyType|DatedConversionRate)\.\w+": "Object reference: CurrencyType, DatedConversionRate (unverified)",
    r"salesforce: soql:(OpportunityStage|Organization|RecordType|FieldPermissions|PermissionSet|PermissionSetAssignment|CustomField)\.\w+":
        "Object reference and Tooling API reference (unverified)",
    r"salesforce: soql:\w+\.(CurrencyIsoCode|RecordType\.Name|SystemModstamp)": "Object reference, system fields (unverified)",
    r"salesforce: sobjects(\.name)?": "REST API developer guide, Describe Global (unverified)",
    r"xero: Organisations\.(EndOfYear|Period)LockDateString": "as beside every other date of recorded answers (unverified)",
    r"salesforce: user_id": "Identity URLs: userinfo (unverified)",
    r"salesforce: json:ids": "REST API developer guide, sObject Collections: retrieve by POST (unverified)",
    r"salesforce: json:records\.(ActivityDate|Priority|Subject|WhatId)": "Object reference: Task (unverified)",
    r"salesforce: json:(Field|PermissionsEdit|PermissionsRead|SobjectType|Label|AssigneeId|PermissionSetId)":
        "Object reference: FieldPermissions, PermissionSet, PermissionSetAssignment (unverified)",
    r"salesforce: json:(FullName|Metadata(\.\w+)*)": "Metadata API developer guide: CustomField (unverified)",
}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Asked, Asked]:
    with listening() as (read, written), house(tmp_path_factory.mktemp("fields"), config=ALL + FAST) as made:
        night = when.tonight(made.settings)
        assert {receipt.status for receipt in made.hear(night)} == {"complete"}
        for slug, crm in made.crms.items():
            write(made, slug, crm)
    return read, written


def write(made: House, slug: str, crm: Any) -> None:
    """Everything that the write-back does to a CRM."""
    accounts = next(iter(crm.objects))
    known = made.rows(f"SELECT id FROM raw_{slug}.{accounts} ORDER BY id LIMIT 3")
    record = next(iter(crm.read(accounts, [row["id"] for row in known], ["financial_status"])))
    assert crm.missing_fields(accounts) == []
    (outcome,) = crm.update(accounts, [RecordUpdate(record, {"financial_status": "Current"})])
    assert outcome.status == "written"
    task = crm.create_task(TaskRequest("key", record, None, "Subject", "Body", NIGHT))
    assert crm.find_tasks([record]) == {}  # its body has no marker
    crm.complete_task(task)
    crm.reopen_task(task)
    crm.task_status(task)
    crm.delete_task(task)


# -- who has published it -------------------------------------------------------------------------------------------


def unpublished(asked: tuple[Asked, Asked]) -> set[str]:
    """What was asked of vendors or written to them and stands nowhere: "vendor: request: way"."""
    read, written = asked
    missing = set()
    for vendor, request, way in read:
        if not TOKENS.search(request) and not JUDGES[vendor](plain(vendor, request), way):
            missing.add(f"{vendor}: {plain(vendor, request)}: {way}")
    for vendor, request, way in written:
        if vendor in BODIES and not TOKENS.search(request) and not BODIES[vendor](plain(vendor, request), way):
            missing.add(f"{vendor}: {plain(vendor, request)}: {way}")
    return missing


def plain(vendor: str, request: str) -> str:
    """"GET /crm/objects/companies/ID": without the sandbox's prefix, the version and ids."""
    short = request.replace(f"/{vendor}/", "/", 1)
    short = re.sub(r"/(\d{4}-\d{2}|v\d+(\.\d)?)(?=/|$)", "", short)
    return re.sub(r"/(\d{5,}|[0-9a-f]{8}-[0-9a-f-]{27}|[0-9A-Z]{3}\w{12,15}AA)(?=/|$)", "/ID", short)


@cache
def xero() -> tuple[Specification, ...]:
    return tuple(Specification.load(SPECS / "xero" / name, base=base) for name, base in
                 (("xero_accounting.yaml", "/api.xro/2.0"), ("xero-identity.yaml", "")))


def in_xero(request: str, way: str) -> bool:
    """Whether the answer's schema has the way."""
    method, path = request.split(" ")
    for file in xero():
        operation = file.operation(method, path.replace("/connections", "/Connections"))
        schema = operation.answers.get("200") if operation else None
        if schema and _has(schema, file.definitions, way.split(".")):
            return True
    return way.rpartition(".")[2] in recorded_by_xero()


@cache
def recorded_by_xero() -> set[str]:
    """Names that only recorded answers have, such as DateString."""
    return {name for path in (SHARED / "recorded" / "xero").glob("*.json") for name in names_in(json.loads(path.read_text()))}


def _has(schema: Any, definitions: Any, names: list[str]) -> bool:
    while "$ref" in schema or "items" in schema or "anyOf" in schema:
        schema = (definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema
                  else schema["items"] if "items" in schema else schema["anyOf"][0])
    if not names:
        return True
    part = schema.get("properties", {}).get(names[0])
    return part is not None and _has(part, definitions, names[1:])


@cache
def quickbooks() -> Schemas:
    return Schemas(SPECS / "quickbooks" / "xsd")


def in_quickbooks(request: str, way: str) -> bool:
    """Whether the entity, the report or the envelope has the way. A query's answer holds entities by their names."""
    names = way.split(".")
    if "/reports/" in request:
        return quickbooks().follow("Report", names)
    for envelope in (["QueryResponse"], ["CDCResponse", "QueryResponse"]):
        if names[:len(envelope)] == envelope and len(names) > len(envelope) and names[len(envelope)] in quickbooks().roots:
            return quickbooks().follow(names[len(envelope)], names[len(envelope) + 1:])
    return quickbooks().follow("IntuitResponse", names)


@cache
def salesforce() -> dict[str, set[str]]:
    """{object, or "" for envelopes: published names}: the seeds' columns, recorded describes and queries, and the REST collection."""
    found: dict[str, set[str]] = {"": set()}
    for name, table in json.loads((SPECS / "salesforce" / "object_columns_from_fivetran_seeds.json").read_text())["tables"].items():
        found.setdefault(name.removeprefix("sf_").removesuffix("_data").replace("_", ""), set()).update(table["columns"])
    for path in sorted((SHARED / "recorded" / "salesforce").glob("*.json")):
        for exchange in (given if isinstance(given := json.loads(path.read_text()), list) else [{"path": "", "response": given}]):
            answer = exchange.get("response")
            found[""] |= names_in(answer)
            if isinstance(answer, dict) and "fields" in answer:
                found.setdefault(answer["name"].lower(), set()).update(snake(field["name"]) for field in answer["fields"])
    for path in sorted((SPECS / "salesforce" / "postman").rglob("*.json")):
        found[""] |= names_in(json.loads(path.read_text())) | set(re.findall(r"\W(\w+)\W+:", path.read_text()))
    return found


def in_salesforce(request: str, way: str) -> bool:
    """Names of envelopes anywhere in what was recorded; of records, what a query selects is judged by the query."""
    if way.startswith(("records.", "params:")):
        return True
    if way.startswith("soql:"):
        sobject, field = way.removeprefix("soql:").split(".", 1)
        return field.endswith("__c") or snake(field) in salesforce().get(sobject.lower(), set())
    names = way.removeprefix("json:").split(".")
    return all(name in salesforce()[""] or name.endswith("__c") for name in names)


def in_hubspot(request: str, way: str) -> bool:
    return _in_model(HUBSPOT_ANSWERS, request, way)


def in_hubspot_body(request: str, way: str) -> bool:
    place, _, way = way.partition(":")
    return place != "json" or _in_model(HUBSPOT_BODIES, request, way)


def _in_model(models: dict[str, str], request: str, way: str) -> bool:
    name = next((name for pattern, name in models.items() if re.fullmatch(pattern, request)), None)
    if name is None:
        return False
    room, _, kind = name.rpartition(".")
    module = importlib.import_module(f"hubspot.{room}")
    for part in way.split("."):
        if not hasattr(module, kind):  # a map, whose names are each portal's own
            return False
        model = getattr(module, kind)
        attribute = next((key for key, json_name in model.attribute_map.items() if json_name == part), None)
        if attribute is None:
            return False
        kind = re.sub(r"^list\[(.+)\]$", r"\1", model.openapi_types[attribute])
    return True


JUDGES = {"xero": in_xero, "quickbooks": in_quickbooks, "salesforce": in_salesforce, "hubspot": in_hubspot}
BODIES = {"salesforce": in_salesforce, "hubspot": in_hubspot_body}


def test_every_field_is_published_or_listed_as_unverified(asked: tuple[Asked, Asked]) -> None:
    found = {missing: re.sub(r"^(\w+): \w+ \S+: ", r"\1: ", missing) for missing in unpublished(asked)}
    unlisted = [missing for missing, short in found.items() if not any(re.fullmatch(pattern, short) for pattern in UNPUBLISHED)]
    assert sorted(unlisted) == [], "find each in a specification, or list it with where it is known from"
    unasked = [pattern for pattern in UNPUBLISHED if not any(re.fullmatch(pattern, short) for short in found.values())]
    assert unasked == [], "these are published, or nobody asks for them: take them off the list"


@pytest.mark.parametrize("vendor, request_, way", [
    ("xero", "GET /api.xro/2.0/Invoices", "Invoices.AmountOwing"), ("quickbooks", "GET /company/ID/query", "QueryResponse.Invoice.Owing"),
    ("quickbooks", "GET /company/ID/reports/AgedReceivables", "Rows.Row.Cells"), ("salesforce", "GET /services/data/query",
    "soql:Account.Owing"), ("salesforce", "GET /services/data/query", "recordz"), ("hubspot", "GET /crm/owners", "results.mail"),
    ("hubspot", "GET /settings/currencies/company-currency", "currencyCode"),
])  # fmt: skip
def test_a_field_that_nobody_published_is_found(vendor: str, request_: str, way: str) -> None:
    assert unpublished(({(vendor, request_, way)}, set())) == {f"{vendor}: {request_}: {way}"}
