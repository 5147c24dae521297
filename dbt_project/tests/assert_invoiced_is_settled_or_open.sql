-- Memo: what a document was issued for is what was applied to it, plus what was paid back, plus what is open. The
-- ledger owns the open amount (it may have written something off), so a document that breaks this is an exception. What
-- is not issued yet, or void, owes nothing, whatever total it shows. One with a problem is named and held for that.
with applied as (
    select source, document_type, document_id, sum(amount) as amount
    from (
        select source, document_type, document_id, amount from {{ ref('int_applications__unioned') }}
        union all
        select source, 'credit_note', applied_id, amount
        from {{ ref('int_applications__unioned') }}
        where applied_type = 'credit_note'
    ) as ends
    group by 1, 2, 3
)

select documents.source, documents.document_type, documents.document_id, documents.gross, documents.open_amount
from {{ ref('int_documents__unioned') }} as documents
left join applied
    on documents.source = applied.source and documents.document_type = applied.document_type
    and documents.document_id = applied.document_id
left join {{ ref('rpt_exceptions') }} as listed
    on listed.kind = 'document_open_differs' and documents.source = listed.source
    and documents.document_type = listed.object and documents.document_id = listed.record_id
where documents.status = 'issued' and documents.problem is null and listed.record_id is null
    and documents.gross <> coalesce(applied.amount, 0) + coalesce(documents.withheld, 0) + documents.refunded_amount + documents.open_amount
