"""Salesforce's source: what changed since the last night, over pages that get lost, and what Salesforce computes."""

from datetime import timedelta
from decimal import Decimal

import pytest
from salesforce_org_fixture import ACCOUNT, NOW, OPPORTUNITY, START, Nights, Org, accounts, ids, settings_with

from pipelines.http import ApiError, BudgetSpent
from pipelines.vendors.salesforce import source, source_query
from pipelines.vendors.salesforce.sandbox_schema import make_id
from pipelines.vendors.salesforce.sandbox_soql import stamp


@pytest.fixture
def org() -> Org:
    return Org()


@pytest.fixture
def nights(org, tmp_path) -> Nights:
    return Nights(org, settings_with(tmp_path))


# --- Reading changes


def test_ties_over_a_page_edge_are_read_once_each_when_the_cursor_is_lost(org, nights):
    """85 accounts of one second, and the vendor drops the cursor behind every first page."""
    expected = accounts(org, 85, step=0)
    org.lose = set(range(1, 100))
    rows = nights.run(ACCOUNT)["accounts"]
    assert ids(rows) == expected
    assert sum("SystemModstamp =" in query for query in org.queries) == 8


@pytest.mark.parametrize("code", sorted(source_query.LOCATOR_LOST))
def test_a_lost_cursor_is_no_end(org, nights, code):
    expected = accounts(org, 25)
    org.lose, org.lost_code = {4, 5}, code
    assert ids(nights.run(ACCOUNT)["accounts"]) == expected


def test_records_that_pages_left_out_are_read_after_all(org, nights):
    """The first two pages of ten miss three records each; asked again, they are complete."""
    expected = accounts(org, 25)
    org.records["Organization"] = {}
    org.short, org.on_query = 3, lambda org: setattr(org, "short", 0 if len(org.queries) > 6 else 3)
    rows = nights.run(ACCOUNT)["accounts"]
    assert sorted(set(ids(rows))) == expected and len(rows) > 25


def test_a_night_that_ends_before_left_out_records_came_reads_them_in_the_next(org, nights):
    expected = accounts(org, 25)
    org.records["Organization"], org.short, org.budget = {}, 3, 11
    nights.run(ACCOUNT)
    assert nights.spent and len(nights.alive("accounts")) < 25
    org.short, org.budget = 0, 10_000
    nights.run(ACCOUNT)
    assert sorted(nights.alive("accounts")) == expected


def test_another_refusal_of_a_page_is_an_error(org, nights):
    accounts(org, 25)
    org.lose, org.lost_code = set(range(1, 40)), "SERVER_UNAVAILABLE"
    with pytest.raises(ApiError, match="SERVER_UNAVAILABLE"):
        nights.run(ACCOUNT)


def test_pages_that_stop_early_are_asked_for_again_and_end_in_an_error(org, nights):
    accounts(org, 5)
    org.short = 10
    with pytest.raises(RuntimeError, match="reading CurrencyType broke off|reading Organization broke off"):
        nights.run(ACCOUNT)
    with pytest.raises(RuntimeError, match=f"reading Account broke off {source_query.MAX_RESTARTS} times behind its beginning"):
        list(source.records(nights.job(), ACCOUNT))


def test_the_next_page_has_to_be_the_vendors(org):
    accounts(org, 25)
    org.astray = "https://evil.example"
    with pytest.raises(RuntimeError, match="the next page of Account is at"):
        list(source_query.pages(org, "queryAll", "SELECT Id, SystemModstamp FROM Account", "Account"))


def test_the_second_night_reads_from_the_vendors_time_less_the_overlap(org, nights):
    accounts(org, 3)
    nights.run(ACCOUNT)
    assert nights.cursors["Account"] == "2026-07-01T01:28:20.000Z"
    org.put("Account", 2, NOW - timedelta(seconds=100), Name="Renamed")
    assert [row["name"] for row in nights.run(ACCOUNT)["accounts"]] == ["Renamed"]
    assert "WHERE SystemModstamp >= 2026-07-01T01:28:20.000Z ORDER BY SystemModstamp, Id" in org.queries[-1]


