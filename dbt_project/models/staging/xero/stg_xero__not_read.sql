{#-
  What a list counted and did not give, or gave without an id, when it was last read; it is read again every night.
  Nothing else moves receivables in Xero: batch payments stand in Payments one by one; RECEIVE-OVERPAYMENT and
  RECEIVE-PREPAYMENT bank transactions are the Overpayments and Prepayments (BankTransaction in the specification names
  their ids); RepeatingInvoices are templates and LinkedTransactions only name invoices; bank transactions and manual
  journals cannot name an account that is Xero's own, such as the receivables' (Xero staff in
  https://community.xero.com/developer/discussion/92539695).
-#}
with unread as (
    {{ newest_snapshot("(select * from " ~ source('raw_xero', 'unread') ~ " where read_on = " ~ as_of() ~ ")",
        'tenant_id, listed') }}
),

-- Records without an id cannot be told apart: what is the same of them is one row.
final as (
    select
        'xero' as source,
        listed as entity,
        null as record_id,
        contact_id as customer_id,
        min(posted_on) as posted_on,
        currency,
        {{ known_total('amount') }} as amount,
        sum(record_count) as record_count,
        reason,
        null as url
    from unread
    group by listed, contact_id, currency, reason, amount is null
)

{{ canonical_select('not_read', 'final') }}
