with customers as (
    {{ newest(source('raw_quickbooks', 'customers'), ['id']) }}
),

terms as (
    {{ newest(source('raw_quickbooks', 'terms'), ['id']) }}
),

home as (
    select home_currency from {{ ref('stg_quickbooks__company') }}
),

final as (
    select
        'quickbooks' as source,
        customers.id as customer_id,
        customers.display_name as name,
        -- A job repeats its parent's company name, so only a customer of its own has one.
        case when customers.parent_id is null then customers.company_name end as legal_name,
        customers.email,
        {{ host_of('customers.website') }} as domain,
        {{ text_or_null('customers.parent_id') }} as parent_id,
        coalesce({{ text_or_null('customers.currency') }}, home.home_currency) as currency,
        {{ text_or_null('customers.crm_id') }} as crm_account_id,
        coalesce(customers.active, true) as active,
        terms.due_days as terms_days,
        customers.url,
        customers.modified_at,
        customers._problem as problem
    from customers
    cross join home
    left join terms on customers.terms_id = terms.id
)

{{ canonical_select('customers', 'final') }}
