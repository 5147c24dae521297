"""What a person sees of each step: tables and sentences on a terminal, or one JSON document.

Vendors' texts are hostile here too: control characters never reach the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.money import Money

if TYPE_CHECKING:
    from pipelines.writeback.recent import Recent

MAX_ROWS = 40
# Characters of a cell that an answer shows: a definition is longer than a name.
WIDEST = 300
# DuckDB's types that are read better from the right.
NUMBERS = ("DECIMAL", "BIGINT", "INTEGER", "HUGEINT", "DOUBLE", "FLOAT", "SMALLINT", "TINYINT", "U")
# Exit codes of the errors that steps raise, by class name: importing the classes would load every step.
EXIT_CODES = {
    "BlockedPlan": 3, "PlanFileError": 2, "JournalUnavailable": 1, "JournalError": 2, "UnknownAccount": 2, "BadRecords": 2,
    "NoPackage": 2, "OSError": 1, "LockHeld": 1, "ApplyStopped": 1, "FieldsMissing": 1, "NotPrinted": 1, "TransformFailed": 1,
    "ExtractFailed": 1, "ApiError": 1, "ConnectionLost": 1, "QueryRefused": 2, "BudgetSpent": 1, "ForeignHost": 1, "WriteRefused": 1,
    "WarehouseBusy": 1, "WarehouseUnusable": 1, "FolderBusy": 1, "NoServer": 1, "OddAnswer": 1,
}


def known(error: BaseException) -> int | None:
    """The exit code of an error that says by itself what is wrong; None for one that only a trace explains."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return next((EXIT_CODES[name] for name in names if name in EXIT_CODES), None)


def as_json(document: Any) -> str:
    """One JSON document; money is text, times are ISO 8601, and what a terminal would obey is escaped."""
    return _unprintable(json.dumps(document, indent=1, ensure_ascii=False, default=_plain))


def _unprintable(document: str) -> str:
    """The same JSON with characters that cannot be seen (they stand in texts only) as JSON escapes them."""
    if document.replace("\n", "").isprintable():
        return document
    return "".join(character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1] for character in document)


