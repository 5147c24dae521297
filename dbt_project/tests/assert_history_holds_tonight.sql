-- Memo: the history of a night is that night's status, row for row, however often the night ran.
select
    coalesce(statuses.account_id, history.account_id) as account_id,
    statuses.financial_status as tonight,
    history.financial_status as remembered
from {{ ref('account_status') }} as statuses
full outer join (select * from {{ ref('account_status_history') }} where as_of = {{ as_of() }}) as history
    on statuses.source = history.source and statuses.account_id = history.account_id
where statuses.financial_status is distinct from history.financial_status
    or statuses.total_outstanding is distinct from history.total_outstanding
    or statuses.overdue_amount is distinct from history.overdue_amount
