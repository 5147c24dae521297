-- Memo: the bridge is the only judge. A deal's main cause is a cause of its bridge, the one that nobody has explained or
-- else the largest; its status is Matched without a cause or with rounding alone, Review with one that asks a person, and
-- Explained with any other. A deal whose difference has no number in its own currency is for Review and says why.
with bridge as (
    select
        bridge.source,
        bridge.deal_id,
        sum(case when bridge.cause <> 'rounding' then 1 else 0 end) as cause_count,
        sum(case when bridge.cause in ('{{ causes_of_the_rest() | join("', '") }}') then 1 else 0 end) as rest_count,
        sum(case when bridge.cause in ('{{ causes_to_review() | join("', '") }}') then 1 else 0 end) as review_count,
        max(case when bridge.cause <> 'rounding' then abs(bridge.amount_deal) end) as largest,
        sum(case when bridge.cause = reconciled.main_cause then 1 else 0 end) as main_count,
        max(case when bridge.cause = reconciled.main_cause then abs(bridge.amount_deal) end) as main_amount
    from {{ ref('fct_deal_variance_bridge') }} as bridge
    inner join {{ ref('fct_deal_reconciliation') }} as reconciled
        on bridge.source = reconciled.source and bridge.deal_id = reconciled.deal_id
    where bridge.cause <> 'fx'
    group by 1, 2
),

judged as (
    select
        reconciled.source,
        reconciled.deal_id,
        reconciled.status,
        reconciled.main_cause,
        reconciled.variance_amount,
        reconciled.variance_base,
        coalesce(bridge.cause_count, 0) as cause_count,
        coalesce(bridge.rest_count, 0) as rest_count,
        coalesce(bridge.review_count, 0) as review_count,
        coalesce(bridge.main_count, 0) as main_count,
        bridge.largest,
        bridge.main_amount
    from {{ ref('fct_deal_reconciliation') }} as reconciled
    left join bridge on reconciled.source = bridge.source and reconciled.deal_id = bridge.deal_id
)

select source, deal_id, status, main_cause
from judged
where case
    when variance_amount is null then status <> 'Review' or main_cause is null
        or main_cause not in ('other_currency', 'unexplained')
    -- Without a rate of the close or of a document there is no bridge in base to compare with.
    when variance_base is null then false
    when cause_count = 0 then status <> 'Matched' or coalesce(main_cause, 'rounding') <> 'rounding'
        or (main_cause is null) <> (main_count = 0)
    when main_count <> 1 then true
    when rest_count > 0 then status <> 'Review' or main_cause not in ('{{ causes_of_the_rest() | join("', '") }}')
    else main_amount <> largest or status <> case when review_count > 0 then 'Review' else 'Explained' end
end
