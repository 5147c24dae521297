with companies as (
    {{ newest(source('raw_hubspot', 'companies'), ['id']) }}
),

final as (
    select
        'hubspot' as source,
        id as account_id,
        name,
        {{ host_of('domain') }} as domain,
        billing_email as email,
        address as street,
        city,
        state as region,
        zip as postal_code,
        country,
        {{ text_or_null('owner_id') }} as owner_id,
        nullif(coalesce(survivors.account_id, {{ text_or_null('companies.parent_id') }}), companies.id) as parent_id,
        url,
        modified_at,
        _problem as problem
    from companies
    left join {{ ref('stg_hubspot__account_merges') }} as survivors on companies.parent_id = survivors.merged_id
)

{{ canonical_select('accounts', 'final') }}
