{#-
  Credit hold as a function of facts, not of what earlier nights wrote: an account whose oldest overdue invoice is
  between the two thresholds is on hold when it once was past the upper one and has not been under the lower one
  since. Between two events (an invoice is settled, a credit arrives) age and overdue amount only grow, so the days
  to look at are the day of each event, the day before it, and the business date.
-#}
{%- set tolerance = var('tolerance') -%}
with between_thresholds as (
    select source as account_source, account_id
    from {{ ref('int_accounts__receivables') }}
    where overdue_amount > 0
        and days_overdue >= {{ var('credit_hold_release_days') }}
        and days_overdue < {{ var('credit_hold_days') }}
),

customers as (
    select matched.source, matched.customer_id, matched.account_source, matched.account_id
    from {{ ref('int_customers__matched') }} as matched
    inner join between_thresholds
        on matched.account_source = between_thresholds.account_source
        and matched.account_id = between_thresholds.account_id
),

-- Every application as seen from each of its two ends.
uses as (
    select source, document_type as end_type, document_id as end_id, amount, applied_date
    from {{ ref('int_applications__dated') }}
    where applied_date <= {{ as_of() }}
    union all
    select source, applied_type, applied_id, amount, applied_date
    from {{ ref('int_applications__dated') }}
    where applied_date <= {{ as_of() }}
),

-- What an account owes and what it has in credit, each with the day from which it exists.
items as (
    select
        customers.account_source, customers.account_id, documents.source, documents.document_type as item_type,
        documents.document_id as item_id, documents.issue_date as since, documents.due_date, documents.open_amount,
        documents.rate, documents.rate_divisor
    from {{ ref('int_documents__valued') }} as documents
    inner join customers on documents.source = customers.source and documents.customer_id = customers.customer_id
    where documents.is_counted
    union all
    select
        customers.account_source, customers.account_id, payments.source, 'payment', payments.payment_id,
        payments.payment_date, null,
        case payments.payment_type when 'payment' then payments.unapplied_amount else -payments.unapplied_amount end,
        payments.rate, payments.rate_divisor
    from {{ ref('int_payments__valued') }} as payments
    inner join customers on payments.source = customers.source and payments.customer_id = customers.customer_id
    where payments.is_counted
),

days as (
    select items.account_source, items.account_id, uses.applied_date as day
    from items
    inner join uses
        on items.source = uses.source and items.item_type = uses.end_type and items.item_id = uses.end_id
    union
    select items.account_source, items.account_id, {{ add_days('uses.applied_date', -1) }}
    from items
    inner join uses
        on items.source = uses.source and items.item_type = uses.end_type and items.item_id = uses.end_id
    union
    select account_source, account_id, {{ add_days('since', -1) }} from items where item_type <> 'invoice'
    union
    select account_source, account_id, {{ as_of() }} from between_thresholds
),

items_by_day as (
    select
        items.account_source,
        items.account_id,
        days.day,
        items.source,
        items.item_type,
        items.item_id,
        items.due_date,
        items.rate,
        items.rate_divisor,
        items.open_amount + coalesce(sum(uses.amount), 0) as open_amount
    from items
    inner join days
        on items.account_source = days.account_source and items.account_id = days.account_id
        and items.since <= days.day
    left join uses
        on items.source = uses.source and items.item_type = uses.end_type and items.item_id = uses.end_id
        and uses.applied_date > days.day
    group by
        items.account_source, items.account_id, days.day, items.source, items.item_type, items.item_id,
        items.due_date, items.rate, items.rate_divisor, items.open_amount
),

states as (
    select
        account_source,
        account_id,
        day,
        coalesce({{ days_between(
            "min(case when item_type = 'invoice' and due_date < day and open_amount > " ~ tolerance
            ~ " then due_date end)", 'day') }}, 0) as age,
        sum(case
            when item_type = 'invoice' and due_date < day and open_amount > {{ tolerance }}
                then {{ in_base('open_amount', 'rate', 'rate_divisor') }}
            when item_type = 'credit_note' and open_amount > {{ tolerance }}
                then -{{ in_base('open_amount', 'rate', 'rate_divisor') }}
            when item_type = 'payment' then -{{ in_base('open_amount', 'rate', 'rate_divisor') }}
            else 0
        end) as overdue_after_credit
    from items_by_day
    group by 1, 2, 3
),

released as (
    select account_source, account_id, max(day) as day
    from states
    where age < {{ var('credit_hold_release_days') }}
    group by 1, 2
)

select
    states.account_source,
    states.account_id,
    min(states.day) as first_seen_on_hold
from states
left join released
    on states.account_source = released.account_source and states.account_id = released.account_id
where states.age >= {{ var('credit_hold_days') }}
    and states.overdue_after_credit > 0
    and (released.day is null or states.day > released.day)
group by 1, 2
