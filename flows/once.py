"""The night once, in this process: Prefect's files in the data folder, its own short-lived server, no noise."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from flows.when import tonight
from pipelines import night as steps
from pipelines.night import Progress, silent
from pipelines.outcome import Outcome
from pipelines.settings import Settings

_OWN = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE")
_QUIET = {
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    # Its first start makes a database; on two cores beside the work that takes longer than Prefect's own 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def prepare(data_dir: Path) -> None:
    """Before Prefect is loaded: keeps it within the data folder unless the user has a server or a home of their own."""
    own = [os.environ.get(name) for name in _OWN]
    if not any(own) and not (Path.home() / ".prefect" / "profiles.toml").exists():
        isolate(data_dir)


def isolate(data_dir: Path) -> None:
    """Keeps Prefect within the data folder, whatever else there is on the machine."""
    home = data_dir.resolve() / "prefect"
    home.mkdir(parents=True, exist_ok=True)  # Prefect itself creates no parents
    for name in _OWN:
        os.environ.pop(name, None)
    os.environ["PREFECT_HOME"] = str(home)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def run(settings: Settings, as_of: str | None, known_at: str | None, mode: str | None, on_progress: Progress = silent) -> Outcome:
    """Runs the flow. The models are prepared while Prefect's server starts, which takes longer than the night's reading."""
    prepare(settings.data_dir)
    night = tonight(settings, as_of, known_at)
    threading.Thread(target=steps.warm_up, args=[night], daemon=True).start()
    from flows.nightly import nightly, watcher  # late: it loads Prefect, which reads its settings then

    watcher.append(on_progress)
    try:
        state = nightly(night.as_of.isoformat(), night.known_at.isoformat(), mode, str(settings.path or ""),
                        str(settings.data_dir), return_state=True)
    finally:
        watcher.remove(on_progress)
    found: Any = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found
    return found
