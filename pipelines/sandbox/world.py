"""One invented company, seen by nobody's API: the facts behind every vendor's sandbox, and the days that pass.

Everything is a pure function of (seed, accounts, start) and of the number of days advanced. The clock is never read.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from pipelines.sandbox import answers, growth, scenarios
from pipelines.sandbox.entities import (
    CENT,
    ZERO,
    Account,
    Application,
    Contact,
    CreditNote,
    Customer,
    Deal,
    DealLine,
    Deposit,
    DocLine,
    Invoice,
    Owner,
    Payment,
    Rate,
    Refund,
    Sold,
    Stage,
    Term,
    slug,
)

__all__ = [
    "CENT", "ZERO", "Account", "Application", "Contact", "CreditNote", "Customer", "Deal", "DealLine", "Deposit",
    "DocLine", "Invoice", "Owner", "Payment", "Rate", "Refund", "Sold", "Stage", "Term", "World", "make_world",
]  # fmt: skip

# First ids of each number space: the CRM numbers every kind apart, the ledger numbers names and transactions apart.
FIRST_IDS = {
    "owner": 70_001, "account": 21_000_000_001, "contact": 51_000_000_001, "deal": 31_000_000_001,
    "deal_line": 41_000_000_001, "term": 1, "customer": 1, "transaction": 101, "number": 1001,
}  # fmt: skip
WORKDAY_SECONDS = 13 * 3600  # changes happen from 08:00 to 21:00 UTC, before the sandbox's 22:00 "now"


@dataclass(frozen=True)
class Expectation:
    """What a scenario says must come out: `values` are some fields of the answer for one record on one day."""

    scenario: str
    kind: str  # accounts | deals | matches, as in the answer key
    record_id: str
    on: date
    values: dict[str, object]


@dataclass
class World:
    """All facts by kind and id, in the order they came to be. `today` moves with `advance`."""

    seed: int
    today: date
    base_currency: str = "USD"
    company_name: str = "Brightwater Systems, Inc."
    owners: dict[str, Owner] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    contacts: dict[str, Contact] = field(default_factory=dict)
    deals: dict[str, Deal] = field(default_factory=dict)
    deal_lines: dict[str, DealLine] = field(default_factory=dict)
    terms: dict[str, Term] = field(default_factory=dict)
    customers: dict[str, Customer] = field(default_factory=dict)
    invoices: dict[str, Invoice] = field(default_factory=dict)
    drafts: dict[str, Invoice] = field(default_factory=dict)  # until they are approved, then they are invoices
    credit_notes: dict[str, CreditNote] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    deposits: dict[str, Deposit] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    rates: list[Rate] = field(default_factory=list)
    expected: list[Expectation] = field(default_factory=list)
    applied: dict[str, list[tuple[Payment, Application]]] = field(default_factory=dict, compare=False)
    lines_of: dict[str, list[DealLine]] = field(default_factory=dict, compare=False)
    billing: dict[str, str] = field(default_factory=dict, compare=False)  # regular account -> the customer it buys as
    agenda: dict[date, list[Callable[[date], object]]] = field(default_factory=dict, compare=False)
    scenario: str = ""
    currency: str | None = None  # of new customers and deals that name none; None: the base currency
    # Whether the ledger that keeps a customer, by its id, can hold drafts. Where it cannot, they exist on nobody's screen.
    has_drafts: Callable[[str], bool] = field(default=lambda customer_id: True, compare=False)
    # Whether it lets people post journal entries on receivables. Where it does not, a credit note is what they make.
    has_journals: Callable[[str], bool] = field(default=lambda customer_id: True, compare=False)
    # (kind, id) -> the id as another system of the company writes it; see `references`.
    refer: Callable[[str, str], str] = field(default=lambda kind, record_id: record_id, compare=False)
    _next: dict[str, int] = field(default_factory=lambda: dict(FIRST_IDS))
    _ticks: dict[date, int] = field(default_factory=dict, compare=False)
    _names: set[str] = field(default_factory=set, compare=False)

    # -- time -------------------------------------------------------------------------------------------------------

    def moment(self, day: date) -> datetime:
        """A moment of the working day, another one at each call (the first 46,800 of a day differ)."""
        tick = self._ticks[day] = self._ticks.get(day, 0) + 1
        opening = datetime.combine(day, time(8), tzinfo=UTC)
        return opening + timedelta(seconds=tick * 61 % WORKDAY_SECONDS)

    def touch(self, record: object, day: date) -> None:
        """`record` changed on `day`; a change recorded out of order never moves its stamp back."""
        record.modified = max(record.modified, self.moment(day))
        record.version += 1

    def ago(self, days: int) -> date:
        """The date `days` before today; negative days lie ahead."""
        return self.today - timedelta(days=days)

    def at(self, day: date, action: Callable[[date], object]) -> None:
        """Do `action(day)` when the day comes, at once where it is past."""
        if day <= self.today:
            action(day)
        else:
            self.agenda.setdefault(day, []).append(action)

    def advance(self, days: int) -> None:
        """Let `days` pass, one by one: what was planned for each happens, then open deals and new ones move."""
        for _ in range(days):
            self.today += timedelta(days=1)
            for action in self.agenda.pop(self.today, ()):
                action(self.today)
            growth.live_one_day(self)

    def answers(self) -> dict:
        """The answer key for `today`, see `answers.answer_key`."""
        return answers.answer_key(self)

    # -- facts ------------------------------------------------------------------------------------------------------

    def new_id(self, space: str) -> str:
        """The next id of a number space."""
        number = self._next[space]
        self._next[space] = number + 1
        return str(number)

    def unique_name(self, name: str) -> str:
        """`name`, with a number behind it when an account has it already."""
        candidate, number = name, 1
        while candidate in self._names:
            number += 1
            candidate = f"{name} {number}"
        self._names.add(candidate)
        return candidate

    def rate(self, currency: str | None, day: date) -> Decimal:
        """Base units per one unit of `currency` on `day`: the newest known rate, the first one for older days."""
        if currency in (None, self.base_currency):
            return Decimal(1)
        known = [r for r in self.rates if r.source == currency]
        return next((r.rate for r in reversed(known) if r.as_of <= day), known[0].rate)

    def won_stage(self) -> Stage:
        """The stage of won deals."""
        return next(stage for stage in self.stages.values() if stage.won)

    def expect(self, kind: str, record_id: str, after_days: int = 0, **values: object) -> None:
        """Name what the current scenario must come to, `after_days` from the start."""
        on = self.today + timedelta(days=after_days)
        self.expected.append(Expectation(self.scenario, kind, record_id, on, values))

    # -- CRM --------------------------------------------------------------------------------------------------------

    def add_account(self, name: str, *, since: date | None = None, **fields: object) -> Account:
        """A company with a domain and a billing address made from its name, unless `fields` say otherwise."""
        name = self.unique_name(name)
        domain = f"{slug(name)}.example"
        stamp = self.moment(since or self.ago(640))
        number = len(self.accounts)
        owners = list(self.owners)
        known = {
            "domain": domain, "email": f"billing@{domain}", "address": f"{100 + number % 900} Harbor Street",
            "city": "Portland", "state": "OR", "zip": f"97{number % 1000:03d}", "country": "United States",
            "owner_id": owners[number % len(owners)],
        }  # fmt: skip
        account = Account(self.new_id("account"), name, **{**known, **fields}, created=stamp, modified=stamp)
        self.accounts[account.id] = account
        return account

    def add_contact(self, account: Account | None, first: str, last: str, email: str | None) -> Contact:
        """A person at `account`."""
        stamp = self.moment(self.ago(630))
        account_id = account.id if account else None
        contact = Contact(self.new_id("contact"), email, first, last, account_id, stamp, stamp)
        self.contacts[contact.id] = contact
        return contact

    def add_deal(self, account: Account | None, name: str, sold: tuple[Sold, ...], closed: date, **fields) -> Deal:
        """A deal with its lines; won unless `stage_id` says otherwise, its amount the sum of its lines by default."""
        stage = self.stages[fields.pop("stage_id", self.won_stage().id)]
        total = sum((s.amount for s in sold), ZERO) if sold else None
        # An open deal was last worked on some time in the past weeks, not all of them today.
        stamp = self.moment(closed if closed <= self.today else self.ago(1 + len(self.deals) % 40))
        deal = Deal(
            self.new_id("deal"), name, account.id if account else None, stage.id, total, self.currency or self.base_currency, closed,
            stage.probability, account.owner_id if account else None, deal_type="newbusiness", terms="Net 30",
            created=stamp - timedelta(days=45), modified=stamp,
        )  # fmt: skip
        for key, value in fields.items():
            setattr(deal, key, value)
        if deal.amount is not None:
            deal.home_amount = (deal.amount * self.rate(deal.currency, closed)).quantize(CENT)
        self.deals[deal.id] = deal
        self.lines_of[deal.id] = [self._add_deal_line(deal, s, stamp) for s in sold]
        return deal

    def _add_deal_line(self, deal: Deal, sold: Sold, stamp: datetime) -> DealLine:
        line = DealLine(
            self.new_id("deal_line"), deal.id, sold.sku, sold.name, sold.quantity, sold.price, sold.discount,
            sold.amount, deal.currency, sold.frequency, sold.start, sold.periods, stamp, stamp, sold.open_ended,
        )  # fmt: skip
        self.deal_lines[line.id] = line
        return line

    def close_deal(self, deal: Deal, day: date, stage_id: str) -> None:
        """Move `deal` to a closed stage on `day`."""
        stage = self.stages[stage_id]
        deal.stage_id, deal.probability, deal.close_date = stage.id, stage.probability, day
        self.touch(deal, day)

    # -- ledger -----------------------------------------------------------------------------------------------------

    def add_customer(self, name: str, *, since: date | None = None, **fields: object) -> Customer:
        """A customer in accounting with 30 days to pay, tied to no account unless `fields` say so."""
        stamp = self.moment(since or self.ago(620))
        known = {
            "company_name": name, "email": None, "website": None, "parent_id": None, "active": True,
            "currency": self.currency or self.base_currency, "crm_id": None, "terms_id": "3",
        }  # fmt: skip
        customer = Customer(self.new_id("customer"), name, **{**known, **fields}, created=stamp, modified=stamp)
        self.customers[customer.id] = customer
        return customer

    def add_invoice(self, customer: Customer, issued: date, lines: list[DocLine], **fields: object) -> Invoice:
        """An invoice due by the customer's terms; pass `due` (a date or None), `tax`, `deal_ref`, ... to differ."""
        invoice = self._invoice(customer, issued, lines, **fields)
        self.invoices[invoice.id] = invoice
        self.balance_moved(customer.id, invoice.created)
        return invoice

    def add_draft(self, customer: Customer, day: date, lines: list[DocLine], status: str = "draft", **fields: object) -> Invoice:
        """An invoice that nobody has approved yet, dated `day`; `status` is draft or pending_approval."""
        draft = self._invoice(customer, day, lines, status=status, sent=False, **fields)
        self.drafts[draft.id] = draft
        return draft

    def approve(self, draft: Invoice, day: date) -> None:
        """Issue a draft: it is dated `day`, at that day's rate, and due as long after it as it was to be."""
        due = None if draft.due is None else day + (draft.due - draft.issued)
        self.change(draft, day, status="issued", sent=True, issued=day, due=due, rate=self.rate(draft.currency, day))
        self.invoices[draft.id] = self.drafts.pop(draft.id)
        self.balance_moved(draft.customer_id, draft.modified)

    def _invoice(self, customer: Customer, issued: date, lines: list[DocLine], **fields: object) -> Invoice:
        terms = self.terms.get(customer.terms_id or "")
        stamp = self.moment(min(issued, self.today))
        known = {
            "number": None, "due": issued + timedelta(days=terms.days if terms else 0), "tax": ZERO,
            "currency": customer.currency, "terms_id": customer.terms_id,
        } | fields  # fmt: skip
        known["number"] = known["number"] or self.new_id("number")
        known["rate"] = self.rate(known["currency"], issued)
        return Invoice(
            self.new_id("transaction"), customer_id=customer.id, issued=issued, lines=lines, **known,
            created=stamp, modified=stamp,
        )  # fmt: skip

    def add_credit_note(self, customer: Customer, issued: date, lines: list[DocLine], **fields) -> CreditNote:
        """A credit note over `lines`; `tax` and `deal_ref` as given."""
        stamp = self.moment(issued)
        fields = {"tax": ZERO, "terms_id": None} | fields
        note = CreditNote(
            self.new_id("transaction"), self.new_id("number"), customer.id, issued, customer.currency,
            self.rate(customer.currency, issued), lines, created=stamp, modified=stamp, **fields,
        )  # fmt: skip
        self.credit_notes[note.id] = note
        self.balance_moved(customer.id, stamp)
        return note

    def pay(self, customer_id: str, day: date, amount: Decimal, spent: list[tuple[str, str, Decimal]]) -> Payment:
        """Money in on `day`, spent on `(kind, document id, amount)`; what is not spent stays unapplied."""
        customer = self.customers[customer_id]
        stamp = self.moment(day)
        applications = [Application(kind, doc_id, part, day) for kind, doc_id, part in spent]
        rate = self.rate(customer.currency, day)
        payment = Payment(
            self.new_id("transaction"), customer.id, day, customer.currency, rate, amount, applications,
            created=stamp, modified=stamp,
        )  # fmt: skip
        self.payments[payment.id] = payment
        for part in applications:
            self.applied.setdefault(part.doc_id, []).append((payment, part))
            self.touch(self.record(part), day)
        self.balance_moved(customer.id, stamp)
        return payment

    def settle(self, invoice: Invoice, day: date) -> Payment | None:
        """Pay all that is open on `invoice`, if it still stands."""
        if invoice.voided or invoice.deleted or (amount := self.open_amount(invoice)) <= ZERO:
            return None
        return self.pay(invoice.customer_id, day, amount, [("invoice", invoice.id, amount)])

    def apply_credit(self, note: CreditNote, invoice: Invoice, day: date, amount: Decimal) -> Payment:
        """Spend a credit note on an invoice: a payment of nothing that links the two."""
        spent = [("invoice", invoice.id, amount), ("credit_note", note.id, amount)]
        return self.pay(invoice.customer_id, day, ZERO, spent)

    def add_refund(self, customer: Customer, day: date, amount: Decimal, sku: str | None, way: str = "receipt") -> Refund:
        """Money given back on `day`, without tax."""
        stamp = self.moment(day)
        refund = Refund(
            self.new_id("transaction"), self.new_id("number"), customer.id, day, customer.currency,
            self.rate(customer.currency, day), amount, ZERO, sku, way, created=stamp, modified=stamp,
        )  # fmt: skip
        self.refunds[refund.id] = refund
        return refund

    def void_invoice(self, invoice: Invoice, day: date) -> None:
        """Void an invoice: it stays, worth nothing, and what was paid on it is unapplied again."""
        invoice.voided = True
        self._release(invoice, day)

    def delete_invoice(self, invoice: Invoice, day: date) -> None:
        """Delete an invoice for good, as if it had never been; what was paid on it is unapplied again."""
        invoice.deleted = True
        self._release(invoice, day)

    def _release(self, invoice: Invoice, day: date) -> None:
        for payment, part in self.applied.pop(invoice.id, []):
            payment.applications.remove(part)
            if payment.with_document or not payment.amount:  # it was the invoice's own, or only tied a credit to it
                payment.deleted = True
                for other in payment.applications:
                    self.applied[other.doc_id] = [(p, a) for p, a in self.applied[other.doc_id] if p is not payment]
                    self.touch(self.record(other), day)
            self.touch(payment, day)
        self.touch(invoice, day)
        self.balance_moved(invoice.customer_id, invoice.modified)

    def change(self, record: Account | Customer | Deal | Invoice, day: date, **values: object) -> None:
        """Set fields of a record on `day`."""
        for key, value in values.items():
            setattr(record, key, value)
        self.touch(record, day)

    def record(self, part: Application) -> Invoice | CreditNote | Deposit | Refund:
        """What an application is about."""
        kinds = {"invoice": self.invoices, "credit_note": self.credit_notes, "deposit": self.deposits, "refund": self.refunds}
        return kinds[part.kind][part.doc_id]

    def open_amount(self, document: Invoice | CreditNote | Deposit, on: date | None = None) -> Decimal:
        """What is unpaid of an invoice, or unspent of a credit, by the payments dated up to `on` (None: all)."""
        parts = self.applied.get(document.id, ())
        return document.gross - sum(
            (a.amount for p, a in parts if not (p.deleted or p.voided) and (on is None or p.date <= on)), ZERO
        )

    def due_date(self, invoice: Invoice) -> date:
        """The due date; where it is missing, issue date plus the terms of the invoice or its customer, else issue."""
        if invoice.due is not None:
            return invoice.due
        terms = self.terms.get(invoice.terms_id or self.customers[invoice.customer_id].terms_id or "")
        return invoice.issued + timedelta(days=terms.days) if terms else invoice.issued

    def balance_moved(self, customer_id: str, stamp: datetime) -> None:
        """A new balance moves the customer's stamp, never its version, as ledgers do."""
        customer = self.customers[customer_id]
        customer.modified = max(customer.modified, stamp)


def make_world(seed: int = 7, accounts: int = 66, start: date = date(2026, 6, 30)) -> World:
    """Build the world as it stands on `start`: every planted scenario, then regular accounts up to `accounts`.

    There are never fewer accounts than the scenarios need.
    """
    world = World(seed=seed, today=start)
    growth.found_company(world)
    scenarios.plant(world)
    growth.grow(world, accounts)
    return world
