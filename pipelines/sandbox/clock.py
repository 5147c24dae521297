"""The sandbox's calendar: the only place of the sandbox where time runs by itself."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day

from pipelines.settings import SANDBOX_HOUR


class Clock:
    """`today` moves only by `advance`; within a day the time starts at 22:00 UTC and runs with real seconds.

    `monotonic` gives real seconds and may be replaced, so that a test can let time pass without waiting.
    """

    def __init__(self, today: date, monotonic: Callable[[], float] = time.monotonic):
        self.today = today
        self.seconds = monotonic
        self._started = monotonic()

    def now(self) -> datetime:
        """The sandbox's time, aware, in UTC."""
        start = datetime.combine(self.today, time_of_day(SANDBOX_HOUR), UTC)
        return start + timedelta(seconds=self.seconds() - self._started)

    def advance(self, days: int) -> None:
        """Moves to 22:00 UTC of the day that is `days` later."""
        self.today += timedelta(days=days)
        self._started = self.seconds()
