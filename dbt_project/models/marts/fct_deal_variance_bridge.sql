-- The difference of each won deal, cause by cause. In the deal's currency the causes of int_deal_bridges__proven; in base
-- each of them at the rate of the close, and what the documents' own rates make of the invoiced amount is fx.
with deals as (
    select
        compared.source,
        compared.deal_id,
        compared.rate,
        compared.rate_divisor,
        compared.invoiced_base,
        compared.in_other_currency,
        coalesce(proven.invoiced, compared.invoiced) as invoiced
    from {{ ref('int_deals__compared') }} as compared
    left join {{ ref('int_deal_bridges__proven') }} as proven
        on compared.source = proven.source and compared.deal_id = proven.deal_id
    where compared.contracted_base is not null and compared.invoiced_base is not null
        and (proven.deal_id is not null or compared.invoiced_base <> compared.contracted_base)
),

causes as (
    {%- for cause in bridge_causes() %}
    select source, deal_id, {{ loop.index }} as place, '{{ cause }}' as cause, {{ cause }} as amount, contracted
    from {{ ref('int_deal_bridges__proven') }}
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
        invoiced_base - {{ in_base('invoiced', 'rate', 'rate_divisor') }} as amount_base,
        cast(0 as decimal(28,6)) as amount,
        in_other_currency
    from deals
    union all
    select
        steps.source,
        steps.deal_id,
        steps.cause,
        {{ in_base('steps.reached', 'deals.rate', 'deals.rate_divisor') }}
            - {{ in_base('(steps.reached - steps.amount)', 'deals.rate', 'deals.rate_divisor') }},
        steps.amount,
        deals.in_other_currency
    from steps
    inner join deals on steps.source = deals.source and steps.deal_id = deals.deal_id
)

select
    source,
    deal_id,
    cause,
    cast(amount_base as decimal(28,6)) as amount_base,
    cast(case when not in_other_currency then amount end as decimal(28,6)) as amount_deal
from amounts
where amount_base <> 0 or amount <> 0
