"""What the commands share: the options before them, the exit codes, and how each shows what it did."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import show
from pipelines import private
from pipelines import settings as configuration
from pipelines.redaction import redact
from pipelines.settings import ConfigurationError, Settings
from pipelines.vendors import VENDORS

DONE, FAILED, WRONG_USE, BLOCKED = 0, 1, 2, 3

AsOf = Annotated[str | None, typer.Option("--as-of", help="Business date. Default: today in the company's time zone.")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="Time up to which the vendors are heard, ISO 8601. Default: now.")]


@dataclass
class Context:
    """What the options before the command say."""

    config: Path | None = None
    data_dir: Path | None = None
    json: bool = False

    @property
    def settings(self) -> Settings:
        loaded = configuration.load(VENDORS, config=self.config, data_dir=self.data_dir)
        private.keep_private(loaded)
        return loaded


chosen = Context()


def built_night(loaded: Settings, on_progress: Any) -> Any:
    """The night that the models are of: what a plan and an apply go by."""
    from flows.when import now
    from pipelines import night as steps

    built = steps.built(loaded)
    if built is None:
        raise ConfigurationError([f"{loaded.warehouse} holds no models yet; run `crossfoot extract` and `crossfoot build` first"])
    return steps.Night(loaded, built.as_of, built.known_at, now, on_progress)


def need_secrets(loaded: Settings) -> None:
    missing = configuration.missing_secrets(loaded, VENDORS)
    if missing:
        raise ConfigurationError(missing)


@contextmanager
def alone_on_standard_output() -> Iterator[Any]:
    """Standard output is for what the command says, and is handed over for that: dbt, which writes about failures there,
    goes to standard error."""
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        yield out


def open_page(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.as_uri()):
        print(f"No browser could be started; open {page.as_uri()} in one.", file=sys.stderr)


def show_document(document: Any, text: str) -> None:
    print(show.as_json(document) if chosen.json else text)


@contextmanager
def exit_codes() -> Iterator[None]:
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


def end_at_once(sentence: str) -> None:
    """Ends the process with a sentence, for a thread that notices that the main one cannot be brought to its end."""
    with suppress(SystemExit):
        _fail([sentence], WRONG_USE)
    sys.stdout.flush()
    os._exit(WRONG_USE)


def _fail(sentences: Any, code: int) -> None:
    for sentence in sentences:
        print("\n".join(show.text(line) for line in f"crossfoot: {redact(sentence)}".split("\n")), file=sys.stderr)
    if chosen.json:
        print(show.as_json({"errors": [redact(sentence) for sentence in sentences]}))
    raise SystemExit(code)
