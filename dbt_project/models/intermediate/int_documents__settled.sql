-- What each day's applications took from what was owed, in base currency: the difference of what was open before and
-- after, each rounded as a document is, so that the days add up to the document without a cent left over.
with days as (
    select source, document_type, document_id, applied_date, sum(amount) as amount
    from {{ ref('int_applications__dated') }}
    where amount is not null and applied_date <= {{ as_of() }}
    group by 1, 2, 3, 4
),

steps as (
    select
        documents.source,
        documents.document_type,
        documents.document_id,
        days.applied_date,
        documents.rate,
        documents.rate_divisor,
        days.amount,
        documents.open_amount + coalesce(sum(days.amount) over (
            partition by days.source, days.document_type, days.document_id
            order by days.applied_date desc rows between unbounded preceding and 1 preceding
        ), 0) as open_after
    from days
    inner join {{ ref('int_documents__valued') }} as documents
        on days.source = documents.source and days.document_type = documents.document_type
        and days.document_id = documents.document_id
    where documents.is_counted
)

select
    source,
    document_type,
    document_id,
    applied_date,
    cast({{ in_base('open_after + amount', 'rate', 'rate_divisor') }}
        - {{ in_base('open_after', 'rate', 'rate_divisor') }} as decimal(28,6)) as settled_base
from steps
