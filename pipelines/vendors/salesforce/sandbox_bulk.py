"""Query jobs of Bulk API 2.0: created, looked at, read in sets of CSV, deleted.

Sources: Bulk API 2.0 Developer Guide (query_walkthrough, query_get_job_results). Every set begins with the header (unverified).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pipelines.vendors.salesforce import VERSION
from pipelines.vendors.salesforce.sandbox_query import Path
from pipelines.vendors.salesforce.sandbox_records import Record
from pipelines.vendors.salesforce.sandbox_render import RUNNING_USER, csv_text
from pipelines.vendors.salesforce.sandbox_schema import full_id
from pipelines.vendors.salesforce.sandbox_soql import BadQuery, stamp
from pipelines.vendors.salesforce.sandbox_state import Org, not_found
from pipelines.vendors.salesforce.sandbox_values import Refused

DELIMITERS = {"COMMA": ",", "TAB": "\t", "SEMICOLON": ";", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
# The code of a job that is refused for its query; the message begins with the query's own code (unverified).
REFUSED_JOB = "API_ERROR"
MAX_SET = 200_000  # records of a set for which no size is asked (Salesforce goes by its size in bytes)


@dataclass
class Job:
    """A query job and what it found when it was created."""

    id: str
    body: dict[str, Any]
    rows: list[Record]
    paths: list[Path]
    looks: int = 0


@dataclass
class Jobs:
    """The org's query jobs."""

    org: Org
    jobs: dict[str, Job] = field(default_factory=dict)
    count: int = 0

    def create(self, body: Any) -> dict[str, Any]:
        """A new job from {"operation", "query", ...}; its query is run at once, its results come later."""
        if not isinstance(body, dict) or body.get("operation") not in ("query", "queryAll"):
            operation = body.get("operation") if isinstance(body, dict) else None
            raise Refused("INVALIDJOB", f"operation: {operation!r} is not one of query, queryAll")
        settings = {"contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF"}
        settings |= {name: body[name] for name in settings if name in body}
        if settings["contentType"] != "CSV" or settings["columnDelimiter"] not in DELIMITERS or settings["lineEnding"] not in ENDINGS:
            raise Refused("INVALIDJOB", f"unsupported format: {settings}")
        try:
            query, rows = self.org.query(str(body.get("query") or ""), body["operation"] == "queryAll")
        except BadQuery as error:
            raise Refused(REFUSED_JOB, f"{error.code}: {error.message}") from error
        if query.aggregates or query.count_only or query.offset:
            raise Refused(REFUSED_JOB, "MALFORMED_QUERY: Aggregate functions, GROUP BY and OFFSET are not supported in Bulk Query")
        paths = self.org.reader.paths(query)
        if any(path.field.type == "address" for path in paths):
            raise Refused(REFUSED_JOB, "FUNCTIONALITY_NOT_ENABLED: Selecting compound data not supported in Bulk Query")
        self.count += 1
        now = stamp(self.org.clock.now())
        shown = {
            "operation": body["operation"], "object": self.org.reader.object(query.entity).name, "createdById": RUNNING_USER,
            "createdDate": now, "systemModstamp": now, "state": "UploadComplete", "concurrencyMode": "Parallel",
            "contentType": "CSV", "apiVersion": Decimal(VERSION.removeprefix("v")), "lineEnding": settings["lineEnding"],
            "columnDelimiter": settings["columnDelimiter"],
        }  # fmt: skip
        job = Job(full_id(f"750{self.count:012d}"), shown, rows, paths)
        self.jobs[job.id] = job
        return {"id": job.id, **shown}

    def find(self, job_id: str) -> Job:
        """A job by id; 404 where there is none."""
        if job_id not in self.jobs:
            raise not_found()
        return self.jobs[job_id]

    def look(self, job_id: str, looks_until_done: int) -> dict[str, Any]:
        """The job as it stands; every look brings it nearer to its end."""
        job = self.find(job_id)
        if job.body["state"] not in ("JobComplete", "Aborted"):
            job.looks += 1
            job.body["state"] = "JobComplete" if job.looks > looks_until_done else "InProgress"
        body = {"id": job.id, **job.body, "jobType": "V2Query"}
        if job.body["state"] == "JobComplete":
            body |= {"numberRecordsProcessed": len(job.rows), "retries": 0, "totalProcessingTime": 153, "isPkChunkingSupported": True}
        return body

    def abort(self, job_id: str) -> dict[str, Any]:
        """Ends a job that is still running."""
        job = self.find(job_id)
        job.body["state"] = "Aborted"
        return {"id": job.id, **job.body}

    def delete(self, job_id: str) -> None:
        """Deletes a job that has come to its end."""
        if self.find(job_id).body["state"] not in ("JobComplete", "Aborted"):
            raise Refused("INVALIDJOBSTATE", "Deleting a job that is in progress is not allowed. Abort it first")
        del self.jobs[job_id]

    def results(self, job_id: str, params: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """(CSV, its headers) of the set that a locator names, by default the first. The last set's locator is the text null."""
        job = self.find(job_id)
        if job.body["state"] != "JobComplete":
            raise Refused("INVALIDJOBSTATE", f"Get Results not allowed on a job in state {job.body['state']}")
        most = params.get("maxRecords", str(MAX_SET))
        if not most.isdigit() or not int(most):
            raise Refused("INVALID_QUERY_VALUE", f"maxRecords: {most} is not a whole number above 0")
        start = self._place(params.get("locator"))
        rows = job.rows[start : start + int(most)]
        following = start + len(rows)
        values = ([path.get(record) for path in job.paths] for record in rows)
        text = csv_text((path.name for path in job.paths), values, DELIMITERS[job.body["columnDelimiter"]],
                        ENDINGS[job.body["lineEnding"]])  # fmt: skip
        locator = base64.b64encode(str(following).encode()).decode().rstrip("=") if following < len(job.rows) else "null"
        return text, {"Sforce-NumberOfRecords": str(len(rows)), "Sforce-Locator": locator}

    def _place(self, locator: str | None) -> int:
        if not locator:
            return 0
        try:
            return int(base64.b64decode(locator + "=" * (-len(locator) % 4), validate=True))
        except ValueError:
            raise Refused("INVALID_QUERY_LOCATOR", f"invalid query locator: {locator}") from None
