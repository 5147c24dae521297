"""The house: a vendor is a folder, imports point down, no step reads the clock. Each test names what is missing or wrong."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from pipelines.vendors import VENDORS

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "dbt_project" / "models"
# The canonical objects that each side's staging has to offer (dbt_project/macros/canonical.sql declares their columns).
STAGED = {
    "crm": ("accounts", "account_customer_ids", "contacts", "owners", "deals", "deal_lines", "deal_invoice_references", "rates"),
    "ledger": ("customers", "documents", "document_lines", "payments", "applications", "control_totals", "rates"),
}
# What stands above what: a module may import from the rooms after its own, never from those before.
ROOMS = ("flows", "pipelines.report", "pipelines.writeback", "pipelines.vendors")
LOWEST = {"pipelines.card", "pipelines.settings", "pipelines.http", "pipelines.landing"}
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


def missing_rooms(slug: str) -> list[str]:
    """What a vendor's folders lack, one sentence each."""
    card = VENDORS[slug]
    folder = ROOT / "pipelines" / "vendors" / slug
    wanted = {"source": ("TABLES", "connect", "source", "check"), "sandbox": ("Sandbox",)}
    wanted |= {"crm": ("CRM",)} if card.side == "crm" else {}
    lacks = []
    for name, parts in wanted.items():
        if not (folder / f"{name}.py").is_file():
            lacks.append(f"{slug}: pipelines/vendors/{slug}/{name}.py")
            continue
        module = importlib.import_module(f"pipelines.vendors.{slug}.{name}")
        lacks += [f"{slug}: {part} in {name}.py" for part in parts if not hasattr(module, part)]
    staging = MODELS / "staging" / slug
    lacks += [f"{slug}: models/staging/{slug}/stg_{slug}__{name}.sql" for name in STAGED[card.side]
              if not (staging / f"stg_{slug}__{name}.sql").is_file()]
    if card.side == "crm" and not lacks:
        objects = importlib.import_module(f"pipelines.vendors.{slug}.crm").CRM.objects
        lacks += [f"{slug}: models/activation/{slug}/sync_{slug}__{name}.sql" for name in objects
                  if not (MODELS / "activation" / slug / f"sync_{slug}__{name}.sql").is_file()]
    project = (ROOT / "dbt_project" / "dbt_project.yml").read_text(encoding="utf-8")
    return lacks + ([] if re.search(rf"\b{slug}\b", project) else [f"{slug}: its line in dbt_project.yml"])


@pytest.mark.parametrize("slug", VENDORS)
def test_a_vendors_folder_lacks_nothing(slug):
    assert missing_rooms(slug) == []


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


def test_imports_point_down():
    def rank(module: str) -> int:
        if any(module == low or module.startswith(f"{low}.") for low in LOWEST):
            return len(ROOMS) + 1
        return next((number for number, room in enumerate(ROOMS) if module == room or module.startswith(f"{room}.")), -1)

    wrong = []
    for path in python_files("pipelines/vendors", "pipelines/writeback") + [ROOT / f"{name.replace('.', '/')}.py" for name in LOWEST]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        own = ".".join(part for part in parts if part != "__init__")
        wrong += [f"{own} imports {name}" for name in imports(path)
                  if -1 < rank(name) < rank(own) and not (own.startswith("pipelines.vendors") and ".sandbox" in name)]
    assert wrong == []


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
