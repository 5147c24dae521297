"""HubSpot's objects as raw tables.

Changed records are found by search on the modified property, page by page in the order of the record id: a page asks
for ids above the last one, so no query comes near the cap of 10,000 results, any number of records may share one
millisecond, and a record that changes while it is read cannot push another off its page.
Source: https://developers.hubspot.com/docs/api-reference/search/guide
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import dlt

from pipelines.http import Api, ApiError, Bearer, RetryPolicy, limits_in_force
from pipelines.landing import Job, Table, chunks, deletion, resource
from pipelines.settings import Settings
from pipelines.vendors.hubspot import CARD, VERSION
from pipelines.vendors.hubspot.refusals import REMEDIES, spent, wait
from pipelines.vendors.hubspot.source_check import check
from pipelines.vendors.hubspot.source_links import COMPARED, changed_associations, deal_associations
from pipelines.vendors.hubspot.source_rows import (
    TABLES,
    Row,
    company_row,
    contact_row,
    deal_row,
    field,
    home_currency_row,
    line_item_row,
    owner_row,
    rate_row,
    stage_row,
)

__all__ = ["TABLES", "check", "connect", "source"]

# The cursors of what was archived; a full reading keeps them.
DELETION_CURSORS = ("_archived",)
# No portal has more pages of one object than this; a vendor that repeats itself for ever is stopped here.
MAX_PAGES = 100_000
# How often a page that brings nothing new is asked for again before the night gives up.
MAX_REPEATS = 3

Pages = Iterator[tuple[str, list[Row]]]

@dataclass
class Night:
    """What one night's reading learned that later objects ask for: deals read, and stages known and used, each as
    (pipeline id, stage id)."""

    deals: set[str] = dataclass_field(default_factory=set)
    stages: set[tuple[str, str]] = dataclass_field(default_factory=set)
    used: set[tuple[str | None, str | None]] = dataclass_field(default_factory=set)


def connect(settings: Settings, tokens: Any = None) -> Api:
    """An Api for the configured portal, or for the sandbox."""
    network = settings.values["network"]
    return Api(
        f"{settings.sandbox_url}/{CARD.slug}" if settings.profile == "sandbox" else CARD.base_url,
        vendor=CARD.slug,
        auth=Bearer(settings.secrets[CARD.slug]["access_token"]),
        limits=limits_in_force(settings, CARD.limits),
        retry=RetryPolicy(network["attempts"], network["retry_base_seconds"], network["timeout_seconds"], wait),
        remedies=REMEDIES, spent=spent,
    )


@dlt.source(name="hubspot")
def source(job: Job) -> list[Any]:
    """The night's changes of every object that the canonical contract needs, as dlt resources."""
    night = Night()
    return [
        resource(job, "companies", [TABLES["companies"]], companies(job)),
        resource(job, "contacts", [TABLES["contacts"]], contacts(job)),
        resource(job, "owners", [TABLES["owners"]], owners(job)),
        resource(job, "deal_stages", [TABLES["deal_stages"]], deal_stages(job, night)),
        resource(job, "deals", [TABLES[name] for name in ("deals", *COMPARED)], deals(job, night)),
        resource(job, "line_items", [TABLES["line_items"]], line_items(job)),
        resource(job, "currencies", [TABLES[name] for name in ("exchange_rates", "company_currency")], currencies(job)),
        resource(job, "new_deal_stages", [TABLES["deal_stages"]], new_deal_stages(job, night)),
        resource(job, "changed_associations", [TABLES[name] for name in COMPARED], changed_associations(job, night.deals)),
    ]


def companies(job: Job) -> Pages:
    options = job.settings.values[CARD.slug]
    properties = ["name", "domain", "address", "city", "state", "zip", "country", "hubspot_owner_id", "hs_parent_company_id",
                  "hs_merged_object_ids", "crossfoot_customer_ids", options["billing_email_property"]]
    listed = set[str]()
    for page in changed(job, "companies", filter(None, properties), "hs_lastmodifieddate", listed=listed):
        yield "companies", [company_row(record, options) for record in page] + merged(page, TABLES["companies"])
    yield from archived(job, "companies", listed)


def contacts(job: Job) -> Pages:
    properties = ["email", "firstname", "lastname", "associatedcompanyid"]
    listed = set[str]()
    for page in changed(job, "contacts", properties, "lastmodifieddate", listed=listed):
        yield "contacts", [contact_row(record) for record in page]
    yield from archived(job, "contacts", listed)


def owners(job: Job) -> Pages:
    """Owners have no search; they are few and read whole, the archived ones too (they still own old records)."""
    for state in ("false", "true"):
        params = {"limit": CARD.page_sizes["owners"], "archived": state}
        for page in pages(job.api, f"crm/owners/{VERSION}", params, "owners"):
            yield "owners", [owner_row(record) for record in page]


