"""What every CRM of this project speaks: fields, canonical text, updates, outcomes, tasks.

Values travel as canonical text, so that a plan can be hashed, saved, journalled and shown without loss:
money and number "1500" or "0.5" (plain, no trailing zeros), integer "3", date "2026-03-31",
datetime "2026-03-31T02:00:00Z", enumeration, text and ids as they are, null as None. Ids are customers of ledgers, each as
"ledger:id", separated by ";", in no order; people keep some of them too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal, Protocol

from pipelines.redaction import redact

FieldType = Literal["money", "number", "integer", "date", "datetime", "enumeration", "text", "ids"]
NUMBERS = ("money", "number", "integer")
MAX_DIGITS = 100  # before or after the point
IDS_LENGTH = 255  # characters; the most that a text field of every CRM keeps

FINANCIAL_STATUSES = ("No Invoices", "Credit Hold", "Overdue", "Current")
OVERDUE_STATUSES = ("Overdue", "Credit Hold")


@dataclass(frozen=True)
class Field:
    """One field that Crossfoot keeps on a CRM record; `name` is the activation model's column."""

    name: str
    label: str
    type: FieldType
    options: tuple[str, ...] = ()
    null_policy: Literal["clear", "keep"] = "clear"
    companion: bool = False  # written only along with another change of the record
    billing: bool = False  # a value other than zero says that the record has invoices or money
    daily: bool = False  # goes on by itself from day to day
    description: str = ""


FINANCIALS_AS_OF = Field(
    "financials_as_of",
    "Financials As Of",
    "datetime",
    companion=True,
    description="The time up to which every financial field of this record is known to be true.",
)

ACCOUNT_FIELDS: tuple[Field, ...] = (
    Field(
        "financial_status",
        "Financial Status",
        "enumeration",
        options=FINANCIAL_STATUSES,
        description="No Invoices, Credit Hold, Overdue or Current, from accounting.",
    ),
    Field("days_overdue", "Days Overdue", "integer", daily=True, description="Days since the oldest overdue invoice fell due."),
    Field("total_outstanding", "Total Outstanding", "money", description="Sum of open amounts, in base currency."),
    Field("overdue_amount", "Overdue Amount", "money", description="Overdue amount after unapplied credit."),
    Field("overdue_invoices", "Overdue Invoices", "integer", description="Number of overdue invoices."),
    Field("unapplied_credit", "Unapplied Credit", "money", description="Open credit notes and unapplied payments."),
    Field("last_invoice_date", "Last Invoice Date", "date", billing=True, description="Issue date of the newest invoice."),
    Field("last_invoice_amount", "Last Invoice Amount", "money", description="Amount of the newest invoice."),
    Field(
        "last_invoice_status",
        "Last Invoice Status",
        "enumeration",
        options=("Sent", "Viewed", "Partially Paid", "Paid", "Overdue", "Voided"),
        description="Status of the newest invoice.",
    ),
    Field("last_payment_date", "Last Payment Date", "date", description="Date of the newest payment."),
    Field(
        "credit_status",
        "Credit Status",
        "enumeration",
        options=("None", "Credit Note Open", "Refunded"),
        description="Whether a credit note is open or money was refunded.",
    ),
    Field("invoiced_to_date", "Invoiced to Date", "money", billing=True, description="Lifetime net invoiced, in base currency."),
    Field("collected_to_date", "Collected to Date", "money", billing=True, description="Lifetime collected, in base currency."),
    Field(
        "average_days_to_pay",
        "Average Days to Pay",
        "number",
        description="Invoices paid in the last 12 months, weighted by amount.",
    ),
    Field(
        "customer_ids",
        "Accounting Customer IDs",
        "ids",
        description='Customers of the books that belong to this record, each as "ledger:id", separated by ";".',
    ),
    FINANCIALS_AS_OF,
)

DEAL_FIELDS: tuple[Field, ...] = (
    Field(
        "reconciliation_status",
        "Reconciliation Status",
        "enumeration",
        options=("Matched", "Explained", "Review"),
        description="Whether what was invoiced ties to what was sold.",
    ),
    # Text, not an enumeration: a cause that a later version adds must not be refused by the CRM.
    Field("variance_cause", "Variance Cause", "text", description="The main cause of the variance, if there is one."),
    Field("contracted_amount", "Contracted Amount", "money", description="Net of tax, in the deal's currency."),
    Field("invoiced_amount", "Invoiced Amount", "money", billing=True, description="Invoices less credit notes, net of tax."),
    Field("collected_amount", "Collected Amount", "money", billing=True, description="Payments less refunds, net of tax."),
    Field("variance_amount", "Variance Amount", "money", description="Invoiced less contracted, net of tax."),
    FINANCIALS_AS_OF,
)

