with deals as (
    {{ newest(source('raw_salesforce', 'opportunities'), ['id']) }}
),

-- People type the numbers: 'INV-7; INV-8', or with a comma.
items as (
    {{ split_to_rows('deals', ['id', 'url'], "replace(invoice_numbers, ',', ';')", ';') }}
),

final as (
    select
        'salesforce' as source,
        id as deal_id,
        item as document_number,
        url
    from items
)

{{ canonical_select('deal_invoice_references', 'final') }}
