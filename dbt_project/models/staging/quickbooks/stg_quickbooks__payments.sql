{%- set version = ['modified_at', id_as_number('sync_token')] -%}
-- Money that came in or went out: payments, what was paid at once, deposits and purchases on receivables, refund receipts. A
-- deposit or a check that a payment links and that was not read has the links' amount and the payment's day. What of a
-- refund settles nothing is open: it takes away from the customer's credit.
with payments as (
    {{ newest(source('raw_quickbooks', 'payments'), ['id'], version) }}
),

links as (
    select * from {{ ref('stg_quickbooks__payment_links') }}
),

entries as (
    select * from {{ ref('stg_quickbooks__entries') }}
),

refund_receipts as (
    {{ newest(source('raw_quickbooks', 'refund_receipts'), ['id'], version) }}
),

home as (
    select home_currency from {{ ref('stg_quickbooks__company') }}
),

used as (
    select other_id, sum(amount) as amount
    from links
    group by 1
),

money as (
    -- A payment of 0 that links anything applies other people's credits: no money moved.
    select
        'payment' as payment_type, id as payment_id, txn_date, customer_id, currency, exchange_rate, total, unapplied,
        private_note, url, modified_at, _problem
    from payments
    where total is distinct from 0 or id not in (select payment_id from links)
    union all
    select
        'payment', payment_id, payment_date, customer_id, currency, exchange_rate, amount, 0, private_note, url,
        modified_at, null
    from {{ ref('stg_quickbooks__paid_at_once') }}
    union all
    select
        case entity when 'deposit' then 'payment' else 'refund' end, row_id, txn_date, customer_id, currency,
        exchange_rate, case entity when 'deposit' then -entries.amount else entries.amount end,
        case entity when 'deposit' then -entries.amount else entries.amount end - coalesce(used.amount, 0),
        private_note, url, modified_at, problem
    from entries
    left join used on entries.row_id = used.other_id
    where (entity = 'deposit' and entries.amount < 0) or (entity = 'purchase' and entries.amount > 0)
    union all
    select
        case side when 'credit' then 'payment' else 'refund' end, other_id, min(txn_date), min(customer_id), min(currency),
        min(exchange_rate), sum(amount), 0, null, min(url), max(modified_at), null
    from links
    where not is_read and ((entity = 'deposit' and side = 'credit') or (entity = 'purchase' and side = 'debit'))
    group by 1, 2
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
