"""QuickBooks Online's objects as raw tables.

Changed records are found by `query` on MetaData.LastUpdatedTime, oldest change first, in pages of 1,000; transactions
that were deleted by `cdc`, and when its limits are exceeded by comparing all ids with the ones known here.
Source: https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/data-queries
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import dlt

from pipelines.http import Api, ApiError, RetryPolicy, limits_in_force
from pipelines.landing import Fields, Job, Table, chunks, deletion, resource, row
from pipelines.oauth import RotatingToken, TokenStore
from pipelines.settings import Settings
from pipelines.vendors.quickbooks import CARD

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
# The customer field that holds the CRM's record id; QuickBooks customers have no custom fields over REST.
CRM_ID_FIELD = "ResaleNum"
SUBTOTAL = "SubTotalLineDetail"
GROUP = "GroupLineDetail"
DISCOUNT = "DiscountLineDetail"

Row = dict[str, Any]
Pages = Iterator[tuple[str, list[Row]]]

_DOCUMENT = {
    "id": "text", "doc_number": "text", "txn_date": "date", "customer_id": "text", "currency": "text",
    "exchange_rate": "rate", "total": "money", "tax": "money", "balance": "money", "home_total": "money",
    "private_note": "text", "memo": "text", "terms_id": "text", "crm_deal_id": "text", "sync_token": "text", "url": "text",
    "modified_at": "timestamp",
}
_LINE = {
    "sync_token": "text", "line_number": "integer", "line_id": "text", "detail_type": "text", "description": "text",
    "item_id": "text", "item_name": "text", "quantity": "quantity", "unit_price": "money", "amount": "money",
    "service_date": "date",
}

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("customers", {
            "id": "text", "display_name": "text", "company_name": "text", "fully_qualified_name": "text", "email": "text",
            "website": "text", "parent_id": "text", "is_job": "flag", "active": "flag", "currency": "text",
            "balance": "money", "terms_id": "text", "crm_id": "text", "url": "text", "modified_at": "timestamp",
        }),
        Table("invoices", {**_DOCUMENT, "due_date": "date", "email_status": "text"}),
        Table("invoice_lines", {"invoice_id": "text", **_LINE}),
        Table("credit_memos", {**_DOCUMENT, "remaining_credit": "money"}),
        Table("credit_memo_lines", {"credit_memo_id": "text", **_LINE}),
        Table("payments", {
            "id": "text", "txn_date": "date", "customer_id": "text", "currency": "text", "exchange_rate": "rate",
            "total": "money", "unapplied": "money", "private_note": "text", "sync_token": "text", "url": "text",
            "modified_at": "timestamp",
        }),
        Table("payment_applications", {
            "payment_id": "text", "sync_token": "text", "line_number": "integer", "amount": "money", "txn_id": "text",
            "txn_type": "text",
        }),
        Table("refund_receipts", {
            "id": "text", "doc_number": "text", "txn_date": "date", "customer_id": "text", "currency": "text",
            "exchange_rate": "rate", "total": "money", "tax": "money", "private_note": "text", "sync_token": "text",
            "url": "text", "modified_at": "timestamp",
        }),
        Table("terms", {"id": "text", "name": "text", "due_days": "integer", "active": "flag", "modified_at": "timestamp"}),
        Table("preferences", {
            "id": "text", "company_name": "text", "home_currency": "text", "multicurrency": "flag", "book_close_date": "date",
        }),
        Table("exchange_rates", {
            "id": "text", "source_currency": "text", "target_currency": "text", "rate": "rate", "as_of": "date",
            "modified_at": "timestamp",
        }),
        Table("aged_receivables", {
            "customer_id": "text", "customer_name": "text", "bucket_current": "money", "bucket_1_30": "money",
            "bucket_31_60": "money", "bucket_61_90": "money", "bucket_91_plus": "money", "total": "money",
            "report_date": "date",
        }),
    )
}
# Entities that are deleted for good, with their raw tables.
TRANSACTIONS = {"Invoice": "invoices", "CreditMemo": "credit_memos", "Payment": "payments", "RefundReceipt": "refund_receipts"}
BUCKETS = ("bucket_current", "bucket_1_30", "bucket_31_60", "bucket_61_90", "bucket_91_plus", "total")


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
            400: "the refresh token is no longer valid: connect the app again and set QUICKBOOKS_REFRESH_TOKEN",
            401: "check QUICKBOOKS_CLIENT_ID and QUICKBOOKS_CLIENT_SECRET",
            403: "check that the app may use the accounting scope",
        },
    )
    return Api(
        f"{local if sandboxed else host}/v3/company/{secrets['realm_id']}", vendor=CARD.slug, auth=auth,
        limits=limits_in_force(settings, CARD.limits), read_only=True, retry=retry,
        remedies={401: "connect the app again", 403: "check QUICKBOOKS_REALM_ID and the app's accounting scope"},
    )


def wait(status: int, headers: Mapping[str, str], body: str, attempt: int) -> int:
    """Units to wait before a repeated call: no Retry-After is promised, the limits are per second and per minute."""
    return 2 ** (attempt - 1) if status != 429 else min(60, 4 ** (attempt - 1))


@dlt.source(name="quickbooks")
def source(job: Job) -> list[Any]:
    """The night's changes of every object that the canonical contract needs, as dlt resources."""
    def of(name: str, pages: Pages, *more: str) -> Any:
        return resource(job, name, [TABLES[table] for table in (name, *more)], pages)

    return [
        of("preferences", company(job), "exchange_rates"),
        of("terms", records(job, "Term", lambda item: [("terms", [term_row(item)])])),
        of("customers", records(job, "Customer", lambda item: [("customers", [customer_row(item)])])),
        of("invoices", records(job, "Invoice", lambda item: invoice_rows(item, job)), "invoice_lines"),
        of("credit_memos", records(job, "CreditMemo", lambda item: credit_memo_rows(item, job)), "credit_memo_lines"),
        of("payments", records(job, "Payment", payment_rows), "payment_applications"),
        of("refund_receipts", records(job, "RefundReceipt", lambda item: [("refund_receipts", [refund_row(item)])])),
        resource(job, "deletions", [TABLES[name] for name in TRANSACTIONS.values()], deletions(job)),
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
                                  home_currency=_ref(currency, "HomeCurrency"), book_close_date=books.date("BookCloseDate"))]
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
            reached = _modified(last)
            if reached:  # where the next night goes on if this one is cut off
                job.next_cursors[entity] = reached.isoformat()
        stamp = _modified(last)
        since = stamp.isoformat() if stamp else since
    job.next_cursors.pop(entity, None)
    job.notes.append(f"{entity} kept changing while it was read; the next night starts where this one did")


