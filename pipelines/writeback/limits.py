"""How much of a CRM one plan may change before a person has to approve it.

Two shares are held against the limit: of all records of an object, and of those that have invoices. A CRM full of prospects
would else hide that every customer's status changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from pipelines.vendors.crm_types import COMPANIONS, DAILY, Field

if TYPE_CHECKING:
    from pipelines.writeback.plan import Change, Plan, Values, WritebackPolicy

# Canonical texts of a field that say that there is nothing.
NOTHING = (None, "", "0")


def is_billed(fields: Sequence[Field], *said: Values) -> bool:
    """Whether the record has invoices or money by any of these values: those that it should have, and those that the CRM holds."""
    return any(values.get(field.name) not in NOTHING for field in fields if field.billing for values in said)


def changed_records(changes: Iterable[Change]) -> dict[str, set[str]]:
    """The ids of the records that change, by "system object". One on which only the days went on does not count."""
    found: dict[str, set[str]] = {}
    for change in changes:
        if change.field not in COMPANIONS and not _went_on(change):
            found.setdefault(f"{change.system} {change.object}", set()).add(change.record_id)
    return found


def _went_on(change: Change) -> bool:
    return change.field in DAILY and change.before not in NOTHING and change.after not in NOTHING


def counted(billed: Mapping[str, set[str]], changes: Iterable[Change]) -> tuple[tuple[str, int, int], ...]:
    """("system object", records with invoices, how many of them change) of the records that `billed` names."""
    changed = changed_records(changes)
    return tuple((name, len(ids), len(ids & changed.get(name, set()))) for name, ids in sorted(billed.items()))


def share_blocks(plan: Plan, policy: WritebackPolicy) -> tuple[str, ...]:
    """One sentence for each object of which the plan would change more than the policy allows."""
    touched = changed_records(plan.changes)
    for task in plan.tasks:
        touched.setdefault(f"{task.system} {task.object}", set()).add(task.account_id)
    billed = {name: (f"{name} with invoices", count, changed) for name, count, changed in plan.billed}
    too_much = []
    for name, count in plan.records:
        shares = [(name, count, len(touched.get(name, ()))), *([billed[name]] if name in billed else [])]
        too_much += [share for share in shares if _is_too_much(*share[1:], policy)][:1]
    return tuple(_sentence(*share, policy) for share in too_much)


def _is_too_much(count: int, changed: int, policy: WritebackPolicy) -> bool:
    return changed > max(policy.max_change_share * count, policy.change_allowance)


def _sentence(name: str, count: int, changed: int, policy: WritebackPolicy) -> str:
    return (f"{changed} of {count} {name} would change ({Decimal(100 * changed) / max(count, 1):.0f} %), more than the allowed "
            f"{policy.max_change_share * 100:.0f} % and more than {policy.change_allowance}; look at the plan and approve it, or raise "
            "[writeback] max_change_share or change_allowance")
