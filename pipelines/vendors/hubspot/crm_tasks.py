"""Crossfoot's tasks on HubSpot companies: which a company has, found by the key in the task's body.

By association and not by search, whose index lags behind a creation by seconds. A batch read of associations takes 1,000
records and answers one entry for each label; a record without any is an error of its own. Source:
https://developers.hubspot.com/docs/api-reference/latest/crm/associations/associate-records/guide
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.http import Api, ApiError
from pipelines.landing import chunks
from pipelines.vendors.crm_types import FoundTask, marked_key
from pipelines.vendors.hubspot import CARD, VERSION

ASSOCIATIONS = f"/crm/associations/{VERSION}/companies/tasks/batch/read"
TASKS = f"/crm/objects/{VERSION}/tasks/batch/read"
MAX_PAGES = 1000  # of associations of one batch, with 500 tasks each


def find(api: Api, company_ids: Sequence[str]) -> dict[str, list[FoundTask]]:
    """The tasks of these companies whose body holds a key, by company; deleted ones are not among them."""
    of_task: dict[str, set[str]] = {}
    for group in chunks(list(company_ids), CARD.page_sizes["associations"]):
        for company_id, task_id in _associated(api, group):
            of_task.setdefault(task_id, set()).add(company_id)
    found: dict[str, list[FoundTask]] = {}
    for group in chunks(sorted(of_task), CARD.page_sizes["batch"]):
        body = {"inputs": [{"id": id} for id in group], "properties": ["hs_task_body", "hs_task_status"], "propertiesWithHistory": []}
        for result in _results(api.post(TASKS, json=body, safe=True).json, TASKS):
            key = marked_key(result["properties"].get("hs_task_body"))
            if key:
                status = "completed" if result["properties"].get("hs_task_status") == "COMPLETED" else "open"
                for company_id in of_task.get(str(result["id"]), ()):
                    found.setdefault(company_id, []).append(FoundTask(key, str(result["id"]), status))
    return found


def _associated(api: Api, company_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(company, task), following the paging of companies with more tasks than a page holds."""
    inputs: list[dict[str, str]] = [{"id": id} for id in company_ids]
    for _ in range(MAX_PAGES):
        following: list[dict[str, str]] = []
        for result in _results(api.post(ASSOCIATIONS, json={"inputs": inputs}, safe=True).json, ASSOCIATIONS):
            company_id = str(result["from"]["id"])
            yield from ((company_id, str(to["toObjectId"])) for to in result["to"])
            after = result.get("paging", {}).get("next", {}).get("after")
            following += [{"id": company_id, "after": after}] if after else []
        if not following:
            return
        inputs = following
    raise ApiError(200, None, f"hubspot: POST {ASSOCIATIONS}", f"the tasks of a company fill more than {MAX_PAGES} pages; archive some")


def _results(answer: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """A company without tasks, or a task that was deleted since, is an answer; any other error is not."""
    for error in answer.get("errors") or ():
        if error.get("category") != "OBJECT_NOT_FOUND" and error.get("subCategory") != "crm.associations.NO_ASSOCIATIONS_FOUND":
            raise ApiError(207, error, f"hubspot: POST {path}", "run again")
    return list(answer["results"])
