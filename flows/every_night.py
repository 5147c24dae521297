"""The schedule as a process: it serves the nightly flow to a Prefect server until it is stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from prefect.runner import Runner
from prefect.schedules import Cron

from flows.nightly import nightly

NAME = "nightly"


class Stoppable(Runner):
    """Prefect's runner, which SIGTERM ends in the way that it has for that: it pauses the schedule and leaves nothing behind."""

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        self.execute_in_background(self.astop)


def serve(config: str, data_dir: Path, cron: str, zone: str) -> None:
    """Runs until SIGTERM or Ctrl-C, one night at a time, also beside other processes that serve it."""
    runner = Stoppable(name=NAME, pause_on_shutdown=True, limit=1)
    runner.add_flow(nightly, name=NAME, parameters={"config": config, "data_dir": str(data_dir)}, concurrency_limit=1,
                    schedule=Cron(cron, timezone=zone))
    print(f"The night is run at {cron!r} in {zone}; stop with Ctrl-C or SIGTERM.", flush=True)
    try:
        asyncio.run(runner.start())
    except KeyboardInterrupt:
        print("Stopped.")
