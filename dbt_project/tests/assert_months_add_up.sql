-- Memo: the months of the revenue cycle add up to all that was invoiced, collected and realised by the business date.
with months as (
    select
        {{ total('invoiced') }} as invoiced,
        {{ total('collected') }} as collected,
        {{ total('collected_net') }} as collected_net,
        {{ total('realised_fx') }} as realised_fx
    from {{ ref('revenue_cycle_monthly') }}
),

realised as (
    select {{ total('gain_base') }} as realised_fx from {{ ref('fct_realised_fx') }}
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
cross join realised
where months.invoiced <> documents.invoiced
    or months.collected <> payments.collected
    or months.collected_net <> payments.collected_net
    or months.realised_fx <> realised.realised_fx
