"""The night as a Prefect flow: what happens when, what is tried again, and what everybody sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State

from flows.when import tonight
from pipelines import night as steps
from pipelines import outcome, publish, settings, tieout
from pipelines.extract import ExtractFailed, Receipt
from pipelines.http import ApiError, BudgetSpent, ConnectionLost
from pipelines.night import Night, Progress
from pipelines.outcome import Outcome
from pipelines.report import build as report
from pipelines.transform import TransformFailed
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import FieldsMissing
from pipelines.writeback.apply import ApplyStopped
from pipelines.writeback.journal import JournalError, LockHeld
from pipelines.writeback.plan import BlockedPlan

# The client repeats what is worth repeating within seconds; a vendor that was down gets two more chances later.
EXTRACT_RETRIES = 2
EXTRACT_RETRY_SECONDS = 30
# Names of final states, besides Completed: each is of the type Failed, so that alerts see it.
PARTIAL, BLOCKED = "PartialFailure", "Blocked"
# What ends a night and says by itself what is wrong; a CRM that is down ends it too, in the plan or in the apply.
STOPPED = (TransformFailed, ApplyStopped, ApiError, ConnectionLost, BudgetSpent, FieldsMissing, LockHeld, JournalError)

# Progress goes to whoever runs the flow in this process; it is no parameter, because those are stored with the run.
watcher: list[Progress] = []


@task(retries=EXTRACT_RETRIES, cache_policy=NO_CACHE, persist_result=False)
def extract_vendor(night: Night, slug: str) -> Receipt:
    return steps.extract_vendor(night, slug)


@task(cache_policy=NO_CACHE, persist_result=False)
def build_models(night: Night) -> int:
    return len(steps.build(night))


@task(cache_policy=NO_CACHE, persist_result=False)
def check_guards(night: Night) -> list[str]:
    return steps.guard_blocks(night)


@task(cache_policy=NO_CACHE, persist_result=False)
def make_plan(night: Night, slugs: Sequence[str], blocks: Sequence[str]):
    crms = {slug: crm for slug, crm in steps.connect_crms(night.settings).items() if slug in slugs}
    return steps.make_plan(night, crms, blocks)


@task(cache_policy=NO_CACHE, persist_result=False)
def apply_plan(night: Night, plan):
    return steps.apply_night(night, plan, steps.connect_crms(night.settings))


@task(cache_policy=NO_CACHE, persist_result=False)
def publish_marts(night: Night) -> tuple[Path, Path, report.Report]:
    published = publish.publish(night.settings, night.as_of, night.known_at)
    figures = report.collect(published, night.settings)
    return published, report.write_page(figures, night.settings.data_dir / "reports" / "report.html"), figures


@flow(name="crossfoot-nightly", validate_parameters=True, persist_result=False)
def nightly(as_of: str | None = None, known_at: str | None = None, mode: str | None = None, config: str | None = None,
            data_dir: str | None = None) -> State:
    """Extract, build, guard, plan, apply, publish, report. `mode` (off, plan, apply) overrides the configuration; the
    other parameters are those of `crossfoot run`. The final state's data is the night's Outcome."""
    settings.switch_telemetry_off()
    chosen = settings.load(VENDORS, config=Path(config) if config else None, data_dir=Path(data_dir) if data_dir else None)
    night = tonight(chosen, as_of, known_at, *watcher[-1:])
    mode = mode or night.policy.mode
    try:
        ended = _run(night, mode)
    except STOPPED as error:
        ended = Outcome(night.as_of, night.known_at, mode, "failed", f"The night stopped: {error}")
        _artifacts(ended, None)
    except BlockedPlan as error:
        ended = Outcome(night.as_of, night.known_at, mode, "blocked", f"Nothing was written: {error}.")
        _artifacts(ended, None)
    outcome.save(night.settings, ended)
    return _state(ended)


def _run(night: Night, mode: str) -> Outcome:
    receipts = _extract(night)
    _announce(f"built {build_models(night)} models and tests")
    certificates = tieout.certificates(night.settings)
    for line in tieout.lines({one.source: one.document() for one in certificates}):
        _announce(f"tie-out {line}")
    heard = [receipt.source for receipt in receipts if receipt.status != "failed"]
    crms = [slug for slug in night.settings.get("vendors", "crms") if slug in heard]
    plan = path = applied = published = page = figures = None
    if steps.is_past(night):
        sentence = f"The night of {night.as_of} was replayed: later nights were heard since, so nothing was written or published."
        return Outcome(night.as_of, night.known_at, mode, "complete", sentence, tuple(receipts), tie_out=certificates)
    blocks = check_guards(night)
    if mode != "off":
        plan, path = make_plan(night, crms, blocks)
        if mode == "apply" and not plan.blocks:
            applied = apply_plan(night, plan)
    state, sentence = outcome.sentence(receipts, blocks, plan, applied, mode)
    if not blocks:
        published, page, figures = publish_marts(night)
    ended = Outcome(night.as_of, night.known_at, mode, state, sentence, tuple(receipts), plan, path, applied, published, page,
                    certificates)
    _artifacts(ended, figures)
    return ended


def _extract(night: Night) -> list[Receipt]:
    """All vendors side by side. One that failed for good is a receipt that says so; the others go on."""
    wait = float(EXTRACT_RETRY_SECONDS * night.settings.get("network", "retry_base_seconds"))
    futures = {slug: extract_vendor.with_options(name=f"extract {slug}", retry_delay_seconds=wait).submit(night, slug)
               for slug in night.settings.sources}
    receipts = []
    for slug, future in futures.items():
        result = future.result(raise_on_failure=False)
        if isinstance(result, ExtractFailed):
            result = result.receipt
        elif isinstance(result, BaseException):
            raise result
        receipts.append(result)
        forecast = f" (forecast: {result.forecast})" if result.forecast else ""
        _announce(f"{slug}: {result.status}, {sum(result.calls.values())} calls{forecast}, "
                  f"{sum(result.rows.values())} rows {result.message}")
    return receipts


def _artifacts(ended: Outcome, figures: report.Report | None) -> None:
    """The night's page in the Prefect UI: a summary, and the exceptions as a table."""
    lines = [f"**{ended.state}**: {report.plain(ended.sentence)}", ""]
    if figures:
        lines.append(report.summary(figures))
        rows = report.exceptions(figures)
        create_table_artifact(rows, key="crossfoot-exceptions", description=f"{len(figures.sections['exceptions'])} exceptions")
    elif ended.tie_out:  # a doubtful night publishes no report; its certificates are shown all the same
        shown = tieout.lines({one.source: one.document() for one in ended.tie_out})
        lines += ["", "Tie-out:", *(f"{'  ' * line.startswith('  ')}- {report.plain(line)}" for line in shown)]
    lines += ["", "| Source | State | Calls | Rows |", "|---|---|---:|---:|"]
    lines += [f"| {one.source} | {one.status} {report.plain(one.message)} | {sum(one.calls.values())} | {sum(one.rows.values())} |"
              for one in ended.receipts]
    if ended.plan:
        lines += ["", f"Plan `{ended.plan.id}`: {len(ended.plan.changes)} changes, {len(ended.plan.holds)} held back."]
        lines += [f"- {count} × {report.plain(reason)}" for reason, count in outcome.held_back(ended.plan).items()]
    create_markdown_artifact("\n".join(lines), key="crossfoot-night", description=f"Night of {ended.as_of}: {ended.state}")


def _state(ended: Outcome) -> State:
    if ended.state == "complete":
        return Completed(message=ended.sentence, data=ended)
    name = {"partial": PARTIAL, "blocked": BLOCKED}.get(ended.state, "Failed")
    return Failed(name=name, message=ended.sentence, data=ended)


def _announce(text: str) -> None:
    get_run_logger().info(text)
