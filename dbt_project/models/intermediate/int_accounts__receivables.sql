-- What every account was invoiced, owes, has paid and has in credit on the business date, in base currency.
{%- set paid_lately = "document_type = 'invoice' and paid_on >= " ~ add_days(as_of(), -365) %}
with accounts as (
    select source, account_id from {{ ref('int_accounts__unioned') }}
),

customers as (
    select source, customer_id, account_source, account_id
    from {{ ref('int_customers__matched') }}
    where account_id is not null
),

-- A customer that two CRMs hold counts in full in each of them.
documents as (
    select
        customers.account_source, customers.account_id, valued.source, valued.document_type, valued.document_id,
        valued.number, valued.status, valued.issue_date, valued.due_date, valued.paid_on, valued.paid_base, valued.net_base,
        valued.gross_base, valued.open_base, valued.is_counted, valued.is_open, valued.is_overdue,
        valued.payment_status
    from {{ ref('int_documents__valued') }} as valued
    inner join customers on valued.source = customers.source and valued.customer_id = customers.customer_id
),

payments as (
    select
        customers.account_source, customers.account_id, valued.payment_type, valued.payment_date, valued.amount,
        valued.amount_base, valued.unapplied_base
    from {{ ref('int_payments__valued') }} as valued
    inner join customers on valued.source = customers.source and valued.customer_id = customers.customer_id
    where valued.is_counted
),

document_totals as (
    select
        account_source,
        account_id,
        sum(case when document_type = 'invoice' then 1 else 0 end) as invoice_count,
        {{ total("case when document_type = 'invoice' and is_open then open_base end") }} as total_outstanding,
        {{ total("case when document_type = 'invoice' and is_overdue then open_base end") }} as overdue_before_credit,
        sum(case when document_type = 'invoice' and is_overdue then 1 else 0 end) as overdue_count,
        min(case when document_type = 'invoice' and is_overdue then due_date end) as oldest_due_date,
        {{ total("case when document_type = 'credit_note' and is_open then open_base end") }} as open_credit,
        sum(case when document_type = 'credit_note' and is_open then 1 else 0 end) as open_credit_count,
        {{ total("case when document_type = 'invoice' then net_base else -net_base end") }} as invoiced_to_date,
        sum(case when {{ paid_lately }} then paid_base * cast({{ days_between('issue_date', 'paid_on') }} as integer) end)
            as weighted_days,
        sum(case when {{ paid_lately }} then paid_base end) as paid_lately
    from documents
    where is_counted
    group by 1, 2
),

payment_totals as (
    select
        account_source,
        account_id,
        -- What of a refund settles nothing takes from the customer's credit.
        {{ total("case payment_type when 'payment' then unapplied_base else -unapplied_base end") }} as unapplied_payments,
        {{ total("case when payment_type = 'payment' then amount_base else -amount_base end") }} as collected_to_date,
        max(case when payment_type = 'payment' and amount > 0 then payment_date end) as last_payment_date,
        sum(case when payment_type = 'refund' and amount > 0 then 1 else 0 end) as refund_count
    from payments
    group by 1, 2
),

-- The newest issued invoice, a void one only where nothing issued is left. Date, amount and status are of this one document.
newest as (
    select account_source, account_id, issue_date, gross_base, payment_status
    from (
        select
            account_source, account_id, issue_date,
            -- What is void is worth nothing, though some ledgers still show its total.
            cast(case when is_counted then gross_base else 0 end as decimal(28,6)) as gross_base,
            -- A CRM knows no word for an invoice that nobody has to pay any more.
            case payment_status when 'Credited' then 'Paid' else payment_status end as payment_status,
            row_number() over (
                partition by account_source, account_id
                order by case when is_counted then 0 else 1 end, issue_date desc, case when is_open then 0 else 1 end,
                    length(number) desc nulls last, number desc, {{ id_as_number('document_id') }} desc nulls last,
                    document_id desc, source
            ) as recency
        from documents
        where document_type = 'invoice' and issue_date <= {{ as_of() }} and status in ('issued', 'void')
    ) as ranked
    where recency = 1
),

joined as (
    select
        accounts.source,
        accounts.account_id,
        coalesce(document_totals.invoice_count, 0) as invoice_count,
        coalesce(document_totals.total_outstanding, 0) as total_outstanding,
        coalesce(document_totals.overdue_before_credit, 0) as overdue_before_credit,
        coalesce(document_totals.overdue_count, 0) as overdue_count,
        document_totals.oldest_due_date,
        coalesce(document_totals.open_credit, 0) + coalesce(payment_totals.unapplied_payments, 0) as unapplied_credit,
        coalesce(document_totals.open_credit_count, 0) as open_credit_count,
        coalesce(payment_totals.refund_count, 0) as refund_count,
        coalesce(document_totals.invoiced_to_date, 0) as invoiced_to_date,
        coalesce(payment_totals.collected_to_date, 0) as collected_to_date,
        cast(round({{ ratio('document_totals.weighted_days', 'document_totals.paid_lately') }}, 1)
            as decimal(9,1)) as average_days_to_pay,
        newest.issue_date as last_invoice_date,
        newest.gross_base as last_invoice_amount,
        newest.payment_status as last_invoice_status,
        payment_totals.last_payment_date
    from accounts
    left join document_totals
        on accounts.source = document_totals.account_source and accounts.account_id = document_totals.account_id
    left join payment_totals
        on accounts.source = payment_totals.account_source and accounts.account_id = payment_totals.account_id
    left join newest on accounts.source = newest.account_source and accounts.account_id = newest.account_id
)

select
    joined.*,
    greatest(overdue_before_credit - unapplied_credit, 0) as overdue_amount,
    -- Money the customer has already given covers what is overdue before anyone is called late.
    case when overdue_before_credit > unapplied_credit then overdue_count else 0 end as overdue_invoices,
    case when overdue_before_credit > unapplied_credit
        then {{ days_between('oldest_due_date', as_of()) }} else 0 end as days_overdue
from joined
