-- What every account was invoiced, owes, has paid and has in credit on the business date, in base currency.
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
        valued.status, valued.issue_date, valued.due_date, valued.settled_on, valued.gross, valued.net_base,
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
        sum(case when settled_on >= {{ add_days(as_of(), -365) }} and document_type = 'invoice' and gross > 0
            then gross_base * cast({{ days_between('issue_date', 'settled_on') }} as integer) end) as weighted_days,
        sum(case when settled_on >= {{ add_days(as_of(), -365) }} and document_type = 'invoice' and gross > 0
            then gross_base end) as settled_gross
    from documents
    where is_counted
    group by 1, 2
),

payment_totals as (
    select
        account_source,
        account_id,
        {{ total("case when payment_type = 'payment' then unapplied_base end") }} as unapplied_payments,
        {{ total("case when payment_type = 'payment' then amount_base else -amount_base end") }} as collected_to_date,
        max(case when payment_type = 'payment' and amount > 0 then payment_date end) as last_payment_date,
        sum(case when payment_type = 'refund' and amount > 0 then 1 else 0 end) as refund_count
    from payments
    group by 1, 2
),

-- A void keeps its place as the newest invoice, for its status only.
newest_any as (
    select account_source, account_id, payment_status
    from (
        select
            account_source, account_id, payment_status,
            row_number() over (
                partition by account_source, account_id
                order by issue_date desc, {{ id_as_number('document_id') }} desc nulls last, document_id desc, source
            ) as recency
        from documents
        where document_type = 'invoice' and issue_date <= {{ as_of() }} and status in ('issued', 'void')
    ) as ranked
    where recency = 1
),

newest_issued as (
    select account_source, account_id, issue_date, gross_base
    from (
        select
            account_source, account_id, issue_date, gross_base,
            row_number() over (
                partition by account_source, account_id
                order by issue_date desc, {{ id_as_number('document_id') }} desc nulls last, document_id desc, source
            ) as recency
        from documents
        where document_type = 'invoice' and is_counted
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
        cast(round({{ ratio('document_totals.weighted_days', 'document_totals.settled_gross') }}, 1)
            as decimal(9,1)) as average_days_to_pay,
        newest_issued.issue_date as last_invoice_date,
        newest_issued.gross_base as last_invoice_amount,
        newest_any.payment_status as last_invoice_status,
        payment_totals.last_payment_date
    from accounts
    left join document_totals
        on accounts.source = document_totals.account_source and accounts.account_id = document_totals.account_id
    left join payment_totals
        on accounts.source = payment_totals.account_source and accounts.account_id = payment_totals.account_id
    left join newest_any
        on accounts.source = newest_any.account_source and accounts.account_id = newest_any.account_id
    left join newest_issued
        on accounts.source = newest_issued.account_source and accounts.account_id = newest_issued.account_id
)

select
    joined.*,
    greatest(overdue_before_credit - unapplied_credit, 0) as overdue_amount,
    -- Money the customer has already given covers what is overdue before anyone is called late.
    case when overdue_before_credit > unapplied_credit then overdue_count else 0 end as overdue_invoices,
    case when overdue_before_credit > unapplied_credit
        then {{ days_between('oldest_due_date', as_of()) }} else 0 end as days_overdue
from joined
