"""QuickBooks Online's objects as raw tables.

Changed records are found by `query` on MetaData.LastUpdatedTime, oldest change first, in pages of 1,000; transactions
that were deleted by `cdc`, and when its limits are exceeded by comparing all ids with the ones known here.
Source: https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import dlt

from pipelines.http import Api, ApiError, RetryPolicy, limits_in_force
from pipelines.landing import Fields, Job, chunks, deletion, resource, row
from pipelines.oauth import RotatingToken, TokenStore
from pipelines.settings import Settings
from pipelines.vendors.quickbooks import CARD
from pipelines.vendors.quickbooks.counts import conditions, counts
from pipelines.vendors.quickbooks.refusals import REMEDIES, later, wait
from pipelines.vendors.quickbooks.report import aged_receivables
from pipelines.vendors.quickbooks.rows import (
    ENTRIES,
    account_row,
    credit_memo_rows,
    customer_row,
    entry_rows,
    invoice_rows,
    modified,
    payment_rows,
    rate_row,
    ref,
    refund_row,
    sales_receipt_rows,
    term_row,
)
from pipelines.vendors.quickbooks.tables import TABLES

MAX_PAGES = 10_000
# How often a repeated page is asked for again, and an object is read on where its pages did not join.
MAX_REREADS = 5
# CDC looks back 30 days and returns 1,000 objects at most, without saying that there were more
# (Intuit developer blog, 2023-08-24). One day is kept as margin.
CDC_DAYS = 29
CDC_OBJECTS = 1000
# Ids in one `IN (...)`: the query travels in the URL.
IDS_A_QUERY = 100
SANDBOX_HOST = "https://sandbox-quickbooks.api.intuit.com"
# Intuit replaces the refresh token about every 24 hours and the old one stops working.
# Source: https://developer.intuit.com/app/developer/qbo/docs/develop/authentication-and-authorization/faq
TOKEN_HOST = "https://oauth.platform.intuit.com"
TOKEN_PATH = "oauth2/v1/tokens/bearer"  # (unverified)
Row = dict[str, Any]
Pages = Iterator[tuple[str, list[Row]]]

# The cursor of what was deleted; a full reading keeps it.
DELETION_CURSORS = ("cdc",)
# Entities that are deleted for good, with their raw tables.
TRANSACTIONS = {
    "Invoice": "invoices", "SalesReceipt": "sales_receipts", "CreditMemo": "credit_memos", "Payment": "payments",
    "RefundReceipt": "refund_receipts", **{entity: table for entity, (table, *_) in ENTRIES.items()},
}
RECEIVABLE_ACCOUNTS = "SELECT * FROM Account WHERE AccountType = 'Accounts Receivable' AND Active IN (true, false) MAXRESULTS 1000"


def connect(settings: Settings, tokens: TokenStore) -> Api:
    """An Api for the configured company, or for the sandbox. It only reads: every other method is refused."""
    secrets, network = settings.secrets[CARD.slug], settings.values["network"]
    local = f"{settings.sandbox_url}/{CARD.slug}"
    host = SANDBOX_HOST if settings.get(CARD.slug, "environment") == "sandbox" else CARD.base_url
    retry = RetryPolicy(network["attempts"], network["retry_base_seconds"], network["timeout_seconds"], wait)
    sandboxed = settings.profile == "sandbox"
    auth = RotatingToken(
        local if sandboxed else TOKEN_HOST, TOKEN_PATH, vendor=CARD.slug, account=secrets["realm_id"],
        client_id=secrets["client_id"], client_secret=secrets["client_secret"], first_refresh_token=secrets["refresh_token"],
        store=tokens, retry=retry, remedies={
            400: "this sandbox was used with another data folder, which has its newest token: restart the sandbox" if sandboxed else
                 "the refresh token is no longer valid: connect the app again and set QUICKBOOKS_REFRESH_TOKEN",
            401: "check QUICKBOOKS_CLIENT_ID and QUICKBOOKS_CLIENT_SECRET",
            403: "check that the app may use the accounting scope",
        },
    )
    return Api(
        f"{local if sandboxed else host}/v3/company/{secrets['realm_id']}", vendor=CARD.slug, auth=auth,
        limits=limits_in_force(settings, CARD.limits), read_only=True, retry=retry,
        remedies=REMEDIES, later=later,
    )


@dlt.source(name="quickbooks")
def source(job: Job) -> list[Any]:
    """The night's changes of every object that the canonical contract needs, as dlt resources."""
    def of(name: str, pages: Pages, *more: str) -> Any:
        return resource(job, name, [TABLES[table] for table in (name, *more)], pages)

    given: dict[str, set[str]] = {entity: set() for entity in ENTRIES}
    return [
        of("preferences", company(job), "exchange_rates"),
        of("terms", records(job, "Term", lambda item: [("terms", [term_row(item)])])),
        of("customers", records(job, "Customer", lambda item: [("customers", [customer_row(item)])])),
        of("invoices", records(job, "Invoice", lambda item: invoice_rows(item, job)), "invoice_lines"),
        of("sales_receipts", records(job, "SalesReceipt", lambda item: sales_receipt_rows(item, job)), "sales_receipt_lines"),
        of("credit_memos", records(job, "CreditMemo", lambda item: credit_memo_rows(item, job)), "credit_memo_lines"),
        of("payments", records(job, "Payment", payment_rows), "payment_applications"),
        of("refund_receipts", records(job, "RefundReceipt", lambda item: [("refund_receipts", [refund_row(item)])])),
        of("accounts", entries(job, given), *(table for tables in ENTRIES.values() for table in tables[:2])),
        resource(job, "deletions", [TABLES[name] for name in TRANSACTIONS.values()], deletions(job)),
        of("counts", counts(job, given)),
        of("aged_receivables", aged_receivables(job)),
    ]


