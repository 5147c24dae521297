"""The invented company: the same every time, complete at its smallest, and its answers what its scenarios say."""

import copy
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from pipelines.sandbox.answers_matching import business_domain, normal_name
from pipelines.sandbox.entities import DocLine, add_months, slug
from pipelines.sandbox.references import Share
from pipelines.sandbox.scenarios import FURTHER_SCENARIOS, SCENARIOS, plant_further
from pipelines.sandbox.world import World, make_world
from pipelines.vendors.crm_types import ACCOUNT_FIELDS, FINANCIAL_STATUSES

STATUSES = {"No Invoices", "Credit Hold", "Overdue", "Current"}
CAUSES = {
    None, "tax_in_contract", "duplicate_invoice", "credit_note", "discount", "price_or_quantity", "scheduled",
    "not_invoiced", "partly_invoiced", "over_invoiced", "rounding", "other_currency", "unexplained",
}  # fmt: skip
EXCEPTIONS = {
    "account_without_owner", "ambiguous_match", "customer_claimed_twice", "customer_only_in_accounting",
    "deal_amount_not_a_number", "deal_without_account", "deal_without_amount", "deal_without_lines",
    "header_differs_from_lines", "not_read", "repeated_invoice_number", "term_assumed",
}  # fmt: skip
CURRENCIES = ("USD", "EUR", "GBP")
BRIDGE_CAUSES = (
    "fx", "tax_in_contract", "duplicate_invoice", "credit_note", "discount", "price_or_quantity", "awaiting_review", "scheduled",
    "not_invoiced", "partly_invoiced", "over_invoiced", "rounding", "unexplained",
)  # fmt: skip
# What no company can have, and what this one's facts cannot say, with the reason.
IMPOSSIBLE = {("fx", "USD"): "the base currency has no rate to itself"}
UNSAID_STATUSES = {"Viewed": "not every ledger knows that an invoice was looked at; a dbt unit test has it"}
UNSAID_RUNGS = {
    ("match", 1): "what a person decides is no fact of the company", ("match", 6): "a suggestion decides nothing",
    ("link", 1): "what a person decides is no fact of the company", ("link", 4): "a suggestion decides nothing",
}  # fmt: skip
UNIT_TESTS = Path(__file__).parents[1] / "dbt_project" / "models" / "intermediate"


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def answers(world: World) -> dict:
    return world.answers()


@pytest.fixture(scope="module")
def larger() -> World:
    """The company with drafts, and with what it has in its base currency in two foreign ones."""
    return larger_world()


@pytest.fixture(scope="module")
def key(larger: World) -> dict:
    return larger.answers()


def larger_world(accounts: int = 66) -> World:
    world = make_world(accounts=accounts)
    plant_further(world)
    return world


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
    assert len(world.accounts) == 66
    assert len(make_world(accounts=1).accounts) < 66


def test_every_scenario_is_in_the_smallest_world_and_proven_by_an_expectation(world: World) -> None:
    unproven = {s.name for s in SCENARIOS} - {expectation.scenario for expectation in world.expected}
    assert unproven == set()


def test_every_further_scenario_is_proven_and_leaves_the_company_what_it_is(world: World, larger: World) -> None:
    every = (*SCENARIOS, *FURTHER_SCENARIOS)
    assert {scenario.name for scenario in every} == {expectation.scenario for expectation in larger.expected}
    assert len({scenario.name for scenario in every}) == len(every)
    for kind in ("accounts", "customers", "deals", "invoices", "payments"):
        assert list(getattr(larger, kind).items())[: len(getattr(world, kind))] == list(getattr(world, kind).items())
    assert world.drafts == {} and len(larger.drafts) > 20


def test_every_answer_is_what_its_scenario_says() -> None:
    world, checked = larger_world(accounts=200), Counter()
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


# -- what the key covers, computed from its answers


def split_deals(world: World, key: dict) -> Iterator[tuple[str, set[str]]]:
    """Currency and causes of each deal with a difference."""
    for deal_id, answer in key["deals"].items():
        if answer["bridge"]:
            yield world.deals[deal_id].currency or world.base_currency, set(answer["bridge"])


