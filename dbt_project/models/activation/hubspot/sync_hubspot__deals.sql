with deals as (
    select * from {{ ref('fct_deal_reconciliation') }} where source = 'hubspot'
),

problems as (
    select source, deal_id, has_problem from {{ ref('int_deals__contracted') }}
),

-- A deal without an account depends on everything that was to be read.
all_sources as (
    select
        min(hold_reason) as hold_reason,
        {{ list_of("case when side = 'ledger' then source end", ',') }} as ledgers,
        case when sum(case when complete_at is null then 1 else 0 end) = 0 then min(complete_at) end
            as financials_as_of
    from {{ ref('int_sources__assessed') }}
    where side = 'ledger' or source = 'hubspot'
)

select
    deals.deal_id as record_id,
    deals.account_id,
    case
        when deals.account_id is null and all_sources.hold_reason is not null then all_sources.hold_reason
        when held.hold_reason is not null then held.hold_reason
        when problems.has_problem then 'a record behind these numbers has a data problem'
    end as hold_reason,
    coalesce(held.sources, all_sources.ledgers) as sources,
    deals.status as reconciliation_status,
    deals.main_cause as variance_cause,
    {{ round_money('deals.contracted_amount', 'currencies.minor_units') }} as contracted_amount,
    {{ round_money('deals.invoiced_amount', 'currencies.minor_units') }} as invoiced_amount,
    {{ round_money('deals.collected_amount', 'currencies.minor_units') }} as collected_amount,
    {{ round_money('deals.variance_amount', 'currencies.minor_units') }} as variance_amount,
    case when deals.account_id is null then all_sources.financials_as_of else held.financials_as_of end
        as financials_as_of
from deals
cross join all_sources
inner join problems on deals.source = problems.source and deals.deal_id = problems.deal_id
left join {{ ref('int_accounts__held') }} as held
    on deals.source = held.source and deals.account_id = held.account_id
left join {{ ref('iso_currencies') }} as currencies on deals.currency = currencies.code
