"""How Xero's lists are read: oldest change first, 1,000 records a call, so that nothing is missed while people work.

What changed is asked for with If-Modified-Since, which is accurate to the second. Filters and orders are those that
organisations of any size may use: https://developer.xero.com/documentation/api/efficient-data-retrieval
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pipelines.http import Response
from pipelines.landing import Job
from pipelines.vendors.xero import CARD
from pipelines.vendors.xero.rows import Record, Row, Tenant, modified, nameless_row, unlisted_row

MAX_PAGES = 10_000
# How often a list that kept moving is read on before the rest is left to the next night.
MAX_REREADS = 5
# Whether If-Modified-Since includes its own second is not said (unverified): one second more is asked for.
BOUNDARY = timedelta(seconds=1)
# Older than every record: Xero opened in 2006.
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
# Only invoices and credit notes are filtered by type: an OR over several types is none of the filters that organisations
# with more than 100,000 payments may use, and in the other lists the few suppliers' records are cheaper than more calls.
INVOICES = 'Type=="ACCREC"'
CREDIT_NOTES = 'Type=="ACCRECCREDIT"'


@dataclass(frozen=True)
class List:
    """A list of the vendor: its path, which is its key in the answer too, the name of its ids, and what it is asked with."""

    path: str
    id_name: str
    scope: str
    params: Mapping[str, str] = field(default_factory=dict)


LISTS = {
    one.path: one
    for one in (
        List("Contacts", "ContactID", "accounting.contacts.read", {"includeArchived": "true"}),
        List("Invoices", "InvoiceID", "accounting.invoices.read", {"where": INVOICES, "unitdp": "4"}),
        List("CreditNotes", "CreditNoteID", "accounting.invoices.read", {"where": CREDIT_NOTES, "unitdp": "4"}),
        List("Payments", "PaymentID", "accounting.payments.read"),
        List("Overpayments", "OverpaymentID", "accounting.payments.read"),
        List("Prepayments", "PrepaymentID", "accounting.payments.read"),
    )
}


@dataclass(frozen=True)
class Page:
    """An answer: its records, the vendor's time, how many records and pages there are, and the calls left today."""

    items: list[Row]
    time: datetime | None
    count: int | None
    pages: int | None
    calls_left: int | None

    def more(self, number: int) -> bool:
        """Whether there is a page after this one. Its fill says so only where the vendor does not count."""
        return bool(self.items) and (len(self.items) >= CARD.page_sizes["list"] if self.pages is None else number < self.pages)

    @property
    def boundary(self) -> datetime | None:
        """The time up to which the list is complete with this page; None where its records are not in that order."""
        stamps = [modified(item) for item in self.items]
        known = [stamp for stamp in stamps if stamp]
        if len(known) < len(stamps) or known != sorted(known):
            return None
        return known[-1].replace(microsecond=0) - BOUNDARY


