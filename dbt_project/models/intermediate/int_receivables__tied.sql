-- What every ledger customer owes by its documents and payments on the business date, beside what the ledger's own
-- report of that date says. Amounts are rounded per document to the minor units in which ledgers report.
{%- set buckets = {
    'current': 'days_past_due <= 0', '1_30': 'days_past_due between 1 and 30',
    '31_60': 'days_past_due between 31 and 60', '61_90': 'days_past_due between 61 and 90',
    '91_plus': 'days_past_due > 90',
} %}
with base_currency as (
    select minor_units from {{ ref('iso_currencies') }} where code = '{{ var("base_currency") }}'
),

items as (
    select
        source, customer_id, document_type as item_type, currency, open_amount,
        {{ days_between("case when document_type = 'invoice' then due_date else issue_date end", as_of()) }}
            as days_past_due,
        case when document_type = 'invoice' then 1 else -1 end
            * {{ round_money('open_base', 'base_currency.minor_units') }} as amount
    from {{ ref('int_documents__valued') }}
    cross join base_currency
    where is_counted
    union all
    -- Credit ages from the day on which it was given. What of a refund settles nothing takes from it.
    select
        source, customer_id, 'payment', currency, unapplied_amount,
        {{ days_between('payment_date', as_of()) }},
        case payment_type when 'payment' then -1 else 1 end * {{ round_money('unapplied_base', 'base_currency.minor_units') }}
    from {{ ref('int_payments__valued') }}
    cross join base_currency
    where is_counted and payment_type in ('payment', 'refund')
),

ours as (
    select
        source,
        customer_id,
        {%- for name, days in buckets.items() %}
        {{ total("case when item_type = 'invoice' and " ~ days ~ " then amount end") }} as bucket_{{ name }},
        {{ total("case when " ~ days ~ " then amount end") }} as net_{{ name }},
        {%- endfor %}
        {{ total("case when item_type = 'credit_note' then -amount end") }} as open_credit,
        {{ total("case when item_type = 'payment' then -amount end") }} as unapplied_payments,
        {{ total('amount') }} as net_outstanding,
        -- In the currency of all that is open, where that is one: there both sides are exact.
        max(case when amount <> 0 then currency end) as own_currency,
        case when count(distinct case when amount <> 0 then currency end) = 1
            then {{ total('case when amount < 0 then -greatest(open_amount, -open_amount) else greatest(open_amount, -open_amount) end') }} end
            as own_outstanding,
        sum(case when amount <> 0 then 1 else 0 end) as item_count,
        sum(case when currency <> '{{ var("base_currency") }}' and amount <> 0 then 1 else 0 end) as converted_count,
        sum(case when amount is null and open_amount <> 0 then 1 else 0 end) as unconverted_count
    from items
    group by 1, 2
),

-- A report of another day is no control of this one.
theirs as (
    select * from {{ ref('int_control_totals__unioned') }} where report_date = {{ as_of() }}
),

-- A ledger that names no customer says that nobody owes anything only where its own total says so too.
reports as (
    select source, max(currency) as currency
    from theirs
    group by 1
    having sum(case when customer_id is not null then 1 else 0 end) > 0
        or max(case when customer_id is null then total end) = 0
),

joined as (
    select
        coalesce(ours.source, theirs.source) as source,
        coalesce(ours.customer_id, theirs.customer_id) as customer_id,
        theirs.customer_name,
        {%- for name in buckets %}
        coalesce(ours.bucket_{{ name }}, 0) as bucket_{{ name }},
        coalesce(ours.net_{{ name }}, 0) as net_{{ name }},
        theirs.bucket_{{ name }} as ledger_{{ name }},
        {%- endfor %}
        coalesce(ours.open_credit, 0) as open_credit,
        coalesce(ours.unapplied_payments, 0) as unapplied_payments,
        coalesce(ours.open_credit, 0) + coalesce(ours.unapplied_payments, 0) as unapplied_credit,
        coalesce(ours.net_outstanding, 0) as net_outstanding,
        ours.own_outstanding,
        theirs.own_total,
        ours.own_currency = theirs.own_currency as has_own_balance,
        coalesce(ours.item_count, 0) as item_count,
        coalesce(ours.converted_count, 0) as converted_count,
        coalesce(ours.unconverted_count, 0) as unconverted_count,
        theirs.source is not null as is_named,
        theirs.total,
        theirs.currency
    from ours
    full outer join (select * from theirs where customer_id is not null) as theirs
        on ours.source = theirs.source and ours.customer_id = theirs.customer_id
),

compared as (
    select
        joined.*,
        reports.source is not null as has_report,
        -- A report in another currency was made with rates that it does not name.
        reports.source is not null and joined.customer_id is not null
            and coalesce(joined.currency, reports.currency) = '{{ var("base_currency") }}' as is_comparable,
        -- A customer without a line owes nothing; a line that cannot be read says nothing.
        case when joined.is_named then joined.total else 0 end as stated_total,
        base_currency.minor_units,
        -- Converting is rounded per document on both sides; in the base currency nothing is forgiven.
        case when base_currency.minor_units = 0 then 1 else {{ var('tolerance') }} end * joined.converted_count as margin
    from joined
    cross join base_currency
    left join reports on joined.source = reports.source
)

select
    compared.*,
    case when is_comparable then stated_total end as ledger_total,
    case when is_comparable then net_outstanding - stated_total end as difference,
    case when is_comparable then coalesce({{ within('net_outstanding', 'stated_total', 'margin') }}, false) end
        as total_ties,
    -- The ledger's balance in the customer's own currency is ours, so the difference is only what it is worth today.
    coalesce(is_comparable and has_own_balance and not {{ within('net_outstanding', 'stated_total', 'margin') }}
        and {{ within('own_outstanding', 'own_total', var('tolerance')) }}, false) as is_revalued,
    -- Null where the ledger gives no buckets.
    case when is_comparable and is_named then
        {%- for name in buckets %}
        {{ within('net_' ~ name, 'ledger_' ~ name, 'margin') }}{{ ' and' if not loop.last }}
        {%- endfor %}
    end as ageing_ties
from compared
