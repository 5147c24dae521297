"""Which companies and line items a deal has, and which deals have others than before.

A batch read takes 1,000 deals and answers one entry for each label, so that one company may come several times. Source:
https://developers.hubspot.com/docs/api-reference/latest/crm/associations/associate-records/guide
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from pipelines.http import Api
from pipelines.landing import Job, chunks
from pipelines.vendors.hubspot import CARD, VERSION
from pipelines.vendors.hubspot.source_rows import TABLES, Row, field

# No deal has more pages of associations than this; a vendor that repeats itself for ever is stopped here.
MAX_PAGES = 100_000
# The label of a deal's primary company (associations v4, HUBSPOT_DEFINED).
PRIMARY_COMPANY_TYPE = 5
ABOUT = "associations of deals"
# Won deals of closed months are compared for so long after the first open month's start: associations are corrected late.
MARGIN = timedelta(days=31)
# What makes two associations of a deal the same, by table.
COMPARED = {name: tuple(list(TABLES[name].columns)[1:]) for name in ("deal_companies", "deal_line_items")}

Pages = Iterator[tuple[str, list[Row]]]


def deal_associations(api: Api, deal_ids: Sequence[str], label: str = "") -> Pages:
    """All companies and line items of up to 1,000 deals. A deal without any gets one row with a null."""
    found = associations(api, "companies", deal_ids, label)
    rows: list[Row] = []
    for deal_id in deal_ids:
        primary: dict[str, bool] = {}
        for to in found.get(deal_id, []):
            company = str(field(to, "toObjectId", ABOUT))
            is_primary = any(field(one, "typeId", ABOUT) == PRIMARY_COMPANY_TYPE for one in field(to, "associationTypes", ABOUT))
            primary[company] = primary.get(company, False) or is_primary
        rows += [{"deal_id": deal_id, "company_id": company, "is_primary": flag} for company, flag in primary.items()]
        rows += [] if primary else [{"deal_id": deal_id, "company_id": None, "is_primary": False}]
    yield "deal_companies", rows
    found = associations(api, "line_items", deal_ids, label)
    yield "deal_line_items", [
        {"deal_id": deal_id, "line_item_id": item}
        for deal_id in deal_ids
        for item in dict.fromkeys(str(field(to, "toObjectId", ABOUT)) for to in found.get(deal_id, [])) or [None]
    ]


def changed_associations(job: Job, read: set[str]) -> Pages:
    """Associations that changed though their deal did not, which no search finds: of the deals that are open or won in a
    month that is not closed, except those `read` in this night. Only what differs from the warehouse lands."""
    start = first_open_day(job.as_of, job.settings.get("company", "month_close_days")) - MARGIN
    known = job.known("deals", ["is_closed", "is_won", "close_date"])
    chosen = sorted((deal_id for deal_id, (closed, won, day) in known.items()
                     if deal_id not in read and (not closed or (won and (day is None or day >= start)))), key=int)
    before = {table: job.known_sets(table, "deal_id", COMPARED[table]) for table in COMPARED} if chosen else {}
    for group in chunks(chosen, CARD.page_sizes["associations"]):
        for table, rows in deal_associations(job.api, group, "associations compared"):
            by_deal: dict[str, list[Row]] = {}
            for row in rows:
                by_deal.setdefault(row["deal_id"], []).append(row)
            yield table, [
                row for deal_id, its in by_deal.items() for row in its
                if {tuple(one[name] for name in COMPARED[table]) for one in its} != before[table].get(deal_id, set())
            ]


def first_open_day(as_of: date, close_days: int) -> date:
    """The first day of the first month that is not closed yet: month M is closed from day `close_days` of the next one on."""
    return (as_of - timedelta(days=close_days - 1)).replace(day=1)


def associations(api: Api, to_kind: str, deal_ids: Sequence[str], label: str = "") -> dict[str, list[Row]]:
    """{deal id: its associated records}, following the paging of deals with more than 500."""
    found: dict[str, list[Row]] = {}
    inputs: list[Row] = [{"id": deal_id} for deal_id in deal_ids]
    for _ in range(MAX_PAGES):
        following: list[Row] = []
        for group in chunks(inputs, CARD.page_sizes["associations"]):
            path = f"crm/associations/{VERSION}/deals/{to_kind}/batch/read"
            body = api.post(path, {"inputs": list(group)}, safe=True, label=label or f"deals to {to_kind}").json
            _check_association_errors(body, to_kind)
            for result in field(body, "results", ABOUT):
                deal_id = str(field(field(result, "from", ABOUT), "id", ABOUT))
                found.setdefault(deal_id, []).extend(field(result, "to", ABOUT))
                after = result.get("paging", {}).get("next", {}).get("after")
                following += [{"id": deal_id, "after": after}] if after else []
        if not following:
            return found
        inputs = following
    raise RuntimeError(f"hubspot: associations of deals to {to_kind} do not end; run again later")


def _check_association_errors(body: Row, to_kind: str) -> None:
    """A deal without associations, or archived since the search, is an answer; any other error is not."""
    for error in body.get("errors") or []:
        if error.get("subCategory") != "crm.associations.NO_ASSOCIATIONS_FOUND" and error.get("category") != "OBJECT_NOT_FOUND":
            raise RuntimeError(f"hubspot: associations of deals to {to_kind}: {error.get('message')}; run again later")
