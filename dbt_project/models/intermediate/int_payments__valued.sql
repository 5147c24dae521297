-- Payments and refunds as they stood on the business date, in base, and without the tax of what they paid. A refund
-- either is applied to the credit note that it pays back, or is one record with it: then both have the same id.
with payments as (
    select * from {{ ref('int_payments__unioned') }}
),

applications as (
    select * from {{ ref('int_applications__dated') }} where applied_type = 'payment' and amount is not null
),

applied as (
    select
        source,
        payment_id,
        sum(case when applied_date > {{ as_of() }} then amount else 0 end) as later_amount,
        sum(case when applied_date > {{ as_of() }} then 0 else tax_amount end) as tax_amount,
        sum(tax_amount) as tax_amount_in_the_end
    from (
        select
            applications.source,
            applications.applied_id as payment_id,
            applications.applied_date,
            applications.amount,
            case
                when documents.tax is null or documents.tax = 0 then 0
                when applications.amount = documents.gross then documents.tax
                else {{ quotient('applications.amount', 'documents.tax', 'documents.gross') }}
            end as tax_amount
        from applications
        left join {{ ref('int_documents__unioned') }} as documents
            on applications.source = documents.source and applications.document_type = documents.document_type
            and applications.document_id = documents.document_id
    ) as parts
    group by 1, 2
),

refunded as (
    select source, document_id, tax as tax_amount
    from {{ ref('int_documents__unioned') }}
    where refunded_amount <> 0
),

dated as (
    select
        payments.source,
        payments.payment_id,
        payments.payment_type,
        payments.customer_id,
        case when matched.account_id is not null then matched.account_source end as account_source,
        matched.account_id,
        payments.payment_date,
        payments.currency,
        {{ rate_columns('payments', 'document', 'payments.payment_date') | trim }},
        payments.amount,
        payments.amount - coalesce(
            case when payments.payment_date > {{ as_of() }} then applied.tax_amount_in_the_end else applied.tax_amount end,
            refunded.tax_amount, 0) as net_amount,
        payments.unapplied_amount + coalesce(applied.later_amount, 0) as unapplied_amount,
        payments.reference_text,
        payments.url,
        payments.modified_at,
        payments.problem,
        -- A payment of a kind that nobody enumerated counts as none.
        coalesce(payments.payment_date <= {{ as_of() }} and payments.payment_type in ('payment', 'refund'), false) as is_counted
    from payments
    left join {{ ref('int_customers__matched') }} as matched
        on payments.source = matched.source and payments.customer_id = matched.customer_id and matched.is_first
    left join applied on payments.source = applied.source and payments.payment_id = applied.payment_id
    left join refunded on payments.source = refunded.source and payments.payment_id = refunded.document_id
    {{ join_rate_of_day('payments', 'payments.payment_date') }}
)

select
    dated.*,
    {{ in_base('amount', 'rate', 'rate_divisor') }} as amount_base,
    {{ in_base('net_amount', 'rate', 'rate_divisor') }} as net_base,
    {{ in_base('unapplied_amount', 'rate', 'rate_divisor') }} as unapplied_base
from dated
