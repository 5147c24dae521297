{#
  The place of a CRM in the configuration. Customers are matched and documents are linked in every CRM by itself; where
  one row has room for one answer, it is that of the first CRM which has one.
#}
{% macro crm_rank(slug) %}
{%- if var('crms') -%}
case {{ slug }}
    {%- for crm in var('crms') %} when '{{ crm }}' then {{ loop.index }}{% endfor %} else {{ var('crms') | length + 1 }}
end
{%- else -%} 1 {%- endif -%}
{% endmacro %}

{#
  The customers that accounts store in a text 'ledger:58; ledger:60', as the canonical account_customer_ids. An id without a
  ledger is the only ledger's, when there is one. What was stored on an account that was merged since holds for its survivor.
  `relation` is the raw table, with id, url, customer_ids and modified_at.
#}
{% macro stored_customer_ids(slug, relation) %}
with accounts as (
    {{ newest(relation, ['id']) }}
),

last_seen as (
    select id, customer_ids, row_number() over (partition by id order by _landed_at desc, modified_at desc) as _age
    from {{ relation }}
    where not _deleted and _landed_at <= {{ known_at() }}
),

held as (
    select id, url, customer_ids, null as stored_on from accounts
    union all
    select accounts.id, accounts.url, last_seen.customer_ids, last_seen.id
    from {{ ref('stg_' ~ slug ~ '__account_merges') }} as merges
    inner join accounts on merges.account_id = accounts.id
    inner join last_seen on merges.merged_id = last_seen.id and last_seen._age = 1
),

final as (
    select
        '{{ slug }}' as source, id as account_id, ledger, customer_id, url,
        case when count(stored_on) = count(*) then min(stored_on) end as stored_on
    from ({{ customer_id_items('held', ['id', 'url', 'stored_on'], 'customer_ids') }}) as items
    group by id, ledger, customer_id, url
)

{{ canonical_select('account_customer_ids', 'final') }}
{% endmacro %}

{# Rows of a relation, one per customer that a text 'ledger:58; ledger:60' names: `kept` columns, `ledger`, `customer_id`. #}
{% macro customer_id_items(relation, kept, column) %}
select distinct
    {{ kept | join(', ') }},
    case when {{ position_of("':'", 'item') }} > 0 then lower(trim({{ dbt.split_part('item', "':'", 1) }}))
        {%- if var('ledgers') | length == 1 %} else '{{ var('ledgers')[0] }}'{% endif %} end as ledger,
    case when {{ position_of("':'", 'item') }} > 0 then trim({{ dbt.split_part('item', "':'", 2) }})
        else item end as customer_id
from ({{ split_to_rows(relation, kept, column, ';') }}) as parts
{% endmacro %}
