"""A warehouse of any size made by SQL, and the whole build of it: `models.py fill HOME INVOICES`, then `models.py build HOME`."""

from __future__ import annotations

import importlib
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

from pipelines import extract, fingerprint, landing, settings, transform
from pipelines.vendors import VENDORS
from pipelines.writeback import source as journal_source

AS_OF, KNOWN_AT = date(2026, 6, 30), datetime(2026, 7, 1, 2, tzinfo=UTC)
# Per deal: five instalments of three lines each, and a payment of each; per customer: ten deals.
BILLS, LINES, DEALS = 5, 3, 10
# Of a document's deal: every tenth in euros, every tenth in yen; the price of a line; some lines cost more than they were sold for.
_CURRENCY = "case deal % 10 when 8 then 'EUR' when 9 then 'JPY' else 'USD' end"
_RATE = "case deal % 10 when 8 then 1.083 when 9 then 0.0067 else 1 end"
_PRICE = "((deal * 7919) % 900 + 100) * (line + 1)"
_BILLED = f"{_PRICE} + case when deal % 20 = 3 and line = 0 and bill = 0 then 10 else 0 end"
_BILLS = f"select deal, bill, deal * {BILLS} + bill as id from range($deals) as d(deal), range({BILLS}) as b(bill)"
_CLOSED = "(date '2024-01-01' + (deal * 31 % 700)::integer)"
_ISSUED = f"({_CLOSED} + (30 * bill)::integer)"
_NET = " + ".join(f"({_BILLED.replace('line', str(line))})" for line in range(LINES))
FILLED = {
    "raw_hubspot.deal_stages": "select 'won' as id, 'default' as pipeline_id, 'Sales' as pipeline_label, 'Won' as label, "
    "true as is_closed, 1 as probability, 1 as display_order",
    "raw_hubspot.company_currency": "select 'home' as id, 'USD' as currency",
    "raw_hubspot.companies": "select 'a' || n as id, 'Account ' || n || ' Ltd' as name, 'account' || n || '.example' as domain, "
    "'quickbooks:c' || n as customer_ids from range($customers) as r(n)",
    "raw_hubspot.deals": f"select 'd' || deal as id, 'Deal ' || deal as name, 'default' as pipeline_id, 'won' as stage_id, true as is_won, "
    f"true as is_closed, 1 as probability, {_CURRENCY} as currency, {_CLOSED} as close_date from range($deals) as r(deal)",
    "raw_hubspot.deal_companies": "select 'd' || deal as deal_id, 'a' || deal * $customers // $deals as company_id, true as is_primary "
    "from range($deals) as r(deal)",
    "raw_hubspot.deal_line_items": f"select 'd' || deal as deal_id, 'd' || deal || '-' || line as line_item_id "
    f"from range($deals) as r(deal), range({LINES}) as l(line)",
    "raw_hubspot.line_items": f"select 'd' || deal || '-' || line as id, 'sku-' || line as sku, 'Product ' || line as name, "
    f"{BILLS} as quantity, {_PRICE} as unit_price, {BILLS} * ({_PRICE}) as amount, {_CURRENCY} as currency "
    f"from range($deals) as r(deal), range({LINES}) as l(line)",
    "raw_hubspot.exchange_rates": "select c.name as id, c.name as from_currency, 'USD' as to_currency, c.rate, "
    "timestamptz '2023-12-01 00:00:00+00' as effective_at from (values ('EUR', 1.083), ('JPY', 0.0067)) as c(name, rate)",
    "raw_quickbooks.preferences": "select 'company' as id, 'Us' as company_name, 'USD' as home_currency, true as multicurrency",
    "raw_quickbooks.customers": "select 'c' || n as id, 'Account ' || n as display_name, true as active, 'USD' as currency "
    "from range($customers) as r(n)",
    "raw_quickbooks.invoices": f"select 'i' || id as id, 'INV-' || id as doc_number, {_ISSUED} as txn_date, {_ISSUED} + 30 as due_date, "
    f"'c' || deal * $customers // $deals as customer_id, {_CURRENCY} as currency, {_RATE} as exchange_rate, {_NET} as total, 0 as tax, "
    f"case when id % 10 = 0 then {_NET} else 0 end as balance, 'EmailSent' as email_status, 'd' || deal as crm_deal_id, '0' as sync_token "
    f"from ({_BILLS})",
    "raw_quickbooks.invoice_lines": f"select 'i' || id as invoice_id, '0' as sync_token, line + 1 as line_number, "
    f"'SalesItemLineDetail' as detail_type, 'sku-' || line as item_name, 'Product ' || line as description, 1 as quantity, "
    f"{_BILLED} as unit_price, {_BILLED} as amount from ({_BILLS}), range({LINES}) as l(line)",
    "raw_quickbooks.payments": f"select 'p' || id as id, {_ISSUED} + 20 as txn_date, 'c' || deal * $customers // $deals as customer_id, "
    f"{_CURRENCY} as currency, {_RATE} as exchange_rate, {_NET} as total, case when id % 10 = 0 then {_NET} else 0 end as unapplied, "
    f"'0' as sync_token from ({_BILLS})",
    "raw_quickbooks.payment_applications": f"select 'p' || id as payment_id, '0' as sync_token, 1 as line_number, {_NET} as amount, "
    f"'i' || id as txn_id, 'Invoice' as txn_type from ({_BILLS}) where id % 10 <> 0",
    "raw_crossfoot.loads": "select unnest(['hubspot', 'quickbooks']) as source, 'complete' as status, 1 as calls, 1 as rows",
}


def configured(home: Path) -> settings.Settings:
    """The default pair, whose sandbox nobody asks."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "crossfoot.toml"
    path.write_text('profile = "sandbox"\n', encoding="utf-8")
    return settings.load(VENDORS, config=path, data_dir=home / "data", environment={})


def fill(home: Path, invoices: int, customers: int | None = None) -> None:
    """Fills a warehouse; customers are one for each ten deals, where their number is not given."""
    chosen, deals = configured(home), invoices // BILLS
    declared = {slug: importlib.import_module(f"pipelines.vendors.{slug}.source").TABLES.values() for slug in VENDORS}
    ours = [*journal_source.TABLES.values(), fingerprint.NIGHTS]
    extract.prepare_warehouse(chosen, {**declared, journal_source.SLUG: ours})
    with landing.connect(chosen.warehouse) as connection:
        for table, query in FILLED.items():
            query = query.replace("$deals", str(deals)).replace("$customers", str(customers or deals // DEALS))
            known = ", TIMESTAMPTZ '2026-07-01 01:00:00+00' AS known_at" if table.endswith("loads") else ""
            connection.execute(f"INSERT INTO {table} BY NAME SELECT *{known}, TIMESTAMPTZ '2026-07-01 01:00:00+00' AS _landed_at, "
                               f"false AS _deleted FROM ({query})")


def build(home: Path) -> None:
    """Prints seconds and nodes."""
    start = time.monotonic()
    nodes = transform.build(configured(home), AS_OF, KNOWN_AT)
    print(f"{time.monotonic() - start:.1f} {len(nodes)}")


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        build(Path(sys.argv[2]))
