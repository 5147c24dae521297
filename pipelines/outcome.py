"""What a night did, as one value: for the terminal, the report, the Prefect artifact and `crossfoot status`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.foreign import read_json
from pipelines.redaction import redact
from pipelines.settings import ConfigurationError, Settings

if TYPE_CHECKING:  # `crossfoot status` reads this file's document and has a second for it
    from pipelines.extract import Receipt
    from pipelines.tieout import Certificate
    from pipelines.writeback.apply import ApplyResult
    from pipelines.writeback.plan import Plan

FILE = "last_night.json"
# Reasons to hold back are sentences that end in details; this many different ones are shown.
MAX_REASONS = 12
# What a receipt's status says of a source that was not read to its end.
LACKING = {"failed": "could not be read", "partial": "was read in part"}


@dataclass(frozen=True)
class Outcome:
    """The end of a night. `state`: complete, partial (a vendor or some writes failed), blocked or failed. `sent` says who was
    told of it, and to whom the report could not be sent; empty where nobody is to be told. `accepted`: who accepted what it rests on."""

    as_of: date
    known_at: datetime
    mode: str
    state: str
    sentence: str
    receipts: tuple[Receipt, ...] = ()
    plan: Plan | None = None
    plan_path: Path | None = None
    applied: ApplyResult | None = None
    published: Path | None = None
    report: Path | None = None
    tie_out: tuple[Certificate, ...] = ()
    sent: str = ""
    accepted: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return {
            "as_of": self.as_of.isoformat(), "known_at": self.known_at.isoformat(), "mode": self.mode, "state": self.state,
            "sentence": self.sentence,
            "vendors": {receipt.source: {key: value for key, value in receipt.document().items() if key != "source"}
                        for receipt in self.receipts},
            "tie_out": {one.source: one.document() for one in self.tie_out},
            "plan": self.plan and plan_document(self.plan, self.plan_path),
            "applied": self.applied and applied_document(self.applied),
            "published": self.published and str(self.published),
            "report": self.report and str(self.report),
            "sent": self.sent,
            "accepted": list(self.accepted),
        }


def plan_document(plan: Plan, path: Path | None) -> dict[str, Any]:
    """A plan's figures: what it would change and what it holds back, why."""
    return {
        "id": plan.id, "path": path and str(path), "changes": len(plan.changes), "tasks": len(plan.tasks),
        "records": len({change.key[:3] for change in plan.changes}), "blocks": list(plan.blocks),
        "held_back": held_back(plan),
    }


def applied_document(result: ApplyResult) -> dict[str, Any]:
    """An apply's figures, and each change that was not written with its reason: `problems` met the CRM, `left_out` was asked for
    and not even tried."""
    return {
        "run": result.run_id, "plan": result.plan.id, "status": result.status, "written": result.written,
        "skipped": result.skipped, "rejected": result.rejected, "not_approved": len(result.plan.not_approved),
        "problems": [
            {"object": one.intent.object, "record": one.intent.record_id, "field": one.intent.field, "outcome": one.outcome,
             "message": one.message}
            for one in result.problems
        ],
        "left_out": [
            {"object": one.object, "record": one.record_id, "field": one.field, "message": one.reason} for one in result.left_out
        ],
        "nothing_left": nothing_left(result),
        "resolved": len(result.resolved),
    }


def nothing_left(result: ApplyResult) -> bool:
    """Whether it was a rollback of a run of which nothing stands any more."""
    return result.plan.kind == "rollback" and not result.plan.size and not result.left_out


def held_back(plan: Plan) -> dict[str, int]:
    """How many records or fields are held back for each reason, the most frequent first."""
    counts = Counter(hold.reason for hold in plan.holds)
    shown = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_REASONS])
    rest = counts.total() - sum(shown.values())
    return {**shown, **({"for other reasons": rest} if rest else {})}


