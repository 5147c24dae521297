"""Salesforce's objects as raw tables.

Changed records, deleted ones included, are found by `queryAll` in the order (SystemModstamp, Id): any number of records
may share one stamp, and reading goes on behind the last record after a lost page, a renewed session or a night without
calls left. Very many at once come from Bulk API 2.0. What left the recycle bin is found by `deleted`; fields that
Salesforce computes do not move SystemModstamp and are compared each night.
Sources: https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_queryall.htm,
https://developer.salesforce.com/docs/platform/api-rest/guide/resources-getdeleted.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import dlt

from pipelines.http import Api, ApiError, BudgetSpent, RetryPolicy, limits_in_force
from pipelines.landing import Fields, Job, deletion, resource, row
from pipelines.oauth import ClientCredentials, JwtBearer
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors.salesforce import CARD, VERSION
from pipelines.vendors.salesforce.refusals import REMEDIES, later, spent
from pipelines.vendors.salesforce.source_query import (
    DATA,
    askable,
    changed,
    codes,
    iso,
    live,
    named,
    overlap,
    snapshot,
    time_before,
)
from pipelines.vendors.salesforce.source_rows import (
    DELETABLE,
    KINDS,
    RECORD_TYPE,
    TABLES,
    Kind,
    Row,
    currency_row,
    dated_rate_row,
    deleted_row,
    record_type_row,
    stage_row,
)

TOKEN_PATH = "services/oauth2/token"
# The list of versions: it needs no authorisation, and its Date is the vendor's own time.
CLOCK_PATH = "services/data"
# `deleted` looks back 15 days (REST API guide, sObject Get Deleted). One day is kept as margin.
DELETED_DAYS = 14
# `deleted` counts in minutes, and refuses a span of one minute or less.
SHORTEST_SPAN = timedelta(minutes=2)
# The org's own currency where there is only one; Organization's field is (unverified), so describe has to list it.
ORGANIZATION_CURRENCY = "DefaultCurrencyIsoCode"
# Fields that an org has or has not: several currencies, record types, person accounts.
OPTIONAL = frozenset({"CurrencyIsoCode", "RecordTypeId", RECORD_TYPE, "PersonEmail"})
# The default of customer_ids_field: Crossfoot creates it itself.
OWN_FIELD = "Crossfoot_Customer_Ids__c"
# Objects that are written to.
WRITTEN = frozenset({"Account", "Opportunity"})
# Answers to `deleted` that mean: the log does not reach back that far, or holds too much.
LOG_TOO_SHORT = frozenset({"INVALID_REPLICATION_DATE", "EXCEEDED_ID_LIMIT"})

Pages = Iterator[tuple[str, list[Row]]]


def connect(settings: Settings, tokens: Any = None) -> Api:
    """An Api for the configured org, or for the sandbox. Its calls, token included, go to the org's My Domain alone.
    Raises ConfigurationError when a live org is not described completely."""
    options, secrets, network = settings.values[CARD.slug], settings.secrets[CARD.slug], settings.values["network"]
    base = f"{settings.sandbox_url}/{CARD.slug}" if settings.profile == "sandbox" else my_domain(options["instance_url"])
    retry = RetryPolicy(network["attempts"], network["retry_base_seconds"], network["timeout_seconds"])
    if options["auth"] == "jwt_bearer":
        auth: Any = JwtBearer(
            base, TOKEN_PATH, vendor=CARD.slug, claims=jwt_claims(settings), private_key=secrets["private_key"],
            clock_path=CLOCK_PATH, retry=retry,
            remedies={400: "check [salesforce] username and login_url, the app's certificate, and that the user is pre-authorised"},
        )
    else:
        auth = ClientCredentials(
            base, TOKEN_PATH, vendor=CARD.slug, client_id=secrets["client_id"], client_secret=secrets["client_secret"],
            retry=retry, basic=False,
            remedies={400: "check SALESFORCE_CLIENT_ID and SALESFORCE_CLIENT_SECRET, and that the app allows the client "
                           "credentials flow with a run-as user", 401: "check SALESFORCE_CLIENT_ID and SALESFORCE_CLIENT_SECRET"},
        )
    return Api(
        base, vendor=CARD.slug, auth=auth, limits=limits_in_force(settings, CARD.limits), retry=retry, spent=spent,
        later=later, remedies=REMEDIES | {410: f"the org no longer answers API version {VERSION}; update Crossfoot"},
    )


def my_domain(instance_url: str) -> str:
    """The org's address without a trailing slash; ConfigurationError when it is missing or no plain https address."""
    parts = urlsplit(instance_url.rstrip("/"))
    if parts.scheme != "https" or not parts.netloc or parts.path or parts.query or "@" in parts.netloc:
        raise ConfigurationError([f"[salesforce] instance_url is {instance_url!r}; write the org's My Domain address, "
                                  "such as https://acme.my.salesforce.com"])
    return f"https://{parts.netloc}"


