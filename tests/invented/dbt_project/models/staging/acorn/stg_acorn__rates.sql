with rates as (
    {{ newest(source('raw_acorn', 'rates'), ['id']) }}
),

final as (
    select 'acorn' as source, from_currency, to_currency, rate, null as rate_divisor, rate_date
    from rates
)

{{ canonical_select('rates', 'final') }}
