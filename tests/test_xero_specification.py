"""The sandbox's answers and the source's calls against Xero's own OpenAPI files, and the files' judge against recorded answers."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from extract_fixture import FAST, NIGHT, MemoryTokens
from openapi_fixture import Specification, to_json_schema
from sandbox_fixture import control, running_sandbox
from starlette.requests import Request
from starlette.routing import Route

from pipelines import settings
from pipelines.extract import extract
from pipelines.sandbox.world import World, make_world
from pipelines.vendors import VENDORS
from pipelines.vendors.xero import CARD, reading, source
from pipelines.vendors.xero.sandbox import TENANTS, Sandbox

SHARED = Path(__file__).parents[1].parent / "shared"
FILES, RECORDED = SHARED / "reference" / "specs" / "xero", SHARED / "recorded" / "xero"
API = "/api.xro/2.0"
TEXT, FLAG, LIST = {"type": "string"}, {"type": "boolean"}, {"type": "array"}
ENVELOPE = {"Id": TEXT, "Status": TEXT, "ProviderName": TEXT, "DateTimeUTC": TEXT}
WRAPPERS = (
    "Accounts", "BankTransactions", "BatchPayments", "Contacts", "CreditNotes", "Currencies", "Invoices", "Journals", "Organisations",
    "Overpayments", "Payments", "Prepayments", "Quotes", "RepeatingInvoices", "Reports", "ReportWithRows", "TaxRates",
)  # fmt: skip
# What Xero sends and its file lacks. Each is in the vendor's own recorded examples (../shared/recorded/xero); those decide.
EXTRAS = {name: dict(ENVELOPE) for name in WRAPPERS} | {
    "Invoice": {"DateString": TEXT, "DueDateString": TEXT},  # GET_Invoices
    "CreditNote": {"DateString": TEXT, "ID": TEXT, "Attachments": LIST},  # GET_CreditNotes, GET_CreditNotes_CreditNoteID
    "Overpayment": {"DateString": TEXT, "ID": TEXT},  # GET_Overpayments
    "Prepayment": {"DateString": TEXT, "ID": TEXT},  # GET_Prepayments
    "BankTransaction": {"DateString": TEXT, "BatchPayment": {"type": "object"}, "Attachments": LIST},  # GET_BankTransactions
    "LineItem": {"ValidationErrors": LIST, "DiscountEnteredAsPercent": FLAG},  # GET_Invoices_InvoiceID, GET_Prepayments_PrepaymentID
    "Contact": {"TaxNumbeType": TEXT},  # GET_Contacts, spelled so
    "ContactGroup": {"HasValidationErrors": FLAG},  # GET_Invoices_InvoiceID
    "Report": {"Fields": LIST},  # GET_Reports_TenNinetyNine
    # Text where the file says number and boolean: GET_Payments.
    "BatchPayment": {"TotalAmount": {"type": ["number", "string"]}, "IsReconciled": {"type": ["boolean", "string"]}},
}
EXTRAS["Quotes"]["SummarizeErrors"] = FLAG  # GET_Quotes_QuoteID
# The file leaves these open. pageSize: at most 1000 (maesn.com/blog/how-to-integrate-with-xero-api).
RANGES = {"page": (1, 10_000), "pageSize": (1, 1000), "unitdp": (2, 4)}


@pytest.fixture(scope="module")
def accounting() -> Specification:
    return _load("xero_accounting.yaml", base=API, extras=EXTRAS, ranges=RANGES)


@pytest.fixture(scope="module")
def identity() -> Specification:
    # The token endpoint's answer has a scope (RFC 6749, 5.1) that the file does not list.
    return _load("xero-identity.yaml", extras={"AccessToken": {"scope": TEXT}})


def _load(name: str, **options: Any) -> Specification:
    if not (FILES / name).exists():
        pytest.skip("the vendors' specifications are not beside this repository")
    pytest.importorskip("yaml")
    return Specification.load(FILES / name, **options)


# -- the judge ------------------------------------------------------------------------------------------------------


def _recordings() -> list[str]:
    return sorted(path.stem for path in RECORDED.glob("GET_*.json")) if RECORDED.is_dir() else []


@pytest.mark.parametrize("name", _recordings() or [pytest.param("", marks=pytest.mark.skip(reason="no recordings"))])
def test_the_vendors_own_examples_fit(accounting: Specification, name: str) -> None:
    flat = name.removeprefix("GET_")
    templates = [
        o.template
        for o in accounting.operations
        if o.method == "GET" and re.sub(r"[{}]", "", o.template[1:]).replace("/", "_") == flat
    ]
    assert len(templates) == 1
    path = API + re.sub(r"\{\w+\}", "x", templates[0])
    assert accounting.answer_errors("GET", path, 200, (RECORDED / f"{name}.json").read_text()) == []


INVOICE = {"Type": "ACCREC", "InvoiceID": "d4956132-ed94-4dd7-9eaa-aa22dfdf06f2", "Total": Decimal("40.0"), "Payments": []}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"Total": "40.0"}, "is not of type 'number'"),
        ({"Colour": "red"}, "'Colour' was unexpected"),
        ({"Status": "LOST"}, "is not one of"),
        ({"InvoiceID": "INV-1"}, "is not a 'uuid'"),
        ({"InvoiceNumber": "x" * 256}, "is too long"),
        ({"Payments": [{"Amount": True}]}, "is not of type 'number'"),
        ({"Contact": {"Name": None}}, "is not of type 'string'"),
    ],
)
def test_the_judge_can_refuse_an_answer(accounting: Specification, change: dict, complaint: str) -> None:
    def errors(invoice: dict) -> list[str]:
        return accounting.errors({"$ref": "#/$defs/Invoices"}, {"Invoices": [invoice]})

    assert errors(INVOICE) == []
    assert complaint in errors({**deepcopy(INVOICE), **change})[0]
    assert accounting.answer_errors("GET", f"{API}/Invoices", 418, "{}") == [f"GET {API}/Invoices: the file has no schema for 418"]
    assert accounting.answer_errors("GET", f"{API}/Nothing", 200, "{}") == [f"GET {API}/Nothing: no such operation"]


@pytest.mark.parametrize(
    ("path", "query", "headers", "complaint"),
    [
        ("Invoices", "page=1&pageSize=1000", {}, "header xero-tenant-id: missing"),
        ("Invoices", "page=one", {"Xero-Tenant-Id": "t"}, "query page: 'one' is no integer"),
        ("Invoices", "pageSize=1001", {"Xero-Tenant-Id": "t"}, "query pageSize: '1001' is not from 1 to 1000"),
        ("Invoices", "pagesize=10", {"Xero-Tenant-Id": "t"}, "query pagesize: unknown"),
        ("Invoices", "page=1&page=2", {"Xero-Tenant-Id": "t"}, "query page: given 2 times"),
        ("Invoices", "IDs=1,2", {"Xero-Tenant-Id": "t"}, "query IDs: '1,2' is no id"),
        ("Invoices", "summaryOnly=yes", {"Xero-Tenant-Id": "t"}, "query summaryOnly: 'yes' is neither true nor false"),
        ("Invoices", "", {"Xero-Tenant-Id": "t", "If-Modified-Since": "today"}, "header If-Modified-Since: 'today' is no date-time"),
        ("Reports/TrialBalance", "date=2026-6-30", {"Xero-Tenant-Id": "t"}, "query date: '2026-6-30' is no date"),
        ("Reports/AgedReceivablesByContact", "", {"Xero-Tenant-Id": "t"}, "query contactId: missing"),
        ("Invoices/17", "", {"Xero-Tenant-Id": "t"}, "path InvoiceID: '17' is no id"),
        ("Currencies", "page=1", {"Xero-Tenant-Id": "t"}, "query page: unknown"),
        ("Invoicing", "", {"Xero-Tenant-Id": "t"}, "GET /api.xro/2.0/Invoicing: no such operation"),
    ],
)
def test_the_judge_can_refuse_a_call(accounting: Specification, path: str, query: str, headers: dict, complaint: str) -> None:
    assert complaint in accounting.request_errors("GET", f"{API}/{path}", query, headers)
    good = {"xero-tenant-id": "t", "if-modified-since": "2026-06-30T22:00:00Z"}
    assert accounting.request_errors("GET", f"{API}/Invoices", "page=1&pageSize=1000&order=UpdatedDateUTC+ASC", good) == []


def test_schemas_are_translated() -> None:
    given = {"type": "object", "properties": {"A": {"type": "string", "nullable": True, "x-is-money": True, "example": 1},
                                              "B": {"type": "string", "$ref": "#/components/schemas/B"},
                                              "C": {"type": "number", "minimum": 0, "exclusiveMinimum": True}}}  # fmt: skip
    assert to_json_schema(given) == {
        "type": "object", "additionalProperties": False, "properties": {
            "A": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "B": {"$ref": "#/$defs/B"},
            "C": {"type": "number", "exclusiveMinimum": 0},
        },
    }  # fmt: skip
    assert to_json_schema({"type": "object", "properties": {}, "additionalProperties": True})["additionalProperties"] is True


# -- the sandbox's answers ------------------------------------------------------------------------------------------


@dataclass
class Client:
    """Somebody signed in to a running sandbox."""

    url: str
    accounting: Specification

    def __post_init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        answer = self.session.post(
            f"{self.url}/xero/connect/token", {"grant_type": "client_credentials"}, auth=("sandbox-client", "sandbox-secret"), timeout=10
        )
        self.token = answer.json()
        self.session.headers.update({
            "Authorization": f"Bearer {self.token['access_token']}", "Xero-Tenant-Id": TENANTS[0], "Accept": "application/json",
        })  # fmt: skip

    def get(self, path: str, **params: Any) -> requests.Response:
        headers = {"If-Modified-Since": params.pop("since")} if "since" in params else {}
        return self.session.get(f"{self.url}/xero{API}/{path}", params=params, headers=headers, timeout=20)

    def checked(self, path: str, **params: Any) -> dict[str, Any]:
        """The answer of a call, once call and answer have been found to fit the file."""
        answer = self.get(path, **params)
        query = answer.request.url.partition("?")[2]
        assert self.accounting.request_errors("GET", f"{API}/{path}", query, answer.request.headers) == []
        assert self.accounting.answer_errors("GET", f"{API}/{path}", answer.status_code, answer.content) == [], answer.url
        return answer.json()


@pytest.fixture(scope="module")
def client(accounting: Specification) -> Iterator[Client]:
    """After some days: payments that were released, allocations that were taken back, documents that were deleted."""
    world = make_world()
    with running_sandbox(world, vendors={"xero": Sandbox}, rate_limits=False) as url:
        control(url, "POST", "advance", {"days": 12})
        yield Client(url, accounting)


PAGED = ("Contacts", "Invoices", "CreditNotes", "Payments", "Overpayments", "Prepayments")
PAGES = ({}, {"page": 1}, {"page": 1, "pageSize": 1000}, {"page": 3, "pageSize": 2}, {"page": 99, "pageSize": 1000})
FILTERS = (
    {}, {"since": "2026-06-01T00:00:00Z"}, {"since": "2026-06-01T00:00:00"}, {"order": "UpdatedDateUTC DESC"},
    {"where": "UpdatedDateUTC >= DateTime(2026, 06, 01)"},
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("endpoint", PAGED)
def test_every_list_fits_the_file(client: Client, endpoint: str, page: dict) -> None:
    for filtered in FILTERS:
        answer = client.checked(endpoint, **page, **filtered)
        assert ("pagination" in answer) == ("page" in page)
        assert answer[endpoint] or filtered or page["page"] > 1


@pytest.mark.parametrize(
    ("endpoint", "more"),
    [
        ("Contacts", {"includeArchived": "true", "page": 1, "pageSize": 1000}),
        ("Contacts", {"includeArchived": "true"}),
        ("Contacts", {"summaryOnly": "true", "page": 1}),
        ("Contacts", {"searchTerm": "larch"}),
        ("Contacts", {"where": "IsCustomer==true", "page": 1}),
        ("Invoices", {"summaryOnly": "true", "page": 1}),
        ("Invoices", {"where": 'Type=="ACCREC"', "page": 1, "unitdp": 4}),
        ("Invoices", {"Statuses": "AUTHORISED,PAID", "page": 1}),
        ("Invoices", {"Statuses": "DRAFT,SUBMITTED,VOIDED,DELETED", "page": 1, "pageSize": 1000}),
        ("Invoices", {"createdByMyApp": "true", "page": 1}),
        ("Invoices", {"IDs": "10000000-0000-4000-8000-000000000120,10000000-0000-4000-8000-900000000001"}),
        ("Invoices", {"ContactIDs": "c0000000-0000-4000-8000-000000000020", "page": 1}),
        ("Invoices", {"InvoiceNumbers": "1001,1002", "includeArchived": "true"}),
        ("Accounts", {"where": 'SystemAccount=="DEBTORS"'}),
        ("Accounts", {"order": "Code DESC", "since": "2019-01-01T00:00:00Z"}),
        ("Currencies", {"order": "Code", "where": 'Code=="EUR"'}),
        ("Organisation", {}),
        ("Reports/TrialBalance", {}),
        ("Reports/TrialBalance", {"date": "2026-06-30"}),
        ("Reports/AgedReceivablesByContact", {"contactId": "c0000000-0000-4000-8000-000000000020"}),
        ("Reports/AgedReceivablesByContact", {"contactId": "c0000000-0000-4000-8000-000000000003", "date": "2026-06-30"}),
    ],
)
def test_every_parameter_fits_the_file(client: Client, endpoint: str, more: dict) -> None:
    assert client.checked(endpoint, **more)


@pytest.mark.parametrize("endpoint", PAGED)
def test_every_record_fits_the_file_alone(client: Client, endpoint: str) -> None:
    listed = client.checked(endpoint, page=1, pageSize=1000, **({"includeArchived": "true"} if endpoint == "Contacts" else {}))
    ids = [record[f"{endpoint[:-1]}ID"] for record in listed[endpoint]]
    for record_id in (ids[0], ids[len(ids) // 2], ids[-1]):
        assert client.checked(f"{endpoint}/{record_id}")[endpoint][0][f"{endpoint[:-1]}ID"] == record_id


def test_refusals_of_parameters_fit_the_file(client: Client, accounting: Specification) -> None:
    bad = ({"where": "Type==", "page": 1}, {"where": 'Colour=="red"'}, {"page": 0}, {"pageSize": 1001, "page": 1}, {"page": "x"})
    for params in bad:
        answer = client.get("Invoices", **params)
        assert answer.status_code == 400
        assert accounting.errors({"$ref": "#/$defs/Error"}, json.loads(answer.text, parse_float=Decimal)) == []


def test_sign_in_and_connections_fit_the_file(client: Client, identity: Specification) -> None:
    assert identity.errors({"$ref": "#/$defs/AccessToken"}, client.token) == []
    form = {"grant_type": "refresh_token", "refresh_token": "sandbox-refresh-0"}
    pair = client.session.post(f"{client.url}/xero/connect/token", form, auth=("sandbox-client", "sandbox-secret"), timeout=10,
                               headers={"Authorization": None}).json()  # fmt: skip
    assert identity.errors({"$ref": "#/$defs/AccessToken"}, pair) == [] and "refresh_token" in pair
    answer = client.session.get(f"{client.url}/xero/connections", timeout=10)
    # The file spells the path /Connections; its own description and every client use /connections.
    assert identity.answer_errors("GET", "/Connections", answer.status_code, answer.content) == []
    assert [one["tenantId"] for one in answer.json()] == [TENANTS[0]]


# -- the source's calls ---------------------------------------------------------------------------------------------


class Recording(Sandbox):
    """A sandbox that keeps what it is asked, and what it answers, with two organisations."""

    organisations = 2
    heard: list[tuple[str, str, str, dict[str, str], str]] = []
    said: list[tuple[str, str, int, bytes]] = []

    def routes(self) -> list[Route]:
        return [Route(r.path, self._recorded(r.endpoint), methods=[*(r.methods or ())]) for r in super().routes()]

    def _recorded(self, handler: Any) -> Any:
        async def recorded(request: Request) -> Any:
            path = request.url.path.removeprefix("/xero")
            form = (await request.body()).decode()
            self.heard.append((request.method, path, request.url.query, dict(request.headers), form))
            answer = await handler(request)
            self.said.append((request.method, path, answer.status_code, answer.body))
            return answer

        return recorded


def _nights(folder: Path, auth: str, count: int) -> None:
    """Whole nights of the source over the wire, in pages of 25, with some days between them."""
    Recording.heard, Recording.said = [], []
    config = folder / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n{FAST}[vendors]\nledgers = ["xero"]\n[xero]\nauth = "{auth}"\n', encoding="utf-8")
    world: World = make_world()
    with running_sandbox(world, vendors={"xero": Recording}, rate_limits=False) as url:
        environment = {"CROSSFOOT_SANDBOX_URL": url}
        chosen = settings.load({**VENDORS, "xero": CARD}, config=config, data_dir=folder / "data", environment=environment)
        tokens = MemoryTokens()
        for night in range(count):
            receipt = extract("xero", chosen, as_of=world.today, known_at=NIGHT.replace(day=1 + night), tokens=tokens)
            assert receipt.status == "complete", receipt
            control(url, "POST", "advance", {"days": 4})


@pytest.mark.parametrize(("auth", "count"), [("custom_connection", 2), ("authorisation_code", 1)])
def test_every_call_of_the_source_and_its_answer_fit_the_file(
    auth: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accounting: Specification, identity: Specification
) -> None:
    card = replace(CARD, limits=(), page_sizes={"list": 25})
    monkeypatch.setattr(source, "CARD", card)
    monkeypatch.setattr(reading, "CARD", card)
    _nights(tmp_path, auth, count)
    asked = [call for call in Recording.heard if call[1].startswith(API)]
    for method, path, query, headers, _ in asked:
        assert accounting.request_errors(method, path, query, headers) == [], f"{path}?{query}"
        assert "application/json" in headers["accept"] and headers["authorization"].startswith("Bearer ")
    said = [answer for answer in Recording.said if answer[1].startswith(API)]
    assert len(said) == len(asked) > 30
    for method, path, status, body in said:
        assert accounting.answer_errors(method, path, status, body) == [], path
    paths = {path.removeprefix(f"{API}/") for _, path, *_ in asked}
    assert paths == {*PAGED, "Accounts", "Currencies", "Organisation", "Reports/TrialBalance"}
    assert {headers["xero-tenant-id"] for _, _, _, headers, _ in asked} == set(TENANTS)
    assert any("page=2" in query for _, _, query, *_ in asked)
    assert any("if-modified-since" in headers for _, _, _, headers, _ in asked) == (count > 1)
    _signed_in([call for call in Recording.heard if not call[1].startswith(API)], identity)


def _signed_in(calls: list, identity: Specification) -> None:
    """What was asked beside the accounting API: a token by a form, and the connections."""
    assert {(method, path) for method, path, *_ in calls} == {("POST", "/connect/token"), ("GET", "/connections")}
    for method, path, query, headers, form in calls:
        if path == "/connections":
            assert identity.request_errors(method, "/Connections", query, headers) == []
        else:
            assert headers["content-type"] == "application/x-www-form-urlencoded" and "grant_type=" in form
