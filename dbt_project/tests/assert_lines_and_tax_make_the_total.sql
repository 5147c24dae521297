-- Memo: the lines of a document and its tax are its total, without tolerance. The header owns the amount, so a
-- document of the vendor's that breaks this does not stop the night: it has to be listed as an exception.
with lines as (
    select source, document_type, document_id, sum(amount) as amount
    from {{ ref('int_document_lines__unioned') }}
    where line_kind in ('item', 'discount')
    group by 1, 2, 3
)

select documents.source, documents.document_type, documents.document_id, lines.amount, documents.tax, documents.gross
from {{ ref('int_documents__unioned') }} as documents
inner join lines
    on documents.source = lines.source and documents.document_type = lines.document_type
    and documents.document_id = lines.document_id
left join {{ ref('rpt_exceptions') }} as listed
    on listed.kind = 'document_lines_differ' and documents.source = listed.source
    and documents.document_type = listed.object and documents.document_id = listed.record_id
where documents.status <> 'void' and listed.record_id is null
    and lines.amount + documents.tax <> documents.gross
