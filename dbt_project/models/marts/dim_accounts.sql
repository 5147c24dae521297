with accounts as (
    select * from {{ ref('int_accounts__unioned') }}
),

customers as (
    select
        account_source,
        account_id,
        count(*) as customer_count,
        {{ list_of("source || ':' || customer_id", '; ') }} as customer_ids,
        {{ list_of('rule', '; ') }} as match_rules
    from {{ ref('int_customers__matched') }}
    where account_id is not null
    group by 1, 2
)

select
    accounts.source,
    accounts.account_id,
    accounts.name,
    accounts.domain,
    accounts.email,
    accounts.street,
    accounts.city,
    accounts.region,
    accounts.postal_code,
    accounts.country,
    accounts.owner_id,
    {{ text_or_null("coalesce(owners.first_name, '') || ' ' || coalesce(owners.last_name, '')") }} as owner_name,
    accounts.parent_id,
    parents.name as parent_name,
    cast(coalesce(customers.customer_count, 0) as bigint) as customer_count,
    customers.customer_ids,
    customers.match_rules,
    accounts.url
from accounts
left join {{ ref('int_owners__unioned') }} as owners
    on accounts.source = owners.source and accounts.owner_id = owners.owner_id
left join accounts as parents on accounts.source = parents.source and accounts.parent_id = parents.account_id
left join customers on accounts.source = customers.account_source and accounts.account_id = customers.account_id
