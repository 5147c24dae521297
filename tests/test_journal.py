"""Stories of the journal: what it keeps, the lock, tokens, decisions, and the rows it gives the warehouse."""

from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
import sys
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa
from fake_crm import FREE, NIGHT, START, Switch, company, stage
from sqlalchemy.dialects import postgresql
from test_apply import night

from pipelines.writeback.journal import Decision, Holder, Journal, JournalError, LockHeld, Run, Settled
from pipelines.writeback.journal.tables import metadata
from pipelines.writeback.plan import make_plan

KEY = ("hubspot", "companies", "acme", "days_overdue")


@pytest.fixture
def journal(tmp_path):
    with_file = Journal(f"sqlite:///{tmp_path / 'data' / 'journal.sqlite'}")
    yield with_file
    with_file.close()


def run(run_id, kind="nightly", rollback_of=None):
    return Run(run_id, kind, NIGHT, START, rollback_of=rollback_of)


def write(journal, run_id, after, before=None, key=KEY, outcome="written"):
    (intent,) = journal.add_intents(run_id, [(key, before, after)], START)
    journal.settle([Settled(intent, outcome)], START)


def test_the_file_is_its_owners_alone_and_syncs_fully(tmp_path):
    path = tmp_path / "journal.sqlite"
    path.touch(0o644)
    journal = Journal(f"sqlite:///{path}")
    journal.start_run(run("one"), START)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    with journal._engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2
    journal.close()


def test_it_speaks_postgresql_too():
    for table in metadata.sorted_tables:
        assert str(sa.schema.CreateTable(table).compile(dialect=postgresql.dialect()))


def test_an_intent_without_outcome_is_unresolved_until_it_is_settled(journal):
    journal.start_run(run("one"), START)
    one, two = journal.add_intents("one", [(KEY, None, "3"), ((*KEY[:3], "total_outstanding"), "1", "2")], START)
    journal.settle([Settled(one, "written")], START)
    assert journal.unresolved() == [two]
    assert journal.counts("one") == {"written": 1, "unknown": 1}
    journal.settle([Settled(two, "skipped", "moved")], START)
    assert journal.unresolved() == []


def test_an_outcome_is_given_once(journal):
    journal.start_run(run("one"), START)
    write(journal, "one", "3")
    (intent,) = journal.written(["one"])
    with pytest.raises(sa.exc.IntegrityError):
        journal.settle([Settled(intent, "written")], START)


def test_the_last_written_value_is_the_newest_one_that_was_written(journal):
    journal.start_run(run("one"), START)
    write(journal, "one", "3")
    write(journal, "one", "4", "3")
    write(journal, "one", "5", "4", outcome="rejected")
    assert journal.last_written("hubspot", "companies") == {("acme", "days_overdue"): "4"}
    assert journal.last_written("hubspot", "deals") == {}


def test_a_rolled_back_write_counts_as_never_made(journal):
    journal.start_run(run("one"), START)
    write(journal, "one", "3")
    journal.start_run(run("two"), START)
    write(journal, "two", "4", "3")
    journal.start_run(run("three", "rollback", "two"), START)
    write(journal, "three", "3", "4")
    journal.finish_run("three", "complete", START)
    assert journal.last_written("hubspot", "companies") == {}  # run two had gone on with run one
    journal.start_run(run("four"), START)
    write(journal, "four", "9", "3")
    assert journal.last_written("hubspot", "companies") == {("acme", "days_overdue"): "9"}


def test_a_run_goes_on_where_the_interrupted_ones_were(journal):
    for run_id in ("one", "two", "three"):
        journal.start_run(run(run_id), START)
    journal.finish_run("three", "complete", START)
    journal.start_run(run("four"), START)
    assert journal.chain("three") == ("three", "two", "one") and journal.chain("four") == ("four",)
    states = {row["run_id"]: row["status"] for row in journal.runs()}
    assert states == {"one": "interrupted", "two": "interrupted", "three": "complete", "four": "started"}


def test_a_run_that_only_plans_takes_nothing_over(journal):
    journal.start_run(run("one"), START)
    journal.start_run(run("two", "plan"), START)
    assert journal.chain("two") == ("two",) and journal.unresolved() == []


def test_a_run_id_is_used_once(journal):
    journal.start_run(run("one"), START)
    with pytest.raises(JournalError, match="run one is in the journal already"):
        journal.start_run(run("one"), START)


def test_a_plan_is_kept_and_comes_back(journal):
    journal.start_run(run("one"), START)
    plan = make_plan([company("acme")], {}, {}, {}, FREE)
    journal.save_plan("one", plan, START)
    journal.save_plan("one", plan, START)
    assert journal.plan(plan.id) == plan
    with pytest.raises(JournalError, match="plan ffff is not in the journal"):
        journal.plan("ffff")


