{#-
  A QuickBooks payment says what it touches, not which fund paid which invoice. Its funds are the credits that it links, in
  line order, and then its own money; its targets are the debits, in line order. Laid end to end, each overlap of a fund with
  a target is one application. A payment of 0 that links an invoice and a credit memo is the simple case: one overlap.
  A sales receipt pays itself, and so does the deposit that was taken on an invoice.
-#}
{%- set version = ['modified_at', id_as_number('sync_token')] -%}
with payments as (
    {{ newest(source('raw_quickbooks', 'payments'), ['id'], version) }}
),

links as (
    select * from {{ ref('stg_quickbooks__payment_links') }}
),

-- A journal entry and a credit card credit are no money of the customer's: what they settle is not collected.
funds as (
    select
        payment_id,
        case txn_type when 'CreditMemo' then 'credit_note' when 'Deposit' then 'payment' else 'adjustment' end as applied_type,
        other_id as applied_id,
        line_number,
        amount
    from links
    where side = 'credit'
    union all
    select id, 'payment', id, 1000000000, total - unapplied
    from payments
    where total > 0 and total - unapplied > 0
),

spans_of_funds as (
    select
        *,
        sum(coalesce(amount, 0))
            over (partition by payment_id order by line_number, applied_id rows unbounded preceding) as until
    from funds
),

spans_of_targets as (
    select
        *,
        sum(coalesce(amount, 0))
            over (partition by payment_id order by line_number, txn_id rows unbounded preceding) as until
    from links
    where side = 'debit'
),

shared as (
    select
        spans_of_funds.applied_type,
        spans_of_funds.applied_id,
        targets.txn_type,
        targets.other_id,
        least(targets.until, spans_of_funds.until)
            - greatest(targets.until - coalesce(targets.amount, 0),
                spans_of_funds.until - coalesce(spans_of_funds.amount, 0))
            as amount,
        targets.txn_date,
        targets.url,
        targets.problem
    from spans_of_targets as targets
    inner join spans_of_funds
        on targets.payment_id = spans_of_funds.payment_id
        and spans_of_funds.until > targets.until - coalesce(targets.amount, 0)
        and spans_of_funds.until - coalesce(spans_of_funds.amount, 0) < targets.until
    union all
    -- A link whose amount could not be read overlaps nothing; its problem must still be seen.
    select 'payment', payment_id, txn_type, other_id, null, txn_date, url, problem
    from links
    where amount is null
    union all
    select 'payment', payment_id, 'Invoice', document_id, amount, payment_date, url, null
    from {{ ref('stg_quickbooks__paid_at_once') }}
),

-- TxnTypeEnum of Intuit's schema, and what its documentation of Payment adds to it.
final as (
    select
        'quickbooks' as source,
        applied_type,
        applied_id,
        {{ enumerate('txn_type', {
            'Invoice': 'invoice', 'SalesReceipt': 'invoice', 'CreditMemo': 'credit_note',
            'APCreditCard': 'other', 'ARRefundCreditCard': 'other', 'Bill': 'other', 'BillPaymentCheck': 'other',
            'BuildAssembly': 'other', 'CarryOver': 'other', 'CashPurchase': 'other', 'Charge': 'other', 'Check': 'other',
            'CreditCardCredit': 'other', 'CreditCardPayment': 'other', 'Deposit': 'other', 'EFPLiabilityCheck': 'other',
            'EFTBillPayment': 'other', 'EFTRefund': 'other', 'Estimate': 'other', 'Expense': 'other',
            'InventoryAdjustment': 'other', 'InventoryTransfer': 'other', 'ItemReceipt': 'other',
            'JournalEntry': 'other', 'LiabilityAdjustment': 'other', 'Paycheck': 'other', 'Payment': 'other',
            'PayrollLiabilityCheck': 'other', 'PriorPayment': 'other', 'PurchaseOrder': 'other',
            'ReceivePayment': 'other', 'RefundCheck': 'other', 'RefundReceipt': 'other', 'ReimburseCharge': 'other',
            'SalesOrder': 'other', 'SalesTaxPaymentCheck': 'other', 'TimeActivity': 'other', 'Transfer': 'other',
            'VendorCredit': 'other', 'YTDAdjustment': 'other'
        }) }} as document_type,
        other_id as document_id,
        amount,
        txn_date as applied_date,
        url,
        problem
    from shared
)

{{ canonical_select('applications', 'final') }}
