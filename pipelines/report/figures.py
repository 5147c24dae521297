"""The figures of the report as values: what a night comes to for people. `queries.collect` reads them from the published marts.

Money is in base currency, as Decimal, at the marts' six places; averages of days have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

# Rows of a list that are shown; what there is more of is counted, and a command shows it.
MAX_ROWS = 50


@dataclass(frozen=True)
class Metric:
    """What a number means and which system owns it: a row of the published `metrics`."""

    metric: str
    label: str
    definition: str
    owner: str
    unit: str
    relation: str
    column_name: str

    @property
    def place(self) -> str:
        """Where the number, or what it is made of, stands."""
        return f"{self.relation}.{self.column_name}"


@dataclass(frozen=True)
class Calendar:
    """The days that a report is about. Months and quarters are given by their first day; `quarter` is the fiscal one."""

    as_of: date
    fiscal_year_start: int

    @property
    def month(self) -> date:
        return self.as_of.replace(day=1)

    @property
    def quarter(self) -> date:
        return add_months(self.month, -((self.month.month - self.fiscal_year_start) % 3))

    @property
    def fiscal_year(self) -> date:
        return add_months(self.month, -((self.month.month - self.fiscal_year_start) % 12))

    def quarter_name(self, quarter: date) -> str:
        """Q3 2026; where the fiscal year does not start in January: Q1 2026/27."""
        place = (quarter.month - self.fiscal_year_start) % 12
        first = add_months(quarter, -place).year
        return f"Q{place // 3 + 1} {first}" + ("" if self.fiscal_year_start == 1 else f"/{(first + 1) % 100:02}")

    def same_days(self, months: int) -> tuple[date, date]:
        """The first day and the day of `as_of` in another month; its last day where this month is over or that one is shorter."""
        first = add_months(self.month, months)
        last = add_months(first, 1) - timedelta(days=1)
        is_over = self.as_of == add_months(self.month, 1) - timedelta(days=1)
        return first, last if is_over else first.replace(day=min(self.as_of.day, last.day))


@dataclass(frozen=True)
class Source:
    """A system that was read. `side`: crm, ledger or rates; `status`: fresh, or held with the reason."""

    source: str
    side: str
    status: str
    hold_reason: str | None
    last_complete_at: datetime | None
    age_hours: int | None


@dataclass(frozen=True)
class TieOut:
    """A ledger's certificate, or a customer of it that does not tie out; `is_tied` None: the ledger gave no report of the day."""

    source: str
    level: str
    customer_id: str | None = None
    customer_name: str | None = None
    ours: Decimal | None = None
    theirs: Decimal | None = None
    difference: Decimal | None = None
    is_tied: bool | None = None
    kind: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Compared:
    """A number of another time: of the days `first` to `last`, or as it stood on `last`. `value` None: nobody knows."""

    last: date
    value: Decimal | None
    first: date | None = None


@dataclass(frozen=True)
class Headline:
    """One of the five numbers, by its metric. `part` is a number within or beside it, `part_metric` says which. None: not known."""

    metric: str
    value: Decimal | None
    last_month: Compared
    last_year: Compared
    part_metric: str
    part: Decimal | None


@dataclass(frozen=True)
class Month:
    """A month of the cycle; days are an average, the share is from 0 to 1, both None where there is nothing to divide by.
    `realised_fx` is what rates made between a document and what settled it."""

    month: date
    bookings: Decimal
    won_deals: int
    invoiced: Decimal
    collected: Decimal
    collected_net: Decimal
    recognised: Decimal
    outstanding: Decimal | None
    overdue: Decimal | None
    order_to_invoice_days: Decimal | None
    discrepancy_share: Decimal | None
    realised_fx: Decimal


@dataclass(frozen=True)
class Ahead:
    """Open deals by expected close. `month` None: expected before this month, after the months shown, or on no day (`when`).
    `unknown` of them have no amount; where all have none, the sums are None."""

    when: str
    month: date | None
    deals: int
    pipeline: Decimal | None
    weighted: Decimal | None
    unknown: int


@dataclass(frozen=True)
class Restated:
    """What changed in a month after it was reported; `measure` is invoiced or collected."""

    month: date
    measure: str
    documents: int
    amount_then: Decimal
    amount_now: Decimal
    difference: Decimal


@dataclass(frozen=True)
class Funnel:
    """The deals won in the last twelve months: what of them was invoiced and collected, and the days between."""

    first: date
    deals: int
    contracted: Decimal
    invoiced: Decimal
    collected: Decimal
    invoiced_deals: int
    days_to_invoice: Decimal | None
    days_to_collect: Decimal | None
    without_amount: int


@dataclass(frozen=True)
class BridgeLine:
    """A line of the bridge: contracted, a cause, timing, invoiced. Those before the last add up to it."""

    line: str
    place: int
    amount: Decimal


@dataclass(frozen=True)
class Bridge:
    """From contracted to invoiced in the months `first` to `last`, each given by its first day. `span`: month or quarter."""

    span: str
    first: date
    last: date
    lines: tuple[BridgeLine, ...]


