select
    customers.source,
    customers.customer_id,
    customers.name,
    customers.email,
    customers.parent_id,
    customers.currency,
    customers.active,
    coalesce(matched.outcome, 'unmatched') as match_outcome,
    case when matched.account_id is not null then matched.account_source end as account_source,
    matched.account_id,
    cast(matched.rung as bigint) as match_rung,
    matched.rule as match_rule,
    matched.evidence as match_evidence,
    customers.url
from {{ ref('int_customers__unioned') }} as customers
left join {{ ref('int_customers__matched') }} as matched
    on customers.source = matched.source and customers.customer_id = matched.customer_id and matched.is_first
