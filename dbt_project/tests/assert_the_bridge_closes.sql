-- Memo: the causes of every deal add up to its difference, exactly, in base currency and, where the documents are in the
-- deal's, in that; a deal without a difference has none; and each cause is one of the thirteen, with the sign and size it
-- may have.
with bridge as (
    select
        source,
        deal_id,
        sum(amount_base) as amount_base,
        sum(amount_deal) as amount_deal,
        sum(case when cause in ('awaiting_review', 'scheduled', 'not_invoiced', 'partly_invoiced') and amount_deal > 0
            or cause = 'over_invoiced' and amount_deal < 0 then 1 else 0 end) as wrong_signs,
        sum(case when cause in ('fx', '{{ bridge_causes() | join("', '") }}') then 0 else 1 end) as unknown_causes
    from {{ ref('fct_deal_variance_bridge') }}
    group by 1, 2
)

select
    coalesce(reconciled.deal_id, bridge.deal_id) as record_id,
    reconciled.variance_base,
    bridge.amount_base,
    reconciled.variance_amount,
    bridge.amount_deal
from {{ ref('fct_deal_reconciliation') }} as reconciled
full outer join bridge on reconciled.source = bridge.source and reconciled.deal_id = bridge.deal_id
where reconciled.deal_id is null
    or coalesce(bridge.amount_base, 0) <> coalesce(reconciled.variance_base, 0)
    or (reconciled.variance_base is not null
        and coalesce(bridge.amount_deal, 0) <> coalesce(reconciled.variance_amount, 0))
    or (reconciled.variance_base is null and bridge.deal_id is not null)
    or bridge.wrong_signs > 0
    or bridge.unknown_causes > 0
union all
select bridge.deal_id, bridge.amount_base, null, bridge.amount_deal, null
from {{ ref('fct_deal_variance_bridge') }} as bridge
inner join {{ ref('fct_deal_reconciliation') }} as reconciled
    on bridge.source = reconciled.source and bridge.deal_id = reconciled.deal_id
where bridge.cause = 'rounding'
    and not {{ within('bridge.amount_deal', '0', var('tolerance') ~ ' * greatest(reconciled.document_count, 1)') }}
