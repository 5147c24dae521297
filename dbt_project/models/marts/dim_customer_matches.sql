select
    matched.source,
    matched.customer_id,
    matched.account_source,
    matched.outcome as match_outcome,
    matched.account_id,
    cast(matched.rung as bigint) as match_rung,
    matched.rule as match_rule,
    matched.evidence as match_evidence,
    matched.is_first
from {{ ref('int_customers__matched') }} as matched