def jwt_claims(settings: Settings) -> dict[str, str]:
    """Who the assertion speaks for: the app (iss), the user (sub), to Salesforce's login host (aud)."""
    options = settings.values[CARD.slug]
    if not options["username"]:
        raise ConfigurationError(["[salesforce] username is empty; jwt_bearer needs the name of the user that it signs in as"])
    return {"iss": settings.secrets[CARD.slug]["client_id"], "sub": options["username"], "aud": options["login_url"]}


# The cursor of what was deleted; a full reading keeps it.
DELETION_CURSORS = ("deleted",)

@dlt.source(name="salesforce")
def source(job: Job) -> list[Any]:
    """The night's changes of every object that the canonical contract needs, as dlt resources."""
    tables = [TABLES[name] for name in ("organization", "currency_types", "dated_conversion_rates", "record_types")]
    gone: dict[str, set[str]] = {kind.table: set() for kind in KINDS}
    stages, read = Stages(), [records(job, kind, gone[kind.table]) for kind in KINDS]
    return [
        resource(job, "organization", tables, organization(job)),
        resource(job, "opportunity_stages", [TABLES["opportunity_stages"]], opportunity_stages(job, stages)),
        *(resource(job, kind.table, [TABLES[kind.table]], stages.noted(pages)) for kind, pages in zip(KINDS, read, strict=True)),
        resource(job, "new_opportunity_stages", [TABLES["opportunity_stages"]], new_opportunity_stages(job, stages)),
        resource(job, "deletions", [TABLES[kind.table] for kind in DELETABLE], deletions(job, gone)),
    ]


def organization(job: Job) -> Pages:
    """The org, its record types, its currency and, where it has several, their rates: foreign units for one corporate unit."""
    answer = job.api.get(f"{DATA}/sobjects", label="describe")
    objects = {item["name"] for item in answer.json["sobjects"]}
    if not job.cursors.get("deleted"):
        # Noted before anything is read: what is deleted from now on could be in the first night's rows.
        job.next_cursors["deleted"] = time_before(answer, job)
    currencies = [currency_row(item) for item in snapshot(job, "CurrencyType", objects, (
        "IsoCode", "ConversionRate", "IsCorporate", "IsActive"))]
    yield "currency_types", currencies
    yield "dated_conversion_rates", [dated_rate_row(item) for item in snapshot(job, "DatedConversionRate", objects, (
        "IsoCode", "ConversionRate", "StartDate", "NextStartDate"))]
    yield "record_types", [record_type_row(item) for item in snapshot(job, "RecordType", objects, ("Name",))]
    own = {"Name", ORGANIZATION_CURRENCY} & described(job.api, "Organization").keys()
    corporate = next((item["iso_code"] for item in currencies if item["is_corporate"]), None)
    for item in snapshot(job, "Organization", {"Organization"}, sorted(own)):
        currency = corporate or item.get(ORGANIZATION_CURRENCY)
        if not currency:
            job.notes.append(f"the org does not say its currency: taken as {job.settings.base_currency} ([company] base_currency)")
        # Not the org's word but that of whoever set Crossfoot up, and as of this night as well.
        yield "organization", [row(Fields(item), id=item["Id"], name=item.get("Name"), multicurrency=bool(currencies),
                                   currency=currency, recurring_total=job.settings.get(CARD.slug, "recurring_total"))]


@dataclass
class Stages:
    """API names of the stages that the org's list has, and of those that the opportunities of a night stand in."""

    listed: set[str] = dataclass_field(default_factory=set)
    used: set[str] = dataclass_field(default_factory=set)

    def noted(self, pages: Pages) -> Pages:
        """The pages, with the stages of their opportunities noted as used."""
        for table, rows in pages:
            if table == "opportunities":
                self.used |= {item["stage_name"] for item in rows if item.get("stage_name")}
            yield table, rows


def opportunity_stages(job: Job, stages: Stages | None = None) -> Pages:
    """Every stage as it stands, inactive ones too: old opportunities carry them."""
    names = ("ApiName", "MasterLabel", "IsActive", "IsClosed", "IsWon", "DefaultProbability", "SortOrder")
    rows = [stage_row(item) for item in snapshot(job, "OpportunityStage", {"OpportunityStage"}, names)]
    if stages:
        stages.listed |= {item["api_name"] for item in rows}
    yield "opportunity_stages", rows


def new_opportunity_stages(job: Job, stages: Stages) -> Pages:
    """The list once more where an opportunity stands in a stage that it did not have: it was made while they were read."""
    if stages.used - stages.listed:
        yield from opportunity_stages(job)


