"""Known faults of the environment, each named after its folder: the shell, two nights at once, damaged files, servers that are away.

One night is run for real in a hostile shell; the other faults are held against a first night that is built already.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from fault_fixture import AS_OF, KNOWN_AT
from mail_fixture import serving
from night_fixture import FAST, Ran, command_here, commands_of_first_night, crossfoot, first_night
from night_fixture import environment as clean_environment
from sandbox_fixture import running_sandbox

from flows import once, trouble
from pipelines import cron, environment, outcome, settings, transform, warehouse
from pipelines import night as steps
from pipelines.sandbox.world import make_world
from pipelines.vendors import VENDORS

# What a shell may hold for other programs, or out of spite; each alone changes or ends a night of whoever reads it.
HOSTILE = {
    "DBT_RESOURCE_TYPES": "model", "DBT_ENGINE_RESOURCE_TYPES": "model", "DBT_INDIRECT_SELECTION": "empty", "DBT_EMPTY": "true",
    "DBT_TARGET": "nowhere", "DBT_PROFILES_DIR": "/nowhere", "DBT_WARN_ERROR": "true", "DBT_FAIL_FAST": "true",
    "DLT_PROJECT_DIR": "/nowhere", "DLT_DEFAULT_NAMING_MODULE": "direct", "DLT_USE_JSON": "simplejson", "SCHEMA__NAMING": "direct",
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "false", "NORMALIZE__WORKERS": "none", "LOAD__WORKERS": "none", "WORKERS": "none",
    "EXTRACT__NEXT_ITEM_MODE": "round_robin", "CROSSFOOT_QUICKBOOKS__LOAD__WORKERS": "none", "SOURCES__MAX_TABLE_NESTING": "none",
    "DESTINATION__DUCKDB__CREATE_INDEXES": "true", "RUNTIME__LOG_LEVEL": "nothing", "LOADER_FILE_FORMAT": "csv",
    "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "ascii", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "COLUMNS": "1", "NO_COLOR": "1",
}
NOBODY = "http://127.0.0.1:9/api"  # the discard port: nothing listens there
# Every character besides letters and digits that a data folder may have.
FOLDER = "né, (ü)+@&~ É"


def marts_of(data: Path) -> dict[str, list[str]]:
    """Every mart and activation model as ordered text."""
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        tables = connection.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE schema_name IN ('marts', 'activation') "
                                    "ORDER BY 2").fetchall()
        ask = 'SELECT columns(*)::VARCHAR FROM "{}"."{}" ORDER BY ALL'
        return {table[1]: [str(row) for row in connection.execute(ask.format(*table)).fetchall()] for table in tables}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[Path, list[Ran]]:
    """The first night in a shell and a folder that mean harm."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / ".dlt").mkdir()
    (folder / ".dlt" / "config.toml").write_text("this = is = no toml", encoding="utf-8")
    (folder / "prefect.toml").write_text("neither = is = this", encoding="utf-8")
    heard = json.loads(commands_of_first_night(tmp_path_factory)[0].out)["known_at"]
    built = steps.built(settings.load(VENDORS, data_dir=first_night(tmp_path_factory))).known_at.isoformat()
    data = folder / FOLDER
    with running_sandbox(make_world(), rate_limits=False) as url:
        return data, [crossfoot("--data-dir", data, "--json", step, "--known-at", known_at, at=folder, url=url, **HOSTILE)
                      for step, known_at in (("extract", heard), ("build", built))]


def test_operations_01_a_hostile_shell_changes_no_number(hostile, tmp_path_factory):
    data, ran = hostile
    assert [one.code for one in ran] == [0, 0], ran
    calm = marts_of(first_night(tmp_path_factory))
    found = marts_of(data)
    assert found.keys() == calm.keys() and len(found) > 20
    assert [name for name in found if found[name] != calm[name]] == []


def test_operations_01_every_node_of_the_project_ran(hostile):
    data, ran = hostile
    chosen = settings.load(VENDORS, data_dir=data)
    manifest = transform._manifest(chosen, transform.variables(chosen))
    wanted = transform.project_nodes(manifest, transform._unconfigured(chosen))
    kinds = {kind: sum(node.startswith(f"{kind}.") for node in wanted) for kind in ("model", "seed", "test")}
    assert min(kinds.values()) >= 2 and kinds["test"] > 90
    assert json.loads(ran[1].out)["nodes"] >= len(wanted)


