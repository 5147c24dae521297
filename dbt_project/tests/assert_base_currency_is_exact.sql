-- Memo: in the base currency there is nothing to convert, so amounts keep every digit.
select source, document_id as record_id, gross_amount, gross_base
from {{ ref('fct_invoices') }}
where currency = '{{ var("base_currency") }}'
    and (gross_amount is distinct from gross_base or net_amount is distinct from net_base
        or open_amount is distinct from open_base)
union all
select source, payment_id, amount, amount_base
from {{ ref('fct_payments') }}
where currency = '{{ var("base_currency") }}'
    and (amount is distinct from amount_base or unapplied_amount is distinct from unapplied_base)
union all
select source, deal_id, contracted_amount, contracted_base
from {{ ref('fct_deals') }}
where currency = '{{ var("base_currency") }}' and contracted_amount is distinct from contracted_base
