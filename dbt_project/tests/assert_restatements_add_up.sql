-- Memo: for every reported month, what it says tonight less what it said then is the sum of its restatements. The other
-- side is taken from the facts tonight and from the history as the reporting night knew it, month by month.
with nights as (
    select distinct as_of, known_at from {{ source('raw_crossfoot', 'nights') }} where known_at <= {{ known_at() }}
    union
    select {{ as_of() }}, {{ known_at() }}
),

tonight as (
    select
        {{ month_of('issue_date') }} as month,
        sum(case when document_type = 'invoice' then net_base else -net_base end) as amount
    from {{ ref('fct_invoices') }}
    where is_counted
    group by 1
    union all
    select
        {{ month_of('payment_date') }},
        sum(case when payment_type = 'payment' then amount_base else -amount_base end)
    from {{ ref('fct_payments') }}
    where is_counted
    group by 1
),

versions as (
    select
        history.*,
        lead(known_at) over (partition by source, document_type, document_id order by known_at) as next_known_at
    from {{ ref('int_documents__history') }} as history
    where known_at <= {{ known_at() }}
),

dated as (
    select distinct {{ month_of('dated_on') }} as month from versions where dated_on <= {{ as_of() }}
),

months as (
    select dated.month, min(nights.known_at) as reported_at
    from dated
    inner join nights
        on nights.as_of >= {{ add_days(add_months('dated.month', 1), var('month_close_days') | int - 1) }}
    group by 1
),

sides as (
    select months.month, tonight.amount as amount
    from months
    inner join tonight on months.month = tonight.month
    union all
    select months.month, -versions.amount_base
    from months
    inner join versions
        on months.month = {{ month_of('versions.dated_on') }} and versions.status = 'issued'
        and versions.known_at <= months.reported_at
        and (versions.next_known_at > months.reported_at or versions.next_known_at is null)
    union all
    select month, -difference from {{ ref('rpt_restatements') }}
)

select month, sum(amount) as unexplained
from sides
group by 1
having sum(amount) <> 0
