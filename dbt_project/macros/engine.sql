{# Everything that is spelled differently from engine to engine. A new engine adds <engine>__ variants here. #}

{% macro days_between(earlier, later) %}{{ dbt.datediff(earlier, later, 'day') }}{% endmacro %}
{% macro add_days(day, count) %}cast({{ dbt.dateadd('day', count, day) }} as date){% endmacro %}
{% macro add_months(day, count) %}cast({{ dbt.dateadd('month', count, day) }} as date){% endmacro %}
{% macro month_of(day) %}cast({{ dbt.date_trunc('month', day) }} as date){% endmacro %}

{# A ratio as decimal(28,12): for shares, rates and days, never for money itself. #}
{% macro ratio(part, whole) %}
cast(cast({{ part }} as double) / nullif(cast({{ whole }} as double), 0) as decimal(28,12))
{% endmacro %}

{# Money times a rate, back at the scale of money. #}
{% macro times_rate(amount, rate) %}cast(({{ amount }}) * ({{ rate }}) as decimal(28,6)){% endmacro %}

{# Sum of money; nothing sums to zero. #}
{% macro total(amount) %}cast(coalesce(sum({{ amount }}), 0) as decimal(28,6)){% endmacro %}

{# Money at the minor units of its currency; a column of digits needs a case, for engines want a constant. #}
{% macro round_money(amount, minor_units) %}
cast(case {{ minor_units }}
    when 0 then round({{ amount }}, 0)
    when 3 then round({{ amount }}, 3)
    when 4 then round({{ amount }}, 4)
    else round({{ amount }}, 2)
end as decimal(28,6))
{% endmacro %}

{# Whether two amounts agree to within a margin, without losing the sign of either. #}
{% macro within(left, right, margin) %}
({{ left }}) - ({{ right }}) between -({{ margin }}) and ({{ margin }})
{% endmacro %}

{% macro id_as_number(id) %}{{ return(adapter.dispatch('id_as_number', 'crossfoot')(id)) }}{% endmacro %}
{% macro default__id_as_number(id) %}try_cast({{ id }} as bigint){% endmacro %}

{% macro text_or_null(expression) %}nullif(trim({{ expression }}), ''){% endmacro %}

{# Rows of a relation, one per item of a delimited text column: `kept` columns and the trimmed `item`. #}
{% macro split_to_rows(relation, kept, column, delimiter) %}
{{ return(adapter.dispatch('split_to_rows', 'crossfoot')(relation, kept, column, delimiter)) }}
{% endmacro %}
{% macro default__split_to_rows(relation, kept, column, delimiter) %}
select distinct {{ kept | join(', ') }}, item
from (
    select {{ kept | join(', ') }}, trim(unnest(string_split({{ column }}, '{{ delimiter }}'))) as item
    from {{ relation }}
) as items
where item <> ''
{% endmacro %}

{% macro position_of(part, whole) %}
{{ return(adapter.dispatch('position_of', 'crossfoot')(part, whole)) }}
{% endmacro %}
{% macro default__position_of(part, whole) %}position({{ part }} in {{ whole }}){% endmacro %}

{# Distinct values joined by a delimiter, in order. #}
{% macro list_of(expression, delimiter=', ') %}
{{ return(adapter.dispatch('list_of', 'crossfoot')(expression, delimiter)) }}
{% endmacro %}
{% macro default__list_of(expression, delimiter) %}
string_agg(distinct {{ expression }}, '{{ delimiter }}' order by {{ expression }})
{% endmacro %}

{% macro without_pattern(expression, pattern) %}
{{ return(adapter.dispatch('without_pattern', 'crossfoot')(expression, pattern)) }}
{% endmacro %}
{% macro default__without_pattern(expression, pattern) %}
regexp_replace({{ expression }}, '{{ pattern }}', '', 'g')
{% endmacro %}

{% macro without_accents(expression) %}
{{ return(adapter.dispatch('without_accents', 'crossfoot')(expression)) }}
{% endmacro %}
{% macro default__without_accents(expression) %}strip_accents({{ expression }}){% endmacro %}

{# 0 (nothing alike) to 1 (equal). #}
{% macro similarity(left, right) %}{{ return(adapter.dispatch('similarity', 'crossfoot')(left, right)) }}{% endmacro %}
{% macro default__similarity(left, right) %}
cast(jaro_winkler_similarity({{ left }}, {{ right }}) as decimal(9,6))
{% endmacro %}

{# Whole hours between two moments. #}
{% macro hours_between(earlier, later) %}
{{ return(adapter.dispatch('hours_between', 'crossfoot')(earlier, later)) }}
{% endmacro %}
{% macro default__hours_between(earlier, later) %}date_diff('hour', {{ earlier }}, {{ later }}){% endmacro %}

{% macro utc_date(moment) %}{{ return(adapter.dispatch('utc_date', 'crossfoot')(moment)) }}{% endmacro %}
{% macro default__utc_date(moment) %}cast({{ moment }} at time zone 'UTC' as date){% endmacro %}

{# The whole numbers from 0 to a constant, as column `n`. #}
{% macro numbers_to(last) %}{{ return(adapter.dispatch('numbers_to', 'crossfoot')(last)) }}{% endmacro %}
{% macro default__numbers_to(last) %}select cast(range as bigint) as n from range(0, {{ last }} + 1){% endmacro %}

{# A predicate that fails the statement with a message of its own. #}
{% macro fails_with(message) %}{{ return(adapter.dispatch('fails_with', 'crossfoot')(message)) }}{% endmacro %}
{% macro default__fails_with(message) %}error({{ message }}) is null{% endmacro %}

{# 0 to 1 (equal): how much of the longer text stays as it is when one is typed over into the other. #}
{% macro edit_similarity(left, right) %}
{{ return(adapter.dispatch('edit_similarity', 'crossfoot')(left, right)) }}
{% endmacro %}
{% macro default__edit_similarity(left, right) %}
cast(1 - damerau_levenshtein({{ left }}, {{ right }}) / greatest(length({{ left }}), length({{ right }}), 1) as decimal(9,6))
{% endmacro %}
