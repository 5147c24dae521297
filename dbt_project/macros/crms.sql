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
  ledger is the only ledger's, when there is one. `accounts` has id, url and customer_ids.
#}
{% macro stored_customer_ids(slug, accounts) %}
with accounts as (
    {{ accounts }}
),

final as (
    select '{{ slug }}' as source, id as account_id, ledger, customer_id, url
    from ({{ customer_id_items('accounts', ['id', 'url'], 'customer_ids') }}) as items
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
