"""HubSpot's objects as raw tables.

Changed records are found by search on the modified property, page by page in the order of the record id: a page asks
for ids above the last one, so no query comes near the cap of 10,000 results, any number of records may share one
millisecond, and a record that changes while it is read cannot push another off its page.
Source: https://developers.hubspot.com/docs/api-reference/search/guide
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import dlt

from pipelines.http import Api, ApiError, Bearer, RetryPolicy, limits_in_force
from pipelines.landing import Fields, Job, Table, chunks, deletion, resource, row
from pipelines.settings import Settings
from pipelines.vendors.hubspot import CARD, VERSION

# No portal has more pages of one object than this; a vendor that repeats itself for ever is stopped here.
MAX_PAGES = 100_000
# How often a page that brings nothing new is asked for again before the night gives up.
MAX_REPEATS = 3
# The label of a deal's primary company (associations v4, HUBSPOT_DEFINED).
PRIMARY_COMPANY_TYPE = 5

Row = dict[str, Any]
Pages = Iterator[tuple[str, list[Row]]]

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("companies", {
            "id": "text", "name": "text", "domain": "text", "billing_email": "text", "address": "text", "city": "text",
            "state": "text", "zip": "text", "country": "text", "owner_id": "text", "parent_id": "text",
            "customer_ids": "text", "url": "text", "modified_at": "timestamp",
        }),
        Table("contacts", {
            "id": "text", "email": "text", "first_name": "text", "last_name": "text", "company_id": "text",
            "modified_at": "timestamp",
        }),
        Table("owners", {"id": "text", "email": "text", "first_name": "text", "last_name": "text", "modified_at": "timestamp"}),
        Table("deal_stages", {
            "id": "text", "pipeline_id": "text", "pipeline_label": "text", "label": "text", "is_closed": "flag",
            "probability": "share", "display_order": "integer",
        }),
        Table("deals", {
            "id": "text", "name": "text", "pipeline_id": "text", "stage_id": "text", "amount": "money", "currency": "text",
            "home_amount": "money", "close_date": "date", "probability": "share", "is_won": "flag", "is_closed": "flag",
            "owner_id": "text", "deal_type": "text", "payment_terms": "text", "contract_start": "date",
            "contract_end": "date", "invoice_numbers": "text", "url": "text", "modified_at": "timestamp",
        }),
        Table("deal_companies", {"deal_id": "text", "company_id": "text", "is_primary": "flag"}),
        Table("deal_line_items", {"deal_id": "text", "line_item_id": "text"}),
        Table("line_items", {
            "id": "text", "sku": "text", "name": "text", "quantity": "quantity", "unit_price": "money", "discount": "money",
            "amount": "money", "currency": "text", "billing_frequency": "text", "billing_start": "date",
            "billing_periods": "integer", "modified_at": "timestamp",
        }),
        Table("exchange_rates", {
            "id": "text", "from_currency": "text", "to_currency": "text", "rate": "rate", "effective_at": "timestamp",
        }),
        Table("company_currency", {"id": "text", "currency": "text"}),
    )
}


def connect(settings: Settings, tokens: Any = None) -> Api:
    """An Api for the configured portal, or for the sandbox."""
    network = settings.values["network"]
    return Api(
        f"{settings.sandbox_url}/{CARD.slug}" if settings.profile == "sandbox" else CARD.base_url,
        vendor=CARD.slug,
        auth=Bearer(settings.secrets[CARD.slug]["access_token"]),
        limits=limits_in_force(settings, CARD.limits),
        retry=RetryPolicy(network["attempts"], network["retry_base_seconds"], network["timeout_seconds"], wait),
        remedies={
            401: "set HUBSPOT_ACCESS_TOKEN to a valid token",
            403: "give the token the scopes that `crossfoot doctor` lists",
        },
    )


def wait(status: int, headers: Mapping[str, str], body: str, attempt: int) -> int | None:
    """Units to wait before a repeated call: HubSpot's own client waits 1 s after a per-second refusal and 10 s after a
    ten-second one; the daily limit does not come back tonight. Retry-After is in milliseconds where it exists at all."""
    if status == 429 and "DAILY" in body and "TEN_SECONDLY" not in body:
        return None
    if status == 429 and "ten_secondly" in body.lower():
        return 10 * attempt
    return max(2, 2 ** (attempt - 1)) if status == 423 else 2 ** (attempt - 1)


@dlt.source(name="hubspot")
def source(job: Job) -> list[Any]:
    """The night's changes of every object that the canonical contract needs, as dlt resources."""
    return [
        resource(job, "companies", [TABLES["companies"]], companies(job)),
        resource(job, "contacts", [TABLES["contacts"]], contacts(job)),
        resource(job, "owners", [TABLES["owners"]], owners(job)),
        resource(job, "deal_stages", [TABLES["deal_stages"]], deal_stages(job)),
        resource(job, "deals", [TABLES[name] for name in ("deals", "deal_companies", "deal_line_items")], deals(job)),
        resource(job, "line_items", [TABLES["line_items"]], line_items(job)),
        resource(job, "currencies", [TABLES[name] for name in ("exchange_rates", "company_currency")], currencies(job)),
    ]


