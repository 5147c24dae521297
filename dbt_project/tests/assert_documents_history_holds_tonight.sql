-- Memo: the newest version of each document in the history is what tonight knows of it, however often the night ran.
with newest as (
    select *
    from (
        select
            history.*,
            row_number() over (partition by source, document_type, document_id order by known_at desc) as age
        from {{ ref('int_documents__history') }} as history
        where known_at <= {{ known_at() }}
    ) as versions
    where age = 1 and status <> 'deleted'
),

tonight as (
    select
        source, document_type, document_id, status, issue_date as dated_on,
        case when document_type = 'invoice' then net_amount else -net_amount end as amount,
        case when document_type = 'invoice' then net_base else -net_base end as amount_base
    from {{ ref('fct_invoices') }}
    union all
    select
        source, payment_type, payment_id, 'issued', payment_date,
        case when payment_type = 'payment' then amount else -amount end,
        case when payment_type = 'payment' then amount_base else -amount_base end
    from {{ ref('fct_payments') }}
)

select
    coalesce(tonight.document_type, newest.document_type) as document_type,
    coalesce(tonight.document_id, newest.document_id) as document_id
from tonight
full outer join newest
    on tonight.source = newest.source and tonight.document_type = newest.document_type
    and tonight.document_id = newest.document_id
where tonight.document_id is null or newest.document_id is null
    or tonight.status is distinct from newest.status
    or tonight.dated_on is distinct from newest.dated_on
    or tonight.amount is distinct from newest.amount
    or tonight.amount_base is distinct from newest.amount_base
