-- Memo: a mart has as many rows per source as the union that it is made of, and the same money in document currency.
{%- set marts = {
    'dim_accounts': ('int_accounts__unioned', '0', '0'), 'dim_customers': ('int_customers__unioned', '0', '0'),
    'dim_owners': ('int_owners__unioned', '0', '0'), 'account_status': ('int_accounts__unioned', '0', '0'),
    'fct_deals': ('int_deals__unioned', 'header_amount', 'amount'),
    'fct_invoices': ('int_documents__unioned', 'gross_amount', 'gross'),
    'fct_payments': ('int_payments__unioned', 'amount', 'amount'),
} %}
with counted as (
    {%- for mart, (union, shown, staged) in marts.items() %}
    select '{{ mart }}' as mart, source, 1 as side, count(*) as row_count, {{ total(shown) }} as amount
    from {{ ref(mart) }} group by source
    union all
    select '{{ mart }}', source, -1, -count(*), -({{ total(staged) }}) from {{ ref(union) }} group by source
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    union all
    -- Lines count where the deal has any; the header's amount counts elsewhere.
    select 'fct_deals, lines', source, 1, 0, {{ total('lines_amount') }} from {{ ref('fct_deals') }} group by source
    union all
    select 'fct_deals, lines', lines.source, -1, 0, -({{ total('lines.amount') }})
    from {{ ref('int_deal_lines__unioned') }} as lines
    inner join {{ ref('fct_deals') }} as deals on lines.source = deals.source and lines.deal_id = deals.deal_id
    group by lines.source
    union all
    -- A customer's net outstanding is in the certificate once, and the ledger's row is the sum of them.
    select 'rpt_tie_out', source, 1, 0, {{ total("case when level = 'customer' then ours_base else -ours_base end") }}
    from {{ ref('rpt_tie_out') }}
    group by source
    having max(level) = 'ledger' and min(level) = 'customer'
    union all
    select 'rpt_tie_out', source, -1, 0, {{ total('net_outstanding') }}
    from {{ ref('int_receivables__tied') }}
    where customer_id is null and source in (
        select source from {{ ref('rpt_tie_out') }} group by 1 having max(level) = 'ledger' and min(level) = 'customer')
    group by source
)

select mart, source, sum(row_count) as rows_too_many, sum(amount) as amount_too_much
from counted
group by 1, 2
having sum(row_count) <> 0 or sum(amount) <> 0
