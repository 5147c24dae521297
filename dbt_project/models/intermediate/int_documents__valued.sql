-- Documents as they stood on the business date: due date, open amount, in base, settled or overdue. The account is that
-- of the first CRM that knows the customer; every CRM's is in int_customers__matched.
{%- set tolerance = var('tolerance') %}
with documents as (
    select * from {{ ref('int_documents__unioned') }}
),

applications as (
    select * from {{ ref('int_applications__unioned') }} where amount is not null
),

-- A credit note is used up at both ends: by what it is applied to, and by the refund that is applied to it.
uses as (
    select source, document_type, document_id, amount, applied_date from applications
    union all
    select source, 'credit_note', applied_id, amount, applied_date from applications where applied_type = 'credit_note'
),

-- The ledger's open amount already knows of payments dated after the business date; they are taken back.
later as (
    select source, document_type, document_id, sum(amount) as amount
    from uses
    where applied_date > {{ as_of() }}
    group by 1, 2, 3
),

dated as (
    select
        documents.source,
        documents.document_type,
        documents.document_id,
        documents.number,
        documents.customer_id,
        case when matched.account_id is not null then matched.account_source end as account_source,
        matched.account_id,
        documents.status,
        documents.delivery,
        documents.issue_date,
        case when documents.document_type = 'invoice' then coalesce(
            documents.due_date,
            {{ add_days('documents.issue_date', 'coalesce(customers.terms_days, 0)') }}
        ) end as due_date,
        documents.currency,
        {{ rate_columns('documents', 'document', 'documents.issue_date') | trim }},
        documents.net,
        documents.tax,
        documents.gross,
        documents.open_amount + coalesce(later.amount, 0) as open_amount,
        documents.refunded_amount,
        documents.deal_reference,
        documents.reference_text,
        documents.url,
        documents.modified_at,
        documents.problem,
        coalesce(documents.status = 'issued' and documents.issue_date <= {{ as_of() }}, false) as is_counted
    from documents
    left join {{ ref('int_customers__matched') }} as matched
        on documents.source = matched.source and documents.customer_id = matched.customer_id and matched.is_first
    left join {{ ref('int_customers__unioned') }} as customers
        on documents.source = customers.source and documents.customer_id = customers.customer_id
    left join later
        on documents.source = later.source and documents.document_type = later.document_type
        and documents.document_id = later.document_id
    {{ join_rate_of_day('documents', 'documents.issue_date') }}
),

days_of_use as (
    select source, document_type, document_id, applied_date, sum(amount) as amount
    from uses
    where applied_date <= {{ as_of() }}
    group by 1, 2, 3, 4
),

-- What was still open at the end of each day on which something was applied.
remaining as (
    select
        days.source,
        days.document_type,
        days.document_id,
        days.applied_date,
        dated.open_amount + coalesce(sum(days.amount) over (
            partition by days.source, days.document_type, days.document_id
            order by days.applied_date desc rows between unbounded preceding and 1 preceding
        ), 0) as open_amount
    from days_of_use as days
    inner join dated
        on days.source = dated.source and days.document_type = dated.document_type
        and days.document_id = dated.document_id
),

settled as (
    select source, document_type, document_id, min(applied_date) as settled_on
    from remaining
    where open_amount <= {{ tolerance }}
    group by 1, 2, 3
)

select
    dated.*,
    {{ times_rate('dated.net', 'dated.rate', 'dated.rate_divisor') }} as net_base,
    {{ times_rate('dated.gross', 'dated.rate', 'dated.rate_divisor') }} as gross_base,
    {{ times_rate('dated.open_amount', 'dated.rate', 'dated.rate_divisor') }} as open_base,
    {{ times_rate('dated.refunded_amount', 'dated.rate', 'dated.rate_divisor') }} as refunded_base,
    coalesce(dated.is_counted and dated.open_amount > {{ tolerance }}, false) as is_open,
    coalesce(
        dated.is_counted and dated.open_amount > {{ tolerance }} and dated.due_date < {{ as_of() }}, false
    ) as is_overdue,
    -- What was paid back at once has no application: it was settled when it was issued.
    case when dated.is_counted and dated.open_amount <= {{ tolerance }}
        then coalesce(settled.settled_on, case when dated.refunded_amount <> 0 then dated.issue_date end)
    end as settled_on,
    case
        when dated.document_type <> 'invoice' then null
        when dated.status = 'void' then 'Voided'
        when not dated.is_counted or dated.open_amount is null then null
        when dated.open_amount <= {{ tolerance }} then 'Paid'
        when dated.due_date < {{ as_of() }} then 'Overdue'
        when dated.open_amount < dated.gross then 'Partially Paid'
        when dated.delivery = 'viewed' then 'Viewed'
        else 'Sent'
    end as payment_status
from dated
left join settled
    on dated.source = settled.source and dated.document_type = settled.document_type
    and dated.document_id = settled.document_id
