"""The answer key: what a careful accountant would say about the world on its day, computed from the facts alone.

Nothing here is shared with the models that are measured against it. Money comes out as text with two decimals in the
base currency (deals: in the deal's currency), dates as ISO text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from pipelines.sandbox.answers_deals import is_journal, reconcile_deals
from pipelines.sandbox.answers_matching import Match, accounts_in_review, match_customers, root_of
from pipelines.sandbox.entities import (
    CREDITS,
    TOLERANCE,
    ZERO,
    Application,
    CreditNote,
    Deposit,
    Invoice,
    Payment,
    Refund,
    money,
)

if TYPE_CHECKING:
    from pipelines.sandbox.world import World

HOLD_DAYS, RELEASE_DAYS = 60, 30


def answer_key(world: World) -> dict:
    """All answers for `world.today`.

    {"as_of": date, "accounts": {id: {...}}, "deals": {id: {...}}, "matches": {customer id: {"account_id", "rung"}},
    "realised_fx": [{"invoice_id", ...}], "exceptions": [{"kind", "record_id"}]}. Archived accounts and deals have no
    answer; a match without an account and with a rung is a question for a person on that rung.
    """
    matches = match_customers(world)
    books = {account_id: Books() for account_id, account in world.accounts.items() if not account.archived}
    _sort_documents(world, matches, books)
    in_review = accounts_in_review(world, matches)
    accounts = {
        account_id: {"name": world.accounts[account_id].name, "review": account_id in in_review}
        | account_facts(world, documents)
        for account_id, documents in books.items()
    }
    deals = reconcile_deals(world, matches)
    return {
        "as_of": world.today.isoformat(),
        "accounts": accounts,
        "deals": deals,
        "matches": {key: {"account_id": m.account_id, "rung": m.rung} for key, m in matches.items()},
        "realised_fx": realised_fx(world),
        "exceptions": exceptions(world, matches),
    }


# -- account status -------------------------------------------------------------------------------------------------


@dataclass
class Books:
    """An account's documents that count on the day; the invoices still include voided ones."""

    invoices: list[Invoice] = field(default_factory=list)
    credits: list[CreditNote] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    deposits: list[Deposit] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)


def _sort_documents(world: World, matches: dict[str, Match], books: dict[str, Books]) -> None:
    def of(customer_id: str) -> Books:
        return books.get(matches[customer_id].account_id or "") or Books()

    for invoice in world.invoices.values():
        if not invoice.deleted and invoice.issued <= world.today:
            of(invoice.customer_id).invoices.append(invoice)
    for note in world.credit_notes.values():
        if not (note.deleted or note.voided or is_journal(world, note)) and note.issued <= world.today:
            of(note.customer_id).credits.append(note)
    for payment in world.payments.values():
        if not (payment.deleted or payment.voided) and payment.date <= world.today:
            of(payment.customer_id).payments.append(payment)
    for received in world.deposits.values():
        if not received.deleted and received.date <= world.today:
            of(received.customer_id).deposits.append(received)
    for refund in world.refunds.values():
        if refund.date <= world.today:
            of(refund.customer_id).refunds.append(refund)


@dataclass(frozen=True)
class Standing:
    """An invoice that counts, with what is open of it today and the day from which on it was settled."""

    invoice: Invoice
    due: date
    open: Decimal
    settled: date | None
    paid: Decimal
    paid_on: date | None


def _standing(world: World, invoice: Invoice) -> Standing:
    left, settled = invoice.gross, invoice.issued if invoice.gross <= TOLERANCE else None
    paid, paid_on = ZERO, None
    parts = [
        (max(p.date, invoice.issued), amount, not isinstance(fund, CreditNote))
        for p, a in world.applied.get(invoice.id, ()) if not (p.deleted or p.voided) for fund, amount in _funds(world, p, a)
    ]  # fmt: skip
    for day, amount, is_money in sorted(part for part in parts if part[0] <= world.today):
        left -= amount
        if is_money:
            paid, paid_on = paid + amount, day
        if settled is None and left <= TOLERANCE:
            settled = day
    if settled is not None and paid_on is not None:
        paid_on = min(paid_on, settled)
    return Standing(invoice, world.due_date(invoice), left, settled, paid, paid_on)


def _funds(world: World, payment: Payment, part: Application) -> list[tuple[Payment | CreditNote | Deposit, Decimal]]:
    """What pays an application, and how much of it: the credits that the payment spends, in their order, and then its own money."""
    funds = [*((world.record(one), one.amount) for one in payment.applications if one.kind in CREDITS), (payment, payment.amount)]
    for one in payment.applications:
        if one.kind in CREDITS:
            continue
        found, left, rest = [], one.amount, []
        for fund, there in funds:
            taken = min(left, there)
            found += [(fund, taken)] if taken else []
            rest += [(fund, there - taken)] if there > taken else []
            left -= taken
        if one is part:
            return found
        funds = rest
    return []


