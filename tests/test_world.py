"""The invented company: the same every time, complete at its smallest, and its answers what its scenarios say."""

import copy
import time
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal

import pytest

from pipelines.sandbox.answers import business_domain, normal_name
from pipelines.sandbox.entities import add_months, slug
from pipelines.sandbox.scenarios import SCENARIOS
from pipelines.sandbox.world import World, make_world

STATUSES = {"No Invoices", "Credit Hold", "Overdue", "Current"}
CAUSES = {
    None, "tax_in_contract", "duplicate_invoice", "credit_note", "discount", "price_or_quantity", "scheduled",
    "not_invoiced", "partly_invoiced", "over_invoiced", "rounding", "other_currency", "unexplained",
}  # fmt: skip
EXCEPTIONS = {
    "account_without_owner", "ambiguous_match", "customer_claimed_twice", "customer_only_in_accounting",
    "deal_amount_not_a_number", "deal_without_account", "deal_without_amount", "deal_without_lines",
    "header_differs_from_lines", "repeated_invoice_number",
}  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def answers(world: World) -> dict:
    return world.answers()


def test_the_same_seed_makes_the_same_world() -> None:
    assert make_world() == make_world()
    assert make_world(accounts=90) == make_world(accounts=90)
    assert make_world(seed=8, accounts=90) != make_world(accounts=90)


def test_a_larger_world_keeps_the_smaller_ones_accounts() -> None:
    small, large = make_world(accounts=70), make_world(accounts=100)
    assert list(small.accounts.items()) == list(large.accounts.items())[:70]


def test_two_days_at_once_are_the_same_as_one_after_the_other() -> None:
    at_once, stepwise = make_world(accounts=400), make_world(accounts=400)
    at_once.advance(20)
    for _ in range(20):
        stepwise.advance(1)
    assert at_once == stepwise
    assert at_once.today == date(2026, 7, 20)
    assert at_once.answers() == stepwise.answers()


def test_a_copy_goes_its_own_way() -> None:
    world = make_world()
    other = copy.deepcopy(world)
    other.advance(3)
    assert world == make_world()
    world.advance(3)
    assert world == other


def test_there_are_as_many_accounts_as_asked_for(world: World) -> None:
    assert len(world.accounts) == 60
    assert len(make_world(accounts=1).accounts) < 60


def test_every_scenario_is_in_the_smallest_world_and_proven_by_an_expectation(world: World) -> None:
    unproven = {s.name for s in SCENARIOS} - {expectation.scenario for expectation in world.expected}
    assert unproven == set()
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_every_answer_is_what_its_scenario_says() -> None:
    world, checked = make_world(accounts=200), Counter()
    for _ in range(3):
        answers = world.answers()
        for said in world.expected:
            if said.on == world.today:
                got = answers[said.kind][said.record_id]
                assert {key: got[key] for key in said.values} == said.values, f"{said.scenario}: {said.record_id}"
                checked[said.on] += 1
        world.advance(1)
    assert len(checked) == 3
    assert sum(checked.values()) == len(world.expected)


def test_everything_that_can_be_said_is_said(answers: dict) -> None:
    assert {a["financial_status"] for a in answers["accounts"].values()} == STATUSES
    assert {d["cause"] for d in answers["deals"].values()} == CAUSES
    assert {d["status"] for d in answers["deals"].values()} == {"Matched", "Explained", "Review"}
    certain = {m["rung"] for m in answers["matches"].values() if m["account_id"]}
    asked = {m["rung"] for m in answers["matches"].values() if not m["account_id"]}
    assert (certain, asked) == ({2, 3, 4, 5}, {None, 2, 4, 5})
    assert {e["kind"] for e in answers["exceptions"]} == EXCEPTIONS
    seen = {a["last_invoice_status"] for a in answers["accounts"].values()}
    assert seen == {None, "Voided", "Paid", "Overdue", "Partially Paid", "Sent"}
    assert {a["credit_status"] for a in answers["accounts"].values()} == {"None", "Credit Note Open", "Refunded"}


