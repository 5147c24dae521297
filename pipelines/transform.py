"""The dbt build of one night, and what became of each node."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipelines.settings import Settings

PROJECT = Path(__file__).parents[1] / "dbt_project"
# dbt keeps its project in process-wide state: one build at a time.
_building = threading.Lock()
# Parsed projects by their vars: a night's vars are never those of another.
_parsed: dict[str, Any] = {}
_FINE = ("success", "pass", "warn", "no-op")


@dataclass(frozen=True)
class Node:
    """A model, seed or test that was built: its name, kind, status and message."""

    name: str
    kind: str
    status: str
    message: str


class TransformFailed(Exception):
    """At least one node failed or was skipped; `nodes` holds those, and nothing may be written on this night."""

    def __init__(self, nodes: Sequence[Node], message: str = ""):
        self.nodes = tuple(nodes)
        shown = [f"{node.name}: {node.message or node.status}" for node in nodes if node.status != "skipped"]
        skipped = sum(node.status == "skipped" for node in nodes)
        shown += [f"{skipped} more were skipped because of that"] if skipped else []
        super().__init__(message or "; ".join(shown))


def variables(settings: Settings, as_of: date, known_at: datetime) -> dict[str, Any]:
    """The vars of the models: the two parameters of the night, and what the configuration says."""
    status = settings.values["status"]
    return {
        "as_of": as_of.isoformat(),
        "known_at": known_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "base_currency": settings.base_currency,
        "crms": list(settings.get("vendors", "crms")),
        "ledgers": list(settings.get("vendors", "ledgers")),
        "tolerance": str(status["tolerance"]),
        "credit_hold_days": status["credit_hold_days"],
        "credit_hold_release_days": status["credit_hold_release_days"],
        "max_source_age_hours": settings.get("guard", "max_source_age_hours"),
        "more_free_mail_domains": list(settings.get("matching", "free_mail_domains")),
    }


def build(settings: Settings, as_of: date, known_at: datetime) -> list[Node]:
    """Builds and tests every model as of the night. Raises TransformFailed unless every node was built and passed."""
    return invoke(settings, ["build", "--exclude-resource-type", "unit_test", *configured(settings)], variables(settings, as_of, known_at))


def configured(settings: Settings) -> list[str]:
    """dbt's options that leave out the models and tests of vendors that are not configured."""
    others = [slug for slug in settings.secrets if slug not in settings.sources]
    folders = [f"path:{room}/{slug}" for slug in others for room in ("models/staging", "models/activation", "tests")
               if (PROJECT / room / slug).is_dir()]
    return ["--exclude", *folders] if folders else []


def prepare(settings: Settings, as_of: date, known_at: datetime) -> None:
    """Parses the project for the night, so that `build` need not. What is wrong with the project, `build` says."""
    names = variables(settings, as_of, known_at)
    with _building:
        outcome = _dbt(settings, ["parse"], names)
        if outcome.success:
            _parsed[json.dumps(names)] = outcome.result


def invoke(settings: Settings, command: Sequence[str], names: dict[str, Any]) -> list[Node]:
    """Runs one dbt command in this process and returns its nodes."""
    with _building:
        outcome = _dbt(settings, command, names, _parsed.pop(json.dumps(names), None))
    if outcome.result is None:
        raise TransformFailed([], f"dbt could not start: {outcome.exception}")
    nodes = [Node(item.node.name, str(item.node.resource_type), str(item.status), item.message or "") for item in outcome.result]
    bad = [node for node in nodes if node.status not in _FINE]
    if bad or not outcome.success:
        raise TransformFailed(bad, "" if bad else f"dbt failed: {outcome.exception}")
    return nodes


def _dbt(settings: Settings, command: Sequence[str], names: dict[str, Any], manifest: Any = None) -> Any:
    from dbt.cli.main import dbtRunner  # late: dbt takes two seconds to load

    home = settings.data_dir / "dbt"
    os.environ["CROSSFOOT_WAREHOUSE"] = str(settings.warehouse)
    return dbtRunner(manifest).invoke([
        *command, "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(home),
        "--log-path", str(home / "logs"), "--quiet", "--no-use-colors", "--vars", json.dumps(names),
    ])
