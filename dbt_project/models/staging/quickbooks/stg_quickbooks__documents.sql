{%- set version = ['modified_at', id_as_number('sync_token')] -%}
with invoices as (
    {{ newest(source('raw_quickbooks', 'invoices'), ['id'], version) }}
),

credit_memos as (
    {{ newest(source('raw_quickbooks', 'credit_memos'), ['id'], version) }}
),

sales_receipts as (
    {{ newest(source('raw_quickbooks', 'sales_receipts'), ['id'], version) }}
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

customers as (
    {{ newest(source('raw_quickbooks', 'customers'), ['id']) }}
),

-- Whether anything stands on a document: a void keeps its lines without amounts and quantities.
contents as (
    select document_type, document_id, max(case when amount <> 0 or quantity <> 0 then 1 else 0 end) = 1 as has_content
    from {{ ref('stg_quickbooks__document_lines') }}
    group by 1, 2
),

documents as (
    select
        'invoice' as document_type, id as document_id, doc_number, customer_id, txn_date, due_date, currency,
        exchange_rate, total, tax, balance as open_amount, cast(0 as decimal(28,6)) as refunded_amount,
        less_cis as withheld, private_note, memo, email_status, terms_id, crm_deal_id, url, modified_at, _problem
    from invoices
    union all
    -- A sales receipt is an invoice that was paid at once.
    select
        'invoice', {{ dbt.concat(["'sale-'", 'id']) }}, doc_number, customer_id, txn_date, txn_date, currency,
        exchange_rate, total, tax, 0, 0,
        less_cis, private_note, memo, email_status, null, crm_deal_id, url, modified_at, _problem
    from sales_receipts
    union all
    select
        'credit_note', id, doc_number, customer_id, txn_date, null, currency,
        exchange_rate, total, tax, coalesce(remaining_credit, balance), 0,
        0, private_note, memo, null, null, crm_deal_id, url, modified_at, _problem
    from credit_memos
    union all
    -- A refund receipt gives the money back in the moment it credits it: nothing of it stays open.
    select
        'credit_note', {{ dbt.concat(["'refund-'", 'id']) }}, doc_number, customer_id, txn_date, null, currency,
        exchange_rate, total, tax, 0, total,
        0, private_note, null, null, null, null, url, modified_at, _problem
    from refund_receipts
),

final as (
    select
        'quickbooks' as source,
        documents.document_type,
        documents.document_id,
        {{ text_or_null('documents.doc_number') }} as number,
        documents.customer_id,
        -- A void keeps the id, and there is no status field: every amount and quantity is 0 (recorded). A free document
        -- has quantities. The note, which people edit and which has the company's language, is the second proof.
        case
            when documents.total = 0
                and (not coalesce(contents.has_content, false) or lower(documents.private_note) like 'voided%') then 'void'
            else 'issued'
        end as status,
        coalesce({{ enumerate('documents.email_status', {
            'NotSet': 'not_sent', 'NeedToSend': 'not_sent', 'EmailSent': 'sent', 'Viewed': 'viewed'
        }) }}, 'not_sent') as delivery,
        documents.txn_date as issue_date,
        -- Where the date is absent the document's own terms give it, else the customer's.
        coalesce(documents.due_date, case
            when terms.due_days is not null then {{ add_days('documents.txn_date', 'terms.due_days') }}
            when terms.day_of_month is null then null
            -- The next month's day where the bill comes within so many days of this month's.
            when {{ days_between('documents.txn_date', nth_day_of_month(month_of('documents.txn_date'), 'terms.day_of_month')) }}
                < coalesce(terms.next_month_days, 0)
                or documents.txn_date > {{ nth_day_of_month(month_of('documents.txn_date'), 'terms.day_of_month') }}
                then {{ nth_day_of_month(add_months(month_of('documents.txn_date'), 1), 'terms.day_of_month') }}
            else {{ nth_day_of_month(month_of('documents.txn_date'), 'terms.day_of_month') }}
        end) as due_date,
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
        coalesce(documents.withheld, 0) as withheld,
        {{ text_or_null('documents.crm_deal_id') }} as deal_reference,
        coalesce(documents.memo, documents.private_note) as reference_text,
        documents.url,
        documents.modified_at,
        documents._problem as problem
    from documents
    cross join home
    left join customers on documents.customer_id = customers.id
    left join terms
        on coalesce(documents.terms_id, case when documents.document_type = 'invoice' then customers.terms_id end) = terms.id
    left join contents
        on documents.document_type = contents.document_type and documents.document_id = contents.document_id
)

{{ canonical_select('documents', 'final') }}