def _plain(value: Any) -> Any:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (Decimal, Path)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def text(value: Any) -> str:
    """A value as one line without control characters, so that a name cannot move the cursor."""
    if value is None:
        return "–"
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    return "".join(character if character.isprintable() else " " for character in str(value))


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], limit: int = MAX_ROWS, right: Sequence[bool] | None = None,
          widest: int = 60) -> str:
    """Columns in line, numbers (or those that `right` says) to the right; rows above the limit are counted."""
    cells = [[text(value) for value in row] for row in rows[:limit]]
    right = right or [all(isinstance(row[i], (int, Decimal, Money)) or row[i] is None for row in rows) for i in range(len(headers))]
    widths = [min(widest, max([len(header), *(len(row[i]) for row in cells)])) for i, header in enumerate(headers)]

    def line(values: Sequence[str]) -> str:
        shown = [value if len(value) <= width else value[: width - 1] + "…" for value, width in zip(values, widths, strict=True)]
        padded = [value.rjust(width) if to_right else value.ljust(width)
                  for value, width, to_right in zip(shown, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    more = [f"… and {len(rows) - limit} more"] if len(rows) > limit else []
    return "\n".join([line(headers), line(["-" * width for width in widths]), *(line(row) for row in cells), *more])


@contextmanager
def progress(*, quiet: bool) -> Iterator[Any]:
    """Bars on standard error while a terminal is there, else only sentences; yields what a step reports its progress to."""
    if quiet:
        yield lambda what, done, total: None
        return
    if not sys.stderr.isatty():
        yield lambda what, done, total: print(text(what), file=sys.stderr) if total == 0 else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if total == 0:
                bars.console.print(text(what), markup=False, highlight=False)
                return
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield report


def problems(findings: Sequence[str]) -> str:
    return "\n".join(f"- {text(finding)}" for finding in findings) or "Everything is in place."


def left_out(sentences: Sequence[str]) -> list[str]:
    """What a command was asked for and did not do; nothing where it did all of it."""
    return ["Left out:", problems(sentences)] if sentences else []


def fields(document: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    lines = []
    for slug, objects in document.items():
        for name, labels in objects.items():
            lines.append(f"{slug}, {name}: {', '.join(labels)}")
    return "\n".join(lines)


def receipts(found: Sequence[Any]) -> str:
    """Calls by vendor and object, and what they brought."""
    lines = []
    for one in found:
        calls = ", ".join(f"{name} {count}" for name, count in one.calls.items())
        lines.append(f"{one.source}: {one.status}{': ' + text(one.message) if one.message else ''}")
        if one.calls:
            budget = f" of {one.forecast.budget:,} allowed" if one.forecast and one.forecast.budget else ""
            lines.append(f"  {sum(one.calls.values())} calls{budget}: {calls}")
            lines.append(f"  {sum(one.rows.values())} rows: " + ", ".join(f"{name} {rows}" for name, rows in one.rows.items() if rows))
        lines += [f"  note: {text(note)}" for note in one.notes]
    return "\n".join(lines)


def plan(made: Any, path: Path | None) -> str:
    """The plan's changes, tasks and holds, and how to apply it."""
    from pipelines.outcome import held_back
    from pipelines.writeback.plan_files import to_table

    rows = to_table(made)
    lines = [f"Plan {made.id}: {len(made.changes)} changes, {len(made.tasks)} tasks, {len(made.holds)} held back."]
    if rows:
        headers = list(rows[0])
        lines.append(table(headers, [[row[name] for name in headers] for row in rows]))
    lines += held(held_back(made)) + [f"Blocked: {text(reason)}" for reason in made.blocks]
    lines.append(f"Saved as {path}; `crossfoot apply {made.id}` writes it." if path and made.size else "Nothing to write.")
    return "\n".join(lines)


def held(reasons: Mapping[str, int]) -> list[str]:
    return ["Held back:", *(f"  {count} × {text(reason)}" for reason, count in reasons.items())] if reasons else []


def applied(result: Any) -> str:
    from pipelines.outcome import nothing_left

    lines = [f"Run {result.run_id}: {result.written} written, {result.skipped} skipped, {result.rejected} rejected"
             + (f", {len(result.left_out)} left out" if result.left_out else "")
             + (f", {len(result.plan.not_approved)} not approved" if result.plan.not_approved else "")
             + (f", {len(result.resolved)} found out about an interrupted run" if result.resolved else "") + "."]
    if nothing_left(result):
        lines.append(f"Of run {result.plan.rollback_of} nothing is left to take back.")
    shown = [[one.outcome, one.intent.object, one.intent.record_id, one.intent.field, one.message] for one in result.problems]
    shown += [["left out", one.object, one.record_id, one.field, one.reason] for one in result.left_out]
    if shown:
        lines.append(table(["outcome", "object", "record", "field", "message"], shown))
    return "\n".join(lines)


def outcome(ended: Any) -> str:
    """The whole night for a terminal."""
    from pipelines.outcome import held_back

    lines = [f"Night of {ended.as_of}, heard up to {ended.known_at:%Y-%m-%d %H:%M:%S}Z: {ended.state}.", text(ended.sentence),
             receipts(ended.receipts)]
    lines += [f"Tie-out {text(line)}" for line in tie_out({one.source: one.document() for one in ended.tie_out})]
    if ended.plan is not None:
        lines.append(f"Plan {ended.plan.id}: {len(ended.plan.changes)} changes, {len(ended.plan.tasks)} tasks.")
        lines += held(held_back(ended.plan))
    if ended.applied is not None:
        lines.append(applied(ended.applied))
    if ended.published is not None:
        lines += [f"Published marts: {ended.published}", f"Report: {ended.report}"]
    lines += [text(one) for one in ended.accepted]
    lines.append(text(ended.sent))
    return "\n".join(line for line in lines if line)


def tie_out(certificates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each ledger's certificate, with the customers that differ."""
    from pipelines.tieout import lines

    return lines(certificates)


def status(last: Mapping[str, Any] | None, found: Recent) -> str:
    if last is None:
        lines = ["No night has run yet; `crossfoot run` runs one."]
    else:
        lines = [f"Last night: {last['as_of']}, {last['state']}. {text(last['sentence'])}"]
        lines += [f"  {slug}: {vendor['status']} {text(vendor['message'])}".rstrip() for slug, vendor in last["vendors"].items()]
        lines += [f"  tie-out {text(line)}" for line in tie_out(last.get("tie_out") or {})]
        lines += [f"  {text(one)}" for one in last.get("accepted") or ()]
        for problem in (last["applied"] or {}).get("problems", []):
            lines.append(f"  {problem['outcome']}: {problem['object']} {problem['record']} {problem['field']}: {text(problem['message'])}")
        lines += [f"  {name}: {text(last[name])}" for name in ("published", "report", "sent") if last.get(name)]
    if found.runs:
        rows = [[run["run_id"], run["status"], run["plan_id"], run["written"], run["message"]] for run in found.runs]
        lines += ["", table(["run", "status", "plan", "written", "message"], rows)]
    if found.accepted:
        names = ["known_at", "as_of", "accepted_by", "accepted_at", "reason"]
        lines += ["", table(["accepted night", "as of", "by", "on", "why"], [[one[name] for name in names] for one in found.accepted])]
    lines += ["", f"Lock: {text(found.lease)}."] if found.lease else []
    return "\n".join(lines)


def freed(lease: Any, by: str) -> str:
    """The lock that was taken from its holder, or that there was none."""
    if lease is None:
        return "No run holds the journal's lock; nothing was freed."
    return text(f"{by} freed the journal's lock, which run {lease.run_id} had held since {lease.since} (process {lease.pid} on "
                f"{lease.host}). Should it still run, it stops before its next write.")


def exported(done: Any) -> str:
    return (f"{done.questions} open questions with {done.rows} rows in {done.path}; write same or different into answer, and why "
            f"into reason, then `crossfoot review import {done.path} --by NAME`.")


def imported(done: Any) -> str:
    lines = [f"{len(done.decisions)} decisions taken, {done.unchanged} stood already, {done.unanswered} rows without an answer."]
    return "\n".join(lines + ([decisions([vars(one) for one in done.decisions])] if done.decisions else []))


def answer(found: Any) -> str:
    """Rows of the published marts, with all their digits, and how many there are besides."""
    from pipelines.query import exact

    right = [kind.startswith(NUMBERS) for kind in found.types]
    rows = [[exact(value) for value in row] for row in found.rows]
    lines = [table([text(name) for name in found.columns], rows, len(rows), right, WIDEST), *more_rows(found)]
    return "\n".join(lines)


def more_rows(found: Any) -> list[str]:
    """A sentence on what is not shown; none where all is."""
    if not found.more:
        return []
    counted = f"{found.more:,}" if found.is_counted else f"At least {found.more:,}"
    return [f"{counted} more rows are not shown; `crossfoot sql --limit NUMBER` shows more, `--csv` writes a file of them."]


def decisions(found: Sequence[Mapping[str, Any]]) -> str:
    """Who decided what, when and why."""
    headers = ["decision", "kind", "answer", "left", "right", "by", "when", "why", "taken back by"]
    rows = [[one["id"], one["kind"], one["verdict"], f"{one['source']}:{one['left_id']}", f"{one['right_source']}:{one['right_id']}",
             one["decided_by"], f"{one['decided_at']:%Y-%m-%d %H:%M}", one["reason"],
             None if one["revoked_at"] is None else one.get("revoked_by") or "somebody"] for one in found]
    return table(headers, rows) if rows else "No decisions yet."


def explanation(found: Mapping[str, Any]) -> str:
    """An account's numbers, and for each section the rows behind them."""
    lines = [f"{text(found['account']['name'])} ({found['account']['source']} {found['account']['account_id']})"]
    lines += [f"  {name}: {text(_priced(found['status'], name))}" for name in found["status"]]
    base = {"base_currency": found["status"].get("base_currency")}
    for name, rows in found["sections"].items():
        lines += ["", name]
        if rows:
            headers = list(rows[0])
            lines.append(table(headers, [[_priced({**base, **row}, header) for header in headers] for row in rows]))
        else:
            lines.append("  none")
    return "\n".join(lines)


def _priced(row: Mapping[str, Any], name: str) -> Any:
    """A value of a row: money in the currency beside it (`*_base`, and without one: in base), rates with all their digits."""
    value = row[name]
    if not isinstance(value, Decimal) or name == "average_days_to_pay":
        return value
    if name == "rate" or name.endswith("_rate"):
        return f"{value.normalize():f}"
    return Money(value, row["base_currency"] if name.endswith("_base") or "currency" not in row else row["currency"])
