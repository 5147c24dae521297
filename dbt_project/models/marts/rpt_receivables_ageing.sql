with open_documents as (
    select
        source,
        customer_id,
        currency,
        document_type,
        due_date,
        {{ days_between('due_date', as_of()) }} as days_past_due,
        round(open_base, 2) as open_base
    from {{ ref('int_documents__valued') }}
    where is_counted
),

customers_of_documents as (
    select
        source,
        customer_id,
        {{ total("case when document_type = 'invoice' and days_past_due <= 0 then open_base end") }} as bucket_current,
        {{ total("case when document_type = 'invoice' and days_past_due between 1 and 30 then open_base end") }}
            as bucket_1_30,
        {{ total("case when document_type = 'invoice' and days_past_due between 31 and 60 then open_base end") }}
            as bucket_31_60,
        {{ total("case when document_type = 'invoice' and days_past_due between 61 and 90 then open_base end") }}
            as bucket_61_90,
        {{ total("case when document_type = 'invoice' and days_past_due > 90 then open_base end") }} as bucket_91_plus,
        {{ total("case when document_type = 'credit_note' then open_base end") }} as open_credit,
        sum(case when currency <> '{{ var("base_currency") }}' and open_base <> 0 then 1 else 0 end) as converted_count
    from open_documents
    group by 1, 2
),

customers_of_payments as (
    select
        source,
        customer_id,
        {{ total('round(unapplied_base, 2)') }} as unapplied_payments,
        sum(case when currency <> '{{ var("base_currency") }}' and unapplied_base <> 0 then 1 else 0 end)
            as converted_count
    from {{ ref('int_payments__valued') }}
    where is_counted and payment_type = 'payment'
    group by 1, 2
),

ours as (
    select
        coalesce(documents.source, payments.source) as source,
        coalesce(documents.customer_id, payments.customer_id) as customer_id,
        coalesce(documents.bucket_current, 0) as bucket_current,
        coalesce(documents.bucket_1_30, 0) as bucket_1_30,
        coalesce(documents.bucket_31_60, 0) as bucket_31_60,
        coalesce(documents.bucket_61_90, 0) as bucket_61_90,
        coalesce(documents.bucket_91_plus, 0) as bucket_91_plus,
        coalesce(documents.open_credit, 0) + coalesce(payments.unapplied_payments, 0) as unapplied_credit,
        coalesce(documents.converted_count, 0) + coalesce(payments.converted_count, 0) as converted_count
    from customers_of_documents as documents
    full outer join customers_of_payments as payments
        on documents.source = payments.source and documents.customer_id = payments.customer_id
),

-- Without the ledger's own report of the same date there is nothing to compare with.
reported_ledgers as (
    select distinct source from {{ ref('int_control_totals__unioned') }}
),

joined as (
    select
        coalesce(ours.source, theirs.source) as source,
        coalesce(ours.customer_id, theirs.customer_id) as customer_id,
        coalesce(ours.bucket_current, 0) as bucket_current,
        coalesce(ours.bucket_1_30, 0) as bucket_1_30,
        coalesce(ours.bucket_31_60, 0) as bucket_31_60,
        coalesce(ours.bucket_61_90, 0) as bucket_61_90,
        coalesce(ours.bucket_91_plus, 0) as bucket_91_plus,
        coalesce(ours.unapplied_credit, 0) as unapplied_credit,
        coalesce(ours.converted_count, 0) as converted_count,
        theirs.total as ledger_total,
        coalesce(theirs.currency, '{{ var("base_currency") }}') as ledger_currency,
        theirs.customer_name
    from ours
    full outer join {{ ref('int_control_totals__unioned') }} as theirs
        on ours.source = theirs.source and ours.customer_id = theirs.customer_id
),

netted as (
    select
        joined.*,
        bucket_current + bucket_1_30 + bucket_31_60 + bucket_61_90 + bucket_91_plus - unapplied_credit
            as net_outstanding,
        -- A report in another currency was made with rates that it does not name. A customer without a row owes nothing.
        ledger_currency = '{{ var("base_currency") }}' as is_comparable
    from joined
)

select
    netted.source,
    netted.customer_id,
    coalesce(customers.name, netted.customer_name) as customer_name,
    case when matched.account_id is not null then matched.account_source end as account_source,
    matched.account_id,
    cast(netted.bucket_current as decimal(28,6)) as bucket_current,
    cast(netted.bucket_1_30 as decimal(28,6)) as bucket_1_30,
    cast(netted.bucket_31_60 as decimal(28,6)) as bucket_31_60,
    cast(netted.bucket_61_90 as decimal(28,6)) as bucket_61_90,
    cast(netted.bucket_91_plus as decimal(28,6)) as bucket_91_plus,
    cast(netted.unapplied_credit as decimal(28,6)) as unapplied_credit,
    cast(netted.net_outstanding as decimal(28,6)) as net_outstanding,
    cast(case when reported.source is not null and netted.is_comparable then coalesce(netted.ledger_total, 0) end
        as decimal(28,6)) as ledger_total,
    cast(case when reported.source is not null and netted.is_comparable
        then netted.net_outstanding - coalesce(netted.ledger_total, 0) end as decimal(28,6)) as difference,
    -- Converting is rounded per document on both sides; in the base currency nothing is forgiven.
    case when reported.source is not null and netted.is_comparable then {{ within(
        'netted.net_outstanding', 'coalesce(netted.ledger_total, 0)',
        var('tolerance') ~ ' * netted.converted_count') }} end as ties_out,
    customers.url
from netted
left join reported_ledgers as reported on netted.source = reported.source
left join {{ ref('int_customers__unioned') }} as customers
    on netted.source = customers.source and netted.customer_id = customers.customer_id
left join {{ ref('int_customers__matched') }} as matched
    on netted.source = matched.source and netted.customer_id = matched.customer_id and matched.is_first
where netted.customer_id is not null
