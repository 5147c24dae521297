-- Memo: the months of the revenue cycle add up to all that was invoiced and collected by the business date.
with months as (
    select
        {{ total('invoiced') }} as invoiced,
        {{ total('collected') }} as collected,
        {{ total('collected_net') }} as collected_net
    from {{ ref('revenue_cycle_monthly') }}
),

documents as (
    select {{ total("case when document_type = 'invoice' then net_base else -net_base end") }} as invoiced
    from {{ ref('fct_invoices') }}
    where is_counted
),

payments as (
    select
        {{ total("case when payment_type = 'payment' then amount_base else -amount_base end") }} as collected,
        {{ total("case when payment_type = 'payment' then net_base else -net_base end") }} as collected_net
    from {{ ref('fct_payments') }}
    where is_counted
)

select *
from months
cross join documents
cross join payments
where months.invoiced <> documents.invoiced
    or months.collected <> payments.collected
    or months.collected_net <> payments.collected_net
