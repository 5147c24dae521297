with quotes as (
    select
        from_currency,
        to_currency,
        rate,
        {{ utc_date('effective_at') }} as rate_date,
        row_number() over (
            partition by from_currency, to_currency, {{ utc_date('effective_at') }} order by effective_at desc, id desc
        ) as _rank
    from ({{ newest(source('raw_hubspot', 'exchange_rates'), ['id', 'effective_at'], []) }}) as rates
),

-- A night hears the current quotes; those of earlier nights stay true of their days. Of several of a day the last holds.
final as (
    select 'hubspot' as source, from_currency, to_currency, rate, null as rate_divisor, rate_date
    from quotes
    where _rank = 1
)

{{ canonical_select('rates', 'final') }}
