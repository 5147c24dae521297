{%- set version = ['modified_at', id_as_number('sync_token')] -%}
with invoices as (
    {{ newest(source('raw_quickbooks', 'invoices'), ['id'], version) }}
),

invoice_lines as (
    {{ newest(source('raw_quickbooks', 'invoice_lines'), ['invoice_id', 'sync_token', 'line_number'], []) }}
),

sales_receipts as (
    {{ newest(source('raw_quickbooks', 'sales_receipts'), ['id'], version) }}
),

sales_receipt_lines as (
    {{ newest(source('raw_quickbooks', 'sales_receipt_lines'), ['sales_receipt_id', 'sync_token', 'line_number'], []) }}
),

credit_memos as (
    {{ newest(source('raw_quickbooks', 'credit_memos'), ['id'], version) }}
),

credit_memo_lines as (
    {{ newest(source('raw_quickbooks', 'credit_memo_lines'), ['credit_memo_id', 'sync_token', 'line_number'], []) }}
),

lines as (
    select
        'invoice' as document_type, invoices.id as document_id, invoices.url, lines.line_number, lines.detail_type,
        lines.description, lines.item_id, lines.item_name, lines.quantity, lines.unit_price, lines.amount,
        lines.service_date, lines._problem
    from invoices
    inner join invoice_lines as lines on invoices.id = lines.invoice_id and invoices.sync_token = lines.sync_token
    union all
    select
        'invoice', {{ dbt.concat(["'sale-'", 'sales_receipts.id']) }}, sales_receipts.url, lines.line_number,
        lines.detail_type, lines.description, lines.item_id, lines.item_name, lines.quantity, lines.unit_price,
        lines.amount, lines.service_date, lines._problem
    from sales_receipts
    inner join sales_receipt_lines as lines
        on sales_receipts.id = lines.sales_receipt_id and sales_receipts.sync_token = lines.sync_token
    union all
    select
        'credit_note', credit_memos.id, credit_memos.url, lines.line_number, lines.detail_type,
        lines.description, lines.item_id, lines.item_name, lines.quantity, lines.unit_price, lines.amount,
        lines.service_date, lines._problem
    from credit_memos
    inner join credit_memo_lines as lines
        on credit_memos.id = lines.credit_memo_id and credit_memos.sync_token = lines.sync_token
),

kinds as (
    select
        lines.*,
        coalesce(item_name, item_id) as product_code,
        -- LineDetailTypeEnum of Intuit's schema; DescriptionLineDetail stands in recorded answers.
        coalesce({{ enumerate('detail_type', {
            'SalesItemLineDetail': 'item', 'GroupLineDetail': 'item', 'ReimburseLineDetail': 'item',
            'SalesOrderItemLineDetail': 'item', 'ItemBasedExpenseLineDetail': 'item',
            'AccountBasedExpenseLineDetail': 'item', 'PurchaseOrderItemLineDetail': 'item',
            'ItemReceiptLineDetail': 'item', 'ItemAdjustmentLineDetail': 'item', 'DepositLineDetail': 'item',
            'JournalEntryLineDetail': 'item', 'DescriptionOnly': 'text', 'DescriptionLineDetail': 'text',
            'PaymentLineDetail': 'text', 'SubTotalLineDetail': 'text', 'DiscountLineDetail': 'discount',
            'TaxLineDetail': 'tax', 'TDSLineDetail': 'tax'
        }) }}, 'text') as stated_kind
    from lines
),

final as (
    select
        'quickbooks' as source,
        document_type,
        document_id,
        line_number,
        case
            when stated_kind <> 'item' then stated_kind
            else {{ kind_of_line('amount', 'quantity', 'unit_price', 'product_code', ['document_type', 'document_id'])
                | trim | indent(12) }}
        end as line_kind,
        product_code,
        description,
        quantity,
        unit_price,
        amount,
        service_date,
        url,
        _problem as problem
    from kinds
)

{{ canonical_select('document_lines', 'final') }}
