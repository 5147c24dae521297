-- How many records of each entity QuickBooks counted on the night, and how many were here when it did, not what came since. Of
-- entities that are kept in part: how many changed since the last night, and how many of them it gave.
{%- set whole = {
    'Customer': 'customers', 'Term': 'terms', 'Invoice': 'invoices', 'SalesReceipt': 'sales_receipts',
    'CreditMemo': 'credit_memos', 'Payment': 'payments', 'RefundReceipt': 'refund_receipts',
} %}
with landed as (
    {{ newest_snapshot("(select * from " ~ source('raw_quickbooks', 'counts') ~ " where counted_on = " ~ as_of() ~ ")") }}
),

held as (
    {%- for entity, table in whole.items() %}
    select '{{ entity }}' as entity, count(*) as record_count
    from (
        {{ alive_records(source('raw_quickbooks', table), 'id', '(select max(_landed_at) from landed)') | trim }}
    ) as alive
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

compared as (
    select
        landed.entity,
        landed.record_count as vendor_count,
        coalesce(landed.given_count, held.record_count) as held_count,
        landed.given_count is not null as is_of_changes,
        landed._problem as problem
    from landed
    left join held on landed.entity = held.entity
)

-- A retry may land a night's counts twice: one that agrees is enough.
select entity, vendor_count, held_count, is_of_changes, problem
from (
    select *, row_number() over (partition by entity order by abs(vendor_count - held_count) nulls last) as _copy from compared
) as copies
where _copy = 1