def uncovered(values: Iterable[object], found: Iterable[tuple[object, str]]) -> set[tuple[object, str]]:
    return {(value, currency) for value in values for currency in CURRENCIES} - set(found)


def test_every_cause_is_there_alone_and_with_others_in_three_currencies(larger: World, key: dict) -> None:
    """Alone is the only cause in the deal's currency: what rates make of a foreign deal comes on top of any."""
    alone, together = set(), set()
    for currency, causes in split_deals(larger, key):
        own = causes - {"fx"}
        if len(own) <= 1:
            alone |= {(cause, currency) for cause in own or causes}
        if len(causes) > 1:
            together |= {(cause, currency) for cause in (causes if len(own) > 1 else {"fx"})}
    assert uncovered(BRIDGE_CAUSES, alone) == IMPOSSIBLE.keys()
    assert uncovered(BRIDGE_CAUSES, together) == IMPOSSIBLE.keys()


def test_unexplained_is_only_where_a_record_has_a_problem(larger: World, key: dict) -> None:
    found = {deal for deal, answer in key["deals"].items() if "unexplained" in (answer["cause"], *answer["bridge"])}
    assert found and all(larger.deals[deal].amount is None for deal in found)
    assert all(larger.deals[deal].amount_text for deal in found if key["deals"][deal]["bridge"])


def kinds_of_receipts(world: World) -> Iterator[tuple[str, str]]:
    """What moves receivables besides invoices, credit notes and payments of invoices, with its currency."""
    sold_at_once = {invoice.customer_id: invoice for invoice in world.invoices.values() if invoice.at_once and not invoice.voided}
    for invoice in sold_at_once.values():
        yield "sales receipt", invoice.currency
    for refund in world.refunds.values():
        if refund.way == "receipt" and refund.customer_id in sold_at_once:
            yield "sales receipt, refunded", refund.currency
    for payment in world.payments.values():
        kinds = {part.kind for part in payment.applications}
        paid = [world.record(part) for part in payment.applications if part.kind == "invoice"]
        if payment.with_document and not paid[0].at_once:
            yield "deposit on the invoice", payment.currency
        if "deposit" in kinds and paid:
            yield "deposit that pays an invoice", payment.currency
        for part in payment.applications:
            if part.kind == "credit_note" and world.record(part).journal and paid:
                yield "journal entry beside money" if payment.amount else "journal entry that settles an invoice", payment.currency
            if part.kind == "refund":
                credit = "deposit" if "deposit" in kinds else "credit note" if "credit_note" in kinds else "payment"
                yield f"{world.record(part).way} for a {credit}", payment.currency
    for received in world.deposits.values():
        if world.open_amount(received):
            yield "deposit that pays nothing yet", received.currency


RECEIPTS = {
    "sales receipt", "sales receipt, refunded", "deposit on the invoice", "deposit that pays an invoice", "deposit that pays nothing yet",
    "journal entry that settles an invoice", "journal entry beside money", "check for a payment", "check for a deposit",
    "expense for a credit note",
}  # fmt: skip


def test_every_way_of_being_paid_is_there_in_three_currencies(world: World, larger: World) -> None:
    assert {kind for kind, _ in kinds_of_receipts(world)} == RECEIPTS
    assert uncovered(RECEIPTS, kinds_of_receipts(larger)) == set()


def test_where_the_ledger_has_no_journals_what_is_written_off_is_credited() -> None:
    posting, without = make_world(), make_world()
    without.has_journals = lambda customer_id: False
    entries = {note.id: note for note in posting.credit_notes.values() if note.journal}
    (account,) = {one.id for one in posting.accounts.values() for entry in entries.values() if entry.customer_id in one.customer_ids}
    here, there = posting.answers(), without.answers()
    for key in (here, there):
        assert (key["accounts"][account]["collected_to_date"], key["accounts"][account]["total_outstanding"]) == ("210.00", "0.00")
    assert (here["accounts"][account]["invoiced_to_date"], there["accounts"][account]["invoiced_to_date"]) == ("300.00", "210.00")
    assert {one for one in here["accounts"] if here["accounts"][one] != there["accounts"][one]} == {account}
    named = [{"kind": "not_read", "record_id": entry} for entry in entries]
    assert [one for one in here["exceptions"] if one not in there["exceptions"]] == named
    assert here["deals"] == there["deals"]


