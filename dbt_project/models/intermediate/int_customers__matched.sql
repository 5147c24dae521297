-- Every CRM is asked about every customer, by itself: the first rung that offers anything in it answers. Two accounts
-- on it, or an address that other customers use too, is a question, and no lower rung is tried.
with crms as (
    {%- for crm in var('crms') %}
    select '{{ crm }}' as account_source
    {{ 'union all' if not loop.last }}
    {%- else %}
    select cast(null as varchar) as account_source where false
    {%- endfor %}
),

candidates as (
    select
        *,
        min(rung) over (partition by source, customer_id, account_source) as first_rung
    from {{ ref('int_match_candidates__found') }}
),

answers as (
    select
        source,
        customer_id,
        account_source,
        case when max(shared_by) > 1 then max(shared_by) else count(*) end as claim_count,
        min(account_id) as account_id,
        min(rung) as rung,
        min(rule) as rule,
        min(evidence) as evidence
    from candidates
    where rung = first_rung
    group by source, customer_id, account_source
),

answered as (
    select
        customers.source,
        customers.customer_id,
        customers.root_customer_id,
        crms.account_source,
        case
            when coalesce(own.claim_count, head.claim_count) = 1 then 'matched'
            when coalesce(own.claim_count, head.claim_count) > 1 then 'ambiguous'
            else 'unmatched'
        end as outcome,
        case when coalesce(own.claim_count, head.claim_count) = 1
            then coalesce(own.account_id, head.account_id) end as account_id,
        coalesce(own.rung, head.rung) as rung,
        coalesce(own.rule, head.rule) as rule,
        case
            when own.customer_id is null and not customers.is_root and head.customer_id is not null
                then {{ dbt.concat(["'follows its parent '", 'customers.root_customer_id', "': '", 'head.evidence']) }}
            else coalesce(own.evidence, head.evidence)
        end as evidence
    from {{ ref('int_customers__rooted') }} as customers
    cross join crms
    left join answers as own
        on customers.source = own.source and customers.customer_id = own.customer_id
        and crms.account_source = own.account_source
    left join answers as head
        on customers.source = head.source and customers.root_customer_id = head.customer_id
        and crms.account_source = head.account_source
)

select
    answered.*,
    row_number() over (
        partition by source, customer_id
        order by case outcome when 'matched' then 1 when 'ambiguous' then 2 else 3 end, {{ crm_rank('account_source') }}
    ) = 1 as is_first
from answered
