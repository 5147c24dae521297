"""SOQL queries: how they are written, and how their pages are read to the end.

A query's pages belong to a cursor that the vendor may drop, with its session for one; then the query is asked anew from
behind the last record that came. Source: https://developer.salesforce.com/docs/platform/api-rest/guide/resources-query.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pipelines.http import Api, ApiError, Response
from pipelines.landing import Fields, Job, chunks
from pipelines.vendors.salesforce import CARD, VERSION
from pipelines.vendors.salesforce.source_bulk import bulk_records
from pipelines.vendors.salesforce.source_rows import Row

DATA = f"services/data/{VERSION}"
MAX_PAGES = 100_000
# How often a query that broke off is begun again without having come any further.
MAX_RESTARTS = 5
# Ids in one `IN (...)`: the query travels in the URL, which together with the headers may have 16,384 bytes.
IDS_A_QUERY = 300
# Answers to nextRecordsUrl that mean: this cursor is gone, ask anew. It belongs to the session that opened it.
LOCATOR_LOST = frozenset({"INVALID_QUERY_LOCATOR", "INVALID_SESSION_ID"})
ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?", re.ASCII)


def changed(job: Job, name: str, fields: Sequence[str], earlier: str) -> Iterator[list[Row]]:
    """Pages of an object's records from the cursor `earlier` on, oldest change first.

    The next night starts from the vendor's own time at the first answer, less an overlap; a night that is cut off in
    between, from the last record that was read before that.
    """
    position, horizon, stuck = earlier, "", 0
    while stuck < MAX_RESTARTS:
        begun = position
        try:
            for answer in pages(job.api, "queryAll", changed_query(name, fields, position, " ORDER BY SystemModstamp, Id"), name):
                horizon = horizon or time_before(answer, job)
                if answer.json["totalSize"] > job.settings.get(CARD.slug, "bulk_threshold"):
                    yield from bulk_records(job.api, "queryAll", changed_query(name, fields, position), name)
                    break
                page = distinct(answer.json["records"])
                yield page
                position = next(filter(None, map(_key, reversed(page))), position)
                job.next_cursors[name] = min(position, horizon or position)
            job.next_cursors[name] = max(horizon, earlier.partition("|")[0])
            return
        except Interrupted as ended:
            # Records that are missing can be anywhere in the pages that came: these are read again.
            position = begun if ended.gaps else position
            job.next_cursors[name] = min(position, horizon)
            stuck = stuck + 1 if position == begun else 0
    raise RuntimeError(f"salesforce: reading {name} broke off {stuck} times behind {position or 'its beginning'}; run again later")


def changed_query(name: str, fields: Iterable[str], position: str, order: str = "") -> str:
    """The query for records from a position on: "stamp" includes it, "stamp|id" is behind that record."""
    stamp, _, record_id = position.partition("|")
    where = f" WHERE SystemModstamp >= {_stamp(stamp)}" if stamp else ""
    if record_id:
        where = (f" WHERE (SystemModstamp > {_stamp(stamp)} OR (SystemModstamp = {_stamp(stamp)} "
                 f"AND Id > '{record_id}'))")
    return f"SELECT {', '.join(fields)} FROM {name}{where}{order}"


class Interrupted(Exception):
    """A query's pages ended before their end, and the rest has to be asked for anew. `gaps`: or records are missing
    somewhere in what came."""

    def __init__(self, *, gaps: bool):
        self.gaps = gaps
        super().__init__("records are missing" if gaps else "the vendor dropped the cursor")


def pages(api: Api, verb: str, query: str, label: str) -> Iterator[Response]:
    """A query's answers of up to 2,000 records each. Raises Interrupted when they end too early."""
    answer = api.get(f"{DATA}/{verb}", {"q": query}, label=label)
    read = 0
    for _ in range(MAX_PAGES):
        yield answer
        read += len(distinct(answer.json["records"]))
        if answer.json["done"]:
            if read < answer.json["totalSize"]:
                raise Interrupted(gaps=True)
            return
        following = str(answer.json.get("nextRecordsUrl"))
        if not re.fullmatch(rf"/{re.escape(DATA)}/query(All)?/[\w-]+", following, re.ASCII):
            raise RuntimeError(f"salesforce: the next page of {label} is at {following[:100]!r}; run again later")
        try:
            answer = api.get(following, label=label)
        except ApiError as error:
            if not LOCATOR_LOST & codes(error):
                raise
            raise Interrupted(gaps=False) from error
    raise RuntimeError(f"salesforce: {label} has more than {MAX_PAGES} pages; run again later")


