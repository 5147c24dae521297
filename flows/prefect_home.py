"""Prefect for a single run on one machine: its files in the data folder, its own short-lived server, no noise."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

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


def result(state: Any) -> Any:
    """The flow's Outcome; the error where the flow ended without one."""
    found = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found
    return found
