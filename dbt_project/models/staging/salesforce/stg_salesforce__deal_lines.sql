with lines as (
    {{ newest(source('raw_salesforce', 'opportunity_lines'), ['id']) }}
),

products as (
    {{ newest_with_deletions(source('raw_salesforce', 'products'), ['id']) }}
),

final as (
    select
        'salesforce' as source,
        lines.opportunity_id as deal_id,
        lines.id as line_id,
        coalesce({{ text_or_null('lines.product_code') }}, {{ text_or_null('products.product_code') }}) as product_code,
        coalesce({{ text_or_null('products.name') }}, {{ text_or_null('lines.name') }}) as name,
        lines.quantity,
        lines.unit_price,
        -- The discount is a percentage there, and the total is rounded: what it took off is the difference.
        cast(lines.quantity * lines.unit_price - lines.total_price as decimal(28,6)) as discount,
        lines.total_price as amount,
        coalesce({{ text_or_null('lines.currency') }}, home.home_currency) as currency,
        {{ enumerate('lower(' ~ text_or_null('lines.billing_frequency') ~ ')', {
            'once': 'once', 'one-time': 'once', 'weekly': 'weekly', 'biweekly': 'biweekly', 'monthly': 'monthly',
            'quarterly': 'quarterly', 'semiannually': 'semiannually', 'annually': 'annually', 'yearly': 'annually'
        }) }} as billing_frequency,
        lines.billing_start,
        lines.billing_periods,
        false as term_assumed,
        null as url,
        lines._problem as problem
    from lines
    cross join {{ ref('stg_salesforce__organization') }} as home
    left join products on lines.product_id = products.id
)

{{ canonical_select('deal_lines', 'final') }}
