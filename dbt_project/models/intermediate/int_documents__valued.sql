-- Documents as they stood on the business date: due date, open amount, in base, settled or overdue. The account is that
-- of the first CRM that knows the customer; every CRM's is in int_customers__matched.
{%- set tolerance = var('tolerance') %}
with documents as (
    select * from {{ ref('int_documents__unioned') }}
),

applications as (
    select * from {{ ref('int_applications__dated') }} where amount is not null
),

-- A credit note is used up at both ends: by what it is applied to, and by the refund that is applied to it.
uses as (
    select source, document_type, document_id, amount, applied_date, applied_type = 'payment' as is_money from applications
    union all
    select source, 'credit_note', applied_id, amount, applied_date, false from applications where applied_type = 'credit_note'
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
        coalesce(documents.withheld, 0) as withheld,
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

-- What was applied by the business date, and what of it was money.
used as (
    select
        source,
        document_type,
        document_id,
        sum(amount) as applied_amount,
        sum(case when is_money then amount else 0 end) as paid_amount,
        max(case when is_money then applied_date end) as paid_on
    from uses
    where applied_date <= {{ as_of() }}
    group by 1, 2, 3
),

settled as (
    select source, document_type, document_id, min(applied_date) as settled_on
    from remaining
    where open_amount <= {{ tolerance }}
    group by 1, 2, 3
),

-- Rounded here, once, and summed from here on: a ledger posts each document in whole cents.
in_base_currency as (
    select
        dated.*,
        {{ in_base('dated.net', 'dated.rate', 'dated.rate_divisor') }} as rounded_net,
        {{ in_base('dated.tax', 'dated.rate', 'dated.rate_divisor') }} as rounded_tax,
        {{ in_base('dated.gross', 'dated.rate', 'dated.rate_divisor') }} as gross_base,
        {{ in_base('dated.open_amount', 'dated.rate', 'dated.rate_divisor') }} as open_base,
        {{ in_base('dated.refunded_amount', 'dated.rate', 'dated.rate_divisor') }} as refunded_base,
        coalesce(used.applied_amount, 0) as applied_amount,
        coalesce(used.paid_amount, 0) as paid_amount,
        used.paid_on as last_paid_on
    from dated
    left join used
        on dated.source = used.source and dated.document_type = used.document_type
        and dated.document_id = used.document_id
)

select
    {%- for column in ['source', 'document_type', 'document_id', 'number', 'customer_id', 'account_source', 'account_id', 'status',
        'delivery', 'issue_date', 'due_date', 'currency', 'rate', 'rate_divisor', 'rate_source', 'rate_date', 'net', 'tax', 'gross',
        'open_amount', 'refunded_amount', 'withheld', 'applied_amount', 'paid_amount', 'deal_reference', 'reference_text', 'url',
        'modified_at', 'problem', 'is_counted', 'gross_base', 'open_base', 'refunded_base'] %}
    documents.{{ column }},
    {%- endfor %}
    -- Net is what gross leaves beside the tax, so that the three add up in base as they do on the document.
    cast(case
        when documents.net + documents.tax = documents.gross then documents.gross_base - documents.rounded_tax
        else documents.rounded_net
    end as decimal(28,6)) as net_base,
    {{ in_base('documents.paid_amount', 'documents.rate', 'documents.rate_divisor') }} as paid_base,
    coalesce(documents.is_counted and documents.open_amount > {{ tolerance }}, false) as is_open,
    coalesce(
        documents.is_counted and documents.open_amount > {{ tolerance }} and documents.due_date < {{ as_of() }}, false
    ) as is_overdue,
    -- What was paid back at once has no application: it was settled when it was issued.
    case when documents.is_counted and documents.open_amount <= {{ tolerance }}
        then coalesce(settled.settled_on, case when documents.refunded_amount <> 0 then documents.issue_date end)
    end as settled_on,
    -- The day of the last money for what is settled: what a credit note or a write-off settled was not paid late or early.
    case when documents.is_counted and documents.open_amount <= {{ tolerance }} and documents.paid_amount > 0
        then least(settled.settled_on, documents.last_paid_on)
    end as paid_on,
    case
        when documents.document_type <> 'invoice' then null
        when documents.status = 'void' then 'Voided'
        when not documents.is_counted or documents.open_amount is null then null
        when documents.open_amount <= {{ tolerance }} and documents.applied_amount > 0 and documents.paid_amount = 0
            then 'Credited'
        when documents.open_amount <= {{ tolerance }} then 'Paid'
        when documents.due_date < {{ as_of() }} then 'Overdue'
        when documents.applied_amount > 0 then 'Partially Paid'
        when documents.delivery = 'viewed' then 'Viewed'
        else 'Sent'
    end as payment_status
from in_base_currency as documents
left join settled
    on documents.source = settled.source and documents.document_type = settled.document_type
    and documents.document_id = settled.document_id
