-- Memo: an account behind a customer that does not tie is never written, and no account is held for a ledger's total.
with untied as (
    select distinct matches.account_source, matches.account_id
    from {{ ref('rpt_tie_out') }} as tied
    inner join {{ ref('dim_customer_matches') }} as matches
        on tied.source = matches.source and tied.customer_id = matches.customer_id
    where tied.level = 'customer' and not tied.is_tied and matches.account_id is not null
)

select statuses.source, statuses.account_id, statuses.hold_reason
from {{ ref('account_status') }} as statuses
left join untied on statuses.source = untied.account_source and statuses.account_id = untied.account_id
where (untied.account_id is not null and statuses.hold_reason is null)
    or (untied.account_id is null and statuses.hold_reason like '%does not tie out%')
