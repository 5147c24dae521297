-- Memo: a status, type or currency that nobody enumerated is never mapped to a default. Staging hands it on as
-- 'unknown: <value>', a currency is looked up in the ISO 4217 list, and here the night stops with its name.
{%- set enumerated = [
    ('deals', 'stage', 'deal_id'), ('deal_lines', 'billing_frequency', 'line_id'),
    ('documents', 'status', 'document_id'), ('documents', 'delivery', 'document_id'),
    ('document_lines', 'line_kind', 'document_id'), ('applications', 'document_type', 'applied_id'),
    ('payments', 'payment_type', 'payment_id'),
] %}
{%- set priced = [
    ('deals', 'deal_id'), ('deal_lines', 'line_id'), ('customers', 'customer_id'), ('documents', 'document_id'),
    ('payments', 'payment_id'), ('control_totals', 'customer_id'),
] %}
with unknown as (
    {%- for object, column, key in enumerated %}
    select source, '{{ object }}.{{ column }}' as field, {{ column }} as value, {{ key }} as record_id
    from {{ ref('int_' ~ object ~ '__unioned') }}
    where {{ column }} like 'unknown: %'
    union all
    {%- endfor %}
    {%- for object, key in priced %}
    select rows.source, '{{ object }}.currency', 'unknown: ' || rows.currency, rows.{{ key }}
    from {{ ref('int_' ~ object ~ '__unioned') }} as rows
    left join {{ ref('iso_currencies') }} as currencies on rows.currency = currencies.code
    where rows.currency is not null and currencies.code is null
    union all
    {%- endfor %}
    select 'settings', 'base_currency', 'unknown: {{ var("base_currency") }}', 'base_currency'
    where '{{ var("base_currency") }}' not in (select code from {{ ref('iso_currencies') }})
),

named as (
    select
        source || ' ' || field || ' ' || value || ' (' || count(*) || ' rows, one is ' || min(record_id) || ')' as name
    from unknown
    group by source, field, value
),

message as (
    select 'values that nobody enumerated: ' || {{ list_of('name', '; ') }} as text
    from named
    having count(*) > 0
)

select text from message where {{ fails_with('text') }}
