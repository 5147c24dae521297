"""The project's own materializations do all that dbt's own do: hooks in and outside the transaction, grants, comments, contracts."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest
import yaml
from dbt_fixture import PROJECT, messages_of, run_dbt

PROJECT_YML = """
name: hooked
version: "1.0.0"
config-version: 2
profile: crossfoot
model-paths: [models]
macro-paths: [macros]
flags: {send_anonymous_usage_stats: false}
models:
  +pre-hook: "insert into said values ('{{ this.identifier }} before')"
  +post-hook:
    - "insert into said values ('{{ this.identifier }} after')"
    - {sql: "insert into said values ('{{ this.identifier }} committed')", transaction: false}
  +grants: {select: [analysts]}
"""
MODELS = {
    "a_table": "{{ config(materialized='replaced_table') }} select 1 as one",
    "a_view": "{{ config(materialized='replaced_view', contract={'enforced': false}) }} select 1 as one",
    "a_strict_table": "{{ config(materialized='replaced_table') }} select 1 as one",
    "wrong_table": "{{ config(materialized='replaced_table') }} select 'x' as one",
    "wrong_view": "{{ config(materialized='replaced_view') }} select 'x' as one",
}
STRICT = ("a_strict_table", "wrong_table", "wrong_view")
# DuckDB knows no grants: what the materializations ask of the adapter is written down.
GRANTS = """
{% macro duckdb__apply_grants(relation, grant_config, should_revoke) %}
    {% do run_query("insert into said values ('" ~ relation.identifier ~ " granted " ~ grant_config['select'] | join ~ "')") %}
{% endmacro %}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(warehouse, dbt's result) after two runs of the models."""
    folder = tmp_path_factory.mktemp("hooked")
    project, warehouse = folder / "project", folder / "warehouse.duckdb"
    for name in ("models", "macros"):
        (project / name).mkdir(parents=True)
    shutil.copyfile(PROJECT / "profiles.yml", project / "profiles.yml")
    shutil.copyfile(PROJECT / "macros" / "materializations.sql", project / "macros" / "materializations.sql")
    (project / "macros" / "grants.sql").write_text(GRANTS, encoding="utf-8")
    (project / "dbt_project.yml").write_text(PROJECT_YML, encoding="utf-8")
    described = [{"name": name, "description": f"What {name} holds.", "columns": [{"name": "one", "data_type": "integer"}],
                  "config": {"contract": {"enforced": name in STRICT}, "persist_docs": {"relation": True}}} for name in MODELS]
    (project / "models" / "models.yml").write_text(yaml.safe_dump({"version": 2, "models": described}), encoding="utf-8")
    for name, sql in MODELS.items():
        (project / "models" / f"{name}.sql").write_text(sql, encoding="utf-8")
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("CREATE TABLE said (what VARCHAR)")
        connection.execute("CREATE VIEW a_table AS SELECT 0 AS one")  # it was a view before it became a table
        connection.execute("CREATE TABLE wrong_table AS SELECT 7 AS one")
    return warehouse, run_dbt(["run"], warehouse, folder, date(2026, 6, 30), datetime(2026, 7, 1, tzinfo=UTC), {}, project)


def ask(warehouse: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("name", ["a_table", "a_strict_table", "a_view"])
def test_operations_11_hooks_and_grants_of_a_model_are_run(run, name):
    warehouse, result = run
    assert {row.node.name: str(row.status) for row in result.result}[name] == "success", messages_of(result)
    said = [what.removeprefix(name).strip() for (what,) in ask(warehouse, f"SELECT what FROM said WHERE starts_with(what, '{name} ')")]
    assert sorted(said) == ["after", "before", "committed", "granted analysts"]
    assert ask(warehouse, f"FROM {name}") == [(1,)]


def test_operations_11_comments_are_kept(run):
    found = ask(run[0], "SELECT table_name, comment FROM duckdb_tables() UNION ALL "
                        "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal")
    assert {("a_table", "What a_table holds."), ("a_view", "What a_view holds.")} <= set(found)


@pytest.mark.parametrize("name", ["wrong_table", "wrong_view"])
def test_operations_11_a_contract_holds_and_what_was_there_stays(run, name):
    warehouse, result = run
    assert "contract" in {row.node.name: row.message for row in result.result}[name]
    assert name != "wrong_table" or ask(warehouse, "FROM wrong_table") == [(7,)]


def test_operations_11_nothing_of_dbts_own_is_replaced():
    text = (PROJECT / "macros" / "materializations.sql").read_text(encoding="utf-8")
    assert text.count("{% materialization ") == text.count("{% materialization replaced_") == 2
