-- What the deals that differ sold of each product, what their schedules bill later of it, and what invoices and drafts bill.
-- Without a product: what is billed and was not sold. Prices are those of one unit.
with document_lines as (
    select * from {{ ref('int_deal_document_lines__matched') }}
),

-- Where an invoice shows a discount its lines are at the price before it, and so the deal's are taken at theirs.
discounted as (
    select distinct deal_source, deal_id
    from document_lines
    where line_kind = 'discount' and not is_draft and amount <> 0
),

ordered as (
    select
        lines.source as deal_source,
        lines.deal_id,
        {{ product_of('lines') }} as product,
        sum(lines.quantity) as quantity,
        sum(lines.amount) as net,
        sum(case when discounted.deal_id is null then 0 else coalesce(lines.discount, 0) end) as discount,
        sum(coalesce(schedule.later_amount, 0)) as later_net,
        sum(case when discounted.deal_id is null then 0 else coalesce(schedule.later_discount, 0) end)
            as later_discount,
        max(coalesce(schedule.period_count, 1)) as period_count,
        max(case when schedule.line_id is null then 0 else 1 end) = 1 as is_scheduled
    from {{ ref('int_deals__compared') }} as deals
    inner join {{ ref('int_deal_lines__unioned') }} as lines
        on deals.source = lines.source and deals.deal_id = lines.deal_id
    left join {{ ref('int_deal_lines__scheduled') }} as schedule
        on lines.source = schedule.source and lines.deal_id = schedule.deal_id and lines.line_id = schedule.line_id
    left join discounted on lines.source = discounted.deal_source and lines.deal_id = discounted.deal_id
    where deals.variance is distinct from 0
    group by 1, 2, 3
),

billed as (
    select
        deal_source,
        deal_id,
        product,
        sum(case when is_draft then 0 else amount end) as amount,
        sum(case when is_draft then amount else 0 end) as drafted,
        sum(case when is_draft then 0 else 1 end) as line_count,
        sum(case when quantity is null or quantity = 0 then 1 else 0 end) as without_quantity,
        min(case when not is_draft then price end) as lowest_price,
        max(case when not is_draft then price end) as highest_price,
        min(case when not is_draft then amount end) as lowest_amount,
        max(case when not is_draft then amount end) as highest_amount
    from (
        select *, {{ quotient('amount', 1, 'quantity') | trim }} as price
        from document_lines
        where line_kind = 'item'
    ) as items
    group by 1, 2, 3
)

select
    coalesce(ordered.deal_source, billed.deal_source) as deal_source,
    coalesce(ordered.deal_id, billed.deal_id) as deal_id,
    ordered.product,
    ordered.quantity,
    ordered.period_count,
    coalesce(ordered.is_scheduled, false) as is_scheduled,
    {%- for column in ['net', 'discount', 'later_net', 'later_discount'] %}
    cast(coalesce(ordered.{{ column }}, 0) as decimal(28,6)) as {{ column }},
    {%- endfor %}
    {{ quotient('ordered.net + ordered.discount', 1, 'ordered.quantity') | trim }} as price,
    {{ quotient('ordered.net + ordered.discount', 1, 'ordered.period_count') | trim }} as instalment,
    coalesce(billed.line_count, 0) as line_count,
    coalesce(billed.without_quantity, 0) = 0 and ordered.quantity is not null as has_quantities,
    cast(coalesce(billed.amount, 0) as decimal(28,6)) as billed,
    cast(coalesce(billed.drafted, 0) as decimal(28,6)) as drafted,
    billed.lowest_price,
    billed.highest_price,
    billed.lowest_amount,
    billed.highest_amount
from ordered
full outer join billed
    on ordered.deal_source = billed.deal_source and ordered.deal_id = billed.deal_id
    and ordered.product = billed.product
