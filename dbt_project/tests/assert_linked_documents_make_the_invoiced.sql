-- Memo: what the deals were invoiced is what their linked documents add up to, in base currency; and the deal that a
-- document shows is one that it is linked to.
with linked as (
    select * from {{ ref('int_documents__linked') }} where outcome = 'linked'
),

documents as (
    select
        linked.deal_source,
        linked.deal_id,
        sum(case when invoices.document_type = 'invoice' then invoices.net_base else -invoices.net_base end)
            as invoiced,
        sum(case when invoices.net_base is null then 1 else 0 end) as unread_count
    from {{ ref('fct_invoices') }} as invoices
    inner join linked
        on invoices.source = linked.source and invoices.document_type = linked.document_type
        and invoices.document_id = linked.document_id
    group by 1, 2
)

select reconciled.deal_id as record_id, reconciled.invoiced_base as found, documents.invoiced as expected
from {{ ref('fct_deal_reconciliation') }} as reconciled
left join documents on reconciled.source = documents.deal_source and reconciled.deal_id = documents.deal_id
where reconciled.invoiced_base is distinct from coalesce(documents.invoiced, 0)
    and coalesce(documents.unread_count, 0) = 0
union all
select coalesce(invoices.document_id, linked.document_id), null, null
from (select * from {{ ref('fct_invoices') }} where deal_id is not null) as invoices
full outer join linked
    on invoices.source = linked.source and invoices.document_type = linked.document_type
    and invoices.document_id = linked.document_id and invoices.deal_source = linked.deal_source
    and invoices.deal_id = linked.deal_id
where (linked.deal_id is null) or (invoices.deal_id is null and linked.is_first)
