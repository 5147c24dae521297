{#- Xero has two lock dates: for everybody but advisers, and for everybody. What either of them locks is closed. -#}
with locks as (
    select
        tenant_id,
        case when end_of_year_lock_date > period_lock_date or period_lock_date is null
            then end_of_year_lock_date else period_lock_date end as closing_date,
        min(_landed_at) as landed_at
    from {{ source('raw_xero', 'organisations') }}
    where _landed_at <= {{ known_at() }} and not _deleted
        and (period_lock_date is not null or end_of_year_lock_date is not null)
    group by 1, 2
),

-- A document does not say here whose it is: of several organisations, all have to have closed the period.
closed_by_each as (
    select dates.closing_date, locks.tenant_id, min(locks.landed_at) as landed_at
    from (select distinct closing_date from locks) as dates
    inner join locks on dates.closing_date <= locks.closing_date
    group by 1, 2
),

final as (
    select 'xero' as source, closing_date, max(landed_at) as first_known_at
    from closed_by_each
    group by closing_date
    having count(*) >= (select count(*) from {{ ref('stg_xero__organisations') }})
)

{{ canonical_select('closing_dates', 'final') }}
