"""The commands of whole nights: one, past ones, every one, the last."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows import show, trouble
from flows.cli.common import (
    BLOCKED,
    DONE,
    FAILED,
    AsOf,
    KnownAt,
    alone,
    alone_on_standard_output,
    chosen,
    need_secrets,
    place,
    show_document,
    where,
)
from pipelines import environment, folder
from pipelines.settings import ConfigurationError

app = typer.Typer()


@app.command()
def run(
    as_of: AsOf = None,
    known_at: KnownAt = None,
    apply: Annotated[bool | None, typer.Option("--apply/--plan", help="Write, or only plan. Default: [writeback] mode.")] = None,
) -> None:
    """Run the whole night once: extract, build, guard, plan, apply, publish, report."""
    loaded = chosen.settings
    need_secrets(loaded)
    mode = None if apply is None else ("apply" if apply else "plan")
    from flows import once
    from pipelines import night as steps

    if apply:
        steps.need_writing(loaded)
    if not chosen.json:
        print(where(loaded), file=sys.stderr)

    with show.progress(quiet=chosen.json) as on_progress, alone_on_standard_output():
        ended = once.run(loaded, as_of, known_at, mode, on_progress)
    show_document(place(loaded) | ended.document(), show.outcome(ended))
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
    with alone_on_standard_output() as out, alone(loaded, "replay"):
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
                 "CROSSFOOT_DATA_DIR": str(loaded.data_dir), "CROSSFOOT_CODE": str(Path(__file__).parents[2])}
        show_document(names, "\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items()))
        return
    need_secrets(loaded)
    server = os.environ.get("PREFECT_API_URL")
    if not server:
        raise ConfigurationError(["PREFECT_API_URL is not set; start a server with `prefect server start`, then "
                                  "export PREFECT_API_URL=http://127.0.0.1:4200/api"])
    try:
        trouble.need_server(server)
        environment.settle_prefect(loaded.data_dir)
        from flows.every_night import serve

        serve(config, loaded.data_dir, cron, zone)
    except Exception as error:  # noqa: BLE001 - a server that is away makes errors of many kinds
        lost = error if isinstance(error, trouble.NoServer) else trouble.own_server(error)
        if lost is None:
            raise
        raise ConfigurationError([str(lost)]) from error


@app.command()
def accept(
    night: Annotated[str, typer.Argument(help="The blocked night, as the block names it, or its business date.")],
    by: Annotated[str, typer.Option("--by", help="Who accepts it; kept.")] = "",
    why: Annotated[str, typer.Option("--why", help="Why it is right; kept.")] = "",
) -> None:
    """Accept what blocked a night, such as records that are really gone: this night's doubts and no later ones."""
    from flows.when import now
    from pipelines import acceptance

    loaded = chosen.settings
    with alone(loaded, "accept"):
        done = acceptance.accept(loaded, night, by, why, now())
    show_document(done.document(), f"{show.text(done.acceptance())}\nRun the night again; it is measured against this one.")


@app.command()
def status() -> None:
    """Show which installation this is, the last night, the last runs that wrote, the nights that somebody accepted, and which run
    holds the journal's lock."""
    from pipelines import outcome
    from pipelines.writeback.recent import recent

    loaded = chosen.settings
    last, found = outcome.load(loaded), recent(loaded)
    held = found.lease.document() if found.lease else None
    by, runs_still = folder.holder(loaded.data_dir)
    working = {"command": by.command, "process": by.process, "host": by.host, "runs": runs_still} if by else None
    document = place(loaded) | {"working": working, "last_night": last, "runs": found.runs, "accepted": found.accepted, "lock": held}
    lines = [where(loaded), *([f"{by} {'is at work' if runs_still else 'was cut off; the next one goes on from there'}."] if by else [])]
    show_document(document, "\n".join([*lines, show.status(last, found)]))
