with accounts as (
    {{ newest(source('raw_salesforce', 'accounts'), ['id']) }}
),

final as (
    select
        'salesforce' as source,
        id as account_id,
        name,
        {{ host_of('website') }} as domain,
        billing_email as email,
        street,
        city,
        state as region,
        postal_code,
        country,
        {{ text_or_null('owner_id') }} as owner_id,
        {{ text_or_null('parent_id') }} as parent_id,
        url,
        modified_at,
        _problem as problem
    from accounts
)

{{ canonical_select('accounts', 'final') }}
