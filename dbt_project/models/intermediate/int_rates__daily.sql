-- The rate of each day on which something is to be valued that brings none of its own: from its own system's table, for a
-- deal then from a ledger's, then from the tables of reference rates. A day without a quote has that of the last before.
with needed as (
    {{ rows_without_rate(ref('int_documents__unioned'), 'issue_date') }}
    union
    {{ rows_without_rate(ref('int_payments__unioned'), 'payment_date') }}
    union
    {{ rows_without_rate(ref('int_deals__unioned'), 'close_date') }}
),

providers as (
    {{ rate_providers() }}
),

quotes as (
    select source as provider, from_currency as currency, rate_date, rate, rate_divisor
    from {{ ref('int_rates__unioned') }} as unioned
    where to_currency = '{{ var("base_currency") }}' and {{ is_rate('unioned') }} and rate_date is not null
        and from_currency in (select currency from needed)
),

asked as (
    select distinct providers.provider, needed.currency, needed.day
    from needed
    inner join providers on needed.source = providers.source
),

-- Quotes and days in one row of time: each day sees the last quote at or before it, without comparing it with every one.
timeline as (
    select
        provider,
        currency,
        day,
        is_asked,
        max(quoted_on) over (partition by provider, currency order by day) as quoted_on
    from (
        select provider, currency, day, cast(null as date) as quoted_on, true as is_asked from asked
        union all
        select provider, currency, rate_date, rate_date, false from quotes
    ) as moments
),

answered as (
    select
        needed.source,
        needed.currency,
        needed.day,
        quotes.rate,
        quotes.rate_divisor,
        providers.rate_source,
        quotes.rate_date,
        row_number() over (
            partition by needed.source, needed.currency, needed.day order by providers.place
        ) as _rank
    from needed
    inner join providers on needed.source = providers.source
    inner join timeline
        on providers.provider = timeline.provider and needed.currency = timeline.currency
        and needed.day = timeline.day and timeline.is_asked
    inner join quotes
        on timeline.provider = quotes.provider and timeline.currency = quotes.currency
        and timeline.quoted_on = quotes.rate_date
    where providers.carried_days is null
        or {{ days_between('quotes.rate_date', 'needed.day') }} <= providers.carried_days
)

select source, currency, day, rate, rate_divisor, rate_source, rate_date
from answered
where _rank = 1
