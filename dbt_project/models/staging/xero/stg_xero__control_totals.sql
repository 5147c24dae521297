{#-
  A contact's balance is what its invoices have due less what its credits have left, not converted to the base currency,
  on the night on which it was read. So the contact's own open items are summed twice: raw as they are now, which must
  be the balance, and in base as they stood on the business date. The total is the second sum plus what the balance
  differs from the first, converted. The ledger's own total is the control account of the trial balance, which knows of
  no contact. Whether Xero counts what is dated ahead of the day is not documented (unverified):
  a balance that is the raw sum without it agrees as well.
-#}
with landed as (
    {{ newest_snapshot("(select * from " ~ source('raw_xero', 'contact_balances')
        ~ " where report_date = " ~ as_of() ~ ")", 'tenant_id') }}
),

-- A retry may land a night's balances twice.
balances as (
    select *
    from (
        select landed.*, row_number() over (partition by contact_id order by contact_name, outstanding) as _copy
        from landed
        where contact_id is not null
    ) as copies
    where _copy = 1
),

-- Of documents and payments: what was applied after the business date, and so was still open on it.
later as (
    select record_type, record_id, sum(amount) as amount
    from (
        select document_type as record_type, document_id as record_id, amount, applied_date
        from {{ ref('stg_xero__applications') }}
        union all
        select applied_type, applied_id, amount, applied_date from {{ ref('stg_xero__applications') }}
    ) as ends
    where applied_date > {{ as_of() }}
    group by 1, 2
),

items as (
    select
        document_type as record_type, document_id as record_id, customer_id, issue_date as item_date, rate, rate_divisor,
        currency, case when document_type = 'invoice' then 1 else -1 end as sign, open_amount
    from {{ ref('stg_xero__documents') }}
    where status = 'issued'
    union all
    select 'payment', payment_id, customer_id, payment_date, rate, rate_divisor, currency, -1, unapplied_amount
    from {{ ref('stg_xero__payments') }}
    where payment_type = 'payment'
),

-- The quote of an item's day, for those that came without one of their own.
quotes as (
    select
        from_currency, rate, rate_divisor, rate_date,
        lead(rate_date) over (partition by from_currency order by rate_date) as next_date
    from {{ ref('stg_xero__rates') }}
    where to_currency = '{{ var("base_currency") }}'
),

base_currency as (
    select minor_units from {{ ref('iso_currencies') }} where code = '{{ var("base_currency") }}'
),

dated as (
    select
        items.customer_id,
        items.currency,
        case when items.rate is null then quotes.rate else items.rate end as rate,
        case when items.rate is null then quotes.rate_divisor else items.rate_divisor end as rate_divisor,
        items.sign * items.open_amount as raw_now,
        case when items.item_date <= {{ as_of() }} then items.sign * items.open_amount end as raw_dated,
        case when items.item_date <= {{ as_of() }} then items.sign * (items.open_amount + coalesce(later.amount, 0)) end
            as raw_then
    from items
    left join quotes
        on items.currency = quotes.from_currency and items.item_date >= quotes.rate_date
        and (items.item_date < quotes.next_date or quotes.next_date is null)
    left join later on items.record_type = later.record_type and items.record_id = later.record_id
),

converted as (
    select
        dated.*,
        {{ round_money(times_rate('dated.raw_then', 'dated.rate', 'dated.rate_divisor'), 'base_currency.minor_units') }}
            as base_then
    from dated
    cross join base_currency
),

ours as (
    select
        customer_id,
        {{ total('raw_now') }} as raw_now,
        {{ total('raw_dated') }} as raw_dated,
        {{ total('raw_then') }} as raw_then,
        {{ total('base_then') }} as base_then,
        max(case when raw_now <> 0 then rate end) as rate,
        min(case when raw_now <> 0 then coalesce(rate_divisor, 1) end) as rate_divisor,
        -- A sum over several currencies is in none.
        case when count(distinct currency) = 1 then max(currency) end as own_currency
    from converted
    where customer_id is not null and (raw_now <> 0 or raw_then <> 0)
    group by 1
),

contacts as (
    {{ newest(source('raw_xero', 'contacts'), ['id']) }}
),

-- Only what is not 0 has a balance; a contact of an organisation that gave none at all tonight has nothing to compare.
stated as (
    select
        coalesce(balances.contact_id, contacts.id) as contact_id,
        coalesce(balances.contact_name, contacts.name) as contact_name,
        coalesce(balances.outstanding, case when balances.contact_id is null then 0 end) as outstanding,
        balances._problem
    from balances
    full outer join (
        select * from contacts where tenant_id in (select tenant_id from balances)
    ) as contacts on balances.contact_id = contacts.id
),

-- The control account of every organisation; a total that lacks one is none. One that books in another currency than
-- the base gives its own, with which nothing is compared.
control_accounts as (
    {{ newest_snapshot("(select * from " ~ source('raw_xero', 'trial_balance')
        ~ " where report_date = " ~ as_of() ~ ")", 'tenant_id') }}
),

-- A retry may land a night's trial balance twice.
control_account as (
    select
        max(coalesce(organisations.home_currency, '{{ var("base_currency") }}')) as highest_currency,
        min(coalesce(organisations.home_currency, '{{ var("base_currency") }}')) as lowest_currency,
        case when count(accounts.balance) = count(*) then sum(accounts.balance) end as balance,
        max(accounts._problem) as _problem
    from (
        select tenant_id, account_id, max(balance) as balance, max(_problem) as _problem
        from control_accounts
        group by 1, 2
    ) as accounts
    left join {{ ref('stg_xero__organisations') }} as organisations on accounts.tenant_id = organisations.tenant_id
    having count(*) > 0
        and count(distinct accounts.tenant_id) >= (select count(*) from {{ ref('stg_xero__organisations') }})
),

customers as (
    select
        'xero' as source,
        compared.contact_id as customer_id,
        compared.contact_name as customer_name,
        {{ as_of() }} as report_date,
        '{{ var("base_currency") }}' as currency,
        null as bucket_current,
        null as bucket_1_30,
        null as bucket_31_60,
        null as bucket_61_90,
        null as bucket_91_plus,
        coalesce(ours.base_then, 0)
            + {{ times_rate('compared.not_ours', 'coalesce(ours.rate, 1)', 'ours.rate_divisor') }} as total,
        ours.own_currency,
        case when ours.own_currency is not null then ours.raw_then + compared.not_ours end as own_total,
        null as url,
        compared._problem as problem
    from (
        select
            stated.*,
            case when stated.outstanding = ours.raw_dated then 0
                else stated.outstanding - coalesce(ours.raw_now, 0) end as not_ours
        from stated
        left join ours on stated.contact_id = ours.customer_id
    ) as compared
    left join ours on compared.contact_id = ours.customer_id
),

final as (
    select * from customers where total <> 0 or total is null
    union all
    select
        'xero', null, null, {{ as_of() }},
        case when lowest_currency = '{{ var("base_currency") }}' then highest_currency else lowest_currency end,
        null, null, null, null, null, balance, null, null, null, _problem
    from control_account
)

{{ canonical_select('control_totals', 'final') }}