@dataclass(frozen=True)
class Deal:
    """A won deal whose invoices differ from its contract; `age` is in days since the close."""

    source: str
    deal_id: str
    name: str | None
    account: str | None
    owner: str | None
    close_date: date | None
    contracted: Decimal | None
    invoiced: Decimal | None
    difference: Decimal | None
    status: str
    cause: str | None
    age: int | None
    url: str | None


@dataclass(frozen=True)
class Reconciled:
    """The won deals of one status and main cause, of all time."""

    status: str
    cause: str
    deals: int
    contracted: Decimal | None
    invoiced: Decimal | None
    difference: Decimal | None


@dataclass(frozen=True)
class Bucket:
    """Open invoices by days past due: current, 1_30, 31_60, 61_90, 91_plus."""

    bucket: str
    invoices: int
    amount: Decimal


@dataclass(frozen=True)
class Status:
    """The accounts of one Financial Status. `overdue` is after unapplied credit."""

    financial_status: str
    accounts: int
    outstanding: Decimal
    overdue: Decimal


@dataclass(frozen=True)
class Account:
    """An overdue account."""

    source: str
    account_id: str
    name: str | None
    owner: str | None
    financial_status: str
    days_overdue: int
    overdue: Decimal
    outstanding: Decimal
    url: str | None


@dataclass(frozen=True)
class Credit:
    """A customer with unapplied credit."""

    source: str
    customer_id: str
    name: str | None
    owner: str | None
    credit: Decimal
    outstanding: Decimal
    url: str | None


@dataclass(frozen=True)
class Paid:
    """The invoices settled in a month and the days from issue to settlement, weighted by gross."""

    month: date
    invoices: int
    amount: Decimal
    days: Decimal | None


@dataclass(frozen=True)
class Cash:
    """Cash expected in the seven days from `week`. `week` None: later than the weeks shown, or on a day that has passed (`when`)."""

    when: str
    week: date | None
    invoices: Decimal
    pipeline: Decimal


@dataclass(frozen=True)
class Owner:
    """What the deals of a CRM user came to in the last twelve months."""

    source: str | None
    owner_id: str | None
    name: str | None
    bookings: Decimal
    recognised: Decimal
    discount: Decimal
    price_or_quantity: Decimal


@dataclass(frozen=True)
class Questions:
    """Open questions for people of one kind (match or link) and what they are about."""

    kind: str
    is_suggestion: bool
    questions: int
    candidates: int
    amount: Decimal | None


@dataclass(frozen=True)
class Writes:
    """Fields of the newest run that wrote to a CRM, by outcome; `skipped` were changed by somebody meanwhile."""

    source: str
    run_id: str | None
    written: int
    skipped: int
    rejected: int
    unknown: int


@dataclass(frozen=True)
class Held:
    """Accounts whose status is not written, by reason."""

    reason: str
    accounts: int


@dataclass(frozen=True)
class Problems:
    """Exceptions of one kind. `severity`: error, warning or info."""

    kind: str
    severity: str
    records: int
    amount: Decimal | None


@dataclass(frozen=True)
class ExceptionRow:
    """Something that a person should look at."""

    severity: str
    kind: str
    source: str
    object: str
    record_id: str | None
    message: str
    amount_base: Decimal | None
    url: str | None


@dataclass(frozen=True)
class Listing:
    """The rows shown of a list, how many there are, and what all of them add up to."""

    rows: tuple[Any, ...] = ()
    count: int = 0
    total: Decimal = Decimal(0)


@dataclass(frozen=True)
class Report:
    """A night for people. Amounts are in `base_currency`; `known_at` is in the company's time zone."""

    company: str
    base_currency: str
    number_format: str
    date_format: str
    calendar: Calendar
    known_at: datetime
    metrics: Mapping[str, Metric]
    sources: tuple[Source, ...] = ()
    tie_out: tuple[TieOut, ...] = ()
    headlines: tuple[Headline, ...] = ()
    months: tuple[Month, ...] = ()
    ahead: tuple[Ahead, ...] = ()
    restated: tuple[Restated, ...] = ()
    funnel: Funnel | None = None
    bridges: tuple[Bridge, ...] = ()
    reconciliation: tuple[Reconciled, ...] = ()
    deals: Listing = Listing()
    not_invoiced: Listing = Listing()
    ageing: tuple[Bucket, ...] = ()
    statuses: tuple[Status, ...] = ()
    overdue: Listing = Listing()
    overdue_without_account: Decimal = Decimal(0)
    credits: Listing = Listing()
    paid: tuple[Paid, ...] = ()
    cash: tuple[Cash, ...] = ()
    owners: tuple[Owner, ...] = ()
    questions: tuple[Questions, ...] = ()
    writes: tuple[Writes, ...] = ()
    held: tuple[Held, ...] = ()
    problems: tuple[Problems, ...] = ()
    exceptions: Listing = Listing()

    @property
    def as_of(self) -> date:
        return self.calendar.as_of

    @property
    def month(self) -> date:
        return self.calendar.month

    @property
    def months_shown(self) -> tuple[date, date]:
        """The first and the last of the twelve months of the funnel and the owners."""
        return add_months(self.calendar.month, -11), self.calendar.month


def add_months(day: date, count: int) -> date:
    """The first of the month so many months after that of `day`."""
    months = day.year * 12 + day.month - 1 + count
    return date(months // 12, months % 12 + 1, 1)