def companies(job: Job) -> Pages:
    options = job.settings.values[CARD.slug]
    properties = ["name", "domain", "address", "city", "state", "zip", "country", "hubspot_owner_id", "hs_parent_company_id",
                  "hs_merged_object_ids", "crossfoot_customer_ids", options["billing_email_property"]]
    for page in changed(job, "companies", filter(None, properties), "hs_lastmodifieddate"):
        yield "companies", [company_row(record, options) for record in page] + merged(page, TABLES["companies"])
    yield from archived(job, "companies")


def contacts(job: Job) -> Pages:
    properties = ["email", "firstname", "lastname", "associatedcompanyid"]
    for page in changed(job, "contacts", properties, "lastmodifieddate"):
        yield "contacts", [contact_row(record) for record in page]
    yield from archived(job, "contacts")


def owners(job: Job) -> Pages:
    """Owners have no search; they are few and read whole, the archived ones too (they still own old records)."""
    for state in ("false", "true"):
        params = {"limit": CARD.page_sizes["owners"], "archived": state}
        for page in listed(job.api, f"crm/owners/{VERSION}", params, "owners"):
            yield "owners", [owner_row(record) for record in page]


def deal_stages(job: Job) -> Pages:
    pipelines = job.api.get(f"crm/pipelines/{VERSION}/deals", label="pipelines").json["results"]
    yield "deal_stages", [stage_row(pipeline, stage) for pipeline in pipelines for stage in pipeline["stages"]]


def deals(job: Job) -> Pages:
    """Changed deals with their companies and line items: search has no associations, so these are read in batches."""
    options = job.settings.values[CARD.slug]
    properties = ["dealname", "pipeline", "dealstage", "amount", "deal_currency_code", "amount_in_home_currency", "closedate",
                  "hs_deal_stage_probability", "hs_is_closed_won", "hs_is_closed", "hubspot_owner_id", "dealtype",
                  "hs_merged_object_ids", *(options[f"{name}_property"] for name in
                                            ("invoice_numbers", "payment_terms", "contract_start", "contract_end"))]
    # Deals wait for their associations: a night that is cut off between the two must read both again.
    waiting: list[Row] = []
    for page in changed(job, "deals", filter(None, properties), "hs_lastmodifieddate", waiting):
        waiting += page
        if len(waiting) >= CARD.page_sizes["associations"] or not page:
            yield from with_associations(job, waiting, options)
            waiting.clear()
    yield from archived(job, "deals")


def with_associations(job: Job, records: Sequence[Row], options: Mapping[str, Any]) -> Pages:
    """Deals with their companies and line items. The associations come first: they may be what the calls do not suffice for."""
    for group in chunks([record["id"] for record in records], CARD.page_sizes["associations"]):
        yield from deal_associations(job.api, group)
    yield "deals", [deal_row(record, job, options) for record in records] + merged(records, TABLES["deals"])


