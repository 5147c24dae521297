-- Memo: the ladders are total and say only what their definitions allow, and the numbers beside them agree.
select 'account_status' as mart, account_id as record_id, financial_status as value
from {{ ref('account_status') }}
where coalesce(financial_status, 'null') not in ('No Invoices', 'Credit Hold', 'Overdue', 'Current')
    or (overdue_amount > 0) <> (financial_status in ('Credit Hold', 'Overdue'))
    or (overdue_amount > 0) <> (days_overdue > 0)
    or (overdue_amount > 0) <> (overdue_invoices > 0)
    or overdue_amount > total_outstanding
    or credit_status not in ('None', 'Credit Note Open', 'Refunded')
    or last_invoice_status not in ('Sent', 'Viewed', 'Partially Paid', 'Paid', 'Overdue', 'Voided')
union all
select 'fct_deal_reconciliation', deal_id, coalesce(main_cause, status)
from {{ ref('fct_deal_reconciliation') }}
where coalesce(status, 'null') not in ('Matched', 'Explained', 'Review')
    or main_cause not in (
        'fx', 'tax_in_contract', 'duplicate_invoice', 'credit_note', 'discount', 'price_or_quantity',
        'awaiting_review', 'scheduled', 'not_invoiced', 'partly_invoiced', 'over_invoiced', 'rounding', 'unexplained',
        'other_currency')
    or (status <> 'Matched' and main_cause is null)
    or (main_cause = 'other_currency' and (invoiced_amount is not null or variance_amount is not null))
