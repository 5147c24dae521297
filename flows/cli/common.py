"""What the commands share: the options before them, the exit codes, and how each shows what it did."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import show, trouble
from pipelines import folder, private
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
    home: Path | None = None
    json: bool = False

    @property
    def settings(self) -> Settings:
        loaded = configuration.load(VENDORS, config=self.config, data_dir=self.data_dir, home=self.home)
        private.keep_private(loaded)
        return loaded


chosen = Context()


def alone(loaded: Settings, command: str) -> AbstractContextManager[None]:
    """No other command works in the data folder while it lasts. Raises FolderBusy."""
    return folder.alone(loaded.data_dir, command)


def alone_with_models(loaded: Settings, command: str) -> AbstractContextManager[None]:
    """The same for a command that needs built models; a folder without a warehouse stays as it is. Raises FolderBusy."""
    if not loaded.warehouse.exists():
        raise ConfigurationError([_no_models(loaded)])
    return folder.alone(loaded.data_dir, command)


def _no_models(loaded: Settings) -> str:
    return f"{loaded.warehouse} holds no models yet; run `crossfoot extract` and `crossfoot build` first"


def built_night(loaded: Settings, on_progress: Any) -> Any:
    """The night that the models are of: what a plan and an apply go by."""
    from flows.when import now
    from pipelines import night as steps

    built = steps.built(loaded)
    if built is None:
        raise ConfigurationError([_no_models(loaded)])
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


def place(loaded: Settings) -> dict[str, Any]:
    """Which installation a command works on, for its document."""
    return {"profile": loaded.profile, "configuration": loaded.path and str(loaded.path), "data_dir": str(loaded.data_dir)}


def where(loaded: Settings) -> str:
    """The same for people; people in another folder than they think see it here."""
    is_new = not loaded.warehouse.exists() and not (loaded.data_dir / "journal.sqlite").exists()
    config = f"Configuration {loaded.path} ({loaded.profile})" if loaded.path else (
        f"No {configuration.CONFIG_NAME} in {Path.cwd()}: this is the sandbox")
    return f"{config}; data in {loaded.data_dir}{', where no night was run yet' if is_new else ''}."


def speak(*, utf8: bool) -> None:
    """Whatever encoding the shell asks for, no name ends a command: what a terminal cannot show becomes a question mark, and what
    another program reads (`utf8`: JSON, CSV) is UTF-8 always."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if utf8 and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


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
        said = trouble.sentence(error)
        if said is None:
            raise
        _fail([said], show.known(error))


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
