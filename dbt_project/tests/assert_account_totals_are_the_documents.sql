-- Memo: adding the accounts of a CRM down gives what the documents and payments of their customers add up to: nothing
-- twice, nothing lost.
with accounts as (
    select
        source,
        {{ total('total_outstanding') }} as outstanding,
        {{ total('unapplied_credit') }} as unapplied,
        {{ total('invoiced_to_date') }} as invoiced,
        {{ total('collected_to_date') }} as collected
    from {{ ref('account_status') }}
    group by 1
),

customers as (
    select source, customer_id, account_source from {{ ref('dim_customer_matches') }} where account_id is not null
),

documents as (
    select
        customers.account_source,
        {{ total("case when document_type = 'invoice' and is_open then open_base end") }} as outstanding,
        {{ total("case when document_type = 'credit_note' and is_open then open_base end") }} as unapplied,
        {{ total("case when document_type = 'invoice' then net_base else -net_base end") }} as invoiced
    from {{ ref('fct_invoices') }} as documents
    inner join customers on documents.source = customers.source and documents.customer_id = customers.customer_id
    where is_counted
    group by 1
),

payments as (
    select
        customers.account_source,
        {{ total("case when payment_type = 'payment' then unapplied_base else -unapplied_base end") }} as unapplied,
        {{ total("case when payment_type = 'payment' then amount_base else -amount_base end") }} as collected
    from {{ ref('fct_payments') }} as payments
    inner join customers on payments.source = customers.source and payments.customer_id = customers.customer_id
    where is_counted
    group by 1
)

select *
from accounts
full outer join documents on accounts.source = documents.account_source
full outer join payments on coalesce(accounts.source, documents.account_source) = payments.account_source
where coalesce(accounts.outstanding, 0) <> coalesce(documents.outstanding, 0)
    or coalesce(accounts.unapplied, 0) <> coalesce(documents.unapplied, 0) + coalesce(payments.unapplied, 0)
    or coalesce(accounts.invoiced, 0) <> coalesce(documents.invoiced, 0)
    or coalesce(accounts.collected, 0) <> coalesce(payments.collected, 0)