# What rides along with another change and never goes alone.
COMPANIONS = frozenset(field.name for field in (*ACCOUNT_FIELDS, *DEAL_FIELDS) if field.companion)
DAILY = frozenset(field.name for field in (*ACCOUNT_FIELDS, *DEAL_FIELDS) if field.daily)

_MARKER = re.compile(r"\[crossfoot:(\w+)\]")
_BY_NAME = {field.name: field for field in (*ACCOUNT_FIELDS, *DEAL_FIELDS)}
_TELLING: tuple[FieldType, ...] = ("number", "date", "datetime")  # types that a canonical text shows by itself


def field_of(fields: Sequence[Field], name: str, text: str | None = None) -> Field:
    """The field with this name. One that an earlier release or configuration wrote, and that is not among `fields` any more, is
    of the type that `text` (a canonical value that it was given) looks like: it can still be read, cleared and put back."""
    known = next((field for field in fields if field.name == name), None) or _BY_NAME.get(name)
    return known or Field(name, name.replace("_", " ").title(), next((one for one in _TELLING if _is_canonical(one, text)), "text"))


def _is_canonical(type: FieldType, text: str | None) -> bool:
    try:
        return text is not None and canonical(type, text) == text
    except ValueError:
        return False


@dataclass(frozen=True)
class RecordUpdate:
    """New values of one record: field name -> canonical text; None clears the field."""

    record_id: str
    values: Mapping[str, str | None]


@dataclass(frozen=True)
class Deviation:
    """How one field in the CRM is not as Crossfoot needs it.

    `name` is the CRM's, with its object's. `refuses`: the values (None: clearing) that the CRM therefore refuses, or None for all.
    `alters`: values would get lost or be kept as something else, so that nothing may be written. `repairable`:
    `create_fields` brings it in order.
    """

    field: Field
    name: str
    problem: str
    remedy: str
    refuses: tuple[str | None, ...] | None = ()
    alters: bool = False
    repairable: bool = False
    absent: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.problem}; {self.remedy}"

    def refuses_value(self, text: str | None) -> bool:
        """Whether the CRM refuses this canonical text for the field."""
        return self.refuses is None or text in self.refuses


@dataclass(frozen=True)
class Outcome:
    """What the vendor said about one record of an update. `fields` are those that it was rejected for, where it said so."""

    record_id: str
    status: Literal["written", "rejected"]
    message: str = ""
    fields: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", redact(self.message))  # it is kept, and shown


@dataclass(frozen=True)
class TaskRequest:
    """A task for an account's owner; `body` holds `task_marker(key)`, by which it is found again."""

    key: str
    account_id: str
    owner_id: str | None
    subject: str
    body: str
    due: datetime


@dataclass(frozen=True)
class FoundTask:
    """A task of Crossfoot's that the CRM has: the key in its body, its id, and whether a person or Crossfoot has completed it."""

    key: str
    task_id: str
    status: Literal["open", "completed"]


class BatchRefused(Exception):
    """The vendor refused a whole batch for what one record holds; nothing was written. `fields` are those that it named."""

    def __init__(self, message: str, fields: Collection[str] = ()):
        super().__init__(redact(message))
        self.fields = frozenset(fields)


class OutcomeUnknown(Exception):
    """The connection was lost or the vendor failed in mid-call: it may or may not have written."""


class FieldsMissing(Exception):
    """The CRM does not have a field, or has it in another form, and the message says what to do."""

    def __init__(self, message: str):
        super().__init__(redact(message))


class Crm(Protocol):
    """What the write-back needs of a CRM. Every method may raise the HTTP client's errors."""

    slug: str
    batch_size: int
    objects: Mapping[str, tuple[Field, ...]]

    def read(self, object: str, ids: Sequence[str], fields: Sequence[str]) -> dict[str, dict[str, str | None]]: ...

    def update(self, object: str, updates: Sequence[RecordUpdate]) -> list[Outcome]: ...

    def missing_fields(self, object: str) -> list[Deviation]: ...

    def create_fields(self, object: str, fields: Sequence[Field]) -> None: ...

    def find_tasks(self, account_ids: Sequence[str]) -> dict[str, list[FoundTask]]: ...

    def create_task(self, request: TaskRequest) -> str: ...

    def complete_task(self, task_id: str) -> None: ...

    def reopen_task(self, task_id: str) -> None: ...

    def delete_task(self, task_id: str) -> None: ...

    def task_status(self, task_id: str) -> Literal["open", "completed"] | None: ...


