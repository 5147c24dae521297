"""Publishing: a whole copy with its comments, put in place in one step under the readers' feet."""

import csv
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from extract_fixture import DAY, FAST, NIGHT, settings_at
from night_fixture import published_night

from pipelines import landing
from pipelines.publish import publish, published_path

METRICS = Path(__file__).parents[1] / "dbt_project" / "seeds" / "metrics.csv"
OWNERS = {"CRM", "accounting", "billing", "Crossfoot"}
# Numbers that are places in an order, and nobody's metric.
ORDERS = {("rpt_bridge_monthly", "place"), ("rpt_match_review", "rung"), ("dim_customers", "match_rung"),
          ("dim_customer_matches", "match_rung")}
COMMENT = 'What an account owes; it\'s "gross" of credit.'


@pytest.fixture
def settings(tmp_path):
    """Settings whose warehouse has marts with comments, and a schema that is nobody's business."""
    found = settings_at("http://127.0.0.1:9", tmp_path, f"{FAST}[publish]\nkeep = 2\n")
    with landing.connect(found.warehouse) as connection:
        connection.execute("CREATE SCHEMA marts; CREATE SCHEMA raw_hubspot")
        connection.execute("CREATE TABLE raw_hubspot.companies (id VARCHAR)")
        connection.execute(
            "CREATE TABLE marts.account_status (account_id VARCHAR, owed DECIMAL(28,6), seen TIMESTAMPTZ)"
        )
        connection.execute("CREATE TABLE marts.dim_accounts AS SELECT range AS id FROM range(1000)")
        quoted = COMMENT.replace("'", "''")
        connection.execute(f"COMMENT ON TABLE marts.account_status IS '{quoted}'")
        connection.execute(f"COMMENT ON COLUMN marts.account_status.owed IS '{quoted}'")
    owe(found, "12345678901234.567891")
    return found


def owe(settings, amount: str) -> None:
    with landing.connect(settings.warehouse) as connection:
        connection.execute("DELETE FROM marts.account_status")
        connection.execute("INSERT INTO marts.account_status VALUES ('1', ?, ?)", [Decimal(amount), NIGHT])


