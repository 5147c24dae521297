-- The certificate: one row per customer that a ledger's own report of the business date could be compared for, and one
-- row per ledger. A ledger whose report gives no total of its own is compared with the sum of its customers.
{%- set buckets = ['current', '1_30', '31_60', '61_90', '91_plus'] %}
with ours_of_ledgers as (
    select
        source,
        sum(margin) as margin,
        sum(unconverted_count) as unconverted_count,
        sum(case when has_report and not total_ties and not coalesce(is_revalued, false) then 1 else 0 end) as differing_count,
        {{ total('net_outstanding') }} as net_outstanding,
        {{ total('case when is_revalued then difference end') }} as revaluation,
        -- What has no customer was compared with nothing.
        {{ total('coalesce(difference, net_outstanding)') }} as difference
        {%- for name in buckets %},
        {{ total('net_' ~ name) }} as net_{{ name }}
        {%- endfor %}
    from {{ ref('int_receivables__tied') }}
    group by 1
),

theirs_of_ledgers as (
    select
        source,
        min(currency) as lowest_currency,
        max(currency) as currency,
        max(case when customer_id is null then 1 else 0 end) as has_total,
        case when max(case when customer_id is null then 1 else 0 end) = 1
            then max(case when customer_id is null then total end) else sum(total) end as total
        {%- for name in buckets %},
        case when max(case when customer_id is null then 1 else 0 end) = 1
            then max(case when customer_id is null then bucket_{{ name }} end) else sum(bucket_{{ name }}) end
            as bucket_{{ name }}
        {%- endfor %}
    from {{ ref('int_control_totals__unioned') }}
    where report_date = {{ as_of() }}
    group by 1
),

ledgers as (
    select
        theirs.source,
        theirs.total,
        coalesce(ours.net_outstanding, 0) as net_outstanding,
        coalesce(ours.net_outstanding, 0) - theirs.total as difference,
        coalesce(ours.margin, 0) as margin,
        coalesce(ours.revaluation, 0) as revaluation,
        coalesce(ours.differing_count, 0) as differing_count,
        coalesce(ours.unconverted_count, 0) as unconverted_count,
        ours.difference as difference_of_customers,
        theirs.has_total,
        customers_of_ledgers.source is null and coalesce(ours.net_outstanding, 0) = 0 and theirs.total = 0 as is_empty
        {%- for name in buckets %},
        coalesce(ours.net_{{ name }}, 0) as net_{{ name }},
        theirs.bucket_{{ name }} as ledger_{{ name }}
        {%- endfor %}
    from theirs_of_ledgers as theirs
    left join ours_of_ledgers as ours on theirs.source = ours.source
    left join (
        select distinct source from {{ ref('int_customers__unioned') }}
    ) as customers_of_ledgers on theirs.source = customers_of_ledgers.source
    where theirs.lowest_currency = '{{ var("base_currency") }}' and theirs.currency = theirs.lowest_currency
),

rows_of_both as (
    select
        judged.source, 'customer' as level, judged.customer_id,
        coalesce(named.name, judged.customer_name) as customer_name,
        case when matched.account_id is not null then matched.account_source end as account_source,
        matched.account_id,
        judged.net_outstanding, judged.ledger_total, judged.difference, judged.total_ties or coalesce(judged.is_revalued, false) as total_ties,
        judged.ageing_ties,
        judged.kind, named.url
        {%- for name in buckets %}, judged.net_{{ name }}, judged.ledger_{{ name }}{% endfor %}
    from {{ ref('int_receivables__explained') }} as judged
    left join {{ ref('int_customers__unioned') }} as named
        on judged.source = named.source and judged.customer_id = named.customer_id
    left join {{ ref('int_customers__matched') }} as matched
        on judged.source = matched.source and judged.customer_id = matched.customer_id and matched.is_first
    union all
    select
        source, 'ledger', null, null, null, null, net_outstanding, total, difference,
        -- A report that could not be read says nothing, and neither does one about nothing.
        case when total is not null and not is_empty
            then differing_count = 0 and {{ within('net_outstanding - revaluation', 'total', 'margin') }} end,
        case when ledger_current is not null then
            {%- for name in buckets %}
            {{ within('net_' ~ name, 'ledger_' ~ name, 'margin') }}{{ ' and' if not loop.last }}
            {%- endfor %}
        end,
        case
            when total is null then 'not_compared'
            when is_empty then 'nothing_to_compare'
            when differing_count > 0 then 'customers'
            when {{ within('net_outstanding', 'total', 'margin') }} then null
            when {{ within('net_outstanding - revaluation', 'total', 'margin') }} then 'revaluation'
            when unconverted_count > 0 then 'currency'
            -- Every customer ties, so no document accounts for what else is in the control account.
            when has_total = 1 and {{ within('difference_of_customers', '0', 'margin') }} then 'journal'
            else 'unknown'
        end, null
        {%- for name in buckets %}, net_{{ name }}, ledger_{{ name }}{% endfor %}
    from ledgers
)

select
    source,
    level,
    customer_id,
    customer_name,
    account_source,
    account_id,
    {{ as_of() }} as report_date,
    '{{ var("base_currency") }}' as base_currency,
    cast(net_outstanding as decimal(28,6)) as ours_base,
    cast(ledger_total as decimal(28,6)) as theirs_base,
    cast(difference as decimal(28,6)) as difference,
    total_ties as is_tied,
    ageing_ties as is_ageing_tied,
    kind,
    {%- for name in buckets %}
    cast(net_{{ name }} as decimal(28,6)) as ours_{{ name }},
    cast(ledger_{{ name }} as decimal(28,6)) as theirs_{{ name }},
    {%- endfor %}
    url
from rows_of_both
