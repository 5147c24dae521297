"""The answer key of deals: which documents bill them, what explains each difference, and in which status that leaves them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.sandbox.answers_matching import Match
from pipelines.sandbox.entities import (
    CENT,
    TOLERANCE,
    ZERO,
    CreditNote,
    Deal,
    DealLine,
    DocLine,
    Invoice,
    instalment_dates,
    money,
)

if TYPE_CHECKING:
    from pipelines.sandbox.world import World

@dataclass
class Bridge:
    """What there is to say about one won deal, in its currency and net of tax. `rungs` are those by which invoices were linked."""

    deal: Deal
    contracted: Decimal | None
    invoices: list[Invoice] = field(default_factory=list)
    credits: list[CreditNote] = field(default_factory=list)
    drafts: list[Invoice] = field(default_factory=list)
    rungs: set[int] = field(default_factory=set)

    @property
    def invoiced(self) -> Decimal:
        """Linked invoices minus linked credit notes."""
        return sum((i.net for i in self.invoices), ZERO) - sum((n.net for n in self.credits), ZERO)


def reconcile_deals(world: World, matches: dict[str, Match]) -> dict[str, dict]:
    """The answer of each won deal."""
    won = {stage.id for stage in world.stages.values() if stage.won}
    deals = [d for d in world.deals.values() if d.stage_id in won and not d.archived]
    bridges = {deal.id: Bridge(deal, _contracted(world, deal)) for deal in deals}
    links = {}
    for invoice_id, (deal_id, rung) in link_invoices(world, deals, matches).items():
        links[invoice_id] = deal_id
        bridges[deal_id].invoices.append(world.invoices[invoice_id])
        bridges[deal_id].rungs.add(rung)
    for note, deal_id in _linked_credits(world, links, bridges):
        bridges[deal_id].credits.append(note)
    for draft in world.drafts.values():
        if draft.deal_ref in bridges and world.has_drafts(draft.customer_id):
            bridges[draft.deal_ref].drafts.append(draft)
    return {deal_id: _deal_answer(world, bridge) for deal_id, bridge in bridges.items()}


def _contracted(world: World, deal: Deal) -> Decimal | None:
    lines = world.lines_of.get(deal.id)
    return sum((line.amount for line in lines), ZERO) if lines else deal.amount


def link_invoices(world: World, deals: list[Deal], matches: dict[str, Match]) -> dict[str, tuple[str, int]]:
    """Deal id and rung by invoice id: by the deal's id or a number that is unique in the account, then by a unique amount."""
    standing = [
        i for i in world.invoices.values() if not (i.voided or i.deleted) and i.issued <= world.today
    ]
    by_id = {deal.id for deal in deals}
    links = {i.id: i.deal_ref for i in standing if i.deal_ref in by_id}
    by_account: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in standing:
        if account_id := matches[invoice.customer_id].account_id:
            by_account[account_id].append(invoice)
    for deal in deals:
        for number in deal.invoice_numbers:
            found = [i for i in by_account.get(deal.account_id or "", ()) if i.number == number]
            if len(found) == 1 and found[0].id not in links:
                links[found[0].id] = deal.id
    linked = set(links.values())
    loose_deals = [d for d in deals if d.id not in linked and d.account_id in by_account]
    by_amount = _by_amount(world, loose_deals, by_account, links)
    return {i: (d, 2) for i, d in links.items()} | {i: (d, 3) for i, d in by_amount.items()}


def _by_amount(
    world: World, deals: list[Deal], by_account: dict[str, list[Invoice]], links: dict[str, str]
) -> dict[str, str]:
    pairs = [
        (invoice.id, deal.id)
        for deal in deals
        if (contracted := _contracted(world, deal)) is not None
        for invoice in by_account[deal.account_id]
        if invoice.id not in links
        and invoice.currency == (deal.currency or world.base_currency)
        and _near(invoice.net - contracted, TOLERANCE)
        and deal.close_date - timedelta(days=30) <= invoice.issued <= deal.close_date + timedelta(days=90)
    ]
    invoices, owners = Counter(i for i, _ in pairs), Counter(d for _, d in pairs)
    return {i: d for i, d in pairs if invoices[i] == 1 and owners[d] == 1}


def _linked_credits(
    world: World, links: dict[str, str], bridges: dict[str, Bridge]
) -> Iterable[tuple[CreditNote, str]]:
    for note in world.credit_notes.values():
        if note.voided or note.deleted or note.issued > world.today or is_journal(world, note):
            continue
        if note.deal_ref in bridges:
            yield note, note.deal_ref
            continue
        spent_on = {
            links[a.doc_id]
            for payment, _ in world.applied.get(note.id, ())
            for a in payment.applications
            if a.kind == "invoice" and a.doc_id in links and payment.date <= world.today
        }
        for deal_id in sorted(spent_on)[:1]:
            yield note, deal_id


def is_journal(world: World, record: object) -> bool:
    """Whether it is a journal entry in the ledger that has it; in one without them it is the credit note that it was made as."""
    return isinstance(record, CreditNote) and record.journal and world.has_journals(record.customer_id)