def test_operations_01_a_build_that_left_nodes_out_has_failed(hostile, monkeypatch):
    chosen = settings.load(VENDORS, data_dir=hostile[0])
    manifest = transform._manifest(chosen, transform.variables(chosen))
    ran = [node for node in manifest.nodes.values() if str(node.resource_type) != "test"]
    result = SimpleNamespace(success=True, result=[SimpleNamespace(node=node, status="success", message="") for node in ran])
    monkeypatch.setattr(transform, "_as_of", lambda *_: (result, manifest))
    with pytest.raises(transform.TransformFailed, match=r"^dbt ran \d+ of the \d+ nodes that the project has, and left out test\..*again$"):
        transform.build(chosen, AS_OF, KNOWN_AT)


@pytest.mark.parametrize("name", ["o'brien", "what?", "a#b", "100%", "team=finance", "a*", "[a]", "a\nb", "a\\b"])
def test_operations_03_a_folder_whose_name_cannot_be_a_path_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(settings.ConfigurationError, match="in its path, which a path of the warehouse cannot hold; name another"):
        settings.load(VENDORS, data_dir=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_operations_01_names_reach_any_terminal_and_programs_get_utf8(tmp_path, tmp_path_factory):
    data = first_night(tmp_path_factory)
    config = tmp_path / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n{FAST}', encoding="utf-8")
    shown = crossfoot("--config", config, "--data-dir", data, "explain", "Zürich", at=tmp_path, PYTHONIOENCODING="ascii")
    assert shown.code == 2 and "'Z?rich'" in shown.err and "Traceback" not in shown.err
    told = crossfoot("--data-dir", data, "--json", "explain", "Zürich", at=tmp_path, PYTHONIOENCODING="ascii")
    assert "Zürich" in json.loads(told.out)["errors"][0]


# -- a schedule, and a server, that are not what they should be


@pytest.fixture
def environment_kept(monkeypatch) -> Iterator[None]:
    """What a command does to the environment of its process ends with the test."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith(("PREFECT_", "CROSSFOOT_"))]:
        monkeypatch.delenv(name)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("line, says", [
    ("0 25 * * *", "its hour is '25'; write 0 to 23"),
    ("60 2 * * *", "its minute is '60'; write 0 to 59"),
    ("0 2 30 feb *", "no such day comes in those months"),
    ("0 2 * * fry", "its day of the week is 'fry'; write 0 to 7"),
    ("0 5-2 * * *", "which comes never"),
    ("*/0 2 * * *", "which comes never"),
    ("0 2 * *", "write five cron fields"),
    ("0 2 * * * *", "write five cron fields"),
    ("0 ,2 * * *", "write five cron fields"),
    ("R 2 * * *", "its minute is 'r'"),
    ("@daily", "write five cron fields"),
])  # fmt: skip
def test_operations_09_a_wrong_cron_is_named_where_the_file_is_read(line, says, tmp_path, monkeypatch, capsys, environment_kept):
    config = tmp_path / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n[schedule]\ncron = "{line}"\n', encoding="utf-8")
    for command in (("schedule", "--print"), ("status",)):
        ended = command_here(monkeypatch, capsys, "--config", config, *command)
        assert ended.code == 2 and f"crossfoot: {config}, line 3: [schedule] cron is '{line}'; " in ended.err and says in ended.err


@pytest.mark.parametrize("line", [
    "0 2 * * *", "*/15 0-6,22 1,15 jan-jun mon-FRI", "5/10 2 31 1-12/2 7", "0 0 29 2 *", "0 0 31 2 mon", "0 2 * * 0-7",
])  # fmt: skip
def test_operations_09_what_is_taken_for_a_cron_line_prefect_takes_too(line):
    from prefect.client.schemas.schedules import CronSchedule

    cron.check(line)
    assert CronSchedule(cron=line).cron == line


def test_operations_09_a_schedule_needs_its_secrets_and_a_server_that_answers(tmp_path, monkeypatch, capsys, environment_kept):
    live = tmp_path / "live.toml"
    live.write_text('profile = "live"\n[company]\nname = "Us"\n', encoding="utf-8")
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    ended = command_here(monkeypatch, capsys, "--config", live, "schedule")
    assert ended.code == 2 and "hubspot: access_token is missing; set HUBSPOT_ACCESS_TOKEN" in ended.err and NOBODY not in ended.err
    ended = command_here(monkeypatch, capsys, "--data-dir", tmp_path / "data", "schedule")
    assert ended.code == 2 and len(ended.err.splitlines()) == 1 and not (tmp_path / "data").exists()
    assert f"no Prefect server answers at {NOBODY} (" in ended.err and "which PREFECT_API_URL names; start it with" in ended.err


def test_operations_12_a_night_without_its_server_has_failed_and_is_kept_and_told(tmp_path, monkeypatch, capsys, environment_kept):
    with serving() as mails:
        config = tmp_path / "crossfoot.toml"
        config.write_text(f'profile = "sandbox"\n[mail]\nto = ["cfo@acme.example"]\nfrom = "crossfoot@acme.example"\nhost = "127.0.0.1"\n'
                          f'port = {mails.server_address[1]}\nsecurity = "none"\n', encoding="utf-8")
        monkeypatch.setenv("PREFECT_API_URL", NOBODY)
        monkeypatch.setenv("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "false")
        ended = command_here(monkeypatch, capsys, "--config", config, "--json", "run", "--as-of", "2026-06-30", "--known-at",
                             "2026-07-01T02:00:00Z")
    assert ended.code == 1 and ended.json["state"] == "failed"
    assert ended.json["sentence"].startswith(f"The night stopped and published nothing: no Prefect server answers at {NOBODY} (")
    assert (ended.json["configuration"], ended.json["data_dir"]) == (str(config), str(tmp_path / "data"))
    kept = json.loads((tmp_path / "data" / "last_night.json").read_text(encoding="utf-8"))
    assert kept.items() <= ended.json.items() and kept["sent"] == "The mail went to 1 address."
    assert "failed" in mails.messages[0]["Subject"]
    assert os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "true"


@pytest.mark.parametrize("error", [
    RuntimeError("Failed to reach API at http://127.0.0.1:9/api/"),
    ValueError("No Prefect API URL provided. Please set PREFECT_API_URL to the address of a running Prefect server."),
])  # fmt: skip
def test_operations_12_what_prefect_raises_about_its_server_is_a_sentence(error, tmp_path, monkeypatch, environment_kept):
    def refuses(*_: object) -> None:
        raise error

    monkeypatch.setattr(once, "_flow", refuses)
    chosen = settings.load(VENDORS, data_dir=tmp_path / "data")
    ended = once.run(chosen, "2026-06-30", "2026-07-01T02:00:00Z", "plan")
    assert ended.state == "failed" and "own short-lived server did not take the night (" in ended.sentence
    assert outcome.load(chosen)["sentence"] == ended.sentence and str(error)[:20] in ended.sentence


def test_operations_12_an_error_of_our_own_is_not_taken_for_the_servers(tmp_path, monkeypatch, environment_kept):
    def refuses(*_: object) -> None:
        raise TypeError("nobody foresaw this")

    monkeypatch.setattr(once, "_flow", refuses)
    with pytest.raises(TypeError, match="nobody foresaw this"):
        once.run(settings.load(VENDORS, data_dir=tmp_path / "data"), "2026-06-30", "2026-07-01T02:00:00Z", "plan")


def test_operations_12_of_prefects_variables_only_its_server_is_taken_from_the_shell(tmp_path, monkeypatch, environment_kept):
    for name, value in (("PREFECT_TASKS_DEFAULT_RETRIES", "9"), ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "sqlite:////nowhere"),
                        ("PREFECT_API_KEY", "key"), ("PREFECT_API_URL", NOBODY)):
        monkeypatch.setenv(name, value)
    environment.settle_prefect(tmp_path)
    assert {name for name in os.environ if name.startswith("PREFECT_")} - set(environment.QUIET) == {
        "PREFECT_API_KEY", "PREFECT_API_URL", *environment.PREFECT_OWN}
    assert list(tmp_path.iterdir()) == []


# -- another working folder


def test_operations_10_an_installation_is_found_from_any_folder(tmp_path, monkeypatch, capsys, environment_kept):
    home, elsewhere = tmp_path / "srv", tmp_path / "cron"
    home.mkdir(), elsewhere.mkdir()
    (home / "crossfoot.toml").write_text('profile = "sandbox"\n', encoding="utf-8")
    monkeypatch.chdir(elsewhere)

    def place(*options: object, **variables: object) -> tuple[str | None, str]:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, str(value))
            ended = command_here(monkeypatch, capsys, *options, "--json", "status")
        assert ended.code == 0, ended.err
        return ended.json["configuration"], ended.json["data_dir"]

    here = (str(home / "crossfoot.toml"), str(home / "data"))
    assert place(CROSSFOOT_HOME=home) == place("--home", home) == here
    assert place(CROSSFOOT_CONFIG=home / "crossfoot.toml") == place("--config", home / "crossfoot.toml") == here
    assert place("--home", home, CROSSFOOT_DATA_DIR=tmp_path / "big") == (here[0], str(tmp_path / "big"))
    assert place("--home", home, "--data-dir", "own", CROSSFOOT_DATA_DIR=tmp_path / "big") == (here[0], str(elsewhere / "own"))
    assert place() == (None, str(elsewhere / "data"))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("variable, says", [
    ("CROSSFOOT_HOME", "nowhere: no such folder; name the one that holds crossfoot.toml with --home or CROSSFOOT_HOME"),
    ("CROSSFOOT_CONFIG", "nowhere: no such file; copy crossfoot.example.toml there or leave --config out (and CROSSFOOT_CONFIG unset)"),
])  # fmt: skip
def test_operations_10_what_a_variable_names_has_to_be_there(variable, says, monkeypatch, capsys, environment_kept):
    monkeypatch.setenv(variable, "nowhere")
    ended = command_here(monkeypatch, capsys, "run")
    assert ended.code == 2 and ended.err == f"crossfoot: {says}\n"


# -- files that are not what they should be


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    """A warehouse of some megabytes."""
    path = tmp_path_factory.mktemp("sound") / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT i, i || repeat('x', 20) AS s FROM range(100000) AS r(i)")
    return path.read_bytes()


def another_program(_: bytes) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (i)")
        return connection.serialize()


@pytest.mark.parametrize("damage", [
    lambda sound: sound[:4096] + bytes(8192) + sound[12288:], lambda sound: sound[: len(sound) // 2],
    lambda sound: bytes(4096) + sound[4096:],
    lambda sound: sound[:20480] + bytes(len(sound) - 20480), lambda sound: b"no warehouse" * 5000, another_program,
], ids=["zeroed", "cut", "headless", "hollow", "text", "sqlite"])  # fmt: skip
def test_operations_04_a_damaged_or_foreign_warehouse_is_named_with_its_remedy(damage, sound, tmp_path):
    path = tmp_path / "warehouse.duckdb"
    path.write_bytes(damage(sound))
    with pytest.raises(warehouse.WarehouseUnusable) as refused, warehouse.connect(path) as connection:
        connection.execute("SELECT max(s) FROM t").fetchall()
    assert str(refused.value).startswith(f"{path} is damaged, or is no file of DuckDB (")
    assert str(refused.value).endswith("move it away, and everything is read again (only the history of statuses by night starts anew)")


def test_operations_04_a_command_over_a_damaged_warehouse_ends_with_that_sentence(sound, tmp_path, monkeypatch, capsys):
    path = tmp_path / "warehouse.duckdb"
    path.write_bytes(sound[:4096] + bytes(8192) + sound[12288:])
    ended = command_here(monkeypatch, capsys, "--data-dir", tmp_path, "plan")
    assert ended.code == 1 and ended.err.startswith(f"crossfoot: {path} is damaged, or is no file of DuckDB (Corrupt database file")
    assert len(ended.err.splitlines()) == 1


def test_operations_04_a_wrong_statement_is_no_matter_of_the_file(tmp_path):
    with pytest.raises(duckdb.CatalogException), warehouse.connect(tmp_path / "warehouse.duckdb") as connection:
        connection.execute("FROM nothing")


@pytest.mark.parametrize("said, remedy", [
    ("Trying to read a database file with version number 99, but we can only read versions between 64 and 68",
     "use the Crossfoot that wrote it"),
    ('Cannot open file "w": Permission denied', "give the rights to whoever runs the night"),
    ('Cannot open file "w": Read-only file system', "give the rights to whoever runs the night"),
    ('Could not write file "w": No space left on device', "free some and run again: what was written before is whole"),
    ("Out of Memory Error: failed to allocate data of size 1.0 GiB", "the memory of this machine does not suffice"),
])  # fmt: skip
def test_operations_04_each_trouble_has_its_remedy(said, remedy):
    assert remedy in warehouse.explained(duckdb.IOException(said), Path("w"))


def test_operations_04_a_full_disk_is_named_and_leaves_what_was_there(tmp_path):
    """The disk is full for a process that may write no file above eight megabytes."""
    script = ("import resource, sys; from pathlib import Path; from pipelines import warehouse\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))\n"
              "with warehouse.connect(Path(sys.argv[1])) as connection: connection.execute('CREATE TABLE kept AS SELECT 1 AS one')\n"
              "try:\n    with warehouse.connect(Path(sys.argv[1])) as connection:\n"
              "        connection.execute('CREATE TABLE t AS SELECT i, random()::VARCHAR AS s FROM range(2000000) AS r(i)')\n"
              "except warehouse.WarehouseUnusable as full: print(full)")
    path = tmp_path / "warehouse.duckdb"
    done = subprocess.run([sys.executable, "-c", script, str(path)], env=clean_environment(), text=True, capture_output=True, timeout=120,
                          check=True)
    assert done.stdout.startswith(f"there is no room to write {path} (") and "free some and run again" in done.stdout
    with warehouse.connect(path) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("kept",)]


def test_operations_04_an_extract_on_a_full_disk_ends_with_a_sentence(tmp_path):
    script = ("import os, resource; os.mkdir('data'); from pipelines.writeback.journal import Journal\n"
              "Journal('sqlite:///data/journal.sqlite').close()  # there is one already, and it has room\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); from flows.cli import main\nmain()")
    with running_sandbox(make_world(), rate_limits=False) as url:
        ended = subprocess.run([sys.executable, "-c", script, "--data-dir", "data", "extract"], cwd=tmp_path,
                               env=clean_environment(url), text=True, capture_output=True, timeout=200, check=False)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
    assert "there is no room to write " in ended.stdout + ended.stderr


@pytest.mark.parametrize("error, says", [
    (OSError(errno.ENOSPC, "No space left on device", "plans/1.json"),
     "there is no room to write plans/1.json (No space left on device); free some and run again: what was written before is whole"),
    (PermissionError(errno.EACCES, "Permission denied", "data"),
     "no right to read or write data (Permission denied); give it to whoever runs this, or name another folder with --data-dir"),
    (OSError(errno.EIO, "Input/output error", "data"), "data (Input/output error) cannot be read or written; look at it, then run again"),
    (TypeError("a mistake of ours"), None),
])  # fmt: skip
def test_operations_04_the_machines_errors_are_sentences(error, says):
    assert trouble.sentence(error) == says


def test_operations_04_a_folder_that_is_a_file_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "data").touch()
    ended = command_here(monkeypatch, capsys, "--data-dir", tmp_path / "data", "review", "revoke", "1", "--by", "me")
    assert ended.code == 1 and ended.err.startswith(f"crossfoot: {tmp_path / 'data'} (File exists) cannot be")


# -- what the README has people start


def test_operations_07_what_the_readme_starts_is_as_quiet_as_what_we_start():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = [one for one in readme.split("```")[1::2] if "prefect server start" in one]
    lines = [line.partition("#")[0].strip() for line in block.splitlines()]
    statistics = "PREFECT_SERVER_ANALYTICS_ENABLED"
    assert lines.index(f"export {statistics}={environment.QUIET[statistics]}") < lines.index("prefect server start")


def test_operations_10_the_readme_names_every_variable_that_says_where_an_installation_is():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for variable in (settings.HOME_VARIABLE, settings.CONFIG_VARIABLE, settings.DATA_VARIABLE):
        assert f"| `{variable}` |" in readme


def test_usage_statistics_are_off_whatever_the_shell_says(monkeypatch, environment_kept):
    for name in environment.QUIET:
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    environment.settle()
    assert environment.QUIET.items() <= dict(os.environ).items()
