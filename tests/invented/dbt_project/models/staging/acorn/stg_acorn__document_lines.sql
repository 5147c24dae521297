-- Lines belong to one version of their document; only those of the newest count.
with documents as (
    {%- for document_type in ['invoice', 'credit_note'] %}
    select '{{ document_type }}' as document_type, id, version, url
    from ({{ newest(source('raw_acorn', document_type ~ 's'), ['id'], ['modified_at', 'version']) }}) as {{ document_type }}s
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

lines as (
    {{ newest(source('raw_acorn', 'document_lines'), ['document_id', 'version', 'line_number'], []) }}
),

final as (
    select
        'acorn' as source,
        documents.document_type,
        lines.document_id,
        lines.line_number,
        coalesce({{ enumerate('lines.kind', {'item': 'item', 'discount': 'discount'}) }}, 'unknown: none') as line_kind,
        lines.sku as product_code,
        lines.description,
        lines.quantity,
        lines.unit_price,
        lines.amount,
        lines.service_date,
        documents.url,
        lines._problem as problem
    from documents
    inner join lines on documents.id = lines.document_id and documents.version = lines.version
)

{{ canonical_select('document_lines', 'final') }}
