"""README's screen on adding a vendor, followed with one that does not exist: its files are `tests/invented`, the project is a
copy, and the copy's night ends green. What the screen names and what the test of rooms asks for are the same files."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from night_fixture import APPROVED, environment
from sandbox_fixture import control
from test_rooms import STAGED, missing_rooms

from pipelines import landing

ROOT = Path(__file__).parents[1]
INVENTED = Path(__file__).parent / "invented"
SLUG, LIST, LOG = "acorn", "pipelines/vendors/__init__.py", "sandbox.log"
SCREEN = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Adding a vendor\n")[2].partition("\n## ")[0]
FILES = sorted(str(path.relative_to(INVENTED)) for room in ("pipelines", "dbt_project") for path in (INVENTED / room).rglob("*.*")
               if path.is_file() and "__pycache__" not in path.parts)
CONFIGURATION = f'profile = "sandbox"\n[vendors]\ncrms = ["hubspot"]\nledgers = ["{SLUG}"]\n{APPROVED}'
CENT = Decimal("0.01")


def named() -> list[str]:
    """The invented vendor's files as the screen names them: a file alone is in the folder that was named last."""
    found, folder = [], ""
    for name in re.findall(rf"^\| (?:in )?`([^`]*{SLUG}[^`]*)`", SCREEN, re.MULTILINE):
        folder = name if name.endswith("/") else folder
        found += [] if name.endswith("/") else [name if "/" in name else folder + name]
    return sorted(found)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the project in which the screen was followed."""
    folder = tmp_path_factory.mktemp("invented")
    for room in ("pipelines", "flows", "dbt_project"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", "target", "logs"))
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(INVENTED / name, folder / name)
    line = next(re.finditer(r"`VENDORS` the line `([^`]+)`", SCREEN)).group(1)
    text = (folder / LIST).read_text(encoding="utf-8").replace("from pipelines.vendors import ", f"from pipelines.vendors import {SLUG}, ")
    before, _, after = text.rpartition("}")
    (folder / LIST).write_text(f"{before}    {line}\n}}{after}", encoding="utf-8")
    (folder / "crossfoot.toml").write_text(CONFIGURATION, encoding="utf-8")
    return folder


def variables(copy: Path, url: str | None = None) -> dict[str, str]:
    return {**environment(url), "PYTHONPATH": str(copy)}


def crossfoot(copy: Path, url: str, *arguments: str) -> Any:
    """What a command of the copy says. Fails with its words unless it ends with 0."""
    done = subprocess.run([sys.executable, "-m", "flows.cli", "--json", *arguments], cwd=copy, env=variables(copy, url), text=True,
                          capture_output=True, timeout=180, check=False)
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}\n{(copy / LOG).read_text()}"
    return json.loads(done.stdout)


@contextmanager
def sandbox(copy: Path) -> Iterator[str]:
    """The copy's own sandbox as a process; yields its URL."""
    with (copy / LOG).open("w") as log, subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "sandbox", "--port", "0", "--no-rate-limits"], cwd=copy, env=variables(copy),
        text=True, stdout=subprocess.PIPE, stderr=log,
    ) as process:
        try:
            assert select.select([process.stdout], [], [], 60)[0], "the sandbox did not start within 60 s"
            line = process.stdout.readline()
            assert line, (copy / LOG).read_text()
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.wait(20)


