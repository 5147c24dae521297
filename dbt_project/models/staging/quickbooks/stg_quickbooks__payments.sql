{%- set version = ['modified_at', id_as_number('sync_token')] -%}
with payments as (
    {{ newest(source('raw_quickbooks', 'payments'), ['id'], version) }}
),

links as (
    {{ newest(source('raw_quickbooks', 'payment_applications'), ['payment_id', 'sync_token', 'line_number'], []) }}
),

-- Applying a credit memo to an invoice makes a Payment of 0 that links the two: no money moved.
credit_applications as (
    select distinct payments.id
    from payments
    inner join links on payments.id = links.payment_id and payments.sync_token = links.sync_token
    where payments.total = 0 and links.txn_type = 'CreditMemo'
),

refund_receipts as (
    {{ newest(source('raw_quickbooks', 'refund_receipts'), ['id'], version) }}
),

home as (
    select home_currency from {{ ref('stg_quickbooks__company') }}
),

money as (
    select
        'payment' as payment_type, id as payment_id, txn_date, customer_id, currency, exchange_rate, total,
        coalesce(unapplied, 0) as unapplied, private_note, url, modified_at, _problem
    from payments
    where id not in (select id from credit_applications)
    union all
    select
        'refund', {{ dbt.concat(["'refund-'", 'id']) }}, txn_date, customer_id, currency, exchange_rate, total,
        0, private_note, url, modified_at, _problem
    from refund_receipts
),

final as (
    select
        'quickbooks' as source,
        money.payment_id,
        money.payment_type,
        money.customer_id,
        money.txn_date as payment_date,
        coalesce({{ text_or_null('money.currency') }}, home.home_currency) as currency,
        {{ rate_to_base(
            'coalesce(' ~ text_or_null('money.currency') ~ ', home.home_currency)', 'home.home_currency',
            'money.exchange_rate'
        ) }} as rate,
        null as rate_divisor,
        money.total as amount,
        money.unapplied as unapplied_amount,
        money.private_note as reference_text,
        money.url,
        money.modified_at,
        money._problem as problem
    from money
    cross join home
)

{{ canonical_select('payments', 'final') }}
