"""The ageing report of the QuickBooks sandbox, from its own records, as of the day that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from pipelines.sandbox.clock import Clock
from pipelines.sandbox.entities import CENT, ZERO
from pipelines.sandbox.world import World
from pipelines.vendors.quickbooks.sandbox_render import stamp
from pipelines.vendors.quickbooks.sandbox_table import Record, Table

CREDITS = ("CreditMemo", "Deposit", "JournalEntry")
BUCKETS = ("Current", "1 - 30", "31 - 60", "61 - 90", "91 and over")


class Ageing:
    """What customers owe at the end of a day: of the world's own facts, or of records from a folder."""

    def __init__(self, world: World, clock: Clock, tables: dict[str, Table], *, from_records: bool):
        self.world, self.clock, self.tables, self.from_records = world, clock, tables, from_records

    def open_items(self, on: date) -> Iterable[tuple[str, date, Decimal]]:
        """(customer, date that it ages from, amount in home currency) of all that is open at the end of `on`.

        Invoices age from their due date; credits and unapplied payments are negative and age from their own date.
        """
        world = self.world
        for invoice in world.invoices.values():
            if not invoice.deleted and invoice.issued <= on:
                yield invoice.customer_id, world.due_date(invoice), world.open_amount(invoice, on) * invoice.rate
        for note in world.credit_notes.values():
            if not note.deleted and note.issued <= on:
                yield note.customer_id, note.issued, -world.open_amount(note, on) * note.rate
        for payment in world.payments.values():
            if not payment.deleted and payment.date <= on:
                yield payment.customer_id, payment.date, -payment.unapplied_on(on) * payment.rate
        for received in world.deposits.values():
            if not received.deleted and received.date <= on:
                yield received.customer_id, received.date, -world.open_amount(received, on) * received.rate

    def open_records(self, on: date) -> Iterable[tuple[str, date, Decimal]]:
        """The same from given records: what each has open as it stands, and what it was settled with after `on`; and the lines of
        deposits, purchases and journal entries on receivables."""
        dated = {record.id: record.document()["TxnDate"]
                 for entity in ("Invoice", "CreditMemo", "Payment", "Deposit", "Purchase", "JournalEntry")
                 for record in self.tables[entity].records.values()}
        later, unused = self._settled_later(on, dated), self._paid_ahead(on, dated)
        for entity, age_from, open_field, sign in (("Invoice", "DueDate", "Balance", 1), ("CreditMemo", "TxnDate", "RemainingCredit", -1),
                                                   ("Payment", "TxnDate", "UnappliedAmt", -1)):
            for record in self.tables[entity].records.values():
                document = record.document()
                if document["TxnDate"] > on.isoformat():
                    continue
                left = Decimal(document.get(open_field, document.get("Balance", 0)) or 0)
                left += unused.get(record.id, ZERO) if entity == "Payment" else later.get((entity, record.id), ZERO)
                day = date.fromisoformat(document.get(age_from, document["TxnDate"]))
                yield document["CustomerRef"]["value"], day, sign * left * Decimal(document.get("ExchangeRate", 1))
        yield from self._entries(on, dated)

    def _settled_later(self, on: date, dated: dict[str, str]) -> dict[tuple[str, str], Decimal]:
        """{(entity, id): amount} that payments after `on` settled or used."""
        found: dict[tuple[str, str], Decimal] = {}
        for record in self.tables["Payment"].records.values():
            for amount, kind, txn in _links(record.document()):
                if kind in ("Invoice", "CreditMemo") and _settles_after(record.document(), kind, txn, on, dated):
                    found[kind, txn] = found.get((kind, txn), ZERO) + amount
        return found

    def _paid_ahead(self, on: date, dated: dict[str, str]) -> dict[str, Decimal]:
        """{payment: amount} of what it paid of documents, or gave back, that are dated after `on`: until then it is unapplied."""
        found: dict[str, Decimal] = {}
        for record in self.tables["Payment"].records.values():
            if Decimal(record.document().get("TotalAmt", 0)):
                ahead = [amount for amount, kind, txn in _links(record.document())
                         if kind in ("Invoice", "Check", "Expense") and dated.get(txn, "") > on.isoformat()]
                found[record.id] = sum(ahead, ZERO)
        return found

    def _entries(self, on: date, dated: dict[str, str]) -> Iterable[tuple[str, date, Decimal]]:
        """What deposits, purchases and journal entries post on receivables, less what payments used of it."""
        accounts = {record.id for record in self.tables["Account"].records.values()
                    if record.document().get("AccountType") == "Accounts Receivable"}
        used: dict[str, Decimal] = {}
        for record in self.tables["Payment"].records.values():
            for amount, kind, txn in _links(record.document()):
                if kind not in ("Invoice", "CreditMemo") and not _settles_after(record.document(), kind, txn, on, dated):
                    used[txn] = used.get(txn, ZERO) + amount
        for entity, detail in (("Deposit", "DepositLineDetail"), ("Purchase", "AccountBasedExpenseLineDetail"),
                               ("JournalEntry", "JournalEntryLineDetail")):
            for record in self.tables[entity].records.values():
                document = record.document()
                for line in document.get("Line") or ():
                    inside = line.get(detail) or {}
                    if inside.get("AccountRef", {}).get("value") not in accounts or document["TxnDate"] > on.isoformat():
                        continue
                    named = inside.get("Entity") or document.get("EntityRef") or {}
                    customer = named.get("EntityRef", named).get("value")
                    debit = entity == "Purchase" or inside.get("PostingType") == "Debit"
                    left = max(Decimal(line["Amount"]) - used.pop(record.id, ZERO), ZERO)
                    in_home = left * Decimal(document.get("ExchangeRate", 1))
                    yield customer, date.fromisoformat(document["TxnDate"]), in_home if debit else -in_home

    def report(self, on: date) -> dict[str, Any]:
        """The AgedReceivables report of a date: strings, "" for a zero cell, jobs as sections of their parent."""
        cells: dict[str, list[Decimal]] = {}
        for customer_id, day, value in self.open_records(on) if self.from_records else self.open_items(on):
            value = value.quantize(CENT, ROUND_HALF_UP)  # each document is posted in whole cents
            if value:
                bucket = min(4, max(0, ((on - day).days + 29) // 30))
                cells.setdefault(customer_id, [ZERO] * 5)[bucket] += value
        cells = {customer_id: row for customer_id, row in cells.items() if any(row)}
        rows = _report_rows(self.tables["Customer"].records, cells)
        totals = [sum((row[n] for row in cells.values()), ZERO) for n in range(5)]
        if rows:
            rows.append({"Summary": _cells("TOTAL", None, totals, "0.00"), "type": "Section", "group": "GrandTotal"})
        options = {"report_date": on.isoformat(), "NoReportData": "false" if cells else "true"}
        columns = [("", "Customer"), *((title, "Money") for title in (*BUCKETS, "Total"))]
        return {
            "Header": {
                "Time": stamp(self.clock.now()), "ReportName": "AgedReceivables", "EndPeriod": on.isoformat(),
                "SummarizeColumnsBy": "Total", "Currency": self.world.base_currency,
                "Option": [{"Name": name, "Value": value} for name, value in options.items()],
            },
            "Columns": {"Column": [{"ColTitle": title, "ColType": kind} for title, kind in columns]},
            "Rows": {"Row": rows} if rows else {},
        }  # fmt: skip


def _links(payment: dict[str, Any]) -> Iterable[tuple[Decimal, str, str]]:
    """(amount, kind, id) of what a payment links."""
    for line in payment.get("Line") or ():
        for linked in line.get("LinkedTxn") or ():
            yield Decimal(line["Amount"]), linked["TxnType"], linked["TxnId"]


def _settles_after(payment: dict[str, Any], kind: str, txn: str, on: date, dated: dict[str, str]) -> bool:
    """Whether a payment settles or uses a transaction only after the end of `on`: on the latest day of the payment, the transaction
    and the credits that pay it; a credit is used on the latest day of all that is linked."""
    ends = [other for _, linked, other in _links(payment) if other == txn or linked in CREDITS or kind in CREDITS]
    return max(payment["TxnDate"], *(dated.get(end, "") for end in ends)) > on.isoformat()


def _cells(title: str, customer_id: str | None, row: list[Decimal], zero: str = "") -> dict[str, Any]:
    first = {"value": title} | ({"id": customer_id} if customer_id else {})
    texts = [format(value.quantize(Decimal("0.01")), "f") if value else zero for value in (*row, sum(row, ZERO))]
    return {"ColData": [first, *({"value": text} for text in texts)]}


def _report_rows(customers: dict[str, Record], cells: dict[str, list[Decimal]]) -> list[dict[str, Any]]:
    """Rows by name; a parent whose jobs owe is a section: its own amounts in the header, the jobs as rows below."""
    names = {customer_id: str(record.value("DisplayName")) for customer_id, record in customers.items()}
    children: dict[str | None, list[str]] = {}
    for customer_id, record in customers.items():
        parent = (record.value("ParentRef") or {}).get("value") if b'"ParentRef"' in record.body else None
        children.setdefault(parent, []).append(customer_id)

    def below(parent: str | None) -> tuple[list[dict[str, Any]], list[Decimal]]:
        rows, total = [], [ZERO] * 5
        for customer_id in sorted(children.get(parent, ()), key=lambda c: names[c].lower()):
            own = cells.get(customer_id)
            inner, inner_total = below(customer_id) if customer_id in children else ([], [ZERO] * 5)
            if own is None and not inner:
                continue
            whole = [a + b for a, b in zip(own or [ZERO] * 5, inner_total, strict=True)]
            total = [a + b for a, b in zip(total, whole, strict=True)]
            name = names[customer_id]
            if inner:
                rows.append({
                    "Header": _cells(name, customer_id, own or [ZERO] * 5), "Rows": {"Row": inner},
                    "Summary": _cells(f"Total {name}", None, whole), "type": "Section",
                })  # fmt: skip
            else:
                rows.append(_cells(name, customer_id, own or [ZERO] * 5) | {"type": "Data"})
        return rows, total

    return below(None)[0]
