"""The crossfoot command. Each command wires one step and shows what it did; nothing here decides."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import show
from pipelines import settings as configuration
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors import VENDORS

DONE, FAILED, WRONG_USE, BLOCKED = 0, 1, 2, 3
# Rows that `crossfoot sql` prints for another program at most, unless it is told.
FILE_ROWS = 100_000

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Ties what the CRM sold to what accounting invoiced and collected, and writes the status back to the CRM.",
)


@dataclass
class Context:
    """What the options before the command say."""

    config: Path | None = None
    data_dir: Path | None = None
    json: bool = False

    @property
    def settings(self) -> Settings:
        return configuration.load(VENDORS, config=self.config, data_dir=self.data_dir)


chosen = Context()

review = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Questions for people: export them, import the answers.")
app.add_typer(review, name="review")
By = Annotated[str, typer.Option("--by", help="Who answers; kept with every decision.")]

AsOf = Annotated[str | None, typer.Option("--as-of", help="Business date. Default: today in the company's time zone.")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="Time up to which the vendors are heard, ISO 8601. Default: now.")]


@app.callback()
def options(
    config: Annotated[Path | None, typer.Option("--config", help="Configuration file. Default: crossfoot.toml, if there is one.")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Folder of all that a run makes. Default: data.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    chosen.config, chosen.data_dir, chosen.json = config, data_dir, json
    configuration.switch_telemetry_off()


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = configuration.SANDBOX_PORT,
    accounts: Annotated[int, typer.Option(help="How many accounts the invented company has.", min=1)] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same company.")] = 7,
    records: Annotated[Path | None, typer.Option(help="Serve DIR/<vendor>/<object>.jsonl instead of the invented company.")] = None,
    latency_ms: Annotated[int, typer.Option(help="Delay each answer by this.", min=0)] = 0,
    rate_limits: Annotated[bool, typer.Option("--rate-limits/--no-rate-limits", help="Apply the vendors' published limits.")] = True,
) -> None:
    """Serve every vendor's API on this machine, over one invented company whose records name each other in the ids of the
    configured CRM and ledger."""
    from pipelines.sandbox.server import serve

    vendors = chosen.settings.values["vendors"]
    serve(port=port, accounts=accounts, seed=seed, records=records, latency_ms=latency_ms, rate_limits=rate_limits,
          crms=vendors["crms"], ledgers=vendors["ledgers"])


@app.command()
def doctor() -> None:
    """Name every missing setting, secret, scope and CRM field, each with its fix."""
    from flows.when import now
    from pipelines import doctor as check

    findings = check.examine(chosen.settings, now)
    _print({"problems": findings}, show.problems(findings))
    raise typer.Exit(FAILED if findings else DONE)


@app.command("setup-crm")
def setup_crm(
    yes: Annotated[bool, typer.Option("--yes", help="Create them without asking.")] = False,
    package: Annotated[Path | None, typer.Option(help="Create nothing; write DIR/<crm>/, for the CRM's own deployment tools.")] = None,
) -> None:
    """Show the fields that the CRM lacks or has in another form, and create or repair them."""
    from pipelines import night
    from pipelines.writeback import setup

    crms = night.connect_crms(chosen.settings)
    if package is not None:
        written = {slug: [str(path) for path in setup.package(crm, package / slug)] for slug, crm in crms.items()}
        _print({"written": written}, "\n".join(itertools.chain(*written.values())) or "Nothing is missing.")
        return
    missing = {slug: setup.missing(crm) for slug, crm in crms.items()}
    document = {slug: {name: setup.labels(wrong) for name, wrong in found.items()} for slug, found in missing.items()}
    if not any(missing.values()):
        _print({"missing": document, "created": False}, "Nothing is missing.")
        return
    if not yes and (chosen.json or not sys.stdin.isatty() or not typer.confirm(f"{show.fields(document)}\nCreate them?", err=True)):
        _print({"missing": document, "created": False}, f"{show.fields(document)}\nNot created; `crossfoot setup-crm --yes` does.")
        return
    for crm in crms.values():
        setup.create(crm)
    _print({"missing": document, "created": True}, f"{show.fields(document)}\nCreated.")


@app.command()
def extract(
    vendor: Annotated[str | None, typer.Option("--vendor", help="Only this vendor. Default: all that are configured.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read every record again, not only what changed.")] = False,
    as_of: AsOf = None,
    known_at: KnownAt = None,
) -> None:
    """Read the vendors' changes into the warehouse."""
    from flows.when import tonight
    from pipelines import night as steps
    from pipelines.outcome import LACKING

    loaded = chosen.settings
    if vendor is not None and vendor not in loaded.sources:
        raise ConfigurationError([f"--vendor is {vendor!r}; the configured ones are {', '.join(loaded.sources)}"])
    _need_secrets(loaded)
    with show.progress(quiet=chosen.json) as on_progress, _alone_on_standard_output():
        night = tonight(loaded, as_of, known_at, on_progress)
        receipts = steps.extract_vendors(night, [vendor] if vendor else loaded.sources, full=full)
    _print({"known_at": night.known_at.isoformat(), "vendors": [one.document() for one in receipts]}, show.receipts(receipts))
    raise typer.Exit(FAILED if any(one.status in LACKING for one in receipts) else DONE)


