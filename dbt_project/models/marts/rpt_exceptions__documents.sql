-- What is odd about documents and payments: one row each.
{{ config(materialized='ephemeral') }}
with customers as (
    select source, customer_id, root_customer_id from {{ ref('int_customers__rooted') }}
),

documents as (
    select * from {{ ref('int_documents__valued') }}
),

numbered as (
    select
        documents.*,
        count(*) over (
            partition by documents.source, customers.root_customer_id, {{ normalised_number('documents.number') | trim }}
        ) as number_count
    from documents
    inner join customers
        on documents.source = customers.source and documents.customer_id = customers.customer_id
    where documents.document_type = 'invoice' and documents.status <> 'void' and documents.number is not null
),

lines as (
    select source, document_type, document_id, sum(amount) as amount
    from {{ ref('int_document_lines__unioned') }}
    where line_kind in ('item', 'discount')
    group by 1, 2, 3
),

exceptions (kind, severity, source, object, record_id, related_id, message, amount_base, url) as (
    select
        'document_without_customer', 'error', documents.source, documents.document_type, documents.document_id,
        documents.customer_id, 'the customer of the document does not exist', documents.open_base, documents.url
    from documents
    left join customers
        on documents.source = customers.source and documents.customer_id = customers.customer_id
    where customers.customer_id is null and documents.status <> 'void'
    union all
    select
        'payment_without_customer', 'error', payments.source, payments.payment_type, payments.payment_id,
        payments.customer_id, 'the customer of the payment does not exist', payments.amount_base, payments.url
    from {{ ref('int_payments__valued') }} as payments
    left join customers
        on payments.source = customers.source and payments.customer_id = customers.customer_id
    where customers.customer_id is null and payments.amount <> 0
    union all
    select
        'repeated_invoice_number', 'warning', source, document_type, document_id, number,
        {{ dbt.concat(["'invoice number '", 'number', "' is on '", dbt.cast('number_count', 'varchar'),
            "' invoices of the customer'"]) }}, gross_base, url
    from numbered
    where number_count > 1
    union all
    select
        'document_dated_ahead', 'info', source, document_type, document_id, null,
        'dated after the business date, not counted yet', gross_base, url
    from documents
    where status = 'issued' and issue_date > {{ as_of() }}
    union all
    select
        'document_lines_differ', 'warning', documents.source, documents.document_type, documents.document_id, null,
        {{ dbt.concat(["'lines and tax '", dbt.cast('lines.amount + documents.tax', 'varchar'), "', total '",
            dbt.cast('documents.gross', 'varchar')]) }},
        {{ times_rate('lines.amount + documents.tax - documents.gross', 'documents.rate', 'documents.rate_divisor') }}, documents.url
    from documents
    inner join lines
        on documents.source = lines.source and documents.document_type = lines.document_type
        and documents.document_id = lines.document_id
    where documents.status <> 'void' and lines.amount + documents.tax <> documents.gross
)

select * from exceptions
