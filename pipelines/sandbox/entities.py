"""The records of the invented company, in nobody's dialect: plain facts that each vendor's sandbox renders.

Ids are plain digits as text, as the vendors have them. Money is `Decimal` in major units of the record's own currency;
rates are base units per one document unit (multiply). Entities are mutable on purpose: a day that passes changes them
in place, moves `modified` to the moment of the change and counts `version` up.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

ZERO = Decimal(0)
CENT = Decimal("0.01")
TOLERANCE = CENT
DAWN = datetime(2020, 1, 6, 8, 0, tzinfo=UTC)


def money(amount: Decimal) -> str:
    """Two decimals, half up."""
    return str(amount.quantize(CENT, ROUND_HALF_UP))


@dataclass(slots=True)
class Owner:
    """A sales person of our own company."""

    id: str
    email: str
    first: str
    last: str
    created: datetime = DAWN
    modified: datetime = DAWN


@dataclass(slots=True)
class Account:
    """A company in the CRM. `customer_ids` are the accounting ids that somebody stored on it."""

    id: str
    name: str
    domain: str | None
    email: str | None
    address: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None
    country: str | None = None
    owner_id: str | None = None
    parent_id: str | None = None
    customer_ids: list[str] = field(default_factory=list)
    archived: bool = False
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0


@dataclass(slots=True)
class Contact:
    """A person at an account."""

    id: str
    email: str | None
    first: str
    last: str
    account_id: str | None
    created: datetime = DAWN
    modified: datetime = DAWN


@dataclass(slots=True)
class Stage:
    """A stage of the one sales pipeline; `probability` is 0 to 1."""

    id: str
    label: str
    closed: bool
    won: bool
    probability: Decimal
    order: int = 0


@dataclass(slots=True)
class Deal:
    """A deal. `currency` None means the base currency; `amount_text` is what the CRM shows in place of the amount."""

    id: str
    name: str
    account_id: str | None
    stage_id: str
    amount: Decimal | None
    currency: str | None
    close_date: date
    probability: Decimal
    owner_id: str | None
    deal_type: str | None = None
    terms: str | None = None
    contract_start: date | None = None
    contract_end: date | None = None
    invoice_numbers: list[str] = field(default_factory=list)
    archived: bool = False
    amount_text: str | None = None
    home_amount: Decimal | None = None
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0


@dataclass(slots=True)
class DealLine:
    """A line of a deal: `amount` = quantity * unit_price - discount, over all `periods` of a recurring line.

    A line that is `open_ended` has no term in the CRM: its amount is that of twelve months. `frequency` is monthly, quarterly
    or annually; instalment k (from 0) of amount / periods falls on
    `start` + k * frequency.
    """

    id: str
    deal_id: str
    sku: str | None
    name: str
    quantity: Decimal
    unit_price: Decimal
    discount: Decimal
    amount: Decimal
    currency: str | None
    frequency: str | None = None
    start: date | None = None
    periods: int | None = None
    created: datetime = DAWN
    modified: datetime = DAWN
    open_ended: bool = False


@dataclass(frozen=True)
class Sold:
    """What a deal line sells, before it has an id."""

    sku: str | None
    name: str
    quantity: Decimal
    price: Decimal
    discount: Decimal = ZERO
    frequency: str | None = None
    start: date | None = None
    periods: int | None = None
    open_ended: bool = False

    @property
    def amount(self) -> Decimal:
        """Net amount over all periods."""
        return self.quantity * self.price - self.discount


@dataclass(slots=True)
class Term:
    """Payment terms: due `days` after the issue date."""

    id: str
    name: str
    days: int
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0


@dataclass(slots=True)
class Customer:
    """A customer in accounting. With a `parent_id` it is a sub-customer (a job) of another customer."""

    id: str
    name: str
    company_name: str | None
    email: str | None
    website: str | None
    parent_id: str | None
    active: bool
    currency: str
    crm_id: str | None
    terms_id: str | None
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0


@dataclass(slots=True)
class DocLine:
    """A line of an invoice or credit note. A `discount` line has a negative amount."""

    sku: str | None
    name: str
    description: str | None
    quantity: Decimal | None
    unit_price: Decimal | None
    amount: Decimal
    kind: str = "item"
    service_date: date | None = None


def _net(lines: list[DocLine], voided: bool) -> Decimal:
    return ZERO if voided else sum((line.amount for line in lines), ZERO)


@dataclass(slots=True)
class Invoice:
    """An invoice. `deal_ref` is the CRM's deal id where somebody wrote it on the document.

    `status` is draft or pending_approval until somebody approves it, then issued. A sale `at_once` is paid in full as it is made.
    """

    id: str
    number: str
    customer_id: str
    issued: date
    due: date | None
    currency: str
    rate: Decimal
    lines: list[DocLine]
    tax: Decimal
    status: str = "issued"
    at_once: bool = False
    voided: bool = False
    deleted: bool = False
    sent: bool = True
    deal_ref: str | None = None
    memo: str | None = None
    terms_id: str | None = None
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0

    @property
    def net(self) -> Decimal:
        """Amount before tax in the document's currency; zero once voided."""
        return _net(self.lines, self.voided)

    @property
    def gross(self) -> Decimal:
        """Amount with tax in the document's currency; zero once voided."""
        return ZERO if self.voided else self.net + self.tax