def records(job: Job, kind: Kind, gone: set[str] | None = None) -> Pages:
    """Every record of an object that changed since the last night, and those whose computed fields say something new.
    The ids of deleted ones are added to `gone`."""
    known = described(job.api, kind.name)
    fields = selected(kind, known, job)
    earlier, landed, merged = resume(job, kind.name, fields), set[str](), 0
    for page in changed(job, kind.name, fields, earlier):
        deleted = {item["Id"]: item for item in page if Fields(item).flag("IsDeleted")}
        merged += sum(1 for item in page if item.get("MasterRecordId"))
        landed.update(item["Id"] for item in page)
        if gone is not None:
            gone.update(deleted)
        rows = [kind.row_of(item, job) for item in page if item["Id"] not in deleted]
        yield kind.table, rows + [deleted_row(item, kind) for _, item in sorted(deleted.items())]
    # A record that was merged into another is deleted, its survivor changed.
    if merged:
        job.notes.append(f"{merged} {kind.table} were merged into others: their ids count as deleted")
    computed = {column: field for column, field in kind.fields(job.settings.values[CARD.slug]).items()
                if known.get(field, {}).get("calculated")}
    if computed and earlier:
        yield from refreshed(job, kind, fields, computed, landed)


def described(api: Api, name: str) -> dict[str, Row]:
    """{API name: what describe says of it} of the fields that the user may see. Raises RuntimeError for an object that
    it may not see at all."""
    try:
        answer = api.get(f"{DATA}/sobjects/{name}/describe", label="describe")
    except ApiError as error:
        if error.status != 404:
            raise
        raise RuntimeError(f"salesforce: the app's user cannot see {name}; give it read access to that object") from error
    return {field["name"]: field for field in answer.json["fields"]}


def selected(kind: Kind, known: Mapping[str, Row], job: Job) -> list[str]:
    """The fields to ask for: those of the contract that describe lists. One that the numbers rest on has to be there."""
    missing = sorted(kind.needed - known.keys())
    if missing:
        raise RuntimeError(f"salesforce: the app's user cannot see {', '.join(f'{kind.name}.{name}' for name in missing)}; "
                           "give it read access to these fields")
    wanted = ["Id", "SystemModstamp", "IsDeleted", "MasterRecordId", *kind.fields(job.settings.values[CARD.slug]).values()]
    return [name for name in dict.fromkeys(wanted) if ("RecordTypeId" if name == RECORD_TYPE else name) in known]


def resume(job: Job, name: str, fields: Sequence[str]) -> str:
    """Where the object is read from: "" for its beginning. A field that is new, or gone, did not move any stamp: the
    object is read anew."""
    chosen = ",".join(fields)
    earlier = job.cursors.get(name, "")
    if job.cursors.get(f"{name} fields", chosen) != chosen:
        job.notes.append(f"{name} has other fields than in the last night: read from the beginning")
        job.next_cursors[name] = earlier = ""
    job.next_cursors[f"{name} fields"] = chosen
    return earlier


def refreshed(job: Job, kind: Kind, fields: Sequence[str], computed: Mapping[str, str], landed: set[str]) -> Pages:
    """The complete rows of records whose computed fields differ from what is known of them."""
    known, columns = job.known(kind.table, tuple(computed)), tuple(computed)
    differing = []
    for page in live(job, kind.name, ["Id", *computed.values()]):
        for item in page:
            now = kind.row_of(item, job)
            if item["Id"] not in landed and known.get(item["Id"]) != tuple(now[column] for column in columns):
                differing.append(item["Id"])
    for page in named(job, kind.name, fields, differing):
        yield kind.table, [kind.row_of(item, job) for item in page]


def deletions(job: Job, gone: Mapping[str, set[str]] | None = None) -> Pages:
    """Records that left the recycle bin as well, and so do not show in any query. `gone` has the ids by raw table that
    this night has found already."""
    since = job.cursors.get("deleted")
    if not since:
        return
    answer = job.api.get(CLOCK_PATH, label="deleted")
    end = parsedate_to_datetime(answer.headers["Date"]).replace(second=0)
    start = min(datetime.fromisoformat(since), end - SHORTEST_SPAN)
    if is_long := end - start > timedelta(days=DELETED_DAYS):
        job.notes.append(f"the last night is more than {DELETED_DAYS} days ago: deletions found by comparing all ids")
    covered, is_full = end, not any(kind.name in job.cursors for kind in DELETABLE)
    for kind in DELETABLE:
        found = None if is_long or is_full else deleted_ids(job, kind, start, end)
        ids, reached = found or (None, end)
        covered = min(covered, reached)
        missing = job.known_ids(kind.table) - (gone or {}).get(kind.table, set())
        missing = askable(missing & ids if ids is not None else missing - _all_ids(job, kind))
        # Only a record that cannot be asked for any more is gone: one that was restored is in the log, too.
        for page in named(job, kind.name, ["Id"], missing):
            missing -= {item["Id"] for item in page}
        yield kind.table, [deletion(TABLES[kind.table], one) for one in sorted(missing)]
    job.next_cursors["deleted"] = iso(covered - overlap(job))


