with customers as (
    {{ newest(source('raw_acorn', 'customers'), ['id']) }}
),

final as (
    select
        'acorn' as source,
        id as customer_id,
        name,
        company_name as legal_name,
        email,
        {{ host_of('website') }} as domain,
        parent_id,
        currency,
        crm_id as crm_account_id,
        coalesce(active, true) as active,
        terms_days,
        url,
        modified_at,
        _problem as problem
    from customers
)

{{ canonical_select('customers', 'final') }}
