-- Revenue by document and month: over the contract's period where the document's deal has one and is not billed in
-- instalments (an instalment covers its own time), else in the month of issue. Credit notes reduce it at issue. Of
-- deals in several CRMs the first CRM's counts.
with documents as (
    select
        valued.source,
        valued.document_type,
        valued.document_id,
        valued.issue_date,
        case when valued.document_type = 'invoice' then valued.net_base else -valued.net_base end as net_base,
        deals.contract_start,
        deals.contract_end,
        valued.document_type = 'invoice' and coalesce(
            deals.contract_end > deals.contract_start and not deals.bills_in_instalments
            and {{ days_between('deals.contract_start', 'deals.contract_end') }} < 7300, false) as is_spread
    from {{ ref('int_documents__valued') }} as valued
    left join {{ ref('int_documents__linked') }} as links
        on valued.source = links.source and valued.document_type = links.document_type
        and valued.document_id = links.document_id and links.is_first
    left join {{ ref('int_deals__contracted') }} as deals
        on links.deal_source = deals.source and links.deal_id = deals.deal_id
    where valued.is_counted and valued.net_base is not null
),

months as (
    select
        documents.*,
        {{ add_months(month_of('documents.contract_start'), 'numbers.n') }} as month
    from documents
    inner join ({{ numbers_to(241) }}) as numbers
        on {{ add_months(month_of('documents.contract_start'), 'numbers.n') }} <= documents.contract_end
    where documents.is_spread
),

-- Cumulative and rounded, so that the months add up to the document exactly.
cumulative as (
    select
        months.*,
        case
            when {{ add_months('month', 1) }} > contract_end then net_base
            else cast(net_base * {{ ratio(
                days_between('contract_start', add_months('month', 1)),
                days_between('contract_start', 'contract_end') ~ ' + 1') }} as decimal(28,6))
        end as until_month_end
    from months
)

select
    source,
    document_type,
    document_id,
    month,
    cast(until_month_end - coalesce(lag(until_month_end) over (
        partition by source, document_type, document_id order by month), 0) as decimal(28,6)) as recognised_base
from cumulative
union all
select source, document_type, document_id, {{ month_of('issue_date') }}, cast(net_base as decimal(28,6))
from documents
where not is_spread
