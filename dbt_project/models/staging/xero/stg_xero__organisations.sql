-- Xero quotes currencies against each organisation's own base currency.
with organisations as (
    {{ newest(source('raw_xero', 'organisations'), ['tenant_id'], []) }}
)

select
    tenant_id,
    name,
    coalesce({{ text_or_null('base_currency') }}, '{{ var("base_currency") }}') as home_currency
from organisations
