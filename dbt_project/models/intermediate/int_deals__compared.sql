-- Won deals beside what was invoiced for them and collected on it, in the deal's currency and in base.
with deals as (
    select * from {{ ref('int_deals__contracted') }} where is_won
),

documents as (
    select
        links.deal_source,
        links.deal_id,
        valued.*,
        case when valued.document_type = 'invoice' then 1 else -1 end as sign
    from {{ ref('int_documents__linked') }} as links
    inner join {{ ref('int_documents__valued') }} as valued
        on links.source = valued.source and links.document_type = valued.document_type
        and links.document_id = valued.document_id
    where links.outcome = 'linked'
),

paid as (
    select
        source,
        document_id,
        sum(amount) as amount
    from {{ ref('int_applications__dated') }}
    where applied_type = 'payment' and document_type = 'invoice' and applied_date <= {{ as_of() }}
    group by 1, 2
),

-- Cash for an invoice without the invoice's own share of tax; paid in full, that is its net to the cent.
documents_with_cash as (
    select
        documents.*,
        case
            when paid.amount is null then 0
            when paid.amount = documents.gross then documents.net
            when documents.tax = 0 then paid.amount
            else paid.amount
                - {{ quotient('paid.amount', 'documents.tax', 'documents.gross') }}
        end as collected
    from documents
    left join paid
        on documents.source = paid.source and documents.document_id = paid.document_id
        and documents.document_type = 'invoice'
),

document_totals as (
    select
        documents.deal_source,
        documents.deal_id,
        count(*) as document_count,
        sum(case when documents.document_type = 'invoice' then 1 else 0 end) as invoice_count,
        sum(case when documents.currency <> deals.currency then 1 else 0 end) as foreign_count,
        sum(case when documents.net is null then 1 else 0 end) as unread_count,
        sum(case when documents.net_base is null then 1 else 0 end) as unvalued_count,
        sum(documents.sign * documents.net) as invoiced,
        sum(documents.sign * documents.net_base) as invoiced_base,
        sum(documents.collected) as collected,
        sum({{ in_base('documents.collected', 'documents.rate', 'documents.rate_divisor') }}) as collected_base,
        min(case when documents.document_type = 'invoice' then documents.issue_date end) as first_invoice_date,
        {{ list_of("documents.source || ':' || documents.document_type || ':' || documents.document_id", '; ') }}
            as document_ids
    from documents_with_cash as documents
    inner join deals on documents.deal_source = deals.source and documents.deal_id = deals.deal_id
    group by 1, 2
),

compared as (
    select
        deals.*,
        coalesce(totals.document_count, 0) as document_count,
        coalesce(totals.invoice_count, 0) as invoice_count,
        coalesce(totals.foreign_count, 0) > 0 as in_other_currency,
        coalesce(totals.unread_count, 0) > 0 as has_unread_document,
        case when coalesce(totals.foreign_count, 0) = 0 and coalesce(totals.unread_count, 0) = 0
            then coalesce(totals.invoiced, 0) end as invoiced,
        case when coalesce(totals.unvalued_count, 0) = 0 then coalesce(totals.invoiced_base, 0) end as invoiced_base,
        case when coalesce(totals.foreign_count, 0) = 0 then coalesce(totals.collected, 0) end as collected,
        coalesce(totals.collected_base, 0) as collected_base,
        totals.first_invoice_date,
        totals.document_ids
    from deals
    left join document_totals as totals on deals.source = totals.deal_source and deals.deal_id = totals.deal_id
)

select
    compared.*,
    compared.invoiced - compared.contracted as variance,
    -- A tolerance per document, and at least one: what many roundings can add up to.
    {{ var('tolerance') }} * greatest(compared.document_count, 1) as margin
from compared
