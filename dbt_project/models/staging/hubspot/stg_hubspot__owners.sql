with owners as (
    {{ newest(source('raw_hubspot', 'owners'), ['id']) }}
),

final as (
    select
        'hubspot' as source,
        id as owner_id,
        email,
        first_name,
        -- Whoever left still owns old records: the name stays, and says so.
        case when archived then trim(coalesce(last_name, '') || ' (deactivated)') else last_name end as last_name,
        not archived as is_active,
        null as url,
        _problem as problem
    from owners
)

{{ canonical_select('owners', 'final') }}