def deal_stages(job: Job, night: Night | None = None) -> Pages:
    answer = job.api.get(f"crm/pipelines/{VERSION}/deals", label="pipelines").json
    rows = [
        stage_row(pipeline, stage)
        for pipeline in field(answer, "results", "deal pipelines") for stage in field(pipeline, "stages", "deal pipelines")
    ]
    if night:
        night.stages |= {(row["pipeline_id"], row["id"]) for row in rows}
    yield "deal_stages", rows


def new_deal_stages(job: Job, night: Night) -> Pages:
    """The pipelines once more where a deal stands in a stage that they did not have: it was made while the deals were read."""
    if night.used - night.stages:
        yield from deal_stages(job, night)


def deals(job: Job, night: Night | None = None) -> Pages:
    """Changed deals with their companies and line items: search has no associations, so these are read in batches."""
    options = job.settings.values[CARD.slug]
    properties = ["dealname", "pipeline", "dealstage", "amount", "deal_currency_code", "amount_in_home_currency", "closedate",
                  "hs_deal_stage_probability", "hs_is_closed_won", "hs_is_closed", "hubspot_owner_id", "dealtype",
                  "hs_merged_object_ids", *(options[f"{name}_property"] for name in
                                            ("invoice_numbers", "payment_terms", "contract_start", "contract_end"))]
    # Deals wait for their associations: a night that is cut off between the two must read both again.
    waiting, listed = list[Row](), set[str]()
    for page in changed(job, "deals", filter(None, properties), "hs_lastmodifieddate", waiting, listed):
        waiting += page
        if len(waiting) >= CARD.page_sizes["associations"] or not page:
            yield from with_associations(job, waiting, options, night or Night())
            waiting.clear()
    yield from archived(job, "deals", listed)


def with_associations(job: Job, records: Sequence[Row], options: Mapping[str, Any],
                      night: Night) -> Pages:
    """Deals with their companies and line items. The associations come first: they may be what the calls do not suffice for."""
    for group in chunks([record["id"] for record in records], CARD.page_sizes["associations"]):
        yield from deal_associations(job.api, group)
    rows = [deal_row(record, job, options) for record in records]
    night.deals |= {row["id"] for row in rows}
    night.used |= {(row["pipeline_id"], row["stage_id"]) for row in rows}
    yield "deals", rows + merged(records, TABLES["deals"])


def line_items(job: Job) -> Pages:
    properties = ["hs_sku", "name", "quantity", "price", "hs_total_discount", "amount", "hs_line_item_currency_code",
                  "recurringbillingfrequency", "hs_recurring_billing_start_date", "hs_recurring_billing_number_of_payments",
                  "hs_recurring_billing_end_date", "hs_recurring_billing_period", "hs_billing_start_delay_months",
                  "hs_billing_start_delay_days", "hs_tcv"]
    listed = set[str]()
    for page in changed(job, "line_items", properties, "hs_lastmodifieddate", listed=listed):
        yield "line_items", [line_item_row(record, job) for record in page]
    yield from archived(job, "line_items", listed)


def currencies(job: Job) -> Pages:
    """The home currency, whose id is its three-letter code, and the current rates of a portal with several currencies (404 where
    there is only one).
    Source: https://developers.hubspot.com/docs/api-reference/latest/account/settings/multicurrency/get-company-currency"""
    home = job.api.get(f"settings/currencies/{VERSION}/company-currency", label="currencies").json
    yield "company_currency", [home_currency_row(home)]
    try:
        answer = job.api.get(f"settings/currencies/{VERSION}/exchange-rates/current", label="currencies").json
        rates = field(answer, "results", "exchange rates")
    except ApiError as error:
        if error.status != 404:
            raise
        job.notes.append("the portal has one currency: no exchange rates")
        rates = []
    yield "exchange_rates", [rate_row(rate) for rate in rates]


