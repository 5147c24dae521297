"""What stands in the CRM by the journal's account: the newest writes, without those that were rolled back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from pipelines.writeback.journal.tables import intents, outcomes, runs


def last_written(connection: sa.Connection, system: str, object: str) -> dict[tuple[str, str], str | None]:
    """The value that Crossfoot wrote last, by (record id, field). A rolled back write counts as never made."""
    mine = (intents.c.system == system, intents.c.object == object)
    newest = sa.select(sa.func.max(intents.c.intent_id)).select_from(intents.join(outcomes))
    newest = newest.where(outcomes.c.outcome == "written", *mine).group_by(intents.c.record_id, intents.c.field)
    columns = (intents.c.record_id, intents.c.field, intents.c.run_id, intents.c.after)
    rows = connection.execute(sa.select(*columns).where(intents.c.intent_id.in_(newest)))
    values = {(record_id, field): after for record_id, field, _, after in rows}
    undone = _undone(connection)
    if undone:
        touched = sa.select(intents.c.record_id).where(intents.c.run_id.in_(list(undone)), *mine)
        history = sa.select(*columns).select_from(intents.join(outcomes)).where(outcomes.c.outcome == "written", *mine)
        history = history.where(intents.c.record_id.in_(touched)).order_by(intents.c.intent_id)
        _replay(values, connection.execute(history).tuples(), undone)
    return values


def chain(connection: sa.Connection, run_id: str) -> tuple[str, ...]:
    """The run and the interrupted runs that it went on with."""
    return _reach(run_id, _resumed(connection))


def _resumed(connection: sa.Connection) -> Mapping[str, Sequence[str]]:
    """The runs that each run went on with."""
    found: dict[str, list[str]] = defaultdict(list)
    pairs = connection.execute(sa.select(runs.c.resumed_by, runs.c.run_id).where(runs.c.resumed_by.is_not(None)))
    for later, earlier in pairs:
        found[later].append(earlier)
    return found


def _undone(connection: sa.Connection) -> dict[str, frozenset[str]]:
    """For each rollback of a writing run, the runs that it undoes. The rollback of a rollback is a write like any."""
    kinds = dict(connection.execute(sa.select(runs.c.run_id, runs.c.kind)).tuples().all())
    earlier = _resumed(connection)
    found = connection.execute(sa.select(runs.c.run_id, runs.c.rollback_of).where(runs.c.rollback_of.is_not(None)))
    return {run: frozenset(_reach(of, earlier)) for run, of in found if kinds.get(of) != "rollback"}


def _reach(run_id: str, earlier: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    reached = [run_id]
    for run in reached:  # grows while it is walked; a run resumes only runs before it, so it ends
        reached += [one for one in earlier.get(run, ()) if one not in reached]
    return tuple(reached)


def _replay(
    values: dict[tuple[str, str], str | None],
    history: Iterable[tuple[str, str, str, str | None]],
    undone: Mapping[str, frozenset[str]],
) -> None:
    """Puts right the fields of `values` that a rollback touched: what it undid was never written. `history` holds
    (record id, field, run id, after) in the order of writing."""
    stacks: dict[tuple[str, str], list[tuple[str, str | None]]] = defaultdict(list)
    for record_id, field_name, run_id, after in history:
        stack = stacks[record_id, field_name]
        if run_id in undone:
            stack[:] = [one for one in stack if one[0] not in undone[run_id]]
        else:
            stack.append((run_id, after))
    for key, stack in stacks.items():
        values.pop(key, None)
        if stack:
            values[key] = stack[-1][1]
