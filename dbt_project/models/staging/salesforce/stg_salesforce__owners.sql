with users as (
    {{ newest(source('raw_salesforce', 'users'), ['id']) }}
),

final as (
    select
        'salesforce' as source,
        id as owner_id,
        email,
        first_name,
        -- Whoever left still owns old records: the name stays, and says so.
        case when not active then trim(coalesce(last_name, '') || ' (deactivated)') else last_name end as last_name,
        null as url,
        _problem as problem
    from users
)

{{ canonical_select('owners', 'final') }}
