"""Whole nights against a sandbox: a first night that is extracted and built once, and what the CRM and the marts hold."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt_fixture import MODELS_ALONE, share_parse
from sandbox_fixture import Portal, control, running_sandbox

from flows import cli, when
from pipelines import night as steps
from pipelines import publish, settings, transform
from pipelines.extract import Receipt
from pipelines.sandbox.world import World, make_world
from pipelines.settings import Settings
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import ACCOUNT_FIELDS, DEAL_FIELDS, to_text
from pipelines.vendors.hubspot import VERSION
from pipelines.vendors.hubspot import sandbox as hubspot
from pipelines.vendors.quickbooks import sandbox as quickbooks
from pipelines.vendors.quickbooks.sandbox_render import dumps
from pipelines.vendors.quickbooks.sandbox_table import record_of
from pipelines.writeback import setup
from pipelines.writeback.apply import ApplyResult
from pipelines.writeback.plan import Plan

OBJECTS = f"/crm/objects/{VERSION}"
# Fields whose whole value is Crossfoot's; ids are kept by people too.
FIELDS = {"companies": tuple(field for field in ACCOUNT_FIELDS if field.type != "ids"), "deals": DEAL_FIELDS}
FAST = '[network]\nattempts = 2\nretry_base_seconds = 0.001\ntimeout_seconds = 20\n'
# For a first night that is not to wait for its approval.
APPROVED = FAST + '[writeback]\nmax_change_share = 1\n'
SANDBOX_SECRETS = tuple(secret.sandbox for card in VENDORS.values() for secret in card.secrets if "token" in secret.name or
                        "secret" in secret.name)
# Runs the command line in a process of its own, which says at its end what it has loaded.
PROBE = """
import atexit, sys
atexit.register(lambda: print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr))
from flows.cli import main
main()
"""
_first: dict[str, Path | list[Ran]] = {}


@dataclass(frozen=True)
class Ran:
    """How a command ended: exit code, standard output and error, and the packages that it had loaded."""

    code: int
    out: str
    err: str
    loaded: frozenset[str]


@dataclass(frozen=True)
class Ended:
    """How a command ended that ran in this process."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document that standard output holds."""
        return json.loads(self.out)


def command_here(monkeypatch: Any, capsys: Any, *arguments: object) -> Ended:
    """The crossfoot command in this process; it finds the environment and the folder as they are."""
    monkeypatch.setattr(sys, "argv", ["crossfoot", *map(str, arguments)])
    capsys.readouterr()
    try:
        cli.main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    out, err = capsys.readouterr()
    return Ended(code, out, err)


