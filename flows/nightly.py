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

from flows import process, trouble
from flows.when import tonight
from pipelines import acceptance, conclude, folder, outcome, private, publish, settings, tieout
from pipelines import night as steps
from pipelines.extract import ExtractFailed, Receipt
from pipelines.http import ApiError
from pipelines.night import Night, Progress
from pipelines.outcome import Outcome
from pipelines.report import build as report
from pipelines.report import mail, send
from pipelines.vendors import VENDORS
from pipelines.writeback.plan import BlockedPlan

# The client repeats what is worth repeating within seconds; a vendor that was down gets two more chances later.
EXTRACT_RETRIES = 2
EXTRACT_RETRY_SECONDS = 30
# Refusals that no waiting changes: a key, a token or a right.
LASTING = (400, 401, 403)
# Names of final states, besides Completed: each is of the type Failed, so that alerts see it.
PARTIAL, BLOCKED = "PartialFailure", "Blocked"
# Progress goes to whoever runs the flow in this process; it is no parameter, because those are stored with the run.
watcher: list[Progress] = []


def may_pass(task: object, run: object, state: State) -> bool:
    """Whether an extraction is worth another try: what the vendor did may pass, but not a refusal of the key or of a right, and not
    another company or what is wrong on this machine."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, ExtractFailed) and not (isinstance(error.__cause__, ApiError) and error.__cause__.status in LASTING)


@task(retries=EXTRACT_RETRIES, retry_condition_fn=may_pass, cache_policy=NO_CACHE, persist_result=False)
def extract_vendor(night: Night, slug: str) -> Receipt:
    return steps.extract_vendor(night, slug)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
def build_models(night: Night) -> int:
    return len(steps.build(night))


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
def check_guards(night: Night) -> list[str]:
    return steps.guard_blocks(night)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
def make_plan(night: Night, slugs: Sequence[str], blocks: Sequence[str]):
    return steps.make_plan(night, steps.connect_crms(night.settings, slugs), blocks)


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
def apply_plan(night: Night, slugs: Sequence[str], plan):
    return steps.apply_night(night, plan, steps.connect_crms(night.settings, slugs))


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
def publish_marts(night: Night) -> tuple[Path, Path, report.Report]:
    return publish_night(night)


def publish_night(night: Night) -> tuple[Path, Path, report.Report]:
    published = publish.publish(night.settings, night.as_of, night.known_at)
    figures = report.collect(published, night.settings)
    page = report.write_page(figures, night.settings.data_dir / "reports" / "report.html")
    private.share(night.settings, page)
    return published, page, figures


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
def show_writes(night: Night) -> report.Report:
    """The figures of the published night with what it wrote, in marts and page."""
    conclude.land_writes(night)
    return publish_night(night)[-1]


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
def send_mail(night: Night, ended: Outcome, figures: report.Report | None) -> str:
    subject, body = (mail.subject(figures), mail.mail_body(figures)) if figures else (None, None)
    return send.send(night.settings, send.compose(night.settings, ended, subject, body, night.now()))


@task(retries=0, cache_policy=NO_CACHE, persist_result=False)
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


@flow(name="crossfoot-nightly", retries=0, validate_parameters=True, persist_result=False, log_prints=False)
def nightly(as_of: str | None = None, known_at: str | None = None, mode: str | None = None, config: str | None = None,
            data_dir: str | None = None) -> State:
    """Extract, build, guard, publish, plan, apply, report. `mode` (off, plan, apply) overrides the configuration; the
    other parameters are those of `crossfoot run`. The final state's data is the night's Outcome, or the error of a night that could
    not begin: its configuration is wrong, or its folder cannot be used or is in use."""
    process.begin()
    try:
        chosen = settings.load(VENDORS, config=Path(config) if config else None, data_dir=Path(data_dir) if data_dir else None)
        private.keep_private(chosen)
        if mode == "apply":
            steps.need_writing(chosen)
        with folder.alone(chosen.data_dir, "run"):
            return _state(_recorded(tonight(chosen, as_of, known_at, *watcher[-1:]), mode))
    except (settings.ConfigurationError, folder.FolderBusy, OSError) as error:  # OSError: the folder cannot be made or locked
        return Failed(message=trouble.sentence(error), data=error)


def _recorded(night: Night, mode: str | None) -> Outcome:
    """The night, whose end is kept whatever ended it."""
    begun = Outcome(night.as_of, night.known_at, mode or night.policy.mode, "failed", "")
    try:
        ended = _run(night, begun)
    except BlockedPlan as error:  # a source reaches another company than the warehouse's
        sentence = f"Nothing was written or published: {error}; then run the night again."
        ended = _told(night, replace(begun, state="blocked", sentence=sentence), None)
    except Exception as error:  # noqa: BLE001 - what nobody foresaw ends the night as well, with its trace in the log
        ended = _told(night, replace(begun, sentence=outcome.stopped(_what(error))), None)
    try:
        outcome.save(night.settings, ended)
    except OSError as error:
        ended = replace(ended, sentence=f"{ended.sentence} Besides, `crossfoot status` cannot show this night: {trouble.sentence(error)}.")
    return ended


def _run(night: Night, ended: Outcome) -> Outcome:
    receipts = _extract(night)
    _announce(f"built {build_models(night)} models and tests")
    certificates = tieout.certificates(night.settings)
    for line in tieout.lines({one.source: one.document() for one in certificates}):
        _announce(f"tie-out {line}")
    ended = replace(ended, receipts=tuple(receipts), tie_out=certificates)
    if steps.is_past(night):
        sentence = f"The night of {night.as_of} was replayed: later nights were heard since, so nothing was written or published."
        return replace(ended, state="complete", sentence=sentence)
    blocks, figures = check_guards(night), None
    ended = replace(ended, accepted=acceptance.resting_on(night))
    if not blocks:  # before the CRM is asked: what it fails with costs the CRM its update, and nobody else anything
        published, page, figures = publish_marts(night)
        ended = replace(ended, published=published, report=page)
    failure = None
    if ended.mode != "off":
        heard = [receipt.source for receipt in receipts if receipt.status != "failed"]
        crms = [slug for slug in night.settings.get("vendors", "crms") if slug in heard]
        ended, figures, failure = _write_back(night, ended, figures, crms, blocks)
    state, sentence = outcome.sentence(receipts, blocks, ended.plan, ended.applied, ended.mode, failure and _what(failure))
    if isinstance(failure, BlockedPlan):
        state, sentence = "blocked", f"Nothing was written: {failure}; then run the night again."
    return _told(night, replace(ended, state=state, sentence=sentence), figures)


def _write_back(night: Night, ended: Outcome, figures: report.Report | None, crms: Sequence[str], blocks: Sequence[str],
                ) -> tuple[Outcome, report.Report | None, Exception | None]:
    """The outcome with what was planned and written, the figures with that, and what ended it early; None: nothing did."""
    failure = None
    try:
        plan, path = make_plan(night, crms, blocks)
        ended = replace(ended, plan=plan, plan_path=path)
        if ended.mode != "apply" or plan.blocks:
            return ended, figures, None
        # Unquoted, Prefect would walk every change in search of futures.
        ended = replace(ended, applied=apply_plan(night, crms, quote(plan)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it costs the write-back alone
        failure = error
    if ended.plan and (failure or ended.plan.size):
        try:
            figures = show_writes(night)
        except Exception as error:  # noqa: BLE001 - the page of before the write-back stays
            failure = failure or error
    return ended, figures, failure


def _what(error: Exception) -> str:
    """What an error says; one that nobody foresaw is named, and the log holds its trace."""
    said = trouble.sentence(error)
    if said is None:
        get_run_logger().error("an error that nobody foresaw", exc_info=error)
        said = f"{type(error).__name__}, which nobody foresaw: the log holds its trace, please report it"
    return said


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
    lines += [f"\n{report.plain(one)}" for one in ended.accepted]
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
