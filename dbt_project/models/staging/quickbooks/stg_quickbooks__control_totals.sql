-- A report of another day is no control of this one. A retry may land a night's report twice. The line without an id
-- and a name is the report's own total.
with landed as (
    {{ newest_snapshot("(select * from " ~ source('raw_quickbooks', 'aged_receivables')
        ~ " where report_date = " ~ as_of() ~ ")") }}
),

reports as (
    select *
    from (
        select landed.*, row_number() over (partition by customer_id order by customer_name, total) as _copy
        from landed
        where customer_id is not null or customer_name is null
    ) as copies
    where _copy = 1
),

customers as (
    {{ newest(source('raw_quickbooks', 'customers'), ['id']) }}
),

home as (
    select home_currency from {{ ref('stg_quickbooks__company') }}
),

final as (
    select
        'quickbooks' as source,
        reports.customer_id,
        reports.customer_name,
        reports.report_date,
        home.home_currency as currency,
        reports.bucket_current,
        reports.bucket_1_30,
        reports.bucket_31_60,
        reports.bucket_61_90,
        reports.bucket_91_plus,
        reports.total,
        -- A customer's balance is in its own currency (unverified), and without its jobs: BalanceWithJobs has those.
        case when customers.currency <> home.home_currency then customers.currency end as own_currency,
        case when customers.currency <> home.home_currency then customers.balance end as own_total,
        null as url,
        reports._problem as problem
    from reports
    cross join home
    left join customers on reports.customer_id = customers.id
)

{{ canonical_select('control_totals', 'final') }}
