"""Faults around the journal: locked, damaged, full, read-only, elsewhere or without a driver; each a sentence, and no secret in it."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import sys
import traceback
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from fake_crm import FREE, START, company, stage
from night_fixture import command_here, first_night, house
from test_apply import night
from test_journal import KEY, run

from pipelines import night as steps
from pipelines import settings
from pipelines.settings import ConfigurationError
from pipelines.vendors import VENDORS
from pipelines.writeback import journal_file
from pipelines.writeback.apply import apply_plan
from pipelines.writeback.journal import Decision, Holder, Journal, JournalUnavailable, Run, Settled
from pipelines.writeback.journal.tables import lock, metadata
from pipelines.writeback.live import live_plan
from pipelines.writeback.recent import from_file, from_journal

SECRET, NEXT_SECRET, PASSWORD = "rotated-hu5h", "rotated-n3xt", "sesame"
ODD = "o'ne?two#three%20four \"five\""
SPELLED = "one, two (three) @four & five~"  # what a data folder may be called


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: command_here(monkeypatch, capsys, *arguments)


def filled(path: Path) -> Path:
    """A journal with a run, its writes, a decision, a token and a lock that is held, all in the file itself."""
    journal = Journal(path)
    journal.start_run(Run("night-1", "nightly", START.date(), START), START)
    intents = journal.add_intents("night-1", [((*KEY[:2], f"company-{number}", KEY[3]), None, "3" * 40) for number in range(400)], START)
    journal.settle([Settled(intent, "written") for intent in intents], START)
    journal.add_decision(Decision("d1", "match", "hubspot", "5", "quickbooks", "58", "same", "Ann", "same VAT number", START))
    journal.token_store.put("quickbooks", "462", SECRET, 1, START)
    journal._lock._acquire(Holder("night-1", machine="another boot"), START)
    journal.close()
    return path


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(40_000)


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database" * 4000)


def zero(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(len(path.read_bytes()) - 4096))


@contextmanager
def limited(pragma: str):
    """Every connection to a file under a limit of SQLite's own, so that it answers as it does on a disk with that trouble."""
    def limit(connection, _record):
        connection.execute(f"PRAGMA {pragma}")

    sa.event.listen(sa.Engine, "connect", limit)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "connect", limit)


# -- http/01, operations/04: what SQLite says


def test_http_01_a_locked_journal_tells_no_token(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.writeback.journal.database.BUSY_MILLISECONDS", 50)
    path = filled(tmp_path / "journal.sqlite")
    journal = Journal(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable) as refused:
            journal.token_store.put("quickbooks", "462", NEXT_SECRET, 2, START)
    journal.close()
    assert str(refused.value).startswith(f"the journal {path} is in use by another program; wait until that is done")
    shown = "".join(traceback.format_exception(refused.value))
    assert NEXT_SECRET not in shown and "[parameters" not in shown


def test_http_01_no_error_of_the_engine_shows_parameters(tmp_path):
    """The one kind of error that is passed on."""
    journal = Journal(filled(tmp_path / "journal.sqlite"))
    (intent,) = journal.written(["night-1"])[:1]
    with pytest.raises(sa.exc.IntegrityError) as refused:
        journal.settle([Settled(intent, "rejected", SECRET)], START)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    journal.close()


def test_http_01_the_program_that_has_it_is_named(tmp_path, monkeypatch):
    path = tmp_path / "journal.sqlite"
    path.touch()
    inode, ours = path.stat().st_ino, os.getppid()
    locks = f"1: POSIX  ADVISORY  WRITE {ours} 08:01:{inode} 0 EOF\n2: POSIX  ADVISORY  WRITE 1 08:01:999999999 0 EOF\n"
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, **how: locks if self == Path("/proc/locks") else read(self, **how))
    if not Path("/proc/self/comm").exists():
        pytest.skip("this system has no /proc")
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    assert f"is in use by process {ours} (" in journal_file.trouble(path, busy)


@pytest.mark.parametrize("damage", [cut, overwrite, zero])
def test_operations_04_a_damaged_journal_is_a_sentence_in_every_command_that_reads(tmp_path, command, damage):
    damage(filled(tmp_path / "data" / "journal.sqlite"))
    for arguments in (("status",), ("review", "list"), ("unlock", "--by", "Ann"), ("--json", "status")):
        ended = command("--data-dir", tmp_path / "data", *arguments)
        # A file that is damaged in one table only still answers for another.
        if damage is overwrite or arguments[-1] == "status":
            assert ended.code == 1, arguments
            assert f"crossfoot: the journal {tmp_path / 'data' / 'journal.sqlite'} is damaged (" in ended.err
            assert "put it back from a backup" in ended.err and "Traceback" not in ended.err
            assert len(ended.err.splitlines()) == 1
    assert json.loads(ended.out)["errors"][0].startswith("the journal ")


