-- Applications on the day on which they can first have happened: the later of the ledger's own day for it and the days of
-- its two ends. Money that came before its invoice was unapplied until the invoice was issued.
with ends as (
    select source, document_type as end_type, document_id as end_id, issue_date as dated_on
    from {{ ref('int_documents__unioned') }}
    union all
    select source, 'payment', payment_id, payment_date from {{ ref('int_payments__unioned') }}
)

select
    applications.source,
    applications.applied_type,
    applications.applied_id,
    applications.document_type,
    applications.document_id,
    applications.amount,
    greatest(
        coalesce(applications.applied_date, documents.dated_on, funds.dated_on),
        coalesce(documents.dated_on, applications.applied_date, funds.dated_on),
        coalesce(funds.dated_on, applications.applied_date, documents.dated_on)
    ) as applied_date,
    applications.url,
    applications.problem
from {{ ref('int_applications__unioned') }} as applications
left join ends as documents
    on applications.source = documents.source and applications.document_type = documents.end_type
    and applications.document_id = documents.end_id
left join ends as funds
    on applications.source = funds.source and applications.applied_type = funds.end_type
    and applications.applied_id = funds.end_id
