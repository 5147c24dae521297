{#
  Tables and views that are replaced in one statement; a model asks for them by name (dbt_project.yml). dbt's own `table` and `view`
  are made beside the old one, which is then renamed and dropped: three statements more for every model of every night. Nobody
  reads the warehouse while a night builds, and one that fails leaves the old one, because statement and insert are one transaction.
  Hooks, grants, contracts and comments are what they are in dbt's own.
#}
{% materialization replaced_table, adapter='duckdb' %}
    {%- set old = load_cached_relation(this) -%}
    {%- set target = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% if old is not none and not old.is_table %}{% do adapter.drop_relation(old) %}{% endif %}
    {% call statement('main') %}
        {{ config.get('sql_header') or '' }}
        {% if config.get('contract').enforced %}
            {{ get_assert_columns_equivalent(compiled_code) }}
            create or replace table {{ target }} {{ get_table_columns_and_constraints() }};
            insert into {{ target }} {{ get_column_names() }} ({{ get_select_subquery(compiled_code) }});
        {% else %}
            create or replace table {{ target }} as ({{ compiled_code }});
        {% endif %}
    {% endcall %}
    {{ return(_replaced(old, target)) }}
{% endmaterialization %}

{% materialization replaced_view, adapter='duckdb' %}
    {%- set old = load_cached_relation(this) -%}
    {%- set target = this.incorporate(type='view') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% if old is not none and not old.is_view %}{% do adapter.drop_relation(old) %}{% endif %}
    {% call statement('main') %}
        {{ config.get('sql_header') or '' }}
        {% if config.get('contract').enforced %}{{ get_assert_columns_equivalent(compiled_code) }}{% endif %}
        create or replace view {{ target }} as ({{ compiled_code }});
    {% endcall %}
    {{ return(_replaced(old, target)) }}
{% endmaterialization %}

{# What follows the statement: rights, comments, hooks, and the end of the transaction. #}
{% macro _replaced(old, target) %}
    {% do apply_grants(target, config.get('grants'), should_revoke=should_revoke(old, full_refresh_mode=True)) %}
    {% do persist_docs(target, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target]}) }}
{% endmacro %}
