-- Every account that a rung of the ladder offers for a customer; which rung answers is decided downstream.
with customers as (
    select * from {{ ref('int_customers__rooted') }}
),

heads as (
    select * from customers where is_root
),

accounts as (
    select source, account_id from {{ ref('int_accounts__unioned') }}
),

decisions as (
    {{ standing_matches() }}
),

candidates as (
    -- A decision also stands for a sub-customer of its own.
    select
        customers.source, customers.customer_id, accounts.source as account_source, accounts.account_id,
        1 as rung, 'decision' as rule,
        {{ dbt.concat(["'decided by '", "coalesce(decisions.decided_by, 'a person')", "': '",
            "coalesce(decisions.reason, 'no reason given')"]) }} as evidence,
        1 as shared_by
    from decisions
    inner join customers
        on decisions.right_source = customers.source and decisions.right_id = customers.customer_id
    inner join accounts on decisions.source = accounts.source and decisions.left_id = accounts.account_id
    where decisions.verdict = 'same'

    union all

    select
        heads.source, heads.customer_id, accounts.source, accounts.account_id,
        2, 'customer_id_on_account',
        {{ dbt.concat(["'the account stores '", 'stored.ledger', "':'", 'stored.customer_id']) }}, 1
    from {{ ref('int_account_customer_ids__decided') }} as stored
    inner join heads on stored.ledger = heads.source and stored.customer_id = heads.customer_id
    inner join accounts on stored.source = accounts.source and stored.account_id = accounts.account_id
    where stored.wish is null

    union all

    select
        heads.source, heads.customer_id, accounts.source, accounts.account_id,
        3, 'account_id_on_customer', {{ dbt.concat(["'the customer stores '", 'heads.crm_account_id']) }}, 1
    from heads
    inner join accounts on heads.crm_account_id = accounts.account_id

    union all

    select
        heads.source, heads.customer_id, accounts.source, accounts.account_id, 3, 'account_id_on_customer',
        {{ dbt.concat(["'the customer stores '", 'heads.crm_account_id', "', which was merged into this one'"]) }}, 1
    from heads
    inner join {{ ref('int_account_merges__unioned') }} as merges on heads.crm_account_id = merges.merged_id
    inner join accounts on merges.source = accounts.source and merges.account_id = accounts.account_id

    union all

    select source, customer_id, account_source, account_id, rung, rule, evidence, shared_by
    from {{ ref('int_match_proofs__found') }}
),

refused as (
    select source, left_id, right_source, right_id from decisions where verdict = 'different'
)

select
    candidates.source,
    candidates.customer_id,
    candidates.account_source,
    candidates.account_id,
    candidates.rung,
    candidates.rule,
    min(candidates.evidence) as evidence,
    max(candidates.shared_by) as shared_by
from candidates
left join refused
    on candidates.source = refused.right_source and candidates.customer_id = refused.right_id
    and candidates.account_source = refused.source and candidates.account_id = refused.left_id
where refused.left_id is null
group by 1, 2, 3, 4, 5, 6
