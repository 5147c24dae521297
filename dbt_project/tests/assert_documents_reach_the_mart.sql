-- Memo: every document and payment that the ledgers gave is in its mart once, with the same amounts.
with documents as (
    select source, document_type, document_id, net, tax, gross from {{ ref('int_documents__unioned') }}
),

payments as (
    select source, payment_type, payment_id, amount from {{ ref('int_payments__unioned') }}
)

select
    'document' as object, documents.document_id as expected, marts.document_id as found
from documents
full outer join {{ ref('fct_invoices') }} as marts
    on documents.source = marts.source and documents.document_type = marts.document_type
    and documents.document_id = marts.document_id
where documents.document_id is null or marts.document_id is null
    or documents.net is distinct from marts.net_amount
    or documents.tax is distinct from marts.tax_amount
    or documents.gross is distinct from marts.gross_amount
union all
select 'payment', payments.payment_id, marts.payment_id
from payments
full outer join {{ ref('fct_payments') }} as marts
    on payments.source = marts.source and payments.payment_id = marts.payment_id
where payments.payment_id is null or marts.payment_id is null
    or payments.amount is distinct from marts.amount
