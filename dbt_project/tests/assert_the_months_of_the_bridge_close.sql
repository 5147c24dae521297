-- Memo: in every month contracted, the causes and timing add up to invoiced, exactly; timing moves and makes nothing; and
-- the months together are the deals.
with months as (
    select
        source,
        month,
        sum(case when line <> 'invoiced' then amount_base else 0 end) as explained,
        sum(case when line = 'invoiced' then amount_base else 0 end) as invoiced
    from {{ ref('rpt_bridge_monthly') }}
    group by 1, 2
),

totals as (
    select
        source,
        sum(case when line = 'timing' then amount_base else 0 end) as timing,
        sum(case when line = 'contracted' then amount_base else 0 end) as contracted,
        sum(case when line = 'invoiced' then amount_base else 0 end) as invoiced
    from {{ ref('rpt_bridge_monthly') }}
    group by 1
),

deals as (
    select source, sum(contracted_base) as contracted, sum(invoiced_base) as invoiced
    from {{ ref('fct_deal_reconciliation') }}
    where close_date is not null and contracted_base is not null and invoiced_base is not null
    group by 1
)

select source, month, explained, invoiced from months where explained <> invoiced
union all
select coalesce(deals.source, totals.source), null, totals.invoiced, deals.invoiced
from deals
full outer join totals on deals.source = totals.source
where coalesce(totals.timing, 0) <> 0
    or coalesce(deals.contracted, 0) <> coalesce(totals.contracted, 0)
    or coalesce(deals.invoiced, 0) <> coalesce(totals.invoiced, 0)