@dataclass
class Reading:
    """One pass over one list of one organisation. `seen` holds every record that was given on, by id, with its stamp."""

    job: Job
    tenant: Tenant
    listed: List
    seen: dict[str, str] = field(default_factory=dict)
    started: datetime | None = None
    whole: bool = True
    nameless: dict[str, Row] = field(default_factory=dict)
    missing: int = 0

    def page(self, number: int, since: datetime | None) -> Page:
        size = str(CARD.page_sizes["list"])
        params = {**self.listed.params, "page": str(number), "pageSize": size, "order": "UpdatedDateUTC ASC"}
        headers = {"If-Modified-Since": f"{since:%Y-%m-%dT%H:%M:%SZ}"} if since else {}
        answer = self.job.api.ask(self.tenant, self.listed.path, params, headers=headers, label=self.listed.path)
        found = page_of(answer, self.listed.path)
        self.started = self.started or found.time
        return found

    def fresh(self, items: list[Row]) -> list[Row]:
        """The records that were not given on in this version. One without an id cannot be: it is kept apart. FieldMissing where
        the list begins with many of them and nothing else: that is no odd record but another shape."""
        named = [item for item in items if item.get(self.listed.id_name)]
        if len(named) < len(items):
            self.nameless.update({self._id(item): item for item in items if not item.get(self.listed.id_name)})
            alien = len(items) > 1 and not named and not self.seen
            items = [item for item in items if item[self.listed.id_name]] if alien else named
        new = [item for item in items if self.seen.get(self._id(item)) != _version(item)]
        self.seen.update({self._id(item): _version(item) for item in new})
        return new

    def numbered(self, since: datetime | None) -> Generator[list[Row], None, datetime | None]:
        """Page after page, without an overlap. Gives the time from which to read again, or None when nothing was missed.

        A record that changes in the meantime moves to the end and pulls the others forward over a page's edge, and a
        record on the edge is then on no page that was read. It is missed once: the list has a record more than were seen,
        and the one that moved was seen twice. What was missed is not older than that one had been.
        """
        ids: dict[str, datetime | None] = {}
        moved: list[datetime] = []
        for number in range(1, MAX_PAGES):
            page = self.page(number, since)
            moved += [stamp for item in page.items if (stamp := ids.get(self._id(item)))]
            ids.update({self._id(item): modified(item) for item in page.items if self._id(item) not in ids})
            yield self.fresh(page.items)
            if not page.more(number):
                break
            if since is None and number == 1 and not self._fits(page) and page.boundary:
                return page.boundary
        if page.count is None or len(ids) >= page.count:
            return None
        return min(moved, default=since or BEGINNING).replace(microsecond=0) - BOUNDARY

    def onward(self, since: datetime) -> Generator[list[Row], None, None]:
        """Always the first page, each time from the time of the last record: nothing can be missed, so the night may end
        after any page. Costs the records of that second again. Where a whole page is of one second, by numbers."""
        for _ in range(MAX_PAGES):
            self.reached(since)
            page = self.page(1, since)
            yield self.fresh(page.items)
            if not page.more(1):
                self.missing = max((page.count or 0) - len(page.items), 0)
                return
            if not page.boundary or page.boundary <= since:
                yield from self._stuck(since)
                return
            since = page.boundary

    def _stuck(self, since: datetime) -> Iterator[list[Row]]:
        for _ in range(MAX_REREADS):
            if (yield from self.numbered(since)) is None:
                return
        self.whole = False
        self.job.notes.append(f"{self.tenant.name}: {self.listed.path} kept changing while it was read; the next night reads it again")

    def reached(self, since: datetime) -> None:
        """Nothing: a full list starts at its beginning each night."""

    def _fits(self, page: Page) -> bool:
        """Whether the rest of the list can be read tonight."""
        budget = self.job.settings.get(CARD.slug, "max_calls_per_night")
        left = [budget - self.job.api.calls.total()] if budget else []
        left += [page.calls_left] if page.calls_left is not None else []
        return not left or page.pages is None or page.pages - 1 <= min(left)

    def _id(self, item: Row) -> str:
        return str(item.get(self.listed.id_name) or f"without an id: {item}")

    def unread(self) -> list[Row]:
        """What the list has and this pass could not give on, as rows; the next night reads it again."""
        today = self.job.as_of
        found = [nameless_row(item, self.listed.path, self.tenant, today) for item in self.nameless.values()]
        found += [unlisted_row(self.missing, self.listed.path, self.tenant, today)] if self.missing else []
        kept = [one for one in found if one]
        if kept:
            self.whole = False
            count = sum(one["record_count"] for one in kept)
            self.job.notes.append(f"{self.tenant.name}: {count} of {self.listed.path} could not be read ({kept[0]['reason']}); "
                                  "rpt_exceptions names them; the next night reads them again")
        return kept


class Changes(Reading):
    """A pass that remembers in the night's cursors how far it has come."""

    def reached(self, since: datetime) -> None:
        self.job.next_cursors[cursor_of(self.listed, self.tenant)] = since.isoformat()


def read(job: Job, tenant: Tenant, listed: List, unread: list[Row], *, full: bool = False) -> Iterator[list[Row]]:
    """The records of a list that changed since the last night, oldest change first; all of them where it is `full` or was
    never read. A list that one night can hold is read page after page, in as few calls as there are pages; one that it
    cannot is read so that the next night goes on where this one ends. `unread` takes the rows of what the list did not give.
    """
    reading = (Reading if full else Changes)(job, tenant, listed)
    stored = None if full else job.cursors.get(cursor_of(listed, tenant))
    since = datetime.fromisoformat(stored) if stored else (yield from reading.numbered(None))
    if since:
        yield from reading.onward(since)
    unread += reading.unread()
    if reading.whole and reading.started and not full:
        overlap = timedelta(seconds=job.settings.get(CARD.slug, "overlap_seconds"))
        job.next_cursors[cursor_of(listed, tenant)] = (reading.started - overlap).isoformat()


def page_of(answer: Response, path: str) -> Page:
    """An answer's page; the records stand under the list's own name."""
    body = answer.json
    paging = body.get("pagination") or {}
    left = str(answer.headers.get("X-DayLimit-Remaining") or "")
    return Page(body[path] or [], Record(body).timestamp("DateTimeUTC"), paging.get("itemCount"), paging.get("pageCount"),
                int(left) if left.isascii() and left.isdecimal() else None)


def _version(item: Row) -> str:
    return str(item.get("UpdatedDateUTC"))


def cursor_of(listed: List, tenant: Tenant) -> str:
    """The name under which a night remembers how far it read a list."""
    return f"{listed.path}:{tenant.id}"
