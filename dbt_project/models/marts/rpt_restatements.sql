{#- A month is reported by the first night that is at least `month_close_days` after its end. -#}
with nights as (
    select distinct as_of, known_at from {{ source('raw_crossfoot', 'nights') }} where known_at <= {{ known_at() }}
    union
    select {{ as_of() }}, {{ known_at() }}
),

versions as (
    select
        *,
        {{ month_of('dated_on') }} as month,
        lead(known_at) over (partition by source, document_type, document_id order by known_at) as next_known_at,
        max(known_at) over (partition by source, document_type, document_id) as last_known_at
    from {{ ref('int_documents__history') }}
    where known_at <= {{ known_at() }}
),

-- Only what some night after the very first knew otherwise or for the first time can be a restatement.
moved as (
    select * from versions where last_known_at > (select min(known_at) from nights)
),

months as (
    select ends.month, min(nights.known_at) as reported_at
    from (
        select month, {{ add_days(add_months('month', 1), var('month_close_days') | int - 1) }} as closes_on
        from (select distinct month from moved where dated_on <= {{ as_of() }}) as dated
    ) as ends
    inner join nights on nights.as_of >= ends.closes_on
    group by ends.month
),

-- A document matters to each reported month that any of its versions is dated in.
touched as (
    select distinct moved.source, moved.document_type, moved.document_id, months.month, months.reported_at
    from moved
    inner join months on moved.month = months.month
    where moved.last_known_at > months.reported_at
),

compared as (
    select
        touched.source,
        touched.document_type,
        touched.document_id,
        touched.month,
        touched.reported_at,
        tonight.number,
        tonight.customer_id,
        tonight.known_at as changed_at,
        reported.status as status_then,
        tonight.status as status_now,
        reported.dated_on as dated_then,
        tonight.dated_on as dated_now,
        reported.currency is distinct from tonight.currency or reported.amount is distinct from tonight.amount
            as is_other_amount,
        reported.rate is distinct from tonight.rate as is_other_rate,
        case when reported.month = touched.month and reported.status = 'issued'
            then coalesce(reported.amount_base, 0) else 0 end as amount_then,
        case when tonight.month = touched.month and tonight.status = 'issued'
            then coalesce(tonight.amount_base, 0) else 0 end as amount_now
    from touched
    inner join moved as tonight
        on touched.source = tonight.source and touched.document_type = tonight.document_type
        and touched.document_id = tonight.document_id and tonight.next_known_at is null
    left join moved as reported
        on touched.source = reported.source and touched.document_type = reported.document_type
        and touched.document_id = reported.document_id and reported.known_at <= touched.reported_at
        and (reported.next_known_at > touched.reported_at or reported.next_known_at is null)
)

select
    month,
    case when document_type in ('payment', 'refund') then 'collected' else 'invoiced' end as measure,
    source,
    document_type,
    document_id,
    number,
    customer_id,
    reported_at,
    changed_at,
    cast(amount_then as decimal(28,6)) as amount_then,
    cast(amount_now as decimal(28,6)) as amount_now,
    cast(amount_now - amount_then as decimal(28,6)) as difference,
    case
        when status_then is null or status_then = 'deleted' then 'new_late'
        when status_now = 'deleted' then 'deleted'
        when status_now = 'void' then 'voided'
        when status_then <> 'issued' then 'issued_late'
        when status_now <> 'issued' then 'taken_back'
        when {{ month_of('dated_then') }} <> {{ month_of('dated_now') }} then 'date_moved'
        when is_other_amount and is_other_rate then 'amount_and_rate'
        when is_other_amount then 'amount'
        else 'rate'
    end as change,
    dated_then,
    dated_now
from compared
where amount_then <> amount_now
