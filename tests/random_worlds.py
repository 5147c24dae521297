"""Small companies made at random, the same from the same seed: won deals in three currencies, what was invoiced for each,
and which causes were planted to make the two differ, by how much.

The rows are canonical, of an invented CRM and an invented ledger, so that one build holds many worlds; every id starts
with its world's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import duckdb
import pyarrow
from test_dbt_models import AS_OF, canonical_columns
from test_dbt_several import BOOKS, CRM, OBJECTS

Rows = dict[str, list[dict[str, object]]]

# Units of a currency per smallest amount, and base units per unit at the close.
CURRENCIES = {"USD": (Decimal("0.01"), Decimal(1)), "EUR": (Decimal("0.01"), Decimal("1.083")), "JPY": (Decimal(1), Decimal("0.0067"))}
CENT = Decimal("0.01")


@dataclass
class Line:
    """A line of a deal or of an invoice."""

    product: str
    quantity: int
    price: Decimal
    periods: int = 1
    start: date | None = None
    kind: str = "item"
    text: str | None = None

    @property
    def amount(self) -> Decimal:
        return self.quantity * self.price


@dataclass
class Bill:
    """An invoice or a credit note of a deal, as it will be written."""

    lines: list[Line]
    issued: date
    document_type: str = "invoice"
    status: str = "issued"
    tax: Decimal = Decimal(0)
    rate: Decimal = Decimal(1)

    @property
    def net(self) -> Decimal:
        return sum((line.amount for line in self.lines), Decimal(0))


@dataclass
class Deal:
    """A won deal, what is billed for it, and the causes that were planted, each with its amount in the deal's currency."""

    id: str
    currency: str
    rate: Decimal
    closed: date
    lines: list[Line]
    bills: list[Bill]
    header: Decimal | None = None
    problem: str | None = None
    planted: dict[str, Decimal] = field(default_factory=dict)

    @property
    def unit(self) -> Decimal:
        return CURRENCIES[self.currency][0]

    @property
    def contracted(self) -> Decimal:
        return self.header if self.header is not None else sum((line.amount for line in self.lines), Decimal(0))

    @property
    def invoiced(self) -> Decimal:
        issued = [bill for bill in self.bills if bill.status == "issued"]
        return sum((bill.net if bill.document_type == "invoice" else -bill.net for bill in issued), Decimal(0))

    @property
    def main(self) -> Bill:
        return self.bills[0]

    def plant(self, cause: str, amount: Decimal) -> None:
        self.planted[cause] = self.planted.get(cause, Decimal(0)) + amount


@dataclass(frozen=True)
class World:
    """One company: its deals, all of one customer."""

    seed: int
    deals: tuple[Deal, ...]


def money(random: Random, deal_or_unit: Decimal, low: int, high: int) -> Decimal:
    """An amount between `low` and `high` smallest units."""
    return random.randint(low, high) * deal_or_unit


def plain(random: Random, deal_id: str) -> Deal:
    """A deal that is billed as it was sold, at the rate at which it was closed."""
    currency = random.choice(list(CURRENCIES))
    unit, rate = CURRENCIES[currency]
    closed = AS_OF - timedelta(days=random.randint(40, 300))
    lines = [Line(f"sku-{number}", random.randint(1, 9), money(random, unit, 5_000, 90_000)) for number in range(random.randint(2, 4))]
    issued = closed + timedelta(days=random.randint(0, 20))
    bill = Bill([Line(line.product, line.quantity, line.price) for line in lines], issued, rate=rate)
    return Deal(deal_id, currency, rate, closed, lines, [bill])


# -- causes: each changes the deal and says what it planted


def fx(random: Random, deal: Deal) -> None:
    """The invoice has the rate of another day. In the deal's own currency there is nothing to see."""
    if deal.currency == "USD":
        deal.currency, deal.rate = "EUR", CURRENCIES["EUR"][1]
    moved = deal.rate * (1 + random.choice([-1, 1]) * random.randint(1, 80) * Decimal("0.001"))
    for bill in deal.bills:
        bill.rate = moved
    deal.plant("fx", Decimal(0))


def tax_in_contract(random: Random, deal: Deal) -> None:
    """The salesperson wrote the gross amount into the header of a deal without lines."""
    deal.main.tax = (deal.main.net * Decimal("0.2")).quantize(deal.unit)
    deal.lines, deal.header = [], deal.main.net + deal.main.tax
    deal.plant("tax_in_contract", -deal.main.tax)


def as_it_is(lines: list[Line]) -> list[Line]:
    return lines


def in_other_words(lines: list[Line]) -> list[Line]:
    """As somebody types it who does not know the products."""
    return [Line("", line.quantity, line.price, text=f"Work, part {number}") for number, line in enumerate(lines, start=1)]


