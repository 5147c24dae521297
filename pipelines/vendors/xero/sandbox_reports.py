"""The reports of one organisation, from its own books as of the end of a day.

What is owed is written forward, document by document, from the day of issue through everything that settled it; a document in
a foreign currency is worth what is left of it at its own rate, rounded by itself, as Xero rounds each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from pipelines.sandbox.entities import ZERO
from pipelines.vendors.xero.sandbox_books import Books, Listing, Record
from pipelines.vendors.xero.sandbox_shapes import CENT, Json, guid, milliseconds, quoted

# list: (its sales types, what is still open of a record, the sign of what it adds to receivables)
OWED = {
    "Invoices": ({"ACCREC"}, "AmountDue", 1),
    "CreditNotes": ({"ACCRECCREDIT"}, "RemainingCredit", -1),
    "Overpayments": ({"RECEIVE-OVERPAYMENT", "AROVERPAYMENT"}, "RemainingCredit", -1),
    "Prepayments": ({"RECEIVE-PREPAYMENT", "ARPREPAYMENT"}, "RemainingCredit", -1),
}
SUBJECTS = (("CreditNote", "CreditNoteID"), ("Overpayment", "OverpaymentID"), ("Prepayment", "PrepaymentID"), ("Invoice", "InvoiceID"))


def worth(amount: Decimal, quote: Decimal) -> Decimal:
    """An amount in base currency at document units for one base unit."""
    return (amount / quote).quantize(CENT, ROUND_HALF_UP)


@dataclass
class Account:
    """A document's own account: what it was issued for, and what settled it by day. `known` is all that is written on it."""

    record: Record
    sign: int
    opened: date
    total: Decimal
    paid: list[tuple[date, Decimal]] = field(default_factory=list)
    credited: list[tuple[date, Decimal]] = field(default_factory=list)
    unexplained: Decimal = ZERO

    def settled(self, on: date) -> tuple[Decimal, Decimal]:
        """What was paid and what was credited up to the end of a day, which is not before the document's."""
        paid, credited = (sum((amount for day, amount in part if day <= on), ZERO) for part in (self.paid, self.credited))
        return paid, credited

    def left(self, on: date) -> Decimal:
        """What is open at the end of a day. What no entry explains of what is open now was so from the beginning."""
        return ZERO if on < self.opened else self.total - self.unexplained - sum(self.settled(on))

    def quote(self) -> Decimal:
        return Decimal(self.record.document().get("CurrencyRate") or 1)


def accounts_of(books: Books) -> dict[str, Account]:
    """Every sales document that counts, by id, with what its payments and allocations say."""
    found: dict[str, Account] = {}
    for name, (kinds, _, sign) in OWED.items():
        for record in books.tables[name].records.values():
            if record.type in kinds and record.status in ("AUTHORISED", "PAID"):
                total = Decimal(record.document().get("Total") or 0)
                found[record.id] = Account(record, sign, record.value("Date").date(), total)
    for day, document_id, amount, is_money in _entries(books):
        if (account := found.get(document_id)) is not None:
            (account.paid if is_money else account.credited).append((max(day, account.opened), amount))
    for account in found.values():
        _, name, _ = OWED[_list_of(account.record)]
        still = Decimal(account.record.document().get(name) or 0) if account.record.status == "AUTHORISED" else ZERO
        account.unexplained = account.total - sum(account.settled(date.max)) - still
    return found


def _list_of(record: Record) -> str:
    return next(name for name, (kinds, *_) in OWED.items() if record.type in kinds)


def _entries(books: Books) -> Iterator[tuple[date, str, Decimal, bool]]:
    """(day, document, amount, whether it is money) of everything that settles something; an allocation settles both ends."""
    for record in books.tables["Payments"].records.values():
        document = record.document()
        subject = next((document[key] for key, name in SUBJECTS if (document.get(key) or {}).get(name)), {})
        target = next((subject[name] for _, name in SUBJECTS if subject.get(name)), None)
        if record.status == "AUTHORISED" and target:
            yield record.value("Date").date(), target, Decimal(document["Amount"]), True
    for name in ("CreditNotes", "Overpayments", "Prepayments"):
        for record in books.tables[name].records.values():
            for part in record.document().get("Allocations") or () if record.status in ("AUTHORISED", "PAID") else ():
                if part.get("IsDeleted"):
                    continue
                day = Record("", b"", record.updated, None, None, part).value("Date") or record.value("Date")
                amount = Decimal(part["Amount"])
                yield day.date(), part["Invoice"]["InvoiceID"], amount, False
                yield day.date(), record.id, amount, False


def receivable(books: Books, on: date) -> Decimal:
    """What customers owe at the end of `on` in base currency, from the documents and not from the contacts' balances."""
    if books.from_records:
        return sum((one.sign * worth(one.left(on), one.quote()) for one in accounts_of(books).values()), ZERO)
    world, total = books.render.world, ZERO
    for documents, sign in ((world.invoices, 1), (world.credit_notes, -1)):
        for document in documents.values():
            if books.is_mine(document) and not (document.deleted or document.voided) and document.issued <= on:
                total += sign * worth(world.open_amount(document, on), quoted(document.rate))
    for payment in world.payments.values():
        if books.is_mine(payment) and not (payment.deleted or payment.voided) and payment.date <= on:
            total -= worth(payment.unapplied_on(on), quoted(payment.rate))
    for received in world.deposits.values():
        if books.is_mine(received) and not received.deleted and received.date <= on:
            total -= worth(world.open_amount(received, on), quoted(received.rate))
    return total


