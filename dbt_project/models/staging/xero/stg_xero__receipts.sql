-- What says that money moved: payments, and the overpayments and prepayments that came in without an invoice. Deleted
-- and voided ones stay in Xero's lists, with nothing but their status to tell. `target_id` is the invoice, credit
-- note, overpayment or prepayment that a payment is for: Xero names a credit note in the place of the invoice too.
with payments as (
    {{ newest(source('raw_xero', 'payments'), ['id']) }}
),

overpayments as (
    {{ newest(source('raw_xero', 'overpayments'), ['id']) }}
),

prepayments as (
    {{ newest(source('raw_xero', 'prepayments'), ['id']) }}
),

receipts as (
    select
        id as receipt_id,
        tenant_id,
        {{ enumerate('payment_type', {
            'ACCRECPAYMENT': 'invoice_paid', 'ARCREDITPAYMENT': 'credit_note_refunded',
            'AROVERPAYMENTPAYMENT': 'overpayment_refunded', 'ARPREPAYMENTPAYMENT': 'prepayment_refunded'
        }) }} as kind,
        {{ enumerate('status', {'AUTHORISED': 'standing', 'DELETED': 'void'}) }} as status,
        coalesce(
            case when payment_type = 'ACCRECPAYMENT' then {{ text_or_null('invoice_id') }} end,
            {{ text_or_null('credit_note_id') }}, {{ text_or_null('overpayment_id') }},
            {{ text_or_null('prepayment_id') }}, {{ text_or_null('invoice_id') }}
        ) as target_id,
        {{ text_or_null('contact_id') }} as contact_id,
        payment_date,
        {{ text_or_null('currency') }} as currency,
        currency_rate,
        amount,
        cast(0 as decimal(28,6)) as remaining,
        reference,
        cast(null as varchar) as url,
        cast(null as varchar) as version,
        modified_at,
        _problem
    from payments
    {%- for table in ['overpayments', 'prepayments'] %}
    union all
    select
        id, tenant_id, '{{ table[:-1] }}',
        {{ enumerate('status', {'AUTHORISED': 'standing', 'PAID': 'standing', 'VOIDED': 'void', 'DELETED': 'void'}) }},
        null, {{ text_or_null('contact_id') }}, payment_date, {{ text_or_null('currency') }}, currency_rate, total,
        -- Status decides what is left, not the amount beside it.
        case when status = 'PAID' then 0 else remaining_credit end,
        null, url, version, modified_at, _problem
    from {{ table }}
    {%- endfor %}
)

select * from receipts where coalesce(status, 'unknown: none') <> 'void'
