-- Memo: every customer has one answer from every configured CRM, and one of them stands for it where there is room for
-- one.
select customers.source, customers.customer_id, count(matches.account_source) as answers
from {{ ref('int_customers__unioned') }} as customers
left join {{ ref('dim_customer_matches') }} as matches
    on customers.source = matches.source and customers.customer_id = matches.customer_id
    and matches.account_source in ('{{ var("crms") | join("', '") }}')
group by 1, 2
having count(matches.account_source) <> {{ var('crms') | length }}
    or sum(case when matches.is_first then 1 else 0 end) <> {{ 1 if var('crms') else 0 }}