def trial_balance(books: Books, on: date) -> Json:
    """The TrialBalance report at the end of `on`: texts with two decimals, "" for an empty cell. It names the organisation's
    own accounts, and leaves out the control account where there is none."""
    if books.trial_balances:
        return books.trial_balances[0]
    owed = receivable(books, on)
    chart = [record.document() for record in books.tables["Accounts"].records.values()]
    ours = [one for one in chart if one.get("SystemAccount") == "DEBTORS"][:1]
    other = [one for one in chart if one.get("SystemAccount") == "HISTORICAL"][:1] or [{"AccountID": guid("account", 6), "Name": "Other"}]
    sections = [
        {"RowType": "Section", "Title": "Assets", "Rows": [_account_row(one, owed) for one in ours]},
        {"RowType": "Section", "Title": "Liabilities", "Rows": [_account_row(one, -owed) for one in other]},
    ]
    side = format(abs(owed), "f")
    total = {"RowType": "SummaryRow", "Cells": [{"Value": text} for text in ("Total", "0.00", "0.00", side, side)]}
    rows = [_header("Account", "Debit", "Credit", "YTD Debit", "YTD Credit"), *sections]
    titles = ["Trial Balance", books.name, f"As at {long_date(on)}"]
    return _report(books, "TrialBalance", "Trial Balance", titles, [*rows, {"RowType": "Section", "Title": "", "Rows": [total]}])


def aged_receivables(books: Books, contact_id: str, on: date) -> Json:
    """The AgedReceivablesByContact report at the end of `on`: open invoices, no buckets but the words "n days overdue"."""
    rows, totals = [], [ZERO] * 4
    known = accounts_of(books)
    for record in books.tables["Invoices"].view(Listing(order="Date")):
        account = known.get(record.id)
        if account is None or record.value("Contact.ContactID") != contact_id or not account.left(on):
            continue
        cells = [account.total, *account.settled(on), account.left(on)]
        totals = [a + b for a, b in zip(totals, cells, strict=True)]
        rows.append(_invoice_row(record, cells, on))
    header = _header("Date", "Number", "Due Date", "", "Total", "Paid", "Credited", "Due")
    blank = (f"{on} 00:00:00", "Opening Balance", "", "", "", "", "", "0.00")
    opening = {"RowType": "Row", "Cells": [{"Value": text} for text in blank]}
    contact = books.tables["Contacts"].records.get(contact_id)
    titles = ["Invoices", contact.document()["Name"] if contact else "", f"To {long_date(on)}", f"Showing payments to {long_date(on)}"]
    sections = [[opening], [*rows, _summary("Total", totals)], [_summary("Closing Balance", totals)]]
    shown = [header, *({"RowType": "Section", "Title": "", "Rows": part} for part in sections)]
    return _report(books, "AgedReceivablesByContact", "Aged Receivables By Contact", titles, shown)


def _report(books: Books, kind: str, name: str, titles: list[str], rows: list[Json]) -> Json:
    now = books.clock.now()
    return {
        "ReportID": kind, "ReportName": name, "ReportType": kind, "ReportTitles": titles, "ReportDate": long_date(now.date()),
        "UpdatedDateUTC": f"/Date({milliseconds(now)})/", "Fields": [], "Rows": rows,
    }  # fmt: skip


def long_date(day: date) -> str:
    """23 April 2019, as reports write it."""
    return f"{day.day} {day:%B %Y}"


def _header(*titles: str) -> Json:
    return {"RowType": "Header", "Cells": [{"Value": title} for title in titles]}


def _summary(title: str, totals: list[Decimal]) -> Json:
    texts = [title, "", "", "", *(format(total.quantize(CENT), "f") for total in totals)]
    return {"RowType": "SummaryRow", "Cells": [{"Value": text} for text in texts]}


def _account_row(account: Json, balance: Decimal) -> Json:
    """An account's row; its balance at the date is in the year-to-date columns, debit left of credit."""
    text = format(abs(balance), "f")
    month = ["0.00", ""] if balance >= ZERO else ["", "0.00"]
    name = f"{account.get('Name', '')} ({account['Code']})" if account.get("Code") else account.get("Name", "")
    texts = [name, *month, *([text, ""] if balance >= ZERO else ["", text])]
    attributes = [{"Value": account["AccountID"], "Id": "account"}]
    return {"RowType": "Row", "Cells": [{"Value": text, "Attributes": attributes} for text in texts]}


def _invoice_row(record: Record, cells: list[Decimal], on: date) -> Json:
    document, due = record.document(), record.value("DueDate")
    late = (on - due.date()).days if due else 0
    texts = [
        document.get("DateString", "").replace("T", " "), document.get("InvoiceNumber", ""), document.get("DueDateString", ""),
        f"{late} days overdue" if late > 0 else "", *(format(cell.quantize(CENT), "f") for cell in cells),
    ]  # fmt: skip
    attributes = [{"Value": record.id, "Id": "invoiceID"}]
    return {"RowType": "Row", "Cells": [{"Value": text, "Attributes": attributes} for text in texts]}