def _near(difference: Decimal, tolerance: Decimal) -> bool:
    return -tolerance <= difference <= tolerance


def _deal_answer(world: World, bridge: Bridge) -> dict[str, object]:
    foreign = any(i.currency != (bridge.deal.currency or world.base_currency) for i in bridge.invoices)
    variance = None if foreign or bridge.contracted is None else bridge.invoiced - bridge.contracted
    parts = bridge_parts(world, bridge)
    if variance is None:
        status, cause = "Review", "other_currency" if foreign else "unexplained"
    else:
        status, cause = _judge(parts)
    return {
        "status": status,
        "cause": cause,
        "contracted": None if bridge.contracted is None else money(bridge.contracted),
        "invoiced": None if foreign else money(bridge.invoiced),
        "variance": None if variance is None else money(variance),
        "bridge": {name: money(amount) for name, amount in in_base(world, bridge, parts).items()},
        "linked": sorted((i.id for i in bridge.invoices), key=int),
        "link_rungs": sorted(bridge.rungs),
    }


ASKS_A_PERSON = ("duplicate_invoice", "price_or_quantity", "awaiting_review")
UNPROVEN = ("unexplained", "not_invoiced", "partly_invoiced", "over_invoiced")


def _judge(parts: dict[str, Decimal]) -> tuple[str, str | None]:
    """Status and main cause of a bridge: what nobody has explained comes first, else the largest cause."""
    proven = {cause: amount for cause, amount in parts.items() if cause != "rounding"}
    if not proven:
        return "Matched", "rounding" if parts else None
    for cause in UNPROVEN:
        if cause in proven:
            return "Review", cause
    status = "Review" if any(cause in ASKS_A_PERSON for cause in proven) else "Explained"
    return status, max(proven, key=lambda cause: abs(proven[cause]))


def _repeated(invoices: list[Invoice]) -> list[Invoice]:
    return [copy for n, copy in enumerate(invoices) if any(_alike(copy, other) for other in invoices[:n])]


def _alike(one: Invoice, other: Invoice) -> bool:
    """Whether two invoices bill equal amounts of the same products; an invoice without any code does not say of what."""
    first, second = _by_code(one), _by_code(other)
    return one.net == other.net and (first == second or not any(first) or not any(second))


def _by_code(invoice: Invoice) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for item in _items([invoice]):
        found[item.sku or ""] += item.amount
    return found


def _still_to_come(world: World, deal: Deal) -> Decimal:
    total = ZERO
    for line in world.lines_of.get(deal.id) or []:
        dates = instalment_dates(line)
        if dates:
            total += line.amount * sum(day > world.today for day in dates) / len(dates)
    return total


# -- the bridge -----------------------------------------------------------------------------------------------------


def bridge_parts(world: World, bridge: Bridge) -> dict[str, Decimal]:
    """What each cause makes of invoiced against contracted, in the deal's currency; together all of the difference."""
    if bridge.contracted is None:
        return {}
    deal, documents = bridge.deal, (*bridge.invoices, *bridge.credits)
    share = {i.id: _in_deals_currency(world, deal, i) for i in (*documents, *bridge.drafts)}
    invoiced = sum((i.net * share[i.id] for i in bridge.invoices), ZERO) - sum((n.net * share[n.id] for n in bridge.credits), ZERO)
    left = invoiced - bridge.contracted
    tolerance = TOLERANCE * max(1, len(documents))
    parts: dict[str, Decimal] = {}

    def take(cause: str, amount: Decimal) -> None:
        nonlocal left
        if amount:
            parts[cause] = amount
            left -= amount

    tax, lines = _tax_rate_in_the_contract(world, bridge), world.lines_of.get(deal.id) or []
    if not _near(left, tolerance):
        take("tax_in_contract", bridge.contracted / (1 + tax) - bridge.contracted)
    if not _near(left, tolerance):
        extra = _copies_too_many(world, bridge)
        take("duplicate_invoice", sum((i.net for i in extra), ZERO))
        take("credit_note", -sum((n.net * share[n.id] for n in bridge.credits), ZERO))
        take("discount", sum((li.amount * share[i.id] for i in bridge.invoices for li in i.lines if li.kind == "discount"), ZERO))
        billed = _by_product((invoice for invoice in bridge.invoices if invoice not in extra), share)
        drafted = _by_product(bridge.drafts, share)
        take("price_or_quantity", _price_or_quantity(world, lines, billed, drafted, tax))
        beyond = max(ZERO, sum((v for sku, v in billed.items() if sku not in {line.sku for line in lines}), ZERO)) if lines else ZERO
        waiting = (max(ZERO, _due(world, line) / (1 + tax) - drafted[line.sku]) for line in lines if line.sku not in billed)
        beyond = max(ZERO, beyond - sum(waiting, ZERO))
        take("awaiting_review", -max(ZERO, min(sum((d.net * share[d.id] for d in bridge.drafts), ZERO), beyond - left)))
        take("scheduled", -max(ZERO, min(_still_to_come(world, deal) / (1 + tax), beyond - left)))
    if not _near(left, tolerance):
        short = "partly_invoiced" if bridge.invoices else "not_invoiced"
        take("unexplained" if deal.amount_text else short if left < ZERO else "over_invoiced", left)
    take("rounding", left)
    return parts


