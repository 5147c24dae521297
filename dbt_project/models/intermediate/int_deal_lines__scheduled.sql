-- What lines with a schedule or a start of their own still have to bill; a line that is billed once is one instalment.
with deals as (
    select * from {{ ref('int_deals__contracted') }} where is_won
),

instalments as (
    select
        lines.source,
        lines.deal_id,
        lines.line_id,
        lines.amount,
        lines.discount,
        lines.period_count,
        case coalesce(lines.billing_frequency, 'once')
            when 'once' then start_date
            when 'weekly' then {{ add_days('start_date', '7 * numbers.n') }}
            when 'biweekly' then {{ add_days('start_date', '14 * numbers.n') }}
            when 'monthly' then {{ add_months('start_date', 'numbers.n') }}
            when 'quarterly' then {{ add_months('start_date', '3 * numbers.n') }}
            when 'semiannually' then {{ add_months('start_date', '6 * numbers.n') }}
            when 'annually' then {{ add_months('start_date', '12 * numbers.n') }}
            when 'every_2_years' then {{ add_months('start_date', '24 * numbers.n') }}
            when 'every_3_years' then {{ add_months('start_date', '36 * numbers.n') }}
            when 'every_4_years' then {{ add_months('start_date', '48 * numbers.n') }}
            when 'every_5_years' then {{ add_months('start_date', '60 * numbers.n') }}
        end as due_on
    from (
        select
            deal_lines.*,
            coalesce(deal_lines.billing_start, deals.contract_start, deals.close_date) as start_date,
            case when deal_lines.billing_frequency is null then 1 else coalesce(deal_lines.billing_periods, 1) end
                as period_count
        from {{ ref('int_deal_lines__unioned') }} as deal_lines
        inner join deals on deal_lines.source = deals.source and deal_lines.deal_id = deals.deal_id
        where deal_lines.billing_start is not null or deal_lines.billing_frequency is not null
    ) as lines
    inner join ({{ numbers_to(599) }}) as numbers on numbers.n < lines.period_count
),

counted as (
    select
        source,
        deal_id,
        line_id,
        max(amount) as amount,
        max(discount) as discount,
        max(period_count) as period_count,
        cast(sum(case when due_on > {{ as_of() }} then 1 else 0 end) as integer) as later_count
    from instalments
    group by 1, 2, 3
)

-- One division per line, so that a schedule of twelve does not round twelve times.
select
    source,
    deal_id,
    line_id,
    period_count,
    later_count,
    cast(amount * later_count / period_count as decimal(28,6)) as later_amount,
    cast(coalesce(discount, 0) * later_count / period_count as decimal(28,6)) as later_discount
from counted
