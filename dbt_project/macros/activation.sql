{#
  What may be written to one CRM. A vendor's sync models are one line each, and their columns are a contract with the
  write-back; which names they get in the CRM is the vendor's own business.
#}

{# One row per account of the CRM `slug`, money rounded to the minor units of the base currency. #}
{% macro activate_accounts(slug) %}
with base_currency as (
    select minor_units from {{ ref('iso_currencies') }} where code = '{{ var("base_currency") }}'
),

-- Which ids to add and to take away; what else is stored there is people's and known only when it is read.
customer_ids as (
    select account_id, {{ list_of("wish || ledger || ':' || customer_id", '; ') }} as wishes
    from {{ ref('int_account_customer_ids__decided') }}
    where source = '{{ slug }}' and wish is not null
    group by 1
),

gone_owners as (
    select owner_id from {{ ref('int_owners__unioned') }} where source = '{{ slug }}' and not is_active
),

-- Who could take over the tasks of an account whose owner has left: the owner of its newest deal who has not.
next_owners as (
    select account_id, owner_id
    from (
        select
            deals.account_id,
            deals.owner_id,
            row_number() over (partition by deals.account_id order by deals.close_date desc nulls last, deals.deal_id desc) as place
        from {{ ref('int_deals__contracted') }} as deals
        left join gone_owners on deals.owner_id = gone_owners.owner_id
        where deals.source = '{{ slug }}' and deals.owner_id is not null and gone_owners.owner_id is null
    ) as placed
    where place = 1
)

select
    statuses.account_id as record_id,
    statuses.account_id,
    statuses.hold_reason,
    statuses.sources,
    statuses.financial_status,
    statuses.days_overdue,
    {{ round_money('statuses.total_outstanding', 'base_currency.minor_units') }} as total_outstanding,
    {{ round_money('statuses.overdue_amount', 'base_currency.minor_units') }} as overdue_amount,
    statuses.overdue_invoices,
    {{ round_money('statuses.unapplied_credit', 'base_currency.minor_units') }} as unapplied_credit,
    statuses.last_invoice_date,
    {{ round_money('statuses.last_invoice_amount', 'base_currency.minor_units') }} as last_invoice_amount,
    statuses.last_invoice_status,
    statuses.last_payment_date,
    statuses.credit_status,
    {{ round_money('statuses.invoiced_to_date', 'base_currency.minor_units') }} as invoiced_to_date,
    {{ round_money('statuses.collected_to_date', 'base_currency.minor_units') }} as collected_to_date,
    statuses.average_days_to_pay,
    customer_ids.wishes as customer_ids,
    statuses.financials_as_of,
    case when gone_owners.owner_id is null then statuses.owner_id else next_owners.owner_id end as owner_id,
    statuses.account_name
from {{ ref('account_status') }} as statuses
left join base_currency on true
left join customer_ids on statuses.account_id = customer_ids.account_id
left join gone_owners on statuses.owner_id = gone_owners.owner_id
left join next_owners on statuses.account_id = next_owners.account_id
where statuses.source = '{{ slug }}'
{% endmacro %}

{# One row per won deal of the CRM `slug`, money rounded to the minor units of the deal's currency. #}
{% macro activate_deals(slug) %}
with deals as (
    select * from {{ ref('fct_deal_reconciliation') }} where source = '{{ slug }}'
),

problems as (
    select source, deal_id, has_problem from {{ ref('int_deals__contracted') }}
),

sources as (
    select * from {{ ref('int_sources__assessed') }} where side = 'ledger' or source = '{{ slug }}'
),

-- A deal without an account depends on its CRM and on every ledger.
all_sources as (
    select
        min(hold_reason) as hold_reason,
        {{ list_of("case when side = 'ledger' then source end", ',') }} as ledgers,
        case when sum(case when true_until is null then 1 else 0 end) = 0 then min(true_until) end
            as financials_as_of
    from sources
),

-- A document of another ledger than its account's customers are in may name the deal: that ledger counts as well.
more_ledgers as (
    select
        links.deal_id,
        min(sources.hold_reason) as hold_reason,
        {{ list_of('sources.source', ',') }} as ledgers,
        case when sum(case when sources.true_until is null then 1 else 0 end) = 0 then min(sources.true_until) end
            as financials_as_of
    from {{ ref('int_documents__linked') }} as links
    inner join sources on links.source = sources.source
    left join {{ ref('int_deals__contracted') }} as deals
        on links.deal_source = deals.source and links.deal_id = deals.deal_id
    left join {{ ref('int_accounts__held') }} as held
        on deals.source = held.source and deals.account_id = held.account_id
        and ',' || held.sources || ',' like '%,' || sources.source || ',%'
    where links.deal_source = '{{ slug }}' and held.account_id is null
    group by 1
)

select
    deals.deal_id as record_id,
    deals.account_id,
    case
        when deals.account_id is null and all_sources.hold_reason is not null then all_sources.hold_reason
        when held.hold_reason is not null then held.hold_reason
        when more_ledgers.hold_reason is not null then more_ledgers.hold_reason
        when problems.has_problem then 'a record behind these numbers has a data problem'
    end as hold_reason,
    coalesce(held.sources || coalesce(',' || more_ledgers.ledgers, ''), all_sources.ledgers) as sources,
    deals.status as reconciliation_status,
    deals.main_cause as variance_cause,
    {{ round_money('deals.contracted_amount', 'currencies.minor_units') }} as contracted_amount,
    {{ round_money('deals.invoiced_amount', 'currencies.minor_units') }} as invoiced_amount,
    {{ round_money('deals.collected_amount', 'currencies.minor_units') }} as collected_amount,
    {{ round_money('deals.variance_amount', 'currencies.minor_units') }} as variance_amount,
    case
        when deals.account_id is null then all_sources.financials_as_of
        when more_ledgers.financials_as_of < held.financials_as_of then more_ledgers.financials_as_of
        else held.financials_as_of
    end as financials_as_of
from deals
cross join all_sources
inner join problems on deals.source = problems.source and deals.deal_id = problems.deal_id
left join {{ ref('int_accounts__held') }} as held
    on deals.source = held.source and deals.account_id = held.account_id
left join more_ledgers on deals.deal_id = more_ledgers.deal_id
left join {{ ref('iso_currencies') }} as currencies on deals.currency = currencies.code
{% endmacro %}

{#
  The rows by which a pair of sync models of the CRM `slug` fails its test: an account or won deal that has no row, or
  a row without one. What the write-back does not write is held then, not lost.
#}
{% macro activation_covers(slug, accounts_model, deals_model) %}
select 'account' as object, accounts.account_id as expected, sync.record_id as found
from (select account_id from {{ ref('dim_accounts') }} where source = '{{ slug }}') as accounts
full outer join {{ ref(accounts_model) }} as sync on accounts.account_id = sync.record_id
where accounts.account_id is null or sync.record_id is null
union all
select 'deal', deals.deal_id, sync.record_id
from (select deal_id from {{ ref('fct_deals') }} where source = '{{ slug }}' and is_won) as deals
full outer join {{ ref(deals_model) }} as sync on deals.deal_id = sync.record_id
where deals.deal_id is null or sync.record_id is null
{% endmacro %}
