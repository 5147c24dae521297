"""The dbt build of one night, and what became of each node."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines import environment, warehouse
from pipelines.settings import Settings

PROJECT = Path(__file__).parents[1] / "dbt_project"
# What dbt reads of the project; it writes its own beside that.
_READ = ("*.yml", "macros/**/*", "models/**/*", "seeds/**/*", "tests/**/*")
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
        "time_zone": settings.get("company", "time_zone"),
        "crms": list(settings.get("vendors", "crms")),
        "ledgers": list(settings.get("vendors", "ledgers")),
        "rates": list(settings.get("vendors", "rates")),
        "tolerance": str(status["tolerance"]),
        "credit_hold_days": status["credit_hold_days"],
        "credit_hold_release_days": status["credit_hold_release_days"],
        "first_plausible_year": settings.get("company", "first_plausible_year"),
        "plausible_years_ahead": settings.get("company", "plausible_years_ahead"),
        "month_close_days": settings.get("company", "month_close_days"),
        "max_source_age_hours": settings.get("guard", "max_source_age_hours"),
        "more_free_mail_domains": list(settings.get("matching", "free_mail_domains")),
    }


def build(settings: Settings, as_of: date, known_at: datetime) -> list[Node]:
    """Builds and tests every model as of the night. Raises TransformFailed unless every node that the project has for the
    configured vendors was built and passed: what dbt left out, it reports as little as what it never had."""
    outcome, manifest = _as_of(settings, ["build", "--exclude-resource-type", "unit_test", *configured(settings), *_UNWATCHED], as_of,
                               known_at)
    nodes = _nodes(outcome)
    wanted = project_nodes(manifest, _unconfigured(settings))
    if left_out := sorted(wanted - {item.node.unique_id for item in outcome.result}):
        raise TransformFailed([], f"dbt ran {len(wanted) - len(left_out)} of the {len(wanted)} nodes that the project has, and left out "
                              f"{left_out[0]}{' and others' if left_out[1:] else ''}: what was built was not wholly tested; look for "
                              "dbt's own settings on this machine (~/.dbt), and build again")
    return nodes


def project_nodes(manifest: Any, folders: Sequence[str]) -> set[str]:
    """The unique ids of all models, seeds and tests of a parsed project, but those in these folders and the tests that look at one of
    them, which dbt leaves out with them. An ephemeral model is a part of others and is never built."""
    nodes = [node for node in manifest.nodes.values() if str(node.resource_type) in ("model", "seed", "snapshot", "test")
             and node.config.materialized != "ephemeral"]
    others = {node.unique_id for node in nodes if node.original_file_path.startswith(tuple(f"{folder}/" for folder in folders))}
    return {node.unique_id for node in nodes} - others - {
        node.unique_id for node in nodes if str(node.resource_type) == "test" and others & set(node.depends_on.nodes)}


def configured(settings: Settings) -> list[str]:
    """dbt's options that leave out the models and tests of vendors that are not configured."""
    folders = [f"path:{folder}" for folder in _unconfigured(settings)]
    return ["--exclude", *folders] if folders else []


def _unconfigured(settings: Settings) -> list[str]:
    """The folders of the project that are of vendors which are not configured."""
    others = [slug for slug in settings.secrets if slug not in settings.sources]
    return [f"{room}/{slug}" for slug in others for room in ("models/staging", "models/activation", "tests")
            if (PROJECT / room / slug).is_dir()]


def prepare(settings: Settings) -> None:
    """Parses the project, so that `build` need not. What is wrong with the project, `build` says."""
    with _building:
        _manifest(settings, variables(settings))


def invoke(settings: Settings, command: Sequence[str], as_of: date, known_at: datetime) -> list[Node]:
    """Runs one dbt command in this process, as of a night, and returns its nodes."""
    return _nodes(_as_of(settings, [*command, *_UNWATCHED], as_of, known_at)[0])


def _nodes(outcome: Any) -> list[Node]:
    """What became of each node. Raises TransformFailed unless all are fine."""
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
    outcome, _ = _as_of(settings, ["docs", "generate", "--static", *configured(settings)], as_of, known_at)
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


def _as_of(settings: Settings, command: Sequence[str], as_of: date, known_at: datetime) -> tuple[Any, Any]:
    """One dbt command as of a night: dbt's own result, and the parsed project. Raises TransformFailed where it could not start,
    and as warehouse.connect."""
    night = {"CROSSFOOT_AS_OF": as_of.isoformat(), "CROSSFOOT_KNOWN_AT": known_at.astimezone(UTC).isoformat(timespec="microseconds")}
    with _building:
        names = variables(settings)
        manifest = _manifest(settings, names)
        # dbt opens the file anew for each node unless somebody has it open, and a checkpoint at each close takes it a fifth of a build.
        with warehouse.connect(settings.warehouse):
            outcome = _dbt(settings, command, names, manifest, night)
    if outcome.result is None:
        raise TransformFailed([], f"dbt could not start: {outcome.exception}")
    return outcome, manifest


def _manifest(settings: Settings, names: dict[str, Any]) -> Any:
    """The parsed project for these vars, a fresh one, because a run leaves its statements in it; None when it cannot be
    parsed."""
    from dbt.contracts.graph.manifest import Manifest  # late: dbt takes two seconds to load

    key, kept = json.dumps(names), kept_parse(settings)
    if key not in _parsed:
        _parsed[key] = kept.read_bytes() if kept.exists() else b""
    try:
        return Manifest.from_msgpack(_parsed[key])
    except ValueError:  # nothing is kept yet, or what is kept is damaged
        del _parsed[key]
    if not _dbt(settings, ["parse"], names).success:
        return None
    for old in kept.parent.glob("parsed-*.msgpack"):
        old.unlink()
    os.replace(kept.parent / "partial_parse.msgpack", kept)
    _parsed[key] = kept.read_bytes()
    return Manifest.from_msgpack(_parsed[key])


def kept_parse(settings: Settings) -> Path:
    """Where the parsed project is kept for these settings from one night to the next; another name where anything that it
    depends on is another."""
    return _home(settings) / f"parsed-{fingerprint(PROJECT, json.dumps(variables(settings)))}.msgpack"


def fingerprint(project: Path, names: str) -> str:
    """A hash of what a parsed project depends on: its vars, every file of it, and dbt itself."""
    found = hashlib.sha256(f"{version('dbt-core')} {version('dbt-duckdb')} {project} {names}".encode())
    for path in sorted(path for pattern in _READ for path in project.glob(pattern) if path.is_file()):
        found.update(f"{path.relative_to(project)}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:24]


def _home(settings: Settings) -> Path:
    """Where dbt keeps what it makes."""
    return settings.data_dir / "dbt"


def _dbt(settings: Settings, command: Sequence[str], names: dict[str, Any], manifest: Any = None,
         night: Mapping[str, str] = MappingProxyType({})) -> Any:
    from dbt.cli.main import dbtRunner  # late: dbt takes two seconds to load

    home = _home(settings)
    with environment.of_dbt(CROSSFOOT_WAREHOUSE=str(settings.warehouse), **night):
        return dbtRunner(manifest).invoke([
            *command, "--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT), "--target-path", str(home),
            "--log-path", str(home / "logs"), "--quiet", "--no-use-colors", "--vars", json.dumps(names),
        ])
