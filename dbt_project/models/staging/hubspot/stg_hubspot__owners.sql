with owners as (
    {{ newest(source('raw_hubspot', 'owners'), ['id']) }}
),

final as (
    select
        'hubspot' as source,
        id as owner_id,
        email,
        first_name,
        last_name,
        null as url,
        _problem as problem
    from owners
)

{{ canonical_select('owners', 'final') }}
