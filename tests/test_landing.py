"""Landing: values parsed or named, exact to the warehouse; tables that always exist and only ever grow."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import dlt
import pytest

from pipelines import environment, landing, warehouse
from pipelines.landing import Fields, Job, Table

NIGHT = datetime(2026, 7, 1, 2, tzinfo=UTC)


@pytest.fixture(autouse=True)
def dlt_as_in_a_night(tmp_path):
    with environment.of_dlt(tmp_path / "dlt"):
        yield


TABLE = Table(
    "things",
    {
        "id": "text",
        "amount": "money",
        "rate": "rate",
        "share": "share",
        "quantity": "quantity",
        "count": "integer",
        "flag": "flag",
        "day": "date",
        "moment": "timestamp",
    },
)
EVERYTHING = {
    "id": "1",
    "amount": Decimal("-1234567890123456789012.123457"),
    "rate": Decimal("0.000000000001"),
    "share": Decimal("0.2"),
    "quantity": Decimal("0.5"),
    "count": 3,
    "flag": False,
    "day": date(2026, 6, 30),
    "moment": datetime(2026, 6, 30, 21, 59, 59, 999_000, UTC),
}


def parse(method: str, value, **options):
    """(value, problems) of one field named `f`."""
    fields = Fields({} if value is KeyError else {"f": value})
    return getattr(fields, method)("f", **options), fields.problems


# --- Values


@pytest.mark.parametrize("method", ["text", "number", "integer", "flag", "date", "timestamp"])
@pytest.mark.parametrize("value", [KeyError, None, ""])
def test_what_is_absent_null_or_empty_is_null_without_a_problem(method, value):
    assert parse(method, value) == (None, [])


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("43", "money", "43.000000"),
        (Decimal("0.1"), "money", "0.100000"),
        (75, "money", "75.000000"),
        ("-0.5", "money", "-0.500000"),
        ("1E3", "money", "1000.000000"),
        ("12345678901234.56", "money", "12345678901234.560000"),
        ("0.200000000000000011102230246251565404236316680908203125", "share", "0.200000"),
        ("0.90000000000000002220446049250313080847263336181640625", "share", "0.900000"),
        ("1.0525", "rate", "1.052500000000"),
        ("0.0000005", "money", "0.000000"),
        ("0.0000015", "money", "0.000002"),
        (" 7 ", "money", "7.000000"),
        ("9" * 15, "money", "9" * 15 + ".000000"),
    ],
)
def test_numbers_are_exact_to_the_scale_of_their_column(value, kind, expected):
    number, problems = parse("number", value, kind=kind)
    assert (str(number), problems) == (expected, [])


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "1,234.50",
        "$5",
        "NaN",
        "Infinity",
        "-Infinity",
        "sNaN",
        "1e400",
        "1" + "0" * 22,
        "9" * 22 + ".9999999",
        "1_000",
        True,
        [1],
        {"amount": 1},
        Decimal("NaN"),
        "--1",
        "0x10",
    ],
)
def test_what_is_no_number_becomes_null_and_is_named(value):
    number, problems = parse("number", value)
    assert number is None
    assert problems == [f"f: {str(value)[:80]!r} is not a number"]


@pytest.mark.parametrize("value, kind", [("1000000000000000", "money"), ("-1e21", "money"), (10**10, "quantity"), ("1e15", "rate")])
def test_a_number_that_nobody_can_mean_is_named(value, kind):
    assert parse("number", value, kind=kind) == (None, [f"f: {str(value)!r} is larger than can be meant"])


def test_a_whole_number_fits_its_column():
    assert parse("integer", "999999999999999") == (999_999_999_999_999, [])
    assert parse("integer", "1e19") == (None, ["f: '1e19' is larger than can be meant"])


def test_a_share_that_rounds_beyond_its_column_is_named():
    assert parse("number", "999.9999999", kind="share") == (None, ["f: '999.9999999' is not a number"])


@pytest.mark.parametrize(("value", "expected"), [("3", 3), (12, 12), ("12.0", 12), (Decimal("4"), 4)])
def test_whole_numbers(value, expected):
    assert parse("integer", value) == (expected, [])


def test_half_a_period_is_no_whole_number():
    assert parse("integer", "2.5") == (None, ["f: '2.5' is not a whole number"])


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), ("true", True), ("False", False)])
def test_flags(value, expected):
    assert parse("flag", value) == (expected, [])


@pytest.mark.parametrize("value", ["yes", "1", 1, 0])
def test_what_is_no_flag_is_named(value):
    assert parse("flag", value) == (None, [f"f: {str(value)!r} is not a true or false"])


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        ("2026-06-30", "America/Los_Angeles", "2026-06-30"),
        ("2026-06-30T00:00:00Z", "America/Los_Angeles", "2026-06-30"),
        ("2026-06-30T00:00:00.000Z", "America/Los_Angeles", "2026-06-30"),
        ("1782777600000", "America/Los_Angeles", "2026-06-30"),
        ("2026-06-30T03:00:00Z", "America/Los_Angeles", "2026-06-29"),
        ("2026-06-30T23:30:00Z", "Europe/Berlin", "2026-07-01"),
        ("2026-06-30T20:00:00-07:00", "UTC", "2026-07-01"),
        ("1743685150726", "UTC", "2025-04-03"),
        ("20260630", "UTC", "2026-06-30"),
    ],
)
def test_dates_are_the_companys_day_and_midnight_utc_is_a_plain_date(value, zone, expected):
    assert parse("date", value, zone=ZoneInfo(zone)) == (date.fromisoformat(expected), [])


@pytest.mark.parametrize(
    "value",
    [
        "30.06.2026",
        "2026-02-30",
        "soon",
        "2026-13-01T00:00:00Z",
        "0",
        "1743685150",
        "9" * 20,
        "9" * 15,
        True,
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_what_is_no_date_or_time_becomes_null_and_is_named(value):
    assert parse("date", value, zone=ZoneInfo("Europe/Berlin")) == (None, [f"f: {str(value)!r} is not a date"])
    assert parse("timestamp", value) == (None, [f"f: {str(value)!r} is not a time"])


def test_a_day_that_ends_after_the_calendar_does_is_named():
    value = "9999-12-31T23:59:59Z"
    assert parse("date", value, zone=ZoneInfo("Europe/Berlin")) == (None, [f"f: {value!r} is not a date"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-06-30T14:00:00-07:00", datetime(2026, 6, 30, 21, tzinfo=UTC)),
        ("2026-06-30T21:00:00.726Z", datetime(2026, 6, 30, 21, 0, 0, 726_000, UTC)),
        ("1743685150726", datetime(2025, 4, 3, 12, 59, 10, 726_000, UTC)),
        (1743685150726, datetime(2025, 4, 3, 12, 59, 10, 726_000, UTC)),
        ("-62135596800000", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_moments_are_utc(value, expected):
    assert parse("timestamp", value) == (expected, [])


def test_a_row_names_all_that_was_wrong_with_its_record():
    fields = Fields({"amount": "abc", "closedate": "soon", "name": "Acme"})
    found = landing.row(fields, name=fields.text("name"), amount=fields.number("amount"), day=fields.date("closedate"))
    assert found == {
        "name": "Acme",
        "amount": None,
        "day": None,
        "_problem": "amount: 'abc' is not a number; closedate: 'soon' is not a date",
    }
    assert landing.row(Fields({}))["_problem"] is None


def test_a_long_value_is_cut_in_the_problem():
    (problem,) = parse("number", "x" * 5000)[1]
    assert len(problem) < 120


# --- Rows on their way into the warehouse


def job(rows=lambda table, count: None) -> Job:
    return Job(None, None, date(2026, 6, 30), NIGHT, {}, lambda table: set(), rows)


def load(path: Path, rows: list[dict], tables: tuple[Table, ...] = (TABLE,)) -> Job:
    """Lands the rows in raw_acme.things, as a vendor's night does; dlt's own folder is new each time."""
    found = job()
    source = landing.resource(found, "things", tables, iter([("things", [dict(row) for row in rows])]))
    pipeline = dlt.pipeline(
        "landing_test",
        destination=dlt.destinations.duckdb(str(path)),
        dataset_name="raw_acme",
        pipelines_dir=str(path.parent / f"dlt{len(list(path.parent.iterdir()))}"),
    )
    pipeline.run(source, loader_file_format="parquet")
    return found


def read(path: Path, query: str) -> list[tuple]:
    with landing.connect(path, read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_values_are_exact_from_the_record_to_the_warehouse(tmp_path):
    load(tmp_path / "w.duckdb", [{**EVERYTHING, "_problem": None}])
    columns = ", ".join(EVERYTHING)
    (row,) = read(tmp_path / "w.duckdb", f"SELECT {columns}, _landed_at, _deleted, _problem FROM raw_acme.things")
    assert row == (*EVERYTHING.values(), NIGHT, False, None)
    types = dict(
        read(tmp_path / "w.duckdb", "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'things'")
    )
    declared = {**TABLE.columns, "_landed_at": "timestamp", "_deleted": "flag", "_problem": "text"}
    assert {name: types[name] for name in declared} == {
        name: landing.SQL_TYPES[kind] for name, kind in declared.items()
    }


@pytest.mark.parametrize("first", ["ensure_tables", "dlt"])
def test_tables_made_here_and_tables_made_by_dlt_are_the_same(tmp_path, first):
    path = tmp_path / "w.duckdb"
    other = Table("others", {"id": "text"})
    if first == "dlt":
        load(path, [EVERYTHING])
    with landing.connect(path) as connection:
        landing.ensure_tables(connection, "raw_acme", [TABLE, other])
        landing.ensure_tables(connection, "raw_acme", [TABLE, other])
    load(path, [EVERYTHING], (TABLE, other))
    count = 2 if first == "dlt" else 1
    assert read(path, "SELECT count(*), sum(amount) FROM raw_acme.things") == [(count, EVERYTHING["amount"] * count)]
    assert read(
        path, "SELECT count(*), count(DISTINCT _dlt_load_id) FROM raw_acme.things WHERE _dlt_load_id IS NULL"
    ) == [(0, 0)]
    assert read(path, "SELECT count(*) FROM raw_acme.others") == [(0,)]


def test_a_table_of_an_older_version_gets_the_columns_that_it_lacks(tmp_path):
    path = tmp_path / "w.duckdb"
    with landing.connect(path) as connection:
        landing.ensure_tables(connection, "raw_acme", [Table("things", {"id": "text"})])
        connection.execute("INSERT INTO raw_acme.things (id) VALUES ('old')")
        landing.ensure_tables(connection, "raw_acme", [TABLE])
    load(path, [EVERYTHING])
    assert read(path, "SELECT id, amount FROM raw_acme.things ORDER BY amount NULLS FIRST") == [
        ("old", None), (EVERYTHING["id"], EVERYTHING["amount"])]


def test_landing_again_adds_versions_and_never_replaces_one(tmp_path):
    path = tmp_path / "w.duckdb"
    load(path, [{"id": "1", "amount": Decimal(1)}, landing.deletion(TABLE, "2")])
    load(path, [{"id": "1", "amount": Decimal(2)}])
    found = read(path, "SELECT id, amount, _deleted FROM raw_acme.things ORDER BY id, amount")
    assert found == [("1", Decimal(1), False), ("1", Decimal(2), False), ("2", None, True)]


def test_every_table_exists_when_the_vendor_returned_nothing(tmp_path):
    found = load(tmp_path / "w.duckdb", [], (TABLE, Table("others", {"id": "text"})))
    assert found.rows == {"things": 0, "others": 0}
    assert read(tmp_path / "w.duckdb", "SELECT count(*) FROM raw_acme.things") == [(0,)]
    assert read(tmp_path / "w.duckdb", "SELECT count(*) FROM raw_acme.others") == [(0,)]


def test_only_declared_columns_land():
    table = landing.arrow(TABLE, [{"id": "1", "payroll": "secret"}], NIGHT)
    assert table.column_names == [*TABLE.columns, "_landed_at", "_deleted", "_problem"]


@pytest.mark.parametrize(
    "name",
    [
        'O\'Brien "The" Co; DROP TABLE deals;--',
        '=HYPERLINK("http://evil")',
        "Emoji \U0001f680\U0001f468‍\U0001f469",
        "شركة النور",
        "‮reversed",
        "tab\tnew\nline\r",
        "nul\x00inside",
        "\U0010ffff",
    ],
)
def test_texts_stay_byte_for_byte(name):
    (row,) = landing.arrow(TABLE, [{"id": name}], NIGHT).to_pylist()
    assert row["id"].encode() == name.encode()


def test_half_an_emoji_is_replaced_and_named_and_the_others_go_on():
    rows = [{"id": "cut \ud83d", "_problem": "amount: 'x' is not a number"}, {"id": "whole"}]
    cut, whole = landing.arrow(TABLE, rows, NIGHT).to_pylist()
    assert (cut["id"], whole["id"], whole["_problem"]) == ("cut ?", "whole", None)
    assert cut["_problem"] == "amount: 'x' is not a number; id: 'cut ?' held half a character"


def test_a_problem_may_quote_half_an_emoji():
    fields = Fields({"amount": "\ud83d"})
    (row,) = landing.arrow(TABLE, [landing.row(fields, id="1", amount=fields.number("amount"))], NIGHT).to_pylist()
    assert row["id"] == "1"
    assert row["_problem"].endswith("is not a number")


def test_pages_become_batches_of_a_bounded_size_and_are_counted():
    heard: list[tuple[str, int]] = []
    night = job(lambda table, count: heard.append((table, count)))
    pages = (("things", [{"id": str(page * 1000 + n)} for n in range(1000)]) for page in range(12))
    sizes = [len(item.data) for item in landing.batches(night, [TABLE], pages)]
    assert sizes == [5000, 5000, 2000]
    assert night.rows == {"things": 12_000}
    assert heard == [("things", 1000)] * 12


def test_a_connection_downloads_nothing_and_thinks_in_utc(tmp_path):
    with landing.connect(tmp_path / "new" / "w.duckdb") as connection:
        assert connection.execute(
            "SELECT current_setting('TimeZone'), current_setting('autoinstall_known_extensions')"
        ).fetchone() == ("UTC", False)
        assert connection.execute("SELECT TIMESTAMPTZ '2026-06-30 12:00:00+00'").fetchone()[0].utcoffset() == timedelta(
            0
        )
    with pytest.raises(warehouse.WarehouseUnusable, match="none.duckdb is not there .*; `crossfoot run` makes it"), \
            landing.connect(tmp_path / "none.duckdb", read_only=True):
        pass


def test_chunks():
    assert list(landing.chunks([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(landing.chunks([], 2)) == []
