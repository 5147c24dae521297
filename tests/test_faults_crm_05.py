"""A field of the CRM that is there and not as it should be: each deviation is named and repaired where it can be, and what the
CRM refuses costs only the field that it refuses it for."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_crm import FREE, NIGHT, Killed, Stage, company, stage
from salesforce_crm_fixture import Org, described_field, live
from salesforce_crm_fixture import scripted as salesforce
from sandbox_fixture import TOKEN, running_sandbox
from test_hubspot_crm import refused, scripted, shown

from pipelines.http import Api, ApiError, Bearer
from pipelines.sandbox.world import make_world
from pipelines.vendors.crm_types import ACCOUNT_FIELDS, BatchRefused, Deviation, Field, FieldsMissing, Outcome, RecordUpdate
from pipelines.vendors.hubspot import CARD, VERSION
from pipelines.vendors.hubspot.crm import HubSpotCrm
from pipelines.vendors.hubspot.sandbox import Sandbox as HubSpotSandbox
from pipelines.vendors.salesforce import crm_metadata as metadata
from pipelines.vendors.salesforce.crm import DATA
from pipelines.vendors.salesforce.sandbox import Sandbox as SalesforceSandbox
from pipelines.writeback import setup
from pipelines.writeback.apply import MAX_TROUBLES, ApplyResult, apply_plan
from pipelines.writeback.live import live_plan, prepare_plan
from pipelines.writeback.refusals import MAX_SEARCHES

FIELDS = {field.name: field for field in ACCOUNT_FIELDS}
STATUS, TOTAL = FIELDS["financial_status"], FIELDS["total_outstanding"]
PROPERTIES = f"/crm/properties/{VERSION}/companies"
IDS = ("acme", "blue", "core", "dune", "echo")


# -- what is missing: every deviation, of both CRMs -------------------------------------------------------------------


def options(*values: str, hidden: tuple[str, ...] = ()) -> list[dict[str, object]]:
    return [{"label": value, "value": value, "hidden": value in hidden} for value in values]


def hubspot_lacks(field: Field, **more: object) -> list[Deviation]:
    there = [shown(one) | (more if one is field else {}) for one in ACCOUNT_FIELDS]
    return scripted({"results": there})[0].missing_fields("companies")


@pytest.mark.parametrize(("name", "change", "said", "alters", "repairable"), [
    ("total_outstanding", {"type": "string", "fieldType": "text"}, "is of type 'string', not 'number'; archive it", True, False),
    ("total_outstanding", {"calculated": True, "modificationMetadata": {"readOnlyValue": True}}, "is calculated", False, False),
    ("total_outstanding", {"fieldType": "calculation_equation"}, "is calculated", False, False),
    ("total_outstanding", {"modificationMetadata": {"readOnlyValue": True}}, "is read-only", False, False),
    ("days_overdue", {"hasUniqueValue": True}, "takes each value once", False, False),
    ("financial_status", {"fieldType": "checkbox"}, "is shown as 'checkbox', not 'select'", False, True),
    ("financial_status", {"options": options("No Invoices", "Credit Hold", "Current")}, "lacks the options Overdue; run", False, True),
    ("financial_status", {"options": options(*STATUS.options, hidden=("Overdue",))}, "hides the options Overdue", False, True),
    ("financial_status", {"options": [], "modificationMetadata": {"readOnlyOptions": True}}, "; add them in HubSpot's", False, False),
    ("customer_ids", {"type": "enumeration", "fieldType": "select"}, "is of type 'enumeration', not 'string'", True, False),
])  # fmt: skip
def test_crm_05_option_missing_unseen_hubspot(name: str, change: dict, said: str, alters: bool, repairable: bool) -> None:
    (one,) = hubspot_lacks(FIELDS[name], **change)
    assert str(one).startswith(f"property crossfoot_{name} of companies ") and said in str(one)
    assert (one.alters, one.repairable) == (alters, repairable)


@pytest.mark.parametrize("change", [{"fieldType": "radio"}, {"options": options(*STATUS.options, "Disputed")}, {"calculated": False}])
def test_what_keeps_the_values_as_well_is_no_deviation(change: dict) -> None:
    assert hubspot_lacks(STATUS, **change) == []


def salesforce_lacks(field: Field, object: str = "accounts", **more: object) -> list[Deviation]:
    crm, _ = salesforce({"fields": [described_field(object, one) | (more if one is field else {}) for one in ACCOUNT_FIELDS]})
    return crm.missing_fields(object)


def values(*active: str, inactive: tuple[str, ...] = ()) -> dict[str, object]:
    return {"picklistValues": [{"value": value, "active": value not in inactive} for value in (*active, *inactive)]}


@pytest.mark.parametrize(("name", "change", "said", "alters", "repairable"), [
    ("total_outstanding", {"type": "currency"}, "is of type 'currency', not 'double'; delete it", True, False),
    ("total_outstanding", {"calculated": True, "updateable": False}, "is a formula", False, False),
    ("total_outstanding", {"updateable": False}, "cannot be edited by the user that signs in; run", False, True),
    ("total_outstanding", {"scale": 0}, "keeps 0 decimals, not 2", True, False),
    ("total_outstanding", {"precision": 9}, "keeps 7 digits before the point, not 16", False, False),
    ("customer_ids", {"length": 80}, "keeps 80 characters, not 255", False, False),
    ("customer_ids", {"unique": True}, "takes each value once", False, False),
    ("last_payment_date", {"nillable": False}, "cannot be cleared", False, False),
    ("financial_status", values("No Invoices", "Credit Hold", "Current"), "lacks the values Overdue; run", False, True),
    ("financial_status", values("No Invoices", "Current", "Overdue", inactive=("Credit Hold",)), "the values Credit Hold", False, True),
])  # fmt: skip
def test_crm_05_option_missing_unseen_salesforce(name: str, change: dict, said: str, alters: bool, repairable: bool) -> None:
    (one,) = salesforce_lacks(FIELDS[name], **change)
    assert str(one).startswith(f"field Account.{metadata.api_name(FIELDS[name])} ") and said in str(one)
    assert (one.alters, one.repairable) == (alters, repairable)


def test_a_picklist_that_is_not_restricted_takes_every_value() -> None:
    assert salesforce_lacks(STATUS, restrictedPicklist=False, **values("Current")) == []


def test_all_deviations_are_told_at_once_and_only_what_alters_blocks_a_night() -> None:
    there = [shown(one) for one in ACCOUNT_FIELDS[1:]]
    there[0] |= {"type": "string"}
    there[1] |= {"modificationMetadata": {"readOnlyValue": True}}
    crm, _ = scripted({"results": there}, {"results": []})
    found = setup.missing(crm)
    mine = {"companies": found["companies"]}
    days = "hubspot: property crossfoot_days_overdue of companies is of type 'string', not 'number'"
    assert [sentence.split(";")[0] for sentence in setup.sentences("hubspot", mine)] == [
        "hubspot: companies lack Financial Status", days, "hubspot: property crossfoot_total_outstanding of companies is read-only",
    ]
    assert [sentence.split(";")[0] for sentence in setup.blocks("hubspot", mine)] == ["hubspot lacks 1 fields of companies", days]


# -- setup-crm, over HTTP ---------------------------------------------------------------------------------------------


class Portal:
    """A sandbox portal and the client that speaks to it."""

    def __init__(self, url: str):
        self.api = Api(f"{url}/hubspot", vendor="hubspot", auth=Bearer(TOKEN), allowed=CARD.allowed)
        self.crm = HubSpotCrm(self.api)

    def properties(self) -> dict[str, dict]:
        return {found["name"]: found for found in self.api.get(PROPERTIES).json["results"]}

    def companies(self, count: int) -> list[str]:
        found = self.api.get(f"/crm/objects/{VERSION}/companies", params={"limit": str(count)}).json["results"]
        return [record["id"] for record in found]

    def values(self, ids: list[str], *names: str) -> list[dict[str, str | None]]:
        return list(self.crm.read("companies", ids, names).values())


@pytest.fixture(scope="module")
def url():
    crms = {"hubspot": HubSpotSandbox, "salesforce": SalesforceSandbox}
    with running_sandbox(make_world(7, 30), vendors=crms, crms=list(crms), rate_limits=False) as address:
        yield address


@pytest.fixture
def portal(url: str) -> Portal:
    made = Portal(url)
    setup.create(made.crm)
    return made


@pytest.fixture
def org(url: str) -> Org:
    made = Org(url)
    setup.create(made.crm)
    return made


def test_setup_adds_the_options_that_hubspot_lacks_and_keeps_peoples_own(portal: Portal) -> None:
    short = options("No Invoices", "Disputed", "Current", hidden=("Current",))
    portal.api.patch(f"{PROPERTIES}/crossfoot_financial_status", json={"options": short})
    assert [one.problem for one in portal.crm.missing_fields("companies")] == [
        "lacks the options Credit Hold, Overdue", "hides the options Current"]
    id = portal.companies(1)[0]
    with pytest.raises(BatchRefused) as told:
        portal.crm.update("companies", [RecordUpdate(id, {"financial_status": "Overdue", "days_overdue": "4"})])
    assert told.value.fields == {"financial_status"} and "INVALID_OPTION" in str(told.value)
    assert setup.create(portal.crm) == {"companies": [STATUS]}
    assert setup.missing(portal.crm) == {}
    found = portal.properties()["crossfoot_financial_status"]["options"]
    assert [(one["value"], one["hidden"]) for one in found] == [
        ("No Invoices", False), ("Disputed", False), ("Current", False), ("Credit Hold", False), ("Overdue", False)]


def test_setup_repairs_what_it_can_and_names_the_rest(url: str) -> None:
    portal, name = Portal(url), "crossfoot_last_payment_date"
    portal.api.patch(f"{PROPERTIES}/{name}", json={"type": "string", "fieldType": "text"})
    portal.api.patch(f"{PROPERTIES}/crossfoot_total_outstanding", json={"fieldType": "calculation_equation"})
    portal.api.patch(f"{PROPERTIES}/crossfoot_credit_status", json={"options": options("None")})
    with pytest.raises(FieldsMissing) as told:
        setup.create(portal.crm)
    assert f"{name} of companies is of type 'string', not 'date'; archive it" in str(told.value)
    assert "crossfoot_total_outstanding of companies is calculated" in str(told.value)
    assert [one.field.name for one in portal.crm.missing_fields("companies")] == ["total_outstanding", "last_payment_date"]
    (id,) = portal.companies(1)
    with pytest.raises(BatchRefused, match="READ_ONLY_VALUE") as refusal:
        portal.crm.update("companies", [RecordUpdate(id, {"total_outstanding": "4"})])
    assert refusal.value.fields == {"total_outstanding"}
    portal.api.patch(f"{PROPERTIES}/{name}", json={"type": "date", "fieldType": "date"})
    portal.api.patch(f"{PROPERTIES}/crossfoot_total_outstanding", json={"fieldType": "number"})


def custom_field(org: Org, field: Field) -> str:
    name = metadata.developer_name(field)
    soql = f"SELECT Id FROM CustomField WHERE TableEnumOrId = 'Account' AND DeveloperName = '{name}'"
    return org.api.get(f"{DATA}/tooling/query", params={"q": soql}).json["records"][0]["Id"]


def change(org: Org, field: Field, **more: object) -> None:
    body = metadata.tooling_body("accounts", field)
    body["Metadata"] |= more
    org.api.patch(f"{DATA}/tooling/sobjects/CustomField/{custom_field(org, field)}", json=body)


def test_setup_adds_the_values_that_salesforce_lacks_and_keeps_peoples_own(org: Org) -> None:
    mine = [{"fullName": value, "default": False, "label": value, "isActive": value != "Current"} for value in ("Disputed", "Current")]
    change(org, STATUS, valueSet={"restricted": True, "valueSetDefinition": {"sorted": False, "value": mine}})
    assert [one.refuses for one in org.crm.missing_fields("accounts")] == [STATUS.options]
    (outcome,) = org.crm.update("accounts", [RecordUpdate(live(org, "Account")[0], {"financial_status": "Overdue", "days_overdue": "4"})])
    assert (outcome.status, outcome.fields) == ("rejected", {"financial_status"})
    assert setup.create(org.crm) == {"accounts": [STATUS]} and setup.missing(org.crm) == {}
    found = org.api.get(f"{DATA}/tooling/sobjects/CustomField/{custom_field(org, STATUS)}").json["Metadata"]["valueSet"]
    assert [(one["fullName"], one.get("isActive", True)) for one in found["valueSetDefinition"]["value"]] == [
        ("Disputed", True), ("Current", True), ("No Invoices", True), ("Credit Hold", True), ("Overdue", True)]


def test_a_formula_is_named_and_a_global_value_set_is_left_to_people(org: Org) -> None:
    change(org, TOTAL, formula="1 + 1")
    with pytest.raises(FieldsMissing, match="field Account.Crossfoot_Total_Outstanding__c is a formula; delete it"):
        setup.create(org.crm)
    change(org, TOTAL)
    assert setup.missing(org.crm) == {}
    assert metadata.with_options(STATUS, {"valueSet": {"valueSetName": "Statuses", "restricted": True}}) is None
    lacking = {"fields": [described_field("accounts", one) | (values("Current") if one is STATUS else {}) for one in ACCOUNT_FIELDS]}
    there = {"Id": "00N000000000001AAA", "DeveloperName": metadata.developer_name(STATUS), "NamespacePrefix": None}
    set_, right = {"Id": "0PS000000000001AAA"}, {"Id": "1", "Field": metadata.full_name("accounts", STATUS), "PermissionsEdit": True}
    pages = [{"records": [record], "done": True} for record in (there, set_, right)]
    crm, _ = salesforce(*pages, {"user_id": None, "identity": "x/005000000000007AAA"}, {"records": [{"Id": "0Pa"}], "done": True}, lacking,
                        {"Metadata": {"valueSet": {"valueSetName": "Statuses"}}}, lacking)
    with pytest.raises(FieldsMissing, match="takes its values from a global value set; add No Invoices"):
        crm.create_fields("accounts", [STATUS])


# -- refusals: only the field that is to blame ------------------------------------------------------------------------


def night(at: Stage, days: str = "12") -> ApplyResult:
    desired = [company(id, "Overdue", days, "1500") if id != "echo" else company(id) for id in IDS]
    plan = live_plan(desired, at.crms, at.journal, FREE, as_of=NIGHT)
    result = apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now)
    assert result.written + result.skipped + result.rejected == plan.size
    assert at.journal.unresolved() == []
    assert {key: at.journal.counts("one").get(key, 0) for key in ("written", "skipped", "rejected")} == {
        "written": result.written, "skipped": result.skipped, "rejected": result.rejected}
    return result


def rejected(result: ApplyResult) -> set[tuple[str, str]]:
    return {(one.intent.record_id, one.intent.field) for one in result.problems if one.outcome == "rejected"}


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_only_the_refused_field_is_rejected(tmp_path: Path, batch_size: int, one_by_one: bool, named: bool) -> None:
    at = stage(tmp_path, IDS, batch_size=batch_size)
    at.crm.refuses, at.crm.one_by_one = {("financial_status", "Overdue"): named}, one_by_one
    result = night(at)
    assert rejected(result) - {(id, "financials_as_of") for id in IDS[:4]} == {(id, "financial_status") for id in IDS[:4]}
    assert [at.crm.records["companies"][id]["total_outstanding"] for id in IDS] == ["1500"] * 4 + ["0"]
    assert {at.crm.records["companies"][id]["financial_status"] for id in IDS[:4]} == {None}
    assert at.crm.records["companies"]["echo"]["financial_status"] == "Current"
    # The time that says "every field is known to be true up to here" does not go along with a field that is not.
    assert [at.crm.records["companies"][id]["financials_as_of"] is None for id in IDS] == [True] * 4 + [False]
    if named:
        assert (result.rejected, result.skipped, result.written) == (4, 4, 16)  # with four tasks


def test_a_record_that_is_refused_for_two_fields_one_after_the_other_loses_two(tmp_path: Path) -> None:
    at = stage(tmp_path, ["acme"])
    at.crm.refuses = {("financial_status", "Overdue"): True, ("days_overdue", "12"): False}
    plan = live_plan([company("acme", "Overdue", "12", "1500")], at.crms, at.journal, FREE, as_of=NIGHT)
    result = apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now)
    assert rejected(result) == {("acme", "financial_status"), ("acme", "days_overdue")}
    assert at.crm.records["companies"]["acme"]["total_outstanding"] == "1500"


@pytest.mark.parametrize("moment", range(1, 60, 3))
def test_a_kill_between_the_calls_of_a_refused_record_is_made_good(tmp_path: Path, moment: int) -> None:
    at = stage(tmp_path, IDS, batch_size=5)
    at.crm.refuses = {("financial_status", "Overdue"): True}
    at.restart(kill_at=moment)
    try:
        _any_night(at, "one")
    except Killed:
        at.restart()
        _any_night(at, "two")
    assert at.journal.unresolved() == []
    found = at.crm.records["companies"]
    assert [(found[id]["financial_status"], found[id]["days_overdue"]) for id in IDS] == [(None, "12")] * 4 + [("Current", "0")]
    written = [write for write in at.crm.writes if write[0] == "companies"]
    assert len(written) == len(set(written)) == len(IDS)


def _any_night(at: Stage, run_id: str) -> None:
    desired = [company(id, "Overdue", "12", "1500") if id != "echo" else company(id) for id in IDS]
    plan = prepare_plan(desired, at.crms, at.journal, FREE, as_of=NIGHT, holder=at.holder(run_id), now=at.now)
    apply_plan(plan, at.crms, at.journal, at.run(run_id), now=at.now, holder=at.holder(run_id))


def test_a_field_that_takes_nothing_costs_no_call_for_each_record(tmp_path: Path) -> None:
    many = [f"c{place}" for place in range(MAX_TROUBLES + 100)]
    at = stage(tmp_path, many, batch_size=100)
    at.crm.refuses = {("days_overdue", "12"): True}
    at.crm.deviations = {"companies": [Deviation(FIELDS["days_overdue"], "days", "is read-only", "open it", refuses=None)]}
    plan = live_plan([company(id, "Current", "12", "7") for id in many], at.crms, at.journal, FREE, as_of=NIGHT)
    result = apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now)
    assert (result.written, result.rejected, result.skipped) == (2 * len(many), len(many), len(many))
    assert at.crm.switch.moments.count("before update companies") == len(many) // 100 + 1  # only the first batch was refused
    assert {one.message for one in result.problems if one.outcome == "rejected"} == {"days is read-only; open it"}


def test_the_search_for_a_field_that_is_not_named_ends(tmp_path: Path) -> None:
    many = [f"c{place}" for place in range(100)]
    at = stage(tmp_path, many, batch_size=100)
    at.crm.refuses, at.crm.one_by_one = {("days_overdue", "12"): False}, True
    plan = live_plan([company(id, "Current", "12", "7") for id in many], at.crms, at.journal, FREE, as_of=NIGHT)
    result = apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now)
    assert result.written + result.rejected == plan.size and result.written >= 20
    assert at.crm.switch.moments.count("before update companies") <= 1 + MAX_SEARCHES


@pytest.mark.parametrize("body", [
    {"message": 'Property values were not valid: [{"isValid":false,"error":"INVALID_OPTION","name":"crossfoot_financial_status"}]'},
    {"message": "not valid", "errors": [{"message": "no", "context": {"propertyName": ["crossfoot_financial_status"]}}]},
    {"message": "bad", "errors": [{"message": "Overdue is no option of crossfoot_financial_status"}]},
])  # fmt: skip
def test_the_property_that_hubspot_names_is_found(body: dict) -> None:
    with pytest.raises(BatchRefused) as told:
        scripted(refused(400, body))[0].update("companies", [RecordUpdate("1", {"financial_status": "Overdue"})])
    assert told.value.fields == {"financial_status"}
    error = body | {"context": {"ids": ["1"]}}
    answer = {"results": [], "numErrors": 1, "errors": [error]}
    assert scripted((207, answer))[0].update("companies", [RecordUpdate("1", {})])[0].fields == {"financial_status"}


@pytest.mark.parametrize("error", [
    {"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no", "fields": ["Crossfoot_Days_Overdue__c"]},
    {"statusCode": "INVALID_FIELD_FOR_INSERT_UPDATE", "fields": [],
     "message": "Unable to create/update fields: Crossfoot_Days_Overdue__c. Please check the security settings of this field"},
])  # fmt: skip
def test_the_field_that_salesforce_names_is_found(error: dict) -> None:
    update = RecordUpdate("001000000000001AAA", {"days_overdue": "3", "total_outstanding": "1"})
    crm, _ = salesforce([{"success": False, "errors": [error]}])
    (outcome,) = crm.update("accounts", [update])
    assert (outcome.status, outcome.fields) == ("rejected", {"days_overdue"})
    crm, _ = salesforce(ApiError(400, [{**error, "errorCode": error["statusCode"]}], "salesforce: PATCH"))
    with pytest.raises(BatchRefused) as told:
        crm.update("accounts", [update])
    assert told.value.fields == {"days_overdue"}


def test_a_value_that_no_call_could_carry_costs_its_field_alone() -> None:
    crm, api = scripted({"results": [{"id": "2"}]})
    outcomes = crm.update("companies", [RecordUpdate("1", {"days_overdue": "many", "total_outstanding": "1"}),
                                        RecordUpdate("2", {"days_overdue": "3"})])
    assert outcomes == [Outcome("1", "rejected", "Days Overdue: 'many' is not a number", frozenset({"days_overdue"})),
                        Outcome("2", "written")]
    assert [one["id"] for one in api.calls[0][2]["inputs"]] == ["2"]
    crm, _ = salesforce()
    (outcome,) = crm.update("accounts", [RecordUpdate("001000000000001AAA", {"total_outstanding": "0.001", "days_overdue": "3"})])
    assert outcome.fields == {"total_outstanding"}