def test_a_voided_sale_takes_its_money_with_it() -> None:
    world = make_world()
    sale = next(invoice for invoice in world.invoices.values() if invoice.at_once and not invoice.deal_ref)
    (account,) = (one for one in world.accounts.values() if sale.customer_id in one.customer_ids)
    before = world.answers()["accounts"][account.id]
    world.void_invoice(sale, world.today)
    after = world.answers()["accounts"][account.id]
    assert (before["collected_to_date"], after["collected_to_date"], after["unapplied_credit"]) == ("791.20", "691.20", "0.00")


def test_a_voided_invoice_gives_its_deposit_back() -> None:
    world = make_world()
    received = next(one for one in world.deposits.values() if world.applied.get(one.id))
    (payment,) = (payment for payment, _ in world.applied[received.id])
    invoice = next(world.record(part) for part in payment.applications if part.kind == "invoice")
    world.void_invoice(invoice, world.today)
    assert payment.deleted and world.open_amount(received) == received.amount and received.version == 2


def by_currency(world: World, key: dict, name: str) -> set[tuple[object, str]]:
    """{(what the accounts' field `name` says, currency of a customer of the account)}."""
    currencies = defaultdict(set)
    for customer_id, match in key["matches"].items():
        currencies[match["account_id"]].add(world.customers[customer_id].currency)
    return {(answer[name], currency) for account, answer in key["accounts"].items() for currency in currencies[account]}


@pytest.mark.parametrize("name", ["financial_status", "last_invoice_status", "credit_status"])
def test_every_status_is_there_in_three_currencies(larger: World, key: dict, name: str) -> None:
    options = next(field.options for field in ACCOUNT_FIELDS if field.name == name)
    assert name != "financial_status" or set(options) == set(FINANCIAL_STATUSES) == STATUSES
    unsaid = UNSAID_STATUSES if name == "last_invoice_status" else {}
    assert uncovered(set(options) - unsaid.keys(), by_currency(larger, key, name)) == set()
    assert not unsaid.keys() & {answer[name] for answer in key["accounts"].values()}


def test_every_status_of_a_deal_is_there_in_three_currencies(larger: World, key: dict) -> None:
    found = {(answer["status"], larger.deals[deal].currency or larger.base_currency) for deal, answer in key["deals"].items()}
    assert uncovered(("Matched", "Explained", "Review"), found) == set()


def test_every_rung_is_there_or_in_a_unit_test_of_the_models(larger: World, key: dict) -> None:
    """Customers are matched without a look at amounts, deals to invoices of their own currency."""
    matched = {match["rung"] for match in key["matches"].values() if match["account_id"]}
    assert matched == {rung for rung in range(1, 7) if ("match", rung) not in UNSAID_RUNGS}
    linked = {(rung, larger.deals[deal].currency) for deal, answer in key["deals"].items() for rung in answer["link_rungs"]}
    assert uncovered((rung for rung in range(1, 5) if ("link", rung) not in UNSAID_RUNGS), linked) == set()
    assert {("match", 1), ("link", 1), ("match", 6), ("link", 4)} == UNSAID_RUNGS.keys()
    proven = unit_tested()
    assert {1} <= proven["int_customers__matched"] and {1} <= proven["int_documents__linked"]
    assert proven.keys() >= {"int_match_suggestions__scored", "int_link_suggestions__found"}


def unit_tested() -> dict[str, set[int]]:
    """{model: rungs in the rows that its dbt unit tests expect}."""
    found = defaultdict(set)
    for path in UNIT_TESTS.glob("unit_tests_*.yml"):
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["unit_tests"]:
            found[test["model"]] |= {row["rung"] for row in test["expect"]["rows"] if row.get("rung")}
    return found


# -- drafts and rates


