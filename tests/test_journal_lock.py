"""Stories of the journal's lock: whom it keeps out, when it ends by itself, and what becomes of a run that lost it."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fake_crm import FREE, START, company, stage
from test_apply import night
from test_journal import KEY, run

from pipelines.writeback import lease as durations
from pipelines.writeback.apply import apply_plan
from pipelines.writeback.journal import Holder, Journal, LockHeld, LockLost, Settled
from pipelines.writeback.journal import lock as locking
from pipelines.writeback.journal.tables import lock, unlocks
from pipelines.writeback.lease import LEASE_SECONDS
from pipelines.writeback.live import prepare_plan

ELSEWHERE = Holder("one", pid=1, host="worker", machine="boot-1 pid:[1]", born="7")
DEADLINE_SECONDS = 20


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


def left_by(journal: Journal, holder: Holder, seconds_ago: float = 0) -> None:
    """The lock as its holder left it when it was killed."""
    journal._lock._acquire(holder, START)
    age(journal, seconds_ago)


def age(journal: Journal, seconds: float) -> None:
    """Lets time pass since the lease was renewed."""
    with journal._engine.begin() as connection:
        connection.execute(sa.update(lock).values(renewed_at=lock.c.renewed_at - int(seconds * 1000)))


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not true():
        assert time.monotonic() < end, f"not within {DEADLINE_SECONDS} s"
        time.sleep(0.02)


def test_a_held_lock_names_its_holder_and_both_ways_out(journal):
    left_by(journal, ELSEWHERE)
    with pytest.raises(LockHeld) as refused, journal.locked(Holder("two"), START):
        pass
    assert str(refused.value) == (
        "run one has held the journal's lock since 2026-06-30T22:00:00.000000Z (process 1 on worker); wait until it is done: should "
        f"it be gone, its lease ends in {LEASE_SECONDS} seconds, and `crossfoot unlock --by NAME` frees it at once")


def test_two_containers_with_one_name_and_one_pid_do_not_both_hold_it(journal):
    """All that tells them apart is the namespace, or the machine, that they run in, and when they began."""
    left_by(journal, ELSEWHERE)
    for machine in ("boot-1 pid:[2]", "boot-2 pid:[1]", ""):
        twin = dataclasses.replace(ELSEWHERE, run_id="two", machine=machine, born="8", token="of the twin")
        with pytest.raises(LockHeld, match="run one"), journal.locked(twin, START):
            pass


def test_where_the_system_does_not_tell_no_pid_is_believed(journal):
    left_by(journal, dataclasses.replace(ELSEWHERE, machine="", pid=2**22 + 1))
    with pytest.raises(LockHeld), journal.locked(Holder("two", machine=""), START):
        pass


def test_the_lock_of_another_thread_of_this_process_is_respected(journal):
    with journal.locked(Holder("one"), START), pytest.raises(LockHeld), journal.locked(Holder("two"), START):
        pass


def test_the_lock_of_a_living_process_of_this_machine_is_respected(journal):
    left_by(journal, Holder("one", pid=os.getppid(), born=durations.born(os.getppid())))
    with pytest.raises(LockHeld, match=f"process {os.getppid()} on"), journal.locked(Holder("two"), START):
        pass


def test_a_process_of_this_machine_that_was_killed_has_lost_it_at_once(journal):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        left_by(journal, Holder("one", pid=process.pid, born=durations.born(process.pid)))
        with pytest.raises(LockHeld), journal.locked(Holder("two"), START):
            pass
        process.send_signal(signal.SIGKILL)
        wait_until(lambda: durations.born(process.pid) == "")  # dead, and not yet missed by its parent
        with journal.locked(Holder("two"), START):
            pass
        process.communicate()


def test_a_pid_that_was_given_again_is_not_the_killed_holder(journal):
    left_by(journal, Holder("one", born="1"))  # our own pid, in an earlier process
    with journal.locked(Holder("two"), START):
        pass
    left_by(journal, Holder("three", pid=os.getppid(), born="1"))
    with journal.locked(Holder("four"), START):
        pass


def test_a_lease_that_is_not_renewed_ends_by_itself(journal):
    left_by(journal, ELSEWHERE, LEASE_SECONDS - 2)
    with pytest.raises(LockHeld, match="ends in [012] seconds"), journal.locked(Holder("two"), START):
        pass
    age(journal, 3)
    with journal.locked(Holder("two"), START):
        assert journal.lease().run_id == "two" and journal.lease().age_seconds < LEASE_SECONDS / 2
    assert journal.lease() is None


@pytest.mark.parametrize("wrong_by", [timedelta(days=-2), timedelta(days=2)])
def test_the_clocks_of_two_machines_do_not_matter(journal, wrong_by):
    """`now` is what a machine believes: it is shown to people, and no lease goes by it."""
    journal._lock._acquire(ELSEWHERE, START + wrong_by)
    with pytest.raises(LockHeld, match=f"ends in {LEASE_SECONDS} seconds"), journal.locked(Holder("two"), START):
        pass


def test_a_holder_renews_its_lease_in_the_background(journal, monkeypatch):
    monkeypatch.setattr(locking, "RENEW_SECONDS", 0.02)
    with journal.locked(Holder("one"), START):
        age(journal, LEASE_SECONDS * 2)
        wait_until(lambda: journal.lease().age_seconds < LEASE_SECONDS)


def test_every_step_of_the_run_renews_it_too(journal):
    with journal.locked(Holder("one"), START):
        for step in (lambda: journal.start_run(run("one"), START), journal.keep_lock, journal.mark_settled):
            age(journal, LEASE_SECONDS * 2)
            step()
            assert journal.lease().age_seconds < LEASE_SECONDS


def test_whoever_takes_it_over_is_one_only(journal, monkeypatch):
    """Between the look at a lease that is over and the taking, its holder renews it, or another run takes it."""
    def overtaken(lease, holder):
        with journal._engine.begin() as connection:
            connection.execute(sa.update(lock).values(changed.pop()))
        return True

    changed = [{"process": "of another"}, {"renewed_at": locking.milliseconds()}]

    monkeypatch.setattr(journal._lock, "_is_over", overtaken)
    left_by(journal, ELSEWHERE)
    while changed:
        age(journal, LEASE_SECONDS * 2)
        with pytest.raises(LockHeld, match="a moment ago"), journal.locked(Holder("two"), START):
            pass


def test_a_run_whose_lease_was_taken_over_writes_nothing_more(journal):
    first, second = Holder("one"), Holder("two", host="elsewhere", machine="another boot")
    steps = {
        "start": lambda: journal.start_run(run("three"), START),
        "intents": lambda: journal.add_intents("one", [(KEY, None, "4")], START),
        "call": journal.keep_lock,
        "outcome": lambda: journal.settle([Settled(intent, "written")], START),
        "end": lambda: journal.finish_run("one", "complete", START),
    }
    with journal.locked(first, START):
        journal.start_run(run("one"), START)
        (intent,) = journal.add_intents("one", [(KEY, None, "3")], START)
        age(journal, LEASE_SECONDS + 1)
        journal._lock._acquire(second, START)
        for step in steps.values():
            with pytest.raises(LockLost, match="run one stopped before its next write.*run two on elsewhere took it over"):
                step()
        assert journal.unresolved() == [intent] and [row["status"] for row in journal.runs()] == ["started"]
    assert journal.lease().run_id == "two", "a run that lost the lock does not free another's"


def test_an_apply_that_loses_it_stops_before_its_next_call(tmp_path):
    at = stage(tmp_path)
    plan = prepare_plan([company(id) for id in ("acme", "blue", "core")], at.crms, at.journal, FREE, as_of=START.date(),
                        holder=at.holder("one"), now=at.now)
    update = at.crm.update

    def lose(object, updates):
        age(at.journal, LEASE_SECONDS + 1)
        at.journal._lock._acquire(Holder("two", machine="another boot"), START)
        return update(object, updates)

    at.crm.update = lose
    with pytest.raises(LockLost, match="run two on .* took it over"):
        apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now, holder=at.holder("one"))
    assert {written[1] for written in at.crm.writes} == {"acme", "blue"}, "the call that was under way, and none after it"
    at.crm.update = update
    assert at.journal.unlock("Ann", "", START).run_id == "two"
    assert night(at, "three", [company(id) for id in ("acme", "blue", "core")]).status == "complete"
    assert at.journal.unresolved() == []


@pytest.mark.parametrize("action", ["split", "task"])
def test_each_call_of_a_batch_that_is_split_asks_for_the_lock(tmp_path, action):
    at = stage(tmp_path)
    at.crm.refuse = {"acme"} if action == "split" else set()
    asked = []
    keep, at.journal.keep_lock = at.journal.keep_lock, lambda: asked.append(len(at.crm.switch.moments)) or keep()
    wanted = company("acme", "Overdue", "12", "1500") if action == "task" else company("acme")
    night(at, "one", [wanted, company("blue")])
    calls = [moment for moment in at.crm.switch.moments if moment.startswith(("before update", "before create", "before complete"))]
    # What was refused was a call too, and is not among the moments that are told when it is over.
    assert len(asked) >= len(calls) >= 2


def test_freeing_it_keeps_the_name_and_stops_the_run(journal):
    with journal.locked(Holder("one"), START):
        journal.start_run(run("one"), START)
        assert journal.unlock("Ann", "the pod is gone", START).run_id == "one"
        assert journal.lease() is None and journal.unlock("Ann", "", START) is None
        with pytest.raises(LockLost, match=r"Ann freed it at 2026-06-30T22:00:00.000000Z \(the pod is gone\)"):
            journal.keep_lock()
        with journal.locked(Holder("two"), START):
            pass
    with journal._engine.connect() as connection:
        (kept,) = connection.execute(sa.select(unlocks)).all()
    assert (kept.run_id, kept.freed_by, kept.why) == ("one", "Ann", "the pod is gone")


def test_the_lock_of_an_earlier_version_is_respected_until_it_is_freed(journal):
    left_by(journal, Holder("one"))
    with journal._engine.begin() as connection:
        connection.execute(sa.update(lock).values(machine=None, born=None, renewed_at=None))
    with pytest.raises(LockHeld, match="an earlier version of Crossfoot.*unlock --by"), journal.locked(Holder("two"), START):
        pass
    assert journal.unlock("Ann", "", START).age_seconds is None
    with journal.locked(Holder("two"), START):
        pass
