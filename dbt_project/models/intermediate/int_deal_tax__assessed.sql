-- The deals that differ with the totals of their documents and lines, and how much of the contract is net: `net_part` of
-- every `gross_part`, equal where no tax is in it. DECISIONS.md, "The bridge", has the rule and its examples.
{%- set tolerance = var('tolerance') %}
with document_totals as (
    select
        deal_source,
        deal_id,
        sum(case when is_draft then 0 when document_type = 'invoice' then net else -net end) as invoiced,
        sum(case when is_draft then 0 when document_type = 'invoice' then tax else -tax end) as tax,
        sum(case when not is_draft and document_type = 'invoice' then net else 0 end) as billed,
        sum(case when not is_draft and document_type = 'invoice' then tax else 0 end) as billed_tax,
        sum(case when not is_draft and document_type = 'credit_note' then net else 0 end) as credited,
        sum(case when is_draft then net else 0 end) as drafted,
        sum(case when problem is not null and not is_draft then 1 else 0 end) as problem_count
    from {{ ref('int_deal_documents__valued') }}
    group by 1, 2
),

line_totals as (
    select
        deal_source,
        deal_id,
        sum(case when line_kind = 'discount' then amount else 0 end) as discount,
        sum(amount) as amount
    from {{ ref('int_deal_document_lines__matched') }}
    where not is_draft
    group by 1, 2
),

totals as (
    select
        deals.source as deal_source,
        deals.deal_id,
        deals.invoice_count,
        deals.line_count,
        deals.contracted,
        deals.margin,
        coalesce(documents.invoiced, 0) as invoiced,
        coalesce(documents.tax, 0) as tax,
        coalesce(documents.billed, 0) as billed,
        coalesce(documents.billed_tax, 0) as billed_tax,
        coalesce(documents.credited, 0) as credited,
        coalesce(documents.drafted, 0) as drafted,
        coalesce(lines.discount, 0) as discount,
        deals.has_problem or coalesce(documents.problem_count, 0) > 0 as is_doubtful,
        -- Line by line only where the lines are there on both sides and are all that there is.
        deals.line_count > 0 and {{ within('coalesce(lines.amount, 0)', 'coalesce(documents.billed, 0)', 'deals.margin') }}
            as has_lines,
        coalesce(documents.billed_tax > 0 and documents.billed > 0, false) as has_tax,
        -- The rate that was meant: cents make 8.0011 % of 8 %.
        round({{ quotient('documents.billed_tax', 1, 'documents.billed') | trim }}, 4) as meant_rate
    from {{ ref('int_deals__compared') }} as deals
    left join document_totals as documents
        on deals.source = documents.deal_source and deals.deal_id = documents.deal_id
    left join line_totals as lines on deals.source = lines.deal_source and deals.deal_id = lines.deal_id
    where deals.contracted is not null and deals.variance is distinct from 0
        and (deals.variance is not null or (deals.contracted_base is not null and deals.invoiced_base is not null))
),

rated as (
    select
        totals.*,
        cast(case when is_meant then 1 else billed end as decimal(28,6)) as net_part,
        cast(case when is_meant then 1 + meant_rate else billed + billed_tax end as decimal(28,6)) as gross_part
    from (
        select
            totals.*,
            {{ within('billed * meant_rate', 'billed_tax', '0.005 * invoice_count') }} as is_meant
        from totals
    ) as totals
),

product_totals as (
    select
        products.deal_source,
        products.deal_id,
        sum(products.later_net) as later,
        sum(products.discount - products.later_discount) as due_discount,
        sum(case when rated.has_tax and products.line_count > 0 and products.product is not null then 1 else 0 end)
            as priced,
        sum(case
            when not rated.has_tax or products.line_count = 0 or products.product is null then 0
            when {{ within('products.price', 'products.lowest_price', tolerance) }} then 0
            else 1
        end) as unlike_net,
        sum(case
            when not rated.has_tax or products.line_count = 0 or products.product is null then 0
            when {{ within('products.price', times_rate('products.lowest_price', 'rated.gross_part', 'rated.net_part'), tolerance) }}
                and {{ within('products.price', times_rate('products.highest_price', 'rated.gross_part', 'rated.net_part'), tolerance) }}
                then 0
            else 1
        end) as unlike_gross
    from {{ ref('int_deal_products__compared') }} as products
    inner join rated on products.deal_source = rated.deal_source and products.deal_id = rated.deal_id
    group by 1, 2
),

-- The tax is in the contract when it is the whole difference, when each price of the deal is the invoice's price and its
-- tax, or when with it the other facts make the difference to the cent. Equal prices say that it is not: ten of twelve
-- instalments are as much short as their tax of 20 %.
assessed as (
    select
        rated.*,
        case
            when not has_tax or {{ within('invoiced', 'contracted', 'margin') }} then false
            when {{ within('invoiced - contracted', '-tax', 'margin') }}
                and not (has_lines and coalesce(priced, 0) > 0 and unlike_net = 0) then true
            when {{ within('invoiced - contracted',
                '-credited + discount + coalesce(due_discount, 0) - coalesce(later, 0)', 'margin') }} then false
            when has_lines and coalesce(priced, 0) > 0 and unlike_net > 0 and unlike_gross = 0 then true
            else {{ within('invoiced - ' ~ net_of('(contracted - coalesce(later, 0))', 'net_part', 'gross_part'),
                '-credited + discount + ' ~ net_of('coalesce(due_discount, 0)', 'net_part', 'gross_part'), 'margin') }}
                and (credited <> 0 or discount <> 0 or coalesce(later, 0) <> 0)
        end as has_tax_in_contract,
        has_tax and {{ within('invoiced - contracted', '-tax', 'margin') }} as is_all_tax
    from rated
    left join product_totals
        on rated.deal_source = product_totals.deal_source and rated.deal_id = product_totals.deal_id
)

select
    deal_source, deal_id, invoice_count, line_count, margin, contracted, invoiced, billed, credited, drafted, discount,
    is_doubtful, has_lines,
    cast(case when not has_tax_in_contract then 1 when is_all_tax then billed else net_part end as decimal(28,6))
        as net_part,
    cast(case when not has_tax_in_contract then 1 when is_all_tax then billed + billed_tax else gross_part end
        as decimal(28,6)) as gross_part
from assessed
