"""The guard: a source that suddenly holds far fewer records is named; anything less is not."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from extract_fixture import FAST, NIGHT, settings_at

from pipelines import extract, guard, landing
from pipelines.landing import Job, Table

FLOOR = Decimal("0.8")
TABLES = [
    Table("deals", {"id": "text", "modified_at": "timestamp"}),
    Table("deal_stages", {"id": "text"}),
    Table("deal_companies", {"deal_id": "text", "modified_at": "timestamp"}),
]
BEFORE = NIGHT - timedelta(days=1)


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        (100, 79, True),
        (100, 80, False),
        (100, 100, False),
        (100, 130, False),
        (20, 15, True),
        (19, 0, False),
        (20, 16, False),
        (0, 0, False),
        (0, 50, False),
        (101, 80, True),
        (1_000_000, 0, True),
    ],
)
def test_a_table_below_the_floor_is_named(before, now, named):
    assert bool(guard.too_few("hubspot", [("deals", before, now)], FLOOR)) is named


def test_the_sentence_says_what_fell_how_far_and_what_to_do():
    assert guard.too_few("hubspot", [("deals", 200, 20), ("contacts", 50, 50)], FLOOR) == [
        "hubspot: deals fell from 200 to 20 records, below the floor of 80%; check the vendor, then lower [guard] "
        "floor_share for one night if the loss is real"
    ]


def recorded(found, at: datetime, status: str) -> None:
    extract.record_load(found, "hubspot", Job(None, found, at.date(), at, {}, lambda table: set()), status, "", {})


@pytest.fixture
def warehouse(tmp_path):
    """Settings whose warehouse has empty raw tables of a CRM, and `land(rows, at)`."""
    found = settings_at("http://127.0.0.1:9", tmp_path)
    extract.prepare_warehouse(found, {"hubspot": TABLES, "quickbooks": []})

    def land(at: datetime, ids, deleted: bool = False, complete: bool = True) -> None:
        with landing.connect(found.warehouse) as connection:
            for table in ("deals", "deal_stages"):
                connection.executemany(
                    f"INSERT INTO raw_hubspot.{table} (id, _landed_at, _deleted) VALUES (?, ?, ?)",
                    [[str(one), at, deleted] for one in ids],
                )
        if complete:
            recorded(found, at, "complete")

    return found, land


def test_deletions_of_one_night_make_a_source_shrink(warehouse):
    found, land = warehouse
    land(BEFORE, range(40))
    land(NIGHT, range(9), deleted=True)
    (sentence,) = guard.shrunk(found, NIGHT)
    assert sentence.startswith("hubspot: deals fell from 40 to 31 records"), "snapshots such as stages have no say"
    assert guard.shrunk(found, BEFORE) == [], "as it was known the night before, nothing had gone"


def test_new_versions_of_the_same_records_are_no_growth_and_no_loss(warehouse):
    found, land = warehouse
    land(BEFORE, range(40))
    land(NIGHT, range(35))
    assert guard.shrunk(found, NIGHT) == []


def test_a_record_that_came_back_counts(warehouse):
    found, land = warehouse
    land(BEFORE - timedelta(days=1), range(9), deleted=True, complete=False)
    land(BEFORE, range(40))
    land(NIGHT, [99])
    assert guard.shrunk(found, NIGHT) == []


def test_a_failed_night_in_between_is_not_compared_with(warehouse):
    found, land = warehouse
    land(BEFORE - timedelta(days=1), range(40))
    land(BEFORE, range(20), deleted=True, complete=False)
    recorded(found, BEFORE, "failed")
    recorded(found, NIGHT, "complete")
    (sentence,) = guard.shrunk(found, NIGHT)
    assert "fell from 40 to 20" in sentence


def test_the_first_night_has_nothing_to_compare_with(warehouse):
    found, land = warehouse
    assert guard.shrunk(found, NIGHT) == []
    land(NIGHT, range(40), deleted=True)
    assert guard.shrunk(found, NIGHT) == []


def test_the_floor_may_be_lowered_for_one_night(warehouse, tmp_path):
    found, land = warehouse
    land(BEFORE, range(40))
    land(NIGHT, range(9), deleted=True)
    lower = settings_at("http://127.0.0.1:9", tmp_path, f"{FAST}[guard]\nfloor_share = 0.5\n")
    assert guard.shrunk(lower, NIGHT) == []


def test_a_source_that_is_not_configured_is_not_looked_at(warehouse, tmp_path):
    found, land = warehouse
    land(BEFORE, range(40))
    land(datetime(2026, 7, 1, 2, tzinfo=UTC), range(40), deleted=True)
    other = settings_at("http://127.0.0.1:9", tmp_path, f"{FAST}[vendors]\ncrms = []\n")
    assert guard.shrunk(other, NIGHT) == []
