-- What moves receivables and is not modelled: nothing yet.
with final as (
    select
        'xero' as source,
        null as entity,
        null as record_id,
        null as customer_id,
        null as posted_on,
        null as currency,
        null as amount,
        null as record_count,
        null as reason,
        null as url
    where false
)

{{ canonical_select('not_read', 'final') }}
