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
# Parsed projects by their vars, as dbt stores them: what is read from that is a copy of its own.
_parsed: dict[str, bytes] = {}
# What dbt would write beside the warehouse takes it a tenth of the build; its errors are in its log and in what it answers.
_UNWATCHED = ("--no-write-json", "--log-level-file", "error")
_FINE = ("success", "pass", "warn", "no-op")
# dbt's page is made of inline scripts that compile templates; it names a tracker of its own, which this keeps out.
_ALONE = ("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
          "style-src 'unsafe-inline'; img-src data:; font-src data:\">")


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


def variables(settings: Settings) -> dict[str, Any]:
    """The vars of the models: what the configuration says."""
    status = settings.values["status"]
    return {
        "base_currency": settings.base_currency,
        "crms": list(settings.get("vendors", "crms")),
        "ledgers": list(settings.get("vendors", "ledgers")),
        "rates": list(settings.get("vendors", "rates")),
        "tolerance": str(status["tolerance"]),
        "credit_hold_days": status["credit_hold_days"],
        "credit_hold_release_days": status["credit_hold_release_days"],
        "month_close_days": settings.get("company", "month_close_days"),
        "max_source_age_hours": settings.get("guard", "max_source_age_hours"),
        "more_free_mail_domains": list(settings.get("matching", "free_mail_domains")),
    }


def build(settings: Settings, as_of: date, known_at: datetime) -> list[Node]:
    """Builds and tests every model as of the night. Raises TransformFailed unless every node was built and passed."""
    return invoke(settings, ["build", "--exclude-resource-type", "unit_test", *configured(settings)], as_of, known_at)


def configured(settings: Settings) -> list[str]:
    """dbt's options that leave out the models and tests of vendors that are not configured."""
    others = [slug for slug in settings.secrets if slug not in settings.sources]
    folders = [f"path:{room}/{slug}" for slug in others for room in ("models/staging", "models/activation", "tests")
               if (PROJECT / room / slug).is_dir()]
    return ["--exclude", *folders] if folders else []


def prepare(settings: Settings) -> None:
    """Parses the project, so that `build` need not. What is wrong with the project, `build` says."""
    with _building:
        _manifest(settings, variables(settings))


def invoke(settings: Settings, command: Sequence[str], as_of: date, known_at: datetime) -> list[Node]:
    """Runs one dbt command in this process, as of a night, and returns its nodes."""
    outcome = _as_of(settings, [*command, *_UNWATCHED], as_of, known_at)
    nodes = [Node(item.node.name, str(item.node.resource_type), str(item.status), item.message or "") for item in outcome.result]
    bad = [node for node in nodes if node.status not in _FINE]
    if bad or not outcome.success:
        raise TransformFailed(bad, "" if bad else f"dbt failed: {outcome.exception}")
    return nodes


def document(settings: Settings, as_of: date, known_at: datetime) -> Path:
    """Writes the documentation of the models and the columns that they have in the warehouse, as one HTML page.

    The page of `dbt docs generate --static` brings its scripts and data along; a rule of its own keeps a browser from
    loading anything else. Raises TransformFailed.
    """
    outcome = _as_of(settings, ["docs", "generate", "--static", *configured(settings)], as_of, known_at)
    page = (_home(settings) / "static_index.html").read_text(encoding="utf-8") if outcome.success else ""
    head, tag, rest = page.partition("<head>")
    if not tag:
        raise TransformFailed([], f"dbt wrote no documentation: {outcome.exception or 'its page has no <head>'}")
    path = settings.data_dir / "docs" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(head + tag + _ALONE + rest, encoding="utf-8")
    os.replace(fresh, path)
    return path


def _as_of(settings: Settings, command: Sequence[str], as_of: date, known_at: datetime) -> Any:
    """One dbt command as of a night: dbt's own result. Raises TransformFailed where it could not start."""
    with _building:
        os.environ["CROSSFOOT_AS_OF"] = as_of.isoformat()
        os.environ["CROSSFOOT_KNOWN_AT"] = known_at.astimezone(UTC).isoformat(timespec="microseconds")
        names = variables(settings)
        outcome = _dbt(settings, command, names, _manifest(settings, names))
    if outcome.result is None:
        raise TransformFailed([], f"dbt could not start: {outcome.exception}")
    return outcome


def _manifest(settings: Settings, names: dict[str, Any]) -> Any:
    """The parsed project for these vars, a fresh one, because a run leaves its statements in it; None when it cannot be
    parsed."""
    from dbt.contracts.graph.manifest import Manifest  # late: dbt takes two seconds to load

    key = json.dumps(names)
    if key not in _parsed:
        if not _dbt(settings, ["parse"], names).success:
            return None
        _parsed[key] = (_home(settings) / "partial_parse.msgpack").read_bytes()
    return Manifest.from_msgpack(_parsed[key])


def _home(settings: Settings) -> Path:
    """Where dbt keeps what it makes."""
    return settings.data_dir / "dbt"


def _dbt(settings: Settings, command: Sequence[str], names: dict[str, Any], manifest: Any = None) -> Any:
    from dbt.cli.main import dbtRunner  # late: dbt takes two seconds to load

    home = _home(settings)
    os.environ["CROSSFOOT_WAREHOUSE"] = str(settings.warehouse)
    return dbtRunner(manifest).invoke([
        *command, "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(home),
        "--log-path", str(home / "logs"), "--quiet", "--no-use-colors", "--vars", json.dumps(names),
    ])