@app.command()
def build(as_of: AsOf = None, known_at: KnownAt = None) -> None:
    """Build and test the models from what the warehouse holds."""
    from flows.when import tonight
    from pipelines import night as steps

    night = tonight(chosen.settings, as_of, known_at)
    with _alone_on_standard_output():
        nodes = steps.build(night)
    _print({"as_of": night.as_of.isoformat(), "nodes": len(nodes)}, f"Built and tested {len(nodes)} models as of {night.as_of}.")


@app.command()
def plan() -> None:
    """Compare the models with the CRM as it is now, and save and show the plan. Writes nothing."""
    from pipelines import night as steps
    from pipelines import outcome
    from pipelines.writeback.plan import to_table

    loaded = chosen.settings
    with show.progress(quiet=chosen.json) as on_progress:
        night = _built_night(loaded, on_progress)
        made, path = steps.make_plan(night, steps.connect_crms(loaded), steps.guard_blocks(night))
    _print(outcome.plan_document(made, path) | {"rows": to_table(made)}, show.plan(made, path))
    raise typer.Exit(BLOCKED if made.guard_blocks else DONE)


@app.command()
def apply(plan: Annotated[str, typer.Argument(help="A plan's id, or the path of its file.")]) -> None:
    """Write what a saved plan holds, as far as the CRM still is as it was when the plan was made."""
    from pipelines import night as steps

    loaded = chosen.settings
    path = Path(plan) if plan.endswith(".json") else loaded.data_dir / "plans" / f"{plan}.json"
    _written(loaded, lambda night: steps.apply_saved(night, path))


@app.command()
def rollback(run: Annotated[str, typer.Argument(help="The run's id, as `crossfoot status` shows it.")]) -> None:
    """Put back what a run wrote, except where somebody changed it since."""
    from pipelines import night as steps

    _written(chosen.settings, lambda night: steps.roll_back(night, run))


@app.command()
def run(
    as_of: AsOf = None,
    known_at: KnownAt = None,
    apply: Annotated[bool | None, typer.Option("--apply/--plan", help="Write, or only plan. Default: [writeback] mode.")] = None,
) -> None:
    """Run the whole night once: extract, build, guard, plan, apply, publish, report."""
    loaded = chosen.settings
    _need_secrets(loaded)
    mode = None if apply is None else ("apply" if apply else "plan")
    from flows import once
    from pipelines import night as steps

    if apply:
        steps.need_writing(loaded)
    with show.progress(quiet=chosen.json) as on_progress, _alone_on_standard_output():
        ended = once.run(loaded, as_of, known_at, mode, on_progress)
    _print(ended.document(), show.outcome(ended))
    raise typer.Exit({"complete": DONE, "blocked": BLOCKED}.get(ended.state, FAILED))