@pytest.mark.parametrize("calls", range(8, 14))
def test_a_night_that_is_cut_off_and_the_next_give_the_rows_of_one_night(tmp_path, calls):
    """Twelve accounts share each stamp, so every cut falls between equal stamps; nothing is read twice."""
    whole = Nights(Org(), settings_with(tmp_path))
    cut = Nights(Org(budget=calls), whole.settings)
    for nights in (whole, cut):
        for n in range(1, 61):
            nights.org.put("Account", n, START + timedelta(seconds=n // 12), Name=f"Company {n}")
    whole.run(ACCOUNT)
    cut.run(ACCOUNT)
    assert cut.spent and len(cut.alive("accounts")) < 60
    cut.org.budget = 10_000
    cut.run(ACCOUNT)
    assert cut.alive("accounts") == whole.alive("accounts")
    assert len(cut.landed["accounts"]) == 60
    assert cut.cursors["Account"] == whole.cursors["Account"]


def test_a_cut_off_night_does_not_move_past_the_overlap(org, nights):
    """A change that is still being saved can get an older stamp than the newest that shows."""
    org.budget = 9
    for n in range(1, 31):
        org.put("Account", n, NOW - timedelta(seconds=30), Name=f"Company {n}")
    nights.run(ACCOUNT)
    assert nights.spent and nights.cursors["Account"] == "2026-07-01T01:28:20.000Z"


def test_a_first_night_that_was_cut_off_at_once_starts_again(org, nights):
    org.budget = 3
    accounts(org, 5)
    nights.run(ACCOUNT)
    org.budget = 10_000
    assert len(nights.run(ACCOUNT)["accounts"]) == 5


def test_a_field_that_is_new_in_the_org_reads_the_object_anew(org, nights):
    del org.fields["Account"]["Billing_Email__c"]
    accounts(org, 3)
    nights.run(ACCOUNT)
    org.fields["Account"]["Billing_Email__c"] = {"name": "Billing_Email__c", "calculated": False}
    for one in org.records["Account"].values():
        one["Billing_Email__c"] = "pay@example.com"
    assert [row["billing_email"] for row in nights.run(ACCOUNT)["accounts"]] == ["pay@example.com"] * 3
    assert any("other fields" in note for note in nights.notes)
    assert nights.run(ACCOUNT)["accounts"] == []


def test_an_object_that_is_read_anew_stays_so_when_the_calls_end(org, nights):
    """Cut off before its first page, it begins again, although the other fields are known by then."""
    accounts(org, 3)
    there = org.fields["Account"].pop("Billing_Email__c")
    nights.run(ACCOUNT)
    org.fields["Account"]["Billing_Email__c"] = there
    job, org.budget = nights.job(), org.calls.total() + 1
    with pytest.raises(BudgetSpent):
        list(source.records(job, ACCOUNT))
    nights.cursors, org.budget = {**job.cursors, **job.next_cursors}, 10_000
    assert len(nights.run(ACCOUNT)["accounts"]) == 3


def test_a_field_that_the_numbers_rest_on_has_to_be_visible(org, nights):
    del org.fields["Opportunity"]["Amount"]
    with pytest.raises(RuntimeError, match="cannot see Opportunity.Amount; give it read access"):
        nights.run(OPPORTUNITY)


def test_an_object_that_cannot_be_seen_is_named(org, nights):
    del org.fields["Opportunity"]
    with pytest.raises(RuntimeError, match="cannot see Opportunity; give it read access"):
        list(source.records(nights.job(), OPPORTUNITY))



# --- Fields that Salesforce computes


def computed(org: Org) -> None:
    org.fields["Opportunity"]["Invoice_Numbers__c"]["calculated"] = True
    for n in range(1, 26):
        org.put("Opportunity", n, Name=f"Deal {n}", Amount=n, Invoice_Numbers__c=f"INV-{n}")


def test_a_computed_field_that_changed_lands_the_whole_record_again(org, nights):
    computed(org)
    nights.run(OPPORTUNITY)
    org.change("Opportunity", 12, Invoice_Numbers__c="INV-99")
    (found,) = nights.run(OPPORTUNITY)["opportunities"]
    assert (found["id"], found["invoice_numbers"], found["amount"], found["name"]) == (
        make_id("Opportunity", 12), "INV-99", Decimal(12), "Deal 12")  # fmt: skip
    assert nights.run(OPPORTUNITY)["opportunities"] == []


def test_a_record_that_changed_otherwise_is_not_landed_twice(org, nights):
    computed(org)
    nights.run(OPPORTUNITY)
    org.change("Opportunity", 12, Invoice_Numbers__c="INV-99", SystemModstamp=stamp(NOW))
    assert len(nights.run(OPPORTUNITY)["opportunities"]) == 1


def test_the_first_night_has_nothing_to_compare(org, nights):
    computed(org)
    assert len(nights.run(OPPORTUNITY)["opportunities"]) == 25
    assert not any("ORDER BY Id" in query for query in org.queries)


def test_without_computed_fields_nothing_is_compared(org, nights):
    accounts(org, 3)
    nights.run()
    nights.run()
    assert not any("ORDER BY Id" in query for query in org.queries)
