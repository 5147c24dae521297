with rates as (
    {{ newest(source('raw_quickbooks', 'exchange_rates'), ['id']) }}
),

final as (
    select
        'quickbooks' as source,
        source_currency as from_currency,
        target_currency as to_currency,
        rate,
        null as rate_divisor,
        as_of as rate_date
    from rates
)

{{ canonical_select('rates', 'final') }}
