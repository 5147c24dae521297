"""The parsed dbt project that is kept from one night to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import settings, transform
from pipelines.settings import Settings
from pipelines.vendors import VENDORS


def configured(folder: Path, text: str = "") -> Settings:
    config = folder / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n{text}', encoding="utf-8")
    return settings.load(VENDORS, config=config, data_dir=folder / "data")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: nothing parsed is remembered."""
    monkeypatch.setattr(transform, "_parsed", {})


@pytest.mark.usefixtures("forgetful")
def test_a_project_is_parsed_once_and_again_where_what_is_kept_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, asked, dbt = configured(tmp_path), [], transform._dbt
    monkeypatch.setattr(transform, "_dbt", lambda given, command, *more: asked.append(command) or dbt(given, command, *more))
    for written, times in ((None, 1), (None, 1), (b"half of it", 2), (b"", 3)):
        transform._parsed.clear()
        if written is not None:
            transform.kept_parse(chosen).write_bytes(written)
        assert transform._manifest(chosen, transform.variables(chosen)).nodes
        assert asked == [["parse"]] * times


def test_what_is_kept_is_of_these_files_and_vars(tmp_path: Path) -> None:
    project = tmp_path / "dbt_project"
    (project / "models" / "marts").mkdir(parents=True)
    model = project / "models" / "marts" / "one.sql"
    model.write_text("select 1 as one", encoding="utf-8")
    first = transform.fingerprint(project, "{}")
    assert transform.fingerprint(project, "{}") == first
    assert transform.fingerprint(project, '{"tolerance": "1"}') != first
    model.write_text("select 2 as one", encoding="utf-8")
    second = transform.fingerprint(project, "{}")
    model.rename(model.with_name("two.sql"))
    assert len({first, second, transform.fingerprint(project, "{}")}) == 3
    assert transform.kept_parse(configured(tmp_path)) != transform.kept_parse(configured(tmp_path, '[status]\ntolerance = "0.02"\n'))