def _new_page(job: Job, entity: str, query: str, before: frozenset[str]) -> tuple[Row, list[Row]]:
    """The answer to a page's query and its records; a page that repeats the one before hides another: ask again."""
    for _ in range(MAX_REREADS):
        answer = _ask(job, query)
        items = list({_identity(item): item for item in _items(answer, entity)}.values())
        if not items or set(map(_identity, items)) != before:
            return answer, items
    raise RuntimeError(f"quickbooks: {entity} gave the same page {MAX_REREADS} times; run again later")


def changed_query(entity: str, since: str | None, page: int) -> str:
    """The query for one page, which begins with the last record of the page before.

    Inactive records of name lists are hidden unless asked for.
    """
    conditions = ["Active IN (true, false)"] if entity in ("Customer", "Term") else []
    conditions += [f"MetaData.LastUpdatedTime >= '{since}'"] if since else []
    size = CARD.page_sizes["query"]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return (f"SELECT * FROM {entity}{where} ORDERBY MetaData.LastUpdatedTime "
            f"STARTPOSITION {page * (size - 1) + 1} MAXRESULTS {size}")


def deletions(job: Job) -> Pages:
    """Transactions that were deleted since the last night. The first night knows none that could have been."""
    since = job.cursors.get("cdc")
    if not since:
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


def aged_receivables(job: Job) -> Pages:
    """The vendor's own ageing report on the business date: the control total of the night."""
    params = {"report_date": job.as_of.isoformat(), "aging_method": "Report_Date"}
    report = job.api.get("reports/AgedReceivables", params, label="AgedReceivables").json
    rows = report.get("Rows", {})
    yield "aged_receivables", [report_row(cells, job.as_of) for cells in (*report_cells(rows), *report_total(rows))]


def report_cells(rows: Row) -> Iterator[list[Row]]:
    """The cells of every customer's own line, at any depth; totals and headings without amounts are left out."""
    for item in rows.get("Row", []):
        heading = item.get("Header", {}).get("ColData", [])
        if any(cell.get("value") for cell in heading[1:]):
            yield heading
        if item.get("ColData") and item["ColData"][0].get("id"):
            yield item["ColData"]
        yield from report_cells(item.get("Rows", {}))


