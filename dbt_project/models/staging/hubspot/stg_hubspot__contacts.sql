with contacts as (
    {{ newest(source('raw_hubspot', 'contacts'), ['id']) }}
),

final as (
    select
        'hubspot' as source,
        id as contact_id,
        coalesce(survivors.account_id, {{ text_or_null('contacts.company_id') }}) as account_id,
        email,
        first_name,
        last_name,
        null as url,
        _problem as problem
    from contacts
    left join {{ ref('stg_hubspot__account_merges') }} as survivors on contacts.company_id = survivors.merged_id
)

{{ canonical_select('contacts', 'final') }}
