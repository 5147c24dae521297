{#-
  A QuickBooks payment says what it touches, not which fund paid which invoice. Its funds are the credit memos it
  links, in line order, and then its own money; its targets are the invoices, in line order. Laid end to end, each
  overlap of a fund with a target is one application. A payment of 0 that links an invoice and a credit memo is the
  simple case: one overlap.
-#}
{%- set version = ['modified_at', id_as_number('sync_token')] -%}
with payments as (
    {{ newest(source('raw_quickbooks', 'payments'), ['id'], version) }}
),

lines as (
    {{ newest(source('raw_quickbooks', 'payment_applications'), ['payment_id', 'sync_token', 'line_number'], []) }}
),

links as (
    select
        payments.id as payment_id,
        payments.txn_date,
        payments.url,
        lines.line_number,
        lines.amount,
        lines.txn_id,
        lines.txn_type,
        lines._problem as problem
    from payments
    inner join lines on payments.id = lines.payment_id and payments.sync_token = lines.sync_token
),

funds as (
    select payment_id, 'credit_note' as applied_type, txn_id as applied_id, line_number, amount
    from links
    where txn_type = 'CreditMemo'
    union all
    select id, 'payment', id, 1000000000, total - coalesce(unapplied, 0)
    from payments
    where total > 0
),

spans_of_funds as (
    select
        *,
        sum(amount) over (partition by payment_id order by line_number, applied_id rows unbounded preceding) as until
    from funds
),

spans_of_targets as (
    select
        *,
        sum(coalesce(amount, 0))
            over (partition by payment_id order by line_number, txn_id rows unbounded preceding) as until
    from links
    where txn_type <> 'CreditMemo'
),

shared as (
    select
        spans_of_funds.applied_type,
        spans_of_funds.applied_id,
        targets.txn_type,
        targets.txn_id,
        least(targets.until, spans_of_funds.until)
            - greatest(targets.until - coalesce(targets.amount, 0), spans_of_funds.until - spans_of_funds.amount)
            as amount,
        targets.txn_date,
        targets.url,
        targets.problem
    from spans_of_targets as targets
    inner join spans_of_funds
        on targets.payment_id = spans_of_funds.payment_id
        and spans_of_funds.until > targets.until - coalesce(targets.amount, 0)
        and spans_of_funds.until - spans_of_funds.amount < targets.until
    union all
    -- A link whose amount could not be read overlaps nothing; its problem must still be seen.
    select 'payment', payment_id, txn_type, txn_id, null, txn_date, url, problem
    from links
    where amount is null
),

final as (
    select
        'quickbooks' as source,
        applied_type,
        applied_id,
        {{ enumerate('txn_type', {
            'Invoice': 'invoice', 'CreditMemo': 'credit_note', 'JournalEntry': 'other', 'Check': 'other',
            'Expense': 'other', 'Deposit': 'other', 'CreditCardCredit': 'other', 'RefundReceipt': 'other'
        }) }} as document_type,
        txn_id as document_id,
        amount,
        txn_date as applied_date,
        url,
        problem
    from shared
)

{{ canonical_select('applications', 'final') }}
