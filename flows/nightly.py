"""The night as a Prefect flow: what happens when, what is tried again, and what everybody sees of it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.blocks.core import Block
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State
from prefect.utilities.annotations import quote
from prefect.utilities.asyncutils import run_coro_as_sync

from flows import process
from flows.when import tonight
from pipelines import night as steps
from pipelines import outcome, private, publish, settings, tieout
from pipelines.extract import ExtractFailed, Receipt
from pipelines.http import ApiError, BudgetSpent, ConnectionLost
from pipelines.landing import WarehouseBusy
from pipelines.night import Night, Progress
from pipelines.outcome import Outcome
from pipelines.report import build as report
from pipelines.report import mail, send
from pipelines.transform import TransformFailed
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import FieldsMissing
from pipelines.writeback.apply import ApplyStopped
from pipelines.writeback.journal import JournalError, LockHeld
from pipelines.writeback.plan import BlockedPlan

# The client repeats what is worth repeating within seconds; a vendor that was down gets two more chances later.
EXTRACT_RETRIES = 2
EXTRACT_RETRY_SECONDS = 30
# Refusals that no waiting changes: a key, a token or a right.
LASTING = (400, 401, 403)
# Names of final states, besides Completed: each is of the type Failed, so that alerts see it.
PARTIAL, BLOCKED = "PartialFailure", "Blocked"
# What ends a night and says by itself what is wrong; a CRM that is down ends it too, in the plan or in the apply.
STOPPED = (TransformFailed, ApplyStopped, ApiError, ConnectionLost, BudgetSpent, FieldsMissing, LockHeld, JournalError,
           WarehouseBusy)

# Progress goes to whoever runs the flow in this process; it is no parameter, because those are stored with the run.
watcher: list[Progress] = []


def may_pass(task: object, run: object, state: State) -> bool:
    """Whether a failed extraction is worth another try: a refusal of the key or of a right stays one."""
    error = state.result(raise_on_failure=False)
    cause = error.__cause__ if isinstance(error, BaseException) else None
    return not (isinstance(cause, ApiError) and cause.status in LASTING)


@task(retries=EXTRACT_RETRIES, retry_condition_fn=may_pass, cache_policy=NO_CACHE, persist_result=False)
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
    page = report.write_page(figures, night.settings.data_dir / "reports" / "report.html")
    private.share(night.settings, page)
    return published, page, figures


@task(cache_policy=NO_CACHE, persist_result=False)
def send_mail(night: Night, ended: Outcome, figures: report.Report | None) -> str:
    subject, body = (mail.subject(figures), mail.mail_body(figures)) if figures else (None, None)
    return send.send(night.settings, send.compose(night.settings, ended, subject, body, night.now()))


@task(cache_policy=NO_CACHE, persist_result=False)
def notify(night: Night, ended: Outcome) -> str:
    name = night.settings.get("mail", "notification_block")
    try:
        block = Block.load(name)
    except ValueError:
        raise send.SendFailed(f"{name} was not told: Prefect has no such block; `prefect block ls` lists those that it has, correct [mail] "
                              "notification_block") from None
    where = f" {_address(night, ended)}" if ended.report else ""
    with block.raise_on_failure():
        waiting = block.notify(f"{send.calm(ended.sentence)}{where}", send.subject_of(ended, None))
        if inspect.isawaitable(waiting):  # a block of the user's own may be asynchronous
            run_coro_as_sync(waiting)
    return f"{name} was told."


@flow(name="crossfoot-nightly", validate_parameters=True, persist_result=False)
def nightly(as_of: str | None = None, known_at: str | None = None, mode: str | None = None, config: str | None = None,
            data_dir: str | None = None) -> State:
    """Extract, build, guard, plan, apply, publish, report. `mode` (off, plan, apply) overrides the configuration; the
    other parameters are those of `crossfoot run`. The final state's data is the night's Outcome."""
    process.begin()
    chosen = settings.load(VENDORS, config=Path(config) if config else None, data_dir=Path(data_dir) if data_dir else None)
    private.keep_private(chosen)
    night = tonight(chosen, as_of, known_at, *watcher[-1:])
    mode = mode or night.policy.mode
    try:
        ended = _run(night, mode)
    except STOPPED as error:
        ended = _told(night, Outcome(night.as_of, night.known_at, mode, "failed", outcome.stopped(error)), None)
    except BlockedPlan as error:
        sentence = f"Nothing was written or published: {error}; then run the night again."
        ended = _told(night, Outcome(night.as_of, night.known_at, mode, "blocked", sentence), None)
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
            applied = apply_plan(night, quote(plan))  # unquoted, Prefect would walk every change in search of futures
    state, sentence = outcome.sentence(receipts, blocks, plan, applied, mode)
    if not blocks:
        published, page, figures = publish_marts(night)
    ended = Outcome(night.as_of, night.known_at, mode, state, sentence, tuple(receipts), plan, path, applied, published, page,
                    certificates)
    return _told(night, ended, figures)


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


def _told(night: Night, ended: Outcome, figures: report.Report | None) -> Outcome:
    """The outcome, once everybody who is to hear of it was told; whom that failed with is said in it, and the night goes on."""
    said = []
    if send.is_wanted(night.settings):
        said.append(_said("The mail was not sent", send_mail(night, quote(ended), quote(figures), return_state=True)))
    if block := night.settings.get("mail", "notification_block"):
        said.append(_said(f"{block} was not told", notify(night, quote(ended), return_state=True)))
    for sentence in said:
        _announce(sentence)
    ended = replace(ended, sent=" ".join(said))
    _artifacts(night, ended, figures)
    return ended


def _said(failed: str, state: State) -> str:
    """What became of a message. A task that failed is seen as such, and one sentence more of the night says it; without the
    text of an error that nobody expected, which may hold the address of a webhook."""
    found = state.result(raise_on_failure=False)
    if isinstance(found, send.SendFailed):
        return f"{found}."
    if isinstance(found, BaseException):
        return f"{failed}: {type(found).__name__}; the log of its task says more."
    return found


def _address(night: Night, ended: Outcome) -> str:
    """Where the report is opened: where it is served, else the file on this machine."""
    return night.settings.get("report", "address") or ended.report.absolute().as_uri()


def _artifacts(night: Night, ended: Outcome, figures: report.Report | None) -> None:
    """The night's page in the Prefect UI: a summary, the exceptions as a table, and a link to the report."""
    lines = [f"**{ended.state}**: {report.plain(ended.sentence)} {report.plain(ended.sent)}", ""]
    if figures:
        create_link_artifact(_address(night, ended), "Open the report", key="crossfoot-report",
                             description=f"Report of the night of {ended.as_of}")
        lines.append(report.summary(figures))
        rows = report.exceptions(figures)
        create_table_artifact(rows, key="crossfoot-exceptions", description=f"{figures.exceptions.count} exceptions")
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
