-- Memo: a row of staging is a row of its union, and no row of a union comes from anywhere else.
with counted as (
    {%- for object in canonical_objects() %}
    {%- set outer_loop = loop %}
    {%- for vendor in vendors_of(object) %}
    select '{{ object }}' as object, '{{ vendor }}' as source,
        (select count(*) from {{ ref('stg_' ~ vendor ~ '__' ~ object) }}) as staged,
        (select count(*) from {{ ref('int_' ~ object ~ '__unioned') }} where source = '{{ vendor }}') as unioned
    {{ 'union all' if not (loop.last and outer_loop.last) }}
    {%- endfor %}
    {%- endfor %}
)

select * from counted where staged <> unioned
