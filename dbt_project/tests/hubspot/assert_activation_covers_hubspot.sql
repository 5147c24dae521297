-- Memo: the write-back sees each account and each won deal once, so that what it does not write is held, not lost.
select 'company' as object, accounts.account_id as expected, sync.record_id as found
from (select account_id from {{ ref('dim_accounts') }} where source = 'hubspot') as accounts
full outer join {{ ref('sync_hubspot__companies') }} as sync on accounts.account_id = sync.record_id
where accounts.account_id is null or sync.record_id is null
union all
select 'deal', deals.deal_id, sync.record_id
from (select deal_id from {{ ref('fct_deals') }} where source = 'hubspot' and is_won) as deals
full outer join {{ ref('sync_hubspot__deals') }} as sync on deals.deal_id = sync.record_id
where deals.deal_id is null or sync.record_id is null
