{#-
  A payment names the one thing that it settles; credit notes, overpayments and prepayments are spent by allocations.
  A refund is applied to the credit note that it pays back; one of an overpayment or prepayment spends that, and the
  payment out is the 'other' thing that it is spent on.
-#}
with receipts as (
    select * from {{ ref('stg_xero__receipts') }}
),

credit_notes as (
    {{ newest(source('raw_xero', 'credit_notes'), ['id']) }}
),

allocations as (
    {{ newest(source('raw_xero', 'allocations'), ['source_type', 'source_id', 'version', 'line_number'], []) }}
),

-- What can be allocated, with the version whose allocations count.
credits as (
    select 'credit_note' as source_type, id as source_id, version, url
    from credit_notes
    where coalesce(status, 'none') not in ('VOIDED', 'DELETED')
    union all
    select kind, receipt_id, version, url
    from receipts
    where kind in ('overpayment', 'prepayment')
),

applied as (
    select
        'payment' as applied_type,
        case when kind in ('overpayment_refunded', 'prepayment_refunded') then target_id else receipt_id end
            as applied_id,
        case kind when 'invoice_paid' then 'invoice' when 'credit_note_refunded' then 'credit_note' else 'other' end
            as document_type,
        case when kind in ('overpayment_refunded', 'prepayment_refunded') then receipt_id else target_id end
            as document_id,
        amount,
        payment_date as applied_date,
        url,
        _problem as problem
    from receipts
    where target_id is not null
        and kind in ('invoice_paid', 'credit_note_refunded', 'overpayment_refunded', 'prepayment_refunded')
    union all
    select
        case when credits.source_type = 'credit_note' then 'credit_note' else 'payment' end,
        credits.source_id,
        'invoice',
        allocations.invoice_id,
        allocations.amount,
        allocations.allocated_on,
        credits.url,
        allocations._problem
    from credits
    inner join allocations
        on credits.source_type = allocations.source_type and credits.source_id = allocations.source_id
        and credits.version = allocations.version
    where not coalesce(allocations.is_deleted, false)
),

final as (
    select 'xero' as source, applied.* from applied
)

{{ canonical_select('applications', 'final') }}
