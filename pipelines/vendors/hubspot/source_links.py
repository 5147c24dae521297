"""Which companies and line items a deal has. Source: associations v4 guide (https://developers.hubspot.com/docs/api-reference/latest/crm/associations/associate-records/guide)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.http import Api
from pipelines.landing import chunks
from pipelines.vendors.hubspot import CARD, VERSION

# No deal has more pages of associations than this; a vendor that repeats itself for ever is stopped here.
MAX_PAGES = 100_000
# The label of a deal's primary company (associations v4, HUBSPOT_DEFINED).
PRIMARY_COMPANY_TYPE = 5

Row = dict[str, Any]
Pages = Iterator[tuple[str, list[Row]]]


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
