{#
  A row is valued at the rate that its own system gave it, else at that of its day in a table of rates (int_rates__daily).
  `own` names who says the row's own rate: document or crm. A rate of 0 is none: nothing is worth nothing abroad. The rate
  is the fraction rate / rate_divisor, as it was quoted; one_rate shows it as one number.
#}
{% macro rate_columns(rows, own, day) %}
        case
            when {{ is_rate(rows) }} then {{ rows }}.rate
            when {{ rows }}.currency = '{{ var("base_currency") }}' then 1
            else rates_of_day.rate
        end as rate,
        case
            when {{ is_rate(rows) }} then {{ rows }}.rate_divisor
            when {{ rows }}.currency = '{{ var("base_currency") }}' then null
            else rates_of_day.rate_divisor
        end as rate_divisor,
        case
            when {{ rows }}.currency = '{{ var("base_currency") }}' then 'base'
            when {{ is_rate(rows) }} then '{{ own }}'
            else rates_of_day.rate_source
        end as rate_source,
        case
            when {{ is_rate(rows) }} or {{ rows }}.currency = '{{ var("base_currency") }}' then {{ day }}
            else rates_of_day.rate_date
        end as rate_date
{% endmacro %}

{# Whether a row brings a rate: a fraction above zero. #}
{% macro is_rate(rows) %}coalesce({{ rows }}.rate > 0 and coalesce({{ rows }}.rate_divisor, 1) > 0, false){% endmacro %}

{% macro join_rate_of_day(rows, day) %}
left join {{ ref('int_rates__daily') }} as rates_of_day
    on {{ rows }}.source = rates_of_day.source and {{ rows }}.currency = rates_of_day.currency
    and {{ day }} = rates_of_day.day
{% endmacro %}

{# Rows of a relation that need a rate which they do not bring, as (source, currency, day). #}
{% macro rows_without_rate(relation, day) %}
select source, currency, {{ day }} as day
from {{ relation }} as valued
where not {{ is_rate('valued') }} and currency <> '{{ var("base_currency") }}' and {{ day }} is not null
{% endmacro %}

{#
  Who is asked for the rate of a day, in this order: (source, provider, place, rate_source, carried_days). The tables of
  others grow old: beyond `carried_days` they say nothing. A source's own quote holds until it makes the next one.
#}
{% macro rate_providers() %}
{%- set days = var('rate_carried_days') %}
select cast(null as varchar) as source, cast(null as varchar) as provider, 0 as place,
    cast(null as varchar) as rate_source, cast(null as integer) as carried_days
where false
{%- for source in var('crms') + var('ledgers') %}
{%- set is_crm = source in var('crms') %}
union all
select '{{ source }}', '{{ source }}', 0, '{{ "crm" if is_crm else "ledger" }}', null
{%- for ledger in var('ledgers') if is_crm %}
union all
select '{{ source }}', '{{ ledger }}', {{ loop.index }}, 'ledger', {{ days }}
{%- endfor %}
{%- for table in var('rates') %}
union all
select '{{ source }}', '{{ table }}', {{ 1000 + loop.index }}, '{{ table }}', {{ days }}
{%- endfor %}
{%- endfor %}
{% endmacro %}

{# What an exception says of an amount that no rate converts: the currency and the day. #}
{% macro missing_rate_message(day) %}
{{ dbt.concat(["'no rate from '", 'currency', "' to " ~ var('base_currency') ~ " on '",
    "coalesce(" ~ dbt.cast(day, 'varchar') ~ ", 'an unknown day')"]) }}
{% endmacro %}