def environment(url: str | None = None, **variables: str) -> dict[str, str]:
    """What a new process needs, and nothing of what this one happens to have."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    sandbox = {settings.SANDBOX_URL_VARIABLE: url} if url else {}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[1]), **sandbox, **variables}


def crossfoot(*arguments: object, at: Path, url: str | None = None, **variables: str) -> Ran:
    """The crossfoot command in a new process, in the folder `at`, with a small environment."""
    done = subprocess.run([sys.executable, "-c", PROBE, *map(str, arguments)], cwd=at, env=environment(url, **variables),
                          text=True, capture_output=True, timeout=180, check=False)
    told = [line for line in done.stderr.splitlines() if line.startswith("LOADED ")]
    shown = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("LOADED "))
    return Ran(done.returncode, done.stdout, shown, frozenset(told[-1].split()[1:]) if told else frozenset())


def first_night(factory: Any) -> Path:
    """A data folder after `crossfoot extract` and `crossfoot build` of the first day, nothing written; made once, by
    whichever of the test processes needs it first."""
    if "data" not in _first:
        together = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
        folder = together / "first-night"
        with (together / "first-night.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "ran.json").exists():
                _make_first_night(folder)
        told = json.loads((folder / "ran.json").read_text(encoding="utf-8"))
        _first["ran"] = [Ran(**(one | {"loaded": frozenset(one["loaded"])})) for one in told]
        _first["data"] = folder / "data"
    return _first["data"]


def _make_first_night(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    share_parse(settings.load(VENDORS, data_dir=folder / "data"))
    with running_sandbox(make_world(), rate_limits=False) as url:
        ran = [crossfoot("--data-dir", folder / "data", "--json", step, at=folder, url=url) for step in ("extract", "build")]
    for one in ran:
        assert one.code == 0, f"{one.out}\n{one.err}"
    # The tokens in this journal were rotated by a sandbox that is gone.
    for name in ("journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm"):
        (folder / "data" / name).unlink(missing_ok=True)
    told = [vars(one) | {"loaded": sorted(one.loaded)} for one in ran]
    (folder / "ran.json").write_text(json.dumps(told), encoding="utf-8")


def published_night(factory: Any) -> Path:
    """The published file of the first night; made once."""
    if "published" not in _first:
        folder = factory.mktemp("published-night")
        shutil.copyfile(first_night(factory) / "warehouse.duckdb", folder / "warehouse.duckdb")
        chosen = settings.load(VENDORS, data_dir=folder)
        night = steps.built(chosen)
        _first["published"] = publish.publish(chosen, night.as_of, night.known_at)
    return _first["published"]


def commands_of_first_night(factory: Any) -> list[Ran]:
    """How `extract` and `build` of the first night ended."""
    first_night(factory)
    return _first["ran"]


@dataclass(frozen=True)
class Told:
    """A night as it was run: what was heard, planned and written."""

    night: steps.Night
    receipts: tuple[Receipt, ...]
    plan: Plan
    path: Path
    applied: ApplyResult | None


@dataclass
class House:
    """A sandbox and a data folder, with the steps of a night between them."""

    url: str
    folder: Path
    world: World
    config: str = FAST

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def settings(self) -> Settings:
        path = self.folder / "crossfoot.toml"
        path.write_text(f'profile = "sandbox"\n{self.config}', encoding="utf-8")
        return settings.load(VENDORS, config=path, data_dir=self.data, environment={settings.SANDBOX_URL_VARIABLE: self.url})

    @property
    def crms(self) -> dict[str, Any]:
        return steps.connect_crms(self.settings)

    def environment(self) -> dict[str, str]:
        """For a command in a process of its own."""
        return environment(self.url)

    def portal(self) -> Portal:
        return Portal(self.url)

    def create_fields(self) -> None:
        for crm in self.crms.values():
            setup.create(crm)

    def built_night(self, config: str | None = None) -> steps.Night:
        """The night that the models are of."""
        self.config = self.config if config is None else config
        built = steps.built(self.settings)
        return steps.Night(self.settings, built.as_of, built.known_at, when.now)

    def hear(self, night: steps.Night) -> tuple[Receipt, ...]:
        """Every vendor, the failed ones too."""
        share_parse(night.settings)
        return tuple(steps.extract_vendors(night, night.settings.sources))

    def write(self, night: steps.Night, receipts: tuple[Receipt, ...] = (), *, apply: bool = True) -> Told:
        """Guard, plan and, where no guard forbids it, apply. A plan above the limits is approved, as a first one has to be."""
        plan, path = steps.make_plan(night, self.crms, steps.guard_blocks(night))
        applied = None
        if apply and not plan.guard_blocks:
            applied = steps.apply_saved(night, path) if plan.limit_blocks else steps.apply_night(night, plan, self.crms)
        return Told(night, receipts, plan, path, applied)

    def whole_night(self, *, tests: bool = True) -> Told:
        """Extract, build, guard, plan, apply."""
        night = when.tonight(self.settings)
        receipts = self.hear(night)
        self.build(night, tests=tests)
        return self.write(night, receipts)

    def build(self, night: steps.Night, *, tests: bool = True) -> None:
        """Builds the night; without dbt's own tests where the same models have passed them already."""
        with pytest.MonkeyPatch.context() as patch:
            if not tests:
                patch.setattr(transform, "build", models_alone)
            steps.build(night)

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the warehouse as dicts of column to value."""
        with duckdb.connect(str(self.data / "warehouse.duckdb")) as connection:
            connection.execute("SET timezone = 'UTC'")
            result = connection.execute(sql, values)
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def change(self, sql: str, *values: Any) -> None:
        """Changes the warehouse by hand, where a test wants other numbers without building them."""
        with duckdb.connect(str(self.data / "warehouse.duckdb")) as connection:
            connection.execute(sql, values)

    def exports(self) -> dict[str, str]:
        """account_status and every fct_ mart as ordered text."""
        names = [row["table_name"] for row in self.rows(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'marts' AND (table_name LIKE 'fct!_%' ESCAPE '!' "
            "OR table_name = 'account_status') ORDER BY 1")]
        return {name: "\n".join(str(row) for row in self.rows(f'SELECT columns(*)::varchar FROM marts."{name}" ORDER BY ALL'))
                for name in names}

    def answers(self) -> dict[str, Any]:
        return control(self.url, "GET", "answers")

    def advance(self) -> None:
        control(self.url, "POST", "advance", {"days": 1})

    def fault(self, vendor: str, kind: str, **more: Any) -> None:
        control(self.url, "POST", "faults", {"vendor": vendor, "kind": kind, **more})

    def calls(self, vendor: str = "hubspot") -> list[dict[str, Any]]:
        return [call for call in control(self.url, "GET", "requests") if call["vendor"] == vendor]

    def forget(self) -> None:
        """Ends every fault and clears the log of calls."""
        control(self.url, "DELETE", "faults")
        control(self.url, "DELETE", "requests")

    def writes(self) -> list[str]:
        """Calls that wrote to HubSpot since the log was cleared."""
        return writes(self.calls())

    def fields_of(self, object: str) -> dict[str, dict[str, str | None]]:
        """Crossfoot's fields of every live record, as HubSpot has them; an emptied field is null."""
        return fields_of(self.portal(), object)

    def tasks(self) -> list[dict[str, Any]]:
        return tasks_of(self.portal())

    def state(self) -> tuple[Any, Any]:
        """All that Crossfoot may have changed in the CRM."""
        return {name: self.fields_of(name) for name in FIELDS}, self.tasks()

    def edit(self, object: str, record_id: str, **values: str) -> None:
        """What a person does to a record in the CRM."""
        properties = {f"crossfoot_{name}": value for name, value in values.items()}
        answer = self.portal().call("PATCH", f"{OBJECTS}/{object}/{record_id}", {"properties": properties})
        assert answer.status_code == 200, answer.text


