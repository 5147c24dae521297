-- How many records of each entity QuickBooks counted on the night, and how many were here when it did, not what came since. Of
-- entities that are kept in part: how many changed since the last night, and how many of them it gave.
{%- set whole = {
    'Customer': 'customers', 'Term': 'terms', 'Invoice': 'invoices', 'SalesReceipt': 'sales_receipts',
    'CreditMemo': 'credit_memos', 'Payment': 'payments', 'RefundReceipt': 'refund_receipts',
} %}
with landed as (
    {{ newest_snapshot("(select * from " ~ source('raw_quickbooks', 'counts') ~ " where counted_on = " ~ as_of() ~ ")") }}
),

-- A retry may land a night's counts twice.
counted as (
    select *
    from (select landed.*, row_number() over (partition by entity order by _dlt_load_id desc nulls last) as _copy from landed) as copies
    where _copy = 1
),

held as (
    {%- for entity, table in whole.items() %}
    select '{{ entity }}' as entity, count(*) as record_count
    from (
        {{ alive_records(source('raw_quickbooks', table), 'id', '(select max(_landed_at) from counted)') | trim }}
    ) as alive
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    counted.entity,
    counted.record_count as vendor_count,
    coalesce(counted.given_count, held.record_count) as held_count,
    counted.given_count is not null as is_of_changes,
    counted._problem as problem
from counted
left join held on counted.entity = held.entity
