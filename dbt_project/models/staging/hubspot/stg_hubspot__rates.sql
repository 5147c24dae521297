with rates as (
    {{ newest(source('raw_hubspot', 'exchange_rates'), ['from_currency', 'to_currency'], ['effective_at']) }}
),

final as (
    select
        'hubspot' as source,
        from_currency,
        to_currency,
        rate,
        {{ utc_date('effective_at') }} as rate_date
    from rates
)

{{ canonical_select('rates', 'final') }}