def task_marker(key: str) -> str:
    """The text in a task's body that says whose task it is."""
    return f"[crossfoot:{key}]"


def marked_key(body: str | None) -> str | None:
    """The key in a task's body; None for a task that is not Crossfoot's."""
    found = _MARKER.search(body or "")
    return found[1] if found else None


def to_text(type: FieldType, value: object) -> str | None:
    """Canonical text of a warehouse value (Decimal, int, date, aware datetime, str); None stays None.

    Raises ValueError for a value of another kind; a float is refused, because its cents are not exact.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        if type == "datetime" and value.tzinfo is not None:
            return _datetime_text(value)
    elif isinstance(value, date):
        if type == "date":
            return value.isoformat()
    elif isinstance(value, str) or (isinstance(value, Decimal | int) and not isinstance(value, bool)):
        return canonical(type, str(value))
    raise ValueError(f"{value!r} is no value of type {type}")


def canonical(type: FieldType, text: str) -> str:
    """One spelling for each value: "1500.00" -> "1500". Raises ValueError when the text is not of the type."""
    if type in NUMBERS:
        return _decimal_text(type, text)
    if type == "date":
        return date.fromisoformat(text).isoformat()
    if type == "datetime":
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(f"{text!r} has no time zone")
        return _datetime_text(moment)
    return text


def same(type: FieldType, left: str | None, right: str | None) -> bool:
    """Whether two texts are the same value: numbers by amount, times by moment, ids as a set; null equals only null."""
    if left == right or left is None or right is None:
        return left == right
    return _spelling(type, left) == _spelling(type, right)


def id_pair(item: str, ledger: str | None = None) -> tuple[str | None, str]:
    """("books", "58") of "Books: 58"; an id that names no ledger is of `ledger`."""
    name, colon, id = item.partition(":")
    return (name.strip().lower(), id.strip()) if colon else (ledger, item.strip())


def id_items(text: str | None) -> list[str]:
    """The items of an ids text, trimmed and otherwise as they are written."""
    return [item.strip() for item in (text or "").split(";") if item.strip()]


def merged_ids(live: str | None, wished: str | None, ledger: str | None = None) -> str | None:
    """What an ids field should hold: the items that are there, without those wished away, and those wished for.

    `wished` is a text such as "+books:58; -books:60"; `ledger` is the one that an id without a ledger means.
    What people stored stays as they wrote it, and where nothing is to be done the text itself. Raises ValueError for a
    wish without a sign.
    """
    wishes = [(item[0], item[1:]) for item in id_items(wished)]
    strange = [sign + item for sign, item in wishes if sign not in "+-"]
    if strange:
        raise ValueError(f"{strange[0]!r} says neither + nor -")
    unwanted = {id_pair(item) for sign, item in wishes if sign == "-"}
    there = id_items(live)
    kept = [item for item in there if id_pair(item, ledger) not in unwanted]
    known = {id_pair(item, ledger) for item in kept}
    added = [item for sign, item in wishes if sign == "+" and id_pair(item) not in known]
    return live if kept == there and not added else "; ".join(kept + added) or None


def _spelling(type: FieldType, text: str) -> str:
    if type == "ids":
        return ";".join(sorted({":".join(part or "" for part in id_pair(item)) for item in id_items(text)}))
    # A person may keep anything in a field that was once made with another type: compared as it stands.
    try:
        return canonical(type, text)
    except ValueError:
        return text


def _decimal_text(type: FieldType, text: str) -> str:
    try:
        # Decimal itself would also take the digits of every script, and underscores between them.
        number = Decimal(text if text.isascii() and "_" not in text else "")
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    # Written out, a number of many digits fills the memory; no CRM keeps one.
    if not number.is_finite() or abs(number.adjusted()) > MAX_DIGITS or (type == "integer" and number != number.to_integral_value()):
        raise ValueError(f"{text!r} is no value of type {type}")
    plain = format(number, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain == "-0" else plain


def _datetime_text(moment: datetime) -> str:
    # Milliseconds are what CRMs keep; a finer time would never read back as written.
    utc = moment.astimezone(UTC)
    unit = "milliseconds" if utc.microsecond // 1000 else "seconds"
    return utc.replace(tzinfo=None).isoformat(timespec=unit) + "Z"
