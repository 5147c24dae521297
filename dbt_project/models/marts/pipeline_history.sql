{#- As account_status_history: a night replaces its own rows and leaves those of other nights alone. -#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='as_of',
    on_schema_change='append_new_columns',
    full_refresh=false,
) }}
select
    {{ as_of() }} as as_of,
    cast(count(deal_id) as bigint) as open_deals,
    {{ known_total('contracted_base') }} as pipeline_amount,
    {{ known_total('cast(contracted_base * coalesce(probability, 0) as decimal(28,6))') }} as pipeline_weighted,
    cast(count(deal_id) - count(contracted_base) as bigint) as deals_without_amount,
    '{{ var("base_currency") }}' as base_currency,
    {{ known_at() }} as known_at
from {{ ref('fct_deals') }}
where not is_closed
