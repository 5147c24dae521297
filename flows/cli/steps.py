"""The commands of one step each: the sandbox, what a night needs, and the night's steps one by one."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import show
from flows.cli.common import (
    BLOCKED,
    DONE,
    FAILED,
    AsOf,
    KnownAt,
    alone,
    alone_on_standard_output,
    alone_with_models,
    built_night,
    chosen,
    need_secrets,
    show_document,
)
from pipelines import settings as configuration
from pipelines.settings import ConfigurationError, Settings

app = typer.Typer()


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = configuration.SANDBOX_PORT,
    accounts: Annotated[int, typer.Option(help="How many accounts the invented company has.", min=1)] = 66,
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

    loaded = chosen.settings
    findings, ways = check.examine(loaded, now), loaded.network.lines()
    if ways and not chosen.json:
        print("\n".join(ways), file=sys.stderr)
    show_document({"problems": findings, "network": ways}, show.problems(findings))
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
        left = setup.by_hand(crms)
        show_document({"written": written, "left_out": left},
                      "\n".join([*itertools.chain(*written.values()), *show.left_out(left)]) or "Nothing is missing.")
        raise typer.Exit(FAILED if left else DONE)
    missing = {slug: setup.missing(crm) for slug, crm in crms.items()}
    document = {slug: {name: setup.labels(wrong) for name, wrong in found.items()} for slug, found in missing.items()}
    if not any(missing.values()):
        show_document({"missing": document, "created": False}, "Nothing is missing.")
        return
    if not yes and (chosen.json or not sys.stdin.isatty() or not typer.confirm(f"{show.fields(document)}\nCreate them?", err=True)):
        show_document({"missing": document, "created": False}, f"{show.fields(document)}\nNot created; `crossfoot setup-crm --yes` does.")
        return
    left = setup.create_all(crms)
    show_document({"missing": document, "created": not left, "left_out": left},
                  "\n".join([show.fields(document), *(show.left_out(left) or ["Created."])]))
    raise typer.Exit(FAILED if left else DONE)


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
    need_secrets(loaded)
    with show.progress(quiet=chosen.json) as on_progress, alone_on_standard_output(), alone(loaded, "extract"):
        night = tonight(loaded, as_of, known_at, on_progress)
        receipts = steps.extract_vendors(night, [vendor] if vendor else loaded.sources, full=full)
    show_document({"known_at": night.known_at.isoformat(), "vendors": [one.document() for one in receipts]}, show.receipts(receipts))
    raise typer.Exit(FAILED if any(one.status in LACKING for one in receipts) else DONE)


@app.command()
def build(as_of: AsOf = None, known_at: KnownAt = None) -> None:
    """Build and test the models from what the warehouse holds."""
    from flows.when import tonight
    from pipelines import night as steps

    loaded = chosen.settings
    with alone_on_standard_output(), alone(loaded, "build"):
        night = tonight(loaded, as_of, known_at)
        nodes = steps.build(night)
    show_document({"as_of": night.as_of.isoformat(), "nodes": len(nodes)}, f"Built and tested {len(nodes)} models as of {night.as_of}.")


@app.command()
def plan() -> None:
    """Compare the models with the CRM as it is now, and save and show the plan. Writes nothing."""
    from pipelines import night as steps
    from pipelines import outcome
    from pipelines.writeback.plan_files import to_table

    loaded = chosen.settings
    with show.progress(quiet=chosen.json) as on_progress, alone_with_models(loaded, "plan"):
        night = built_night(loaded, on_progress)
        made, path = steps.make_plan(night, steps.connect_crms(loaded), steps.guard_blocks(night))
    show_document(outcome.plan_document(made, path) | {"rows": to_table(made)}, show.plan(made, path))
    raise typer.Exit(BLOCKED if made.guard_blocks else DONE)


@app.command()
def apply(plan: Annotated[str, typer.Argument(help="A plan's id, or the path of its file.")]) -> None:
    """Write what a saved plan holds, as far as the CRM still is as it was when the plan was made."""
    from pipelines import night as steps

    loaded = chosen.settings
    path = Path(plan) if plan.endswith(".json") else loaded.data_dir / "plans" / f"{plan}.json"
    _show_written(loaded, "apply", lambda night: steps.apply_saved(night, path))


@app.command()
def rollback(run: Annotated[str, typer.Argument(help="The run's id, as `crossfoot status` shows it.")]) -> None:
    """Put back what a run wrote, except where somebody changed it since."""
    from pipelines import night as steps

    _show_written(chosen.settings, "rollback", lambda night: steps.roll_back(night, run))


@app.command()
def unlock(
    by: Annotated[str, typer.Option("--by", help="Who frees it; kept in the journal.")],
    why: Annotated[str, typer.Option("--why", help="Why; kept beside the name.")] = "",
) -> None:
    """Free the journal's lock, whoever holds it; a run that still lives stops before its next write."""
    from flows.when import now
    from pipelines import night as steps

    freed = steps.unlock(chosen.settings, by, why, now())
    show_document({"freed": freed.document() if freed else None}, show.freed(freed, by))


def _show_written(loaded: Settings, command: str, step: Callable[[Any], Any]) -> None:
    from pipelines import outcome

    with show.progress(quiet=chosen.json) as on_progress, alone_with_models(loaded, command):
        result = step(built_night(loaded, on_progress))
    show_document(outcome.applied_document(result), show.applied(result))
    raise typer.Exit(FAILED if result.problems or result.left_out else DONE)