def test_where_the_ledger_has_no_drafts_a_drafted_deal_is_as_if_it_was_not() -> None:
    drafting, without, empty = larger_world(), larger_world(), larger_world()
    without.has_drafts = lambda customer_id: False
    drafted = {draft.deal_ref for draft in drafting.drafts.values()}
    empty.drafts.clear()
    here, there = drafting.answers()["deals"], without.answers()["deals"]
    assert without.answers() == empty.answers()
    assert {deal for deal in here if here[deal] != there[deal]} == drafted
    for world in (drafting, without):
        world.advance(2)
    issued = drafted - {draft.deal_ref for draft in drafting.drafts.values()}
    assert len(issued) == 9 and all(drafting.answers()["deals"][deal]["linked"] for deal in issued)
    assert [drafting.answers()["deals"][deal] for deal in sorted(issued)] == [without.answers()["deals"][deal] for deal in sorted(issued)]


def test_an_approved_draft_is_dated_that_day_at_its_rate(world: World) -> None:
    world = copy.deepcopy(world)
    customer = world.add_customer("Approved Apples", currency="EUR")
    draft = world.add_draft(customer, world.ago(70), [DocLine("PLT-STD", "Platform", None, Decimal(1), Decimal(900), Decimal(900))])
    assert draft.rate != world.rate("EUR", world.today) and world.open_amount(draft) == 900
    assert customer.modified < draft.modified or draft.id not in world.invoices
    world.approve(draft, world.today)
    assert (draft.status, draft.issued, draft.due, draft.rate, draft.version) == (
        "issued", world.today, world.ago(-30), world.rate("EUR", world.today), 1)
    assert world.invoices[draft.id] is draft and draft.id not in world.drafts


def test_ledgers_that_share_the_customers_share_their_drafts_too() -> None:
    world = larger_world()
    halves = [Share(world, position, 2) for position in range(2)]
    for _ in range(2):
        parts = [half.drafts.keys() for half in halves]
        assert parts[0] and parts[1] and parts[0] | parts[1] == world.drafts.keys() and not parts[0] & parts[1]
        gone = next(iter(world.drafts.values()))
        world.approve(gone, world.today)
        world.add_draft(world.customers[gone.customer_id], world.today, gone.lines)


def test_the_gain_of_a_settlement_is_between_the_rates_of_its_two_days(world: World) -> None:
    world = copy.deepcopy(world)
    customer = world.add_customer("Rated Radishes", currency="EUR")
    line = DocLine("PLT-STD", "Platform", None, Decimal(1), Decimal(1000), Decimal(1000))
    invoice = world.add_invoice(customer, date(2026, 3, 10), [line])
    note = world.add_credit_note(customer, date(2026, 4, 10), [line])
    world.apply_credit(note, invoice, date(2026, 6, 10), Decimal(400))
    world.settle(invoice, date(2026, 5, 10))
    march, april, may = (world.rate("EUR", date(2026, month, 10)) for month in (3, 4, 5))
    found = {one["applied_type"]: one for one in world.answers()["realised_fx"] if one["invoice_id"] == invoice.id}
    assert found["credit_note"] == {"invoice_id": invoice.id, "applied_type": "credit_note", "applied_date": "2026-06-10",
                                    "amount": "400.00", "gain": str((400 * (april - march)).quantize(Decimal("0.01")))}
    assert found["payment"]["amount"] == "600.00" and found["payment"]["applied_date"] == "2026-05-10"
    assert Decimal(found["payment"]["gain"]) == (600 * (may - march)).quantize(Decimal("0.01")) != 0


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
    world = larger_world(accounts)
    for _ in range(2):
        _assert_books(world)
        world.advance(10)


def _assert_books(world: World) -> None:
    for received in world.deposits.values():
        assert 0 <= world.open_amount(received) <= received.amount, received.id
    for refund in world.refunds.values():
        assert refund.way == "receipt" or world.applied[refund.id], refund.id
    for document in [*world.invoices.values(), *world.credit_notes.values()]:
        assert 0 <= world.open_amount(document) <= document.gross, document.id
        for line in document.lines:
            if line.kind == "item":
                assert line.quantity * line.unit_price == line.amount
    for payment in world.payments.values():
        assert 0 <= payment.unapplied <= payment.amount, payment.id
        for part in payment.applications:
            record = world.record(part)
            assert record.customer_id == payment.customer_id and record.currency == payment.currency
            assert part.date == payment.date or (part.kind == "refund" and part.date == record.date > payment.date)
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
