{#- The only table that remembers: a night replaces its own rows, and a full refresh of the others leaves it alone. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='as_of',
    on_schema_change='append_new_columns',
    full_refresh=false,
) }}
select
    as_of,
    source,
    account_id,
    account_name,
    financial_status,
    days_overdue,
    total_outstanding,
    overdue_amount,
    overdue_invoices,
    unapplied_credit,
    credit_status,
    invoiced_to_date,
    collected_to_date,
    financials_as_of,
    hold_reason,
    {{ known_at() }} as known_at
from {{ ref('account_status') }}