def line_items(job: Job) -> Pages:
    properties = ["hs_sku", "name", "quantity", "price", "hs_total_discount", "amount", "hs_line_item_currency_code",
                  "recurringbillingfrequency", "hs_recurring_billing_start_date", "hs_recurring_billing_number_of_payments"]
    for page in changed(job, "line_items", properties, "hs_lastmodifieddate"):
        yield "line_items", [line_item_row(record, job) for record in page]
    yield from archived(job, "line_items")


def currencies(job: Job) -> Pages:
    """The home currency, whose id is its three-letter code, and the current rates of a portal with several currencies (404 where
    there is only one).
    Source: https://developers.hubspot.com/docs/api-reference/latest/account/settings/multicurrency/get-company-currency"""
    home = job.api.get(f"settings/currencies/{VERSION}/company-currency", label="currencies").json
    yield "company_currency", [row(Fields(home), id="home", currency=home["id"])]
    try:
        rates = job.api.get(f"settings/currencies/{VERSION}/exchange-rates/current", label="currencies").json["results"]
    except ApiError as error:
        if error.status != 404:
            raise
        job.notes.append("the portal has one currency: no exchange rates")
        rates = []
    yield "exchange_rates", [rate_row(rate) for rate in rates]


def changed(job: Job, kind: str, properties: Iterable[str], modified: str, waiting: Sequence[Row] = ()) -> Iterator[list[Row]]:
    """Pages of the records that changed since the last night, in the order of their ids, and an empty one at the end.

    The next night starts from the vendor's own time at the first answer, less the lag of the search index. A night that is
    cut off keeps the id that it reached (none while the caller still has records `waiting`): the next one reads on from
    there, and then what changed among the ids before.
    """
    names, resumed = [*properties, modified], True
    while resumed:
        cursors = {**job.cursors, **job.next_cursors}
        since, started = cursors.get(kind), cursors.get(f"{kind}_started")
        last, resumed = int(cursors.get(f"{kind}_last", 0)), bool(started)
        for results, answered in searched(job.api, kind, since, last, names):
            started = started or next_cursor(answered, job, since)
            yield results
            last = max([last, *(int(record["id"]) for record in results)])
            if not waiting:
                job.next_cursors |= {f"{kind}_last": str(last), f"{kind}_started": started}
        yield []
        job.next_cursors |= {kind: started or since or "", f"{kind}_last": "0", f"{kind}_started": ""}


def searched(api: Api, kind: str, since: str | None, last: int, names: Sequence[str]) -> Iterator[tuple[list[Row], str | None]]:
    """(records, the vendor's time) of each page of the search for ids above `last`."""
    repeats = 0
    for _ in range(MAX_PAGES):
        response = api.post(f"crm/objects/{VERSION}/{kind}/search", search_body(since, last, names), safe=True, label=kind)
        # A page may hold a record twice; counted twice, it would make the last page look complete too early.
        results = list({record["id"]: record for record in response.json["results"]}.values())
        yield results, response.headers.get("Date")
        newest = max((int(record["id"]) for record in results), default=last)
        if response.json["total"] <= len(results) and newest >= last:
            return
        repeats = repeats + 1 if newest <= last else 0
        if repeats > MAX_REPEATS:
            raise RuntimeError(f"hubspot: search of {kind} returned nothing above id {last} {repeats} times; run again later")
        last = max(last, newest)
    raise RuntimeError(f"hubspot: {kind} has more than {MAX_PAGES} pages; raise MAX_PAGES if that is true")


def search_body(since: str | None, last: int, properties: Sequence[str]) -> Row:
    """The search for records with an id above `last`, whose modified property (the last one) is `since` or later."""
    filters = [{"propertyName": "hs_object_id", "operator": "GT", "value": str(last)}]
    if since:
        stamp = str(int(datetime.fromisoformat(since).timestamp() * 1000))
        filters.append({"propertyName": properties[-1], "operator": "GTE", "value": stamp})
    return {
        "filterGroups": [{"filters": filters}],
        "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
        "properties": properties,
        "limit": CARD.page_sizes["search"],
    }


def next_cursor(answered: str | None, job: Job, since: str | None) -> str:
    """Where the next night starts reading. Never earlier than this one did; without the vendor's time, the same again."""
    if not answered:
        return since or ""
    start = parsedate_to_datetime(answered) - timedelta(seconds=job.settings.get(CARD.slug, "index_lag_seconds"))
    return max(start.astimezone(UTC).isoformat(), since or "")