def read(path, query: str = "SELECT owed FROM account_status") -> list[tuple]:
    """From another process' point of view: a connection that is closed again."""
    with landing.connect(path, read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_every_mart_is_there_exact_and_nothing_else(settings):
    path = publish(settings, DAY, NIGHT)
    assert path == published_path(settings) == settings.data_dir / "published" / "crossfoot.duckdb"
    assert read(path, "SELECT * FROM account_status") == [("1", Decimal("12345678901234.567891"), NIGHT)]
    assert read(path, "SELECT count(*), sum(id) FROM dim_accounts") == [(1000, 499_500)]
    assert read(path, "SELECT as_of, known_at FROM published_night") == [(DAY, NIGHT)]
    tables = read(path, "SELECT schema_name, table_name FROM duckdb_tables() ORDER BY 2")
    assert tables == [("main", "account_status"), ("main", "dim_accounts"), ("main", "published_night")]


def test_comments_come_along(settings):
    path = publish(settings, DAY, NIGHT)
    assert read(path, "SELECT comment FROM duckdb_tables() WHERE table_name = 'account_status'") == [(COMMENT,)]
    assert read(
        path, "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'account_status' AND comment IS NOT NULL"
    ) == [("owed", COMMENT)]


def test_other_programs_with_an_older_duckdb_can_read_it(settings):
    (tags,) = read(publish(settings, DAY, NIGHT), "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal")
    assert tags == ("v1.0.0+",)


READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read_only")
print(connection.execute("SELECT owed FROM account_status").fetchone()[0], flush=True)
sys.stdin.readline()
print(connection.execute("SELECT owed, (SELECT count(*) FROM dim_accounts) FROM account_status").fetchone(), flush=True)
"""


@pytest.mark.parametrize("mode", ["read_only", "read_write"])
def test_an_analyst_who_holds_the_old_file_open_neither_waits_nor_sees_half(settings, mode):
    owe(settings, "1")
    path = publish(settings, DAY, NIGHT)
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert Decimal(reader.stdout.readline()) == 1
        owe(settings, "2")
        publish(settings, DAY, NIGHT + timedelta(days=1))
        assert read(path) == [(Decimal(2),)], "whoever comes now reads the new night"
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "(Decimal('1.000000'), 1000)\n", (
            "and whoever was there reads the old one to its end"
        )
        reader.stdin.close()
        assert reader.wait(10) == 0


def test_a_publication_that_breaks_leaves_the_published_file_alone(settings):
    owe(settings, "1")
    path = publish(settings, DAY, NIGHT)
    with landing.connect(settings.warehouse) as connection:
        connection.execute("CREATE TABLE marts.published_night (id INTEGER)")
    with pytest.raises(duckdb.CatalogException):
        publish(settings, DAY, NIGHT + timedelta(days=1))
    assert (read(path), read(path, "SELECT known_at FROM published_night")) == ([(Decimal(1),)], [(NIGHT,)])
    with landing.connect(settings.warehouse) as connection:
        connection.execute("DROP TABLE marts.published_night")
    owe(settings, "2")
    assert read(publish(settings, DAY, NIGHT + timedelta(days=1))) == [(Decimal(2),)]


def test_what_a_killed_publication_left_is_cleared_away(settings):
    folder = published_path(settings).parent
    folder.mkdir(parents=True)
    for name in ("crossfoot.new", "crossfoot.new.wal"):
        (folder / name).write_bytes(b"half a night")
    assert read(publish(settings, DAY, NIGHT)) == [(Decimal("12345678901234.567891"),)]
    assert not list(folder.glob("*.new*"))


def nights(settings, count: int, start: int = 0) -> list[str]:
    """Publishes so many nights and gives the names of all files."""
    for number in range(start, start + count):
        owe(settings, str(number))
        publish(settings, date(2026, 7, 1) + timedelta(days=number), NIGHT + timedelta(days=number))
    return sorted(path.name for path in published_path(settings).parent.iterdir())


def test_as_many_earlier_files_are_kept_as_configured(settings):
    assert nights(settings, 2) == [
        "crossfoot-20260701T020000Z.duckdb",
        "crossfoot-20260702T020000Z.duckdb",
        "crossfoot.duckdb",
    ]
    names = nights(settings, 4, 2)
    assert names == [f"crossfoot-2026070{day}T020000Z.duckdb" for day in (4, 5, 6)] + ["crossfoot.duckdb"]
    folder = published_path(settings).parent
    assert [read(folder / name) for name in names] == [[(Decimal(number),)] for number in (3, 4, 5, 5)]


def test_no_earlier_file_is_kept_where_none_is_wanted(settings, tmp_path):
    nights(settings, 3)
    none = settings_at("http://127.0.0.1:9", tmp_path, f"{FAST}[publish]\nkeep = 0\n")
    assert nights(none, 1, 3) == ["crossfoot.duckdb"]


def test_a_night_that_is_published_again_replaces_itself(settings):
    nights(settings, 2)
    assert nights(settings, 1, 1) == [
        "crossfoot-20260701T020000Z.duckdb",
        "crossfoot-20260702T020000Z.duckdb",
        "crossfoot.duckdb",
    ]


def test_the_name_is_in_utc_whatever_zone_the_time_came_in(settings):
    publish(settings, DAY, datetime(2026, 7, 1, 4, tzinfo=timezone(timedelta(hours=2))))
    assert (published_path(settings).parent / "crossfoot-20260701T020000Z.duckdb").exists()
    assert datetime(2026, 7, 1, 2, tzinfo=UTC) == NIGHT


def test_a_folder_with_an_unusual_name_is_fine(tmp_path):
    found = settings_at("http://127.0.0.1:9", tmp_path / "R&D (new), @Ünïted")
    with landing.connect(found.warehouse) as connection:
        connection.execute("CREATE SCHEMA marts; CREATE TABLE marts.account_status AS SELECT 1 AS owed")
    assert read(publish(found, DAY, NIGHT)) == [(1,)]


# -- the marts of a whole night, and what their numbers mean


def defined() -> list[dict[str, str]]:
    with METRICS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_and_column_of_a_night_is_described(tmp_path_factory):
    path = published_night(tmp_path_factory)
    assert len(read(path, "FROM duckdb_tables()")) > 20
    assert read(path, "SELECT table_name FROM duckdb_tables() WHERE comment IS NULL") == []
    assert read(path, "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = ''") == []


def test_the_definitions_are_published_as_they_are_written(tmp_path_factory):
    rows = read(published_night(tmp_path_factory), "FROM metrics")
    assert sorted(rows) == sorted(tuple(row.values()) for row in defined())


def test_every_definition_is_whole():
    rows = defined()
    assert list(rows[0]) == ["metric", "label", "definition", "owner", "unit", "relation", "column_name"]
    assert [row for row in rows if not all(row.values())] == []
    assert {row["owner"] for row in rows} <= OWNERS
    assert [row["metric"] for row in rows if not row["definition"].endswith(".")] == []
    assert len({row["metric"] for row in rows}) == len(rows)


def test_every_definition_points_at_a_column_and_every_number_has_one(tmp_path_factory):
    path = published_night(tmp_path_factory)
    columns = read(path, "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal")
    pointed = {(row["relation"], row["column_name"]) for row in defined()}
    assert pointed - {column[:2] for column in columns} == set()
    numbers = {column[:2] for column in columns if column[2].startswith(("DECIMAL", "BIGINT", "HUGEINT", "DOUBLE"))}
    # The history has the columns of account_status, night by night.
    today = {("account_status_history", name) for relation, name in pointed if relation == "account_status"}
    assert numbers - pointed - ORDERS - today == set()