def sentence(receipts: Sequence[Receipt], blocks: Sequence[str], plan: Plan | None, applied: ApplyResult | None,
             mode: str, failure: str | None = None) -> tuple[str, str]:
    """The state of a night that reached its end, and one sentence on what was not done and what to do.

    `blocks` are the guards' (the night itself is doubtful); those of the plan forbid only the writing. `failure` is what ended the
    write-back before it was done.
    """
    if any(receipt.status in LACKING for receipt in receipts):
        return "partial", _lacking(receipts, blocks, plan, applied, mode, failure)
    if blocks:
        return "blocked", f"Nothing was written or published: {'; '.join(blocks)}; then run the night again."
    if failure:
        return "partial", f"The marts and the report are published, and {_not_written(plan, applied, failure)}; the next night tries again."
    if mode == "off" or plan is None:
        return "complete", "Write-back is off."
    if plan.blocks and mode == "apply":
        remedy = "then run the night again" if plan.guard_blocks else f"`crossfoot apply {plan.id}` approves it"
        return "blocked", f"Nothing was written: {'; '.join(plan.blocks)}; {remedy}."
    if applied is not None and applied.problems:
        return "partial", f"{_problems(applied)}; `crossfoot status` names them, and the next night tries again."
    if applied is not None:
        return "complete", f"{applied.written} changes were written."
    return "complete", _planned(plan)


def _lacking(receipts: Sequence[Receipt], blocks: Sequence[str], plan: Plan | None, applied: ApplyResult | None, mode: str,
             failure: str | None) -> str:
    """What a night says that could not hear every source."""
    lacking = [receipt for receipt in receipts if receipt.status in LACKING]
    named = "; ".join(f"{receipt.source} {LACKING[receipt.status]} ({receipt.message})" for receipt in lacking)
    reasons = blocks or (plan.blocks if plan is not None and mode == "apply" else ())
    stopped = f", and nothing was written{' or published' if blocks else ''}: {'; '.join(reasons)}" if reasons else ""
    refused = f"; besides, {_problems(applied)} (`crossfoot status` names them)" if applied is not None and applied.problems else ""
    if failure and not blocks:
        refused += f"; besides, {_not_written(plan, applied, failure)}"
    mend = "mend that and run the night again" if any(one.status == "failed" for one in lacking) else "the next night reads on"
    return f"{named}: what depends on it is left as it was{stopped}{refused}; {mend}."


def _not_written(plan: Plan | None, applied: ApplyResult | None, failure: str) -> str:
    """What was not done of a write-back that ended early: without a plan all of it, and after its end only the showing."""
    said = failure.rstrip(".")
    if applied is not None:
        return f"{applied.written} changes were written, but the page does not show that yet: {said}"
    return f"nothing was written to the CRM: {said}" if plan is None else f"the write-back stopped in its midst: {said}"


def _problems(applied: ApplyResult) -> str:
    return f"{applied.skipped} changes were skipped and {applied.rejected} rejected"


def stopped(error: Exception | str) -> str:
    """What a night says that ended before it could publish, and, where the error came from the writing, in its midst."""
    return f"The night stopped and published nothing: {redact(str(error)).rstrip('.')}; mend that and run the night again."


def _planned(plan: Plan) -> str:
    """What a night says that only plans. An approval lifts a limit, not a guard."""
    if not plan.size and not plan.guard_blocks:
        return "There is nothing to write."
    if plan.guard_blocks:
        return f"The plan has {plan.size} changes and cannot be applied yet: {'; '.join(plan.guard_blocks)}."
    without = f" No night writes it without that: {'; '.join(plan.limit_blocks)}." if plan.limit_blocks else ""
    return f"The plan has {plan.size} changes; look at it, then `crossfoot apply {plan.id}`.{without}"


def save(settings: Settings, outcome: Outcome) -> None:
    """Keeps the outcome for `crossfoot status`, in one rename."""
    path = settings.data_dir / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(outcome.document(), indent=1), encoding="utf-8")
    os.replace(fresh, path)


def version(settings: Settings) -> int | None:
    """Another number whenever an outcome was kept since; None before the first."""
    path = settings.data_dir / FILE
    return path.stat().st_mtime_ns if path.exists() else None


def load(settings: Settings) -> dict[str, Any] | None:
    """The last night's outcome document; None before the first."""
    path = settings.data_dir / FILE
    try:
        return read_json(path.read_text(encoding="utf-8")) if path.exists() else None
    except ValueError as error:
        raise ConfigurationError([f"{path} cannot be read ({error}); delete it, the next night writes it again"]) from error
