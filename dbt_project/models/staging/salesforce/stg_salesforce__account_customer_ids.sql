with accounts as (
    {{ newest(source('raw_salesforce', 'accounts'), ['id']) }}
),

-- The field holds 'ledger:58; ledger:60'; an id without a ledger is the only ledger's, when there is one.
items as (
    {{ split_to_rows('accounts', ['id', 'url'], 'customer_ids', ';') }}
),

final as (
    select
        'salesforce' as source,
        id as account_id,
        case when {{ position_of("':'", 'item') }} > 0 then lower(trim({{ dbt.split_part('item', "':'", 1) }}))
            {%- if var('ledgers') | length == 1 %} else '{{ var('ledgers')[0] }}'{% endif %} end as ledger,
        case when {{ position_of("':'", 'item') }} > 0 then trim({{ dbt.split_part('item', "':'", 2) }})
            else item end as customer_id,
        url
    from items
)

{{ canonical_select('account_customer_ids', '(select distinct * from final) as final') }}
