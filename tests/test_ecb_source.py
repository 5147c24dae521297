"""The ECB's table of rates: what is read of the file, what lands of it on later nights, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from extract_fixture import DAY, NIGHT, MemoryTokens, collect
from test_dbt_models import NEXT_NIGHT

from pipelines import extract, landing, settings
from pipelines.landing import Job
from pipelines.vendors import VENDORS
from pipelines.vendors.ecb import source

RECORDED = Path(__file__).parents[1].parent / "shared" / "recorded" / "ecb" / "eurofxref-hist.csv"
HEADER = "Date,USD,JPY,RUB,"
FRIDAY, MONDAY = "2026-05-01,1.1252,163.36,N/A,", "2026-05-04,1.1300,163.0,,"


def sheet(folder: Path, *lines: str, end: str = "\n") -> Path:
    path = folder / "rates.csv"
    path.write_text(end.join(lines) + end, encoding="utf-8", newline="")
    return path


def configured(folder: Path, file: Path | str = "rates.csv") -> settings.Settings:
    config = folder / "crossfoot.toml"
    config.write_text(f'profile = "sandbox"\n[vendors]\nrates = ["ecb"]\n[ecb]\nfile = "{file}"\n', encoding="utf-8")
    return settings.load(VENDORS, config=config, data_dir=folder / "data", environment={})


def job_of(chosen: settings.Settings, known: Mapping[str, tuple] | None = None) -> Job:
    return Job(None, chosen, DAY, NIGHT, {}, lambda table: set(), known=lambda table, columns: dict(known or {}))


def rates_of(job: Job) -> dict[str, Decimal | None]:
    return {row["id"]: row["rate"] for row in collect(source.changes(job)).get("reference_rates", [])}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_is_a_day_and_what_was_not_quoted_is_no_row(tmp_path, end):
    sheet(tmp_path, f"\ufeff{HEADER}", MONDAY, FRIDAY, "", end=end)
    rows = collect(source.changes(job_of(configured(tmp_path))))["reference_rates"]
    assert [(row["rate_date"], row["currency"], row["rate"], row["_problem"]) for row in rows] == [
        (date(2026, 5, 4), "USD", Decimal("1.13"), None), (date(2026, 5, 4), "JPY", Decimal(163), None),
        (date(2026, 5, 1), "USD", Decimal("1.1252"), None), (date(2026, 5, 1), "JPY", Decimal("163.36"), None),
    ]  # fmt: skip


def test_only_what_is_new_or_was_corrected_lands(tmp_path):
    sheet(tmp_path, HEADER, MONDAY, FRIDAY)
    known = {"2026-05-01 USD": (Decimal("1.125200000000"),), "2026-05-01 JPY": (Decimal("163.40"),)}
    assert rates_of(job_of(configured(tmp_path), known)) == {
        "2026-05-04 USD": Decimal("1.13"), "2026-05-04 JPY": Decimal(163), "2026-05-01 JPY": Decimal("163.36"),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["one", "-1", "0", "NaN", "1_000", "9e99"])
def test_a_rate_that_is_none_is_a_row_with_its_problem_and_the_rest_goes_on(tmp_path, text):
    sheet(tmp_path, HEADER, f"2026-05-01,{text},163.36,N/A,")
    job = job_of(configured(tmp_path))
    assert rates_of(job) == {"2026-05-01 USD": None, "2026-05-01 JPY": Decimal("163.36")}
    assert len(job.notes) == 1 and job.notes[0].startswith("ecb: line 2: USD: ")


@pytest.mark.parametrize("lines", [["<html>"], ["Date,USD,USD,"], ["Date,"], ["Day,USD,"], ["Date,usd,"]])
def test_a_file_of_another_form_is_refused_with_its_name(tmp_path, lines):
    path = sheet(tmp_path, *lines)
    (finding,) = source.check(source.connect(configured(tmp_path), MemoryTokens()), configured(tmp_path))
    assert str(path) in finding and "[ecb] file" in finding


def test_the_doctor_names_a_file_that_is_missing_not_configured_empty_or_no_text(tmp_path):
    def finding(file: str) -> str:
        return "; ".join(source.check(None, configured(tmp_path, file)))

    assert "nowhere.csv cannot be read" in finding("nowhere.csv")
    assert "[ecb] file is empty" in finding("")
    sheet(tmp_path, HEADER)
    assert "holds no rates" in finding("rates.csv")
    (tmp_path / "rates.csv").write_bytes(b"Date,USD,\n2026-05-01,\xff\xfe,\n")
    assert "cannot be read" in finding("rates.csv")
    sheet(tmp_path, HEADER, FRIDAY)
    assert finding("rates.csv") == ""


def test_a_known_table_of_rates_is_configured_and_another_is_refused(tmp_path):
    assert configured(tmp_path).sources == ("hubspot", "quickbooks", "ecb")
    config = tmp_path / "crossfoot.toml"
    config.write_text('[vendors]\nrates = ["hubspot"]\n', encoding="utf-8")
    with pytest.raises(settings.ConfigurationError, match=r"\[vendors\] rates names 'hubspot'; the known ones are ecb"):
        settings.load(VENDORS, config=config, environment={})


def test_nights_append_and_call_nobody(tmp_path):
    chosen = configured(tmp_path)
    sheet(tmp_path, HEADER, FRIDAY)

    def night(known_at) -> extract.Receipt:
        return extract.extract("ecb", chosen, as_of=DAY, known_at=known_at, tokens=MemoryTokens())

    first = night(NIGHT)
    assert (first.status, first.calls, first.rows) == ("complete", {}, {"reference_rates": 2})
    sheet(tmp_path, HEADER, MONDAY)  # what left the file stays in the warehouse
    assert night(NEXT_NIGHT).rows == {"reference_rates": 2}
    with landing.connect(chosen.warehouse) as connection:
        found = connection.execute("SELECT id, _deleted FROM raw_ecb.reference_rates ORDER BY id").fetchall()
    assert found == [(f"{day} {currency}", False) for day in ("2026-05-01", "2026-05-04") for currency in ("JPY", "USD")]
    (tmp_path / "rates.csv").unlink()
    with pytest.raises(extract.ExtractFailed, match="cannot be read"):
        night(NEXT_NIGHT.replace(day=3))


def test_the_recorded_table_loads_without_a_problem(tmp_path):
    if not RECORDED.exists():
        pytest.skip("the recorded table is not beside this repository")
    rows = collect(source.changes(job_of(configured(tmp_path, RECORDED))))["reference_rates"]
    assert {row["_problem"] for row in rows} == {None}
    by_id = {row["id"]: row["rate"] for row in rows}
    assert len(by_id) == len(rows) == sum(
        cell not in ("", "N/A") for line in RECORDED.read_text().splitlines()[1:] for cell in line.split(",")[1:]
    )
    assert (by_id["2025-05-09 USD"], by_id["2025-05-09 JPY"]) == (Decimal("1.1252"), Decimal("163.36"))
    assert "2025-05-09 RUB" not in by_id and "2025-05-10 USD" not in by_id
