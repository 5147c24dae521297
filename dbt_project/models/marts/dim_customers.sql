select
    customers.source,
    customers.customer_id,
    customers.name,
    customers.email,
    customers.parent_id,
    customers.currency,
    customers.active,
    matched.outcome as match_outcome,
    matched.account_source,
    matched.account_id,
    cast(matched.rung as bigint) as match_rung,
    matched.rule as match_rule,
    matched.evidence as match_evidence,
    customers.url
from {{ ref('int_customers__unioned') }} as customers
inner join {{ ref('int_customers__matched') }} as matched
    on customers.source = matched.source and customers.customer_id = matched.customer_id
