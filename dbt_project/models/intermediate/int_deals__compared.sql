-- Won deals with the facts that can prove a cause; the ladder itself is fct_deal_reconciliation.
{%- set tolerance = var('tolerance') %}
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
    from {{ ref('int_applications__unioned') }}
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
        sum(documents.sign * documents.tax) as tax,
        sum(case when documents.document_type = 'credit_note' then documents.net else 0 end) as credited,
        sum(documents.collected) as collected,
        sum({{ times_rate('documents.collected', 'documents.rate', 'documents.rate_divisor') }}) as collected_base,
        min(case when documents.document_type = 'invoice' then documents.issue_date end) as first_invoice_date,
        {{ list_of("documents.source || ':' || documents.document_type || ':' || documents.document_id", '; ') }}
            as document_ids
    from documents_with_cash as documents
    inner join deals on documents.deal_source = deals.source and documents.deal_id = deals.deal_id
    group by 1, 2
),

invoice_lines as (
    select
        documents.deal_source,
        documents.deal_id,
        documents.source,
        documents.document_id,
        documents.net,
        lines.line_number,
        lines.line_kind,
        lower(lines.product_code) as product_code,
        lower(lines.description) as description,
        lines.quantity,
        lines.unit_price,
        lines.amount
    from documents
    inner join {{ ref('int_document_lines__unioned') }} as lines
        on documents.source = lines.source and documents.document_type = lines.document_type
        and documents.document_id = lines.document_id
    where documents.document_type = 'invoice' and lines.line_kind in ('item', 'discount')
),

discounts as (
    select deal_source, deal_id, sum(amount) as discount
    from invoice_lines
    where line_kind = 'discount'
    group by 1, 2
),

-- Two invoices are the same when their net and each of their lines are.
signatures as (
    select
        documents.deal_source,
        documents.deal_id,
        documents.source,
        documents.document_id,
        documents.net,
        {{ list_of(
            "coalesce(invoice_lines.product_code, '') || '|' || cast(coalesce(invoice_lines.quantity, 0) as varchar)"
            ~ " || '|' || cast(coalesce(invoice_lines.amount, 0) as varchar)", ';') }} as signature
    from documents
    left join invoice_lines
        on documents.source = invoice_lines.source and documents.document_id = invoice_lines.document_id
        and documents.deal_source = invoice_lines.deal_source and documents.deal_id = invoice_lines.deal_id
    where documents.document_type = 'invoice' and documents.net > {{ tolerance }}
    group by 1, 2, 3, 4, 5
),

duplicates as (
    select deal_source, deal_id, net
    from signatures
    group by deal_source, deal_id, net, signature
    having count(*) > 1
),

-- Products of the deal against products of its invoices, by code or by name.
ordered as (
    select
        source as deal_source,
        deal_id,
        lower(coalesce(product_code, name)) as product,
        min(lower(product_code)) as product_code,
        min(lower(name)) as product_name,
        sum(quantity) as quantity,
        min(unit_price) as lowest_price,
        max(unit_price) as highest_price,
        sum(amount) as amount
    from {{ ref('int_deal_lines__unioned') }}
    group by 1, 2, 3
),

billed as (
    select
        invoice_lines.deal_source,
        invoice_lines.deal_id,
        ordered.product,
        sum(invoice_lines.quantity) as quantity,
        sum(case when invoice_lines.quantity is null then 1 else 0 end) as without_quantity,
        min(invoice_lines.unit_price) as lowest_price,
        max(invoice_lines.unit_price) as highest_price,
        sum(invoice_lines.amount) as amount
    from invoice_lines
    left join ordered
        on invoice_lines.deal_source = ordered.deal_source and invoice_lines.deal_id = ordered.deal_id
        and (
            invoice_lines.product_code in (ordered.product_code, ordered.product_name)
            or invoice_lines.description = ordered.product_name
        )
    where invoice_lines.line_kind = 'item'
    group by 1, 2, 3
),

products as (
    select
        coalesce(ordered.deal_source, billed.deal_source) as deal_source,
        coalesce(ordered.deal_id, billed.deal_id) as deal_id,
        sum(case when ordered.product is null or billed.product is null then 1 else 0 end) as odd_products,
        sum(case
            when billed.without_quantity > 0 then 0
            when billed.quantity is distinct from ordered.quantity
                or billed.lowest_price is distinct from ordered.lowest_price
                or billed.highest_price is distinct from ordered.highest_price then 1
            else 0
        end) as changed_products,
        sum(billed.amount) - sum(ordered.amount) as difference
    from ordered
    full outer join billed
        on ordered.deal_source = billed.deal_source and ordered.deal_id = billed.deal_id
        and ordered.product = billed.product
    group by 1, 2
),

scheduled as (
    select source as deal_source, deal_id, sum(later_amount) as scheduled
    from {{ ref('int_deal_lines__scheduled') }}
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
        coalesce(totals.tax, 0) as tax,
        coalesce(totals.credited, 0) as credited,
        coalesce(discounts.discount, 0) as discount,
        coalesce(scheduled.scheduled, 0) as scheduled,
        coalesce(products.odd_products = 0 and products.changed_products > 0, false) as same_products_changed,
        products.difference as product_difference,
        totals.first_invoice_date,
        totals.document_ids
    from deals
    left join document_totals as totals on deals.source = totals.deal_source and deals.deal_id = totals.deal_id
    left join discounts on deals.source = discounts.deal_source and deals.deal_id = discounts.deal_id
    left join scheduled on deals.source = scheduled.deal_source and deals.deal_id = scheduled.deal_id
    left join products on deals.source = products.deal_source and deals.deal_id = products.deal_id
)

select
    compared.*,
    compared.invoiced - compared.contracted as variance,
    duplicated.net as duplicate_net
from compared
left join (
    -- Of several repeated amounts the one that explains the difference is the one that matters.
    select duplicates.deal_source, duplicates.deal_id, max(duplicates.net) as net
    from duplicates
    inner join compared on duplicates.deal_source = compared.source and duplicates.deal_id = compared.deal_id
    where {{ within('compared.invoiced - compared.contracted', 'duplicates.net', tolerance) }}
    group by 1, 2
) as duplicated on compared.source = duplicated.deal_source and compared.deal_id = duplicated.deal_id
