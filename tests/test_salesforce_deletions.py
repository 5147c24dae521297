"""Salesforce's source: deleted, merged and restored records."""

from datetime import timedelta

import pytest
from salesforce_org_fixture import ACCOUNT, NOW, Nights, Org, accounts, settings_with

from pipelines.http import BudgetSpent
from pipelines.vendors.salesforce import source
from pipelines.vendors.salesforce.sandbox_schema import make_id
from pipelines.vendors.salesforce.sandbox_soql import stamp


@pytest.fixture
def org() -> Org:
    return Org()


@pytest.fixture
def nights(org, tmp_path) -> Nights:
    return Nights(org, settings_with(tmp_path))


# --- Deletions


def test_a_deleted_record_becomes_a_deletion(org, nights):
    first, *others = accounts(org, 3)
    nights.run(ACCOUNT)
    org.change("Account", 1, IsDeleted=True, SystemModstamp=stamp(NOW))
    org.log["Account"] = [first]
    rows = nights.run(ACCOUNT)["accounts"]
    assert rows == [{"id": first, "_deleted": True}]
    assert sorted(nights.alive("accounts")) == others


def test_a_merged_record_is_gone_and_its_survivor_stays(org, nights):
    loser, survivor = accounts(org, 2)
    nights.run(ACCOUNT)
    org.change("Account", 1, IsDeleted=True, MasterRecordId=survivor, SystemModstamp=stamp(NOW))
    org.change("Account", 2, Name="Both", SystemModstamp=stamp(NOW))
    rows = nights.run(ACCOUNT)["accounts"]
    assert {key: row["name"] for key, row in nights.alive("accounts").items()} == {survivor: "Both"}
    assert {row["id"]: row.get("merged_into") for row in rows} == {loser: survivor, survivor: None}
    assert "1 accounts were merged into others: their ids count as deleted" in nights.notes
    assert loser not in " ".join(nights.notes)


def test_a_record_that_left_the_recycle_bin_is_found_in_the_log(org, nights):
    _, *others = accounts(org, 3)
    org.put("Opportunity", 1, Name="Deal")
    nights.run()
    gone = org.purge("Account", 1)
    rows = nights.run()
    assert rows["accounts"] == [{"id": gone, "_deleted": True}] and rows["opportunities"] == []
    assert sorted(nights.alive("accounts")) == others


def test_a_record_that_was_restored_is_not_deleted_by_the_log(org, nights):
    restored, *_ = accounts(org, 3)
    nights.run()
    org.log["Account"] = [restored]
    assert nights.run()["accounts"] == []


def test_a_record_of_somebody_else_in_the_log_is_no_row(org, nights):
    accounts(org, 1)
    nights.run()
    org.log["Account"] = [make_id("Account", 99), "'; DROP"]
    assert nights.run()["accounts"] == []


def test_the_log_is_asked_for_the_time_since_the_last_night(org, nights):
    nights.run()
    org.now = NOW + timedelta(days=1)
    nights.run()
    asked = [params for path, params in org.asked if path.endswith("/Account/deleted/")]
    assert asked == [{"start": "2026-07-01T01:28:20+00:00", "end": "2026-07-02T01:30:00+00:00"}]
    assert nights.cursors["deleted"] == "2026-07-02T01:28:00.000Z"


def test_the_log_is_asked_for_more_than_a_minute(org, tmp_path):
    """Two nights within one minute; the org in memory refuses a shorter span, as the vendor does."""
    nights = Nights(org, settings_with(tmp_path, "overlap_seconds = 0\n"))
    accounts(org, 2)
    nights.run()
    gone = org.purge("Account", 1)
    assert nights.run()["accounts"] == [{"id": gone, "_deleted": True}]


def test_a_night_without_calls_for_the_log_leaves_it_to_the_next(org, nights):
    accounts(org, 3)
    nights.run()
    gone, org.budget, org.now = org.purge("Account", 1), org.calls.total() + 5, NOW + timedelta(days=1)
    assert nights.run()["accounts"] == []
    org.budget, org.now = 10_000, NOW + timedelta(days=2)
    assert nights.run()["accounts"] == [{"id": gone, "_deleted": True}]
    asked = [params["start"] for path, params in org.asked if path.endswith("/Account/deleted/")]
    assert asked == ["2026-07-01T01:28:20+00:00"]


@pytest.mark.parametrize(("days", "error"), [(40, ""), (1, "INVALID_REPLICATION_DATE"), (1, "EXCEEDED_ID_LIMIT")])
def test_where_the_log_cannot_tell_all_ids_are_compared(org, nights, days, error):
    expected = accounts(org, 25)
    nights.run()
    org.purge("Account", 7)
    org.log, org.log_error, org.now = {}, error, NOW + timedelta(days=days)
    org.put("Account", 26, NOW + timedelta(days=days), Name="Late")
    rows = nights.run()["accounts"]
    assert [row["id"] for row in rows if row.get("_deleted")] == [expected[6]]
    assert len(nights.alive("accounts")) == 25
    assert any("comparing all ids" in note for note in nights.notes)


def test_all_ids_are_compared_although_every_cursor_is_lost(org, nights):
    """The org lists its records in no order of its own."""
    expected = accounts(org, 85)
    org.records["Account"] = dict(reversed(org.records["Account"].items()))
    nights.run()
    gone, org.log_error, org.lose = org.purge("Account", 44), "INVALID_REPLICATION_DATE", set(range(1, 1000))
    assert nights.run()["accounts"] == [{"id": gone, "_deleted": True}]
    assert sorted(nights.alive("accounts")) == sorted(set(expected) - {gone})


def test_a_log_that_is_not_complete_yet_is_asked_again(org, nights):
    nights.run()
    org.now, org.covered = NOW + timedelta(days=1), NOW + timedelta(hours=20)
    nights.run()
    assert nights.cursors["deleted"] == "2026-07-01T21:28:20.000Z"


def test_a_list_of_ids_that_is_not_read_to_its_end_deletes_nothing(org, nights):
    accounts(org, 25)
    nights.run()
    org.log_error = "INVALID_REPLICATION_DATE"
    job, org.short = nights.job(), 3
    with pytest.raises(RuntimeError, match="reading all Account broke off 5 times behind its beginning"):
        list(source.deletions(job))
    assert "deleted" not in job.next_cursors
    org.short, org.budget = 0, org.calls.total() + 3
    with pytest.raises(BudgetSpent):
        list(source.deletions(job))
    assert "deleted" not in job.next_cursors


def test_nothing_can_have_been_deleted_before_the_first_night(org, nights):
    accounts(org, 3)
    nights.run()
    assert not [path for path, _ in org.asked if "deleted" in path]
    assert nights.cursors["deleted"] == "2026-07-01T01:28:20.000Z"
