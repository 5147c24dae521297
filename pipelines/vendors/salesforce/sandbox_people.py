"""What people do in the org beside the API: merge records, delete them, and let a formula say something new."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.vendors.salesforce.sandbox_schema import KINDS, TABLES, record_id

if TYPE_CHECKING:
    from pipelines.vendors.salesforce.sandbox_state import Org


def merge(org: Org, name: str, loser: str, survivor: str) -> None:
    """Merges one account or contact into another: the loser is deleted and names its survivor, its children move."""
    one = org.object(name)
    gone, kept = org.find(one, loser), org.find(one, survivor)
    org.bury(one.name, gone, {"MasterRecordId": kept.id})
    org.change(one, kept, {})
    for child in ("Contact", "Opportunity", "Task") if one.name == "Account" else ():
        for record in list(org.tables[child].having("AccountId", [gone.id])):
            org.change(org.objects[child.lower()], record, {"AccountId": kept.id})
    for record in list(org.tables["Account"].having("ParentId", [gone.id])) if one.name == "Account" else ():
        if record.id != kept.id:
            org.change(one, record, {"ParentId": kept.id})


def compute(org: Org, name: str, one_id: str, field: str, value: Any) -> None:
    """Gives a field a value as a formula would: the record's stamp does not move. The field counts as calculated."""
    one = org.object(name)
    found = one.fields[field.lower()]
    one.add(replace(found, calculated=True))
    record = org.find(one, one_id)
    key = (one.name, record.id)
    org.written[key] = org.written.get(key, {}) | {found.name: value}
    org.put(one.name, record.id, record.values | {found.name: value})


def remove(org: Org, kind: str | None, text: str | None) -> None:
    """Deletes a record as a person would: `kind` is an object, a raw table or a kind of the world, by default Account."""
    wanted = (kind or "Account").lower()
    names = {table: name for name, table in TABLES.items()} | KINDS | {one.name.lower(): one.name for one in org.objects.values()}
    name = names.get(wanted, "Account")
    world_kind = next((kind for kind, one in KINDS.items() if one == name), None)
    live = (record.id for record in org.tables[name].records.values() if not record.deleted)
    chosen = record_id(world_kind, text) if text and world_kind else text or next(live, None)
    if chosen is not None:
        org.delete(name, chosen)