def rows(copy: Path, sql: str) -> list[tuple[Any, ...]]:
    with landing.connect(copy / "data" / "warehouse.duckdb", read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_the_screen_names_the_files_of_the_example_and_no_others():
    assert named() == FILES
    assert len(SCREEN.splitlines()) <= 45


def test_the_screen_names_the_canonical_objects():
    staged = {f"stg_{SLUG}__{name}.sql" for name in STAGED["ledger"]}
    assert staged == {Path(name).name for name in named() if name.endswith(".sql")}
    sentence = SCREEN[SCREEN.index("A CRM stages"):].partition("instead")[0]
    assert tuple(re.findall(r"`(\w+)`", sentence)) == STAGED["crm"]


def test_the_copy_lacks_nothing(copy):
    assert missing_rooms(SLUG, copy) == []


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named(copy, name):
    os.rename(copy / name, copy / "away")
    try:
        assert missing_rooms(SLUG, copy) == [f"{SLUG}: {name}"]
    finally:
        os.rename(copy / "away", copy / name)


@pytest.mark.parametrize(("name", "part", "sentence"), [
    (LIST, f'"{SLUG}": {SLUG}.CARD,', f"{SLUG}: its line in VENDORS of {LIST}"),
    (f"pipelines/vendors/{SLUG}/__init__.py", "CARD = ", f"{SLUG}: CARD in __init__.py"),
    (f"pipelines/vendors/{SLUG}/source.py", "def check(", f"{SLUG}: check in source.py"),
    (f"pipelines/vendors/{SLUG}/sandbox.py", "def record_id(", f"{SLUG}: Sandbox.record_id in sandbox.py"),
    (f"dbt_project/models/staging/{SLUG}/{SLUG}_sources.yml", "name: balances", f"{SLUG}: balances in {SLUG}_sources.yml"),
    (f"dbt_project/models/staging/{SLUG}/{SLUG}_models.yml", f"stg_{SLUG}__rates", f"{SLUG}: stg_{SLUG}__rates in {SLUG}_models.yml"),
])  # fmt: skip
def test_a_part_that_is_missing_is_named(copy, name, part, sentence):
    whole = (copy / name).read_text(encoding="utf-8")
    assert whole.count(part) == 1
    (copy / name).write_text(whole.replace(part, "" if part.startswith('"') else re.sub(r"\w+(?=\W*$)", "other", part)), encoding="utf-8")
    try:
        assert missing_rooms(SLUG, copy) == [sentence]
    finally:
        (copy / name).write_text(whole, encoding="utf-8")


def test_the_settings_of_the_vendor_are_in_the_example(copy):
    command = next(re.finditer(r"^\.venv/bin/python -c '(.*)' > crossfoot\.example\.toml$", SCREEN, re.MULTILINE)).group(1)
    told = subprocess.run([sys.executable, "-c", command], cwd=copy, env=variables(copy), text=True, capture_output=True, check=True)
    assert f"[{SLUG}]" in told.stdout and "[hubspot]" in told.stdout


def test_the_night_of_the_copy_is_green_and_right(copy):
    with sandbox(copy) as url:
        assert crossfoot(copy, url, "setup-crm", "--yes")["created"]
        told = crossfoot(copy, url, "run", "--apply")
        key = control(url, "GET", "answers")
        control(url, "POST", "advance", {"days": 1})
        later = crossfoot(copy, url, "extract", "--vendor", SLUG)["vendors"][0]
    assert told["state"] == "complete"
    accounts = rows(copy, "SELECT account_id, financial_status, total_outstanding FROM marts.account_status WHERE source = 'hubspot'")
    assert {one: (status, str(owed.quantize(CENT))) for one, status, owed in accounts} == {
        one: (answer["financial_status"], answer["total_outstanding"]) for one, answer in key["accounts"].items()}
    deals = rows(copy, "SELECT deal_id, status, main_cause FROM marts.fct_deal_reconciliation WHERE source = 'hubspot'")
    assert {one: found for one, *found in deals} == {one: [answer["status"], answer["cause"]] for one, answer in key["deals"].items()}
    matches = rows(copy, f"SELECT customer_id, match_outcome, match_rung FROM marts.dim_customers WHERE source = '{SLUG}'")
    assert {one: (outcome == "matched", rung) for one, outcome, rung in matches} == {
        one: (answer["account_id"] is not None, answer["rung"]) for one, answer in key["matches"].items()}
    assert all(one.startswith("ac-") for one, *_ in matches) and len(accounts) > 50 < len(deals) + len(matches)
    totals = rows(copy, f"SELECT customer_id, ties_out FROM marts.rpt_receivables_ageing WHERE source = '{SLUG}'")
    assert len(totals) > 10 and [one for one, ties_out in totals if not ties_out] == []
    # The next day brings what changed in it, and what was deleted.
    assert later["status"] == "complete" and 0 < later["rows"]["invoices"] < told["vendors"][SLUG]["rows"]["invoices"] / 2
    assert rows(copy, f"SELECT count(*) FROM raw_{SLUG}.invoices WHERE _deleted") == [(1,)]
