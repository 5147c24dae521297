-- Memo: what Xero gave is modelled, deleted, or dropped for one of these reasons; nothing is lost on the way.
{%- set raw = {} %}
{%- for table in ['contacts', 'invoices', 'invoice_lines', 'credit_notes', 'credit_note_lines', 'payments',
        'overpayments', 'prepayments'] %}
    {%- do raw.update({table: source('raw_xero', table) | string}) %}
{%- endfor %}
{%- set customers = "select customer_id as record_id from " ~ ref('int_customers__unioned') ~ " where source = 'xero'" %}
{%- set documents = "select document_id as record_id from " ~ ref('int_documents__unioned')
    ~ " where source = 'xero' and document_type = " %}
{#- The second line that a discount makes has a number of its own. -#}
{%- set lines = "select document_id, line_number from " ~ ref('int_document_lines__unioned')
    ~ " where source = 'xero' and line_number <= 1000000 and document_type = " %}
{%- set no_customer -%}
select contacts.id as record_id
from ({{ newest(raw.contacts, ['id']) }}) as contacts
where not contacts.is_customer
    and {{ text_or_null('contacts.crm_id') }} is null and {{ text_or_null('contacts.merged_to_id') }} is null
    and contacts.id not in (
        select customer_id from {{ ref('int_documents__unioned') }} where source = 'xero' and customer_id is not null
        union all
        select customer_id from {{ ref('int_payments__unioned') }} where source = 'xero' and customer_id is not null)
{%- endset %}
{%- set money = ['payments', 'overpayments', 'prepayments'] %}
{%- set receipts, gone, voided = [], [], [] %}
{%- for table in money %}
    {%- do receipts.append(extracted_records(raw[table], 'id')) %}
    {%- do gone.append(deleted_records(raw[table], 'id')) %}
    {%- do voided.append(records_with_status(raw[table], ['DELETED'] if table == 'payments' else ['DELETED', 'VOIDED'])) %}
{%- endfor %}
{{ conserved([
    record_check(raw.contacts, 'contacts', customers, {'Xero says that it is no customer': no_customer}),
    record_check(raw.invoices, 'invoices', documents ~ "'invoice'",
        {'status DELETED': records_with_status(raw.invoices, ['DELETED'])}),
    record_check(raw.credit_notes, 'credit_notes', documents ~ "'credit_note'",
        {'status DELETED': records_with_status(raw.credit_notes, ['DELETED'])}),
    {'name': 'payments, overpayments, prepayments', 'extracted': receipts | join(' union all '),
        'deleted': gone | join(' union all '),
        'modelled': "select payment_id as record_id from " ~ ref('int_payments__unioned') ~ " where source = 'xero'",
        'dropped': {'deleted or voided by its status': voided | join(' union all ')}},
    line_check(raw.invoice_lines, 'invoice_lines',
        newest_versions(raw.invoices, 'version', "coalesce(status, 'none') = 'DELETED'"), 'invoice_id', 'version',
        lines ~ "'invoice'"),
    line_check(raw.credit_note_lines, 'credit_note_lines',
        newest_versions(raw.credit_notes, 'version', "coalesce(status, 'none') = 'DELETED'"), 'credit_note_id',
        'version', lines ~ "'credit_note'"),
]) }}
