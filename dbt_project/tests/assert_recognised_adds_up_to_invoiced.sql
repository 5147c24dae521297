-- Memo: spreading a document over months moves its revenue and changes none of it.
with recognised as (
    select source, document_type, document_id, sum(recognised_base) as amount
    from {{ ref('int_documents__recognised') }}
    group by 1, 2, 3
)

select documents.source, documents.document_id, documents.net_base, recognised.amount
from (select * from {{ ref('fct_invoices') }} where is_counted and net_base is not null) as documents
full outer join recognised
    on documents.source = recognised.source and documents.document_type = recognised.document_type
    and documents.document_id = recognised.document_id
where (case when documents.document_type = 'invoice' then documents.net_base else -documents.net_base end)
    is distinct from recognised.amount
