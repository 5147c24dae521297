"""Xero's trial balance: the balance of the control account of receivables, the control total of the books.

A report that cannot be read controls nothing, and stops nothing: its row says why, without a balance.
Shapes: ReportWithRow of the vendor's specification, and the recorded TrialBalance.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from pipelines.landing import row
from pipelines.vendors.xero.rows import Record, Row, Tenant

DEBIT, CREDIT, ZERO = "YTD Debit", "YTD Credit", Decimal(0)


def receivable_row(report: Any, account: Row, tenant: Tenant, report_date: date) -> Row:
    """The balance of one account in a trial balance, or the row's problem. Debit and Credit alone are only the last month of a
    balance-sheet account; its balance is in the year-to-date columns. An account that owes nothing is left out, so it is 0
    where the report names other accounts in columns that can be read."""
    fields = Record(account)
    fields.needs("AccountID")
    account_id = fields.text("AccountID")
    lines = list(_lines(report.get("Rows") if isinstance(report, dict) else None))
    heading = next((_texts(line) for line in lines if line.get("RowType") == "Header"), [])
    named = {found: line for line in lines if (found := _account_of(line))}
    balance = None
    if not {DEBIT, CREDIT} <= set(heading):
        fields.problems.append(f"TrialBalance has no columns {DEBIT!r} and {CREDIT!r} (there: {', '.join(heading)[:80] or 'none'})")
    elif not named:
        fields.problems.append("TrialBalance names no account")
    elif account_id in named:
        cells = Record(dict(zip(heading, _texts(named[account_id]), strict=False)))
        cells.problems = fields.problems
        if len(_texts(named[account_id])) == len(heading):
            debit, credit = (cells.number(name) if cells.text(name) else ZERO for name in (DEBIT, CREDIT))
            balance = None if debit is None or credit is None else debit - credit
        else:
            fields.problems.append(f"TrialBalance has a line of other columns for {fields.text('Name')}")
    elif account_id:
        balance = ZERO
    return row(fields, tenant_id=tenant.id, account_id=account_id, account_name=fields.text("Name"), balance=balance,
               report_date=report_date)


def unread_row(reason: str, tenant: Tenant, report_date: date) -> Row:
    """The row of a control total that there is none of."""
    fields = Record({})
    fields.problems.append(reason[:400])
    return row(fields, tenant_id=tenant.id, account_id=None, account_name=None, balance=None, report_date=report_date)


def _lines(rows: Any) -> Iterator[Row]:
    """Every line of a report that has cells, at any depth."""
    for line in rows if isinstance(rows, list) else ():
        if not isinstance(line, dict):
            continue
        if isinstance(line.get("Cells"), list):
            yield line
        yield from _lines(line.get("Rows"))


def _texts(line: Row) -> list[str]:
    return [str(cell.get("Value") or "") if isinstance(cell, dict) else "" for cell in line["Cells"]]


def _account_of(line: Row) -> str | None:
    first = line["Cells"][0] if line["Cells"] else None
    attributes = first.get("Attributes") if isinstance(first, dict) else None
    marks = [one for one in attributes or () if isinstance(one, dict)] if isinstance(attributes, list) else []
    return next((str(one["Value"]) for one in marks if one.get("Id") == "account" and one.get("Value")), None)
