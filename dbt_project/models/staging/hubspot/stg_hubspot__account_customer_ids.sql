{#- What a person stored on a company that was merged since holds for its survivor. -#}
{%- set accounts %}
    select id, url, customer_ids from ({{ newest(source('raw_hubspot', 'companies'), ['id']) }}) as companies
    union all
    select survivors.id, survivors.url, merged.customer_ids
    from {{ ref('stg_hubspot__merged_records') }} as names
    inner join ({{ newest(source('raw_hubspot', 'companies'), ['id']) }}) as survivors
        on names.object = 'account' and names.record_id = survivors.id
    inner join (
        select id, customer_ids, row_number() over (partition by id order by _landed_at desc, modified_at desc) as _age
        from {{ source('raw_hubspot', 'companies') }}
        where not _deleted and _landed_at <= {{ known_at() }}
    ) as merged on names.merged_id = merged.id and merged._age = 1
{% endset -%}
{{ stored_customer_ids('hubspot', accounts) }}
