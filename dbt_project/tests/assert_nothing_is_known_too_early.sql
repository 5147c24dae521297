-- Memo: a night that runs again knows only what it knew then.
select source, last_load_at, last_complete_at
from {{ ref('sync_health') }}
where last_load_at > {{ known_at() }} or last_complete_at > {{ known_at() }}
union all
select source, financials_as_of, null
from {{ ref('account_status') }}
where financials_as_of > {{ known_at() }}
