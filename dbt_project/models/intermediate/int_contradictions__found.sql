-- Where a ledger's record contradicts what was applied to it or spent of it: one of the two is wrong, and nobody knows
-- which. `difference` is in the record's currency. Whenever it was applied, the ledger's amount knows of it.
with applications as (
    select * from {{ ref('int_applications__unioned') }} where amount is not null
),

documents as (
    select * from {{ ref('int_documents__unioned') }} where status = 'issued' and problem is null
),

payments as (
    select * from {{ ref('int_payments__unioned') }} where payment_type = 'payment' and amount <> 0 and problem is null
),

-- A credit note is used up at both ends: by what it is applied to, and by the refund that is applied to it.
applied as (
    select source, document_type, document_id, sum(amount) as amount
    from (
        select source, document_type, document_id, amount from applications
        union all
        select source, 'credit_note', applied_id, amount from applications where applied_type = 'credit_note'
    ) as ends
    group by 1, 2, 3
),

spent as (
    select source, applied_id as payment_id, sum(amount) as amount
    from applications
    where applied_type = 'payment'
    group by 1, 2
),

found as (
    select
        'document_open_differs' as kind,
        documents.source,
        documents.document_type as object,
        documents.document_id as record_id,
        documents.number,
        documents.customer_id,
        documents.currency,
        documents.gross - coalesce(documents.withheld, 0) - documents.refunded_amount - coalesce(applied.amount, 0) as ours,
        documents.open_amount as stated,
        documents.url
    from documents
    left join applied
        on documents.source = applied.source and documents.document_type = applied.document_type
        and documents.document_id = applied.document_id
    union all
    select
        'payment_applied_differs', payments.source, payments.payment_type, payments.payment_id, null, payments.customer_id,
        payments.currency, payments.amount, coalesce(spent.amount, 0) + payments.unapplied_amount, payments.url
    from payments
    left join spent on payments.source = spent.source and payments.payment_id = spent.payment_id
)

select
    found.*,
    ours - stated as difference,
    case kind
        when 'document_open_differs' then
            {{ dbt.concat(["'total less what was applied '", money_text('ours'), "', open in the ledger '", money_text('stated')]) }}
        else {{ dbt.concat(["'paid '", money_text('ours'), "', applied and unapplied '", money_text('stated')]) }}
    end as message
from found
where not {{ within('ours', 'stated', var('tolerance')) }}