@pytest.mark.parametrize("pragma, said", [
    ("max_page_count=1", "cannot be written: the disk is full; free space on it and run again"),
    ("query_only=ON", "cannot be written; make the file and its folder writable for the user who runs Crossfoot"),
])  # fmt: skip
def test_operations_04_a_full_or_read_only_disk_is_a_sentence(tmp_path, pragma, said):
    path = filled(tmp_path / "journal.sqlite")
    with limited(pragma):
        journal = Journal(path)
        assert journal.decisions() and journal.chain("night-1"), "what only reads goes on"
        with pytest.raises(JournalUnavailable) as refused:
            journal.add_intents("night-1", [((*KEY[:2], f"more-{number}", KEY[3]), None, "3" * 40) for number in range(400)], START)
        journal.close()
    assert str(refused.value) == f"the journal {path} {said}"


@pytest.mark.parametrize("number, said", [
    (errno.ENOSPC, "the disk is full"), (errno.EACCES, "writable"), (errno.EROFS, "Read-only file system"),
    (errno.ENOTDIR, "Not a directory"),
])  # fmt: skip
def test_operations_04_what_the_system_says_about_the_file_is_a_sentence(tmp_path, monkeypatch, number, said):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(JournalUnavailable, match=f"the journal .*journal.sqlite cannot be .*{said}"):
        Journal(tmp_path / "journal.sqlite")


def test_operations_04_a_journal_that_fails_in_mid_apply_stops_it(tmp_path):
    at = stage(tmp_path)
    plan = live_plan([company("acme"), company("blue")], at.crms, at.journal, FREE, as_of=START.date())
    with limited("query_only=ON"), pytest.raises(JournalUnavailable, match="cannot be written"):
        at.journal._engine.dispose()
        apply_plan(plan, at.crms, at.journal, at.run("one"), now=at.now)
    assert at.crm.writes == []
    at.journal._engine.dispose()
    assert night(at, "two", [company("acme"), company("blue")]).status == "complete"


def test_operations_04_a_damaged_journal_in_every_step_of_a_night(tmp_path, tmp_path_factory, command, monkeypatch):
    with house(tmp_path / "house", data=first_night(tmp_path_factory), fields=False) as at:
        monkeypatch.setenv(settings.SANDBOX_URL_VARIABLE, at.url)
        for path in at.data.glob("journal.sqlite-*"):
            path.unlink()
        overwrite(at.data / "journal.sqlite")
        for arguments in (("doctor",), ("extract",), ("plan",), ("apply", "0" * 16), ("rollback", "night-1"), ("review", "export")):
            ended = command("--data-dir", at.data, *arguments)
            said = ended.out if arguments == ("doctor",) else ended.err
            missing_plan = arguments[0] == "apply" and "0000" in said
            assert ended.code in (1, 2) and (missing_plan or "journal.sqlite is damaged (" in said), (arguments, said)
            assert "Traceback" not in ended.err


# -- reading


@pytest.mark.parametrize("writable", [True, False])
def test_operations_04_reading_leaves_nothing_beside_the_journal(tmp_path, command, monkeypatch, writable):
    path = filled(tmp_path / "data" / "journal.sqlite")
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    if not writable:
        monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK)
    shown = command("--data-dir", path.parent, "status")
    assert shown.code == 0 and "night-1" in shown.out and "Lock: run night-1 has held" in shown.out
    assert "same VAT number" in command("--data-dir", path.parent, "review", "list").out
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_operations_04_reading_makes_no_journal(tmp_path, command):
    for arguments, said in ((("status",), "No night has run yet"), (("review", "list"), "No decisions yet.")):
        ended = command("--data-dir", tmp_path / "data", *arguments)
        assert ended.code == 0 and said in ended.out
    assert not (tmp_path / "data" / "journal.sqlite").exists()


