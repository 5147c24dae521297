-- Memo: what the deals were invoiced is what their linked documents add up to, in base currency.
with documents as (
    select
        invoices.deal_source,
        invoices.deal_id,
        sum(case when invoices.document_type = 'invoice' then invoices.net_base else -invoices.net_base end)
            as invoiced,
        sum(case when invoices.net_base is null then 1 else 0 end) as unread_count
    from {{ ref('fct_invoices') }} as invoices
    where invoices.deal_id is not null
    group by 1, 2
)

select reconciled.deal_id, reconciled.invoiced_base, documents.invoiced
from {{ ref('fct_deal_reconciliation') }} as reconciled
left join documents on reconciled.source = documents.deal_source and reconciled.deal_id = documents.deal_id
where reconciled.invoiced_base is distinct from coalesce(documents.invoiced, 0)
    and coalesce(documents.unread_count, 0) = 0
