with payments as (
    {{ newest(source('raw_acorn', 'payments'), ['id'], ['modified_at', 'version']) }}
),

applications as (
    {{ newest(source('raw_acorn', 'applications'), ['payment_id', 'version', 'line_number'], []) }}
),

final as (
    select
        'acorn' as source,
        case when applications.credit_note_id is null then 'payment' else 'credit_note' end as applied_type,
        coalesce(applications.credit_note_id, payments.id) as applied_id,
        'invoice' as document_type,
        applications.invoice_id as document_id,
        applications.amount,
        payments.payment_date as applied_date,
        payments.url,
        applications._problem as problem
    from payments
    inner join applications on payments.id = applications.payment_id and payments.version = applications.version
)

{{ canonical_select('applications', 'final') }}