def company(job: Job) -> Pages:
    """The company's name, home currency, closing date (AccountingInfoPrefs.BookCloseDate: the last day on which the books are
    closed) and, where there are several currencies, the rates that it uses."""
    preferences = _ask(job, "SELECT * FROM Preferences")
    if "cdc" not in job.cursors:  # what is deleted from the first night on
        job.next_cursors["cdc"] = (_time(preferences) - _overlap(job)).isoformat()
    info = _ask(job, "SELECT * FROM CompanyInfo")
    for item in _items(preferences, "Preferences"):
        currency = item.get("CurrencyPrefs", {})
        name = next((company.get("CompanyName") for company in _items(info, "CompanyInfo")), None)
        several = Fields(currency).flag("MultiCurrencyEnabled")
        books = Fields(item.get("AccountingInfoPrefs") or {})
        yield "preferences", [row(books, id="company", company_name=name, multicurrency=several,
                                  home_currency=ref(currency, "HomeCurrency"), book_close_date=books.date("BookCloseDate"))]
        if several:
            yield from records(job, "ExchangeRate", lambda rate: [("exchange_rates", [rate_row(rate)])])


def records(job: Job, entity: str, rows_of: Callable[[Row], list[tuple[str, list[Row]]]]) -> Pages:
    """Every record of an entity that changed since the last night, oldest change first.

    A record that changes or is deleted while its entity is paged pulls the others forward over a page's edge. So each
    page begins with the last record of the page before; where it does not, reading goes on from that record's time.
    """
    since, started, last = job.cursors.get(entity), None, {}
    for _ in range(MAX_REREADS):
        before: frozenset[str] = frozenset()
        for page in range(MAX_PAGES):
            answer, items = _new_page(job, entity, changed_query(entity, since, page), before)
            started = started or _time(answer)
            if page and (not items or _identity(items[0]) != _identity(last)):
                break
            yield from _by_table(rows_of(item) for item in items[1 if page else 0 :])
            if len(items) < CARD.page_sizes["query"]:
                job.next_cursors[entity] = (started - _overlap(job)).isoformat()
                return
            last, before = items[-1], frozenset(map(_identity, items))
            reached = modified(last)
            if reached:  # where the next night goes on if this one is cut off
                job.next_cursors[entity] = reached.isoformat()
        stamp = modified(last)
        since = stamp.isoformat() if stamp else since
    job.next_cursors.pop(entity, None)
    job.notes.append(f"{entity} kept changing while it was read; the next night starts where this one did")


def entries(job: Job, given: Mapping[str, set[str]]) -> Pages:
    """The accounts of receivables, and every deposit, purchase and journal entry with a line on one of them. One that was changed
    so that it has none any more is gone. The ids of all that came are added to `given`, by entity."""
    accounts = _items(_ask(job, RECEIVABLE_ACCOUNTS), "Account")
    yield "accounts", [account_row(item) for item in accounts]
    ids = frozenset(item["Id"] for item in accounts)
    for entity, (table, *_) in ENTRIES.items():
        known = job.known_ids(table) if entity in job.cursors else set()

        def rows_of(item: Row, entity: str = entity, table: str = table, known: set[str] = known) -> list[tuple[str, list[Row]]]:
            given[entity].add(item["Id"])
            return entry_rows(item, entity, ids) or ([(table, [deletion(TABLES[table], item["Id"])])] if item["Id"] in known else [])

        yield from records(job, entity, rows_of)


def _new_page(job: Job, entity: str, query: str, before: frozenset[str]) -> tuple[Row, list[Row]]:
    """The answer to a page's query and its records; a page that repeats the one before hides another: ask again."""
    for _ in range(MAX_REREADS):
        answer = _ask(job, query)
        items = list({_identity(item): item for item in _items(answer, entity)}.values())
        if not items or set(map(_identity, items)) != before:
            return answer, items
    raise RuntimeError(f"quickbooks: {entity} gave the same page {MAX_REREADS} times; run again later")


