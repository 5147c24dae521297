-- What each customer who differs from a ledger's own report owes at the ledger's quotes of the business date instead of
-- the documents' own rates: one row each.
with differing as (
    select source, customer_id, minor_units
    from {{ ref('int_receivables__tied') }}
    where is_comparable and not (total_ties and coalesce(ageing_ties, true)) and not coalesce(is_revalued, false)
),

rates_of_today as (
    select source, from_currency, rate, rate_divisor
    from (
        select
            source, from_currency, rate, rate_divisor,
            row_number() over (partition by source, from_currency order by rate_date desc nulls last) as recency
        from {{ ref('int_rates__unioned') }}
        where to_currency = '{{ var("base_currency") }}' and (rate_date <= {{ as_of() }} or rate_date is null)
    ) as ranked
    where recency = 1
),

revalued as (
    select
        items.source,
        items.customer_id,
        sum({{ round_money(
            times_rate('items.amount', "case when items.currency = '" ~ var('base_currency')
                ~ "' then 1 else rates_of_today.rate end", 'rates_of_today.rate_divisor'), 'items.minor_units') }}) as amount,
        sum(case when rates_of_today.rate is null and items.currency <> '{{ var("base_currency") }}' then 1 else 0 end)
            as unquoted_count
    from (
        select
            documents.source, documents.customer_id, documents.currency,
            case when documents.document_type = 'invoice' then 1 else -1 end * documents.open_amount as amount,
            differing.minor_units
        from {{ ref('int_documents__valued') }} as documents
        inner join differing
            on documents.source = differing.source and documents.customer_id = differing.customer_id
        where documents.is_counted
        union all
        select payments.source, payments.customer_id, payments.currency,
            case payments.payment_type when 'payment' then -1 when 'refund' then 1 end * payments.unapplied_amount,
            differing.minor_units
        from {{ ref('int_payments__valued') }} as payments
        inner join differing on payments.source = differing.source and payments.customer_id = differing.customer_id
        where payments.is_counted
    ) as items
    left join rates_of_today
        on items.source = rates_of_today.source and items.currency = rates_of_today.from_currency
    group by 1, 2
)

select * from revalued
