{%- set version = ['modified_at', id_as_number('sync_token')] -%}
with invoices as (
    {{ newest(source('raw_quickbooks', 'invoices'), ['id'], version) }}
),

credit_memos as (
    {{ newest(source('raw_quickbooks', 'credit_memos'), ['id'], version) }}
),

refund_receipts as (
    {{ newest(source('raw_quickbooks', 'refund_receipts'), ['id'], version) }}
),

terms as (
    {{ newest(source('raw_quickbooks', 'terms'), ['id']) }}
),

home as (
    select home_currency from {{ ref('stg_quickbooks__company') }}
),

documents as (
    select
        'invoice' as document_type, id as document_id, doc_number, customer_id, txn_date, due_date, currency,
        exchange_rate, total, tax, balance as open_amount, cast(0 as decimal(28,6)) as refunded_amount,
        private_note, memo, email_status, terms_id, crm_deal_id, url, modified_at, _problem
    from invoices
    union all
    select
        'credit_note', id, doc_number, customer_id, txn_date, null, currency,
        exchange_rate, total, tax, coalesce(remaining_credit, balance), 0,
        private_note, memo, null, null, crm_deal_id, url, modified_at, _problem
    from credit_memos
    union all
    -- A refund receipt gives the money back in the moment it credits it: nothing of it stays open.
    select
        'credit_note', {{ dbt.concat(["'refund-'", 'id']) }}, doc_number, customer_id, txn_date, null, currency,
        exchange_rate, total, tax, 0, total,
        private_note, null, null, null, null, url, modified_at, _problem
    from refund_receipts
),

final as (
    select
        'quickbooks' as source,
        documents.document_type,
        documents.document_id,
        documents.doc_number as number,
        documents.customer_id,
        -- A void keeps the id: every amount is 0 and the note starts with 'Voided'; there is no status field.
        case
            when documents.total = 0 and lower(documents.private_note) like 'voided%' then 'void'
            else 'issued'
        end as status,
        coalesce({{ enumerate('documents.email_status', {
            'NotSet': 'not_sent', 'NeedToSend': 'not_sent', 'EmailSent': 'sent', 'Viewed': 'viewed'
        }) }}, 'not_sent') as delivery,
        documents.txn_date as issue_date,
        -- Where the date is absent the document's own terms give it; the customer's terms come in later.
        coalesce(documents.due_date, {{ add_days('documents.txn_date', 'terms.due_days') }}) as due_date,
        coalesce({{ text_or_null('documents.currency') }}, home.home_currency) as currency,
        {{ rate_to_base(
            'coalesce(' ~ text_or_null('documents.currency') ~ ', home.home_currency)', 'home.home_currency',
            'documents.exchange_rate'
        ) }} as rate,
        null as rate_divisor,
        documents.total - coalesce(documents.tax, 0) as net,
        case when documents.total is not null then coalesce(documents.tax, 0) end as tax,
        documents.total as gross,
        documents.open_amount,
        documents.refunded_amount,
        0 as withheld,
        {{ text_or_null('documents.crm_deal_id') }} as deal_reference,
        coalesce(documents.memo, documents.private_note) as reference_text,
        documents.url,
        documents.modified_at,
        documents._problem as problem
    from documents
    cross join home
    left join terms on documents.terms_id = terms.id
)

{{ canonical_select('documents', 'final') }}
