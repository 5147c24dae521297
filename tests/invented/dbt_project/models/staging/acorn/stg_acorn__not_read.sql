-- Acorn has nothing that moves receivables besides its documents and payments.
with final as (
    select
        'acorn' as source,
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