@app.command()
def replay(
    first: Annotated[str, typer.Option("--from", help="First business date.")],
    last: Annotated[str, typer.Option("--to", help="Last business date.")],
) -> None:
    """Build past nights again from what was known then, and say of each whether it is what it was. Writes to no CRM."""
    from flows import replay as again
    from flows.when import now, parse_date

    loaded, found = chosen.settings, []
    with _alone_on_standard_output() as out:
        for night in again.replay(loaded, parse_date(first, "--from"), parse_date(last, "--to"), now):
            found.append(night)
            if not chosen.json:
                print(night, file=out, flush=True)
    if chosen.json:
        print(show.as_json({"nights": [night.document() for night in found]}))
    raise typer.Exit(FAILED if any(night.differing for night in found) else DONE)


@app.command()
def schedule(
    show_only: Annotated[bool, typer.Option("--print", help="Only print what prefect.yaml needs, as lines for a shell.")] = False,
) -> None:
    """Run every night at the configured time, one run at a time, until stopped. Needs a Prefect server."""
    loaded = chosen.settings
    cron, zone = loaded.get("schedule", "cron"), loaded.get("company", "time_zone")
    config = str(loaded.path) if loaded.path else ""
    if show_only:
        names = {"CROSSFOOT_CRON": cron, "CROSSFOOT_TIME_ZONE": zone, "CROSSFOOT_CONFIG": config,
                 "CROSSFOOT_DATA_DIR": str(loaded.data_dir), "CROSSFOOT_HOME": str(Path(__file__).parents[1])}
        _print(names, "\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items()))
        return
    if not os.environ.get("PREFECT_API_URL"):
        raise ConfigurationError(["PREFECT_API_URL is not set; start a server with `prefect server start`, then "
                                  "export PREFECT_API_URL=http://127.0.0.1:4200/api"])
    from prefect.schedules import Cron

    from flows.nightly import nightly

    nightly.serve(name="nightly", parameters={"config": config, "data_dir": str(loaded.data_dir)}, limit=1,
                  global_limit=1, schedule=Cron(cron, timezone=zone))


@app.command()
def accept(
    night: Annotated[str, typer.Argument(help="The blocked night, as the block names it, or its business date.")],
    by: Annotated[str, typer.Option("--by", help="Who accepts it; kept.")] = "",
    why: Annotated[str, typer.Option("--why", help="Why it is right; kept.")] = "",
) -> None:
    """Accept what blocked a night, such as records that are really gone: this night's doubts and no later ones."""
    from flows.when import now
    from pipelines import acceptance

    done = acceptance.accept(chosen.settings, night, by, why, now())
    _print(done.document(), f"{done.acceptance()}\nRun the night again; it is measured against this one.")


@app.command()
def status() -> None:
    """Show the last night, the last runs that wrote, and the nights that somebody accepted."""
    from pipelines import outcome
    from pipelines.writeback.recent import recent_acceptances, recent_runs

    loaded = chosen.settings
    last = outcome.load(loaded)
    runs, accepted = recent_runs(loaded.journal_url), recent_acceptances(loaded.journal_url)
    _print({"last_night": last, "runs": runs, "accepted": accepted}, show.status(last, runs, accepted))


@app.command()
def explain(account: Annotated[str, typer.Argument(help="The account's id in the CRM, or its exact name.")]) -> None:
    """Show every number of an account down to documents, payments, the matching rule and links."""
    from pipelines import explain as trace

    found = trace.explain(chosen.settings, account)
    _print(found, show.explanation(found))


@app.command()
def report(
    show_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it as PDF too, with a Chromium of this machine.")] = False,
    xlsx: Annotated[bool, typer.Option("--xlsx", help="Write the month-end workbook too.")] = False,
    file: Annotated[Path | None, typer.Argument(help="The workbook's file. Default: month-end.xlsx beside the page.")] = None,
) -> None:
    """Make the report of the published night again: one HTML page that needs nothing else."""
    from pipelines import publish
    from pipelines.report import build as pages
    from pipelines.report.pdf import find_chromium, print_pdf

    loaded, published = chosen.settings, publish.published_path(chosen.settings)
    if not published.exists():
        raise ConfigurationError([f"{published} is not there: no night was published yet; run `crossfoot run` first"])
    if file and not xlsx:
        raise ConfigurationError([f"{file} is given without --xlsx; only the workbook goes where it is told"])
    if pdf:
        find_chromium(loaded)  # before the page is made: without one there is nothing to wait for
    page = pages.write_page(pages.collect(published, loaded), loaded.data_dir / "reports" / "report.html")
    written = [page] + ([print_pdf(page, page.with_suffix(".pdf"), loaded)] if pdf else [])
    if xlsx:
        from pipelines.report.workbook import write_workbook

        written.append(write_workbook(published, loaded, file or page.with_name("month-end.xlsx")))
    _print({"written": written}, f"The report is in {', '.join(map(str, written))}.")
    if show_it:
        _open(page)


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One statement that reads, such as \"FROM account_status LIMIT 5\".")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help=f"Rows to print. Default: {show.MAX_ROWS}, {FILE_ROWS} as CSV or JSON.")] = None,
) -> None:
    """Ask the published marts a question in SQL. `FROM metrics` says what each number means."""
    from pipelines import publish
    from pipelines import query as questions

    if as_csv and chosen.json:
        raise ConfigurationError(["--csv and --json are both given; choose one"])
    limit = limit or (FILE_ROWS if as_csv or chosen.json else show.MAX_ROWS)
    found = questions.ask(publish.published_path(chosen.settings), query, limit)
    if as_csv:
        questions.write_csv(found, sys.stdout)
        print("".join(show.more_rows(found)), file=sys.stderr, end="\n" * bool(found.more))
        return
    _print(found.document() if chosen.json else None, "" if chosen.json else show.answer(found))


