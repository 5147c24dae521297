with receivables as (
    select * from {{ ref('int_accounts__receivables') }}
),

judged as (
    select
        receivables.*,
        case
            when receivables.invoice_count = 0 then 'No Invoices'
            when receivables.overdue_amount > 0 and (
                receivables.days_overdue >= {{ var('credit_hold_days') }} or holds.account_id is not null
            ) then 'Credit Hold'
            when receivables.overdue_amount > 0 then 'Overdue'
            else 'Current'
        end as financial_status
    from receivables
    left join {{ ref('int_accounts__credit_hold') }} as holds
        on receivables.source = holds.account_source and receivables.account_id = holds.account_id
)

select
    judged.source,
    judged.account_id,
    accounts.name as account_name,
    accounts.owner_id,
    {{ as_of() }} as as_of,
    judged.financial_status,
    cast(judged.days_overdue as bigint) as days_overdue,
    cast(judged.total_outstanding as decimal(28,6)) as total_outstanding,
    cast(judged.overdue_amount as decimal(28,6)) as overdue_amount,
    cast(judged.overdue_invoices as bigint) as overdue_invoices,
    cast(judged.unapplied_credit as decimal(28,6)) as unapplied_credit,
    judged.last_invoice_date,
    cast(judged.last_invoice_amount as decimal(28,6)) as last_invoice_amount,
    judged.last_invoice_status,
    judged.last_payment_date,
    case
        when judged.open_credit_count > 0 then 'Credit Note Open'
        when judged.refund_count > 0 then 'Refunded'
        else 'None'
    end as credit_status,
    cast(judged.invoiced_to_date as decimal(28,6)) as invoiced_to_date,
    cast(judged.collected_to_date as decimal(28,6)) as collected_to_date,
    judged.average_days_to_pay,
    '{{ var("base_currency") }}' as base_currency,
    held.financials_as_of,
    held.sources,
    held.hold_reason,
    accounts.url
from judged
inner join {{ ref('int_accounts__unioned') }} as accounts
    on judged.source = accounts.source and judged.account_id = accounts.account_id
left join {{ ref('int_accounts__held') }} as held
    on judged.source = held.source and judged.account_id = held.account_id
