"""The journal in PostgreSQL: all that it does in a file, and what only a server can: several machines, refusals, lost connections."""

from __future__ import annotations

import dataclasses
import inspect
import json
import signal
import subprocess
import sys
from contextlib import suppress

import psycopg
import pytest
import sqlalchemy as sa
import test_journal
import test_journal_lock
from fake_crm import FREE, START, Killed, company, stage
from night_fixture import command_here, environment
from postgres_fixture import PASSWORD, running_postgres
from test_apply import TONIGHT, night
from test_faults_journal import as_an_earlier_version_left_it
from test_rollback import back

from pipelines.writeback import lease as durations
from pipelines.writeback.journal import Decision, Holder, Journal, JournalUnavailable, LockHeld
from pipelines.writeback.journal.tables import metadata

# All that is told of a journal, wherever it is, is true of this one.
for module in (test_journal, test_journal_lock):
    globals().update({name: story for name, story in vars(module).items()
                      if name.startswith("test_") and "journal" in inspect.signature(story).parameters})

# Holds the lock of the journal at argv[1] until it is told to end.
HOLD = """
import datetime, sys
from pipelines.writeback.journal import Holder, Journal
with Journal(sys.argv[1]).locked(Holder("one"), datetime.datetime(2026, 6, 30, tzinfo=datetime.UTC)):
    print("held", flush=True)
    input()
"""
OPEN = "import sys; from pipelines.writeback.journal import Journal; input(); Journal(sys.argv[1]).close()"


@pytest.fixture(scope="module")
def server():
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def database(server):
    """One journal for all the stories, which is emptied before each."""
    url = server.create()
    Journal(url).close()
    return url


@pytest.fixture
def url(database):
    with psycopg.connect(database) as connection:
        connection.execute(f"TRUNCATE {', '.join(metadata.tables)}")
    return database


@pytest.fixture
def journal(url):
    opened = Journal(url)
    yield opened
    opened.close()


@pytest.fixture
def command(monkeypatch, capsys, tmp_path, url):
    """A command with a configuration whose journal is the server's, or at another URL."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, url=url):
        (tmp_path / "crossfoot.toml").write_text(f'[journal]\nurl = "{url}"\n', encoding="utf-8")
        return command_here(monkeypatch, capsys, "--config", tmp_path / "crossfoot.toml", *arguments)

    return run


def process(code: str, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, url], env=environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_night_that_is_killed_goes_on_and_is_rolled_back(url):
    at = stage(url, ("acme", "blue", "core", "dune", "echo"))
    first = at.crm.snapshot()
    night(at, "told")
    moments = list(at.crm.switch.moments)
    back(at, "told", "untold")
    for number in range(3, len(moments), 11):
        at.restart(kill_at=number)
        with pytest.raises(Killed):
            night(at, f"{number}-one")
        at.restart()
        night(at, f"{number}-two")
        assert at.journal.unresolved() == [] and len(at.crm.tasks) == 2, moments[number - 1]
        whole = f"{number}-two" if at.journal.written(at.journal.chain(f"{number}-two")) else f"{number}-one"
        at.restart(kill_at=number)
        with suppress(Killed):  # less was written where the night died early, and less is to be put back
            back(at, whole, f"{number}-three")
        at.restart()
        back(at, whole, f"{number}-four")
        assert at.crm.snapshot() == first, moments[number - 1]
    at.journal.close()


def test_of_two_machines_one_writes(url):
    """The second machine has the first one's name and pid, and finds out what it had written once its lease is over."""
    first, second = stage(url), stage(url)
    second.crm = first.crm
    second.crms = {"hubspot": first.crm}
    pod = dict(pid=1, host="worker", born="5")
    with first.journal.locked(Holder("one", machine="boot-1", **pod), START):
        first.journal.start_run(first.run("one"), START)
        second.holder = lambda run_id: Holder(run_id, machine="boot-2", **pod)
        with pytest.raises(LockHeld, match="run one has held .*process 1 on worker"):
            night(second, "two", TONIGHT[2:], FREE)
        assert first.crm.writes == []
        test_journal_lock.age(first.journal, durations.LEASE_SECONDS + 1)
        assert night(second, "two", [company("acme")]).status == "complete"
    assert {row["run_id"]: row["status"] for row in second.journal.runs()} == {"one": "interrupted", "two": "complete"}
    for one in (first, second):
        one.journal.close()


