with contacts as (
    {{ newest(source('raw_salesforce', 'contacts'), ['id']) }}
),

final as (
    select
        'salesforce' as source,
        contacts.id as contact_id,
        coalesce(survivors.account_id, {{ text_or_null('contacts.account_id') }}) as account_id,
        email,
        first_name,
        last_name,
        null as url,
        _problem as problem
    from contacts
    left join {{ ref('stg_salesforce__account_merges') }} as survivors on contacts.account_id = survivors.merged_id
)

{{ canonical_select('contacts', 'final') }}
