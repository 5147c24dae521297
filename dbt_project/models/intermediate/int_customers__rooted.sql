-- A customer's family head: sub-customers and jobs follow their parent, and who was merged the one that is left, however
-- many steps that takes. Parents that lead round in a circle, or on for more steps than any family has, lead nowhere: such a
-- customer is its own head and says so.
{%- set most_steps = 100 %}
with recursive customers as (
    select * from {{ ref('int_customers__unioned') }}
),

walk as (
    select source, customer_id, customer_id as reached_id, parent_id, 0 as steps
    from customers
    union all
    select walk.source, walk.customer_id, parents.customer_id, parents.parent_id, walk.steps + 1
    from walk
    inner join customers as parents on walk.source = parents.source and walk.parent_id = parents.customer_id
    where walk.steps < {{ most_steps }}
),

heads as (
    select
        source,
        customer_id,
        case when is_endless then customer_id else reached_id end as root_customer_id,
        is_endless
    from (
        select
            walk.*,
            steps = {{ most_steps }} as is_endless,
            row_number() over (partition by source, customer_id order by steps desc) as nearness
        from walk
    ) as ranked
    where nearness = 1
)

select
    customers.source,
    customers.customer_id,
    heads.root_customer_id,
    customers.customer_id = heads.root_customer_id as is_root,
    heads.is_endless as has_endless_parents,
    customers.name,
    customers.legal_name,
    {{ normalised_email('customers.email') }} as email,
    {{ normalised_name('customers.name') }} as plain_name,
    {{ normalised_name('customers.legal_name') }} as plain_legal_name,
    -- The company's name is the legal one; the name on display may leave the form out.
    coalesce({{ legal_form('customers.legal_name') }}, {{ legal_form('customers.name') }}) as legal_form,
    {{ business_domain('customers.domain') }} as domain,
    {{ business_domain(domain_of_email('customers.email')) }} as email_domain,
    customers.crm_account_id,
    customers.url
from customers
inner join heads on customers.source = heads.source and customers.customer_id = heads.customer_id
