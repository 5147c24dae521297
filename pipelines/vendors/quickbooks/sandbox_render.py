"""The world's facts in QuickBooks' JSON: shapes as recorded, absent instead of null, amounts as exact text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from pipelines.sandbox.entities import ZERO
from pipelines.sandbox.world import CreditNote, Customer, Deposit, DocLine, Invoice, Payment, Rate, Refund, Term, World
from pipelines.vendors.quickbooks.sandbox_query import PACIFIC

CURRENCY_NAMES = {"USD": "United States Dollar", "EUR": "Euro"}
ONE, TENTH, CENT = Decimal(1), Decimal("0.1"), Decimal("0.01")
DEAL_FIELD = "CRM Deal ID"
RECEIVABLES = {"value": "84", "name": "Accounts Receivable (A/R)"}
CHECKING = {"value": "35", "name": "Checking"}
BAD_DEBTS = {"value": "86", "name": "Bad debts"}
# How money was given back: the type that a payment links it by (TxnTypeEnum in Intuit's schema), and the PaymentType of its purchase.
PAID_OUT = {"check": ("Check", "Check"), "expense": ("Expense", "Cash")}
Json = dict[str, Any]


def exact(value: Any) -> orjson.Fragment:
    """How orjson writes a Decimal: as its own text. Raises TypeError for anything else that JSON does not have."""
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"{type(value).__name__} has no place in a QuickBooks record")


def dumps(value: Any) -> bytes:
    """JSON with Decimals as their exact text.

    The copy is for what is kept: orjson's own bytes hold on to their whole buffer, 8 KB for a record of one.
    """
    return bytes(memoryview(orjson.dumps(value, default=exact)))


def amount(value: Decimal) -> Decimal:
    """An amount as QuickBooks writes it: 0, else with a decimal point: 275.0, 26.06."""
    if not value:
        return ZERO
    plain = value.normalize()
    return plain.quantize(TENTH) if plain == plain.to_integral_value() else plain


def number(value: Decimal) -> Decimal:
    """A price, quantity or rate as QuickBooks writes it: 75, 22.5."""
    plain = value.normalize()
    return plain.quantize(ONE) if plain == plain.to_integral_value() else plain


def stamp(moment: datetime) -> str:
    """Company-local time with its offset, to the second."""
    return moment.astimezone(PACIFIC).isoformat(timespec="seconds")


class Renderer:
    """Renders one world. Balances of customers are summed once for each `refresh`."""

    def __init__(self, world: World):
        self.world = world
        self.items: dict[str, str] = {}
        self.children: dict[str, list[str]] = {}
        self.balances: dict[str, Decimal] = {}
        self.refresh()

    def refresh(self) -> None:
        """Sum the open balance of each customer anew, in its own currency."""
        world = self.world
        balances: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for invoice in world.invoices.values():
            if not invoice.deleted:
                balances[invoice.customer_id] += world.open_amount(invoice)
        for note in world.credit_notes.values():
            if not note.deleted:
                balances[note.customer_id] -= world.open_amount(note)
        for payment in world.payments.values():
            if not payment.deleted:
                balances[payment.customer_id] -= payment.unapplied
        for received in world.deposits.values():
            if not received.deleted:
                balances[received.customer_id] -= world.open_amount(received)
        self.balances = balances
        self.children = defaultdict(list)
        for customer in world.customers.values():
            if customer.parent_id:
                self.children[customer.parent_id].append(customer.id)

    def _head(self, record: Any, record_id: str) -> Json:
        meta = {"CreateTime": stamp(record.created), "LastUpdatedTime": stamp(record.modified)}
        return {"domain": "QBO", "sparse": False, "Id": record_id, "SyncToken": str(record.version), "MetaData": meta}

    def _currency(self, code: str) -> Json:
        return {"value": code, "name": CURRENCY_NAMES.get(code, code)}

    def _money(self, record: Any) -> Json:
        """Currency and, as the company has several, the rate."""
        fields = {"CurrencyRef": self._currency(record.currency)}
        if self.world.rates:
            fields["ExchangeRate"] = number(record.rate)
        return fields

    def _with_jobs(self, customer_id: str) -> Decimal:
        parts = (self._with_jobs(child) for child in self.children.get(customer_id, ()))
        return self.balances[customer_id] + sum(parts, ZERO)

    def full_name(self, customer: Customer) -> str:
        """Parent and name with a colon between."""
        parent = self.world.customers.get(customer.parent_id or "")
        return f"{self.full_name(parent)}:{customer.name}" if parent else customer.name

    def customer(self, customer: Customer) -> Json:
        """A Customer."""
        known = {
            "Taxable": True, "Job": customer.parent_id is not None, "BillWithParent": customer.parent_id is not None,
            "Balance": amount(self.balances[customer.id]), "BalanceWithJobs": amount(self._with_jobs(customer.id)),
            "CurrencyRef": self._currency(customer.currency), "PreferredDeliveryMethod": "Print",
            **self._head(customer, customer.id), "FullyQualifiedName": self.full_name(customer),
            "DisplayName": customer.name, "PrintOnCheckName": customer.name, "Active": customer.active,
        }  # fmt: skip
        if customer.parent_id:
            known |= {"ParentRef": {"value": customer.parent_id}, "Level": 1}
        if customer.company_name:
            known["CompanyName"] = customer.company_name
        if customer.email:
            known["PrimaryEmailAddr"] = {"Address": customer.email}
        if customer.website:
            known["WebAddr"] = {"URI": customer.website}
        if customer.crm_id:
            known["ResaleNum"] = self.world.refer("account", customer.crm_id)
        if customer.terms_id:
            known["SalesTermRef"] = {"value": customer.terms_id}
        return known

    def _item(self, sku: str) -> Json:
        return {"value": self.items.setdefault(sku, str(len(self.items) + 1)), "name": sku}

    def _lines(self, lines: list[DocLine], voided: bool) -> list[Json]:
        """The document's lines and, behind them, the sub-total without an Id. Discounts are positive here."""
        shown = []
        for position, line in enumerate(lines, 1):
            row: Json = {"Id": str(position), "LineNum": position}
            if line.description:
                row["Description"] = line.description
            worth = ZERO if voided else line.amount
            if line.kind == "discount":
                row |= {"Amount": amount(-worth), "DetailType": "DiscountLineDetail",
                        "DiscountLineDetail": {"PercentBased": False}}  # fmt: skip
                del row["LineNum"]
            else:
                detail: Json = {"ItemRef": self._item(line.sku or "Services")}
                if line.unit_price is not None and not voided:
                    detail |= {"UnitPrice": number(line.unit_price), "Qty": number(line.quantity)}
                detail["TaxCodeRef"] = {"value": "NON"}
                row |= {"Amount": amount(worth), "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}
            shown.append(row)
        items = ZERO if voided else sum((line.amount for line in lines if line.kind == "item"), ZERO)
        return [*shown, {"Amount": amount(items), "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}]

    def _customer(self, customer_id: str) -> Json:
        return {"value": customer_id, "name": self.world.customers[customer_id].name}

    def _document(self, document: Invoice | CreditNote) -> Json:
        """What sales documents have in common; a void shows as zeros and a note, and has no status."""
        custom = {"DefinitionId": "1", "Name": DEAL_FIELD, "Type": "StringType"}
        if document.deal_ref:
            custom["StringValue"] = self.world.refer("deal", document.deal_ref)
        gross = document.gross
        fields = {
            **self._head(document, document.id), "CustomField": [custom], "DocNumber": document.number,
            "TxnDate": document.issued.isoformat(), **self._money(document),
            "Line": self._lines(document.lines, document.voided),
            "TxnTaxDetail": {"TotalTax": amount(ZERO if document.voided else document.tax)},
            "CustomerRef": self._customer(document.customer_id), "TotalAmt": amount(gross),
            "ApplyTaxAfterDiscount": False, "PrintStatus": "NeedToPrint",
            "EmailStatus": "EmailSent" if document.sent else "NotSet",
            "Balance": amount(self.world.open_amount(document)),
        }  # fmt: skip
        if self.world.rates:
            fields["HomeTotalAmt"] = amount((gross * document.rate).quantize(CENT))
        if document.voided:
            fields["PrivateNote"] = "Voided"
        if document.memo:
            fields["CustomerMemo"] = {"value": document.memo}
        return fields

    def invoice(self, invoice: Invoice) -> Json:
        """An Invoice. Money that came with it is its Deposit, and no Payment."""
        parts = [one for one in self.world.applied.get(invoice.id, ()) if not one[0].deleted]
        with_it = sum((part.amount for payment, part in parts if payment.with_document), ZERO)
        fields = {
            "AllowIPNPayment": False, "AllowOnlinePayment": False, "AllowOnlineCreditCardPayment": False,
            "AllowOnlineACHPayment": False, **self._document(invoice),
            "LinkedTxn": [{"TxnId": payment.id, "TxnType": "Payment"} for payment, _ in parts if not payment.with_document],
        }  # fmt: skip
        if with_it:
            fields["Deposit"] = amount(with_it)
        if invoice.due is not None:
            fields["DueDate"] = invoice.due.isoformat()
        if invoice.terms_id:
            fields["SalesTermRef"] = {"value": invoice.terms_id}
        return fields

    def sales_receipt(self, sale: Invoice) -> Json:
        """A SalesReceipt: a sale that is paid as it is made, in the recorded shape."""
        return {**self._document(sale), "DepositToAccountRef": CHECKING}

    def credit_memo(self, note: CreditNote) -> Json:
        """A CreditMemo."""
        return {**self._document(note), "RemainingCredit": amount(self.world.open_amount(note))}

    def payment(self, payment: Payment) -> Json:
        """A Payment; one of zero links what is paid with the credit that pays it: a CreditMemo, JournalEntry or Deposit.

        A check that gives a payment back is marked on the payment itself (accurabooks.com, refund of an overpayment); that one which
        gives back a CreditMemo or Deposit is linked to it by a payment of zero is unverified.
        """
        lines = [
            {"Amount": amount(a.amount), "LinkedTxn": [{"TxnId": a.doc_id, "TxnType": self._linked_as(self.world.record(a))}]}
            for a in payment.applications
        ]
        fields = {
            "CustomerRef": self._customer(payment.customer_id),
            "DepositToAccountRef": {"value": "4"}, "TotalAmt": amount(ZERO if payment.voided else payment.amount),
            "UnappliedAmt": amount(payment.unapplied), "ProcessPayment": False, **self._head(payment, payment.id),
            "TxnDate": payment.date.isoformat(), **self._money(payment), "Line": [] if payment.voided else lines,
        }  # fmt: skip
        if payment.voided:
            fields["PrivateNote"] = "Voided"
        return fields

    def _linked_as(self, record: Invoice | CreditNote | Deposit | Refund) -> str:
        if isinstance(record, Refund):
            return PAID_OUT[record.way][0]
        if isinstance(record, CreditNote):
            return "JournalEntry" if record.journal else "CreditMemo"
        return "Deposit" if isinstance(record, Deposit) else "Invoice"

    def deposit(self, received: Deposit) -> Json:
        """A Deposit whose one line puts the money on the customer's receivables (DepositLineDetail in Intuit's schema)."""
        detail = {"Entity": self._customer(received.customer_id) | {"type": "CUSTOMER"}, "AccountRef": RECEIVABLES}
        line = {"Id": "1", "LineNum": 1, "Amount": amount(received.amount), "DetailType": "DepositLineDetail", "DepositLineDetail": detail}
        return {
            "DepositToAccountRef": CHECKING, "TotalAmt": amount(received.amount), **self._head(received, received.id),
            "TxnDate": received.date.isoformat(), **self._money(received), "Line": [line],
        }  # fmt: skip

    def journal_entry(self, entry: CreditNote) -> Json:
        """A JournalEntry that takes an amount off a customer's receivables, at the cost of bad debts."""
        customer = {"Type": "Customer", "EntityRef": self._customer(entry.customer_id)}
        details = ({"PostingType": "Debit", "AccountRef": BAD_DEBTS},
                   {"PostingType": "Credit", "Entity": customer, "AccountRef": RECEIVABLES})  # fmt: skip
        lines = [
            {"Id": str(position), "Description": entry.lines[0].description, "Amount": amount(entry.gross),
             "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail}
            for position, detail in enumerate(details)
        ]  # fmt: skip
        return {
            "Adjustment": False, **self._head(entry, entry.id), "DocNumber": entry.number, "TxnDate": entry.issued.isoformat(),
            **self._money(entry), "Line": lines, "TxnTaxDetail": {},
        }  # fmt: skip

    def purchase(self, refund: Refund) -> Json:
        """A Purchase that pays a customer's credit out of the bank: a check, or an expense."""
        detail = {"AccountRef": RECEIVABLES, "BillableStatus": "NotBillable", "TaxCodeRef": {"value": "NON"}}
        line = {"Id": "1", "Amount": amount(refund.amount), "DetailType": "AccountBasedExpenseLineDetail",
                "AccountBasedExpenseLineDetail": detail}  # fmt: skip
        return {
            "AccountRef": CHECKING, "PaymentType": PAID_OUT[refund.way][1], "Credit": False,
            "EntityRef": self._customer(refund.customer_id) | {"type": "Customer"}, "TotalAmt": amount(refund.amount),
            "PrintStatus": "NotSet", **self._head(refund, refund.id), "DocNumber": refund.number, "TxnDate": refund.date.isoformat(),
            **self._money(refund), "Line": [line],
        }  # fmt: skip

    def refund_receipt(self, refund: Refund) -> Json:
        """A RefundReceipt."""
        net = refund.amount - refund.tax
        line = DocLine(refund.sku, refund.sku or "Services", None, Decimal(1), net, net)
        return {
            **self._head(refund, refund.id), "DocNumber": refund.number, "TxnDate": refund.date.isoformat(),
            **self._money(refund), "Line": self._lines([line], False), "TxnTaxDetail": {"TotalTax": amount(refund.tax)},
            "CustomerRef": self._customer(refund.customer_id), "TotalAmt": amount(refund.amount),
            "ApplyTaxAfterDiscount": False, "PrintStatus": "NeedToPrint", "Balance": ZERO, "DepositToAccountRef": CHECKING,
        }  # fmt: skip

    def term(self, term: Term) -> Json:
        """A Term by days."""
        return {
            "Name": term.name, "Active": True, "Type": "STANDARD", "DiscountPercent": ZERO, "DueDays": term.days,
            "DiscountDays": 0, **self._head(term, term.id),
        }  # fmt: skip

    def exchange_rate(self, rate: Rate) -> Json:
        """An ExchangeRate, the one object without an Id."""
        return {
            "SyncToken": "0", "domain": "QBO", "sparse": False, "AsOfDate": rate.as_of.isoformat(),
            "SourceCurrencyCode": rate.source, "Rate": number(rate.rate), "TargetCurrencyCode": rate.target,
            "MetaData": {"LastUpdatedTime": stamp(rate.modified)},
        }  # fmt: skip

    def company_info(self) -> Json:
        """The one CompanyInfo."""
        name = self.world.company_name
        return {
            "CompanyName": name, "LegalName": name, "Country": "US", "Email": {"Address": "books@brightwater.example"},
            "FiscalYearStartMonth": "January", "SupportedLanguages": "en", "DefaultTimeZone": str(PACIFIC),
            **self._single(),
        }  # fmt: skip

    def preferences(self, several: bool) -> Json:
        """The one Preferences object; `several` is whether more than one currency is in use."""
        return {
            "AccountingInfoPrefs": {"UseAccountNumbers": False, "BookCloseDate": "2024-12-31"},
            "SalesFormsPrefs": {"AllowDiscount": True, "DefaultTerms": {"value": "3"}},
            "CurrencyPrefs": {"MultiCurrencyEnabled": several, "HomeCurrency": {"value": self.world.base_currency}},
            **self._single(),
        }  # fmt: skip

    def _single(self) -> Json:
        first = next(iter(self.world.terms.values()))
        return self._head(first, "1")


def zeroed(record: Mapping[str, Any]) -> Json:
    """A transaction's JSON after a void: the same record, worth nothing, with the note that says so."""
    lines = []
    for line in record.get("Line", ()):
        detail = {k: v for k, v in line.get("SalesItemLineDetail", {}).items() if k not in ("UnitPrice", "Qty")}
        lines.append({**line, "Amount": 0} | ({"SalesItemLineDetail": detail} if "SalesItemLineDetail" in line else {}))
    tax = {"TxnTaxDetail": {"TotalTax": 0}}
    return {**record, "PrivateNote": "Voided", "Line": lines, "TotalAmt": 0, "Balance": 0, "LinkedTxn": [], **tax}
