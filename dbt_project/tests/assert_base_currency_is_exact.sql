-- Memo: in the base currency there is nothing to convert, so amounts stay what they are, to the unit in which they are paid.
{%- set unit = base_unit() / 1000000 %}
select source, document_id as record_id, gross_amount as amount, gross_base as amount_base
from {{ ref('fct_invoices') }}
where currency = '{{ var("base_currency") }}'
    and ({{ in_base('gross_amount', '1') }} is distinct from gross_base
        or {{ in_base('open_amount', '1') }} is distinct from open_base
        or not {{ within('net_amount', 'net_base', unit) }})
union all
select source, payment_id, amount, amount_base
from {{ ref('fct_payments') }}
where currency = '{{ var("base_currency") }}'
    and ({{ in_base('amount', '1') }} is distinct from amount_base
        or {{ in_base('unapplied_amount', '1') }} is distinct from unapplied_base)
union all
select source, deal_id, contracted_amount, contracted_base
from {{ ref('fct_deals') }}
where currency = '{{ var("base_currency") }}' and {{ in_base('contracted_amount', '1') }} is distinct from contracted_base
