-- Spending a credit note moves no money.
with payments as (
    {{ newest(source('raw_acorn', 'payments'), ['id'], ['modified_at', 'version']) }}
),

final as (
    select
        'acorn' as source,
        id as payment_id,
        coalesce({{ enumerate('kind', {'payment': 'payment', 'refund': 'refund'}) }}, 'unknown: none') as payment_type,
        customer_id,
        payment_date,
        currency,
        {{ rate_to_base('currency', 'home_currency', 'rate') }} as rate,
        null as rate_divisor,
        amount,
        unapplied as unapplied_amount,
        null as reference_text,
        url,
        modified_at,
        _problem as problem
    from payments
    where coalesce(kind, 'none') <> 'credit'
)

{{ canonical_select('payments', 'final') }}
