-- Memo: every won deal has one row, no other deal has any, and its variance is invoiced less contracted to the
-- cent, in base currency also for a deal billed in another one.
select deals.deal_id as won, reconciled.deal_id as reconciled, reconciled.variance_amount
from (select * from {{ ref('int_deals__unioned') }} where is_won) as deals
full outer join {{ ref('fct_deal_reconciliation') }} as reconciled
    on deals.source = reconciled.source and deals.deal_id = reconciled.deal_id
where deals.deal_id is null or reconciled.deal_id is null
    or reconciled.variance_amount is distinct from reconciled.invoiced_amount - reconciled.contracted_amount
    or reconciled.variance_base is distinct from reconciled.invoiced_base - reconciled.contracted_base
