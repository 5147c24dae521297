-- TotalPrice is quantity times sales price less the discount, and the opportunity's Amount is the sum of its products' (Object
-- reference, OpportunityLineItem and Opportunity): the total of the line. An org whose people enter the price of one billing
-- period says so in the settings; that counts for every period, and without their number for twelve months.
-- Nobody sells more periods than this; a larger number is a slip of the keyboard.
{%- set most_periods = 600 %}
{%- set in_twelve_months = {'weekly': 52, 'biweekly': 26, 'monthly': 12, 'quarterly': 4, 'semiannually': 2, 'annually': 1} %}
with lines as (
    {{ newest(source('raw_salesforce', 'opportunity_lines'), ['id']) }}
),

products as (
    {{ newest_with_deletions(source('raw_salesforce', 'products'), ['id']) }}
),

read as (
    select
        lines.*,
        {{ enumerate('lower(' ~ text_or_null('lines.billing_frequency') ~ ')', {
            'once': 'once', 'one-time': 'once', 'weekly': 'weekly', 'biweekly': 'biweekly', 'monthly': 'monthly',
            'quarterly': 'quarterly', 'semiannually': 'semiannually', 'annually': 'annually', 'yearly': 'annually'
        }) }} as frequency
    from lines
),

counted as (
    select
        read.*,
        home.home_currency,
        case when home.total_is_of_one_period then
            case frequency {% for name, count in in_twelve_months.items() %}when '{{ name }}' then {{ count }} {% endfor %}end
        end as assumed_periods
    from read
    cross join {{ ref('stg_salesforce__organization') }} as home
),

valued as (
    select
        *,
        case when assumed_periods is not null then coalesce(billing_periods, assumed_periods) else billing_periods end as periods,
        assumed_periods is not null and billing_periods not between 1 and {{ most_periods }} as is_miscounted,
        case when assumed_periods is null or billing_periods not between 1 and {{ most_periods }} then 1
            else coalesce(billing_periods, assumed_periods) end as factor
    from counted
),

final as (
    select
        'salesforce' as source,
        lines.opportunity_id as deal_id,
        lines.id as line_id,
        coalesce({{ text_or_null('lines.product_code') }}, {{ text_or_null('products.product_code') }}) as product_code,
        coalesce({{ text_or_null('products.name') }}, {{ text_or_null('lines.name') }}) as name,
        lines.quantity * lines.factor as quantity,
        lines.unit_price,
        -- The discount is a percentage there, and the total is rounded: what it took off is the difference.
        cast(lines.quantity * lines.unit_price - lines.total_price as decimal(28,6)) * lines.factor as discount,
        lines.total_price * lines.factor as amount,
        coalesce({{ text_or_null('lines.currency') }}, lines.home_currency) as currency,
        lines.frequency as billing_frequency,
        lines.billing_start,
        lines.periods as billing_periods,
        lines.assumed_periods is not null and lines.billing_periods is null as term_assumed,
        null as url,
        case
            when lines._problem is not null then lines._problem
            when lines.is_miscounted then 'its number of billing periods is ' || lines.billing_periods
        end as problem
    from valued as lines
    left join products on lines.product_id = products.id
)

{{ canonical_select('deal_lines', 'final') }}
