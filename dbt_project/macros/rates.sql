{# The ledger's own quotes into the base currency, each valid until the next one. #}
{% macro rate_spans() %}
select
    source,
    from_currency,
    rate,
    rate_date,
    lead(rate_date) over (partition by source, from_currency order by rate_date) as next_date
from {{ ref('int_rates__unioned') }}
where to_currency = '{{ var("base_currency") }}'
{% endmacro %}

{# Joins the quote of a day to rows that came without a rate of their own. #}
{% macro join_rate_of_day(rows, day) %}
left join rate_spans
    on {{ rows }}.source = rate_spans.source and {{ rows }}.currency = rate_spans.from_currency
    and {{ day }} >= rate_spans.rate_date
    and ({{ day }} < rate_spans.next_date or rate_spans.next_date is null)
{% endmacro %}
