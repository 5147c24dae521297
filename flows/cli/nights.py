"""The commands of whole nights: one, past ones, every one, the last."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows import show
from flows.cli.common import (
    BLOCKED,
    DONE,
    FAILED,
    AsOf,
    KnownAt,
    alone_on_standard_output,
    chosen,
    need_secrets,
    show_document,
)
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

    with show.progress(quiet=chosen.json) as on_progress, alone_on_standard_output():
        ended = once.run(loaded, as_of, known_at, mode, on_progress)
    show_document(ended.document(), show.outcome(ended))
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
    with alone_on_standard_output() as out:
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
        show_document(names, "\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items()))
        return
    if not os.environ.get("PREFECT_API_URL"):
        raise ConfigurationError(["PREFECT_API_URL is not set; start a server with `prefect server start`, then "
                                  "export PREFECT_API_URL=http://127.0.0.1:4200/api"])
    from prefect.schedules import Cron

    from flows.nightly import nightly

    nightly.serve(name="nightly", parameters={"config": config, "data_dir": str(loaded.data_dir)}, limit=1,
                  global_limit=1, schedule=Cron(cron, timezone=zone))


@app.command()
def status() -> None:
    """Show the last night and the last runs that wrote."""
    from pipelines import outcome
    from pipelines.writeback.recent import recent_runs

    loaded = chosen.settings
    last = outcome.load(loaded)
    runs = recent_runs(loaded.journal_url)
    show_document({"last_night": last, "runs": runs}, show.status(last, runs))