def listed(api: Api, path: str, params: Mapping[str, Any], label: str) -> Iterator[list[Row]]:
    """Pages of a list endpoint, by its opaque `after`."""
    after: Any = None
    for _ in range(MAX_PAGES):
        body = api.get(path, {**params, **({"after": after} if after else {})}, label=label).json
        yield body["results"]
        following = body.get("paging", {}).get("next", {}).get("after")
        if not following:
            return
        if following == after:
            raise RuntimeError(f"hubspot: {label} gave the same page twice ({after!r}); run again later")
        after = following
    raise RuntimeError(f"hubspot: {label} has more than {MAX_PAGES} pages; raise MAX_PAGES if that is true")


def archived(job: Job, kind: str) -> Pages:
    """Deletions: search never shows archived records, so the archive is listed; only its new entries land.

    The listing may be late as search is: entries a little older than the newest one known land where the warehouse
    still holds their records.
    """
    since = job.cursors.get(f"{kind}_archived", "")
    newest, early = since, _before(since, job)
    known = job.known_ids(kind) if since else set()
    params = {"limit": CARD.page_sizes["list"], "archived": "true", "properties": "hs_object_id"}
    for page in listed(job.api, f"crm/objects/{VERSION}/{kind}", params, f"{kind} archived"):
        stamps = [(record["id"], record.get("archivedAt") or "") for record in page]
        newest = max([newest, *(stamp for _, stamp in stamps)])
        fresh = dict.fromkeys(record_id for record_id, stamp in stamps
                              if stamp > since or ((stamp >= early or not stamp) and record_id in known))
        yield kind, [deletion(TABLES[kind], record_id) for record_id in fresh]
    job.next_cursors[f"{kind}_archived"] = newest


def _before(stamp: str, job: Job) -> str:
    """The time that lies the lag of the search index before `stamp`, in HubSpot's spelling; "" for none."""
    if not stamp:
        return ""
    lag = timedelta(seconds=job.settings.get(CARD.slug, "index_lag_seconds"))
    return (datetime.fromisoformat(stamp) - lag).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def merged(page: Sequence[Row], table: Table) -> list[Row]:
    """Deletion rows for records that were merged into one of this page (they vanish without being archived)."""
    return [
        deletion(table, old)
        for record in page
        for old in (record["properties"].get("hs_merged_object_ids") or "").split(";")
        if old and old != record["id"]
    ]


def deal_associations(api: Api, deal_ids: Sequence[str]) -> Pages:
    """All companies and line items of up to 1,000 deals. A deal without any gets one row with a null."""
    found = associations(api, "companies", deal_ids)
    rows = []
    for deal_id in deal_ids:
        primary = {str(to["toObjectId"]): any(t["typeId"] == PRIMARY_COMPANY_TYPE for t in to["associationTypes"])
                   for to in found.get(deal_id, [])}
        rows += [{"deal_id": deal_id, "company_id": company, "is_primary": flag} for company, flag in primary.items()]
        rows += [] if primary else [{"deal_id": deal_id, "company_id": None, "is_primary": False}]
    yield "deal_companies", rows
    found = associations(api, "line_items", deal_ids)
    yield "deal_line_items", [
        {"deal_id": deal_id, "line_item_id": item}
        for deal_id in deal_ids
        for item in dict.fromkeys(str(to["toObjectId"]) for to in found.get(deal_id, [])) or [None]
    ]


def associations(api: Api, to_kind: str, deal_ids: Sequence[str]) -> dict[str, list[Row]]:
    """{deal id: its associated records}, following the paging of deals with more than 500."""
    found: dict[str, list[Row]] = {}
    inputs: list[Row] = [{"id": deal_id} for deal_id in deal_ids]
    for _ in range(MAX_PAGES):
        following: list[Row] = []
        for group in chunks(inputs, CARD.page_sizes["associations"]):
            path = f"crm/associations/{VERSION}/deals/{to_kind}/batch/read"
            body = api.post(path, {"inputs": list(group)}, safe=True, label=f"deals to {to_kind}").json
            _check_association_errors(body, to_kind)
            for result in body["results"]:
                found.setdefault(str(result["from"]["id"]), []).extend(result["to"])
                after = result.get("paging", {}).get("next", {}).get("after")
                following += [{"id": result["from"]["id"], "after": after}] if after else []
        if not following:
            return found
        inputs = following
    raise RuntimeError(f"hubspot: associations of deals to {to_kind} do not end; run again later")


