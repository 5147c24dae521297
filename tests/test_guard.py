"""The guard: a source that holds far fewer records than on the last trusted night is named, also where it dwindled; anything less
is not. What it saw is remembered, and a person may accept it."""

import shutil
from datetime import timedelta
from decimal import Decimal

import pytest
from extract_fixture import FAST, NIGHT, settings_at

from pipelines import acceptance, extract, guard, landing
from pipelines import night as steps
from pipelines.landing import Job, Table
from pipelines.settings import ConfigurationError
from pipelines.writeback.guarded import Block, Guarded

FLOOR = Decimal("0.8")
TABLES = [
    Table("deals", {"id": "text", "modified_at": "timestamp"}),
    Table("deal_stages", {"id": "text"}),
    Table("deal_companies", {"deal_id": "text", "modified_at": "timestamp"}),
]
DAY = timedelta(days=1)
BEFORE = NIGHT - DAY


def seen(days_ago: int, held: int, *, blocked: bool = False, accepted: bool = False, source: str = "hubspot") -> Guarded:
    doubt = (Block("fell", source, "deals", "fell"),)
    return Guarded(NIGHT - days_ago * DAY, (NIGHT - days_ago * DAY).date(), {source: {"deals": held}}, doubt if blocked else (),
                   doubt if accepted else ())


def sentences(blocks):
    return [one.sentence for one in blocks]


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        (100, 79, True),
        (100, 80, False),
        (100, 100, False),
        (100, 130, False),
        (20, 15, True),
        (9, 0, True),
        (9, 6, True),
        (9, 7, False),
        (3, 0, True),
        (2, 0, False),
        (20, 16, False),
        (0, 0, False),
        (0, 50, False),
        (101, 80, True),
        (1_000_000, 0, True),
    ],
)
def test_a_table_below_the_floor_is_named(before, now, named):
    assert bool(guard.fallen({"hubspot": {"deals": now}}, [seen(1, before)], FLOOR, 2)) is named


def test_the_sentence_says_what_fell_how_far_and_since_when():
    base = Guarded(BEFORE, BEFORE.date(), {"hubspot": {"deals": 200, "contacts": 50, "unknown": 9}})
    assert sentences(guard.fallen({"hubspot": {"deals": 20, "contacts": 50}}, [base], FLOOR, 2)) == [
        f"hubspot: deals fell from 200 to 20 records since the night of {BEFORE.date()}, below the floor of 80%"
    ]


@pytest.mark.parametrize(("held", "named"), [(74, True), (75, False)])
def test_slow_loss_is_held_against_the_most_of_the_span(held, named):
    nights = [seen(1, 80), seen(5, 100), seen(7, 99)]
    found = guard.dwindled({"hubspot": {"deals": held}}, nights, 7, Decimal("0.75"), 2, [])
    assert sentences(found) == ([f"hubspot: deals fell from 100 to {held} records in 7 days, below the floor of 75% ([guard] "
                                 "floor_share_of_7_nights)"] if named else [])
    assert guard.dwindled({"hubspot": {"deals": held}}, nights, 7, Decimal("0.75"), 2, [("hubspot", "deals")]) == []


def test_what_was_accepted_is_no_slow_loss_any_more_and_what_follows_it_is():
    nights = [seen(1, 58), seen(2, 60, accepted=True), seen(3, 100)]
    assert guard.dwindled({"hubspot": {"deals": 50}}, nights, 7, Decimal("0.75"), 2, []) == []
    assert len(guard.dwindled({"hubspot": {"deals": 44}}, nights, 7, Decimal("0.75"), 2, [])) == 1
    other = [seen(1, 58), seen(2, 60, accepted=True, source="other"), seen(3, 100)]
    assert len(guard.dwindled({"hubspot": {"deals": 50}}, other, 7, Decimal("0.75"), 2, [])) == 1, "another source's acceptance"


def test_a_span_counts_days_whatever_the_hour():
    nights = [seen(6, 1), seen(7, 1), seen(8, 1)]
    assert guard.within(nights, NIGHT + timedelta(hours=5), 7) == nights[:2]


def recorded(found, at, status: str) -> None:
    extract.record_load(found, "hubspot", Job(None, found, at.date(), at, {}, lambda table: set()), status, "", {})


