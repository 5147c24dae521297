with users as (
    {{ newest(source('raw_salesforce', 'users'), ['id']) }}
),

final as (
    select
        'salesforce' as source,
        id as owner_id,
        email,
        first_name,
        last_name,
        active as is_active,
        null as url,
        _problem as problem
    from users
)

{{ canonical_select('owners', 'final') }}