def changed(job: Job, kind: str, properties: Iterable[str], modified: str, waiting: Sequence[Row] = (),
            listed: set[str] | None = None) -> Iterator[list[Row]]:
    """Pages of the records that changed since the last night, in the order of their ids, and an empty one at the end. The ids of
    all are added to `listed`.

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
            if listed is not None:
                listed |= {record["id"] for record in results}
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
        found = field(response.json, "results", f"the search of {kind}")
        results = list({field(record, "id", kind): record for record in found}.values())
        yield results, response.headers.get("Date")
        newest = max((int(record["id"]) for record in results), default=last)
        total = field(response.json, "total", f"the search of {kind}")
        if total <= len(results) and newest >= last:
            return
        ids = [int(record["id"]) for record in results]
        if ids != sorted(ids):  # the next page would begin above ids that never came
            raise RuntimeError(f"hubspot: search of {kind} did not sort by id (after id {last}); run again later")
        repeats = repeats + 1 if newest <= last else 0
        if repeats > MAX_REPEATS:
            raise RuntimeError(f"hubspot: search of {kind} returned nothing above id {last} {repeats} times; run again later")
        last = max(last, newest)
    raise RuntimeError(f"hubspot: {kind} has more than {MAX_PAGES} pages; raise MAX_PAGES if that is true")


def search_body(since: str | None, last: int, properties: Sequence[str]) -> Row:
    """The search for records with an id above `last`, whose modified property (the last one) is `since` or later.

    HubSpot's schema wants sorts as texts (a property's name sorts ascending) and `after` on the first page too:
    PublicObjectSearchRequest of its specification and official client.
    """
    filters = [{"propertyName": "hs_object_id", "operator": "GT", "value": str(last)}]
    if since:
        stamp = str(int(datetime.fromisoformat(since).timestamp() * 1000))
        filters.append({"propertyName": properties[-1], "operator": "GTE", "value": stamp})
    return {
        "filterGroups": [{"filters": filters}],
        "sorts": ["hs_object_id"],
        "properties": list(properties),
        "limit": CARD.page_sizes["search"],
        "after": "0",
    }


def next_cursor(answered: str | None, job: Job, since: str | None) -> str:
    """Where the next night starts reading. Never earlier than this one did; without the vendor's time, the same again."""
    if not answered:
        return since or ""
    start = parsedate_to_datetime(answered) - timedelta(seconds=job.settings.get(CARD.slug, "index_lag_seconds"))
    return max(start.astimezone(UTC).isoformat(), since or "")


def pages(api: Api, path: str, params: Mapping[str, Any], label: str) -> Iterator[list[Row]]:
    """Pages of a list endpoint, by its opaque `after`."""
    after: Any = None
    for _ in range(MAX_PAGES):
        body = api.get(path, {**params, **({"after": after} if after else {})}, label=label).json
        yield field(body, "results", label)
        following = body.get("paging", {}).get("next", {}).get("after")
        if not following:
            return
        if following == after:
            raise RuntimeError(f"hubspot: {label} gave the same page twice ({after!r}); run again later")
        after = following
    raise RuntimeError(f"hubspot: {label} has more than {MAX_PAGES} pages; raise MAX_PAGES if that is true")


def archived(job: Job, kind: str, listed: Set[str] = frozenset()) -> Pages:
    """Deletions: search never shows archived records, so the archive is listed; only its new entries land.

    The listing may be late as search is: entries a little older than the newest one known land where the warehouse
    still holds their records. In a full reading that holds for every entry, and what is in no list is gone (`unlisted`).
    """
    since, full = job.cursors.get(f"{kind}_archived", ""), is_full(job, kind)
    newest, early = since, "" if full else _before(since, job)
    known = job.known_ids(kind) if since or full else set()
    params = {"limit": CARD.page_sizes["list"], "archived": "true", "properties": "hs_object_id"}
    for page in pages(job.api, f"crm/objects/{VERSION}/{kind}", params, f"{kind} archived"):
        stamps = [(field(record, "id", f"{kind} archived"), record.get("archivedAt") or "") for record in page]
        newest = max([newest, *(stamp for _, stamp in stamps)])
        fresh = dict.fromkeys(record_id for record_id, stamp in stamps
                              if stamp > since or ((stamp >= early or not stamp) and record_id in known))
        known.difference_update(fresh)
        yield kind, [deletion(TABLES[kind], record_id) for record_id in fresh]
    if full:
        yield kind, [deletion(TABLES[kind], record_id) for record_id in unlisted(job.api, kind, sorted(known - listed))]
    job.next_cursors[f"{kind}_archived"] = newest


def is_full(job: Job, kind: str) -> bool:
    """Whether every record of a kind is read that was read before: its deletions have a cursor, it has none itself."""
    return f"{kind}_archived" in job.cursors and kind not in job.cursors


def unlisted(api: Api, kind: str, candidates: Sequence[str]) -> Iterator[str]:
    """Those of the ids that cannot be asked for any more: an index that is late leaves records out of its lists, and a false deletion
    is a wrong number. An id that was merged answers with another one."""
    for group in chunks(candidates, CARD.page_sizes["batch"]):
        body = {"inputs": [{"id": record_id} for record_id in group], "properties": ["hs_object_id"]}
        answer = api.post(f"crm/objects/{VERSION}/{kind}/batch/read", body, safe=True, label=f"{kind} by id").json
        there = {field(record, "id", kind) for record in field(answer, "results", kind)}
        yield from (record_id for record_id in group if record_id not in there)


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
        for old in (field(record, "properties", table.name).get("hs_merged_object_ids") or "").split(";")
        if old and old != record["id"]
    ]
