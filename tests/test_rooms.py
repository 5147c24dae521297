"""The house: a vendor is a folder, imports point down, no step reads the clock. Each test names what is missing or wrong."""

import ast
import importlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.sandbox.server import Sandbox
from pipelines.vendors import VENDORS
from pipelines.vendors.crm_types import Crm

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "dbt_project" / "models"
# The canonical objects that each side's staging has to offer (dbt_project/macros/canonical.sql declares their columns).
STAGED = {
    "crm": ("accounts", "account_customer_ids", "account_merges", "contacts", "owners", "deals", "deal_lines",
            "deal_invoice_references", "rates"),
    "ledger": ("customers", "documents", "document_lines", "payments", "applications", "control_totals", "closing_dates", "not_read",
               "rates"),
    "rates": ("rates",),
}
# What each file of a vendor offers; `source.py` may offer `forecast` as well.
OFFERED = {"source": ("TABLES", "connect", "source", "check"), "sandbox": ("Sandbox",), "crm": ("CRM",)}
# The floors of the house, the highest first: a module imports from its own floor and from those below. A name stands for the module
# or package below `pipelines` and for the parts that are named after it (`http` for `http_pace` as well).
FLOORS: tuple[tuple[str, ...], ...] = (
    ("flows",),
    ("acceptance", "conclude", "doctor", "outcome", "query", "report", "review"),
    ("night",),
    ("explain", "extract", "fingerprint", "guard", "publish", "tieout", "transform", "writeback"),
    ("vendors",),
    ("landing", "oauth"),
    ("http", "warehouse"),
    ("card", "credentials", "cron", "environment", "folder", "foreign", "money", "network", "private", "redaction", "settings"),
)
# It stands beside the house: only vendors' sandboxes and the command may enter.
SANDBOX = "pipelines.sandbox"
CLOCK = re.compile(r"datetime\.now|date\.today|time\.time\(|utcnow|current_date|current_timestamp|\bnow\(\)\s+as\b", re.IGNORECASE)
CLOCK_ALLOWED = {"flows/when.py"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def bound(body: Iterable[ast.stmt]) -> dict[str, ast.AST]:
    """The names that the statements of a module or class bind, and what to."""
    found: dict[str, ast.AST] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node.value or node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name: node for alias in node.names}
    return found


def names_of(path: Path) -> dict[str, ast.AST]:
    """What a module binds. It is read, not run: a vendor may be looked at that is not of this installation."""
    return bound(ast.parse(path.read_text(encoding="utf-8")).body)


def card_of(path: Path) -> dict[str, Any]:
    """The side and the objects of the CARD in a vendor's __init__.py; empty without one."""
    card = names_of(path).get("CARD") if path.is_file() else None
    given = {word.arg: word.value for word in card.keywords} if isinstance(card, ast.Call) else {}
    return {name: ast.literal_eval(given[name]) for name in ("side", "objects") if name in given}


def lacking_parts(path: Path, offered: Iterable[str]) -> list[str]:
    """What a file of a vendor does not offer, and what its class for the sandbox or the CRM cannot do."""
    names, protocols = names_of(path), {"Sandbox": Sandbox, "CRM": Crm}
    lacks = [part for part in offered if part not in names]
    for part in set(offered) & set(protocols) & set(names):
        made = names[part]
        made = names.get(made.id) if isinstance(made, ast.Name) else made
        if isinstance(made, ast.ClassDef):
            wanted = {*protocols[part].__annotations__, *(name for name in vars(protocols[part]) if not name.startswith("_"))}
            lacks += sorted(f"{part}.{name}" for name in wanted - set(bound(made.body)))
    return [f"{part} in {path.name}" for part in lacks]