def deleted_ids(job: Job, kind: Kind, start: datetime, end: datetime) -> tuple[set[str], datetime] | None:
    """(ids that were deleted in the span, up to when the log is complete); None when the log cannot tell."""
    span = {"start": start.isoformat(timespec="seconds"), "end": end.isoformat(timespec="seconds")}
    try:
        body = job.api.get(f"{DATA}/sobjects/{kind.name}/deleted/", span, label="deleted").json
    except ApiError as error:
        if not LOG_TOO_SHORT & codes(error):
            raise
        job.notes.append(f"the log of deleted {kind.table} does not reach back to the last night: found by comparing all ids")
        return None
    covered = Fields(body).timestamp("latestDateCovered") or end
    return {item["id"] for item in body["deletedRecords"]}, min(covered, end)


def _all_ids(job: Job, kind: Kind) -> set[str]:
    return {item["Id"] for page in live(job, kind.name, ["Id"]) for item in page}


def check(api: Api, settings: Settings) -> list[str]:
    """What keeps this vendor from being read and written, one sentence with its fix for each; empty: nothing.

    describe lists what the app's user may see, so an object or field without permission is missing there.
    """
    problems: list[str] = []
    try:
        versions = {f"v{item['version']}" for item in api.get(CLOCK_PATH, label="doctor").json}
        if VERSION not in versions:
            return [f"salesforce: the org does not speak API version {VERSION} (newest: {max(versions, default='none')}); "
                    "use a Crossfoot that fits the org's release"]
        objects = {item["name"]: item for item in api.get(f"{DATA}/sobjects", label="doctor").json["sobjects"]}
        for kind in KINDS:
            problems += _object_problems(api, settings, kind, objects.get(kind.name))
        if "OpportunityStage" not in objects:
            problems.append(_unseen("OpportunityStage"))
    except (ApiError, BudgetSpent) as error:
        return [str(error)]
    return problems


def _object_problems(api: Api, settings: Settings, kind: Kind, listed: Row | None) -> list[str]:
    """What is missing of one object. Fields that differ from org to org, or that no number rests on, may be."""
    if listed is None:
        return [_unseen(kind.name)]
    problems, options = [], settings.values[CARD.slug]
    if kind.name in WRITTEN and settings.get("writeback", "mode") != "off" and listed.get("updateable") is False:
        problems.append(f"salesforce: the app's user cannot edit {kind.name}; give it edit access, or set [writeback] mode to \"off\"")
    known = {field["name"] for field in api.get(f"{DATA}/sobjects/{kind.name}/describe", label="doctor").json["fields"]}
    for field in kind.columns.values():
        name = options.get(field, field)
        if field in options and name and name not in known and name != OWN_FIELD:
            problems.append(f"salesforce: {kind.name} has no field {name!r} that the app's user may see; create it or give read access "
                            f"to it, or name another in [salesforce] {field} (\"\" when there is none)")
        elif field not in options and field not in (*known, *OPTIONAL):
            problems.append(f"salesforce: the app's user cannot see {kind.name}.{field}; give it read access to that field")
    return problems


def _unseen(name: str) -> str:
    return f"salesforce: the app's user cannot see {name}; give it read access to that object"


def forecast(job: Job) -> dict[str, int]:
    """{label: calls} of a first night, these counted too, from one COUNT() for each object. What the org still grants today is noted."""
    threshold, size = job.settings.get(CARD.slug, "bulk_threshold"), CARD.page_sizes["query"]
    calls = {"forecast": len(KINDS) + 1, "describe": 2 + len(KINDS), "organization, stages, record types and currencies": 5}
    for kind in KINDS:
        answer = job.api.get(f"{DATA}/queryAll", {"q": f"SELECT COUNT() FROM {kind.name}"}, label="forecast")
        count = answer.json["totalSize"]
        # In bulk: the query that counts, the job, about ten looks at it, and its sets of results.
        calls[kind.name] = max(1, -(-count // size)) if count <= threshold else 12 - (-count // CARD.page_sizes["bulk"])
    daily = job.api.get(f"{DATA}/limits", label="forecast").json.get("DailyApiRequests") or {}
    if "Remaining" in daily:
        job.notes.append(f"the org grants {daily['Remaining']} more API calls of its {daily.get('Max')} in 24 hours")
    return calls
