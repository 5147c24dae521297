-- Memo: what QuickBooks gave is modelled, deleted, or dropped for one of these reasons; nothing is lost on the way.
{%- set raw = {} %}
{%- for table in ['customers', 'invoices', 'invoice_lines', 'credit_memos', 'credit_memo_lines', 'payments',
        'payment_applications', 'refund_receipts', 'aged_receivables'] %}
    {%- do raw.update({table: source('raw_quickbooks', table) | string}) %}
{%- endfor %}
{%- set documents = "select document_id as record_id from " ~ ref('int_documents__unioned')
    ~ " where source = 'quickbooks' and document_type = " %}
{%- set lines = "select document_id, line_number from " ~ ref('int_document_lines__unioned')
    ~ " where source = 'quickbooks' and document_type = " %}
{%- set payments = "select payment_id as record_id from " ~ ref('int_payments__unioned')
    ~ " where source = 'quickbooks' and payment_type = " %}
{%- set version = ['modified_at', id_as_number('sync_token')] %}
{%- set credit_applied -%}
select payments.id as record_id
from ({{ newest(raw.payments, ['id'], version) }}) as payments
where payments.total = 0 and payments.id in (
    select links.payment_id from {{ raw.payment_applications }} as links
    where links._landed_at <= {{ known_at() }} and not links._deleted and links.txn_type = 'CreditMemo'
        and links.sync_token = payments.sync_token)
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
    record_check(raw.invoices, 'invoices', documents ~ "'invoice'"),
    record_check(raw.credit_memos, 'credit_memos', documents ~ "'credit_note' and document_id not like 'refund-%'"),
    record_check(raw.refund_receipts, 'refund_receipts as credit notes',
        documents ~ "'credit_note' and document_id like 'refund-%'", id="'refund-' || id"),
    record_check(raw.refund_receipts, 'refund_receipts as refunds', payments ~ "'refund'", id="'refund-' || id"),
    record_check(raw.payments, 'payments', payments ~ "'payment'",
        {'it spends a credit, no money moved': credit_applied}),
    line_check(raw.invoice_lines, 'invoice_lines', newest_versions(raw.invoices, 'sync_token', 'false', version),
        'invoice_id', 'sync_token', lines ~ "'invoice'"),
    line_check(raw.credit_memo_lines, 'credit_memo_lines',
        newest_versions(raw.credit_memos, 'sync_token', 'false', version), 'credit_memo_id', 'sync_token',
        lines ~ "'credit_note'"),
    {'name': 'aged_receivables', 'extracted': todays_report,
        'modelled': "select coalesce(customer_id, 'the total') as record_id from " ~ ref('int_control_totals__unioned')
            ~ " where source = 'quickbooks'"},
]) }}
