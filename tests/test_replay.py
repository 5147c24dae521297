"""`crossfoot replay`: nights of a world that advances daily, built again from raw, give what they gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from night_fixture import FIELDS, House, first_night, house, models_alone

from flows import cli, replay, when
from pipelines import fingerprint, transform
from pipelines import night as steps

pytestmark = pytest.mark.timeout(600)
NIGHTS = 3  # a campaign replays sixty
# The marts that a night vouches for, and what they are made of.
VOUCHED = partial(models_alone, choice=("--select", "+fct_*", "+account_status"))
LONG = 60


@dataclass(frozen=True)
class Lived:
    """A house after some nights, with what each night left, and which of them were replayed with what result."""

    house: House
    nights: tuple[steps.Night, ...]
    exports: tuple[dict[str, str], ...]
    replayed: tuple[replay.Replayed, ...]
    replayed_exports: tuple[dict[str, str], ...]


def live(at: House, count: int) -> tuple[tuple[steps.Night, ...], tuple[dict[str, str], ...]]:
    """Hears and builds a night a day until there are so many; a first one may be in the house already."""
    nights, exports = [], []
    if steps.built(at.settings):
        nights, exports = [at.built_night()], [at.exports()]
        at.advance()
    while len(nights) < count:
        night = when.tonight(at.settings)
        at.hear(night)
        at.build(night, tests=False)
        nights.append(night)
        exports.append(at.exports())
        at.advance()
    return tuple(nights), tuple(exports)


def lived(at: House, count: int) -> Lived:
    nights, exports = live(at, count)
    at.forget()
    found, again = [], []
    for one in replay.replay(at.settings, nights[0].as_of, nights[-1].as_of, when.now):
        found.append(one)
        again.append(at.exports())
    return Lived(at, nights, exports, tuple(found), tuple(again))


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Iterator[Lived]:
    with pytest.MonkeyPatch.context() as patch, house(tmp_path_factory.mktemp("replay"), data=first_night(tmp_path_factory)) as at:
        patch.setattr(transform, "build", VOUCHED)
        yield lived(at, NIGHTS)


def test_every_night_is_replayed_to_the_byte(story):
    assert [(one.as_of, one.known_at) for one in story.replayed] == [(night.as_of, night.known_at) for night in story.nights]
    assert [one.differing for one in story.replayed] == [()] * NIGHTS
    assert len({one.sha256 for one in story.replayed}) == NIGHTS
    assert story.replayed_exports == story.exports
    assert {"account_status", "fct_deals", "fct_invoices", "fct_payments", "fct_deal_reconciliation"} <= story.exports[0].keys()


def test_a_replay_calls_nobody_writes_nothing_and_ends_with_the_newest_night(story):
    assert story.house.calls() == story.house.calls("quickbooks") == []
    assert {value for name in FIELDS for values in story.house.fields_of(name).values() for value in values.values()} == {None}
    assert not (story.house.data / "published").exists()
    built = steps.built(story.house.settings)
    assert (built.as_of, built.known_at, built.complete) == (story.nights[-1].as_of, story.nights[-1].known_at, True)
    assert story.house.exports() == story.exports[-1]


def test_the_hashes_of_a_night_are_those_of_its_first_build(story):
    recorded = {(one.as_of, one.known_at): one.marts for one in fingerprint.recorded(story.house.settings)}
    assert len(recorded) == NIGHTS
    newest = recorded[story.nights[-1].as_of, story.nights[-1].known_at]
    assert newest == fingerprint.take(story.house.settings)
    assert {len(digest) for digest in newest.values()} == {64}


def command(at: House, monkeypatch: Any, capsys: Any, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["crossfoot", "--config", str(at.folder / "crossfoot.toml"), "--data-dir", str(at.data), *arguments])
    monkeypatch.setenv("CROSSFOOT_SANDBOX_URL", at.url)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return ended.value.code or 0, out, err


def test_the_command_says_which_mart_of_which_night_differs(story, monkeypatch, capsys):
    at, day = story.house, story.nights[-1].as_of
    monkeypatch.setattr(transform, "build", VOUCHED)
    at.change("UPDATE raw_crossfoot.nights SET sha256 = repeat('0', 64) WHERE as_of = ? AND mart = 'fct_invoices'", day)
    code, out, _ = command(at, monkeypatch, capsys, "replay", "--from", day.isoformat(), "--to", day.isoformat())
    (line,) = out.splitlines()
    assert code == 1 and line.startswith(f"{day}  ") and line.endswith(f"  {story.replayed[-1].sha256}  differs: fct_invoices")
    assert str(story.replayed[-1]).endswith("  same")
    assert at.exports() == story.exports[-1]


def test_a_span_without_a_night_is_wrong_use_and_names_what_there_is(story, monkeypatch, capsys):
    later = story.nights[-1].as_of + timedelta(days=1)
    code, out, err = command(story.house, monkeypatch, capsys, "replay", "--from", later.isoformat(), "--to", later.isoformat())
    assert (code, out) == (2, "") and f"built are {story.nights[0].as_of} to {story.nights[-1].as_of}" in err
    code, _, err = command(story.house, monkeypatch, capsys, "replay", "--from", "yesterday", "--to", later.isoformat())
    assert code == 2 and "--from is 'yesterday'; write a date such as" in err


def test_one_changed_value_changes_the_hash(story):
    settings, before = story.house.settings, fingerprint.take(story.house.settings)
    story.house.change("UPDATE marts.fct_invoices SET net_base = net_base + 0.000001 WHERE document_id = "
                       "(SELECT min(document_id) FROM marts.fct_invoices)")
    after = fingerprint.take(settings)
    story.house.change("UPDATE marts.fct_invoices SET net_base = net_base - 0.000001 WHERE document_id = "
                       "(SELECT min(document_id) FROM marts.fct_invoices)")
    assert {name for name in before if before[name] != after[name]} == {"fct_invoices"}
    assert fingerprint.take(settings) == before


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_sixty_nights_are_replayed_to_the_byte(tmp_path):
    with house(tmp_path) as at:
        told = lived(at, LONG)
        assert [(one.as_of, one.differing) for one in told.replayed] == [(night.as_of, ()) for night in told.nights]
        assert told.replayed_exports == told.exports