def described(path: Path) -> set[str]:
    """The models, and the tables of sources, that a YAML file of dbt describes."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    listed = [*content.get("models", ()), *(table for one in content.get("sources", ()) for table in one["tables"])]
    return {one["name"] for one in listed if one.get("description")}


def rooms(slug: str, side: str | None) -> list[str]:
    """The files of a vendor, as far as they do not depend on what it calls its objects."""
    folder, staging, activation = (f"{room}/{slug}" for room in (
        "pipelines/vendors", "dbt_project/models/staging", "dbt_project/models/activation"))
    crm = [f"{folder}/crm.py", f"{activation}/sync_{slug}.yml", f"dbt_project/tests/{slug}/assert_activation_covers_{slug}.sql"]
    return [
        # A table of rates is a file, which no sandbox has to answer for.
        *(f"{folder}/{name}.py" for name in ("__init__", "source", "sandbox") if (name, side) != ("sandbox", "rates")),
        *(crm if side == "crm" else []),
        *(f"{staging}/stg_{slug}__{name}.sql" for name in STAGED.get(side or "", ())),
        *(f"{staging}/{slug}_{name}.yml" for name in ("sources", "models")),
    ]


def missing_rooms(slug: str, root: Path = ROOT) -> list[str]:
    """What the vendor's folders below `root` lack, one sentence each."""
    folder, staging = root / "pipelines" / "vendors" / slug, root / "dbt_project" / "models" / "staging" / slug
    card = card_of(folder / "__init__.py")
    lacks = [name for name in rooms(slug, card.get("side")) if not (root / name).is_file()]
    if (folder / "__init__.py").is_file() and not card:
        lacks.append("CARD in __init__.py")
    for name, offered in OFFERED.items():
        if (folder / f"{name}.py").is_file():
            lacks += lacking_parts(folder / f"{name}.py", offered)
    for part, wanted in (("sources", set(card.get("objects", ()))), ("models", {path.stem for path in staging.glob("*.sql")})):
        path = staging / f"{slug}_{part}.yml"
        lacks += [f"{name} in {path.name}" for name in sorted(wanted - described(path))] if path.is_file() else []
    lines = names_of(root / "pipelines" / "vendors" / "__init__.py")["VENDORS"]
    lacks += [] if slug in [key.value for key in lines.keys] else ["its line in VENDORS of pipelines/vendors/__init__.py"]
    return [f"{slug}: {one}" for one in lacks]


def test_every_folder_of_a_vendor_is_in_the_list():
    folders = [path.name for path in (ROOT / "pipelines" / "vendors").iterdir() if path.is_dir() and not path.name.startswith("_")]
    assert sorted(folders) == sorted(VENDORS)


@pytest.mark.parametrize("slug", VENDORS)
def test_a_vendors_folder_lacks_nothing(slug):
    assert missing_rooms(slug) == []


@pytest.mark.parametrize("slug", [slug for slug, card in VENDORS.items() if card.side == "crm"])
def test_every_object_of_a_crm_is_activated(slug):
    objects = importlib.import_module(f"pipelines.vendors.{slug}.crm").CRM.objects
    models = {path.stem for path in (MODELS / "activation" / slug).glob("*.sql")}
    assert models == {f"sync_{slug}__{name}" for name in objects} == described(MODELS / "activation" / slug / f"sync_{slug}.yml")


@pytest.mark.parametrize("slug", VENDORS)
def test_a_card_lists_the_tables_that_the_source_lands(slug):
    source = importlib.import_module(f"pipelines.vendors.{slug}.source")
    assert sorted(VENDORS[slug].objects) == sorted(source.TABLES)
    assert [name for name, table in source.TABLES.items() if table.name != name] == []


