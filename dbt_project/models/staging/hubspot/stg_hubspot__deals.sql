with deals as (
    {{ newest(source('raw_hubspot', 'deals'), ['id']) }}
),

stages as (
    select *, count(*) over (partition by id) as pipelines
    from ({{ newest(source('raw_hubspot', 'deal_stages'), ['pipeline_id', 'id'], []) }}) as newest
),

home as (
    {{ newest(source('raw_hubspot', 'company_currency'), ['id'], []) }}
),

companies as (
    select *
    from (
        select
            deal_id,
            coalesce(survivors.account_id, associations.company_id) as company_id,
            -- The primary company is the deal's account; where nobody chose one, the first. A merged company's deals are
            -- its survivor's.
            row_number() over (
                partition by deal_id order by case when is_primary then 0 else 1 end, {{ id_as_number('associations.company_id') }}
            ) as _rank
        from ({{ newest_snapshot(source('raw_hubspot', 'deal_companies'), 'deal_id') }}) as associations
        left join {{ ref('stg_hubspot__account_merges') }} as survivors on associations.company_id = survivors.merged_id
        where associations.company_id is not null
    ) as ranked
    where _rank = 1
),

-- A deal without a currency code is in the portal's home currency.
with_currency as (
    select
        deals.*,
        coalesce(home.currency, '{{ var("base_currency") }}') as home_currency,
        coalesce({{ text_or_null('deals.currency') }}, home.currency, '{{ var("base_currency") }}') as deal_currency
    from deals
    left join home on true
),

final as (
    select
        'hubspot' as source,
        deals.id as deal_id,
        deals.name,
        companies.company_id as account_id,
        {{ text_or_null('deals.owner_id') }} as owner_id,
        coalesce(stages.pipeline_label, deals.pipeline_id) as pipeline,
        case
            when stages.id is not null then coalesce(stages.label, stages.id)
            -- Without any stage on record there is no list to check against.
            when (select count(*) from stages) = 0 then deals.stage_id
            else {{ dbt.concat(["'unknown: '", "coalesce(deals.stage_id, 'none')"]) }}
        end as stage,
        deals.amount,
        deals.deal_currency as currency,
        -- HubSpot states no rate on a deal: it is what the amount is worth at home over the amount.
        {{ rate_to_base('deals.deal_currency', 'deals.home_currency', 'deals.home_amount * sign(deals.amount)') }} as rate,
        {{ rate_to_base('deals.deal_currency', 'deals.home_currency', 'abs(deals.amount)') }} as rate_divisor,
        deals.close_date,
        coalesce(deals.probability, stages.probability) as probability,
        coalesce(deals.is_won, stages.is_closed and stages.probability = 1, false) as is_won,
        coalesce(deals.is_closed, stages.is_closed, false) as is_closed,
        deals.deal_type,
        deals.payment_terms,
        deals.contract_start,
        deals.contract_end,
        deals.url,
        deals.modified_at,
        deals._problem as problem
    from with_currency as deals
    -- Two pipelines may name a stage by one id. A deal without a pipeline has only its stage to go by.
    left join stages
        on deals.stage_id = stages.id
        and (deals.pipeline_id = stages.pipeline_id or (deals.pipeline_id is null and stages.pipelines = 1))
    left join companies on deals.id = companies.deal_id
)

{{ canonical_select('deals', 'final') }}
