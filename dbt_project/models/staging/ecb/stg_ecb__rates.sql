{#-
  The ECB quotes units of a currency for one euro, so a currency reaches the base currency through the euro: one unit is
  1 / its quote in euros, and that is worth base quote times as much. The rate is that fraction; it is
  divided where an amount is valued. A day on which one of the two was not quoted has no rate; the euro is quoted at 1 on
  every day.
-#}
with quotes as (
    select currency, rate_date, rate
    from ({{ newest(source('raw_ecb', 'reference_rates'), ['id'], []) }}) as quoted
    where rate > 0 and rate_date is not null
),

with_euro as (
    select currency, rate_date, rate from quotes
    union all
    select distinct 'EUR', rate_date, cast(1 as decimal(28,12)) from quotes
),

base as (
    select rate_date, rate from with_euro where currency = '{{ var("base_currency") }}'
),

final as (
    select
        'ecb' as source,
        with_euro.currency as from_currency,
        '{{ var("base_currency") }}' as to_currency,
        base.rate,
        with_euro.rate as rate_divisor,
        with_euro.rate_date
    from with_euro
    inner join base on with_euro.rate_date = base.rate_date
    where with_euro.currency <> '{{ var("base_currency") }}'
)

{{ canonical_select('rates', 'final') }}
