{# Days of a month, made of the engine's own arithmetic on dates. #}

{% macro last_day_of_month(day) %}{{ add_days(add_months(month_of(day), 1), -1) }}{% endmacro %}

{# The n-th day of the month that begins on `first_day`; its last day where it has none so late. #}
{% macro nth_day_of_month(first_day, n) %}
least({{ add_days(first_day, '(' ~ n ~ ') - 1') }}, {{ last_day_of_month(first_day) }})
{% endmacro %}