def changed_query(entity: str, since: str | None, page: int) -> str:
    """The query for one page, which begins with the last record of the page before."""
    size = CARD.page_sizes["query"]
    return (f"SELECT * FROM {entity}{conditions(entity, since)} ORDERBY MetaData.LastUpdatedTime "
            f"STARTPOSITION {page * (size - 1) + 1} MAXRESULTS {size}")


def deletions(job: Job) -> Pages:
    """Transactions that were deleted since the last night, and in a full reading all that are gone. The first night knows none that
    could have been."""
    since = job.cursors.get("cdc")
    if not since:
        return
    if not TRANSACTIONS.keys() & job.cursors.keys():
        yield from reconciled(job)
        return
    if job.known_at - datetime.fromisoformat(since) > timedelta(days=CDC_DAYS):
        job.notes.append(f"the last night is more than {CDC_DAYS} days ago: deletions found by comparing all ids")
        yield from reconciled(job)
        return
    params = {"entities": ",".join(TRANSACTIONS), "changedSince": since}
    answer = job.api.get("cdc", params, label="cdc").json
    answers = [part for response in answer["CDCResponse"] for part in response["QueryResponse"]]
    if sum(len(_items({"QueryResponse": part}, entity)) for part in answers for entity in TRANSACTIONS) >= CDC_OBJECTS:
        job.notes.append(f"more than {CDC_OBJECTS} changes: deletions found by comparing all ids")
        yield from reconciled(job)
        return
    for part in answers:
        for entity, table in TRANSACTIONS.items():
            gone = [item["Id"] for item in part.get(entity, []) if item.get("status") == "Deleted"]
            yield table, [deletion(TABLES[table], record_id) for record_id in gone]
    job.next_cursors["cdc"] = (_time(answer) - _overlap(job)).isoformat()


def reconciled(job: Job) -> Pages:
    """Deletions by comparing the ids known here with the ids that the vendor lists.

    A list that shifts while it is paged can miss an id, and a false deletion is a wrong number: each missing id is asked
    for by name before it counts as deleted.
    """
    size, started = CARD.page_sizes["query"], _time(_ask(job, "SELECT * FROM CompanyInfo"))
    for entity, table in TRANSACTIONS.items():
        missing = job.known_ids(table)
        for page in range(MAX_PAGES):
            ids = _ids(job, entity, f"STARTPOSITION {page * size + 1} MAXRESULTS {size}")
            missing -= ids
            if len(ids) < size:
                break
        for group in chunks(sorted(missing), IDS_A_QUERY):
            names = ", ".join(f"'{record_id}'" for record_id in group if record_id.isdigit())
            missing -= _ids(job, entity, f"WHERE Id IN ({names}) MAXRESULTS {size}") if names else set()
        yield table, [deletion(TABLES[table], record_id) for record_id in sorted(missing)]
    job.next_cursors["cdc"] = (started - _overlap(job)).isoformat()


def _ask(job: Job, query: str) -> Row:
    return job.api.get("query", {"query": query}, label=query.partition(" FROM ")[2].split()[0]).json


def _ids(job: Job, entity: str, rest: str) -> set[str]:
    return {item["Id"] for item in _items(_ask(job, f"SELECT Id FROM {entity} {rest}"), entity)}


def _items(answer: Row, entity: str) -> list[Row]:
    """An empty page has no key at all."""
    return answer["QueryResponse"].get(entity, [])


def _identity(item: Row) -> str:
    """The record's id; exchange rates have none and go by currency and day."""
    return item.get("Id") or f"{item.get('SourceCurrencyCode')}@{item.get('AsOfDate')}"


def _time(answer: Row) -> datetime:
    """The vendor's own time, which every answer carries: the only clock that its cursors go by."""
    return datetime.fromisoformat(answer["time"])


def _overlap(job: Job) -> timedelta:
    return timedelta(seconds=job.settings.get(CARD.slug, "overlap_seconds"))


def _by_table(groups: Iterable[list[tuple[str, list[Row]]]]) -> list[tuple[str, list[Row]]]:
    """The rows of many records, gathered by table."""
    gathered: dict[str, list[Row]] = {}
    for group in groups:
        for name, rows in group:
            gathered.setdefault(name, []).extend(rows)
    return list(gathered.items())


def check(api: Api, settings: Settings) -> list[str]:
    """What keeps this vendor from being read, one sentence with its fix for each; empty: nothing."""
    try:
        api.get("query", {"query": "SELECT * FROM CompanyInfo"}, label="doctor")
        api.get("reports/AgedReceivables", label="doctor")
    except ApiError as error:
        return [str(error)]
    return []
