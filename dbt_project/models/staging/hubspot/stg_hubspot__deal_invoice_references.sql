with deals as (
    {{ newest(source('raw_hubspot', 'deals'), ['id']) }}
),

items as (
    {{ split_to_rows('deals', ['id', 'url'], 'invoice_numbers', ';') }}
),

final as (
    select
        'hubspot' as source,
        id as deal_id,
        item as document_number,
        url
    from items
)

{{ canonical_select('deal_invoice_references', 'final') }}