def test_no_other_file_mentions_a_vendor():
    allowed = {ROOT / "pipelines" / "vendors" / "__init__.py", ROOT / "dbt_project" / "dbt_project.yml"}
    slugs = re.compile("|".join(VENDORS), re.IGNORECASE)
    files = [*python_files("pipelines", "flows"), *(ROOT / "dbt_project").rglob("*.sql"), *(ROOT / "dbt_project").rglob("*.yml")]
    own = [path for path in files if set(path.relative_to(ROOT).parts) & set(VENDORS)]
    others = [path for path in files if path not in own and path not in allowed and "target" not in path.parts]
    assert [str(path.relative_to(ROOT)) for path in others if slugs.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("path", python_files("pipelines"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_work_imports_no_orchestration(path):
    names = {name.split(".")[0] for name in imports(path)}
    assert names & {"prefect", "flows"} == set()


def floor_of(module: str) -> int | None:
    """The number of a module's floor, 0 the highest; None for a module that is in no rule."""
    first, _, below = module.partition(".")
    name = first if first == "flows" else below.partition(".")[0]
    return next((number for number, names in enumerate(FLOORS) for one in names if name == one or name.startswith(f"{one}_")), None)


def wrong_imports(house: Mapping[str, set[str]]) -> list[str]:
    """What is wrong with a house of {module: what it imports}: modules in no rule, and imports that point up or into the sandbox."""
    wrong = []
    for module, found in house.items():
        is_sandbox = module.startswith(SANDBOX) or (module.startswith("pipelines.vendors.") and ".sandbox" in module)
        if not module.startswith(SANDBOX) and floor_of(module) is None:
            wrong.append(f"{module} is on no floor")
            continue
        for name in sorted(one for one in found if one.startswith(("pipelines.", "flows."))):
            if name.startswith(SANDBOX):
                wrong += [] if is_sandbox or module.startswith("flows.cli") else [f"{module} imports {name}"]
            elif not is_sandbox and (floor := floor_of(name)) is not None and floor < floor_of(module):
                wrong.append(f"{module} imports {name}")
    return wrong


def module_of(path: Path) -> str:
    return ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__")


def test_every_module_has_a_floor_and_imports_point_down():
    house = {module_of(path): imports(path) for path in python_files("pipelines", "flows")}
    house = {module: found for module, found in house.items() if "." in module}  # the two packages themselves hold nothing
    assert len(house) > 100
    assert wrong_imports(house) == []


@pytest.mark.parametrize("module, imported, wrong", [
    ("pipelines.transform", "pipelines.report", ["pipelines.transform imports pipelines.report"]),
    ("pipelines.settings_kinds", "pipelines.http", ["pipelines.settings_kinds imports pipelines.http"]),
    ("pipelines.vendors.xero.rows", "pipelines.writeback.plan", ["pipelines.vendors.xero.rows imports pipelines.writeback.plan"]),
    ("pipelines.vendors.xero.rows", "pipelines.sandbox.world", ["pipelines.vendors.xero.rows imports pipelines.sandbox.world"]),
    ("pipelines.night", "flows.when", ["pipelines.night imports flows.when"]),
    ("pipelines.newcomer", "pipelines.settings", ["pipelines.newcomer is on no floor"]),
    ("pipelines.vendors.xero.sandbox_render", "pipelines.sandbox.world", []),
    ("pipelines.report.build", "pipelines.outcome", []),
    ("flows.cli.steps", "pipelines.sandbox.server", []),
])  # fmt: skip
def test_operations_13_an_import_that_points_up_or_a_file_in_no_rule_is_named(module, imported, wrong):
    assert wrong_imports({module: {imported, "json"}}) == wrong


def test_no_step_reads_the_clock():
    wrong = []
    for path in [*python_files("pipelines", "flows"), *(ROOT / "dbt_project").rglob("*.sql")]:
        name = str(path.relative_to(ROOT))
        if name not in CLOCK_ALLOWED and CLOCK.search(path.read_text(encoding="utf-8")):
            wrong.append(name)
    assert wrong == []


def test_no_model_hides_its_columns_across_vendors():
    unions = sorted((MODELS / "intermediate").glob("int_*__unioned.sql"))
    assert unions
    assert [path.name for path in unions if re.search(r"select\s+\*|union\s+all\s+by\s+name", path.read_text(), re.IGNORECASE)] == []