@dataclass(slots=True)
class CreditNote:
    """A credit note; its amounts are positive and reduce what the customer owes. A `journal` is a journal entry instead, in a
    ledger that lets people post one on receivables: no document."""

    id: str
    number: str
    customer_id: str
    issued: date
    currency: str
    rate: Decimal
    lines: list[DocLine]
    tax: Decimal
    journal: bool = False
    voided: bool = False
    deleted: bool = False
    sent: bool = True
    deal_ref: str | None = None
    memo: str | None = None
    terms_id: str | None = None
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0

    @property
    def net(self) -> Decimal:
        """Amount before tax in the document's currency; zero once voided."""
        return _net(self.lines, self.voided)

    @property
    def gross(self) -> Decimal:
        """Amount with tax in the document's currency; zero once voided."""
        return ZERO if self.voided else self.net + self.tax


# What a payment spends besides its own money; the rest of its applications is what it is spent on.
CREDITS = ("credit_note", "deposit")


@dataclass(slots=True)
class Application:
    """Part of a payment spent on an `invoice` or a `refund`, or a `credit_note` or `deposit` spent through a payment; on the
    payment's date, but for a refund of the payment itself, which is later."""

    kind: str
    doc_id: str
    amount: Decimal
    date: date


@dataclass(slots=True)
class Payment:
    """Money received, or (amount zero) a credit note or deposit applied to an invoice or paid back. Money that came
    `with_document` was taken down on the invoice or the sale itself."""

    id: str
    customer_id: str
    date: date
    currency: str
    rate: Decimal
    amount: Decimal
    applications: list[Application]
    with_document: bool = False
    deleted: bool = False
    voided: bool = False
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0

    @property
    def unapplied(self) -> Decimal:
        """What is left of the payment: amount plus credits spent through it minus what invoices and refunds took."""
        return self.unapplied_on(date.max)

    def unapplied_on(self, day: date) -> Decimal:
        """What was left of it at the end of `day`."""
        if self.voided:
            return ZERO
        parts = (part for part in self.applications if part.date <= day)
        return self.amount + sum((a.amount if a.kind in CREDITS else a.amount.copy_negate() for a in parts), ZERO)


@dataclass(slots=True)
class Deposit:
    """Money that the bank received and that was put to a customer's account there: no payment, but spent through one."""

    id: str
    customer_id: str
    date: date
    currency: str
    rate: Decimal
    amount: Decimal
    deleted: bool = False
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0

    @property
    def gross(self) -> Decimal:
        """All of it can be spent."""
        return self.amount


@dataclass(slots=True)
class Refund:
    """Money given back, `amount` with `tax`: a receipt is a credit paid out at once, a check or expense pays out one that was there."""

    id: str
    number: str
    customer_id: str
    date: date
    currency: str
    rate: Decimal
    amount: Decimal
    tax: Decimal
    sku: str | None = None
    way: str = "receipt"
    created: datetime = DAWN
    modified: datetime = DAWN
    version: int = 0


@dataclass(slots=True)
class Rate:
    """The exchange rate on a day: one unit of `source` is `rate` units of `target`."""

    source: str
    target: str
    rate: Decimal
    as_of: date
    modified: datetime = DAWN


def slug(name: str) -> str:
    """The letters and digits of `name` for a domain: "Müller & Sons" gives "muller-sons", nothing readable "firm"."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain))[:40].strip("-") or "firm"


def add_months(day: date, months: int) -> date:
    """The same day `months` later, or the last day of that month where it is shorter."""
    index = day.year * 12 + day.month - 1 + months
    first = date(index // 12, index % 12 + 1, 1)
    after = date((index + 1) // 12, (index + 1) % 12 + 1, 1)
    return min(first + timedelta(days=day.day - 1), after - timedelta(days=1))


MONTHS = {"monthly": 1, "quarterly": 3, "annually": 12}


def instalment_dates(line: DealLine) -> list[date]:
    """Billing dates of a recurring line, first to last; empty for a line that is billed once without a date."""
    if line.start is None:
        return []
    step = MONTHS.get(line.frequency or "", 0)
    return [add_months(line.start, step * k) for k in range(line.periods or 1)] if step else [line.start]