def in_base(world: World, bridge: Bridge, parts: dict[str, Decimal]) -> dict[str, Decimal]:
    """The parts in base currency at the rate of the close, and as `fx` what the documents' own rates add; none below a cent."""
    close, deal = world.rate(bridge.deal.currency, bridge.deal.close_date), bridge.deal
    found = {cause: amount * close for cause, amount in parts.items()}
    if bridge.contracted is not None:
        signed = [(i, 1) for i in bridge.invoices] + [(n, -1) for n in bridge.credits]
        found["fx"] = sum((sign * d.net * (d.rate - _in_deals_currency(world, deal, d) * close) for d, sign in signed), ZERO)
    return {cause: amount for cause, amount in found.items() if abs(amount) >= CENT / 2}


def _in_deals_currency(world: World, deal: Deal, document: Invoice | CreditNote) -> Decimal:
    """Units of the deal's currency per unit of the document's, on the document's day."""
    if document.currency == (deal.currency or world.base_currency):
        return Decimal(1)
    return document.rate / world.rate(deal.currency, document.issued)


def _items(invoices: list[Invoice]) -> list[DocLine]:
    return [line for invoice in invoices for line in invoice.lines if line.kind == "item"]


def _by_product(invoices: Iterable[Invoice], share: dict[str, Decimal]) -> dict[str | None, Decimal]:
    found: dict[str | None, Decimal] = defaultdict(lambda: ZERO)
    for invoice in invoices:
        for item in _items([invoice]):
            found[item.sku] += item.amount * share[invoice.id]
    return found


def _due(world: World, line: DealLine) -> Decimal:
    """What a line of a deal was to be billed by today."""
    dates = instalment_dates(line)
    return line.amount * sum(day <= world.today for day in dates) / len(dates) if dates else line.amount


def _tax_rate_in_the_contract(world: World, bridge: Bridge) -> Decimal:
    """The invoices' rate of tax where the contract was made with it: it is all the difference, or in every price."""
    net, tax = (sum((getattr(i, name) for i in bridge.invoices), ZERO) for name in ("net", "tax"))
    if not tax or bridge.contracted is None:
        return ZERO
    rate = (tax / net).quantize(Decimal("0.0001"))
    sold = {line.sku: line.unit_price for line in world.lines_of.get(bridge.deal.id) or []}
    prices = [(sold[item.sku], item.unit_price) for item in _items(bridge.invoices) if item.sku in sold]
    if prices and all(_near(there - here, TOLERANCE) for there, here in prices):
        return ZERO
    if _near(bridge.invoiced - bridge.contracted + tax, TOLERANCE * len(bridge.invoices)):
        return tax / net
    return rate if prices and all(_near(there - here * (1 + rate), TOLERANCE) for there, here in prices) else ZERO


def _copies_too_many(world: World, bridge: Bridge) -> list[Invoice]:
    """Invoices that are there again though the contract has no room for them; of instalments, sent within three days."""
    lines = {line.sku: line for line in world.lines_of.get(bridge.deal.id) or []}
    found: list[Invoice] = []
    for copy in sorted(_repeated(bridge.invoices), key=lambda invoice: invoice.issued):
        skus = {item.sku for item in _items([copy]) if item.sku}
        rest = [invoice for invoice in bridge.invoices if invoice not in (*found, copy)]
        still = {sku: sum((item.amount for item in _items(rest) if item.sku == sku), ZERO) for sku in skus}
        soon = any(i is not copy and _alike(i, copy) and 0 <= (copy.issued - i.issued).days <= 3 for i in bridge.invoices)
        if skus:
            fits = skus <= set(lines) and all(still[sku] >= _due(world, lines[sku]) - TOLERANCE for sku in skus)
        else:
            fits = sum((invoice.net for invoice in rest), ZERO) >= sum((_due(world, line) for line in lines.values()), ZERO) - TOLERANCE
        if fits and (soon or not any(instalment_dates(lines[sku]) for sku in skus or lines)):
            found.append(copy)
    return found


def _price_or_quantity(
    world: World, lines: list[DealLine], billed: dict[str | None, Decimal], drafted: dict[str | None, Decimal], tax: Decimal
) -> Decimal:
    """By how much the products that were sold and billed were billed otherwise; what is missing of an instalment, or stands on
    a draft, is no such thing."""
    total = ZERO
    for line in lines:
        difference = billed[line.sku] - _due(world, line) / (1 + tax) if line.sku in billed else ZERO
        if not _near(difference, TOLERANCE) and not instalment_dates(line):
            total += difference if difference > ZERO else min(ZERO, difference + drafted[line.sku])
    return total
