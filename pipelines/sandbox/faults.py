"""Faults that a user or a test injects into the sandbox: which calls they hit, and how often."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What happens to the call that a fault hits. Any other status of the vendor (400 to 599) is a kind of its own.
KINDS = {
    "429": "refused for too many calls, in the vendor's words (`message` names the limit); nothing is carried out",
    "500": "refused with the vendor's error body; nothing is carried out",
    "timeout": "carried out at once, answered only after `seconds`",
    "reset": "the connection is cut; nothing is carried out",
    "reset_after": "carried out, then the connection is cut: the caller cannot know",
    "expired_token": "refused as if the token had expired",
    "duplicate_page": "answered with every record of the page twice",
    "partial": "a batch of which the first `count` inputs, or `ids`, are rejected",
    "numerrors": "the same as `partial`, with the vendor's success status",
    "delete_midrun": "before the call, record `id` (or the first) of `object` is archived",
}
# Longer than any client waits, short enough that nothing hangs for ever.
MAX_HOLD_SECONDS = 120

_NUMBERS = {"nth": 1, "times": 1, "count": 1, "seed": 0}
_TEXTS = ("match", "method", "object", "id", "message")


class BadFault(ValueError):
    """A fault that was described wrongly; the message names the key, the value and what is allowed."""


@dataclass
class Fault:
    """One injected fault. `nth`: from the nth matching call on; `share`: of the matching calls, drawn from `seed`;
    neither: from the next matching call on. It hits `times` calls (one, unless `share` is given: then no end)."""

    vendor: str
    kind: str
    match: str = ""
    method: str | None = None
    nth: int = 1
    share: float | None = None
    times: int | None = 1
    seconds: float = 30
    seed: int = 7
    count: int = 1
    ids: tuple[str, ...] = ()
    object: str | None = None
    id: str | None = None
    message: str | None = None
    seen: int = 0
    hits: int = 0
    draw: random.Random = field(default_factory=random.Random, repr=False)

    def hit(self, vendor: str, method: str, path: str) -> bool:
        """Counts a call that the fault matches and says whether it is hit. `path` includes the query text."""
        if vendor != self.vendor or self.match not in path or (self.method or method) != method:
            return False
        self.seen += 1
        drawn = self.share is None or self.draw.random() < self.share
        if self.seen < self.nth or not drawn or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True

    def shown(self) -> dict[str, Any]:
        """What the control route lists."""
        keys = ("vendor", "kind", "match", "method", "nth", "share", "times", "seen", "hits")
        return {key: getattr(self, key) for key in keys}


def parse(body: Any, vendors: Sequence[str]) -> Fault:
    """One fault from its JSON object; `BadFault` names what is wrong with it."""
    if not isinstance(body, Mapping):
        raise BadFault(f"a fault is a JSON object, not {body!r}")
    vendor, kind = body.get("vendor"), str(body.get("kind"))
    if vendor not in vendors:
        raise BadFault(f"vendor: {vendor!r} is not one of {', '.join(vendors)}")
    if kind not in KINDS and not re.fullmatch(r"[45]\d\d", kind):
        raise BadFault(f"kind: {kind!r} is not one of {', '.join(KINDS)}, nor a status from 400 to 599")
    unknown = set(body) - {"vendor", "kind", "share", "seconds", "ids", *_NUMBERS, *_TEXTS}
    if unknown:
        raise BadFault(f"unknown keys: {', '.join(sorted(unknown))}")
    fault = Fault(vendor, kind, **_numbers(body), **_texts(body), **_share(body), **_seconds(body), **_ids(body))
    fault.draw.seed(fault.seed)
    return fault


def _numbers(body: Mapping[str, Any]) -> dict[str, int]:
    given = {key: body[key] for key in _NUMBERS if key in body}
    for key, value in given.items():
        if not isinstance(value, int) or value < _NUMBERS[key]:
            raise BadFault(f"{key}: {value!r} is not a whole number from {_NUMBERS[key]}")
    return given


def _texts(body: Mapping[str, Any]) -> dict[str, str]:
    given = {key: body[key] for key in _TEXTS if key in body}
    for key, value in given.items():
        if not isinstance(value, str):
            raise BadFault(f"{key}: {value!r} is not a text")
    return given


def _share(body: Mapping[str, Any]) -> dict[str, Any]:
    share = body.get("share")
    if share is None:
        return {}
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise BadFault(f"share: {share!r} is not above 0 and up to 1")
    return {"share": share} if "times" in body else {"share": share, "times": None}


def _seconds(body: Mapping[str, Any]) -> dict[str, Any]:
    seconds = body.get("seconds", 30)
    if not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_HOLD_SECONDS:
        raise BadFault(f"seconds: {seconds!r} is not from 0 to {MAX_HOLD_SECONDS}")
    return {"seconds": seconds}


def _ids(body: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    ids = body.get("ids", [])
    if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
        raise BadFault(f"ids: {ids!r} is not a list of texts")
    return {"ids": tuple(ids)}


class Faults:
    """The faults in force, in the order they were posted."""

    def __init__(self) -> None:
        self.active: list[Fault] = []

    def next(self, vendor: str, method: str, path: str) -> Fault | None:
        """The first fault that hits this call. Every fault counts the call, also behind one that hits."""
        hits = [fault for fault in self.active if fault.hit(vendor, method, path)] if self.active else []
        return hits[0] if hits else None
