"""Whose write of a field is the newest that still stands: what a rollback may take back, and what it has to leave alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import groupby

from pipelines.writeback.journal import Intent


@dataclass(frozen=True)
class Standing:
    """One field that the runs wrote and nobody rolled back: from `first.before` to `last.after`. `since`: the later run whose
    write of it stands on top, or None."""

    first: Intent
    last: Intent
    since: str | None = None


def standing(history: Iterable[Intent], chain: Iterable[str], undoes: Mapping[str, Set[str]]) -> list[Standing]:
    """What of the chain's writes still stands, one for each field, in the order of their keys.

    `history` holds every write of those fields, by whichever run; `undoes` the runs that each rollback took back. A write
    stands unless a later rollback of its run wrote the same field, and that rollback was not rolled back itself.
    """
    mine = frozenset(chain)
    ordered = sorted(history, key=lambda intent: (*intent.key, intent.intent_id))
    found = []
    for _, group in groupby(ordered, key=lambda intent: intent.key):
        # A rollback stands for what it took back, and on its own only where it is what is to be taken back.
        writes = [write for write in _live(list(group), undoes) if write.run_id in mine or write.run_id not in undoes]
        ours = [write for write in writes if write.run_id in mine]
        if not ours:
            continue
        if writes[-1].run_id not in mine:
            found.append(Standing(ours[0], ours[-1], writes[-1].run_id))
            continue
        foreign = [place for place, write in enumerate(writes) if write.run_id not in mine]
        found.append(Standing(writes[foreign[-1] + 1 if foreign else 0], writes[-1]))
    return found


def _live(writes: list[Intent], undoes: Mapping[str, Set[str]]) -> Iterator[Intent]:
    """The writes of one field, oldest first, without those that were taken back."""
    cancelled: set[int] = set()
    for place in range(len(writes) - 1, -1, -1):
        undone = undoes.get(writes[place].run_id, frozenset()) if place not in cancelled else frozenset()
        cancelled |= {earlier for earlier in range(place) if writes[earlier].run_id in undone}
    return (write for place, write in enumerate(writes) if place not in cancelled)
