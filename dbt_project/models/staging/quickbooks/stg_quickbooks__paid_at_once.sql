{%- set version = ['modified_at', id_as_number('sync_token')] -%}
-- Money that came with its document and has no payment of its own: a sales receipt, and the deposit on an invoice. What
-- was voided is worth nothing and was not paid.
with sales_receipts as (
    {{ newest(source('raw_quickbooks', 'sales_receipts'), ['id'], version) }}
),

invoices as (
    {{ newest(source('raw_quickbooks', 'invoices'), ['id'], version) }}
)

select
    {{ dbt.concat(["'sale-'", 'id']) }} as payment_id,
    {{ dbt.concat(["'sale-'", 'id']) }} as document_id,
    customer_id, txn_date as payment_date, currency, exchange_rate, total - coalesce(less_cis, 0) as amount, private_note, url,
    modified_at
from sales_receipts
where total <> 0
union all
select
    {{ dbt.concat(["'deposit-on-'", 'id']) }}, id,
    customer_id, txn_date, currency, exchange_rate, deposit, private_note, url, modified_at
from invoices
where deposit <> 0 and total <> 0
