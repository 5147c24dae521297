-- Acorn never closes its books.
with final as (
    select 'acorn' as source, null as closing_date, null as first_known_at
    where false
)

{{ canonical_select('closing_dates', 'final') }}
