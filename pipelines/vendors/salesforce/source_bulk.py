"""Query jobs of Bulk API 2.0: one answer holds thousands of records as CSV.

Queries carry no ORDER BY: it would keep Salesforce from splitting the job, and large ones then run out of time.
Source: https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/queries.htm
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from pipelines.http import Api
from pipelines.vendors.salesforce import CARD, VERSION

PATH = f"services/data/{VERSION}/jobs/query"
# Looks at a job: the first waits double, from the configured first wait up to 32 times that.
MAX_POLLS = 240
MAX_WAIT_UNITS = 32
MAX_SETS = 10_000
# The largest text that a Salesforce field holds is 131,072 characters, and Python's reader stops there.
csv.field_size_limit(1_048_576)

Row = dict[str, Any]


def bulk_records(api: Api, operation: str, query: str, name: str) -> Iterator[list[Row]]:
    """The records of a query (operation `query`, or `queryAll` for deleted ones too) as sets in no order and in the shape
    of the REST API, with every value a text or None. Raises RuntimeError when the job fails, takes too long, or hands out
    fewer records than it read."""
    label = f"{name} bulk"
    body = {"operation": operation, "query": query, "contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF"}
    job_id = str(api.post(PATH, body, safe=True, label=label).json["id"])
    if not re.fullmatch(r"[0-9A-Za-z]{15,18}", job_id):
        raise RuntimeError(f"salesforce: the bulk job for {name} has the id {job_id!r}; run again later")
    expected = finished(api, job_id, name)
    locator, read = "", 0
    for _ in range(MAX_SETS):
        params = {"maxRecords": CARD.page_sizes["bulk"], **({"locator": locator} if locator else {})}
        answer = api.get(f"{PATH}/{job_id}/results", params, headers={"Accept": "text/csv"}, label=label)
        records = csv_records(answer.text, name)
        _check(len(records), answer.headers.get("Sforce-NumberOfRecords"), job_id, name)
        read += len(records)
        yield records
        following = answer.headers.get("Sforce-Locator", "null")
        if following in ("", "null"):
            _check(read, expected, job_id, name)
            return
        if following == locator:
            raise RuntimeError(f"salesforce: bulk job {job_id} ({name}) repeats a set of results; run again later")
        locator = following
    raise RuntimeError(f"salesforce: bulk job {job_id} ({name}) has more than {MAX_SETS} sets of results; run again later")


def finished(api: Api, job_id: str, name: str) -> str | None:
    """Waits until the job is complete; the number of records that it read, as the vendor says it."""
    for turn in range(MAX_POLLS):
        job = api.get(f"{PATH}/{job_id}", label=f"{name} bulk").json
        if job["state"] == "JobComplete":
            processed = job.get("numberRecordsProcessed")
            return None if processed is None else str(processed)
        if job["state"] in ("Failed", "Aborted"):
            raise RuntimeError(f"salesforce: bulk job {job_id} ({name}) ended as {job['state']}: {job.get('errorMessage') or 'no reason'}; "
                               "run again later, or raise [salesforce] bulk_threshold to read page by page")
        api.retry.sleep(api.retry.base_seconds * min(2**turn, MAX_WAIT_UNITS))
    raise RuntimeError(f"salesforce: bulk job {job_id} ({name}) was not complete after {MAX_POLLS} looks; run again later")


def csv_records(text: str, name: str) -> list[Row]:
    """CSV as records of the REST API's shape: an empty cell is None, `Parent.Name` an object inside, its absence None."""
    lines = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    header = next(lines, [])
    records = []
    for cells in lines:
        if len(cells) != len(header):
            raise RuntimeError(f"salesforce: line {lines.line_num} of the bulk results of {name} has {len(cells)} cells, "
                               f"not {len(header)}; run again later")
        records.append(_record(header, cells))
    return records


def _record(header: list[str], cells: list[str]) -> Row:
    record: Row = {}
    for column, cell in zip(header, cells, strict=True):
        parent, _, field = column.rpartition(".")
        if not parent:
            record[column] = cell or None
        elif cell:
            record[parent] = {**(record.get(parent) or {}), field: cell}
        else:
            record.setdefault(parent, None)
    return record


def _check(read: int, expected: str | None, job_id: str, name: str) -> None:
    if expected is not None and expected != str(read):
        raise RuntimeError(f"salesforce: bulk job {job_id} ({name}) gave {read} records, not {expected}; run again later")