class Warehouse:
    """A warehouse with empty raw tables of a CRM, and the nights that are judged on it; its ledger is never empty."""

    def __init__(self, folder):
        self.folder = folder
        self.configure("")
        extract.prepare_warehouse(self.settings, {"hubspot": TABLES, "quickbooks": [Table("invoices", TABLES[0].columns)]})
        self.land(BEFORE - 9 * DAY, range(5), table="quickbooks.invoices")

    def configure(self, text: str) -> None:
        self.settings = settings_at("http://127.0.0.1:9", self.folder, FAST + text)

    def land(self, at, ids, deleted: bool = False, complete: bool = True, table: str = "hubspot.deals") -> None:
        with landing.connect(self.settings.warehouse) as connection:
            connection.executemany(f"INSERT INTO raw_{table} (id, _landed_at, _deleted) VALUES (?, ?, ?)",
                                   [[str(one), at, deleted] for one in ids])
        if complete:
            recorded(self.settings, at, "complete")

    def judge(self, at) -> list[str]:
        with steps.open_journal(self.settings) as journal:
            return sentences(guard.judge(self.settings, at.date(), at, journal).blocks)


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    monkeypatch.setattr(guard, "empty", lambda settings: [])
    return Warehouse(tmp_path)


def test_deletions_of_one_night_make_a_source_shrink(warehouse):
    warehouse.land(BEFORE, range(40))
    assert warehouse.judge(BEFORE) == []
    warehouse.land(NIGHT, range(9), deleted=True)
    (sentence,) = warehouse.judge(NIGHT)
    assert sentence.startswith(f"hubspot: deals fell from 40 to 31 records since the night of {BEFORE.date()}"), "no word of stages"
    assert sentence.endswith(f"`crossfoot accept {NIGHT:%Y-%m-%dT%H:%M:%SZ} --by NAME --why WHY`")
    assert warehouse.judge(BEFORE) == [], "as it was known the night before, nothing had gone"


def test_writeback_03_a_blocked_night_is_no_base_for_the_next(warehouse):
    warehouse.land(BEFORE, range(77))
    assert warehouse.judge(BEFORE) == []
    warehouse.land(NIGHT, range(16), deleted=True)
    for later in range(3):
        recorded(warehouse.settings, NIGHT + later * DAY, "complete")
        assert "fell from 77 to 61" in warehouse.judge(NIGHT + later * DAY)[0], f"{later} nights later"


def test_writeback_03_an_accepted_night_is_a_base_and_its_acceptance_covers_no_later_drop(warehouse):
    warehouse.land(BEFORE, range(77))
    warehouse.judge(BEFORE)
    warehouse.land(NIGHT, range(16), deleted=True)
    warehouse.judge(NIGHT)
    name = f"{NIGHT:%Y-%m-%dT%H:%M:%SZ}"
    done = acceptance.accept(warehouse.settings, name, "Ada", "the old project is closed", NIGHT + DAY)
    assert done.acceptance().startswith(f"Ada accepted the night of {NIGHT.date()} ({name}) on ")
    assert "fell from 77 to 61" in done.acceptance()
    assert warehouse.judge(NIGHT) == [], "the night itself may be planned from"
    recorded(warehouse.settings, NIGHT + DAY, "complete")
    assert warehouse.judge(NIGHT + DAY) == []
    warehouse.land(NIGHT + 2 * DAY, range(16, 32), deleted=True)
    assert "fell from 61 to 45" in warehouse.judge(NIGHT + 2 * DAY)[0]
    later = steps.Night(warehouse.settings, (NIGHT + DAY).date(), NIGHT + DAY, lambda: NIGHT)
    assert [said[:12] for said in acceptance.resting_on(later)] == ["Ada accepted"]


def test_an_acceptance_is_of_the_numbers_that_were_accepted(warehouse):
    warehouse.land(BEFORE, range(77))
    warehouse.judge(BEFORE)
    warehouse.land(NIGHT, range(16), deleted=True)
    warehouse.judge(NIGHT)
    acceptance.accept(warehouse.settings, NIGHT.date().isoformat(), "Ada", "x", NIGHT)
    warehouse.land(NIGHT, range(16, 40), deleted=True)  # a vendor that had failed is read again the same night
    assert "fell from 77 to 37" in warehouse.judge(NIGHT)[0]


def test_the_guard_forgets_neither_with_the_warehouse_nor_with_the_journal(warehouse):
    warehouse.land(BEFORE, range(77))
    warehouse.judge(BEFORE)
    for lost in ("warehouse.duckdb", "journal.sqlite"):
        kept = warehouse.folder / "kept"
        shutil.copytree(warehouse.settings.data_dir, kept, dirs_exist_ok=True)
        for path in warehouse.settings.data_dir.glob(f"{lost}*"):
            path.unlink()
        extract.prepare_warehouse(warehouse.settings, {"hubspot": TABLES, "quickbooks": []})
        with landing.connect(warehouse.settings.warehouse) as connection:
            connection.execute("DELETE FROM raw_hubspot.deals")
        warehouse.land(NIGHT, range(61))
        assert "fell from 77 to 61" in warehouse.judge(NIGHT)[0], f"{lost} was lost"
        shutil.rmtree(warehouse.settings.data_dir)
        shutil.copytree(kept, warehouse.settings.data_dir)
        shutil.rmtree(kept)


