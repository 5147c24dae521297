-- What a recurring line item's amount is of: true, one billing period; false, the whole term. HubSpot's default line item
-- properties list a net price beside a term and a total contract value ("hs_tcv"); SaaSGrid reads the net price as that
-- of one period, too. No live portal was asked (unverified): where a line has an hs_tcv, that decides for the line.
{%- set amount_is_of_one_period = true %}
-- Months without a term: what HubSpot itself assumes for ARR (its default deal properties).
{%- set months_assumed = 12 %}
-- Nobody sells more periods than this; a larger number is a slip of the keyboard.
{%- set most_periods = 600 %}
{%- set months = {'monthly': 1, 'quarterly': 3, 'semiannually': 6, 'annually': 12, 'every_2_years': 24, 'every_3_years': 36,
    'every_4_years': 48, 'every_5_years': 60} %}
{%- set weeks = {'weekly': 1, 'biweekly': 2} %}
with associations as (
    {{ newest_snapshot(source('raw_hubspot', 'deal_line_items'), 'deal_id') }}
),

items as (
    {{ newest_with_deletions(source('raw_hubspot', 'line_items'), ['id']) }}
),

deals as (
    {{ newest(source('raw_hubspot', 'deals'), ['id']) }}
),

-- A deleted line item is no longer part of the deal; one that was never read is a problem to show.
lines as (
    select distinct
        associations.deal_id,
        associations.line_item_id,
        items.*,
        {{ enumerate('items.billing_frequency', {
            'weekly': 'weekly', 'biweekly': 'biweekly', 'monthly': 'monthly', 'quarterly': 'quarterly',
            'per_six_months': 'semiannually', 'annually': 'annually', 'per_two_years': 'every_2_years',
            'per_three_years': 'every_3_years', 'per_four_years': 'every_4_years', 'per_five_years': 'every_5_years'
        }) }} as frequency,
        coalesce(items.amount, items.quantity * items.unit_price - coalesce(items.discount, 0)) as stated_amount,
        -- A delay counts from the close (unverified).
        case
            when items.billing_start is not null then items.billing_start
            when items.delay_months is not null or items.delay_days is not null then
                {{ add_days(add_months('deals.close_date', 'coalesce(items.delay_months, 0)'), 'coalesce(items.delay_days, 0)') }}
        end as starts_on
    from associations
    left join items on associations.line_item_id = items.id
    left join deals on associations.deal_id = deals.id
    where associations.line_item_id is not null and not coalesce(items._deleted, false)
),

stepped as (
    select
        *,
        case frequency {% for name, count in months.items() %}when '{{ name }}' then {{ count }} {% endfor %}end as step_months,
        case frequency {% for name, count in weeks.items() %}when '{{ name }}' then {{ count }} {% endfor %}end as step_weeks,
        12 * (extract(year from billing_end) - extract(year from starts_on)) + extract(month from billing_end)
            - extract(month from starts_on)
            + case when extract(day from billing_end) > extract(day from starts_on) then 1 else 0 end as months_to_end,
        {{ dbt.datediff('starts_on', 'billing_end', 'day') }} as days_to_end
    from lines
),

-- The payments of the term: their number where it is stated, else the term or the end over the frequency.
counted as (
    select
        *,
        case
            when step_months is null and step_weeks is null then 1
            when billing_periods is not null then billing_periods
            when greatest(abs(coalesce(term_months, 0)), abs(coalesce(term_days, 0))) > 31 * {{ most_periods }} then null
            when term_months is not null and term_days is null and step_months is not null then
                case when term_months % step_months = 0 then term_months // step_months end
            -- A quarter of a year has thirteen weeks.
            when term_months is not null and term_days is null then
                case when term_months * 13 % (3 * step_weeks) = 0 then term_months * 13 // (3 * step_weeks) end
            when term_days is not null and term_months is null and step_weeks is not null then
                case when term_days % (7 * step_weeks) = 0 then term_days // (7 * step_weeks) end
            when term_days is not null then null
            when billing_end is not null and starts_on is not null and step_months is not null then
                cast((months_to_end + step_months - 1) // step_months as bigint)
            when billing_end is not null and starts_on is not null then
                cast((days_to_end + 7 * step_weeks - 1) // (7 * step_weeks) as bigint)
            when step_months is not null then greatest({{ months_assumed }} // step_months, 1)
            else {{ months_assumed }} * 13 // (3 * step_weeks)
        end as stated_periods,
        coalesce(step_months, step_weeks) is not null and billing_periods is null and term_months is null
            and term_days is null and (billing_end is null or starts_on is null) as is_open_ended
    from stepped
),

valued as (
    select
        *,
        coalesce(stated_periods, 0) between 1 and {{ most_periods }} as is_counted,
        case when stated_periods between 1 and {{ most_periods }} then stated_periods else 1 end as periods,
        {{ var('tolerance') }} * case when stated_periods between 1 and {{ most_periods }} then stated_periods else 1 end as margin
    from counted
),

-- How many times the stated amount is the total over the term.
told as (
    select
        *,
        {%- set of_one_period = 'contract_value between stated_amount * periods - margin and stated_amount * periods + margin' %}
        {%- set of_the_term = 'contract_value between stated_amount - margin and stated_amount + margin' %}
        case
            when not is_open_ended and {{ of_one_period }} then periods
            when not is_open_ended and {{ of_the_term }} then 1
            else {{ 'periods' if amount_is_of_one_period else '1' }}
        end as factor,
        not is_open_ended and not ({{ of_one_period }}) and not ({{ of_the_term }}) as is_contradicted
    from valued
),

final as (
    select
        'hubspot' as source,
        deal_id,
        line_item_id as line_id,
        sku as product_code,
        name,
        quantity * factor as quantity,
        unit_price,
        discount * factor as discount,
        stated_amount * factor as amount,
        currency,
        frequency as billing_frequency,
        starts_on as billing_start,
        case when coalesce(step_months, step_weeks) is not null then periods else billing_periods end as billing_periods,
        is_open_ended as term_assumed,
        null as url,
        case
            when id is null then 'the line item was never read'
            when _problem is not null then _problem
            when not is_counted then
                'its term holds no number of billing periods that can be meant (frequency ' || frequency || ')'
            when is_contradicted then
                'its total contract value ' || contract_value || ' is neither the amount ' || stated_amount || ' nor that of '
                || periods || ' billing periods'
        end as problem
    from told
)

{{ canonical_select('deal_lines', 'final') }}
