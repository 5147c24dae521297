-- Balances of another day are no control of this one; those that are not there are 0. A retry may land a page twice.
with balances as (
    select distinct customer_id, name, home_currency, balance, report_date, _problem
    from ({{ newest_snapshot(source('raw_acorn', 'balances')) }}) as landed
    where report_date = {{ as_of() }}
),

final as (
    select
        'acorn' as source,
        customer_id,
        name as customer_name,
        report_date,
        home_currency as currency,
        null as bucket_current,
        null as bucket_1_30,
        null as bucket_31_60,
        null as bucket_61_90,
        null as bucket_91_plus,
        balance as total,
        null as own_currency,
        null as own_total,
        null as url,
        _problem as problem
    from balances
)

{{ canonical_select('control_totals', 'final') }}
