with rates as (
    {{ newest(source('raw_acorn', 'rates'), ['id']) }}
),

final as (
    select 'acorn' as source, from_currency, to_currency, rate, rate_date
    from rates
)

{{ canonical_select('rates', 'final') }}
