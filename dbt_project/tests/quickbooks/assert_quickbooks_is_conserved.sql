-- Memo: what QuickBooks gave is modelled, deleted, or dropped for one of these reasons; nothing is lost on the way.
{%- set raw = {} %}
{%- for table in ['customers', 'invoices', 'invoice_lines', 'sales_receipts', 'sales_receipt_lines', 'credit_memos',
        'credit_memo_lines', 'payments', 'payment_applications', 'refund_receipts', 'deposits', 'purchases',
        'journal_entries', 'aged_receivables'] %}
    {%- do raw.update({table: source('raw_quickbooks', table) | string}) %}
{%- endfor %}
{%- set documents = "select document_id as record_id from " ~ ref('int_documents__unioned')
    ~ " where source = 'quickbooks' and document_type = " %}
{%- set lines = "select document_id, line_number from " ~ ref('int_document_lines__unioned')
    ~ " where source = 'quickbooks' and document_type = " %}
{%- set payments = "select payment_id as record_id from " ~ ref('int_payments__unioned')
    ~ " where source = 'quickbooks' and payment_type = " %}
{%- set version = ['modified_at', id_as_number('sync_token')] %}
{#- Money of other records has the name of what it is before its id. -#}
{%- set of_payments = payments ~ "'payment' and payment_id not like 'sale-%' and payment_id not like 'deposit-%'" %}
{%- set entries = "select distinct split_part(row_id, '-', 1) || '-' || split_part(row_id, '-', 2) as record_id from "
    ~ ref('stg_quickbooks__entries') ~ " where entity = " %}
{%- set credit_applied -%}
select payments.id as record_id
from ({{ newest(raw.payments, ['id'], version) }}) as payments
where payments.total = 0 and payments.id in (
    select links.payment_id from {{ raw.payment_applications }} as links
    where links._landed_at <= {{ known_at() }} and not links._deleted and links.sync_token = payments.sync_token)
{%- endset %}
{%- set worth_nothing -%}
select 'sale-' || id as record_id from ({{ newest(raw.sales_receipts, ['id'], version) }}) as receipts where total = 0
{%- endset %}
{%- set todays_report -%}
select distinct coalesce(customer_id, 'the total') as record_id
from {{ raw.aged_receivables }}
where report_date = {{ as_of() }} and not _deleted and (customer_id is not null or customer_name is null)
    and _landed_at = (
        select max(_landed_at) from {{ raw.aged_receivables }}
        where report_date = {{ as_of() }} and _landed_at <= {{ known_at() }})
{%- endset %}
{{ conserved([
    record_check(raw.customers, 'customers',
        "select customer_id as record_id from " ~ ref('int_customers__unioned') ~ " where source = 'quickbooks'"),
    record_check(raw.invoices, 'invoices', documents ~ "'invoice' and document_id not like 'sale-%'"),
    record_check(raw.sales_receipts, 'sales_receipts as invoices', documents ~ "'invoice' and document_id like 'sale-%'",
        id="'sale-' || id"),
    record_check(raw.sales_receipts, 'sales_receipts as payments', payments ~ "'payment' and payment_id like 'sale-%'",
        {'it is worth nothing': worth_nothing}, id="'sale-' || id"),
    record_check(raw.credit_memos, 'credit_memos', documents ~ "'credit_note' and document_id not like 'refund-%'"),
    record_check(raw.refund_receipts, 'refund_receipts as credit notes',
        documents ~ "'credit_note' and document_id like 'refund-%'", id="'refund-' || id"),
    record_check(raw.refund_receipts, 'refund_receipts as refunds',
        payments ~ "'refund' and payment_id like 'refund-%'", id="'refund-' || id"),
    record_check(raw.payments, 'payments', of_payments, {'it spends a credit, no money moved': credit_applied}),
    record_check(raw.deposits, 'deposits', entries ~ "'deposit'", id="'deposit-' || id"),
    record_check(raw.purchases, 'purchases', entries ~ "'purchase'", id="'purchase-' || id"),
    record_check(raw.journal_entries, 'journal_entries', entries ~ "'journal'", id="'journal-' || id"),
    line_check(raw.invoice_lines, 'invoice_lines', newest_versions(raw.invoices, 'sync_token', 'false', version),
        'invoice_id', 'sync_token', lines ~ "'invoice' and document_id not like 'sale-%'"),
    line_check(raw.sales_receipt_lines, 'sales_receipt_lines',
        newest_versions(raw.sales_receipts, 'sync_token', 'false', version), 'sales_receipt_id', 'sync_token',
        "select replace(document_id, 'sale-', '') as document_id, line_number from " ~ ref('int_document_lines__unioned')
            ~ " where source = 'quickbooks' and document_type = 'invoice' and document_id like 'sale-%'"),
    line_check(raw.credit_memo_lines, 'credit_memo_lines',
        newest_versions(raw.credit_memos, 'sync_token', 'false', version), 'credit_memo_id', 'sync_token',
        lines ~ "'credit_note'"),
    {'name': 'aged_receivables', 'extracted': todays_report,
        'modelled': "select coalesce(customer_id, 'the total') as record_id from " ~ ref('int_control_totals__unioned')
            ~ " where source = 'quickbooks'"},
]) }}
