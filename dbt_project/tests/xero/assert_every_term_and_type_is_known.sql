-- Memo: payment terms, payment types and allocations that nobody enumerated are never taken for something else. They
-- reach no column that is checked across vendors, so the night stops here with their name.
with unknown as (
    select 'contact terms' as field, terms_kind as value, contact_id as record_id
    from {{ ref('stg_xero__contact_terms') }}
    where terms_kind like 'unknown: %'
    union all
    select 'payment type or status', payment_type, payment_id
    from {{ ref('stg_xero__payments') }}
    where payment_type like 'unknown: %'
    union all
    select 'allocation of', {{ dbt.concat(["'unknown: '", "coalesce(source_type, 'none')"]) }}, source_id
    from {{ source('raw_xero', 'allocations') }}
    where _landed_at <= {{ known_at() }}
        and coalesce(source_type, 'none') not in ('credit_note', 'overpayment', 'prepayment')
),

named as (
    select
        'xero ' || field || ' ' || value || ' (' || count(*) || ' rows, one is ' || min(record_id) || ')' as name
    from unknown
    group by field, value
),

message as (
    select 'values that nobody enumerated: ' || {{ list_of('name', '; ') }} as text
    from named
    having count(*) > 0
)

select text from message where {{ fails_with('text') }}
