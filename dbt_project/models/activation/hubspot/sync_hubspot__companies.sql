with base_currency as (
    select minor_units from {{ ref('iso_currencies') }} where code = '{{ var("base_currency") }}'
)

select
    statuses.account_id as record_id,
    statuses.account_id,
    statuses.hold_reason,
    statuses.sources,
    statuses.financial_status,
    statuses.days_overdue,
    {{ round_money('statuses.total_outstanding', 'base_currency.minor_units') }} as total_outstanding,
    {{ round_money('statuses.overdue_amount', 'base_currency.minor_units') }} as overdue_amount,
    statuses.overdue_invoices,
    {{ round_money('statuses.unapplied_credit', 'base_currency.minor_units') }} as unapplied_credit,
    statuses.last_invoice_date,
    {{ round_money('statuses.last_invoice_amount', 'base_currency.minor_units') }} as last_invoice_amount,
    statuses.last_invoice_status,
    statuses.last_payment_date,
    statuses.credit_status,
    {{ round_money('statuses.invoiced_to_date', 'base_currency.minor_units') }} as invoiced_to_date,
    {{ round_money('statuses.collected_to_date', 'base_currency.minor_units') }} as collected_to_date,
    statuses.average_days_to_pay,
    statuses.financials_as_of,
    statuses.owner_id,
    statuses.account_name
from {{ ref('account_status') }} as statuses
left join base_currency on true
where statuses.source = 'hubspot'
