"""dbt in this process on a warehouse of a test: the project is parsed once for the same vars, not for every command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest

from pipelines import transform
from pipelines.settings import Settings

# Parsed projects, for all test processes and later runs: named after all that they depend on.
SHARED = Path(__file__).parents[1] / "build" / "parsed"
PROJECT = Path(__file__).parents[1] / "dbt_project"
MODELS_ALONE = ("--resource-type", "seed", "--resource-type", "model")
# By project and vars, as dbt stores it: a run leaves its statements in a manifest, so each gets a copy of its own.
_parsed: dict[tuple[Path, str], bytes] = {}


def run_dbt(command: Sequence[str], warehouse: Path, scratch: Path, as_of: date, known_at: datetime, names: Mapping[str, object],
            project: Path = PROJECT) -> dbtRunnerResult:
    """One dbt command as of a night; `names` are vars. What cannot be parsed is the result of the command."""
    os.environ |= {"CROSSFOOT_WAREHOUSE": str(warehouse), "CROSSFOOT_AS_OF": as_of.isoformat(),
                   "CROSSFOOT_KNOWN_AT": known_at.isoformat(timespec="microseconds")}
    fixed = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(scratch / "target"),
             "--log-path", str(scratch / "logs"), "--quiet", "--vars", json.dumps(names)]
    key = (project, json.dumps(names))
    if key not in _parsed:
        kept = SHARED / f"{transform.fingerprint(*key)}.msgpack"
        if not kept.exists():
            parsed = dbtRunner().invoke(["parse", *fixed])
            if not parsed.success:
                return parsed
            _keep(scratch / "target" / "partial_parse.msgpack", kept)
        _parsed[key] = kept.read_bytes()
    return dbtRunner(Manifest.from_msgpack(_parsed[key])).invoke([*command, *fixed, "--no-write-json", "--log-level-file", "error"])


def share_parse(chosen: Settings) -> None:
    """Puts the project, parsed for these settings by whichever test was first, where a build of theirs looks for it."""
    own = transform.kept_parse(chosen)
    kept = SHARED / own.name
    if own.exists():
        return
    if kept.exists():
        _keep(kept, own)
    else:
        transform.prepare(chosen)
        if own.exists():
            _keep(own, kept)


def _keep(made: Path, kept: Path) -> None:
    """A copy that is whole or not there: several processes may make it at once."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(f".{os.getpid()}")
    shutil.copyfile(made, fresh)
    os.replace(fresh, kept)


def messages_of(result: dbtRunnerResult) -> str:
    """What went wrong, one line for each node."""
    if result.exception:
        return str(result.exception)
    return "\n".join(f"{row.node.name}: {row.message}" for row in result.result if row.status not in ("pass", "success"))
