"""Past nights built again from raw, each held against the hashes that it left: nothing is called, written or published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pipelines import fingerprint
from pipelines import night as steps
from pipelines.fingerprint import Fingerprint
from pipelines.settings import ConfigurationError, Settings


@dataclass(frozen=True)
class Replayed:
    """A night as it was built again: one hash over all of its marts, and the names of the marts that are not what they were."""

    as_of: date
    known_at: datetime
    sha256: str
    differing: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        return {"as_of": self.as_of, "known_at": self.known_at, "sha256": self.sha256, "same": not self.differing,
                "differing": list(self.differing)}

    def __str__(self) -> str:
        said = f"differs: {', '.join(self.differing)}" if self.differing else "same"
        return f"{self.as_of}  {self.known_at:%Y-%m-%dT%H:%M:%SZ}  {self.sha256}  {said}"


def replay(settings: Settings, first: date, last: date, now: Callable[[], datetime]) -> Iterator[Replayed]:
    """Builds every recorded night of the business dates `first` to `last` again, the earliest known first. At the end,
    also when it is broken off, the models are those of the newest night. Raises ConfigurationError, TransformFailed."""
    nights = fingerprint.recorded(settings)
    chosen = [one for one in nights if first <= one.as_of <= last]
    if not chosen:
        known = f"built are {min(one.as_of for one in nights)} to {max(one.as_of for one in nights)}" if nights else "none was built yet"
        raise ConfigurationError([f"no night from {first} to {last} can be replayed; {known}"])
    with _newest_at_the_end(settings, nights[-1], now):
        for one in chosen:
            steps.build(steps.Night(settings, one.as_of, one.known_at, now), again=True)
            yield _compared(one, fingerprint.take(settings))


@contextmanager
def _newest_at_the_end(settings: Settings, newest: Fingerprint, now: Callable[[], datetime]) -> Iterator[None]:
    try:
        yield
    finally:
        shown = steps.built(settings)
        if (shown.as_of, shown.known_at, shown.complete) != (newest.as_of, newest.known_at, True):
            steps.build(steps.Night(settings, newest.as_of, newest.known_at, now), again=True)


def _compared(night: Fingerprint, found: Mapping[str, str]) -> Replayed:
    names = sorted({*night.marts, *found})
    differing = tuple(name for name in names if night.marts.get(name) != found.get(name))
    listed = "".join(f"{name} {digest}\n" for name, digest in sorted(found.items()))
    return Replayed(night.as_of, night.known_at, hashlib.sha256(listed.encode()).hexdigest(), differing)
