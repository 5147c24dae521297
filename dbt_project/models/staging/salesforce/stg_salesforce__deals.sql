with deals as (
    {{ newest(source('raw_salesforce', 'opportunities'), ['id']) }}
),

stages as (
    {{ newest(source('raw_salesforce', 'opportunity_stages'), ['api_name'], []) }}
),

-- By id: a record type that is renamed moves none of its opportunities.
record_types as (
    {{ newest(source('raw_salesforce', 'record_types'), ['id'], []) }}
),

quotes as (
    select * from {{ ref('stg_salesforce__quotes') }}
),

with_currency as (
    select
        deals.*,
        home.home_currency,
        coalesce({{ text_or_null('deals.currency') }}, home.home_currency) as deal_currency
    from deals
    cross join {{ ref('stg_salesforce__organization') }} as home
),

-- The quote of the day of the close; of spans that overlap, the one that began last.
dated as (
    select *
    from (
        select
            deals.id as deal_id,
            quotes.rate,
            quotes.rate_divisor,
            row_number() over (partition by deals.id order by quotes.start_date desc) as _rank
        from with_currency as deals
        inner join quotes
            on deals.deal_currency = quotes.currency and deals.close_date >= quotes.start_date
            and (deals.close_date < quotes.next_start_date or quotes.next_start_date is null)
    ) as ranked
    where _rank = 1
),

final as (
    select
        'salesforce' as source,
        deals.id as deal_id,
        deals.name,
        coalesce(survivors.account_id, {{ text_or_null('deals.account_id') }}) as account_id,
        {{ text_or_null('deals.owner_id') }} as owner_id,
        coalesce(record_types.name, {{ text_or_null('deals.record_type') }}) as pipeline,
        case
            when stages.api_name is not null then coalesce(stages.label, stages.api_name)
            -- Without any stage on record there is no list to check against.
            when (select count(*) from stages) = 0 then deals.stage_name
            else {{ dbt.concat(["'unknown: '", "coalesce(deals.stage_name, 'none')"]) }}
        end as stage,
        deals.amount,
        deals.deal_currency as currency,
        {{ rate_to_base('deals.deal_currency', 'deals.home_currency', 'coalesce(dated.rate, quotes.rate)') }} as rate,
        case when deals.deal_currency <> '{{ var("base_currency") }}'
            then coalesce(dated.rate_divisor, quotes.rate_divisor) end as rate_divisor,
        deals.close_date,
        coalesce(deals.probability, stages.default_probability) as probability,
        coalesce(deals.is_won, stages.is_won, false) as is_won,
        coalesce(deals.is_closed, stages.is_closed, false) as is_closed,
        deals.deal_type,
        deals.payment_terms,
        deals.contract_start,
        deals.contract_end,
        deals.url,
        deals.modified_at,
        deals._problem as problem
    from with_currency as deals
    left join record_types on deals.record_type_id = record_types.id
    left join stages on deals.stage_name = stages.api_name
    left join {{ ref('stg_salesforce__account_merges') }} as survivors on deals.account_id = survivors.merged_id
    left join dated on deals.id = dated.deal_id
    left join quotes on deals.deal_currency = quotes.currency and quotes.start_date is null
)

{{ canonical_select('deals', 'final') }}
