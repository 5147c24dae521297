"""Acorn Books' lists as raw tables.

Every list is read page by page, in the order of ids, with what changed `since` the last night. Nothing leaves a list: a
record that was deleted stays in it as `deleted`, so a record that changes while its list is read can show up on a later
page, but never hide one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt

from pipelines.http import Api, ApiError, Bearer, RetryPolicy, limits_in_force
from pipelines.landing import Fields, Job, Table, deletion, resource, row
from pipelines.oauth import TokenStore
from pipelines.settings import Settings
from pipelines.vendors.acorn import CARD

MAX_PAGES = 10_000

Row = dict[str, Any]
Pages = Iterator[tuple[str, list[Row]]]

_HEAD = {"id": "text", "version": "integer", "modified_at": "timestamp", "url": "text"}
# `rate`: units of the home currency for one unit of `currency`.
_MONEY = {"customer_id": "text", "currency": "text", "home_currency": "text", "rate": "rate"}
_DOCUMENT = {
    **_HEAD, **_MONEY, "number": "text", "status": "text", "sent": "flag", "issue_date": "date", "net": "money", "tax": "money",
    "total": "money", "open_amount": "money", "deal_id": "text", "memo": "text",
}
# The columns are called as Acorn calls its fields; the tables as its lists, but for the two that lie inside records.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("customers", {
            **_HEAD, "name": "text", "company_name": "text", "email": "text", "website": "text", "parent_id": "text",
            "currency": "text", "crm_id": "text", "active": "flag", "terms_days": "integer",
        }),
        Table("invoices", {**_DOCUMENT, "due_date": "date", "terms_days": "integer"}),
        Table("credit_notes", {**_DOCUMENT, "refunded_amount": "money"}),
        Table("document_lines", {
            "document_id": "text", "version": "integer", "line_number": "integer", "kind": "text", "sku": "text",
            "description": "text", "quantity": "quantity", "unit_price": "money", "amount": "money", "service_date": "date",
        }),
        Table("payments", {**_HEAD, **_MONEY, "kind": "text", "payment_date": "date", "amount": "money", "unapplied": "money"}),
        Table("applications", {
            "payment_id": "text", "version": "integer", "line_number": "integer", "invoice_id": "text",
            "credit_note_id": "text", "amount": "money",
        }),
        Table("rates", {**_HEAD, "from_currency": "text", "to_currency": "text", "rate": "rate", "rate_date": "date"}),
        Table("balances", {"customer_id": "text", "name": "text", "home_currency": "text", "balance": "money", "report_date": "date"}),
    )
}
# List -> the field of its records that holds rows of their own, the table of those, and their column for the record's id.
INSIDE = {
    "invoices": ("lines", "document_lines", "document_id"),
    "credit_notes": ("lines", "document_lines", "document_id"),
    "payments": ("applications", "applications", "payment_id"),
}
# What a record cannot do without.
NEEDED = {
    "invoices": ("customer_id", "issue_date", "total", "open_amount"),
    "credit_notes": ("customer_id", "issue_date", "total", "open_amount"),
    "payments": ("customer_id", "payment_date", "amount", "unapplied"),
}


def connect(settings: Settings, tokens: TokenStore) -> Api:
    """An Api for the token's company, or for the sandbox. It only reads: every other method is refused."""
    return Api(
        f"{settings.sandbox_url}/{CARD.slug}" if settings.profile == "sandbox" else CARD.base_url, vendor=CARD.slug,
        auth=Bearer(settings.secrets[CARD.slug]["token"]), limits=limits_in_force(settings, CARD.limits), allowed=CARD.allowed,
        retry=RetryPolicy.of(settings),
        remedies={401: "check ACORN_TOKEN"},
    )


@dlt.source(name="acorn")
def source(job: Job) -> list[Any]:
    """The night's changes of every list, as dlt resources."""
    def of(name: str, pages: Pages) -> Any:
        inside = [TABLES[INSIDE[name][1]]] if name in INSIDE else []
        return resource(job, name, [TABLES[name], *inside], pages)

    changing = ("customers", "invoices", "credit_notes", "payments", "rates")
    return [*(of(name, changes(job, name)) for name in changing), of("balances", balances(job))]


def changes(job: Job, name: str) -> Pages:
    """What changed in a list since the last night, deletions included; the vendor's own clock says where the next one starts."""
    asked, started = {"since": job.cursors[name]} if name in job.cursors else {}, None
    for answer in listed(job, name, asked):
        started = started or answer["now"]
        yield name, [record_row(name, item) for item in answer["items"]]
        if name in INSIDE:
            yield INSIDE[name][1], [found for item in answer["items"] for found in rows_inside(name, item)]
    job.next_cursors[name] = started


def balances(job: Job) -> Pages:
    """What every customer owes on the business date by the ledger's own account: the control total of the night."""
    for answer in listed(job, "balances", {"date": job.as_of.isoformat()}):
        yield "balances", [read("balances", {**item, "report_date": job.as_of}) for item in answer["items"]]


def listed(job: Job, name: str, asked: dict[str, str]) -> Iterator[Row]:
    """The answers to a list's pages. Raises RuntimeError for a list that does not end."""
    for page in range(1, MAX_PAGES + 1):
        answer = job.api.get(name, {**asked, "page": page}, label=name).json
        yield answer
        if page >= answer["pages"]:
            return
    raise RuntimeError(f"{CARD.slug}: {name} has more than {MAX_PAGES} pages; run again later")


def record_row(name: str, item: Row) -> Row:
    """A record of a list as its raw row, or as the row that says that it is gone."""
    return deletion(TABLES[name], item["id"]) if item.get("deleted") else read(name, item)


def rows_inside(name: str, item: Row) -> list[Row]:
    """What a record holds as rows of its version; a deleted one holds nothing."""
    field, table, owner = INSIDE[name]
    return [read(table, {**part, owner: item["id"], "version": item.get("version"), "line_number": number})
            for number, part in enumerate(item.get(field) or [], 1)]


def read(name: str, item: Row) -> Row:
    """An object as a row of a table: every column by its type, and what could not be read or is missing as a problem."""
    fields = Fields(item)
    readers = {"text": fields.text, "integer": fields.integer, "flag": fields.flag, "date": fields.date, "timestamp": fields.timestamp}
    columns = {column: readers[kind](column) if kind in readers else fields.number(column, kind)
               for column, kind in TABLES[name].columns.items()}
    fields.problems += [f"{column}: is missing" for column in NEEDED.get(name, ()) if item.get(column) in (None, "")]
    return row(fields, **columns)


def check(api: Api, settings: Settings) -> list[str]:
    """What keeps this vendor from being read, one sentence with its fix for each; empty: nothing."""
    try:
        api.get("customers", {"page": 1}, label="doctor")
    except ApiError as error:
        return [str(error)]
    return []