def live(job: Job, name: str, fields: Sequence[str]) -> Iterator[list[Row]]:
    """All records that are not deleted, to the end or with an error."""
    last, stuck = "", 0
    while stuck < MAX_RESTARTS:
        begun = last
        try:
            for answer in pages(job.api, "query", f"{live_query(name, fields, last)} ORDER BY Id", name):
                if answer.json["totalSize"] > job.settings.get(CARD.slug, "bulk_threshold"):
                    yield from bulk_records(job.api, "query", live_query(name, fields, last), name)
                    break
                page = distinct(answer.json["records"])
                yield page
                last = next((item["Id"] for item in reversed(page) if askable([item["Id"]])), last)
            return
        except Interrupted as ended:
            last = begun if ended.gaps else last
            stuck = stuck + 1 if last == begun else 0
    raise RuntimeError(f"salesforce: reading all {name} broke off {stuck} times behind {last or 'its beginning'}; run again later")


def live_query(name: str, fields: Iterable[str], last: str) -> str:
    """The query for records with an id behind `last`."""
    return f"SELECT {', '.join(fields)} FROM {name}" + (f" WHERE Id > '{last}'" if last else "")


def named(job: Job, name: str, fields: Sequence[str], ids: Iterable[str]) -> Iterator[list[Row]]:
    """The records with these ids that are not deleted."""
    for group in chunks(sorted(askable(ids)), IDS_A_QUERY):
        listed = ", ".join(f"'{one}'" for one in group)
        yield whole(job, f"SELECT {', '.join(fields)} FROM {name} WHERE Id IN ({listed})", name)


def snapshot(job: Job, name: str, objects: Iterable[str], fields: Sequence[str]) -> list[Row]:
    """All records of a small object; none where the org has no such object."""
    return whole(job, f"SELECT {', '.join(['Id', *fields])} FROM {name}", name) if name in objects else []


def whole(job: Job, query: str, label: str) -> list[Row]:
    """Everything that a query finds, or an error."""
    for _ in range(MAX_RESTARTS):
        try:
            return distinct(item for answer in pages(job.api, "query", query, label) for item in answer.json["records"])
        except Interrupted:
            continue
    raise RuntimeError(f"salesforce: reading {label} broke off {MAX_RESTARTS} times; run again later")


def distinct(items: Iterable[Row]) -> list[Row]:
    """The records without those that a page repeats."""
    return list({item["Id"]: item for item in items}.values())


def _key(item: Row) -> str:
    """A record's place in the order of reading; "" where it has none that could be asked for."""
    stamp = Fields(item).timestamp("SystemModstamp")
    return f"{iso(stamp)}|{item['Id']}" if stamp and askable([item["Id"]]) else ""


def askable(ids: Iterable[Any]) -> set[str]:
    """The ids that are ids: the others are never written into a query."""
    return {one for one in ids if isinstance(one, str) and ID.fullmatch(one)}


def _stamp(text: str) -> str:
    """A moment as SOQL writes it, without quotes."""
    return iso(datetime.fromisoformat(text))


def iso(moment: datetime) -> str:
    """A moment in UTC with milliseconds and a Z: such texts sort as the moments do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_before(answer: Response, job: Job) -> str:
    """The vendor's own time at an answer, less the overlap; "" where it does not say it."""
    date = answer.headers.get("Date")
    return iso(parsedate_to_datetime(date) - overlap(job)) if date else ""


def overlap(job: Job) -> timedelta:
    """How far a night reads back before the last one."""
    return timedelta(seconds=job.settings.get(CARD.slug, "overlap_seconds"))


def codes(error: ApiError) -> set[str]:
    """The error codes of an answer: a list of {errorCode, message}."""
    body = error.body if isinstance(error.body, list) else []
    return {str(item.get("errorCode")) for item in body if isinstance(item, dict)}
