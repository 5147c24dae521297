with final as (
    select
        'salesforce' as source,
        quotes.currency as from_currency,
        home.home_currency as to_currency,
        quotes.rate,
        quotes.rate_divisor,
        quotes.start_date as rate_date
    from {{ ref('stg_salesforce__quotes') }} as quotes
    cross join {{ ref('stg_salesforce__organization') }} as home
)

{{ canonical_select('rates', 'final') }}