def report_total(rows: Row) -> Iterator[list[Row]]:
    """The cells of the report's own total, a line of nobody: without an id and a name. A report without lines says that
    nobody owes anything."""
    if not rows.get("Row"):
        yield [{"value": None}, *({"value": "0.00"} for _ in BUCKETS)]
    for item in rows.get("Row", []):
        cells = item.get("Summary", {}).get("ColData")
        if item.get("group") == "GrandTotal" and cells:
            yield [{"value": None}, *cells[1:]]


def report_row(cells: list[Row], report_date: date) -> Row:
    """A line of the ageing report as its raw row; an empty cell is zero."""
    if len(cells) != len(BUCKETS) + 1:
        raise RuntimeError(f"quickbooks: AgedReceivables has {len(cells)} columns, not {len(BUCKETS) + 1}; set the report's "
                           "ageing to four periods of 30 days in the company's report settings")
    fields = Fields({name: cell.get("value") or "0" for name, cell in zip(BUCKETS, cells[1:], strict=True)})
    return row(
        fields, customer_id=cells[0].get("id"), customer_name=cells[0]["value"], report_date=report_date,
        **{name: fields.number(name) for name in BUCKETS},
    )


def customer_row(item: Row) -> Row:
    """A customer as its raw row."""
    fields = Fields(item)
    return row(
        fields, id=item["Id"], display_name=fields.text("DisplayName"), company_name=fields.text("CompanyName"),
        fully_qualified_name=fields.text("FullyQualifiedName"), email=_inner(item, "PrimaryEmailAddr").get("Address"),
        website=_inner(item, "WebAddr").get("URI"), parent_id=_ref(item, "ParentRef"), is_job=fields.flag("Job"),
        active=fields.flag("Active"), currency=_ref(item, "CurrencyRef"), balance=fields.number("Balance"),
        terms_id=_ref(item, "SalesTermRef"), crm_id=fields.text(CRM_ID_FIELD), url=_url("customerdetail?nameId", item),
        modified_at=_modified(item),
    )


def term_row(item: Row) -> Row:
    """A payment term as its raw row; `due_days` is absent on terms by day of the month."""
    fields = Fields(item)
    return row(fields, id=item["Id"], name=fields.text("Name"), due_days=fields.integer("DueDays"),
               active=fields.flag("Active"), modified_at=_modified(item))


def invoice_rows(item: Row, job: Job) -> list[tuple[str, list[Row]]]:
    """An invoice as its raw row, and its lines."""
    fields = Fields(item)
    invoice = document_row(item, fields, job, "invoice?txnId", due_date=fields.date("DueDate"),
                           email_status=fields.text("EmailStatus"))
    return [("invoices", [invoice]), ("invoice_lines", line_rows(item, "invoice_id"))]


def credit_memo_rows(item: Row, job: Job) -> list[tuple[str, list[Row]]]:
    """A credit memo as its raw row, and its lines."""
    fields = Fields(item)
    memo = document_row(item, fields, job, "creditmemo?txnId", remaining_credit=fields.number("RemainingCredit"))
    return [("credit_memos", [memo]), ("credit_memo_lines", line_rows(item, "credit_memo_id"))]


def document_row(item: Row, fields: Fields, job: Job, page: str, **more: Any) -> Row:
    """What invoices and credit memos have in common."""
    wanted = job.settings.get(CARD.slug, "deal_id_field")
    deal = next((custom.get("StringValue") for custom in item.get("CustomField") or [] if custom.get("Name") == wanted), None)
    tax = Fields(_inner(item, "TxnTaxDetail"))
    columns = dict(
        id=item["Id"], doc_number=fields.text("DocNumber"), txn_date=fields.date("TxnDate"),
        customer_id=_ref(item, "CustomerRef"), currency=_ref(item, "CurrencyRef"),
        exchange_rate=fields.number("ExchangeRate", "rate"), total=fields.number("TotalAmt"),
        tax=tax.number("TotalTax"), balance=fields.number("Balance"), home_total=fields.number("HomeTotalAmt"),
        private_note=fields.text("PrivateNote"), memo=_inner(item, "CustomerMemo").get("value"),
        terms_id=_ref(item, "SalesTermRef"), crm_deal_id=deal or None, sync_token=fields.text("SyncToken"),
        url=_url(page, item), modified_at=_modified(item), **more,
    )
    fields.problems += tax.problems + _missing(item)
    return row(fields, **columns)


