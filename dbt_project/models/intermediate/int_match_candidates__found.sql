-- Every account that a rung of the ladder offers for a customer; which rung answers is decided downstream.
with customers as (
    select * from {{ ref('int_customers__rooted') }}
),

heads as (
    select * from customers where is_root
),

accounts as (
    select
        source,
        account_id,
        {{ business_domain('domain') }} as domain,
        {{ normalised_name('name') }} as plain_name,
        {{ normalised_email('email') }} as email
    from {{ ref('int_accounts__unioned') }}
),

decisions as (
    {{ standing_decisions('match') }}
),

emails_of_accounts as (
    select source, account_id, email
    from accounts
    where email is not null
    union
    select contacts.source, contacts.account_id, {{ normalised_email('contacts.email') }}
    from {{ ref('int_contacts__unioned') }} as contacts
    inner join accounts on contacts.source = accounts.source and contacts.account_id = accounts.account_id
    where {{ normalised_email('contacts.email') }} is not null
),

-- An address that several customers of a ledger share is unique on one side only: a question about each of them. One
-- company may be a customer of two ledgers.
emails_of_customers as (
    select source, email, count(*) as customer_count
    from heads
    where email is not null
    group by source, email
),

names_of_customers as (
    select heads.source, heads.customer_id, domains.domain, names.plain_name
    from heads
    inner join (
        select source, customer_id, domain from heads
        union
        select source, customer_id, email_domain from heads
    ) as domains on heads.source = domains.source and heads.customer_id = domains.customer_id
    inner join (
        select source, customer_id, plain_name from heads
        union
        select source, customer_id, plain_legal_name from heads
    ) as names on heads.source = names.source and heads.customer_id = names.customer_id
    where domains.domain is not null and names.plain_name is not null
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
        heads.source, heads.customer_id, emails_of_accounts.source, emails_of_accounts.account_id,
        4, 'email', {{ dbt.concat(["'both use '", 'heads.email']) }}, emails_of_customers.customer_count
    from heads
    inner join emails_of_customers
        on heads.source = emails_of_customers.source and heads.email = emails_of_customers.email
    inner join emails_of_accounts on heads.email = emails_of_accounts.email

    union all

    select
        names_of_customers.source, names_of_customers.customer_id, accounts.source, accounts.account_id,
        5, 'domain_and_name',
        {{ dbt.concat(["'both are '", 'accounts.plain_name', "' at '", 'accounts.domain']) }}, 1
    from names_of_customers
    inner join accounts
        on names_of_customers.domain = accounts.domain and names_of_customers.plain_name = accounts.plain_name
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
