-- Memo: the ageing buckets of a ledger are its open invoices, each once, at the cents in which ledgers report.
with ageing as (
    select source, sum(bucket_current + bucket_1_30 + bucket_31_60 + bucket_61_90 + bucket_91_plus) as amount
    from {{ ref('rpt_receivables_ageing') }}
    group by 1
),

documents as (
    select source, sum(round(open_base, 2)) as amount
    from {{ ref('fct_invoices') }}
    where is_counted and document_type = 'invoice' and customer_id is not null
    group by 1
)

select documents.source, ageing.amount as aged, documents.amount as open
from ageing
full outer join documents on ageing.source = documents.source
where coalesce(ageing.amount, 0) <> coalesce(documents.amount, 0)
