"""Known faults of the environment, each named after its folder: the shell, two nights at once, damaged files, servers that are away.

One night is run for real in a hostile shell; the other faults are held against a first night that is built already.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from fault_fixture import AS_OF, KNOWN_AT
from night_fixture import FAST, Ran, commands_of_first_night, crossfoot, first_night
from sandbox_fixture import running_sandbox

from pipelines import night as steps
from pipelines import settings, transform
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
