{#-
  Xero's line amount is after the line's discount, and includes the tax where the document says so. A discounted line
  becomes two: the line at its full price and what the discount took off, both without tax, so that together they are
  exactly what Xero bills and the discount can be seen. The numbers of the second kind begin at 1,000,001.
-#}
{%- set discount_numbers = 1000000 -%}
with invoices as (
    {{ newest(source('raw_xero', 'invoices'), ['id']) }}
),

invoice_lines as (
    {{ newest(source('raw_xero', 'invoice_lines'), ['invoice_id', 'version', 'line_number'], []) }}
),

credit_notes as (
    {{ newest(source('raw_xero', 'credit_notes'), ['id']) }}
),

credit_note_lines as (
    {{ newest(source('raw_xero', 'credit_note_lines'), ['credit_note_id', 'version', 'line_number'], []) }}
),

lines as (
    {%- for document_type, parents, lines in [
        ('invoice', 'invoices', 'invoice_lines'), ('credit_note', 'credit_notes', 'credit_note_lines')] %}
    select
        '{{ document_type }}' as document_type, parents.id as document_id, parents.status, parents.line_amount_types,
        parents.url, lines.line_number, lines.item_code, lines.description, lines.quantity, lines.unit_price,
        lines.discount_rate, lines.discount_amount, lines.line_amount, lines.tax_type, lines.tax_amount,
        lines._problem
    from {{ parents }} as parents
    inner join {{ lines }} as lines
        on parents.id = lines.{{ document_type }}_id and parents.version = lines.version
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

net as (
    select
        lines.*,
        {{ enumerate('line_amount_types', {'Exclusive': 'net', 'NoTax': 'net', 'Inclusive': 'gross'}) }} as basis,
        case when line_amount_types = 'Inclusive' then line_amount - coalesce(tax_amount, 0) else line_amount end
            as net_amount,
        cast(case
            when coalesce(discount_amount, 0) <> 0 then discount_amount
            when coalesce(discount_rate, 0) <> 0 then quantity * unit_price - line_amount
            else 0
        end as decimal(28,6)) as stated_discount
    from lines
    where coalesce(status, 'none') <> 'DELETED'
),

-- A document's lines with tax inside, by their kind of tax: what they are without it, of what they are with it.
taxed as (
    select
        document_type, document_id, coalesce(tax_type, '') as tax_type,
        sum(abs(net_amount)) as net_amount, sum(abs(line_amount)) as line_amount
    from net
    where basis = 'gross' and line_amount <> 0
    group by 1, 2, 3
),

taxed_documents as (
    select document_type, document_id, sum(net_amount) as net_amount, sum(line_amount) as line_amount
    from taxed
    group by 1, 2
),

-- What a price with tax is without it, as a fraction of two amounts. An undiscounted line says it of itself. What is left
-- of a discounted line is too little to say it, or nothing: then the lines of its kind of tax do, else the document.
shares as (
    select
        net.*,
        case
            when net.basis <> 'gross' then 1
            when net.stated_discount = 0 and net.line_amount <> 0 then net.net_amount
            else coalesce(taxed.net_amount, taxed_documents.net_amount, 1)
        end as net_part,
        case
            when net.basis <> 'gross' then 1
            when net.stated_discount = 0 and net.line_amount <> 0 then net.line_amount
            else coalesce(taxed.line_amount, taxed_documents.line_amount, 1)
        end as whole
    from net
    left join taxed
        on net.document_type = taxed.document_type and net.document_id = taxed.document_id
        and coalesce(net.tax_type, '') = taxed.tax_type
    left join taxed_documents
        on net.document_type = taxed_documents.document_type and net.document_id = taxed_documents.document_id
),

priced as (
    select
        shares.*,
        {{ quotient('unit_price', 'net_part', 'whole') | trim }} as net_price,
        coalesce({{ quotient('stated_discount', 'net_part', 'whole') | trim }}, 0) as net_discount
    from shares
),

final as (
    select
        'xero' as source,
        document_type,
        document_id,
        line_number,
        case
            when basis like 'unknown: %' then basis
            when unit_price is null and coalesce(net_amount, 0) = 0 and _problem is null then 'text'
            else {{ kind_of_line('net_amount + net_discount', 'quantity', 'unit_price', 'item_code',
                ['document_type', 'document_id']) | trim | indent(12) }}
        end as line_kind,
        {{ text_or_null('item_code') }} as product_code,
        description,
        quantity,
        net_price as unit_price,
        net_amount + net_discount as amount,
        null as service_date,
        url,
        _problem as problem
    from priced
    union all
    select
        'xero', document_type, document_id, line_number + {{ discount_numbers }}, 'discount',
        {{ text_or_null('item_code') }}, description, null, null, -net_discount, null, url, null
    from priced
    where net_discount <> 0
)

{{ canonical_select('document_lines', 'final') }}
