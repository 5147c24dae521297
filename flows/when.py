"""The only place that reads the clock: which night it is. Everything below receives its dates and times."""

from __future__ import annotations

import urllib.request
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPException
from typing import Any

from pipelines import extract
from pipelines.foreign import read_json
from pipelines.night import Night, Progress, silent
from pipelines.settings import ConfigurationError, Settings
from pipelines.warehouse import WarehouseBusy, WarehouseUnusable


def now() -> datetime:
    """The moment, aware, in UTC."""
    return datetime.now(UTC)


def tonight(settings: Settings, as_of: str | None = None, known_at: str | None = None, on_progress: Progress = silent) -> Night:
    """The night that the parameters name; what they leave out is today's date in the company's time zone and now.

    The sandbox has a calendar of its own, and its nights follow that. Raises ConfigurationError for a date or a time
    that cannot be read or has not come yet, and where the sandbox does not answer.
    """
    day, moment = parse_date(as_of), parse_time(known_at)
    if settings.profile == "sandbox" and (day is None or moment is None):
        world = sandbox_health(settings)
        day = day or date.fromisoformat(world["today"])
        moment = moment or _after_last(settings, datetime.fromisoformat(world["now"]))
    if settings.profile == "live" and moment is not None and moment > now():
        # The vendors would count as heard until then, and no night before that would read or write anything.
        raise ConfigurationError([f"--known-at is {known_at!r}, which has not come yet; leave it out to hear the vendors up to now"])
    moment = (moment or now()).replace(microsecond=0)  # it is written to CRMs, and some of them keep no more
    return Night(settings, day or moment.astimezone(settings.zone).date(), moment, now, on_progress)


def parse_date(text: str | None, option: str = "--as-of") -> date | None:
    """A date from YYYY-MM-DD; None stays None."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigurationError([f"{option} is {text!r}; write a date such as 2026-06-30"]) from None


def parse_time(text: str | None) -> datetime | None:
    """A moment in UTC from ISO 8601; without an offset it is UTC. None stays None."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise ConfigurationError([f"--known-at is {text!r}; write a time such as 2026-07-01T02:00:00Z"]) from None
    return moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def sandbox_health(settings: Settings) -> dict[str, Any]:
    """What the sandbox says of itself: its date (`today`) and time (`now`)."""
    try:
        with urllib.request.urlopen(f"{settings.sandbox_url}/_sandbox/health", timeout=30) as answer:
            return read_json(answer.read().decode("utf-8"))
    except (OSError, ValueError, HTTPException) as error:
        raise ConfigurationError(
            [f"no sandbox answers at {settings.sandbox_url} ({error}); start one with `crossfoot sandbox`, "
             "or write a crossfoot.toml to work with real accounts"]
        ) from None


def _after_last(settings: Settings, moment: datetime) -> datetime:
    """A sandbox that was started again begins its day anew; a night still has to come after the one before."""
    if not settings.warehouse.exists():
        return moment
    try:
        extract.prepare_warehouse(settings, {})
        loads = [extract.last_load(settings, slug) for slug in settings.sources]
    except (WarehouseBusy, WarehouseUnusable):  # its first step says so, and that is kept as the end of this night
        return moment
    return max([moment, *(load.known_at + timedelta(seconds=1) for load in loads if load is not None)])
