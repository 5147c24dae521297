"""Raw tables made by hand: the tables of the raw schemas in an empty warehouse, and rows in them.

The columns are those that the vendors' sources land. A row needs only the columns that matter to its test; the rest
is null, `_landed_at` is the given night, `_deleted` is false and `_problem` is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import duckdb

_MONEY = "decimal(28,6)"
_RATE = "decimal(28,12)"
_TYPES = {
    "text": "varchar",
    "money": _MONEY,
    "rate": _RATE,
    "share": "decimal(9,6)",
    "int": "bigint",
    "date": "date",
    "bool": "boolean",
    "moment": "timestamptz",
}
_DOCUMENT = (
    "id doc_number txn_date:date due_date:date customer_id currency exchange_rate:rate total:money tax:money "
    "balance:money home_total:money private_note memo email_status terms_id crm_deal_id sync_token url "
    "modified_at:moment"
)
_LINE = (
    "sync_token line_number:int line_id detail_type description item_id item_name quantity:money unit_price:money "
    "amount:money service_date:date"
)
TABLES: Mapping[str, str] = {
    "raw_hubspot.companies": "id name domain billing_email address city state zip country owner_id parent_id "
    "customer_ids merged_ids url modified_at:moment",
    "raw_hubspot.contacts": "id email first_name last_name company_id modified_at:moment",
    "raw_hubspot.owners": "id email first_name last_name archived:bool modified_at:moment",
    "raw_hubspot.deal_stages": "id pipeline_id pipeline_label label is_closed:bool probability:share display_order:int",
    "raw_hubspot.deals": "id name pipeline_id stage_id amount:money currency home_amount:money close_date:date "
    "probability:share is_won:bool is_closed:bool owner_id deal_type payment_terms contract_start:date "
    "contract_end:date invoice_numbers url modified_at:moment",
    "raw_hubspot.deal_companies": "deal_id company_id is_primary:bool",
    "raw_hubspot.deal_line_items": "deal_id line_item_id",
    "raw_hubspot.line_items": "id sku name quantity:money unit_price:money discount:money amount:money currency "
    "billing_frequency billing_start:date billing_periods:int billing_end:date term_months:int term_days:int delay_months:int "
    "delay_days:int contract_value:money modified_at:moment",
    "raw_hubspot.exchange_rates": "id from_currency to_currency rate:rate effective_at:moment",
    "raw_hubspot.company_currency": "id currency",
    "raw_quickbooks.customers": "id display_name company_name fully_qualified_name email website parent_id is_job:bool "
    "active:bool currency balance:money terms_id crm_id url modified_at:moment",
    "raw_quickbooks.invoices": _DOCUMENT,
    "raw_quickbooks.invoice_lines": f"invoice_id {_LINE}",
    "raw_quickbooks.credit_memos": _DOCUMENT.replace("due_date:date ", "").replace("email_status ", "")
    + " remaining_credit:money",
    "raw_quickbooks.credit_memo_lines": f"credit_memo_id {_LINE}",
    "raw_quickbooks.payments": "id txn_date:date customer_id currency exchange_rate:rate total:money unapplied:money "
    "private_note sync_token url modified_at:moment",
    "raw_quickbooks.payment_applications": "payment_id sync_token line_number:int amount:money txn_id txn_type",
    "raw_quickbooks.refund_receipts": "id doc_number txn_date:date customer_id currency exchange_rate:rate total:money "
    "tax:money private_note sync_token url modified_at:moment",
    "raw_quickbooks.terms": "id name due_days:int active:bool modified_at:moment",
    "raw_quickbooks.preferences": "id company_name home_currency multicurrency:bool book_close_date:date",
    "raw_quickbooks.exchange_rates": "id source_currency target_currency rate:rate as_of:date modified_at:moment",
    "raw_quickbooks.aged_receivables": "customer_id customer_name bucket_current:money bucket_1_30:money "
    "bucket_31_60:money bucket_61_90:money bucket_91_plus:money total:money report_date:date",
    "raw_ecb.reference_rates": "id rate_date:date currency rate:rate",
    "raw_crossfoot.loads": "source known_at:moment status message calls:int rows:int",
    "raw_crossfoot.nights": "as_of:date known_at:moment mart sha256",
    "raw_crossfoot.runs": "run_id kind as_of:date known_at:moment plan_id status started_at:moment "
    "finished_at:moment message",
    "raw_crossfoot.writes": "run_id system object record_id field before after outcome message recorded_at:moment",
    "raw_crossfoot.decisions": "id kind source left_id right_source right_id verdict decided_by reason "
    "decided_at:moment revoked_at:moment",
}


def columns_of(table: str) -> dict[str, str]:
    """The columns of a raw table with their DuckDB types, in order, the three stamps last."""
    pairs = (item.partition(":") for item in TABLES[table].split())
    columns = {name: _TYPES[kind or "text"] for name, _, kind in pairs}
    return columns | {"_landed_at": "timestamptz not null", "_deleted": "boolean not null", "_problem": "varchar"}


def create_raw_tables(path: Path) -> None:
    """Creates every raw table, empty, in the DuckDB file at `path`."""
    with duckdb.connect(str(path)) as connection:
        for table in TABLES:
            columns = ", ".join(f'"{name}" {type_}' for name, type_ in columns_of(table).items())
            connection.execute(f"create schema if not exists {table.split('.')[0]}")
            connection.execute(f"create table {table} ({columns})")


class RawRows:
    """Rows waiting to be landed in one night; `land` writes them all and forgets them."""

    def __init__(self, known_at: datetime) -> None:
        self.known_at = known_at
        self._rows: list[tuple[str, dict[str, object]]] = []

    def add(self, table: str, **values: object) -> None:
        """Queues one row. Raises KeyError naming a column or table that does not exist."""
        unknown = set(values) - set(columns_of(table))
        if unknown:
            raise KeyError(f"{table} has no column {', '.join(sorted(unknown))}")
        stamps = {"_landed_at": self.known_at, "_deleted": False}
        self._rows.append((table, stamps | values))

    def delete(self, table: str, record_id: str) -> None:
        """Queues the row that says that a record is gone."""
        self.add(table, id=record_id, _deleted=True)

    def land(self, path: Path) -> None:
        """Appends the queued rows to the DuckDB file at `path`."""
        with duckdb.connect(str(path)) as connection:
            for table, values in self._rows:
                names = ", ".join(f'"{name}"' for name in values)
                marks = ", ".join("?" for _ in values)
                connection.execute(f"insert into {table} ({names}) values ({marks})", list(values.values()))
        self._rows.clear()
