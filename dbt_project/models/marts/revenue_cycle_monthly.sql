with deals as (
    select * from {{ ref('int_deals__contracted') }}
),

reconciled as (
    select * from {{ ref('fct_deal_reconciliation') }}
),

documents as (
    select * from {{ ref('fct_invoices') }} where is_counted
),

payments as (
    select * from {{ ref('int_payments__valued') }} where is_counted
),

pipeline as (
    select
        {{ month_of('close_date') }} as month,
        count(*) as deal_count,
        sum(case when contracted_base is null then 1 else 0 end) as unknown_count,
        {{ known_total('contracted_base') }} as plain,
        {{ known_total('cast(contracted_base * coalesce(probability, 0) as decimal(28,6))') }} as weighted
    from deals
    where not is_closed and close_date is not null
    group by 1
),

bookings as (
    select
        {{ month_of('close_date') }} as month,
        {{ total('contracted_base') }} as bookings,
        count(*) as deal_count,
        cast(round({{ ratio(
            'sum(case when first_invoice_date is not null then ' ~ days_between('close_date', 'first_invoice_date')
            ~ ' end)', 'count(first_invoice_date)') }}, 1) as decimal(9,1)) as order_to_invoice_days
    from reconciled
    where close_date is not null
    group by 1
),

invoiced as (
    select
        {{ month_of('documents.issue_date') }} as month,
        {{ total(
            "case when documents.document_type = 'invoice' then documents.net_base else -documents.net_base end"
        ) }} as invoiced,
        sum(case when documents.document_type = 'invoice' then 1 else 0 end) as invoice_count,
        sum(case when documents.document_type = 'invoice' and reconciled.status = 'Review' then 1 else 0 end)
            as discrepancy_count
    from documents
    left join reconciled on documents.deal_source = reconciled.source and documents.deal_id = reconciled.deal_id
    group by 1
),

collected as (
    select
        {{ month_of('payment_date') }} as month,
        {{ total("case when payment_type = 'payment' then amount_base else -amount_base end") }} as collected,
        {{ total("case when payment_type = 'payment' then net_base else -net_base end") }} as collected_net
    from payments
    group by 1
),

realised as (
    select {{ month_of('applied_date') }} as month, {{ total('gain_base') }} as realised_fx
    from {{ ref('fct_realised_fx') }}
    group by 1
),

recognised as (
    select month, {{ total('recognised_base') }} as recognised
    from {{ ref('int_documents__recognised') }}
    group by 1
),

-- What was owed at the end of a month: what is owed on the business date, without what was issued since and with what
-- was settled since. Overdue is what was so the day after it fell due.
movements as (
    select
        issue_date as owed_from,
        greatest(issue_date, {{ add_days('due_date', '1') }}) as overdue_from,
        -- Cents within the tolerance are not owed on the business date, nor were they before.
        gross_base - case when is_open then 0 else coalesce(open_base, 0) end as amount
    from documents
    where document_type = 'invoice' and gross_base is not null
    union all
    select
        settled.applied_date,
        greatest(settled.applied_date, {{ add_days('documents.due_date', '1') }}),
        -settled.settled_base
    from {{ ref('int_documents__settled') }} as settled
    inner join documents
        on settled.source = documents.source and settled.document_type = documents.document_type
        and settled.document_id = documents.document_id
    where documents.document_type = 'invoice' and settled.settled_base is not null
),

moved as (
    select month, sum(owed) as owed, sum(overdue) as overdue
    from (
        select {{ month_of('owed_from') }} as month, amount as owed, 0 as overdue from movements
        union all
        select {{ month_of('overdue_from') }}, 0, amount from movements where overdue_from <= {{ as_of() }}
    ) as sides
    group by 1
),

owed as (
    select
        {{ total('case when is_open then open_base end') }} as outstanding,
        {{ total('case when is_overdue then open_base end') }} as overdue
    from documents
    where document_type = 'invoice'
),

bounds as (
    select
        coalesce(min(month), {{ month_of(as_of()) }}) as first_month,
        {{ add_months(month_of(as_of()), 12) }} as last_month
    from (
        select month from pipeline
        union all
        select month from bookings
        union all
        select month from invoiced
        union all
        select month from collected
        union all
        select month from recognised
        union all
        select month from realised
    ) as months
),

-- Counted back from the business date: whatever stands at the far end, the months that people read are there.
months as (
    select {{ add_months('bounds.last_month', '-numbers.n') }} as month
    from bounds
    inner join ({{ numbers_to(2400) }}) as numbers on {{ add_months('bounds.last_month', '-numbers.n') }} >= bounds.first_month
)

select
    months.month,
    -- Unknown is not 0: what the open deals of a month come to where none of them has an amount.
    case when pipeline.month is null then 0 else pipeline.plain end as pipeline_amount,
    case when pipeline.month is null then 0 else pipeline.weighted end as pipeline_weighted,
    cast(coalesce(pipeline.deal_count, 0) as bigint) as pipeline_deals,
    cast(coalesce(pipeline.unknown_count, 0) as bigint) as pipeline_deals_without_amount,
    coalesce(bookings.bookings, 0) as bookings,
    cast(coalesce(bookings.deal_count, 0) as bigint) as won_deals,
    coalesce(invoiced.invoiced, 0) as invoiced,
    coalesce(collected.collected, 0) as collected,
    coalesce(collected.collected_net, 0) as collected_net,
    coalesce(realised.realised_fx, 0) as realised_fx,
    coalesce(recognised.recognised, 0) as recognised,
    case when months.month <= {{ as_of() }} then cast(owed.outstanding - coalesce(
        sum(moved.owed) over (order by months.month desc rows between unbounded preceding and 1 preceding), 0
    ) as decimal(28,6)) end as outstanding,
    case when months.month <= {{ as_of() }} then cast(owed.overdue - coalesce(
        sum(moved.overdue) over (order by months.month desc rows between unbounded preceding and 1 preceding), 0
    ) as decimal(28,6)) end as overdue,
    bookings.order_to_invoice_days,
    cast(coalesce(invoiced.invoice_count, 0) as bigint) as invoices,
    cast(coalesce(invoiced.discrepancy_count, 0) as bigint) as invoices_with_discrepancy,
    cast({{ ratio('invoiced.discrepancy_count', 'invoiced.invoice_count') }} as decimal(9,6)) as discrepancy_share,
    '{{ var("base_currency") }}' as base_currency
from months
left join pipeline on months.month = pipeline.month
left join bookings on months.month = bookings.month
left join invoiced on months.month = invoiced.month
left join collected on months.month = collected.month
left join recognised on months.month = recognised.month
left join realised on months.month = realised.month
left join moved on months.month = moved.month
cross join owed
