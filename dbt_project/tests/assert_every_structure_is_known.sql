-- Memo: one odd record is a problem of that record. A field that no record has at all is another matter: the vendor calls it
-- something else by now, and every number that rests on it would be silently empty. So would they be in a base currency that
-- does not exist. Below so many records it may be chance.
{%- set enough = 5 %}
{%- set mandatory = {
    'accounts': ['name'], 'deals': ['name', 'stage', 'currency'],
    'customers': ['name', 'currency'], 'documents': ['status', 'customer_id', 'issue_date', 'currency', 'gross', 'open_amount'],
    'document_lines': ['line_kind'], 'payments': ['payment_type', 'payment_date', 'currency', 'amount'],
    'applications': ['document_type', 'document_id', 'amount', 'applied_date'],
} %}
with missing as (
    {%- for object, columns in mandatory.items() %}
    {%- for column in columns %}
    select source || ' ' || '{{ object }}.{{ column }}' || ' (none of ' || count(*) || ' records has it)' as name
    from {{ ref('int_' ~ object ~ '__unioned') }}
    group by source
    having count(*) >= {{ enough }} and count({{ column }}) = 0
    union all
    {%- endfor %}
    {%- endfor %}
    select 'settings: base_currency {{ var("base_currency") }} is no ISO 4217 code'
    where '{{ var("base_currency") }}' not in (select code from {{ ref('iso_currencies') }})
),

message as (
    select 'a field that numbers rest on is missing everywhere: ' || {{ list_of('name', '; ') }} as text
    from missing
    having count(*) > 0
)

select text from message where {{ fails_with('text') }}
