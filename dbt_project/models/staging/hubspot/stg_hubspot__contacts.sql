with contacts as (
    {{ newest(source('raw_hubspot', 'contacts'), ['id']) }}
),

final as (
    select
        'hubspot' as source,
        id as contact_id,
        {{ text_or_null('company_id') }} as account_id,
        email,
        first_name,
        last_name,
        null as url,
        _problem as problem
    from contacts
)

{{ canonical_select('contacts', 'final') }}
