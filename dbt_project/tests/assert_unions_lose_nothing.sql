-- Memo: a row of staging is a row of its union with the same money, and no row of a union comes from anywhere else: per
-- vendor, and of all vendors together.
{%- set money = {
    'deals': 'amount', 'deal_lines': 'amount', 'documents': 'gross', 'document_lines': 'amount', 'payments': 'amount',
    'applications': 'amount', 'control_totals': 'total',
} %}
with counted as (
    {%- for object in canonical_objects() %}
    {%- set amount = money.get(object, '0') %}
    {%- for vendor in vendors_of(object) %}
    select
        '{{ object }}' as object, '{{ vendor }}' as source, count(*) as staged, {{ total(amount) }} as staged_amount
    from {{ ref('stg_' ~ vendor ~ '__' ~ object) }}
    union all
    {%- endfor %}
    {%- endfor %}
    select null, null, 0, 0 where false
),

unioned as (
    {%- for object in canonical_objects() %}
    select '{{ object }}' as object, source, count(*) as unioned, {{ total(money.get(object, '0')) }} as unioned_amount
    from {{ ref('int_' ~ object ~ '__unioned') }}
    group by source
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

compared as (
    select
        coalesce(counted.object, unioned.object) as object,
        coalesce(counted.source, unioned.source) as source,
        coalesce(counted.staged, 0) as staged,
        coalesce(unioned.unioned, 0) as unioned,
        coalesce(counted.staged_amount, 0) as staged_amount,
        coalesce(unioned.unioned_amount, 0) as unioned_amount
    from counted
    full outer join unioned on counted.object = unioned.object and counted.source = unioned.source
)

select * from compared where staged <> unioned or staged_amount <> unioned_amount