def _check_association_errors(body: Row, to_kind: str) -> None:
    """A deal without associations, or archived since the search, is an answer; any other error is not."""
    for error in body.get("errors") or []:
        if error.get("subCategory") != "crm.associations.NO_ASSOCIATIONS_FOUND" and error.get("category") != "OBJECT_NOT_FOUND":
            raise RuntimeError(f"hubspot: associations of deals to {to_kind}: {error.get('message')}; run again later")


def company_row(record: Row, options: Mapping[str, Any]) -> Row:
    """A company as its raw row."""
    fields = Fields(record["properties"])
    return row(
        fields, id=record["id"], name=fields.text("name"), domain=fields.text("domain"),
        billing_email=fields.text(options["billing_email_property"]), address=fields.text("address"),
        city=fields.text("city"), state=fields.text("state"), zip=fields.text("zip"), country=fields.text("country"),
        owner_id=fields.text("hubspot_owner_id"), parent_id=fields.text("hs_parent_company_id"),
        customer_ids=fields.text("crossfoot_customer_ids"), url=url(options, "0-2", record["id"]),
        modified_at=fields.timestamp("hs_lastmodifieddate"),
    )


def contact_row(record: Row) -> Row:
    """A contact as its raw row."""
    fields = Fields(record["properties"])
    return row(
        fields, id=record["id"], email=fields.text("email"), first_name=fields.text("firstname"),
        last_name=fields.text("lastname"), company_id=fields.text("associatedcompanyid"),
        modified_at=fields.timestamp("lastmodifieddate"),
    )


def owner_row(record: Row) -> Row:
    """An owner as its raw row; an archived owner keeps its name, since old records still carry it."""
    fields = Fields(record)
    return row(
        fields, id=str(record["id"]), email=fields.text("email"), first_name=fields.text("firstName"),
        last_name=fields.text("lastName"), modified_at=fields.timestamp("updatedAt"),
    )


def stage_row(pipeline: Row, stage: Row) -> Row:
    """A pipeline's stage as its raw row; isClosed and probability are texts inside `metadata`."""
    fields = Fields(stage["metadata"])
    return row(
        fields, id=stage["id"], pipeline_id=pipeline["id"], pipeline_label=pipeline["label"], label=stage["label"],
        is_closed=fields.flag("isClosed"), probability=fields.number("probability", "share"),
        display_order=stage["displayOrder"],
    )


def deal_row(record: Row, job: Job, options: Mapping[str, Any]) -> Row:
    """A deal as its raw row; the close date is the day in the company's time zone."""
    fields = Fields(record["properties"])
    return row(
        fields, id=record["id"], name=fields.text("dealname"), pipeline_id=fields.text("pipeline"),
        stage_id=fields.text("dealstage"), amount=fields.number("amount"), currency=fields.text("deal_currency_code"),
        home_amount=fields.number("amount_in_home_currency"), close_date=fields.date("closedate", job.settings.zone),
        probability=fields.number("hs_deal_stage_probability", "share"), is_won=fields.flag("hs_is_closed_won"),
        is_closed=fields.flag("hs_is_closed"), owner_id=fields.text("hubspot_owner_id"), deal_type=fields.text("dealtype"),
        payment_terms=fields.text(options["payment_terms_property"]),
        contract_start=fields.date(options["contract_start_property"]),
        contract_end=fields.date(options["contract_end_property"]),
        invoice_numbers=fields.text(options["invoice_numbers_property"]), url=url(options, "0-3", record["id"]),
        modified_at=fields.timestamp("hs_lastmodifieddate"),
    )