def _unapplied(world: World, payment: Payment) -> Decimal:
    """What nothing was bought with yet: also what went into an invoice that is still to come."""
    later = [a.amount for a in payment.applications if a.kind == "invoice" and world.invoices[a.doc_id].issued > world.today]
    return payment.unapplied + sum(later, ZERO)


def _base(amount: Decimal, rate: Decimal) -> Decimal:
    """In base currency as a ledger posts each document: rounded before anything is added up."""
    return Decimal(money(amount * rate))


def account_facts(world: World, books: Books) -> dict[str, object]:
    """The status fields of one account, named as they are written to the CRM."""
    today = world.today
    standing = [_standing(world, invoice) for invoice in books.invoices if not invoice.voided]
    opened = [s for s in standing if s.open > TOLERANCE]
    late = [s for s in opened if s.due < today]
    notes = [(_base(world.open_amount(n, today), n.rate), n) for n in books.credits]
    credit = sum((left for left, _ in notes), ZERO)
    credit += sum((_base(_unapplied(world, p), p.rate) for p in books.payments), ZERO)
    credit += sum((_base(world.open_amount(d, today), d.rate) for d in books.deposits), ZERO)
    overdue = max(ZERO, sum((_base(s.open, s.invoice.rate) for s in late), ZERO) - credit)
    days = (today - min(s.due for s in late)).days if overdue > ZERO else 0
    net = sum((_base(i.invoice.gross, i.invoice.rate) - _base(i.invoice.tax, i.invoice.rate) for i in standing), ZERO)
    net -= sum((_base(n.gross, n.rate) - _base(n.tax, n.rate) for n in books.credits), ZERO)
    # What only pays out a credit takes nothing back of what was invoiced.
    net -= sum((_base(r.amount, r.rate) - _base(r.tax, r.rate) for r in books.refunds if r.way == "receipt"), ZERO)
    collected = sum((_base(money_in.amount, money_in.rate) for money_in in (*books.payments, *books.deposits)), ZERO)
    collected -= sum((_base(r.amount, r.rate) for r in books.refunds), ZERO)
    return {
        "financial_status": _financial_status(standing, overdue, days, today),
        "days_overdue": days,
        "total_outstanding": money(sum((_base(s.open, s.invoice.rate) for s in opened), ZERO)),
        "overdue_amount": money(overdue),
        "overdue_invoices": len(late) if overdue > ZERO else 0,
        "unapplied_credit": money(credit),
        "credit_status": _credit_status([left for left, _ in notes], books.refunds),
        "invoiced_to_date": money(net),
        "collected_to_date": money(collected),
        "average_days_to_pay": _average_days_to_pay(standing, today),
        **_newest(books, standing, today),
    }


def _financial_status(standing: list[Standing], overdue: Decimal, days: int, today: date) -> str:
    if not standing:
        return "No Invoices"
    if overdue > ZERO and (days >= HOLD_DAYS or _was_held(standing, today)):
        return "Credit Hold"
    return "Overdue" if overdue > ZERO else "Current"


def _was_held(standing: list[Standing], today: date) -> bool:
    """Whether the oldest overdue age was 60 days once and has not fallen below 30 since; walks back day by day."""
    day = today
    while (age := _oldest_age(standing, day)) >= RELEASE_DAYS:
        if age >= HOLD_DAYS:
            return True
        day -= timedelta(days=1)
    return False


def _oldest_age(standing: list[Standing], day: date) -> int:
    dues = [s.due for s in standing if s.invoice.issued <= day and (s.settled is None or s.settled > day)]
    return max(0, (day - min(dues)).days) if dues else 0


def _credit_status(left: list[Decimal], refunds: list[Refund]) -> str:
    if any(amount > TOLERANCE for amount in left):
        return "Credit Note Open"
    return "Refunded" if refunds else "None"


def _average_days_to_pay(standing: list[Standing], today: date) -> str | None:
    since = today - timedelta(days=365)
    paid = [s for s in standing if s.settled and s.paid_on and s.paid_on >= since]
    weight = sum((_base(s.paid, s.invoice.rate) for s in paid), ZERO)
    if not weight:
        return None
    spread = sum((_base(s.paid, s.invoice.rate) * (s.paid_on - s.invoice.issued).days for s in paid), ZERO)
    return str((spread / weight).quantize(Decimal("0.1"), ROUND_HALF_UP))


