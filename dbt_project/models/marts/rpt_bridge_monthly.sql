-- From what was contracted in a month to what was invoiced for deals in it, by cause. The causes of a deal stand in the
-- month of its close; timing takes what of its invoices is in another month out of that month and into its own.
with deals as (
    select
        source, deal_id, close_date, contracted_base, invoiced_base,
        {{ month_of('close_date') }} as month
    from {{ ref('fct_deal_reconciliation') }}
    where close_date is not null and contracted_base is not null and invoiced_base is not null
),

invoiced as (
    select
        deals.source,
        deals.month as close_month,
        {{ month_of('documents.issue_date') }} as month,
        {{ total("case when documents.document_type = 'invoice' then documents.net_base else -documents.net_base end") }}
            as amount
    from deals
    inner join {{ ref('int_documents__linked') }} as links
        on deals.source = links.deal_source and deals.deal_id = links.deal_id and links.outcome = 'linked'
    inner join {{ ref('int_documents__valued') }} as documents
        on links.source = documents.source and links.document_type = documents.document_type
        and links.document_id = documents.document_id
    group by 1, 2, 3
),

lines as (
    select source, month, 1 as place, 'contracted' as line, contracted_base as amount from deals
    union all
    select
        deals.source,
        deals.month,
        case bridge.cause
            when 'fx' then 2
            {%- for cause in bridge_causes() %}
            when '{{ cause }}' then {{ loop.index + 2 }}
            {%- endfor %}
        end,
        bridge.cause,
        bridge.amount_base
    from {{ ref('fct_deal_variance_bridge') }} as bridge
    inner join deals on bridge.source = deals.source and bridge.deal_id = deals.deal_id
    union all
    select source, close_month, 15, 'timing', -amount from invoiced where month <> close_month
    union all
    select source, month, 15, 'timing', amount from invoiced where month <> close_month
    union all
    select source, month, 16, 'invoiced', amount from invoiced
)

select
    source,
    month,
    line,
    cast(place as bigint) as place,
    {{ total('amount') }} as amount_base
from lines
group by 1, 2, 3, 4
having sum(amount) <> 0
