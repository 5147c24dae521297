{#
  Times of the run: both are given, neither is read from a clock. They come from the environment and only when a statement
  is rendered to be executed: as vars they would make dbt read the whole project anew every night.
#}
{% macro as_of() %}cast('{{ time_of_night("as_of", "1970-01-01") }}' as date){% endmacro %}
{% macro known_at() %}cast('{{ time_of_night("known_at", "1970-01-01T00:00:00+00:00") }}' as timestamp with time zone){% endmacro %}
{# The last second of the business date in the company's time zone: no number of that day is true of a later moment. #}
{% macro end_of_as_of() %}
{%- set day = modules.datetime.datetime.strptime(time_of_night("as_of", "1970-01-01"), "%Y-%m-%d") -%}
{%- set midnight = modules.pytz.timezone(var("time_zone")).localize(day + modules.datetime.timedelta(days=1)) -%}
{%- set last_second = midnight.astimezone(modules.pytz.utc) - modules.datetime.timedelta(seconds=1) -%}
cast('{{ last_second.isoformat() }}' as timestamp with time zone)
{%- endmacro %}
{% macro time_of_night(name, while_parsing) %}
{{- return(var(name, none) or (env_var('CROSSFOOT_' ~ name | upper) if execute else while_parsing)) -}}
{% endmacro %}

{#
  The newest version of each record of an append-only raw table that was known at the cut-off, deletions included.
  A deletion and a version landed in one night: the deletion is the later fact.
#}
{% macro newest_with_deletions(relation, keys, tie_breakers=['modified_at']) %}
select * from (
    select
        versions.*,
        row_number() over (
            partition by {{ keys | join(', ') }}
            order by _landed_at desc, case when _deleted then 0 else 1 end
            {%- for column in tie_breakers %}, {{ column }} desc nulls last{% endfor %}
        ) as _version
    from {{ relation }} as versions
    where _landed_at <= {{ known_at() }}
) as ranked
where _version = 1
{% endmacro %}

{% macro newest(relation, keys, tie_breakers=['modified_at']) %}
{{ newest_with_deletions(relation, keys, tie_breakers) }} and not _deleted
{% endmacro %}

{# The rows of a snapshot table's newest landing; with `per`, the newest landing of each owner of rows. #}
{% macro newest_snapshot(relation, per=none) %}
select * from (
    select
        versions.*,
        rank() over ({{ 'partition by ' ~ per if per }} order by _landed_at desc) as _snapshot
    from {{ relation }} as versions
    where _landed_at <= {{ known_at() }}
) as ranked
where _snapshot = 1 and not _deleted
{% endmacro %}

{#
  An enumeration that is total: a value nobody enumerated becomes 'unknown: <value>', which is a problem of its record in the
  unions: it counts as nothing and holds the accounts concerned.
#}
{% macro enumerate(expression, meanings) %}
case
    {%- for value, meaning in meanings.items() %}
    when {{ expression }} = '{{ value }}' then '{{ meaning }}'
    {%- endfor %}
    when {{ expression }} is not null then {{ dbt.concat(["'unknown: '", expression]) }}
end
{% endmacro %}

{#
  Base units per one document unit. The vendor quotes against its own home currency, so its quote only serves when
  that home is the base currency; without a rate the row is an exception, never a wrong number.
#}
{% macro rate_to_base(currency, home_currency, home_rate) %}
case
    when {{ currency }} = '{{ var("base_currency") }}' then 1
    when {{ home_currency }} = '{{ var("base_currency") }}' then {{ home_rate }}
end
{% endmacro %}

{#
  Columns rate and rate_divisor of an amount whose vendor quotes document units for one unit of its own home currency: the
  rate is 1 over that quote, which stays as it was written. Like rate_to_base it serves only where home is the base currency.
#}
{% macro quoted_rate(currency, home_currency, quote) %}
{{ rate_to_base(currency, home_currency, 'case when ' ~ quote ~ ' > 0 then 1 end') | trim }} as rate,
        case
            when {{ currency }} <> '{{ var("base_currency") }}' and {{ home_currency }} = '{{ var("base_currency") }}'
                and {{ quote }} > 0 then {{ quote }}
        end as rate_divisor
{%- endmacro %}
