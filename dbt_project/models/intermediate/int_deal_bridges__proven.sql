-- What each cause proves of the difference between contracted and invoiced, in the deal's currency: the causes add up to
-- it exactly. Only deals with a difference have a row. The facts are those of int_deal_tax, int_deal_products and
-- int_deal_copies; DECISIONS.md, "The bridge", has the rules and an example of each.
{%- set tolerance = var('tolerance') %}
-- The deal's lines without the tax that is in them, and what the invoices bill without the copies.
with expected as (
    select
        products.deal_source, products.deal_id, products.product, products.is_scheduled, products.has_quantities,
        products.line_count > 0 as is_billed,
        products.drafted, products.lowest_price, products.highest_price, products.lowest_amount, products.highest_amount,
        {%- for column in ['net', 'discount', 'later_net', 'later_discount', 'price', 'instalment'] %}
        {{ net_of('products.' ~ column, 'tax.net_part', 'tax.gross_part') }} as {{ column }},
        {%- endfor %}
        products.billed - coalesce(copied.amount, 0) as billed
    from {{ ref('int_deal_products__compared') }} as products
    inner join {{ ref('int_deal_tax__assessed') }} as tax
        on products.deal_source = tax.deal_source and products.deal_id = tax.deal_id
    left join (
        select lines.deal_source, lines.deal_id, lines.product, sum(lines.amount) as amount
        from {{ ref('int_deal_copies__counted') }} as copies
        inner join {{ ref('int_deal_document_lines__matched') }} as lines
            on copies.deal_source = lines.deal_source and copies.deal_id = lines.deal_id
            and copies.source = lines.source and copies.document_id = lines.document_id and lines.line_kind = 'item'
        group by 1, 2, 3
    ) as copied
        on products.deal_source = copied.deal_source and products.deal_id = copied.deal_id
        and products.product is not distinct from copied.product
),

products as (
    select
        expected.*,
        net + discount - later_net - later_discount as due,
        billed - (net + discount - later_net - later_discount) as difference,
        -- The price is the same when one unit costs the same, or one instalment.
        coalesce(
            ({{ within('lowest_price', 'price', tolerance) }} and {{ within('highest_price', 'price', tolerance) }})
            or ({{ within('lowest_amount', 'instalment', tolerance) }} and {{ within('highest_amount', 'instalment', tolerance) }}),
            false) as same_price
    from expected
),

-- Of a scheduled product at its own price, too little is an instalment that is missing and too much one that came early.
product_totals as (
    select
        deal_source, deal_id,
        sum(net) as net,
        sum(discount - later_discount) as due_discount,
        sum(case
            when product is null or not is_billed or not has_quantities or {{ within('difference', '0', tolerance) }} then 0
            when is_scheduled and same_price and difference < 0 then 0
            when is_scheduled and same_price then difference - least(difference, later_net)
            when difference < 0 then difference + least(-difference, drafted)
            else difference
        end) as price_effect,
        sum(case
            when is_billed and has_quantities and same_price and difference > 0 then later_net - least(difference, later_net)
            else later_net
        end) as later,
        sum(case when product is null or is_billed then 0 else greatest(due - drafted, 0) end) as unbilled,
        sum(case when product is null then billed else 0 end) as unsold
    from products
    group by 1, 2
),

netted as (
    select
        tax.*,
        case when tax.line_count > 0 then products.net
            else {{ net_of('tax.contracted', 'tax.net_part', 'tax.gross_part') }} end as contracted_net,
        coalesce(products.due_discount, 0) as due_discount,
        coalesce(products.price_effect, 0) as price_effect,
        coalesce(products.later, 0) as later,
        case when tax.has_lines then greatest(products.unsold - products.unbilled, 0) else 0 end as beyond,
        coalesce(copies.amount, 0) as copied,
        coalesce(copies.discount, 0) as copied_discount
    from {{ ref('int_deal_tax__assessed') }} as tax
    left join product_totals as products on tax.deal_source = products.deal_source and tax.deal_id = products.deal_id
    left join (
        select deal_source, deal_id, sum(net) as amount, sum(discount) as discount
        from {{ ref('int_deal_copies__counted') }}
        group by 1, 2
    ) as copies on tax.deal_source = copies.deal_source and tax.deal_id = copies.deal_id
),

-- What roundings can make needs no cause, and no other one where the tax makes the whole difference. An invoice's discount
-- counts as far as the deal's own differs from it.
first_causes as (
    select
        netted.*,
        case when is_rounding then 0 else contracted_net - contracted end as tax_in_contract,
        case when has_more then copied else 0 end as duplicate_invoice,
        case when has_more then -credited else 0 end as credit_note,
        case when has_more and discount <> 0 then discount - copied_discount + due_discount else 0 end as discount_effect,
        case when has_more and has_lines then price_effect else 0 end as price_or_quantity,
        case when has_more then later else 0 end as later_now
    from (
        select
            *,
            {{ within('invoiced', 'contracted', 'margin') }} as is_rounding,
            not {{ within('invoiced', 'contracted', 'margin') }}
                and not {{ within('invoiced', 'contracted_net', 'margin') }} as has_more
        from netted
    ) as netted
),

-- `shortage` is what the contract has and the invoices have not, for drafts first and then for the schedule.
short as (
    select
        first_causes.*,
        case when has_more then greatest(beyond - (invoiced - contracted_net - duplicate_invoice - credit_note
            - discount_effect - price_or_quantity), 0) else 0 end as shortage
    from first_causes
),

remains as (
    select
        *,
        invoiced - contracted - tax_in_contract - duplicate_invoice - credit_note - discount_effect - price_or_quantity
            - awaiting_review - scheduled as remaining
    from (
        select
            *,
            -least(drafted, shortage) as awaiting_review,
            -greatest(least(later_now, shortage - least(drafted, shortage)), 0) as scheduled
        from short
    ) as waiting
)

select
    deal_source as source, deal_id,
    {%- for column in ['contracted', 'invoiced'] + bridge_causes()[:7] %}
    cast({{ 'discount_effect' if column == 'discount' else column }} as decimal(28,6)) as {{ column }},
    {%- endfor %}
    {%- for cause in bridge_causes()[7:] %}
    cast(case when rest = '{{ cause }}' then remaining else 0 end as decimal(28,6)) as {{ cause }}
    {{- ',' if not loop.last }}
    {%- endfor %}
from (
    select
        *,
        case
            when {{ within('remaining', '0', 'margin') }} then 'rounding'
            when is_doubtful then 'unexplained'
            when invoice_count = 0 and remaining < 0 then 'not_invoiced'
            when remaining < 0 then 'partly_invoiced'
            else 'over_invoiced'
        end as rest
    from remains
) as named
