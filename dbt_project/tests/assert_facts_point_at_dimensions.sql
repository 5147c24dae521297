-- Memo: an account or deal that a fact names exists, and the account is the one that its customer is matched to.
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
union all
select 'customer', matches.customer_id, matches.account_id
from {{ ref('dim_customer_matches') }} as matches
left join {{ ref('dim_accounts') }} as accounts
    on matches.account_source = accounts.source and matches.account_id = accounts.account_id
where matches.account_id is not null and accounts.account_id is null
union all
select 'matched customer', facts.record_id, facts.account_id
from (
    select source, customer_id, account_source, account_id, document_id as record_id from {{ ref('fct_invoices') }}
    union all
    select source, customer_id, account_source, account_id, payment_id from {{ ref('fct_payments') }}
) as facts
left join (select * from {{ ref('dim_customer_matches') }} where is_first) as matches
    on facts.source = matches.source and facts.customer_id = matches.customer_id
where facts.account_id is distinct from matches.account_id
    or (facts.account_id is not null and facts.account_source is distinct from matches.account_source)
