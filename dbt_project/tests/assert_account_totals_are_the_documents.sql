-- Memo: adding the accounts down gives what adding their documents and payments gives: nothing twice, nothing lost.
with accounts as (
    select
        {{ total('total_outstanding') }} as outstanding,
        {{ total('unapplied_credit') }} as unapplied,
        {{ total('invoiced_to_date') }} as invoiced,
        {{ total('collected_to_date') }} as collected
    from {{ ref('account_status') }}
),

documents as (
    select
        {{ total("case when document_type = 'invoice' and is_open then open_base end") }} as outstanding,
        {{ total("case when document_type = 'credit_note' and is_open then open_base end") }} as unapplied,
        {{ total("case when document_type = 'invoice' then net_base else -net_base end") }} as invoiced
    from {{ ref('fct_invoices') }}
    where is_counted and account_id is not null
),

payments as (
    select
        {{ total("case when payment_type = 'payment' then unapplied_base end") }} as unapplied,
        {{ total("case when payment_type = 'payment' then amount_base else -amount_base end") }} as collected
    from {{ ref('fct_payments') }}
    where is_counted and account_id is not null
)

select *
from accounts
cross join documents
cross join payments
where accounts.outstanding <> documents.outstanding
    or accounts.unapplied <> documents.unapplied + payments.unapplied
    or accounts.invoiced <> documents.invoiced
    or accounts.collected <> payments.collected