def split(lines: list[Line]) -> list[Line]:
    parts = [[Line(line.product, 1, line.price), Line(line.product, line.quantity - 1, line.price)] for line in lines]
    return [part for pair in parts for part in pair if part.quantity]


def in_one_line(lines: list[Line]) -> list[Line]:
    return [Line("", 1, sum((line.amount for line in lines), Decimal(0)), text="As agreed")]


def duplicate_invoice(random: Random, deal: Deal) -> None:
    first = deal.main
    say = random.choice([as_it_is, in_other_words, split, in_one_line])
    again = random.sample(say(first.lines), len(say(first.lines)))
    deal.bills.append(Bill(again, first.issued + timedelta(days=random.randint(0, 2)), tax=first.tax, rate=first.rate))
    deal.plant("duplicate_invoice", first.net)


def credit_note(random: Random, deal: Deal) -> None:
    part = money(random, deal.unit, 500, 4_000)
    deal.bills.append(Bill([Line("credit", 1, part)], deal.main.issued + timedelta(days=9), "credit_note", rate=deal.main.rate))
    deal.plant("credit_note", -part)


def discount(random: Random, deal: Deal) -> None:
    part = money(random, deal.unit, 500, 4_000)
    deal.main.lines.append(Line("", 1, -part, kind="discount"))
    deal.plant("discount", -part)


def price_or_quantity(random: Random, deal: Deal) -> None:
    line = deal.main.lines[0]
    before = line.amount
    if random.random() < 0.5:
        line.price += random.choice([-1, 1]) * money(random, deal.unit, 100, 2_000)
    else:
        line.quantity += random.randint(1, 3)
    deal.plant("price_or_quantity", line.amount - before)


def awaiting_review(random: Random, deal: Deal) -> None:
    """The last line stands on a draft that nobody has approved yet."""
    last = deal.main.lines.pop(len(deal.lines) - 1)
    deal.bills.append(Bill([last], deal.main.issued, status="draft", rate=deal.main.rate))
    deal.plant("awaiting_review", -last.amount)


