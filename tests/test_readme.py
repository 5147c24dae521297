"""The README keeps its word: its commands exist, and every command is in it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from night_fixture import published_night

from flows import show
from flows.cli import app
from pipelines import query, settings
from pipelines.vendors import VENDORS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted([
    *(command.name or command.callback.__name__ for command in app.registered_commands),
    *(f"{group.name} {command.name}" for group in app.registered_groups for command in group.typer_instance.registered_commands),
])  # fmt: skip


def test_every_command_is_in_the_readme():
    assert [command for command in COMMANDS if f"crossfoot {command}" not in README] == []


def test_the_readme_names_only_commands_that_exist():
    named = set(re.findall(r"^\s*(?:\.venv/bin/)?crossfoot ([a-z-]+)", README, re.MULTILINE))
    assert named - {command.partition(" ")[0] for command in COMMANDS} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_in_the_readme_is_one_of_its_command(command):
    shown = {option for line in re.findall(rf"crossfoot {command}\b[^`\n#]*", README) for option in re.findall(r"--[a-z-]+", line)}
    known = subprocess.run([sys.executable, "-m", "flows.cli", *command.split(), "--help"], capture_output=True, text=True, check=True,
                           env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "TERM": "dumb"}, cwd=ROOT).stdout
    assert [option for option in shown if option not in known] == []


QUESTIONS = re.findall(r"^\*\*(.+?)\*\*.*?\n\n```sql\n(.+?);\n```\n\n```text\n(.+?)\n```", README, re.MULTILINE | re.DOTALL)


def test_there_are_five_questions_for_analysts():
    assert len(QUESTIONS) == 5 == README.count("```sql")


@pytest.mark.parametrize("sql, answer", [one[1:] for one in QUESTIONS], ids=[one[0] for one in QUESTIONS])
def test_the_questions_of_analysts_have_these_answers(tmp_path_factory, sql, answer):
    assert show.answer(query.ask(published_night(tmp_path_factory), sql, show.MAX_ROWS)) == answer


def test_make_targets_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert [target for target in re.findall(r"make ([a-z]+)", README) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_every_secret_is_named():
    variables = [secret.variable for card in VENDORS.values() for secret in card.secrets] + [settings.MAIL_PASSWORD_VARIABLE]
    assert [variable for variable in variables if variable not in README] == []


def test_the_example_configuration_is_what_the_settings_say():
    assert (ROOT / "crossfoot.example.toml").read_text(encoding="utf-8") == settings.example(VENDORS)


def test_folders_in_the_readme_exist():
    assert [name for name in re.findall(r"^\| `([a-z_/]+/)`", README, re.MULTILINE) if not (ROOT / name).is_dir()] == []


def test_every_direct_dependency_says_what_it_is_for():
    lines = re.findall(r'^  "[a-z][^" ]*[<>=][^" ]*".*$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert lines
    assert [line for line in lines if not re.search(r'",\s+# \w+', line)] == []


def test_the_lock_has_hashes_and_names_no_index():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==", lock, re.MULTILINE)
    assert len(pins) > 50
    assert lock.count("--hash=sha256:") >= len(pins)
    assert re.search(r"https?://|--index|--find-links", lock) is None
