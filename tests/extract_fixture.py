"""Vendors read from a sandbox: settings that wait for nothing, a night without a warehouse, its pages as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sandbox_fixture import control

from pipelines import settings
from pipelines.landing import Job
from pipelines.sandbox import growth
from pipelines.sandbox.world import World
from pipelines.settings import Settings
from pipelines.vendors import VENDORS

DAY = date(2026, 6, 30)
NIGHT = datetime(2026, 7, 1, 2, tzinfo=UTC)
FAST = "[network]\nretry_base_seconds = 0.001\ntimeout_seconds = 20\n"


def settings_at(url: str, folder: Path, more: str = FAST) -> Settings:
    """Settings of the sandbox at `url` with `folder` for all data; `more` is the text of the configuration file."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n{more}', encoding="utf-8")
    return settings.load(VENDORS, config=config, data_dir=folder / "data", environment={"CROSSFOOT_SANDBOX_URL": url})


class MemoryTokens:
    """A token store that remembers all that was stored, in order."""

    def __init__(self, first: str | None = None):
        self.stored: list[str] = [first] if first else []

    def get(self, vendor: str, account: str) -> str | None:
        return self.stored[-1] if self.stored else None

    def put(self, vendor: str, account: str, token: str) -> None:
        self.stored.append(token)


def job_for(
    source: Any,
    chosen: Settings,
    cursors: Mapping[str, str] | None = None,
    *,
    known: Callable[[str], set[str]] = lambda table: set(),
    tokens: Any = None,
) -> Job:
    """A vendor's night with an Api of its own and nothing behind it."""
    api = source.connect(chosen, tokens or MemoryTokens())
    return Job(api, chosen, DAY, NIGHT, dict(cursors or {}), known)


def following(job: Job, source: Any, **options: Any) -> Job:
    """The night after `job`."""
    return job_for(source, job.settings, {**job.cursors, **job.next_cursors}, **options)


def collect(pages: Iterable[tuple[str, list[dict[str, Any]]]]) -> dict[str, list[dict[str, Any]]]:
    """{raw table: its rows} of a vendor's pages."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table, rows in pages:
        found.setdefault(table, []).extend(rows)
    return found


def alive(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """{id: row} of the newest versions; a deletion wins over what landed with it."""
    newest: dict[str, Mapping[str, Any]] = {}
    gone = {row["id"] for row in rows if row.get("_deleted")}
    newest.update((row["id"], row) for row in rows if row["id"] not in gone)
    return newest


def empty_world() -> World:
    """A company with people, stages, terms and rates, and no business yet."""
    world = World(seed=7, today=DAY)
    growth.found_company(world)
    return world


def calls(url: str, vendor: str = "hubspot") -> list[dict[str, Any]]:
    """The calls to a vendor since the log was last cleared, oldest first."""
    return [call for call in control(url, "GET", "requests") if call["vendor"] == vendor]


def fault(url: str, kind: str, match: str, **more: Any) -> None:
    """Injects a fault into HubSpot, or into the vendor that `more` names."""
    control(url, "POST", "faults", {"vendor": "hubspot", "kind": kind, "match": match, **more})


def clear(url: str) -> None:
    """Forgets faults and calls."""
    control(url, "DELETE", "faults")
    control(url, "DELETE", "requests")
