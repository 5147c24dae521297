"""The night once, in this process: Prefect's files in the data folder, its own short-lived server, no noise."""

from __future__ import annotations

import threading
from typing import Any

from flows.when import tonight
from pipelines import environment
from pipelines import night as steps
from pipelines.night import Progress, silent
from pipelines.outcome import Outcome
from pipelines.settings import Settings


def run(settings: Settings, as_of: str | None, known_at: str | None, mode: str | None, on_progress: Progress = silent) -> Outcome:
    """Runs the flow. The models are prepared while Prefect's server starts, which takes longer than the night's reading."""
    environment.settle_prefect(settings.data_dir)
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