def test_a_process_that_holds_it_keeps_another_out_until_it_is_killed(url, journal):
    with process(HOLD, url) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(LockHeld, match=f"process {holder.pid} on"), journal.locked(Holder("two"), START):
                pass
            elsewhere = dataclasses.replace(Holder("two"), machine="another boot")
            holder.send_signal(signal.SIGKILL)
            holder.wait(30)
            with pytest.raises(LockHeld, match="its lease ends in"), journal.locked(elsewhere, START):
                pass
            with journal.locked(Holder("three"), START):
                pass
        finally:
            holder.kill()


def test_two_processes_that_find_no_tables_both_go_on(server):
    url = server.create()
    both = [process(OPEN, url) for _ in range(2)]
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.wait(60) for one in both] == [0, 0]
    for one in both:
        one.communicate()


def test_a_journal_of_an_earlier_version_is_brought_up_to_date(server):
    url = server.create()
    journal = Journal(url)
    as_an_earlier_version_left_it(journal._engine)
    journal.close()
    for reading in (True, False):
        journal = Journal(url, reading=reading)
        assert journal.lease().run_id == "night-0" and journal.revokers() == {}
        journal.close()
    at = stage(url)
    at.journal.unlock("Ann", "", START)
    assert night(at, "one", [company("acme")]).status == "complete"
    at.journal.close()


def test_a_connection_that_was_cut_between_two_steps_is_made_again(journal, server):
    assert journal.runs() == []
    server.tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'journal%'")
    assert journal.runs() == []


def test_a_connection_that_is_cut_in_mid_step_is_a_sentence(journal, server):
    with pytest.raises(JournalUnavailable, match="cannot be used .*; it holds what was written to the CRM"):  # noqa: SIM117
        with journal._step("cut") as connection:
            connection.execute(sa.text("SELECT 1"))
            server.tell("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'journal%'")
            connection.execute(sa.text("SELECT 1"))
    assert journal.runs() == []


def test_every_command_about_the_journal_works(command, journal):
    journal.add_decision(Decision("d1", "match", "hubspot", "5", "quickbooks", "58", "same", "Ann", "same VAT number", START))
    journal._lock._acquire(Holder("one", machine="another boot"), START)
    assert "same VAT number" in command("review", "list").out
    assert json.loads(command("--json", "status").out)["lock"]["run"] == "one"
    assert command("unlock", "--by", "Ann").out.startswith("Ann freed the journal's lock, which run one had held")
    assert journal.lease() is None
    assert command("review", "revoke", "d1", "--by", "Ann").code == 0 and journal.revokers() == {"d1": "Ann"}


def test_reading_makes_no_tables(command, server):
    empty = server.create()
    assert command("review", "list", url=empty).out == "No decisions yet.\n"
    assert command("status", url=empty).code == 0
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_whatever_the_server_refuses_is_a_sentence_without_the_password(command, server, url):
    server.tell("CREATE ROLE full_role LOGIN CONNECTION LIMIT 0 PASSWORD 'open-sesame'", "CREATE ROLE guest LOGIN PASSWORD 'open-sesame'")
    host = url.rpartition("@")[2].partition("/")[0]
    empty = server.create()
    refusals = {
        f"postgresql://crossfoot:closed-sesame@{host}/postgres": "give the right one in [journal] url, in the variable PGPASSWORD",
        f"postgresql://crossfoot@{host}/postgres": "give the right one in [journal] url",
        f"postgresql://crossfoot:{PASSWORD}@{host}/nowhere": "create it, or correct [journal] url",
        f"postgresql://full_role:{PASSWORD}@{host}/postgres": "raise max_connections",
        f"postgresql://guest:{PASSWORD}@{empty.rpartition('@')[2]}": "grant the user of [journal] url the right to create",
        f"postgresql://crossfoot:{PASSWORD}@127.0.0.1:1/journal": "see that the server runs",
        f"postgres://crossfoot@{host}/nowhere?password={PASSWORD}": "create it",
        f"{url}?nonsense=1": "see that the server runs",
    }
    for wrong, remedy in refusals.items():
        ended = command("unlock", "--by", "Ann", url=wrong)
        assert ended.code == 1 and remedy in ended.err and "Traceback" not in ended.err, (wrong, ended.err)
        assert len(ended.err.splitlines()) == 1 and "sesame" not in ended.err
