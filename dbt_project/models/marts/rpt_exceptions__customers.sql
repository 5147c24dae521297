-- Customers that belong to nobody for certain: one row each.
{{ config(materialized='ephemeral') }}
with matches as (
    select * from {{ ref('int_customers__matched') }}
),

-- Unmatched in the CRM that answered best is unmatched in all of them.
customers as (
    select
        unioned.*,
        coalesce(matches.outcome, 'unmatched') as outcome,
        rooted.is_root,
        rooted.has_endless_parents
    from {{ ref('int_customers__unioned') }} as unioned
    inner join {{ ref('int_customers__rooted') }} as rooted
        on unioned.source = rooted.source and unioned.customer_id = rooted.customer_id
    left join matches
        on unioned.source = matches.source and unioned.customer_id = matches.customer_id and matches.is_first
),

documents as (
    select * from {{ ref('int_documents__valued') }}
),

invoiced_by_customer as (
    select
        source,
        customer_id,
        {{ total("case when document_type = 'invoice' then net_base else -net_base end") }} as net_base
    from documents
    where is_counted
    group by 1, 2
),

stored_ids as (
    select
        stored.*,
        matches.customer_id as known_id,
        matches.outcome,
        matches.account_id as matched_account_id
    from {{ ref('int_account_customer_ids__unioned') }} as stored
    left join matches
        on stored.ledger = matches.source and stored.customer_id = matches.customer_id
        and stored.source = matches.account_source
),

-- A customer that was merged into another is gone from its ledger, or is left there inactive, without its documents.
lost_decisions as (
    select
        decisions.*,
        accounts.account_id is null as has_no_account,
        customers.customer_id is null as has_no_customer,
        accounts.url
    from ({{ standing_matches() }}) as decisions
    left join {{ ref('int_accounts__unioned') }} as accounts
        on decisions.source = accounts.source and decisions.left_id = accounts.account_id
    left join {{ ref('int_customers__unioned') }} as customers
        on decisions.right_source = customers.source and decisions.right_id = customers.customer_id
    left join (select distinct source, customer_id from documents) as billed
        on decisions.right_source = billed.source and decisions.right_id = billed.customer_id
    where decisions.verdict = 'same' and (accounts.account_id is null or customers.customer_id is null
        or (not customers.active and billed.customer_id is null))
),

exceptions (kind, severity, source, object, record_id, related_id, message, amount_base, url) as (
    select
        'customer_only_in_accounting', 'warning', customers.source, 'customer', customers.customer_id, null,
        {{ dbt.concat(["coalesce(customers.name, customers.customer_id)",
            "' belongs to no account: new customers should start in the CRM'"]) }},
        invoiced_by_customer.net_base, customers.url
    from customers
    left join invoiced_by_customer
        on customers.source = invoiced_by_customer.source
        and customers.customer_id = invoiced_by_customer.customer_id
    where customers.outcome = 'unmatched' and customers.is_root
    union all
    select
        'customer_parents_endless', 'error', customers.source, 'customer', customers.customer_id, customers.parent_id,
        {{ dbt.concat(["'the parents of '", "coalesce(customers.name, customers.customer_id)",
            "' lead to no head of a family: correct its parent in the ledger'"]) }},
        invoiced_by_customer.net_base, customers.url
    from customers
    left join invoiced_by_customer
        on customers.source = invoiced_by_customer.source
        and customers.customer_id = invoiced_by_customer.customer_id
    where customers.has_endless_parents
    union all
    select
        case when matches.rung = 2 then 'customer_claimed_twice' else 'ambiguous_match' end, 'error',
        customers.source, 'customer', customers.customer_id, matches.account_source,
        {{ dbt.concat(["coalesce(customers.name, customers.customer_id)",
            "' cannot be matched for certain in '", 'matches.account_source', "': a person has to decide'"]) }},
        invoiced_by_customer.net_base, customers.url
    from customers
    inner join matches
        on customers.source = matches.source and customers.customer_id = matches.customer_id
        and matches.outcome = 'ambiguous'
    left join invoiced_by_customer
        on customers.source = invoiced_by_customer.source
        and customers.customer_id = invoiced_by_customer.customer_id
    where customers.is_root
    union all
    select
        'stored_customer_unknown', 'warning', source, 'account', account_id, customer_id,
        {{ dbt.concat(["'the account stores customer '", "coalesce(ledger, 'of no ledger')", "':'", 'customer_id',
            "', which does not exist'"]) }}, null, url
    from stored_ids
    where known_id is null
    union all
    select
        'stored_customer_elsewhere', 'warning', source, 'account', account_id, customer_id,
        {{ dbt.concat(["'the account stores customer '", 'ledger', "':'", 'customer_id',
            "', which belongs to '", "coalesce('account ' || matched_account_id, 'no account')"]) }}, null, url
    from stored_ids
    -- A customer that several accounts claim is listed once, as the question that it is.
    where known_id is not null and outcome <> 'ambiguous'
        and matched_account_id is distinct from account_id
    union all
    select
        'decision_lost', 'warning', source, 'account', left_id,
        {{ dbt.concat(['right_source', "':'", 'right_id']) }},
        {{ dbt.concat(["coalesce(decided_by, 'a person')", "' decided that account '", 'left_id', "' is customer '",
            'right_source', "':'", 'right_id', "', and '",
            "case when has_no_account then 'the account is gone' when has_no_customer then 'the customer is gone'"
            ~ " else 'the customer is inactive and has no documents' end",
            "' (merged or deleted): revoke the decision and decide about the one that is left'"]) }}, null, url
    from lost_decisions
    union all
    select
        'stored_account_unknown', 'warning', customers.source, 'customer', customers.customer_id,
        customers.crm_account_id,
        {{ dbt.concat(["'the customer stores account '", 'customers.crm_account_id', "', which does not exist'"]) }},
        null, customers.url
    from customers
    left join {{ ref('int_accounts__unioned') }} as accounts on customers.crm_account_id = accounts.account_id
    left join {{ ref('int_account_merges__unioned') }} as merges on customers.crm_account_id = merges.merged_id
    where customers.crm_account_id is not null and accounts.account_id is null and merges.merged_id is null
)

select * from exceptions