def line_rows(item: Row, owner: str) -> list[Row]:
    """A document's lines: groups opened, sub-totals left out, discounts negative."""
    lines: list[Row] = []
    for line in item.get("Line") or []:
        inner = _inner(line, GROUP).get("Line") or [] if line.get("DetailType") == GROUP else [line]
        lines += [one for one in inner if one.get("DetailType") != SUBTOTAL]
    return [{owner: item["Id"], "sync_token": item.get("SyncToken"), **line_row(line, number)}
            for number, line in enumerate(lines, 1)]


def line_row(line: Row, number: int) -> Row:
    """One line of a document as its raw row."""
    detail = _inner(line, "SalesItemLineDetail")
    fields, details = Fields(line), Fields(detail)
    amount = fields.number("Amount")
    columns = dict(
        line_number=number, line_id=fields.text("Id"), detail_type=fields.text("DetailType"),
        description=fields.text("Description"), item_id=_ref(detail, "ItemRef"), item_name=_inner(detail, "ItemRef").get("name"),
        quantity=details.number("Qty", "quantity"), unit_price=details.number("UnitPrice"),
        amount=-amount if amount is not None and line.get("DetailType") == DISCOUNT else amount,
        service_date=details.date("ServiceDate"),
    )
    fields.problems += details.problems
    return row(fields, **columns)


def payment_rows(item: Row) -> list[tuple[str, list[Row]]]:
    """A payment as its raw row, and what it was applied to."""
    fields = Fields(item)
    fields.problems += _missing(item)
    payment = row(
        fields, id=item["Id"], txn_date=fields.date("TxnDate"), customer_id=_ref(item, "CustomerRef"),
        currency=_ref(item, "CurrencyRef"), exchange_rate=fields.number("ExchangeRate", "rate"),
        total=fields.number("TotalAmt"), unapplied=fields.number("UnappliedAmt"), private_note=fields.text("PrivateNote"),
        sync_token=fields.text("SyncToken"), url=_url("recvpayment?txnId", item), modified_at=_modified(item),
    )
    applications = []
    for line in item.get("Line") or []:
        for linked in line.get("LinkedTxn") or []:
            part = Fields(line)
            applications.append(row(
                part, payment_id=item["Id"], sync_token=item.get("SyncToken"), line_number=len(applications) + 1,
                amount=part.number("Amount"), txn_id=linked["TxnId"], txn_type=linked["TxnType"],
            ))
    return [("payments", [payment]), ("payment_applications", applications)]


def refund_row(item: Row) -> Row:
    """A refund receipt as its raw row."""
    fields = Fields(item)
    tax = Fields(_inner(item, "TxnTaxDetail"))
    columns = dict(
        id=item["Id"], doc_number=fields.text("DocNumber"), txn_date=fields.date("TxnDate"),
        customer_id=_ref(item, "CustomerRef"), currency=_ref(item, "CurrencyRef"),
        exchange_rate=fields.number("ExchangeRate", "rate"), total=fields.number("TotalAmt"), tax=tax.number("TotalTax"),
        private_note=fields.text("PrivateNote"), sync_token=fields.text("SyncToken"),
        url=_url("refundreceipt?txnId", item), modified_at=_modified(item),
    )
    fields.problems += tax.problems + _missing(item)
    return row(fields, **columns)


def _missing(item: Row) -> list[str]:
    """What a transaction cannot do without."""
    return [f"{name}: is missing" for name in ("TxnDate", "TotalAmt") if item.get(name) in (None, "")]


def rate_row(item: Row) -> Row:
    """A rate as its raw row: home units for one source unit."""
    fields = Fields(item)
    start, end, day = fields.text("SourceCurrencyCode"), fields.text("TargetCurrencyCode"), fields.date("AsOfDate")
    return row(fields, id=f"{start}>{end}@{day}", source_currency=start, target_currency=end,
               rate=fields.number("Rate", "rate"), as_of=day, modified_at=_modified(item))


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


def _modified(item: Row) -> datetime | None:
    return Fields(_inner(item, "MetaData")).timestamp("LastUpdatedTime")


def _ref(item: Row, name: str) -> str | None:
    return _inner(item, name).get("value") or None


def _inner(item: Row, name: str) -> Row:
    """An object inside a record; absent is the rule, null is possible."""
    return item.get(name) or {}


def _url(page: str, item: Row) -> str:
    return f"https://app.qbo.intuit.com/app/{page}={item['Id']}"


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
