"""When a call leaves and when it is repeated: waits after a refusal, and the vendor's published limits."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from pipelines.card import Limit
from pipelines.network import Network
from pipelines.settings import Settings

# (status, headers, body, attempt) of a refusal -> units to wait before the next try; None to give up.
Wait = Callable[[int, Mapping[str, str], str, int], int | None]

MAX_WAIT_SECONDS = 120
# Refusals that are over after a while, besides what a vendor itself calls so: time-out, locked, too early, too many calls
# (RFC 9110, 4918, 8470, 6585), and 477, a migration under way, which one vendor made up.
PASSING = frozenset({408, 423, 425, 429, 477})
# Of what a server answers above 500, these stay so: not implemented, another version of HTTP, and a network that asks to sign in.
LASTING = frozenset({501, 505, 511})


def passes(status: int) -> bool:
    """Whether an answer of this status may be another one after a while; 520 to 530 are a front door's that reached nobody."""
    return status in PASSING or (status >= 500 and status not in LASTING)


def rest(seconds: Decimal | float) -> None:
    """Sleeps; time.sleep itself knows no Decimal."""
    time.sleep(timedelta(microseconds=int(seconds * 1_000_000)).total_seconds())


def seconds_asked(headers: Mapping[str, str]) -> Decimal | None:
    """The seconds that Retry-After asks for (RFC 9110, 10.2.3): a count of them in ASCII digits, or a date, which is counted from
    the answer's own Date, because clocks differ. None where it is absent or neither."""
    asked = str(headers.get("Retry-After") or "").strip()
    if asked.isascii() and asked.isdecimal():
        return Decimal(asked)
    try:
        until = parsedate_to_datetime(asked) - parsedate_to_datetime(str(headers.get("Date") or ""))
    except (ValueError, TypeError, OverflowError):  # TypeError: one of them has no time zone
        return None
    return max(Decimal(until.days * 86_400 + until.seconds), Decimal(0))


@dataclass(frozen=True)
class RetryPolicy:
    """How often a call is tried and how long it may take; `wait` turns (status, headers, body, attempt) into units of
    `base_seconds`, or None to give up at once. Waiting goes through `sleep`, so that tests need not wait."""

    attempts: int = 6
    base_seconds: Decimal = Decimal(1)
    timeout_seconds: int = 60
    wait: Wait | None = None
    sleep: Callable[[Any], None] = rest
    network: Network = Network()

    @classmethod
    def of(cls, settings: Settings, wait: Wait | None = None) -> RetryPolicy:
        """What the configuration says, with a vendor's own rule."""
        chosen = settings.values["network"]
        return cls(chosen["attempts"], chosen["retry_base_seconds"], chosen["timeout_seconds"], wait, network=settings.network)

    def seconds(self, status: int, headers: Mapping[str, str], body: str, attempt: int) -> Decimal | None:
        """How long to wait before the next try; None to give up. Status 0: there was no answer."""
        most = Decimal(MAX_WAIT_SECONDS)
        if self.wait is not None:
            units = self.wait(status, headers, body, attempt)
            return None if units is None else min(self.base_seconds * max(units, 0), most)
        backoff = min(self.base_seconds * 2 ** (attempt - 1), most)
        return min(max(backoff, seconds_asked(headers) or backoff), most)


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