@app.command()
def export(
    parquet: Annotated[Path, typer.Option(help="Folder to write to: one file for each published mart; files there are replaced.")],
) -> None:
    """Write the published marts as files, for those who want files."""
    from pipelines import publish
    from pipelines import query as questions

    written = questions.export_parquet(publish.published_path(chosen.settings), parquet)
    _print({"written": written}, f"{len(written)} files are in {parquet}: {', '.join(path.stem for path in written)}.")


@app.command()
def docs(show_it: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False) -> None:
    """Build the models' documentation: what stands where, what it is made of, what uses it."""
    from pipelines import transform

    loaded = chosen.settings
    night = _built_night(loaded, None)
    with _alone_on_standard_output():
        page = transform.document(loaded, night.as_of, night.known_at)
    _print({"page": page}, f"The documentation is in {page}.")
    if show_it:
        _open(page)


@review.command("export")
def review_export(
    as_csv: Annotated[Path | None, typer.Option("--csv", help="File to write. Default: review.csv in the data folder.")] = None,
    as_xlsx: Annotated[Path | None, typer.Option("--xlsx", help="File to write, as an Excel workbook.")] = None,
) -> None:
    """Write the open questions, with candidates, evidence and amount at stake, as a table to fill in."""
    from pipelines import review as questions

    loaded = chosen.settings
    if as_csv and as_xlsx:
        raise ConfigurationError(["--csv and --xlsx are both given; choose one"])
    if as_xlsx and as_xlsx.suffix.lower() != ".xlsx":
        raise ConfigurationError([f"--xlsx is {str(as_xlsx)!r}; give the file a name that ends in .xlsx"])
    if as_csv and as_csv.suffix.lower() == ".xlsx":
        raise ConfigurationError([f"--csv is {str(as_csv)!r}; use --xlsx for a workbook"])
    done = questions.export(loaded, as_xlsx or as_csv or loaded.data_dir / "review.csv")
    _print({"path": done.path, "questions": done.questions, "rows": done.rows}, show.exported(done))


