{#- Suppliers are contacts too, and so is whoever a bank transaction names. Xero sets IsCustomer itself, with the first
    sales invoice (specification of Contact): a contact is a customer when the flag says so or is absent, when receivables
    name it, when somebody wrote the CRM's id on it, or when it was merged into another, whose id a CRM may still store. -#}
with contacts as (
    {{ newest(source('raw_xero', 'contacts'), ['id']) }}
),

named as (
    select customer_id as contact_id from {{ ref('stg_xero__documents') }}
    union
    select customer_id from {{ ref('stg_xero__payments') }}
),

final as (
    select
        'xero' as source,
        contacts.id as customer_id,
        contacts.name,
        null as legal_name,
        contacts.email,
        {{ host_of('contacts.website') }} as domain,
        {{ text_or_null('contacts.merged_to_id') }} as parent_id,
        coalesce({{ text_or_null('contacts.currency') }}, organisations.home_currency, '{{ var("base_currency") }}')
            as currency,
        {{ text_or_null('contacts.crm_id') }} as crm_account_id,
        coalesce(contacts.status = 'ACTIVE', true) as active,
        case when terms.terms_kind = 'days_after_bill' then terms.terms_day end as terms_days,
        contacts.url,
        contacts.modified_at,
        contacts._problem as problem
    from contacts
    left join {{ ref('stg_xero__organisations') }} as organisations on contacts.tenant_id = organisations.tenant_id
    left join {{ ref('stg_xero__contact_terms') }} as terms on contacts.id = terms.contact_id
    left join named on contacts.id = named.contact_id
    where coalesce(contacts.is_customer, true)
        or named.contact_id is not null or {{ text_or_null('contacts.crm_id') }} is not null
        or {{ text_or_null('contacts.merged_to_id') }} is not null
)

{{ canonical_select('customers', 'final') }}