def test_the_lock_of_a_living_process_is_respected(journal):
    other = Holder("one", pid=os.getppid())
    with (
        journal.locked(other, START),
        pytest.raises(LockHeld, match=rf"run one .*process {os.getppid()} on .*delete the row"),
        journal.locked(Holder("two"), START),
    ):
        pass


def test_the_lock_of_a_dead_process_is_taken_over(journal):
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    journal._lock.acquire(Holder("one", pid=int(child.stdout), process="dead"), START)
    with journal.locked(Holder("two"), START):
        pass
    with journal.locked(Holder("three"), START):
        pass


def test_the_lock_of_an_earlier_process_with_our_pid_is_taken_over(journal):
    journal._lock.acquire(Holder("one", process="before the reboot"), START)
    with journal.locked(Holder("two"), START):
        pass


def test_the_lock_of_another_thread_of_this_process_is_respected(journal):
    with journal.locked(Holder("one"), START), pytest.raises(LockHeld), journal.locked(Holder("two"), START):
        pass


def test_the_lock_of_another_machine_is_respected(journal):
    journal._lock.acquire(Holder("one", pid=2**22 + 1, host="elsewhere"), START)
    with pytest.raises(LockHeld, match="on elsewhere"), journal.locked(Holder("two"), START):
        pass


def test_a_lock_that_was_taken_over_is_not_released_by_its_former_holder(journal):
    journal._lock.acquire(Holder("one", process="dead"), START)
    with journal.locked(Holder("two"), START):
        journal._lock.release("one")
        with pytest.raises(LockHeld, match="run two"), journal.locked(Holder("three"), START):
            pass


def test_a_rotated_token_is_stored_and_never_goes_back(journal):
    store = journal.token_store
    assert store.get("quickbooks", "462") is None
    store.put("quickbooks", "462", "first", 1, START)
    store.put("quickbooks", "462", "second", 2, START)
    for sequence in (1, 2):
        with pytest.raises(JournalError, match=f"not older than number {sequence}"):
            store.put("quickbooks", "462", "stale", sequence, START)
    token = store.get("quickbooks", "462")
    assert (token.token, token.sequence) == ("second", 2) and "second" not in repr(token)


def test_a_token_is_committed_when_put_returns(tmp_path):
    url = f"sqlite:///{tmp_path / 'journal.sqlite'}"
    switch = Switch()
    journal = Journal(url, observe=switch.tick)
    journal.token_store.put("quickbooks", "462", "first", 1, START)
    other = Journal(url)
    assert other.token_store.get("quickbooks", "462").token == "first"
    assert switch.moments == ["before token", "after token"]
    journal.close()
    other.close()


def test_a_decision_is_kept_even_when_it_was_taken_back(journal):
    answer = Decision("d1", "match", "hubspot", "5", "quickbooks", "58", "same", "Ann", "same VAT number", START)
    journal.add_decision(answer)
    with pytest.raises(JournalError, match="decision d1 is in the journal already"):
        journal.add_decision(answer)
    journal.revoke_decision("d1", START)
    assert journal.decisions() == [dataclasses.replace(answer, revoked_at=START)]
    with pytest.raises(JournalError, match="decision d1 is not in force"):
        journal.revoke_decision("d1", START)


def test_a_time_without_zone_is_refused(journal):
    with pytest.raises(ValueError, match="has no time zone"):
        journal.start_run(run("one"), datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_warehouse_gets_runs_writes_and_decisions(tmp_path):
    at = stage(tmp_path)
    at.crm.reject["blue"] = "no"
    night(at, "one", [company("acme"), company("blue")])
    at.journal.add_decision(Decision("d1", "link", "hubspot", "5", "quickbooks", "58", "different", "Ann", "other job", START))
    rows = at.journal.rows_for_warehouse()
    (row,) = rows.runs
    assert row["as_of"] == date(2026, 6, 30) and row["known_at"] == START and row["status"] == "partial"
    assert set(row) == {"run_id", "kind", "as_of", "known_at", "plan_id", "status", "started_at", "finished_at", "message"}
    assert set(rows.writes[0]) == {
        "run_id", "system", "object", "record_id", "field", "before", "after", "outcome", "message", "recorded_at",
    }
    assert [(write["outcome"], write["message"]) for write in rows.writes] == [("written", "")] * 4 + [("rejected", "no")] * 4
    assert rows.decisions[0]["verdict"] == "different" and rows.decisions[0]["decided_at"] == START
    later = datetime(2026, 12, 1, tzinfo=UTC)
    assert at.journal.rows_for_warehouse(later) == type(rows)([], [], [])


def test_an_open_intent_reaches_the_warehouse_as_unknown(journal):
    journal.start_run(run("one"), START)
    journal.add_intents("one", [(KEY, None, "3")], START)
    assert [row["outcome"] for row in journal.rows_for_warehouse().writes] == ["unknown"]
