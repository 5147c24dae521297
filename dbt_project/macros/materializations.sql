{#
  Tables and views are replaced in one statement. dbt-duckdb makes each beside the old one and then renames and drops, three
  statements more for every model of every night; nobody reads the warehouse while a night builds, and one that fails leaves
  the old one, because the statement and its insert are one transaction.
#}
{% materialization table, adapter='duckdb' %}
    {%- set old = load_cached_relation(this) -%}
    {%- set target = this.incorporate(type='table') -%}
    {% if old is not none and not old.is_table %}{% do adapter.drop_relation(old) %}{% endif %}
    {% call statement('main') %}
        {{ create_table_as(false, target, compiled_code) | replace('create  table', 'create or replace table') }}
    {% endcall %}
    {% do persist_docs(target, model) %}
    {% do adapter.commit() %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}

{% materialization view, adapter='duckdb' %}
    {%- set old = load_cached_relation(this) -%}
    {%- set target = this.incorporate(type='view') -%}
    {% if old is not none and not old.is_view %}{% do adapter.drop_relation(old) %}{% endif %}
    {% call statement('main') %}
        create or replace view {{ target }} as ({{ compiled_code }});
    {% endcall %}
    {% do adapter.commit() %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}
