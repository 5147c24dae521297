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
