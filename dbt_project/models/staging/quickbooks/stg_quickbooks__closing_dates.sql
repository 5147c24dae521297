-- A company has one closing date. A date that was set back was still closed once.
with final as (
    select
        'quickbooks' as source,
        book_close_date as closing_date,
        min(min(_landed_at)) over (order by book_close_date desc) as first_known_at
    from {{ source('raw_quickbooks', 'preferences') }}
    where book_close_date is not null and _landed_at <= {{ known_at() }} and not _deleted
    group by book_close_date
)

{{ canonical_select('closing_dates', 'final') }}
