with invoices as (
    {{ newest(source('raw_xero', 'invoices'), ['id']) }}
),

credit_notes as (
    {{ newest(source('raw_xero', 'credit_notes'), ['id']) }}
),

-- What a credit note was allocated to, and what was paid back of it.
uses as (
    select note_id, sum(amount) as amount
    from (
        select applied_id as note_id, amount
        from {{ ref('stg_xero__applications') }}
        where applied_type = 'credit_note'
        union all
        select document_id, amount from {{ ref('stg_xero__applications') }} where document_type = 'credit_note'
    ) as ends
    group by 1
),

documents as (
    select
        'invoice' as document_type, id as document_id, tenant_id, number, contact_id, status, sent, issue_date,
        due_date, currency, currency_rate, total, total_tax, amount_due as open_amount, cis_deduction,
        coalesce(amount_paid, 0) + coalesce(amount_credited, 0) as spent, reference, url, modified_at,
        _problem
    from invoices
    union all
    select
        'credit_note', id, tenant_id, number, contact_id, status, null, issue_date,
        null, currency, currency_rate, total, total_tax, remaining_credit, cis_deduction,
        coalesce(uses.amount, 0), reference, url, modified_at,
        _problem
    from credit_notes
    left join uses on credit_notes.id = uses.note_id
),

with_currency as (
    select
        documents.*,
        -- What a British contractor keeps back (CIS). That Total is before and AmountDue after it is nowhere said
        -- (unverified): it is withheld where the amounts of the document show exactly that, else Total is after it.
        case when total - open_amount - spent = cis_deduction then cis_deduction else 0 end as withheld,
        coalesce(organisations.home_currency, '{{ var("base_currency") }}') as home_currency,
        coalesce(
            {{ text_or_null('documents.currency') }}, organisations.home_currency, '{{ var("base_currency") }}'
        ) as document_currency
    from documents
    left join {{ ref('stg_xero__organisations') }} as organisations on documents.tenant_id = organisations.tenant_id
    where coalesce(documents.status, 'none') <> 'DELETED'
),

final as (
    select
        'xero' as source,
        documents.document_type,
        documents.document_id,
        {{ text_or_null('documents.number') }} as number,
        {{ text_or_null('documents.contact_id') }} as customer_id,
        -- The status decides and no amount does: what is voided keeps its total and even what is due.
        coalesce({{ enumerate('documents.status', {
            'DRAFT': 'draft', 'SUBMITTED': 'pending_approval', 'AUTHORISED': 'issued', 'PAID': 'issued',
            'VOIDED': 'void'
        }) }}, 'unknown: none') as status,
        case when documents.sent then 'sent' else 'not_sent' end as delivery,
        documents.issue_date,
        -- A date that lies before the issue is the ledger's own and stays. Without one the contact's terms give it.
        case when documents.document_type = 'invoice' then coalesce(documents.due_date, case terms.terms_kind
            when 'days_after_bill' then {{ add_days('documents.issue_date', 'terms.terms_day') }}
            when 'days_after_month' then {{ add_days(last_day_of_month('documents.issue_date'), 'terms.terms_day') }}
            when 'day_of_month' then {{ nth_day_of_month(month_of('documents.issue_date'), 'terms.terms_day') }}
            when 'day_of_next_month' then {{ nth_day_of_month(
                add_months(month_of('documents.issue_date'), 1), 'terms.terms_day') }}
        end) end as due_date,
        documents.document_currency as currency,
        {{ quoted_rate('documents.document_currency', 'documents.home_currency', 'documents.currency_rate') }},
        documents.total - documents.total_tax as net,
        documents.total_tax as tax,
        documents.total as gross,
        case when documents.status in ('VOIDED', 'PAID') then 0 else documents.open_amount end as open_amount,
        -- Nothing is refunded at once here: a refund is a payment that is applied to a credit note.
        0 as refunded_amount,
        documents.withheld,
        {{ text_or_null('documents.reference') }} as deal_reference,
        {{ text_or_null('documents.reference') }} as reference_text,
        documents.url,
        documents.modified_at,
        -- The day on which it falls due rests on terms that nobody enumerated.
        coalesce(documents._problem, case
            when documents.document_type = 'invoice' and documents.due_date is null and terms.terms_kind like 'unknown: %'
                then {{ dbt.concat(["'payment terms of its contact: '", 'terms.terms_kind']) }}
        end) as problem
    from with_currency as documents
    left join {{ ref('stg_xero__contact_terms') }} as terms on documents.contact_id = terms.contact_id
)

{{ canonical_select('documents', 'final') }}
