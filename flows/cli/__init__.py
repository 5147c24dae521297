"""The crossfoot command. Each command wires one step and shows what it did; nothing here decides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import process
from flows.cli import nights, reading, steps
from flows.cli.common import chosen, exit_codes, speak
from flows.cli.review import review

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Ties what the CRM sold to what accounting invoiced and collected, and writes the status back to the CRM.",
)
for part in (steps, nights, reading):
    app.registered_commands += part.app.registered_commands
app.add_typer(review, name="review")


@app.callback()
def options(
    config: Annotated[Path | None, typer.Option("--config", help="Configuration file. Default: crossfoot.toml, if there is one.")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Folder of all that a run makes. Default: data beside it.")] = None,
    home: Annotated[Path | None, typer.Option("--home", help="Folder of both. Default: CROSSFOOT_HOME, else the current one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    chosen.config, chosen.data_dir, chosen.home, chosen.json = config, data_dir, home, json
    process.begin()
    speak(utf8=json)


def main() -> None:
    with exit_codes():
        app()