def test_a_warehouse_older_than_the_memory_is_measured_against_its_newest_load(warehouse):
    warehouse.land(BEFORE, range(77))
    warehouse.land(NIGHT, range(16), deleted=True)
    assert "fell from 77 to 61" in warehouse.judge(NIGHT)[0]
    recorded(warehouse.settings, NIGHT + DAY, "complete")
    assert "fell from 77 to 61" in warehouse.judge(NIGHT + DAY)[0], "nor does that block last one night"


def test_a_slow_loss_blocks_though_no_night_does(warehouse):
    warehouse.land(BEFORE, range(100))
    said, gone = [warehouse.judge(BEFORE)], 0
    for number in range(1, 6):
        warehouse.land(BEFORE + number * DAY, range(gone, gone + 6), deleted=True)
        gone += 6
        said.append(warehouse.judge(BEFORE + number * DAY))
    assert said[:5] == [[]] * 5
    assert "fell from 100 to 70 records in 7 days" in said[5][0]


def test_new_versions_of_the_same_records_are_no_growth_and_no_loss(warehouse):
    warehouse.land(BEFORE, range(40))
    warehouse.judge(BEFORE)
    warehouse.land(NIGHT, range(35))
    assert warehouse.judge(NIGHT) == []


def test_what_a_failed_night_deleted_counts_at_once(warehouse):
    warehouse.land(BEFORE - DAY, range(40))
    warehouse.judge(BEFORE - DAY)
    warehouse.land(BEFORE, range(20), deleted=True, complete=False)
    recorded(warehouse.settings, BEFORE, "failed")
    assert "fell from 40 to 20" in warehouse.judge(BEFORE)[0]
    recorded(warehouse.settings, NIGHT, "complete")
    assert "fell from 40 to 20" in warehouse.judge(NIGHT)[0]


def test_the_first_night_has_nothing_to_compare_with(warehouse):
    warehouse.land(NIGHT, range(40), deleted=True)
    assert warehouse.judge(NIGHT) == []


def test_the_floor_may_be_lowered_for_one_night(warehouse):
    warehouse.land(BEFORE, range(40))
    warehouse.judge(BEFORE)
    warehouse.land(NIGHT, range(9), deleted=True)
    warehouse.configure("[guard]\nfloor_share = 0.5\n")
    assert warehouse.judge(NIGHT) == []


def test_writeback_01_a_source_that_had_records_and_is_configured_no_longer_blocks_until_it_is_accepted(warehouse):
    warehouse.land(BEFORE, range(40))
    assert warehouse.judge(BEFORE) == []
    warehouse.configure('[vendors]\nledgers = ["xero"]\n')
    recorded(warehouse.settings, NIGHT, "complete")
    (sentence,) = warehouse.judge(NIGHT)
    assert sentence.startswith(f"quickbooks held 5 records on the night of {BEFORE.date()} and is configured no longer")
    acceptance.accept(warehouse.settings, NIGHT.date().isoformat(), "Ada", "moved to other books", NIGHT)
    assert warehouse.judge(NIGHT) == []
    recorded(warehouse.settings, NIGHT + DAY, "complete")
    assert warehouse.judge(NIGHT + DAY) == []


@pytest.mark.parametrize(("night", "by", "why", "said"), [
    ("2026-01-01", "Ada", "x", "no blocked night is called '2026-01-01'; blocked and not accepted: 20"),
    (f"{BEFORE:%Y-%m-%dT%H:%M:%SZ}", "Ada", "x", "no blocked night is called"),
    ("", " ", "x", "--by missing: a night is accepted by name"),
    ("", "Ada", "", "--why missing: a night is accepted by name"),
])
def test_what_cannot_be_accepted_is_refused_with_a_sentence(warehouse, night, by, why, said):
    warehouse.land(BEFORE, range(40))
    warehouse.judge(BEFORE)
    warehouse.land(NIGHT, range(9), deleted=True)
    warehouse.judge(NIGHT)
    with pytest.raises(ConfigurationError, match=said):
        acceptance.accept(warehouse.settings, night, by, why, NIGHT)


def test_a_business_date_that_names_two_blocked_nights_is_not_guessed(warehouse):
    warehouse.land(BEFORE, range(40))
    warehouse.judge(BEFORE)
    warehouse.land(NIGHT, range(9), deleted=True)
    for moment in (NIGHT, NIGHT + timedelta(minutes=1)):
        warehouse.judge(moment)
    with pytest.raises(ConfigurationError, match="names 2 blocked nights; write which one"):
        acceptance.accept(warehouse.settings, NIGHT.date().isoformat(), "Ada", "x", NIGHT)
