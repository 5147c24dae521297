-- A customer's family head: sub-customers and jobs follow their parent, at most five levels up.
with customers as (
    select * from {{ ref('int_customers__unioned') }}
)

select
    customers.source,
    customers.customer_id,
    coalesce(
        parent_4.customer_id, parent_3.customer_id, parent_2.customer_id, parent_1.customer_id, customers.customer_id
    ) as root_customer_id,
    parent_1.customer_id is null as is_root,
    customers.name,
    {{ normalised_email('customers.email') }} as email,
    {{ normalised_name('customers.name') }} as plain_name,
    {{ normalised_name('customers.legal_name') }} as plain_legal_name,
    {{ business_domain('customers.domain') }} as domain,
    {{ business_domain(domain_of_email('customers.email')) }} as email_domain,
    customers.crm_account_id,
    customers.url
from customers
{%- for level in [1, 2, 3, 4] %}
left join customers as parent_{{ level }}
    on {{ 'customers' if loop.first else 'parent_' ~ (level - 1) }}.parent_id = parent_{{ level }}.customer_id
    and customers.source = parent_{{ level }}.source
{%- endfor %}
