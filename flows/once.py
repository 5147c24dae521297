"""The night once, in this process: Prefect's files in the data folder, its own short-lived server, no noise."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

from flows import trouble
from flows.when import tonight
from pipelines import environment, folder, outcome
from pipelines import night as steps
from pipelines.night import Night, Progress, silent
from pipelines.outcome import Outcome
from pipelines.report import send
from pipelines.settings import Settings


def run(settings: Settings, as_of: str | None, known_at: str | None, mode: str | None, on_progress: Progress = silent) -> Outcome:
    """Runs the flow. The models are prepared while Prefect's server starts, which takes longer than the night's reading. A night
    that Prefect does not take has failed: that is kept and told like any other end. Raises FolderBusy and ConfigurationError."""
    with folder.alone(settings.data_dir, "run"):
        environment.settle_prefect(settings.data_dir)
        night, before = tonight(settings, as_of, known_at), outcome.version(settings)
        try:
            return _flow(night, mode, on_progress)
        except Exception as error:  # noqa: BLE001 - what Prefect raises around the flow is of many kinds
            lost = error if isinstance(error, trouble.NoServer) else trouble.own_server(error)
            if lost is None:
                raise
            if outcome.version(settings) != before:  # the night itself came to its end
                raise lost from error
            return _failed(night, mode, lost)


def _flow(night: Night, mode: str | None, on_progress: Progress) -> Outcome:
    if server := os.environ.get("PREFECT_API_URL"):
        trouble.need_server(server)
    threading.Thread(target=steps.warm_up, args=[night], daemon=True).start()
    from flows.nightly import nightly, watcher  # late: it loads Prefect, which reads its settings then

    watcher.append(on_progress)
    try:
        state = nightly(night.as_of.isoformat(), night.known_at.isoformat(), mode, str(night.settings.path or ""),
                        str(night.settings.data_dir), return_state=True)
    finally:
        watcher.remove(on_progress)
    found: Any = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found
    return found


def _failed(night: Night, mode: str | None, lost: trouble.NoServer) -> Outcome:
    """The outcome of a night that could not begin, kept, and told to whom a mail reaches without Prefect."""
    ended = Outcome(night.as_of, night.known_at, mode or night.policy.mode, "failed", outcome.stopped(lost))
    if send.is_wanted(night.settings):
        try:
            sent = send.send(night.settings, send.compose(night.settings, ended, None, None, night.now()))
        except send.SendFailed as error:
            sent = f"{error}."
        ended = replace(ended, sent=sent)
    outcome.save(night.settings, ended)
    return ended