def line_item_row(record: Row, job: Job) -> Row:
    """A deal's line item as its raw row; `amount` is the line's net after discount."""
    fields = Fields(record["properties"])
    return row(
        fields, id=record["id"], sku=fields.text("hs_sku"), name=fields.text("name"),
        quantity=fields.number("quantity", "quantity"), unit_price=fields.number("price"),
        discount=fields.number("hs_total_discount"), amount=fields.number("amount"),
        currency=fields.text("hs_line_item_currency_code"), billing_frequency=fields.text("recurringbillingfrequency"),
        billing_start=fields.date("hs_recurring_billing_start_date"),
        billing_periods=fields.integer("hs_recurring_billing_number_of_payments"),
        modified_at=fields.timestamp("hs_lastmodifieddate"),
    )


def rate_row(rate: Row) -> Row:
    """A current exchange rate as its raw row: units of `to_currency` for one of `from_currency`."""
    fields = Fields(rate)
    start, end = rate["fromCurrencyCode"], rate["toCurrencyCode"]
    return row(
        fields, id=f"{start}>{end}", from_currency=start, to_currency=end, rate=fields.number("conversionRate", "rate"),
        effective_at=fields.timestamp("effectiveAt"),
    )


def url(options: Mapping[str, Any], kind: str, record_id: str) -> str | None:
    """The record's page in HubSpot, where the portal's number is configured."""
    portal = options["portal_id"]
    return f"https://app.hubspot.com/contacts/{portal}/record/{kind}/{record_id}" if portal else None


def check(api: Api, settings: Settings) -> list[str]:
    """What keeps this vendor from being read and written, one sentence with its fix for each; empty: nothing.

    A scope for writing shows by a batch without inputs, which changes nothing.
    """
    asked = {scope: lambda path=path: api.get(path, {"limit": 1}, label="doctor") for scope, path in _SCOPES.items()}
    if settings.get("writeback", "mode") != "off":
        asked |= {scope: lambda path=path: api.post(path, {"inputs": []}, label="doctor") for scope, path in _WRITE_SCOPES.items()}
    problems = []
    for scope, ask in asked.items():
        try:
            ask()
        except ApiError as error:
            if error.status == 401:
                return [str(error)]
            if error.status == 403:
                problems.append(f"{error.request} answered 403; give the token the scope {scope}")
            elif error.status != 400 or scope in _SCOPES:  # a batch without inputs may be refused as such
                problems.append(str(error))
    return problems or _missing_properties(api, settings)


_SCOPES = {
    "crm.objects.companies.read": f"crm/objects/{VERSION}/companies",
    "crm.objects.contacts.read": f"crm/objects/{VERSION}/contacts",
    "crm.objects.deals.read": f"crm/objects/{VERSION}/deals",
    "crm.objects.line_items.read": f"crm/objects/{VERSION}/line_items",
    "crm.objects.owners.read": f"crm/owners/{VERSION}",
    "settings.currencies.read": f"settings/currencies/{VERSION}/company-currency",
}


_WRITE_SCOPES = {
    "crm.objects.companies.write": f"crm/objects/{VERSION}/companies/batch/update",
    "crm.objects.deals.write": f"crm/objects/{VERSION}/deals/batch/update",
    "crm.objects.contacts.write": f"crm/objects/{VERSION}/tasks/batch/update",
    "crm.schemas.companies.write": f"crm/properties/{VERSION}/companies/batch/create",
    "crm.schemas.deals.write": f"crm/properties/{VERSION}/deals/batch/create",
}


def _missing_properties(api: Api, settings: Settings) -> list[str]:
    """Configured properties that the portal does not have: their values would silently stay empty."""
    wanted = {"companies": ["billing_email"], "deals": ["invoice_numbers", "payment_terms", "contract_start", "contract_end"]}
    problems = []
    for kind, keys in wanted.items():
        known = {item["name"] for item in api.get(f"crm/properties/{VERSION}/{kind}", label="doctor").json["results"]}
        for key in keys:
            name = settings.get(CARD.slug, f"{key}_property")
            if name and name not in known:
                problems.append(f"hubspot: {kind} have no property {name!r}; create it, or name another in "
                                f"[hubspot] {key}_property (\"\" when there is none)")
    return problems
