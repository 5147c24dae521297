"""A person accepts a blocked night: its doubts are set aside, and later nights are measured against it."""

from __future__ import annotations

from datetime import datetime

from pipelines import night as steps
from pipelines.settings import ConfigurationError, Settings
from pipelines.writeback.guarded import Guarded, Memory, accepted

SHOWN = 10


def accept(settings: Settings, night: str, by: str, why: str, now: datetime) -> Guarded:
    """Accepts the doubts of the night with this name (its time, as the block says it) or business date, and no later ones.

    Raises ConfigurationError where no name or reason is given, or no such night is blocked.
    """
    missing = [option for option, text in (("--by", by), ("--why", why)) if not text.strip()]
    if missing:
        raise ConfigurationError([f"{' and '.join(missing)} missing: a night is accepted by name and with a reason, which are kept"])
    with steps.open_journal(settings) as journal:
        memory = Memory(settings.warehouse, journal)
        blocked = [one for one in memory.nights() if one.blocks]
        found = [one for one in blocked if night in (one.name, one.as_of.isoformat())]
        if not found:
            known = ", ".join(f"{one.name} ({one.as_of})" for one in blocked[:SHOWN]) or "none"
            raise ConfigurationError([f"no blocked night is called {night!r}; blocked and not accepted: {known}"])
        if len(found) > 1:
            names = ", ".join(one.name for one in found)
            raise ConfigurationError([f"{night} names {len(found)} blocked nights; write which one: {names}"])
        done = accepted(found[0], by.strip(), why.strip(), now)
        memory.record(done)
    return done


def resting_on(night: steps.Night) -> tuple[str, ...]:
    """Who accepted what this night rests on: itself, or the night that it was measured against."""
    with steps.open_journal(night.settings) as journal:
        nights = [one for one in Memory(night.settings.warehouse, journal).nights() if one.known_at <= night.known_at]
    mine = [one for one in nights if one.known_at == night.known_at]
    base = [one for one in nights if one.known_at < night.known_at and one.is_good]
    return tuple(said for one in (*mine, *base[:1]) if (said := one.acceptance()))
