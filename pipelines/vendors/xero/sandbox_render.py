"""The invented company's books as Xero writes them: JSON objects as its list endpoints return them, with Decimals for amounts.

Shapes follow the vendor's recorded examples and its OpenAPI file; where the two differ, the recordings.

What Xero has no record for is what its users enter instead: a sale that is paid at once and a deposit taken on an invoice are an
invoice and its payment of that day, money that the bank received from a customer is a prepayment, and what is written off is a
credit note, as a manual journal cannot be posted to receivables (unverified).
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal

from pipelines.sandbox.entities import CREDITS, ZERO, CreditNote, Customer, Deposit, DocLine, Invoice, Payment, Refund
from pipelines.sandbox.world import World
from pipelines.vendors.xero.sandbox_shapes import (
    MAX_NAME,
    Json,
    contact_ref,
    day_fields,
    empty_document,
    guid,
    line_items,
    payment_object,
    payout,
    quoted,
    record_id,
    refunded_note,
    stamp,
    updated_fields,
)
from pipelines.vendors.xero.sandbox_split import CREDIT_KINDS, PaidOut, Spent, Split, style

# What the API calls an invoice that is not issued (Invoice.Status in the OpenAPI file).
UNAPPROVED = {"draft": "DRAFT", "pending_approval": "SUBMITTED"}
# Whether a contact's balances count documents that are dated after today (unverified); the control account does not.
BALANCES_COUNT_FUTURE = False


class Renderer:
    """Renders one world. `refresh` reads anew what was spent on what, and every contact's balance."""

    def __init__(self, world: World):
        self.world = world
        self.contact_stamps: dict[str, tuple[int, datetime]] = {}
        self.parts: dict[str, dict[str, int]] = {}
        self.once: dict[str, dict[str, Spent]] = defaultdict(dict)  # by source: all that was ever spent, by id
        self.splits: dict[str, Split] = {}
        self.settled: dict[str, list[Spent]] = {}
        self.paid_out: dict[str, list[Refund]] = {}  # by source
        self.balances: dict[str, list[Decimal]] = {}
        self.bills: dict[str, list[Decimal]] = {}
        self.invoiced: set[str] = set()
        self.refresh()

    # -- who spent what ---------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Split every payment and sum the balances of every contact."""
        self.splits, self.settled, self.paid_out = {}, defaultdict(list), defaultdict(list)
        for payment in self.world.payments.values():
            split = self.splits[payment.id] = self._split(payment)
            for spent in split.spent:
                self.once[spent.source][spent.id] = spent
                if not (payment.deleted or payment.voided):
                    self.settled[spent.invoice_id].append(spent)
            for part in split.paid_out if not (payment.deleted or payment.voided) else ():
                self.paid_out[part.source].append(part.refund)
        self._balance()

    def _part(self, payment: Payment, document_id: str) -> int:
        """The position of a document among all that the payment was ever spent on."""
        known = self.parts.setdefault(payment.id, {})
        return known.setdefault(document_id, len(known))

    def _split(self, payment: Payment) -> Split:
        """Credits are allocated first, in order; the rest of what invoices and refunds took is money."""
        credits = [[CREDIT_KINDS[a.kind], a.doc_id, a.amount] for a in payment.applications if a.kind in CREDITS]
        way, number, split = style(payment), int(payment.id), Split()
        for application in payment.applications:
            if application.kind == "refund":
                kind, source = ("overpayment" if way == "payment" else way), number
                if credits:
                    kind, source, _ = credits[0]
                split.paid_out.append(PaidOut(kind, guid(kind, int(source)), self.world.refunds[application.doc_id]))
            if application.kind != "invoice":
                continue
            left, part = application.amount, self._part(payment, application.doc_id)
            while left and credits:
                kind, source, there = credits[0]
                taken = min(left, there)
                place = (application.doc_id, taken, application.date)
                split.spent.append(Spent(kind, guid(kind, int(source)), guid("allocation", number, part), *place))
                left, credits[0][2] = left - taken, there - taken
                if taken == there:
                    credits.pop(0)
                part += 0x100
            if left:
                kind = "payment" if way == "payment" else "allocation"
                place = (application.doc_id, left, application.date)
                source = guid(way, number)
                split.spent.append(Spent(way, source, guid(kind, number, part), *place))
        if way != "payment":
            split.credit = (way, payment.amount, payment.unapplied)
        elif back := payment.unapplied + sum((one.refund.amount for one in split.paid_out if int(one.source[-12:]) == number), ZERO):
            split.credit = ("overpayment", back, payment.unapplied)
        return split

    def _balance(self) -> None:
        """{contact: [outstanding, overdue]}: credits reduce what is outstanding, never what is overdue.

        So in the vendor's recorded contacts (Outstanding 118.9 beside Overdue 136.9, and -43.6 beside 40.0). Amounts are raw,
        in the documents' currencies, not converted (the OpenAPI file's description of Balances).
        """
        world = self.world
        self.balances = defaultdict(lambda: [ZERO, ZERO])
        for invoice in world.invoices.values():
            contact_id = self.contact_of(invoice.customer_id).id
            self.invoiced.add(contact_id)
            if self._outside(invoice, invoice.issued) or (owed := world.open_amount(invoice)) <= ZERO:
                continue
            cell = self.balances[contact_id]
            cell[0] += owed
            if world.due_date(invoice) < world.today:
                cell[1] += owed
        for note in world.credit_notes.values():
            self.invoiced.add(self.contact_of(note.customer_id).id)
            if not self._outside(note, note.issued):
                self.balances[self.contact_of(note.customer_id).id][0] -= world.open_amount(note)
        for payment in world.payments.values():
            if not self._outside(payment, payment.date) and payment.unapplied:
                self.balances[self.contact_of(payment.customer_id).id][0] -= payment.unapplied
        for received in world.deposits.values():
            if not self._outside(received, received.date):
                self.balances[self.contact_of(received.customer_id).id][0] -= world.open_amount(received)

    def _outside(self, record: Invoice | CreditNote | Payment | Deposit, day: date) -> bool:
        """Whether a record is no part of its contact's balances."""
        return record.deleted or getattr(record, "voided", False) or (day > self.world.today and not BALANCES_COUNT_FUTURE)

    def contact_state(self, customer: Customer) -> tuple:
        """What a contact shows besides what its version counts."""
        cells = (self.balances.get(customer.id), self.bills.get(customer.id))
        return (customer.version, str(cells), customer.id in self.invoiced)

    # -- contacts ---------------------------------------------------------------------------------------------------

    def contact_of(self, customer_id: str) -> Customer:
        """The customer whose contact documents carry: a sub-customer's is merged into its parent's."""
        customer = self.world.customers[customer_id]
        while customer.parent_id:
            customer = self.world.customers[customer.parent_id]
        return customer

    def contact_stamp(self, customer: Customer) -> datetime:
        """When somebody last changed the contact; a balance that moves does not move it."""
        version, moment = self.contact_stamps.get(customer.id, (-1, customer.modified))
        if version != customer.version:
            moment = customer.modified if customer.version else customer.created
            self.contact_stamps[customer.id] = (customer.version, moment)
        return moment

    def contact(self, customer: Customer) -> Json:
        """A Contact as a page shows it; a list without pages leaves out the last fields."""
        shown: Json = {"ContactID": record_id("customer", customer.id)}
        merged = customer.parent_id is not None
        if merged:
            shown["MergedToContactID"] = record_id("customer", self.contact_of(customer.id).id)
        if customer.crm_id:
            shown["ContactNumber"] = self.world.refer("account", customer.crm_id)
        shown |= {
            "ContactStatus": "ACTIVE" if customer.active and not merged else "ARCHIVED", "Name": customer.name[:MAX_NAME],
            "EmailAddress": customer.email or "", "BankAccountDetails": "",
            "Addresses": [{"AddressType": kind, "City": "", "Region": "", "PostalCode": "", "Country": ""} for kind in ("STREET", "POBOX")],
            "Phones": [], "UpdatedDateUTC": stamp(self.contact_stamp(customer)), "ContactGroups": [],
            "IsSupplier": customer.id in self.bills, "IsCustomer": customer.id in self.invoiced, "DefaultCurrency": customer.currency,
        }  # fmt: skip
        if customer.website:
            shown["Website"] = customer.website
        if term := self.world.terms.get(customer.terms_id or ""):
            shown["PaymentTerms"] = {"Sales": {"Day": term.days, "Type": "DAYSAFTERBILLDATE"}}
        receivable = self.balances.get(customer.id) or [ZERO, ZERO]
        payable = self.bills.get(customer.id) or [ZERO, ZERO]
        if not merged and any((*receivable, *payable)):
            shown["Balances"] = {
                name: {"Outstanding": cells[0], "Overdue": cells[1]}
                for name, cells in (("AccountsReceivable", receivable), ("AccountsPayable", payable))
            }
        return shown | {"ContactPersons": [], "HasAttachments": False, "HasValidationErrors": False}

    def _contact_ref(self, customer_id: str) -> Json:
        contact = self.contact_of(customer_id)
        return contact_ref(record_id("customer", contact.id), contact.name[:MAX_NAME])

    # -- invoices and credit notes ----------------------------------------------------------------------------------

    def _document(self, document: Invoice | CreditNote) -> Json:
        net = sum((line.amount for line in document.lines), ZERO)
        kind = "invoice" if isinstance(document, Invoice) else "credit_note"
        return {
            "Contact": self._contact_ref(document.customer_id), **day_fields("Date", document.issued),
            "LineAmountTypes": "Exclusive", "LineItems": line_items(document.lines, document.tax, guid("line", int(document.id)), kind),
            "SubTotal": net, "TotalTax": document.tax, "Total": net + document.tax, **updated_fields(document.modified),
            "CurrencyCode": document.currency,
        }  # fmt: skip

    def _due(self, invoice: Invoice) -> date | None:
        """The due date; None where it is missing and the contact's terms give the same."""
        if invoice.due is not None:
            return invoice.due
        term = self.world.terms.get(self.contact_of(invoice.customer_id).terms_id or "")
        by_terms = invoice.issued + timedelta(days=term.days if term else 0)
        due = self.world.due_date(invoice)
        return None if due == by_terms else due

    def _reference(self, document: Invoice | CreditNote) -> str:
        return self.world.refer("deal", document.deal_ref) if document.deal_ref else ""

    def invoice(self, invoice: Invoice) -> Json:
        """An Invoice of type ACCREC. A void keeps its Total and AmountDue; nothing but the status says that it is void."""
        common = self._document(invoice)
        gone = invoice.deleted or invoice.voided
        due, open_amount = self._due(invoice), common["Total"] if gone else self.world.open_amount(invoice)
        spent = [] if gone else self.settled.get(invoice.id, [])
        paid = sum((s.amount for s in spent if s.kind == "payment"), ZERO)
        credited = sum((s.amount for s in spent if s.kind != "payment"), ZERO)
        status = UNAPPROVED.get(invoice.status) or ("PAID" if open_amount <= ZERO else "AUTHORISED")
        shown = {
            "Type": "ACCREC", "InvoiceID": record_id("invoice", invoice.id), "InvoiceNumber": invoice.number,
            "Reference": self._reference(invoice), **self._settlements(spent, quoted(invoice.rate)),
            "AmountDue": open_amount, "AmountPaid": paid, "AmountCredited": credited, "SentToContact": invoice.sent,
            "CurrencyRate": quoted(invoice.rate), "HasErrors": False, "IsDiscounted": False, "HasAttachments": False, **common,
            "Status": "DELETED" if invoice.deleted else "VOIDED" if invoice.voided else status,
        }  # fmt: skip
        if due is not None:
            shown |= day_fields("DueDate", due)
        if status == "PAID" and spent and not gone:
            shown["FullyPaidOnDate"] = day_fields("Date", max(s.date for s in spent))["Date"]
        return shown

    def _settlements(self, spent: list[Spent], rate: Decimal) -> Json:
        """What an invoice shows of the payments and credits that settled it."""
        lists: Json = {"Payments": [], "CreditNotes": [], "Prepayments": [], "Overpayments": []}
        for part in spent:
            when = day_fields("Date", part.date)
            if part.kind == "payment":
                lists["Payments"].append({
                    "PaymentID": part.id, "Date": when["Date"], "Amount": part.amount, "CurrencyRate": rate,
                    "HasAccount": False, "HasValidationErrors": False,
                })  # fmt: skip
            else:
                name = {"credit_note": "CreditNote", "prepayment": "Prepayment", "overpayment": "Overpayment"}[part.kind]
                lists[f"{name}s"].append({f"{name}ID": part.source, "ID": part.source, "AppliedAmount": part.amount, **when})
        return lists

    def _allocations(self, source: str, gone: bool) -> list[Json]:
        """All that a credit was ever spent on. An allocation that was taken back stays, as deleted."""
        shown = []
        for part in self.once.get(source, {}).values():
            invoice = self.world.invoices[part.invoice_id]
            current = part in self.settled.get(part.invoice_id, ())
            reference = {"InvoiceID": record_id("invoice", invoice.id), "InvoiceNumber": invoice.number}
            shown.append({
                "AllocationID": part.id, "Amount": part.amount, "Date": day_fields("Date", part.date)["Date"],
                "Invoice": empty_document(reference), "IsDeleted": gone or not current,
            })  # fmt: skip
        return shown

    def credit_note(self, note: CreditNote) -> Json:
        """A CreditNote of type ACCRECCREDIT with its allocations."""
        common, credit_id = self._document(note), record_id("credit_note", note.id)
        gone = note.deleted or note.voided
        left = common["Total"] if gone else self.world.open_amount(note)
        shown = {
            "CreditNoteID": credit_id, "CreditNoteNumber": note.number, "Payments": self._payouts(credit_id), "ID": credit_id,
            "CurrencyRate": quoted(note.rate), "Type": "ACCRECCREDIT", "Reference": self._reference(note), "RemainingCredit": left,
            "SentToContact": note.sent, "Allocations": self._allocations(credit_id, gone), "HasAttachments": False, **common,
        }  # fmt: skip
        status = "DELETED" if note.deleted else "VOIDED" if note.voided else "AUTHORISED" if left > ZERO else "PAID"
        return shown | {"Status": status}

    # -- money ------------------------------------------------------------------------------------------------------

    def money(self, payment: Payment) -> list[tuple[str, Json]]:
        """(endpoint, object) of all that one payment of the world is, or ever was, in Xero."""
        gone, split = payment.deleted or payment.voided, self.splits[payment.id]
        current = {spent.id for spent in split.spent}
        found = [
            ("Payments", self._payment(payment, spent, gone or spent.id not in current))
            for spent in self.once.get(guid("payment", int(payment.id)), {}).values()
        ]
        found += [("Payments", self._payout(part, payment, gone)) for part in split.paid_out]
        if split.credit:
            way, total, left = split.credit
            endpoint = "Overpayments" if way == "overpayment" else "Prepayments"
            found.append((endpoint, self._credit(payment, way, total, left, gone)))
        return found

    def deposit(self, received: Deposit) -> list[tuple[str, Json]]:
        """(endpoint, object) of money that the bank received from a customer: a prepayment, allocated when its invoice is there."""
        return [("Prepayments", self._credit(received, "prepayment", received.amount, self.world.open_amount(received), received.deleted))]

    def _payment(self, payment: Payment, spent: Spent, gone: bool) -> Json:
        invoice = self.world.invoices[spent.invoice_id]
        document = {
            "Type": "ACCREC", "InvoiceID": record_id("invoice", invoice.id), "InvoiceNumber": invoice.number,
            "Contact": self._contact_ref(invoice.customer_id), "CurrencyCode": payment.currency,
        }  # fmt: skip
        head = (spent.id, payment.date, spent.amount, payment.rate, payment.modified)
        return payment_object(*head, "ACCRECPAYMENT", document, gone)

    def _payout(self, part: PaidOut, payment: Payment, gone: bool) -> Json:
        """The Payment that gave a credit back; it names the credit as the OpenAPI file says, a credit note as recorded."""
        refund, contact = part.refund, self._contact_ref(part.refund.customer_id)
        head = (record_id("refund", refund.id), refund.date, refund.amount, refund.rate, max(refund.modified, payment.modified))
        if part.kind == "credit_note":
            number = self.world.credit_notes[str(int(part.source[-12:]))].number
            return payment_object(*head, "ARCREDITPAYMENT", refunded_note(part.source, number, contact, refund.currency), gone)
        name = "Overpayment" if part.kind == "overpayment" else "Prepayment"
        document = {f"{name}ID": part.source, "ID": part.source, "Contact": contact, "CurrencyCode": refund.currency}
        return payment_object(*head, f"AR{name.upper()}PAYMENT", document, gone, key=name)

    def _payouts(self, source: str) -> list[Json]:
        """What a credit shows of the payments that gave it back."""
        return [payout(record_id("refund", one.id), one.date, one.amount, one.rate) for one in self.paid_out.get(source, ())]

    def _credit(self, payment: Payment | Deposit, way: str, total: Decimal, left: Decimal, gone: bool) -> Json:
        """An Overpayment or Prepayment; its line is the money itself, without tax."""
        credit_id, name = guid(way, int(payment.id)), "Overpayment" if way == "overpayment" else "Prepayment"
        line = DocLine(None, name, name, None, None, total)
        return {
            f"{name}ID": credit_id, "ID": credit_id, "CurrencyRate": quoted(payment.rate), "Type": f"RECEIVE-{name.upper()}",
            "Reference": "", "RemainingCredit": left, "Allocations": self._allocations(credit_id, gone),
            "Payments": self._payouts(credit_id), "HasAttachments": False,
            "Contact": self._contact_ref(payment.customer_id), **day_fields("Date", payment.date),
            "Status": "VOIDED" if gone else "AUTHORISED" if left else "PAID", "LineAmountTypes": "NoTax",
            "LineItems": line_items([line], ZERO, guid("line", int(payment.id)), way), "SubTotal": total, "TotalTax": ZERO,
            "Total": total, **updated_fields(payment.modified), "CurrencyCode": payment.currency,
        }  # fmt: skip

    def refund(self, refund: Refund) -> list[tuple[str, Json]]:
        """A credit note that was paid out at once, and the payment that did it; what gave a credit back is shown with that."""
        if refund.way != "receipt":
            return []
        note_id, net = record_id("refund_note", refund.id), refund.amount - refund.tax
        contact, rate = self._contact_ref(refund.customer_id), quoted(refund.rate)
        line = DocLine(refund.sku, refund.sku or "Services", refund.sku or "Services", Decimal(1), net, net)
        paid = payout(record_id("refund", refund.id), refund.date, refund.amount, refund.rate)
        note = {
            "CreditNoteID": note_id, "CreditNoteNumber": refund.number, "Payments": [paid], "ID": note_id, "CurrencyRate": rate,
            "Type": "ACCRECCREDIT", "Reference": "", "RemainingCredit": ZERO, "Allocations": [], "HasAttachments": False,
            "Contact": contact, **day_fields("Date", refund.date), "Status": "PAID", "LineAmountTypes": "Exclusive",
            "LineItems": line_items([line], refund.tax, guid("line", int(refund.id)), "refund"), "SubTotal": net,
            "TotalTax": refund.tax, "Total": refund.amount, **updated_fields(refund.modified), "CurrencyCode": refund.currency,
        }  # fmt: skip
        document = refunded_note(note_id, refund.number, contact, refund.currency)
        head = (paid["PaymentID"], refund.date, refund.amount, refund.rate, refund.modified)
        return [("CreditNotes", note), ("Payments", payment_object(*head, "ARCREDITPAYMENT", document, False))]
