-- What each deal is worth: the sum of its lines where it has lines, else its header amount, net of tax.
with deals as (
    select * from {{ ref('int_deals__unioned') }}
),

lines as (
    select
        lines.source,
        lines.deal_id,
        count(*) as line_count,
        sum(lines.amount) as amount,
        sum(case when lines.amount is null then 1 else 0 end) as unread_count,
        sum(case when lines.currency <> deals.currency then 1 else 0 end) as foreign_count,
        sum(case when lines.problem is not null then 1 else 0 end) as problem_count,
        sum(case when coalesce(lines.billing_start > {{ as_of() }}, false) then 1 else 0 end) as future_count,
        max(coalesce(lines.billing_periods, 1)) as most_periods
    from {{ ref('int_deal_lines__unioned') }} as lines
    inner join deals on lines.source = deals.source and lines.deal_id = deals.deal_id
    group by 1, 2
),

contracted as (
    select
        deals.source,
        deals.deal_id,
        deals.name,
        accounts.source as account_source,
        accounts.account_id,
        deals.account_id as stated_account_id,
        deals.owner_id,
        deals.pipeline,
        deals.stage,
        deals.amount as header_amount,
        lines.amount as lines_amount,
        case
            when lines.unread_count > 0 or lines.foreign_count > 0 then null
            when lines.line_count > 0 then lines.amount
            else deals.amount
        end as contracted,
        deals.currency,
        {{ rate_columns('deals', 'crm', 'deals.close_date') | trim }},
        deals.close_date,
        deals.probability,
        deals.is_won,
        deals.is_closed,
        deals.deal_type,
        deals.payment_terms,
        deals.contract_start,
        deals.contract_end,
        coalesce(lines.line_count, 0) as line_count,
        coalesce(lines.foreign_count, 0) as foreign_line_count,
        coalesce(lines.line_count > 0 and lines.future_count = lines.line_count, false) as bills_later,
        coalesce(lines.most_periods > 1, false) as bills_in_instalments,
        deals.problem is not null or coalesce(lines.problem_count, 0) > 0 as has_problem,
        deals.url
    from deals
    left join {{ ref('int_accounts__unioned') }} as accounts
        on deals.source = accounts.source and deals.account_id = accounts.account_id
    left join lines on deals.source = lines.source and deals.deal_id = lines.deal_id
    {{ join_rate_of_day('deals', 'deals.close_date') }}
)

select
    contracted.*,
    {{ in_base('contracted', 'rate', 'rate_divisor') }} as contracted_base
from contracted
