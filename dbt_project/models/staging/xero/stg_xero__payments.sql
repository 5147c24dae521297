-- A payment is in the currency of what it pays, and of the same contact where it names none.
with targets as (
    {%- for table in ['invoices', 'credit_notes', 'overpayments', 'prepayments'] %}
    select id as target_id, contact_id, currency
    from ({{ newest(source('raw_xero', table), ['id']) }}) as {{ table }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

receipts as (
    select
        receipts.*,
        coalesce(receipts.contact_id, targets.contact_id) as customer_id,
        coalesce(organisations.home_currency, '{{ var("base_currency") }}') as home_currency,
        coalesce(receipts.currency, {{ text_or_null('targets.currency') }}, organisations.home_currency,
            '{{ var("base_currency") }}') as paid_currency
    from {{ ref('stg_xero__receipts') }} as receipts
    left join {{ ref('stg_xero__organisations') }} as organisations on receipts.tenant_id = organisations.tenant_id
    left join targets on receipts.target_id = targets.target_id
),

final as (
    select
        'xero' as source,
        receipt_id as payment_id,
        case
            when status is null or kind is null then 'unknown: none'
            when status <> 'standing' then status
            when kind like 'unknown: %' then kind
            when kind in ('invoice_paid', 'overpayment', 'prepayment') then 'payment'
            else 'refund'
        end as payment_type,
        customer_id,
        payment_date,
        paid_currency as currency,
        {{ quoted_rate('paid_currency', 'home_currency', 'currency_rate') }},
        amount,
        remaining as unapplied_amount,
        reference as reference_text,
        url,
        modified_at,
        _problem as problem
    from receipts
)

{{ canonical_select('payments', 'final') }}
