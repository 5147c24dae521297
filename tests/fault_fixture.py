"""One night over hand-written vendor records: served by the sandbox, extracted over HTTP, built, nothing planned.

Known faults share such nights: a module writes the smallest records of several faults, each with ids of its own, into one
folder and asks the marts of one build.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dbt_fixture import share_parse
from extract_fixture import FAST
from night_fixture import models_alone
from sandbox_fixture import running_sandbox

from flows import when
from pipelines import night as steps
from pipelines import settings, transform
from pipelines.extract import Receipt
from pipelines.sandbox.world import make_world
from pipelines.vendors import VENDORS

AS_OF = date(2026, 6, 30)
KNOWN_AT = datetime.fromisoformat("2026-07-01T02:00:00+00:00")
Records = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]


class FaultNight:
    """A built night; `records` is {vendor: {raw table: [record as the vendor's list endpoint returns it]}}."""

    def __init__(self, folder: Path, records: Records, *, base: str = "USD", as_of: date = AS_OF, known_at: datetime = KNOWN_AT,
                 config: str = "", tests: bool = True) -> None:
        served = folder / "records"
        for vendor, objects in records.items():
            (served / vendor).mkdir(parents=True, exist_ok=True)
            for name, lines in objects.items():
                text = "".join(json.dumps(line) + "\n" for line in lines)
                (served / vendor / f"{name}.jsonl").write_text(text, encoding="utf-8")
        crms = [slug for slug in records if VENDORS[slug].side == "crm"]
        ledgers = [slug for slug in records if VENDORS[slug].side == "ledger"]
        path = folder / "crossfoot.toml"
        path.write_text(f'profile = "sandbox"\n[company]\nbase_currency = "{base}"\n[vendors]\ncrms = {json.dumps(crms)}\n'
                        f"ledgers = {json.dumps(ledgers)}\n{FAST}{config}", encoding="utf-8")
        with running_sandbox(make_world(), records=served, rate_limits=False) as url:
            chosen = settings.load(VENDORS, config=path, data_dir=folder / "data", environment={settings.SANDBOX_URL_VARIABLE: url})
            share_parse(chosen)
            self.settings = chosen
            night = steps.Night(chosen, as_of, known_at, when.now)
            self.receipts: tuple[Receipt, ...] = tuple(steps.extract_vendors(night, chosen.sources))
            with pytest.MonkeyPatch.context() as patch:
                if not tests:
                    patch.setattr(transform, "build", models_alone)
                self.nodes = steps.build(night)
        self.path = folder / "data" / "warehouse.duckdb"

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the warehouse as dicts of column to value; marts need no schema."""
        with duckdb.connect(str(self.path), read_only=True) as connection:
            connection.execute("SET timezone = 'UTC'")
            connection.execute("SET search_path = 'marts,intermediate,staging'")
            result = connection.execute(sql, values)
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def account(self, account_id: str) -> dict[str, Any]:
        """The account's row of account_status."""
        return self._one("SELECT * FROM account_status WHERE account_id = ?", account_id)

    def deal(self, deal_id: str) -> dict[str, Any]:
        """The deal's row of fct_deal_reconciliation."""
        return self._one("SELECT * FROM fct_deal_reconciliation WHERE deal_id = ?", deal_id)

    def bridge(self, deal_id: str) -> dict[str, Any]:
        """{cause: amount in base} of the deal."""
        rows = self.rows("SELECT cause, amount_base FROM fct_deal_variance_bridge WHERE deal_id = ?", deal_id)
        return {row["cause"]: row["amount_base"] for row in rows}

    def exceptions(self, record_id: str) -> set[str]:
        """The kinds of exception that name the record, itself or beside another."""
        rows = self.rows("SELECT kind FROM rpt_exceptions WHERE record_id = ? OR related_id = ?", record_id, record_id)
        return {row["kind"] for row in rows}

    def _one(self, sql: str, key: str) -> dict[str, Any]:
        rows = self.rows(sql, key)
        assert len(rows) == 1, f"{len(rows)} rows for {key}"
        return rows[0]
