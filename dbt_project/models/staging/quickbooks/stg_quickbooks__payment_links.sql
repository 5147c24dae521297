{%- set version = ['modified_at', id_as_number('sync_token')] -%}
-- What each payment links, and which of it is paid (debit) and which pays (credit). Only a journal entry or a credit card
-- credit can be either; the source decides those by what the payment comes to. `other_id` is what is linked, by the id that
-- it has in the canonical objects, read or not.
with payments as (
    {{ newest(source('raw_quickbooks', 'payments'), ['id'], version) }}
),

lines as (
    {{ newest(source('raw_quickbooks', 'payment_applications'), ['payment_id', 'sync_token', 'line_number'], []) }}
),

links as (
    select
        payments.id as payment_id,
        payments.customer_id,
        payments.txn_date,
        payments.currency,
        payments.exchange_rate,
        payments.url,
        payments.modified_at,
        lines.line_number,
        lines.amount,
        lines.txn_id,
        lines.txn_type,
        coalesce(lines.side, case when lines.txn_type in ('CreditMemo', 'Deposit') then 'credit' else 'debit' end) as side,
        -- A check, expense or credit card credit is a purchase.
        case
            when lines.txn_type in ('Check', 'Expense', 'CreditCardCredit') then 'purchase'
            when lines.txn_type = 'JournalEntry' then 'journal'
            when lines.txn_type = 'RefundReceipt' then 'refund'
            when lines.txn_type = 'SalesReceipt' then 'sale'
            when lines.txn_type in ('Invoice', 'CreditMemo') then null
            else lower(lines.txn_type)
        end as entity,
        lines._problem as problem
    from payments
    inner join lines on payments.id = lines.payment_id and payments.sync_token = lines.sync_token
)

select
    links.*,
    coalesce(entries.row_id, {{ dbt.concat(["links.entity", "'-'", 'links.txn_id']) }}, links.txn_id) as other_id,
    entries.row_id is not null as is_read
from links
left join {{ ref('stg_quickbooks__entries') }} as entries
    on links.entity = entries.entity and links.txn_id = entries.entry_id
    and (entries.customer_count = 1 or entries.customer_id = links.customer_id)
