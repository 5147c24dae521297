"""Who may read what a run makes, and data folders of any name (known fault operations/06)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import pytest
from night_fixture import command_here, environment

from pipelines import landing, private, publish
from pipelines import settings as configuration
from pipelines.night import open_journal
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors import VENDORS
from pipelines.writeback.plan import Plan
from pipelines.writeback.plan_files import load_plan, save_plan

AS_OF, KNOWN_AT = date(2026, 6, 30), datetime.fromisoformat("2026-07-01T02:00:00+00:00")


@pytest.fixture(autouse=True)
def umask():
    """Each test begins as a shell does and leaves no trace."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def chosen(folder: Path, mode: str = "private") -> Settings:
    config = folder.parent / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n[publish]\nmode = "{mode}"\n', encoding="utf-8")
    return configuration.load(VENDORS, config=config, data_dir=folder, environment={})


def modes(folder: Path) -> dict[str, str]:
    """{path below the folder: its rights in octal}."""
    return {str(path.relative_to(folder)): f"{stat.S_IMODE(path.stat().st_mode):o}" for path in (folder, *sorted(folder.rglob("*")))}


def made(settings: Settings) -> None:
    """A published night, its report, a plan, a journal: as the steps make them."""
    with landing.connect(settings.warehouse) as connection:
        connection.execute("CREATE SCHEMA marts; CREATE TABLE marts.owed AS SELECT 1 AS id")
    published = publish.publish(settings, AS_OF, KNOWN_AT)
    page = settings.data_dir / "reports" / "report.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text("<p>", encoding="utf-8")
    private.share(settings, published, page)
    save_plan(Plan(as_of=AS_OF.isoformat()), settings.data_dir / "plans")
    with open_journal(settings) as journal:
        journal.token_store.put("acme", "1", "token", 1, KNOWN_AT)


@pytest.mark.parametrize("mode", ["private", "group"])
def test_operations_06_what_a_run_makes_is_its_users_alone_and_what_is_published_as_configured(mode, tmp_path):
    private.set_umask()
    settings = chosen(tmp_path / "data", mode)
    made(settings)
    found = modes(settings.data_dir)
    shared = {name: rights for name, rights in found.items() if name.startswith(("published", "reports"))}
    assert len(shared) == 5 and len(found) > 8, found
    folders, files = ("750", "640") if mode == "group" else ("700", "600")
    assert {rights for name, rights in shared.items() if "/" in name} == {files}
    assert {rights for name, rights in shared.items() if "/" not in name} == {folders}
    assert found.pop(".") == ("710" if mode == "group" else "700")
    assert {rights for name, rights in found.items() if name not in shared} <= {"700", "600"}
    assert private.keep_private(settings) == [] and modes(settings.data_dir) == {".": "710" if mode == "group" else "700", **found}


def test_what_an_earlier_version_left_open_is_closed(tmp_path):
    settings = chosen(tmp_path / "data")
    (tmp_path / "data" / "dbt" / "logs").mkdir(parents=True)
    (tmp_path / "data" / "dbt" / "logs" / "dbt.log").write_text("x", encoding="utf-8")
    made(settings)
    assert {"755", "644"} & set(modes(settings.data_dir).values())
    assert private.keep_private(settings) == []
    assert set(modes(settings.data_dir).values()) == {"700", "600"}


def test_a_folder_of_other_things_too_stays_as_it_is_and_doctor_says_so(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "letter.txt").write_text("mine", encoding="utf-8")
    settings = chosen(folder)
    made(settings)
    (sentence,) = private.keep_private(settings)
    assert f"others on this machine may list {folder}" in sentence and "chmod 700" in sentence
    found = modes(folder)
    assert (found.pop("."), found.pop("letter.txt")) == ("755", "644")
    assert set(found.values()) == {"700", "600"}


def test_without_a_folder_there_is_nothing_to_close(tmp_path):
    assert private.keep_private(chosen(tmp_path / "none")) == [] and not (tmp_path / "none").exists()


def test_every_command_begins_with_it(tmp_path):
    code = "import os; from flows.cli import main\ntry: main()\nfinally: print(oct(os.umask(0)))"
    done = subprocess.run([sys.executable, "-c", code, "status"], cwd=tmp_path, env=environment(), text=True, capture_output=True,
                          timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "0o77", done


# Names that a folder can have, and that SQL, URLs, globs and templates each read in their own way.
NASTY = ["o'brien", 'say "x"', "two  words", "percent%20%s", "hash#tag", "semi;colon", "bänk\u202e", "new\nline", "{curly}",
         "star*[a]", "$HOME", "-dash", "a=b", "Ünïted 北京", "R&D (new), @home_~"]


@pytest.mark.parametrize("name", NASTY)
def test_any_name_that_a_folder_can_have_works_or_is_refused_first(name, tmp_path, monkeypatch, capsys):
    folder = tmp_path / name
    folder.mkdir()
    try:
        settings = chosen(folder / "data")
    except ConfigurationError as refused:
        assert any(repr(one) in str(refused) for one in name if not one.isalnum()) and "--data-dir" in str(refused)
        assert list(folder.iterdir()) == [folder / "crossfoot.toml"]
        return
    made(settings)
    assert (settings.data_dir / "journal.sqlite").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing lies beside it"
    plan = save_plan(Plan(as_of=AS_OF.isoformat()), settings.data_dir / "plans")
    assert load_plan(plan).as_of == AS_OF.isoformat()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROSSFOOT_SANDBOX_URL", "http://127.0.0.1:9")
    for arguments in (("sql", "SELECT id FROM owed"), ("export", "--parquet", folder / "out"), ("status",)):
        ended = command_here(monkeypatch, capsys, "--config", settings.path, "--data-dir", settings.data_dir, "--json", *arguments)
        assert ended.code == 0, (arguments, ended)
    assert (folder / "out" / "owed.parquet").stat().st_size > 0