def _newest(books: Books, standing: list[Standing], today: date) -> dict[str, object]:
    """The last-invoice and last-payment fields."""
    issued = max(standing, key=lambda s: (s.invoice.issued, s.open > TOLERANCE, *_place(s.invoice)), default=None)
    newest = issued.invoice if issued else max(books.invoices, key=lambda i: (i.issued, *_place(i)), default=None)
    paid_on = max((money_in.date for money_in in (*books.payments, *books.deposits) if money_in.amount > ZERO), default=None)
    status = _invoice_status(issued, today) if issued else "Voided" if newest else None
    return {
        "last_invoice_date": newest.issued.isoformat() if newest else None,
        "last_invoice_amount": money(ZERO if newest.voided else newest.gross * newest.rate) if newest else None,
        "last_invoice_status": status,
        "last_payment_date": paid_on.isoformat() if paid_on else None,
    }


def _place(invoice: Invoice) -> tuple[int, str, int]:
    """Where an invoice stands among those of its day: by its number, else as it was entered."""
    return len(invoice.number or ""), invoice.number or "", int(invoice.id)


def _invoice_status(standing: Standing, today: date) -> str:
    if standing.open <= TOLERANCE:
        return "Paid"
    if standing.due < today:
        return "Overdue"
    return "Partially Paid" if standing.open < standing.invoice.gross else "Sent"


# -- rates ----------------------------------------------------------------------------------------------------------


def realised_fx(world: World) -> list[dict[str, str]]:
    """Per invoice in a foreign currency, kind of settlement and day: what was settled in the invoice's currency, and what the
    change of rates since the invoice made of it in base, sorted. A credit note or a deposit that is spent has a rate of its own, a
    journal entry the invoice's."""
    settled: dict[tuple[str, str, str], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for payment in world.payments.values():
        if payment.deleted or payment.voided or payment.date > world.today or payment.currency == world.base_currency:
            continue
        for part in payment.applications:
            if part.kind != "invoice" or (invoice := world.invoices[part.doc_id]).issued > world.today:
                continue
            for fund, amount in _funds(world, payment, part):
                if not is_journal(world, fund):
                    cell = settled[invoice.id, "credit_note" if isinstance(fund, CreditNote) else "payment", part.date.isoformat()]
                    cell[0] += amount
                    cell[1] += _base(amount, fund.rate) - _base(amount, invoice.rate)
    return [
        {"invoice_id": key[0], "applied_type": key[1], "applied_date": key[2], "amount": money(amount), "gain": money(gain)}
        for key, (amount, gain) in sorted(settled.items())
    ]


# -- exceptions -----------------------------------------------------------------------------------------------------


def exceptions(world: World, matches: dict[str, Match]) -> list[dict[str, str]]:
    """What somebody has to look at, one row each, sorted by kind and record."""
    found = list(_account_exceptions(world)) + list(_deal_exceptions(world))
    for customer_id, match in matches.items():
        if world.customers[customer_id].parent_id is None and match.account_id is None:
            kinds = {2: "customer_claimed_twice", None: "customer_only_in_accounting"}
            found.append((kinds.get(match.rung, "ambiguous_match"), customer_id))
    numbers: dict[tuple[str | None, str], list[str]] = defaultdict(list)
    for invoice in world.invoices.values():
        if not (invoice.deleted or invoice.voided):
            numbers[root_of(world, world.customers[invoice.customer_id]).id, invoice.number].append(invoice.id)
    found += [("not_read", note.id) for note in world.credit_notes.values() if is_journal(world, note)]
    found += [("repeated_invoice_number", i) for ids in numbers.values() if len(ids) > 1 for i in ids]
    return [{"kind": kind, "record_id": record_id} for kind, record_id in sorted(found)]


def _account_exceptions(world: World) -> Iterable[tuple[str, str]]:
    for account in world.accounts.values():
        if not account.archived and account.owner_id is None:
            yield "account_without_owner", account.id


def _deal_exceptions(world: World) -> Iterable[tuple[str, str]]:
    won = {stage.id for stage in world.stages.values() if stage.won}
    for deal in world.deals.values():
        lines = [] if deal.archived else world.lines_of.get(deal.id)
        if any(line.open_ended for line in lines or ()):
            yield "term_assumed", deal.id
        if not (deal.archived or lines or world.stages[deal.stage_id].closed) and deal.amount is None and not deal.amount_text:
            yield "open_deal_without_amount", deal.id
        if deal.archived or deal.stage_id not in won:
            continue
        if deal.account_id is None:
            yield "deal_without_account", deal.id
        if not lines:
            yield "deal_without_lines", deal.id
        if deal.amount is None:
            yield ("deal_amount_not_a_number" if deal.amount_text else "deal_without_amount"), deal.id
        elif lines and deal.amount != sum((line.amount for line in lines), ZERO):
            yield "header_differs_from_lines", deal.id
