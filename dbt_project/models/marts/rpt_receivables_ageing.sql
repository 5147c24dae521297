select
    tied.source,
    tied.customer_id,
    coalesce(customers.name, tied.customer_name) as customer_name,
    case when matched.account_id is not null then matched.account_source end as account_source,
    matched.account_id,
    cast(tied.bucket_current as decimal(28,6)) as bucket_current,
    cast(tied.bucket_1_30 as decimal(28,6)) as bucket_1_30,
    cast(tied.bucket_31_60 as decimal(28,6)) as bucket_31_60,
    cast(tied.bucket_61_90 as decimal(28,6)) as bucket_61_90,
    cast(tied.bucket_91_plus as decimal(28,6)) as bucket_91_plus,
    cast(tied.unapplied_credit as decimal(28,6)) as unapplied_credit,
    cast(tied.net_outstanding as decimal(28,6)) as net_outstanding,
    cast(tied.ledger_total as decimal(28,6)) as ledger_total,
    cast(tied.difference as decimal(28,6)) as difference,
    tied.total_ties as ties_out,
    customers.url
from {{ ref('int_receivables__tied') }} as tied
left join {{ ref('int_customers__unioned') }} as customers
    on tied.source = customers.source and tied.customer_id = customers.customer_id
left join {{ ref('int_customers__matched') }} as matched
    on tied.source = matched.source and tied.customer_id = matched.customer_id and matched.is_first
where tied.customer_id is not null
