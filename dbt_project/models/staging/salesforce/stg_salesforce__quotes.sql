-- The org quotes foreign units for one corporate unit: the canonical rate is 1 over that. A quote without a first day
-- is the currency's own, valid where no dated one is. A snapshot that landed twice counts once.
with quotes as (
    select iso_code, start_date, next_start_date, conversion_rate
    from ({{ newest_snapshot(source('raw_salesforce', 'dated_conversion_rates')) }}) as dated
    where start_date is not null
    union all
    select iso_code, null, null, conversion_rate
    from ({{ newest_snapshot(source('raw_salesforce', 'currency_types')) }}) as types
    where not coalesce(is_corporate, false)
)

select
    quotes.iso_code as currency,
    quotes.start_date,
    max(quotes.next_start_date) as next_start_date,
    cast(1 as decimal(28,12)) as rate,
    max(quotes.conversion_rate) as rate_divisor
from quotes
cross join {{ ref('stg_salesforce__organization') }} as home
where quotes.iso_code <> home.home_currency and quotes.conversion_rate > 0
group by 1, 2
