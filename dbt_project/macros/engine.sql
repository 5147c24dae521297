{# Everything that is spelled differently from engine to engine. A new engine adds <engine>__ variants here. #}

{% macro days_between(earlier, later) %}{{ dbt.datediff(earlier, later, 'day') }}{% endmacro %}
{% macro add_days(day, count) %}cast({{ dbt.dateadd('day', count, day) }} as date){% endmacro %}
{% macro add_months(day, count) %}cast({{ dbt.dateadd('month', count, day) }} as date){% endmacro %}
{% macro month_of(day) %}cast({{ dbt.date_trunc('month', day) }} as date){% endmacro %}

{# A ratio as decimal(28,12): for shares that are shown and for days, never for money or a rate (see quotient). #}
{% macro ratio(part, whole) %}
cast(cast({{ part }} as double) / nullif(cast({{ whole }} as double), 0) as decimal(28,12))
{% endmacro %}

{#
  amount x factor / divisor, rounded once, half a unit away from zero, to whole multiples of `unit` millionths (an
  expression; 10000 is a cent), as money. No step is a float: whole numbers stand for the three, and factor and divisor are
  cut by what divides both, so that sixty thousand million times a rate still fits. What does not fit, and what is
  divided by nothing, has no value: one odd record is then a record without a value, and not a night without numbers.
  No argument may contain an aggregate or a window.
#}
{% macro quotient(amount, factor, divisor, unit='1') %}
{{ return(adapter.dispatch('quotient', 'crossfoot')(amount, factor, divisor, unit)) }}
{% endmacro %}
{% macro default__quotient(amount, factor, divisor, unit) %}
{%- set whole = 'abs(cast(cast(' ~ factor ~ ' as decimal(38,12)) * 1000000000000 as hugeint))' %}
{%- set parts = 'abs(cast(cast(' ~ divisor ~ ' as decimal(38,12)) * 1000000000000 as hugeint))' %}
{%- set common = 'gcd(' ~ whole ~ ', ' ~ parts ~ ')' %}
{%- set units = parts ~ ' // ' ~ common ~ ' * ' ~ unit %}
{%- set millionths = 'abs(cast(cast(' ~ amount ~ ' as decimal(38,6)) * 1000000 as hugeint))' %}
{%- set signs = 'sign(' ~ amount ~ ') * sign(' ~ factor ~ ') * sign(' ~ divisor ~ ')' %}
try(cast(cast(
    (2 * {{ millionths }} * ({{ whole }} // {{ common }}) + {{ units }}) // (2 * {{ units }}) * {{ unit }} * {{ signs }}
    as decimal(38,0)) * 0.000001 as decimal(28,6)))
{% endmacro %}

{# Money times a rate, at the scale of money. A rate may be a fraction: without a divisor it is over 1. #}
{% macro times_rate(amount, rate, divisor='1') %}
{{ quotient(amount, rate, divisor if divisor == '1' else 'coalesce(' ~ divisor ~ ', 1)') | trim }}
{% endmacro %}

{# The same, rounded to the smallest unit of the base currency, as ledgers post each document. #}
{% macro in_base(amount, rate, divisor='1') %}
{{ quotient(amount, rate, divisor if divisor == '1' else 'coalesce(' ~ divisor ~ ', 1)', base_unit()) | trim }}
{% endmacro %}

{# The smallest unit of the base currency in millionths; iso_currencies has the same digits, for every currency. #}
{% macro base_unit() %}
{%- set digits = 2 %}
{%- set currency = var('base_currency') %}
{%- if currency in ['BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF',
    'XOF', 'XPF'] %}{% set digits = 0 %}
{%- elif currency in ['BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND'] %}{% set digits = 3 %}
{%- elif currency in ['CLF', 'UYW'] %}{% set digits = 4 %}
{%- endif %}
{{ return(10 ** (6 - digits)) }}
{% endmacro %}

{# An invoice number as it is compared: without case, blanks and dashes; null where nothing is left. #}
{% macro normalised_number(number) %}
nullif(lower({{ without_pattern(number, '[\\s\\x{00a0}\\x{2010}-\\x{2015}-]+') | trim }}), '')
{% endmacro %}

{# A fraction as one number of twelve places: for rates that are shown or compared, not for valuing money. #}
{% macro one_rate(rate, divisor) %}
cast(case
    when coalesce({{ divisor }}, 1) = 1 then {{ rate }}
    else {{ quotient('1000000', rate, divisor) | trim }} * 0.000001
end as decimal(28,12))
{% endmacro %}

{# Sum of money; nothing sums to zero. #}
{% macro total(amount) %}cast(coalesce(sum({{ amount }}), 0) as decimal(28,6)){% endmacro %}

{# Money as a sentence has it. #}
{% macro money_text(amount) %}{{ dbt.cast('cast(' ~ amount ~ ' as decimal(28,2))', 'varchar') }}{% endmacro %}

{# Sum of money of which some may be unknown: null only where all of it is, and 0 where there is nothing to add. #}
{% macro known_total(amount) %}
cast(case when count(*) = 0 then 0 else sum({{ amount }}) end as decimal(28,6))
{% endmacro %}

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

{% macro has_pattern(expression, pattern) %}
{{ return(adapter.dispatch('has_pattern', 'crossfoot')(expression, pattern)) }}
{% endmacro %}
{% macro default__has_pattern(expression, pattern) %}regexp_matches({{ expression }}, '{{ pattern }}'){% endmacro %}

{# Whether two texts are the same words in the same order, each whole or cut to its first three letters or more. #}
{% macro abbreviates(left, right) %}
{{ return(adapter.dispatch('abbreviates', 'crossfoot')(left, right)) }}
{% endmacro %}
{% macro default__abbreviates(left, right) %}
(length({{ left }}) - length(replace({{ left }}, ' ', '')) = length({{ right }}) - length(replace({{ right }}, ' ', ''))
    and list_bool_and([
        (starts_with(pair[1], pair[2]) and length(pair[2]) >= 3) or (starts_with(pair[2], pair[1]) and length(pair[1]) >= 3)
        or pair[1] = pair[2]
        for pair in list_zip(string_split({{ left }}, ' '), string_split({{ right }}, ' '))
    ]))
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

{# The texts that are not null, with a semicolon between them; null where all are. #}
{% macro joined_texts(texts) %}{{ return(adapter.dispatch('joined_texts', 'crossfoot')(texts)) }}{% endmacro %}
{% macro default__joined_texts(texts) %}nullif(concat_ws('; ', {{ texts | join(', ') }}), ''){% endmacro %}

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
