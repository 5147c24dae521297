-- The difference of each won deal, cause by cause. In the deal's currency the causes of int_deal_bridges__proven; in base
-- each of them at the rate of the close, and what the documents' own rates make of the invoiced amount is fx.
with proven as (
    select * from {{ ref('int_deal_bridges__proven') }}
),

causes as (
    {%- for cause in bridge_causes() %}
    select
        source, deal_id, {{ loop.index }} as place, '{{ cause }}' as cause, {{ cause }} as amount, rate, rate_divisor, contracted,
        in_other_currency
    from proven
    where {{ cause }} <> 0
    {{- ' union all' if not loop.last }}
    {%- endfor %}
),

-- Rounded as a running total, so that the causes together are rounded once.
steps as (
    select
        causes.*,
        cast(contracted + sum(amount) over (
            partition by source, deal_id order by place rows between unbounded preceding and current row
        ) as decimal(28,6)) as reached
    from causes
),

amounts as (
    select
        source,
        deal_id,
        'fx' as cause,
        invoiced_base - {{ times_rate('invoiced', 'rate', 'rate_divisor') }} as amount_base,
        cast(0 as decimal(28,6)) as amount,
        in_other_currency
    from proven
    union all
    select
        source,
        deal_id,
        cause,
        {{ times_rate('reached', 'rate', 'rate_divisor') }} - {{ times_rate('reached - amount', 'rate', 'rate_divisor') }},
        amount,
        in_other_currency
    from steps
)

select
    source,
    deal_id,
    cause,
    cast(amount_base as decimal(28,6)) as amount_base,
    cast(case when not in_other_currency then amount end as decimal(28,6)) as amount_deal
from amounts
where amount_base <> 0 or amount <> 0