def test_operations_04_a_reader_sees_what_a_writer_has_just_committed(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    journal.start_run(run("one"), START)
    assert [row["run_id"] for row in from_file(tmp_path / "journal.sqlite").runs] == ["one"]
    reader = Journal(tmp_path / "journal.sqlite", reading=True)
    assert [row["run_id"] for row in reader.runs()] == ["one"]
    reader.close()
    journal.start_run(run("two"), START)
    assert from_journal(journal).runs == from_file(tmp_path / "journal.sqlite").runs
    journal.close()


# -- the place


def test_a_journal_may_lie_in_a_folder_of_any_name(tmp_path):
    path = filled(tmp_path / ODD / "journal.sqlite")
    assert sorted(file.name for file in tmp_path.iterdir()) == [ODD]
    assert [run["run_id"] for run in from_file(path).runs] == ["night-1"]


def test_a_data_folder_may_have_a_name_with_blanks_and_marks(tmp_path, command):
    path = filled(tmp_path / SPELLED / "journal.sqlite")
    assert sorted(file.name for file in tmp_path.iterdir()) == [SPELLED]
    assert "night-1" in command("--data-dir", path.parent, "status").out
    assert "same VAT number" in command("--data-dir", path.parent, "review", "list").out
    assert [file.name for file in path.parent.iterdir()] == ["journal.sqlite"]


def test_operations_05_without_the_driver_the_extra_is_named(tmp_path, command, monkeypatch):
    (tmp_path / "crossfoot.toml").write_text('[journal]\nurl = "postgresql://crossfoot:sesame@127.0.0.1:1/journal"\n')
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for arguments in (("doctor",), ("status",), ("review", "list"), ("unlock", "--by", "Ann")):
        ended = command("--config", tmp_path / "crossfoot.toml", *arguments)
        assert ended.code == 2 and "pip install 'crossfoot[postgres]'" in ended.err, arguments
        assert "sesame" not in ended.out + ended.err


@pytest.mark.parametrize("url, said", [
    ("nonsense", "is no address of a database"), ("postgresql://[::1/d", "is no address of a database"),
    ("mysql://host/name", "begins with 'mysql'"), ("sqlite://", "names no file"), ("sqlite:////data/a?b/j.sqlite", "question mark"),
    ("postgresql://me:sesame@me@host/name", "has an @ in its password"),
])  # fmt: skip
def test_operations_05_a_url_that_names_no_database_is_wrong_configuration(url, said):
    with pytest.raises(ConfigurationError, match=said) as refused:
        Journal(url)
    assert "sesame" not in str(refused.value)


def test_operations_05_a_server_that_is_not_there_is_a_sentence_without_password():
    told = r"the journal in postgresql://me:\*\*\*@127.0.0.1:1/name.connect_timeout=2 cannot be used .*refused"
    with pytest.raises(JournalUnavailable, match=told) as refused:
        Journal(f"postgresql://me:{PASSWORD}@127.0.0.1:1/name?connect_timeout=2")
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))


# -- writeback/05 and the journals of earlier versions


def test_writeback_05_status_and_unlock_name_the_holder(tmp_path, command):
    path = filled(tmp_path / "data" / "journal.sqlite")
    at = ("--data-dir", path.parent)
    held = json.loads(command("--json", *at, "status").out)["lock"]
    assert (held["run"], held["since"]) == ("night-1", "2026-06-30T22:00:00.000000Z") and 170 <= held["ends_in_seconds"] <= 180
    assert command(*at, "unlock", "--by", " ").code == 2
    freed = command(*at, "unlock", "--by", "Ann", "--why", "the pod is gone")
    assert freed.code == 0 and freed.out.startswith("Ann freed the journal's lock, which run night-1 had held since 2026-06-30T22:00")
    assert json.loads(command("--json", *at, "status").out)["lock"] is None
    assert "nothing was freed" in command(*at, "unlock", "--by", "Ann").out
    with closing(sqlite3.connect(path)) as kept:
        assert kept.execute("SELECT run_id, freed_by, why FROM unlocks").fetchall() == [("night-1", "Ann", "the pod is gone")]


EARLIER_LOCK = """CREATE TABLE lock (name VARCHAR(32) PRIMARY KEY, holder VARCHAR(64) NOT NULL, pid BIGINT NOT NULL, host VARCHAR(255)
NOT NULL, process VARCHAR(64) NOT NULL, since VARCHAR(32) NOT NULL)"""


def as_an_earlier_version_left_it(engine: sa.Engine) -> None:
    """The tables without what came later, and a lock that is held."""
    metadata.drop_all(engine, [lock, metadata.tables["unlocks"], metadata.tables["revocations"]])
    with engine.begin() as connection:
        connection.execute(sa.text(EARLIER_LOCK))
        connection.execute(sa.text("INSERT INTO lock VALUES ('apply', 'night-0', 7, 'worker', 'some process', '2026-06-29T22:00:00Z')"))


def test_a_journal_of_an_earlier_version_is_read_and_brought_up_to_date(tmp_path):
    path = filled(tmp_path / "journal.sqlite")
    journal = Journal(path)
    as_an_earlier_version_left_it(journal._engine)
    journal.close()
    assert from_file(path).lease.age_seconds is None
    for reading in (True, False):
        journal = Journal(path, reading=reading)
        assert (journal.lease().run_id, journal.lease().age_seconds) == ("night-0", None)
        assert journal.revokers() == {} and journal.last_written("hubspot", "companies")
        journal.close()


def test_the_configured_journal_is_the_one_that_is_opened(tmp_path):
    (tmp_path / "crossfoot.toml").write_text(f'[journal]\nurl = "sqlite:///{tmp_path / "elsewhere.sqlite"}"\n')
    loaded = settings.load(VENDORS, config=tmp_path / "crossfoot.toml", data_dir=tmp_path / "data")
    with steps.open_journal(loaded):
        assert (tmp_path / "elsewhere.sqlite").exists() and not (tmp_path / "data").exists()
