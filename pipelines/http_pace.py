"""When a call leaves and when it is repeated: waits after a refusal, and the vendor's published limits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pipelines.card import Limit

MAX_WAIT_SECONDS = 120
RETRIED_STATUSES = frozenset({423, 429, 477, 500, 502, 503, 504})


def rest(seconds: Decimal | float) -> None:
    """Sleeps; time.sleep itself knows no Decimal."""
    time.sleep(timedelta(microseconds=int(seconds * 1_000_000)).total_seconds())


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried and how long it may take; `wait` turns (response headers, body, attempt) into seconds,
    or None to give up at once. Waiting goes through `sleep`, so that tests need not wait."""

    attempts: int = 6
    base_seconds: Decimal = Decimal(1)
    timeout_seconds: int = 60
    wait: Callable[[int, Mapping[str, str], str, int], int | None] | None = None
    sleep: Callable[[Any], None] = rest

    def seconds(self, status: int, headers: Mapping[str, str], body: str, attempt: int) -> Decimal | None:
        backoff = min(self.base_seconds * 2 ** (attempt - 1), Decimal(MAX_WAIT_SECONDS))
        if self.wait is not None:
            units = self.wait(status, headers, body, attempt)
            return None if units is None else min(self.base_seconds * units, Decimal(MAX_WAIT_SECONDS))
        asked = headers.get("Retry-After", "")
        return min(max(backoff, Decimal(asked)), Decimal(MAX_WAIT_SECONDS)) if asked.isdigit() else backoff


class Pacer:
    """Keeps calls under the vendor's limits, over all threads: each limit is a window over the last calls."""

    def __init__(self, limits: Sequence[Limit], sleep: Callable[[Any], None] = rest,
                 now: Callable[[], float] = time.monotonic):
        self._windows = [(limit, deque[float]()) for limit in limits]
        self._lock = threading.Lock()
        self._sleep, self._now = sleep, now

    def wait(self, path: str) -> None:
        """Blocks until one more call to `path` is within every limit that covers it."""
        while (pause := self._reserve(path)) > 0:
            self._sleep(pause)

    def _reserve(self, path: str) -> float:
        """Counts the call in every window at once, at the moment when it may leave; else the seconds until then."""
        with self._lock:
            now, pause = self._now(), 0.0
            covering = [(limit, calls) for limit, calls in self._windows if limit.covers(path)]
            for limit, calls in covering:
                while calls and calls[0] <= now - limit.seconds:
                    calls.popleft()
                if len(calls) >= limit.calls:
                    pause = max(pause, calls[0] + limit.seconds - now)
            for _, calls in covering if not pause else ():
                calls.append(now)
            return pause
