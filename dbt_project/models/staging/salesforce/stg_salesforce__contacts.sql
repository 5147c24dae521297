with contacts as (
    {{ newest(source('raw_salesforce', 'contacts'), ['id']) }}
),

final as (
    select
        'salesforce' as source,
        id as contact_id,
        {{ text_or_null('account_id') }} as account_id,
        email,
        first_name,
        last_name,
        null as url,
        _problem as problem
    from contacts
)

{{ canonical_select('contacts', 'final') }}
