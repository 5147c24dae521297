-- The customer ids that accounts store, beside what people decided. A wish is '+' for a confirmed match that is not stored
-- yet, and '-' for an id that only Crossfoot wrote, for a decision which no longer stands: it answers nothing any more.
with accounts as (
    select source, account_id, url from {{ ref('int_accounts__unioned') }}
),

decisions as (
    select distinct source, left_id as account_id, right_source as ledger, right_id as customer_id
    from ({{ standing_matches() }}) as standing
    where verdict = 'same'
),

-- A write whose answer is awaited may have been made.
writes as (
    select system, record_id, run_id, recorded_at, before as old_ids, after as new_ids
    from (
        select
            landed.*,
            row_number() over (
                partition by run_id, system, object, record_id order by _landed_at desc, recorded_at desc
            ) as _version
        from {{ source('raw_crossfoot', 'writes') }} as landed
        where field = 'customer_ids' and _landed_at <= {{ known_at() }} and not _deleted
    ) as versions
    where _version = 1 and outcome in ('written', 'unknown')
),

moves as (
    select system, record_id, ledger, customer_id, recorded_at, sum(step) as step
    from (
        select *, 1 as step
        from ({{ customer_id_items('writes', ['system', 'record_id', 'run_id', 'recorded_at'], 'new_ids') }}) as new_items
        union all
        select *, -1
        from ({{ customer_id_items('writes', ['system', 'record_id', 'run_id', 'recorded_at'], 'old_ids') }}) as old_items
    ) as ends
    group by system, record_id, ledger, customer_id, run_id, recorded_at
    having sum(step) <> 0
),

-- What the last write of an id put there is ours, until a write takes it away again. What a person had stored before
-- stands on both sides of each write and moves nothing.
ours as (
    select system, record_id, ledger, customer_id
    from (
        select
            moves.*,
            row_number() over (partition by system, record_id, ledger, customer_id order by recorded_at desc) as place
        from moves
    ) as placed
    where place = 1 and step = 1
),

stored as (
    select
        unioned.source,
        unioned.account_id,
        unioned.ledger,
        unioned.customer_id,
        unioned.url,
        unioned.stored_on,
        case when ours.customer_id is not null and decisions.customer_id is null then '-' end as wish,
        decisions.customer_id is not null as is_decided
    from {{ ref('int_account_customer_ids__unioned') }} as unioned
    left join ours
        on unioned.source = ours.system and coalesce(unioned.stored_on, unioned.account_id) = ours.record_id
        and unioned.ledger = ours.ledger and unioned.customer_id = ours.customer_id
    left join decisions
        on unioned.source = decisions.source and unioned.account_id = decisions.account_id
        and unioned.ledger = decisions.ledger and unioned.customer_id = decisions.customer_id
)

-- A decided id that only a merged account has is not stored yet.
select source, account_id, ledger, customer_id, url, wish from stored where stored_on is null or not is_decided
union all
-- An id that holds the delimiter could not be told from two.
select decisions.source, decisions.account_id, decisions.ledger, decisions.customer_id, accounts.url, '+'
from decisions
inner join accounts on decisions.source = accounts.source and decisions.account_id = accounts.account_id
inner join {{ ref('int_customers__unioned') }} as customers
    on decisions.ledger = customers.source and decisions.customer_id = customers.customer_id
left join stored
    on decisions.source = stored.source and decisions.account_id = stored.account_id
    and decisions.ledger = stored.ledger and decisions.customer_id = stored.customer_id and stored.stored_on is null
where stored.customer_id is null and {{ position_of("';'", 'decisions.customer_id') }} = 0
