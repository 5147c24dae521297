with associations as (
    {{ newest_snapshot(source('raw_hubspot', 'deal_line_items'), 'deal_id') }}
),

lines as (
    {{ newest_with_deletions(source('raw_hubspot', 'line_items'), ['id']) }}
),

final as (
    select distinct
        'hubspot' as source,
        associations.deal_id,
        associations.line_item_id as line_id,
        lines.sku as product_code,
        lines.name,
        lines.quantity,
        lines.unit_price,
        lines.discount,
        coalesce(lines.amount, lines.quantity * lines.unit_price - coalesce(lines.discount, 0)) as amount,
        lines.currency,
        {{ enumerate('lines.billing_frequency', {
            'weekly': 'weekly', 'biweekly': 'biweekly', 'monthly': 'monthly', 'quarterly': 'quarterly',
            'per_six_months': 'semiannually', 'annually': 'annually', 'per_two_years': 'every_2_years',
            'per_three_years': 'every_3_years', 'per_four_years': 'every_4_years', 'per_five_years': 'every_5_years'
        }) }} as billing_frequency,
        lines.billing_start,
        lines.billing_periods,
        false as term_assumed,
        null as url,
        case when lines.id is null then 'the line item was never read' else lines._problem end as problem
    from associations
    left join lines on associations.line_item_id = lines.id
    -- A deleted line item is no longer part of the deal; one that was never read is a problem to show.
    where associations.line_item_id is not null and not coalesce(lines._deleted, false)
)

{{ canonical_select('deal_lines', 'final') }}
