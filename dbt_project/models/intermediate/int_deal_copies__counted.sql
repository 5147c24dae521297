-- Invoices that are there again though the contract has no room for them: equal net, and equal amounts of the same
-- products, in whatever words, order and number of lines. A text without a code that names none of the deal's products
-- says nothing of what was billed. DECISIONS.md, "The bridge", has the rule of instalments.
{%- set tolerance = var('tolerance') %}
with products as (
    select
        products.*,
        products.billed - {{ net_of('(products.net + products.discount - products.later_net - products.later_discount)',
            'tax.net_part', 'tax.gross_part') }} as excess
    from {{ ref('int_deal_products__compared') }} as products
    inner join {{ ref('int_deal_tax__assessed') }} as tax
        on products.deal_source = tax.deal_source and products.deal_id = tax.deal_id
    where tax.has_lines
),

-- No copy is larger than what is too much.
deals as (
    select
        tax.deal_source,
        tax.deal_id,
        tax.has_lines,
        tax.invoiced - tax.contracted as difference,
        tax.billed - {{ net_of('tax.contracted', 'tax.net_part', 'tax.gross_part') }} as too_much,
        tax.margin + case
            when tax.has_lines then coalesce(too_much.amount, 0)
            else tax.billed - tax.discount - {{ net_of('tax.contracted', 'tax.net_part', 'tax.gross_part') }}
        end as room,
        coalesce(too_much.is_scheduled, false) as is_scheduled
    from {{ ref('int_deal_tax__assessed') }} as tax
    left join (
        select
            deal_source,
            deal_id,
            sum(greatest(excess, 0)) as amount,
            max(case when is_scheduled then 1 else 0 end) = 1 as is_scheduled
        from products
        group by 1, 2
    ) as too_much on tax.deal_source = too_much.deal_source and tax.deal_id = too_much.deal_id
    where tax.invoice_count > 1
),

invoices as (
    select documents.deal_source, documents.deal_id, documents.source, documents.document_id, documents.issue_date,
        documents.net
    from deals
    inner join {{ ref('int_deal_documents__valued') }} as documents
        on deals.deal_source = documents.deal_source and deals.deal_id = documents.deal_id
    where documents.document_type = 'invoice' and not documents.is_draft and documents.net > {{ tolerance }}
        and (documents.net <= deals.room
            or {{ within('documents.net', 'deals.difference', tolerance) }})
),

lines as (
    select
        lines.deal_source,
        lines.deal_id,
        lines.source,
        lines.document_id,
        lines.product,
        lines.line_kind,
        lines.line_kind || '|' || coalesce(lines.product, lines.product_code, '') as words,
        max(case when lines.names_a_product then 1 else 0 end) as names_a_product,
        sum(lines.amount) as amount
    from invoices
    inner join {{ ref('int_deal_document_lines__matched') }} as lines
        on invoices.deal_source = lines.deal_source and invoices.deal_id = lines.deal_id
        and invoices.source = lines.source and invoices.document_id = lines.document_id
    group by 1, 2, 3, 4, 5, 6, 7
),

signatures as (
    select
        deal_source,
        deal_id,
        source,
        document_id,
        sum(case when line_kind = 'discount' then amount else 0 end) as discount,
        case when max(names_a_product) = 1
            then {{ list_of("words || '|' || cast(amount as varchar)", ';') }} end as signature
    from lines
    group by 1, 2, 3, 4
),

alike as (
    select
        invoices.*,
        cast(coalesce(signatures.discount, 0) as decimal(28,6)) as discount,
        signatures.signature is null as is_unnamed,
        coalesce(signatures.signature, min(signatures.signature) over (
            partition by invoices.deal_source, invoices.deal_id, invoices.net), '') as signature
    from invoices
    left join signatures
        on invoices.deal_source = signatures.deal_source and invoices.deal_id = signatures.deal_id
        and invoices.source = signatures.source and invoices.document_id = signatures.document_id
),

-- Instalments look alike too; what was sent again was sent soon after. The first of all is nobody's copy.
dated as (
    select
        alike.*,
        coalesce({{ days_between('last_issued', 'issue_date') }} <= 3, false) as is_soon,
        last_issued is null as is_first
    from (
        select
            alike.*,
            lag(issue_date) over (
                partition by deal_source, deal_id, net, signature
                order by issue_date, is_unnamed, document_id, source) as last_issued
        from alike
    ) as alike
),

repeated as (
    select
        dated.*,
        row_number() over (
            partition by deal_source, deal_id, net, signature
            order by case when is_first then 1 else 0 end, case when is_soon then 0 else 1 end,
                case when is_unnamed then 0 else 1 end, issue_date desc,
                document_id desc, source desc) as place
    from dated
),

-- What of each product goes with the first, the first two, ... of the copies.
taken as (
    select
        copies.deal_source, copies.deal_id, copies.net, copies.signature, copies.place, lines.product,
        sum(lines.amount) as amount
    from repeated as copies
    inner join repeated as others
        on copies.deal_source = others.deal_source and copies.deal_id = others.deal_id and copies.net = others.net
        and copies.signature = others.signature and others.place <= copies.place
    inner join lines
        on others.deal_source = lines.deal_source and others.deal_id = lines.deal_id and others.source = lines.source
        and others.document_id = lines.document_id
    where not copies.is_first and lines.product is not null
    group by 1, 2, 3, 4, 5, 6
),

fitting as (
    select
        taken.deal_source,
        taken.deal_id,
        taken.net,
        taken.signature,
        taken.place,
        max(case when taken.amount > products.excess + {{ tolerance }} then 1 else 0 end) = 1 as is_needed,
        max(case when products.is_scheduled then 1 else 0 end) = 1 as is_scheduled
    from taken
    inner join products
        on taken.deal_source = products.deal_source and taken.deal_id = products.deal_id
        and taken.product = products.product
    group by 1, 2, 3, 4, 5
),

too_many as (
    select
        repeated.*,
        sum(repeated.net) over (partition by repeated.deal_source, repeated.deal_id, repeated.net, repeated.signature)
            as amount,
        sum(repeated.net) over (partition by repeated.deal_source, repeated.deal_id) as amount_together,
        deals.too_much
    from repeated
    inner join deals on repeated.deal_source = deals.deal_source and repeated.deal_id = deals.deal_id
    left join fitting
        on repeated.deal_source = fitting.deal_source and repeated.deal_id = fitting.deal_id
        and repeated.net = fitting.net and repeated.signature = fitting.signature and repeated.place = fitting.place
    where not repeated.is_first
        and (
            (repeated.place = 1 and {{ within('repeated.net', 'deals.difference', tolerance) }})
            or (repeated.net * repeated.place <= deals.room and not coalesce(fitting.is_needed, false)
                and (repeated.is_soon or not coalesce(fitting.is_scheduled, deals.is_scheduled)))
        )
)

-- Two repeated invoices of the same products may each look too many: then only the larger is taken.
select deal_source, deal_id, source, document_id, net, discount
from (
    select
        too_many.*,
        dense_rank() over (partition by deal_source, deal_id order by amount desc, net, signature) as place_of_all
    from too_many
) as ranked
where place_of_all = 1 or amount_together <= too_much + {{ tolerance }}