def test_archived_accounts_have_no_answer(world: World, answers: dict) -> None:
    archived = {account.id for account in world.accounts.values() if account.archived}
    assert archived and not archived & set(answers["accounts"])


def test_names_that_break_things_are_there(world: World) -> None:
    names = " ".join(account.name for account in world.accounts.values())
    assert all(part in names for part in ('"', "'", "\U0001f680", "\u0634", "<script>", "é"))
    assert any(account.name.startswith("=") for account in world.accounts.values())
    assert max(len(account.name) for account in world.accounts.values()) == 300


@pytest.mark.parametrize("accounts", [60, 400])
def test_the_books_add_up(accounts: int) -> None:
    world = make_world(accounts=accounts)
    for _ in range(2):
        _assert_books(world)
        world.advance(10)


def _assert_books(world: World) -> None:
    for document in [*world.invoices.values(), *world.credit_notes.values()]:
        assert 0 <= world.open_amount(document) <= document.gross, document.id
        for line in document.lines:
            if line.kind == "item":
                assert line.quantity * line.unit_price == line.amount
    for payment in world.payments.values():
        assert 0 <= payment.unapplied <= payment.amount, payment.id
        for part in payment.applications:
            document = world.invoices.get(part.doc_id) or world.credit_notes[part.doc_id]
            assert document.customer_id == payment.customer_id and document.currency == payment.currency
            assert part.date == payment.date
    for deal_id, lines in world.lines_of.items():
        assert all(line.amount == line.quantity * line.unit_price - line.discount for line in lines), deal_id


def test_changes_are_stamped_within_the_day_and_spread_over_it(world: World) -> None:
    stamps = [row.modified for row in world.invoices.values()]
    assert len(set(stamps)) > len(stamps) * 9 // 10
    assert all(8 <= stamp.hour < 21 and stamp.date() <= world.today for stamp in stamps)
    later = copy.deepcopy(world)
    later.advance(1)
    kinds = (later.accounts, later.customers, later.deals, later.invoices, later.payments)
    moved = [row for rows in kinds for row in rows.values() if row.modified.date() == later.today]
    assert len(moved) > 5
    changed = [row for row in later.invoices.values() if row != world.invoices.get(row.id)]
    assert all(row.modified.date() == later.today and row.version > 0 for row in changed)


def test_deleting_a_paid_invoice_frees_its_payment(world: World) -> None:
    world = copy.deepcopy(world)
    invoice = next(i for i in world.invoices.values() if world.applied.get(i.id))
    payment = world.applied[invoice.id][0][0]
    if not payment.amount:
        pytest.fail("the first application of the world should be money")
    world.delete_invoice(invoice, world.today)
    assert payment.unapplied == payment.amount
    note_id = next(a.doc_id for p in world.payments.values() for a in p.applications if a.kind == "credit_note")
    settled = next(i for i in world.invoices.values() for p, _ in world.applied.get(i.id, ()) if not p.amount)
    note = world.credit_notes[note_id]
    world.void_invoice(settled, world.today)
    assert world.open_amount(note) == note.gross
    assert world.open_amount(settled) == 0


def test_the_large_world_has_the_promised_size_in_time() -> None:
    started = time.process_time()
    world = make_world(accounts=5000)
    took = time.process_time() - started
    assert took < 10, f"5,000 accounts took {took:.1f} s"
    assert 19_000 < len(world.deals) < 22_000
    assert 55_000 < len(world.invoices) < 65_000


def test_helpers() -> None:
    assert normal_name("Café Zürich, GmbH") == normal_name("CAFE ZURICH AG") == "cafe zurich"
    assert business_domain("www.Acme.example".lower()) == "acme.example" and business_domain("gmail.com") == ""
    assert slug("Müller & Söhne") == "muller-sohne" and slug("\u0634") == "firm"
    assert add_months(date(2026, 1, 31), 1) == date(2026, 2, 28)
    assert add_months(date(2026, 1, 31), -2) == date(2025, 11, 30)
    assert add_months(date(2026, 12, 1), 1) - date(2026, 12, 1) == timedelta(days=31)
    assert isinstance(make_world().rate("EUR", date(2001, 1, 1)), Decimal)
