"""Plans as files and as tables: saved for an approval, kept in the journal, shown to a person."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.foreign import read_json
from pipelines.writeback.plan import Change, Hold, Plan, TaskChange, digest, plain

FORMAT = 1


class PlanFileError(Exception):
    """A plan file is missing, was edited, or is of another version; the message names it and the remedy."""


def save_plan(plan: Plan, folder: Path) -> Path:
    """Writes `<folder>/<id>.json` in one rename, and returns its path. The same plan gives the same bytes."""
    document = {"format": FORMAT, "id": plan.id, **_document(plan)}
    document["digest"] = digest(document)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plan.id}.json"
    draft = folder / f".{plan.id}.{os.getpid()}.tmp"
    with draft.open("w", encoding="utf-8") as file:
        file.write(_rendered(document))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path


def load_plan(path: Path) -> Plan:
    """Reads a saved plan. Raises PlanFileError, naming the file, when it is missing, edited or of another version."""
    remedy = "make a new one with crossfoot plan"
    try:
        document = read_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanFileError(f"{path} does not exist; {remedy}") from None
    except ValueError as error:
        raise PlanFileError(f"{path} is no plan ({error}); {remedy}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PlanFileError(f"{path} is no plan of format {FORMAT}; {remedy}")
    claimed = document.pop("digest", None)
    if claimed != digest(document):
        raise PlanFileError(f"{path} was edited after it was made; a plan is applied as it was shown: {remedy}")
    plan = plan_from_document(document)
    if plan.id != document["id"] or path.stem != plan.id:
        raise PlanFileError(f"{path} holds plan {plan.id}; {remedy}")
    return plan


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON values, for the journal; `plan_from_document` reads it back."""
    return _document(plan)


def plan_from_document(document: Mapping[str, Any]) -> Plan:
    """The plan that `plan_document` gave."""
    return Plan(
        changes=tuple(Change(**item) for item in document["changes"]),
        tasks=tuple(TaskChange(**item) for item in document["tasks"]),
        holds=tuple(Hold(**item) for item in document["holds"]),
        guard_blocks=tuple(document["guard_blocks"]),
        limit_blocks=tuple(document["limit_blocks"]),
        records=tuple((name, count) for name, count in document["records"]),
        kind=document["kind"],
        rollback_of=document["rollback_of"],
        as_of=document["as_of"],
        not_approved=tuple(Hold(**item) for item in document["not_approved"]),
        billed=tuple((name, count, changed) for name, count, changed in document.get("billed", ())),
    )


def to_table(plan: Plan) -> list[dict[str, str | None]]:
    """One row for each change, task and hold, for a person to read: what, system, object, record, account, field,
    before, after, reason. Values are as they are: whoever shows them escapes them."""
    rows = [_row("change", c.system, c.object, c.record_id, c.account, c.field, c.before, c.after, c.reason) for c in plan.changes]
    rows += [
        _row("task", t.system, t.object, t.account_id, t.account, f"task: {t.action}", t.before, t.after, t.subject)
        for t in plan.tasks
    ]
    for what, holds in (("held back", plan.holds), ("not approved", plan.not_approved)):
        rows += [_row(what, h.system, h.object, h.record_id, h.account, h.field, h.before, h.after, h.reason) for h in holds]
    return rows


def _row(what: str, *cells: str | None) -> dict[str, str | None]:
    names = ("system", "object", "record_id", "account", "field", "before", "after", "reason")
    return {"what": what, **dict(zip(names, cells, strict=True))}


def _document(plan: Plan) -> dict[str, Any]:
    return {one.name: plain(getattr(plan, one.name)) for one in dataclasses.fields(plan)}


def _rendered(document: Mapping[str, Any]) -> str:
    """The document as JSON with one change, task or hold a line, for whoever reads it or compares two."""
    parts = []
    for name, value in document.items():
        rows = value if isinstance(value, list) else None
        text = json.dumps(value, ensure_ascii=False) if not rows else ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        parts.append(f"{json.dumps(name)}: " + (f"[\n{text}\n]" if rows else text))
    return "{\n" + ",\n".join(parts) + "\n}\n"