def models_alone(*night: Any, choice: Sequence[str] = ()) -> list[transform.Node]:
    """`transform.build` without the tests, or what of the models is chosen by dbt's options."""
    command = ["build", *MODELS_ALONE, *transform.configured(night[0]), *choice]
    return transform.invoke(night[0], command, *night[1:])


@contextmanager
def house(folder: Path, *, world: World | None = None, data: Path | None = None, config: str = FAST,
          fields: bool = True, **options: Any) -> Iterator[House]:
    """A sandbox of `world` beside a copy of the data folder `data`; `fields` are created in its CRM."""
    world = world or make_world()
    folder.mkdir(parents=True, exist_ok=True)
    if data is not None:
        shutil.copytree(data, folder / "data", dirs_exist_ok=True, ignore=shutil.ignore_patterns("dlt", "logs", "compiled", "run"))
    with running_sandbox(world, rate_limits=False, **options) as url:
        made = House(url, folder, world, config)
        share_parse(made.settings)
        if fields:
            made.create_fields()
        yield made


def writes(calls: Iterable[Mapping[str, Any]]) -> list[str]:
    """The calls among these that change records or tasks."""
    return [f"{call['method']} {call['path']}" for call in calls
            if call["method"] in ("PATCH", "PUT", "DELETE") or call["path"].endswith("batch/update")
            or (call["method"] == "POST" and call["path"].endswith("/tasks"))]


def fields_of(portal: Portal, object: str) -> dict[str, dict[str, str | None]]:
    names = [f"crossfoot_{field.name}" for field in FIELDS[object]]
    found: dict[str, dict[str, str | None]] = {}
    for result in _pages(portal, object, names):
        properties = result["properties"]
        found[result["id"]] = {field.name: properties.get(f"crossfoot_{field.name}") or None for field in FIELDS[object]}
    return found


def tasks_of(portal: Portal) -> list[dict[str, Any]]:
    """Every task that is not deleted: id, company, status, owner, subject, body, in the order of their ids."""
    names = ["hs_task_status", "hubspot_owner_id", "hs_task_subject", "hs_task_body"]
    tasks = []
    for result in _pages(portal, "tasks", names):
        links = portal.get(f"{OBJECTS}/tasks/{result['id']}/associations/companies").json()["results"]
        properties = result["properties"]
        tasks.append({"id": result["id"], "company": [str(link["toObjectId"]) for link in links],
                      "status": properties["hs_task_status"], "owner": properties.get("hubspot_owner_id"),
                      "subject": properties["hs_task_subject"], "body": properties["hs_task_body"]})
    return tasks


def wanted_values(row: Mapping[str, Any], object: str) -> dict[str, str | None]:
    """An activation row as the CRM should hold it."""
    return {field.name: to_text(field.type, row[field.name]) for field in FIELDS[object]}


def _pages(portal: Portal, object: str, properties: list[str]) -> Iterator[dict[str, Any]]:
    after: dict[str, str] = {}
    for _ in range(100):
        answer = portal.get(f"{OBJECTS}/{object}", limit="100", properties=",".join(properties), **after)
        assert answer.status_code == 200, answer.text
        yield from answer.json()["results"]
        if "paging" not in answer.json():
            return
        after = {"after": answer.json()["paging"]["next"]["after"]}
    raise AssertionError(f"{object}: more than 100 pages")


def meddled(books: Mapping[tuple[str, str], Mapping[str, Any]], deals: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, Any]:
    """Vendors for a sandbox whose records are not what the world says: {(entity, id): fields} of QuickBooks, where None
    takes a field away, and {deal id: properties} of HubSpot."""

    class Books(quickbooks.Sandbox):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            for (entity, record_id), fields in books.items():
                table = self.state.tables[entity]
                document = {**table.records[record_id].document(), **fields}
                kept = {name: value for name, value in document.items() if value is not None}
                table.put(record_id, record_of(dumps(kept)))

    class Customers(hubspot.Sandbox):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            table = self.state.tables["deals"]
            for deal_id, values in (deals or {}).items():
                record = table.records[int(deal_id)]
                table.load([dataclasses.replace(record, values={**record.values, **values})])

    return {"hubspot": Customers, "quickbooks": Books}
