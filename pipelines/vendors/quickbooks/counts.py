"""How many records QuickBooks has of each entity: the control of what was read. It is never a reason not to read it.

`SELECT COUNT(*)` answers QueryResponse.totalCount; the attribute is in Intuit's schema (QueryResponse in IntuitRestServiceDef.xsd)
and in python-quickbooks (ListMixin.count). It costs a call for each entity: a batch would take one, but is a POST, and a ledger
takes none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipelines.http import ApiError, ConnectionLost, redact
from pipelines.landing import Fields, Job, row
from pipelines.vendors.quickbooks.rows import ENTRIES

Row = dict[str, Any]

# Of these every record is kept.
WHOLE = ("Customer", "Term", "Invoice", "SalesReceipt", "CreditMemo", "Payment", "RefundReceipt")
# Inactive records of name lists are hidden unless asked for, from a count too (Intuit's data queries page).
WITH_INACTIVE = frozenset({"Customer", "Term"})


def counts(job: Job, given: Mapping[str, Collection[str]]) -> Iterator[tuple[str, list[Row]]]:
    """A row for each entity with the vendor's count of it: of all its records, or, where only those on receivables are kept, of those
    that changed since the last night, beside how many of them the night was `given`. One that cannot be had is a row without a
    count that says why."""
    found = []
    for entity in (*WHOLE, *ENTRIES):
        partly = entity in ENTRIES
        fields = Fields({})
        query = f"SELECT COUNT(*) FROM {entity}{conditions(entity, job.cursors.get(entity) if partly else None)}"
        try:
            fields = Fields(job.api.get("query", {"query": query}, label="count").json["QueryResponse"])
            count = fields.integer("totalCount")
            if count is None:
                fields.problems += [] if fields.problems else ["the answer has no totalCount"]
        except (ApiError, ConnectionLost, LookupError, TypeError, AttributeError) as error:
            count = None
            fields.problems.append(redact(str(error)) or type(error).__name__)
        if fields.problems:
            job.notes.append(f"{entity} could not be counted ({fields.problems[0]}): nothing was compared")
        found.append(row(fields, entity=entity, record_count=count, given_count=len(given.get(entity, ())) if partly else None,
                         counted_on=job.as_of))
    yield "counts", found


def conditions(entity: str, since: str | None) -> str:
    """The WHERE of a query for what changed since a time, or for everything."""
    found = ["Active IN (true, false)"] if entity in WITH_INACTIVE else []
    found += [f"MetaData.LastUpdatedTime >= '{since}'"] if since else []
    return f" WHERE {' AND '.join(found)}" if found else ""