def scheduled(random: Random, deal: Deal) -> None:
    """A subscription, billed on the first of each month; what falls due later is not missing."""
    periods, due = 12, random.randint(2, 8)
    start = date(AS_OF.year, AS_OF.month - due + 1, 1) if due <= AS_OF.month else date(AS_OF.year - 1, AS_OF.month - due + 13, 1)
    each = money(random, deal.unit, 1_000, 9_000)
    deal.lines.append(Line("subscription", periods, each, periods, start))
    for number in range(due):
        month = start.month - 1 + number
        deal.bills.append(Bill([Line("subscription", 1, each)], date(start.year + month // 12, month % 12 + 1, 1), rate=deal.main.rate))
    deal.plant("scheduled", -each * (periods - due))


def not_invoiced(random: Random, deal: Deal) -> None:
    deal.bills = []
    deal.plant("not_invoiced", -deal.contracted)


def partly_invoiced(random: Random, deal: Deal) -> None:
    """The last line was forgotten."""
    forgotten = deal.main.lines.pop(len(deal.lines) - 1)
    deal.plant("partly_invoiced", -forgotten.amount)


def over_invoiced(random: Random, deal: Deal) -> None:
    """Something was billed that nobody sold."""
    more = money(random, deal.unit, 1_000, 9_000)
    deal.bills.append(Bill([Line("surplus", 1, more)], deal.main.issued + timedelta(days=4), rate=deal.main.rate))
    deal.plant("over_invoiced", more)


def rounding(random: Random, deal: Deal) -> None:
    """The ledger rounds the other way; a currency without cents has nothing to round."""
    if deal.currency == "JPY":
        return
    side = random.choice([-1, 1]) * CENT
    deal.main.lines[0].quantity, deal.main.lines[0].price = 1, deal.main.lines[0].amount + side
    deal.plant("rounding", side)


def unexplained(random: Random, deal: Deal) -> None:
    """A line is missing of a deal that the CRM cannot say in full: nobody can tell whether it was forgotten."""
    missing = deal.main.lines.pop(len(deal.lines) - 1)
    deal.problem = "amount: 'a lot' is not a number"
    deal.plant("unexplained", -missing.amount)


Cause = Callable[[Random, Deal], None]
SINGLE: tuple[Cause, ...] = (
    fx, tax_in_contract, duplicate_invoice, credit_note, discount, price_or_quantity, awaiting_review, scheduled, not_invoiced,
    partly_invoiced, over_invoiced, rounding, unexplained,
)  # fmt: skip
# Causes that leave one another their proof, in the order in which they are planted.
TOGETHER: tuple[Cause, ...] = (price_or_quantity, awaiting_review, discount, scheduled, credit_note, over_invoiced, fx)


def make_world(seed: int) -> World:
    """Deals without a difference, one of each of some single causes, and some with several at once."""
    random, deals = Random(seed), []
    for number, cause in enumerate([None, *random.sample(SINGLE, 4)]):
        deal = plain(random, f"w{seed}-{number}")
        if cause:
            cause(random, deal)
        deals.append(deal)
    for number in range(2):
        deal = plain(random, f"w{seed}-several-{number}")
        chosen = random.sample(TOGETHER, random.randint(2, 4))
        if {awaiting_review, over_invoiced} <= {*chosen}:  # what nobody sold may be the drafted line under another name
            chosen.remove(over_invoiced)
        for cause in sorted(chosen, key=TOGETHER.index):
            cause(random, deal)
        deals.append(deal)
    return World(seed, tuple(deals))


# -- rows


def rows_of(worlds: Iterable[World]) -> Rows:
    """Canonical rows by `raw_<slug>.<object>`."""
    rows: Rows = defaultdict(list)
    for world in worlds:
        who = f"w{world.seed}"
        _add(rows, CRM, "accounts", account_id=who, name=f"World {world.seed}")
        _add(rows, CRM, "account_customer_ids", account_id=who, ledger=BOOKS, customer_id=who)
        _add(rows, BOOKS, "customers", customer_id=who, name=f"World {world.seed}", active=True, currency="USD")
        for deal in world.deals:
            _add_deal(rows, who, deal)
            for number, bill in enumerate(deal.bills):
                _add_bill(rows, who, deal, bill, f"{deal.id}-{bill.document_type}-{number}")
    return rows


def _add(rows: Rows, slug: str, table: str, **values: object) -> None:
    rows[f"raw_{slug}.{table}"].append({"source": slug} | values)


def _add_deal(rows: Rows, who: str, deal: Deal) -> None:
    _add(rows, CRM, "deals", deal_id=deal.id, name=deal.id, account_id=who, stage="Won", amount=deal.contracted, currency=deal.currency,
         rate=deal.rate, close_date=deal.closed, is_won=True, is_closed=True, probability=1, problem=deal.problem)
    for number, line in enumerate(deal.lines):
        _add(rows, CRM, "deal_lines", deal_id=deal.id, line_id=f"{deal.id}-{number}", product_code=line.product, name=line.product.title(),
             quantity=line.quantity, unit_price=line.price, amount=line.amount, currency=deal.currency,
             billing_frequency="monthly" if line.periods > 1 else None, billing_start=line.start,
             billing_periods=line.periods if line.periods > 1 else None)


def _add_bill(rows: Rows, who: str, deal: Deal, bill: Bill, document_id: str) -> None:
    gross = bill.net + bill.tax
    _add(rows, BOOKS, "documents", document_type=bill.document_type, document_id=document_id, number=document_id, customer_id=who,
         status=bill.status, delivery="sent", issue_date=bill.issued, due_date=bill.issued + timedelta(days=30), currency=deal.currency,
         rate=bill.rate, net=bill.net, tax=bill.tax, gross=gross, open_amount=gross if bill.status == "issued" else 0, refunded_amount=0,
         deal_reference=deal.id)
    for number, line in enumerate(bill.lines, start=1):
        _add(rows, BOOKS, "document_lines", document_type=bill.document_type, document_id=document_id, line_number=number,
             line_kind=line.kind, product_code=line.product or None, description=line.text or line.product.title() or "Discount",
             quantity=line.quantity, unit_price=line.price, amount=line.amount)


def land(path: Path, worlds: Sequence[World]) -> None:
    """Creates the raw tables of both vendors in the DuckDB file at `path` and fills them, a table at a time."""
    columns, rows = canonical_columns(), rows_of(worlds)
    with duckdb.connect(str(path)) as connection:
        for slug, objects in OBJECTS.items():
            connection.execute(f"create schema raw_{slug}")
            for name in objects:
                listed = ", ".join(f"{column} {kind}" for column, kind in columns[name])
                connection.execute(f"create table raw_{slug}.{name} ({listed})")
                found = rows.get(f"raw_{slug}.{name}", [])
                if found:
                    _fill(connection, f"raw_{slug}.{name}", columns[name], found)


def _fill(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[Sequence[str]], rows: Sequence[dict[str, object]]) -> None:
    """Values travel as text, which DuckDB reads into the columns' types."""
    texts = {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name, _ in columns}
    connection.register("landing", pyarrow.table({name: pyarrow.array(values, pyarrow.string()) for name, values in texts.items()}))
    typed = ", ".join(f"{name}::{kind} as {name}" for name, kind in columns)
    connection.execute(f"insert into {table} by name select {typed} from landing")
    connection.unregister("landing")
