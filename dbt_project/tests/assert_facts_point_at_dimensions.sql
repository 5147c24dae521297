-- Memo: an account or deal that a fact names exists.
select 'invoice' as fact, invoices.document_id as record_id, invoices.account_id as missing
from {{ ref('fct_invoices') }} as invoices
left join {{ ref('dim_accounts') }} as accounts
    on invoices.account_source = accounts.source and invoices.account_id = accounts.account_id
where invoices.account_id is not null and accounts.account_id is null
union all
select 'invoice', invoices.document_id, invoices.deal_id
from {{ ref('fct_invoices') }} as invoices
left join {{ ref('fct_deals') }} as deals
    on invoices.deal_source = deals.source and invoices.deal_id = deals.deal_id
where invoices.deal_id is not null and deals.deal_id is null
union all
select 'payment', payments.payment_id, payments.account_id
from {{ ref('fct_payments') }} as payments
left join {{ ref('dim_accounts') }} as accounts
    on payments.account_source = accounts.source and payments.account_id = accounts.account_id
where payments.account_id is not null and accounts.account_id is null
union all
select 'deal', deals.deal_id, deals.account_id
from {{ ref('fct_deals') }} as deals
left join {{ ref('dim_accounts') }} as accounts
    on deals.source = accounts.source and deals.account_id = accounts.account_id
where deals.account_id is not null and accounts.account_id is null
