-- Memo: a document that billed two deals of a CRM would be counted twice; one that is a question is linked to none of
-- its deals.
select source, document_type, document_id, deal_source, count(*) as deals
from {{ ref('int_documents__linked') }}
group by 1, 2, 3, 4
having sum(case when outcome = 'linked' then 1 else 0 end) > 1
    or (sum(case when outcome = 'linked' then 1 else 0 end) = 1 and count(*) > 1)
