with rates as (
    {{ newest(source('raw_quickbooks', 'exchange_rates'), ['id']) }}
),

final as (
    select
        'quickbooks' as source,
        source_currency as from_currency,
        target_currency as to_currency,
        rate,
        as_of as rate_date
    from rates
)

{{ canonical_select('rates', 'final') }}
