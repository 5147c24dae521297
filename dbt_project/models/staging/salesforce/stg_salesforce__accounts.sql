with accounts as (
    {{ newest(source('raw_salesforce', 'accounts'), ['id']) }}
),

final as (
    select
        'salesforce' as source,
        accounts.id as account_id,
        name,
        {{ host_of('website') }} as domain,
        coalesce({{ text_or_null('billing_email') }}, person_email) as email,
        street,
        city,
        state as region,
        postal_code,
        country,
        {{ text_or_null('owner_id') }} as owner_id,
        nullif(coalesce(survivors.account_id, {{ text_or_null('accounts.parent_id') }}), accounts.id) as parent_id,
        url,
        modified_at,
        _problem as problem
    from accounts
    left join {{ ref('stg_salesforce__account_merges') }} as survivors on accounts.parent_id = survivors.merged_id
)

{{ canonical_select('accounts', 'final') }}
