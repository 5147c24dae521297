-- Lines of invoices and drafts beside the deal's lines: which product of the deal each of them bills. A line is the deal's
-- product by its code, else by its text, else, when it has no code and the invoice as many lines as the deal, by its place.
with deal_lines as (
    select
        lines.source as deal_source,
        lines.deal_id,
        lower(lines.product_code) as product_code,
        lower(lines.name) as product_name,
        {{ product_of('lines') }} as product,
        row_number() over (partition by lines.source, lines.deal_id order by lines.line_id) as position,
        count(*) over (partition by lines.source, lines.deal_id) as line_count
    from (select distinct deal_source, deal_id from {{ ref('int_deal_documents__valued') }}) as deals
    inner join {{ ref('int_deal_lines__unioned') }} as lines
        on deals.deal_source = lines.source and deals.deal_id = lines.deal_id
),

words as (
    select deal_source, deal_id, word, min(product) as product
    from (
        select deal_source, deal_id, product_code as word, product from deal_lines where product_code is not null
        union all
        select deal_source, deal_id, product_name, product from deal_lines where product_name is not null
    ) as named
    group by 1, 2, 3
),

document_lines as (
    select
        documents.deal_source,
        documents.deal_id,
        documents.source,
        documents.document_id,
        documents.is_draft,
        lines.line_number,
        lines.line_kind,
        lower(lines.product_code) as product_code,
        lower(lines.description) as description,
        lines.quantity,
        case when documents.is_foreign then {{ in_deal_currency('lines.amount', 'documents') }} else lines.amount end
            as amount,
        row_number() over (
            partition by documents.deal_source, documents.deal_id, documents.source, documents.document_id,
                lines.line_kind
            order by lines.line_number) as position,
        count(*) over (
            partition by documents.deal_source, documents.deal_id, documents.source, documents.document_id,
                lines.line_kind) as line_count
    from {{ ref('int_deal_documents__valued') }} as documents
    inner join {{ ref('int_document_lines__unioned') }} as lines
        on documents.source = lines.source and documents.document_type = lines.document_type
        and documents.document_id = lines.document_id
    where documents.document_type = 'invoice' and lines.line_kind in ('item', 'discount')
)

select
    lines.deal_source, lines.deal_id, lines.source, lines.document_id, lines.line_number, lines.is_draft, lines.line_kind,
    lines.product_code, lines.quantity, lines.amount,
    case when lines.line_kind = 'item'
        then coalesce(
            by_code.product, by_text.product, case when lines.product_code is null then by_place.product end)
    end as product,
    lines.product_code is not null or by_text.product is not null as names_a_product
from document_lines as lines
left join words as by_code
    on lines.deal_source = by_code.deal_source and lines.deal_id = by_code.deal_id
    and lines.product_code = by_code.word
left join words as by_text
    on lines.deal_source = by_text.deal_source and lines.deal_id = by_text.deal_id
    and lines.description = by_text.word
left join deal_lines as by_place
    on lines.deal_source = by_place.deal_source and lines.deal_id = by_place.deal_id
    and lines.position = by_place.position and lines.line_count = by_place.line_count