@review.command("import")
def review_import(file: Annotated[Path, typer.Argument(help="The table, with answers in it: .csv or .xlsx.")], by: By) -> None:
    """Take the answers of a filled-in table as decisions; a wrong row is named, and then nothing of the file is taken."""
    from flows.when import now
    from pipelines import review as questions

    done = questions.import_answers(chosen.settings, file, by, now())
    document = {"imported": [vars(one) for one in done.decisions], "unchanged": done.unchanged, "unanswered": done.unanswered}
    _print(document, show.imported(done))


@review.command("list")
def review_list() -> None:
    """Show every decision: who, when, why, and who took it back."""
    from pipelines import review as questions

    found = questions.decisions(chosen.settings)
    _print({"decisions": found}, show.decisions(found))


@review.command("revoke")
def review_revoke(decision: Annotated[str, typer.Argument(help="The id, as `crossfoot review list` shows it.")], by: By) -> None:
    """Take a decision back; from the next build on its question is open again."""
    from flows.when import now
    from pipelines import review as questions

    taken = questions.revoke(chosen.settings, decision, by, now())
    _print({"revoked": vars(taken)}, f"Decision {taken.id} is taken back; the next night asks again.")


def _built_night(loaded: Settings, on_progress: Any) -> Any:
    """The night that the models are of: what a plan and an apply go by."""
    from flows.when import now
    from pipelines import night as steps

    built = steps.built(loaded)
    if built is None:
        raise ConfigurationError([f"{loaded.warehouse} holds no models yet; run `crossfoot extract` and `crossfoot build` first"])
    return steps.Night(loaded, built.as_of, built.known_at, now, on_progress)


def _written(loaded: Settings, step: Callable[[Any], Any]) -> None:
    from pipelines import outcome

    with show.progress(quiet=chosen.json) as on_progress:
        result = step(_built_night(loaded, on_progress))
    _print(outcome.applied_document(result), show.applied(result))
    raise typer.Exit(FAILED if result.problems else DONE)


def _need_secrets(loaded: Settings) -> None:
    missing = configuration.missing_secrets(loaded, VENDORS)
    if missing:
        raise ConfigurationError(missing)


@contextmanager
def _alone_on_standard_output() -> Iterator[Any]:
    """Standard output is for what the command says, and is handed over for that: dbt, which writes about failures there,
    goes to standard error."""
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        yield out


def _open(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.as_uri()):
        print(f"No browser could be started; open {page.as_uri()} in one.", file=sys.stderr)


def _print(document: Any, text: str) -> None:
    print(show.as_json(document) if chosen.json else text)


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Turns the errors that a step may raise into a sentence on standard error and an exit code."""
    try:
        yield
    except ConfigurationError as error:
        _fail(error.problems, WRONG_USE)
    except Exception as error:  # noqa: BLE001 - the last place before the user: known errors get a sentence, others a trace
        code = show.known(error)
        if code is None:
            raise
        _fail([str(error)], code)


def _fail(sentences: Any, code: int) -> None:
    from pipelines.http import redact

    for sentence in sentences:
        print("\n".join(show.text(line) for line in f"crossfoot: {redact(sentence)}".split("\n")), file=sys.stderr)
    if chosen.json:
        print(show.as_json({"errors": [redact(sentence) for sentence in sentences]}))
    raise SystemExit(code)


def main() -> None:
    with _exit_codes():
        app()


if __name__ == "__main__":
    main()
