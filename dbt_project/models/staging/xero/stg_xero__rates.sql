-- Xero has no list of rates, but each record in a foreign currency says the one of its day. Where records of one day
-- disagree, the one that changed last counts.
with quoted as (
    {%- for table, day in [
        ('invoices', 'issue_date'), ('credit_notes', 'issue_date'), ('payments', 'payment_date'),
        ('overpayments', 'payment_date'), ('prepayments', 'payment_date')] %}
    select id, tenant_id, {{ text_or_null('currency') }} as currency, {{ day }} as rate_date, currency_rate, status,
        modified_at
    from ({{ newest(source('raw_xero', table), ['id']) }}) as {{ table }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

ranked as (
    select
        quoted.currency,
        organisations.home_currency,
        quoted.rate_date,
        quoted.currency_rate,
        row_number() over (
            partition by quoted.currency, organisations.home_currency, quoted.rate_date
            order by quoted.modified_at desc nulls last, quoted.id
        ) as _rank
    from quoted
    inner join {{ ref('stg_xero__organisations') }} as organisations on quoted.tenant_id = organisations.tenant_id
    where quoted.currency <> organisations.home_currency and quoted.currency_rate > 0
        and quoted.rate_date is not null and coalesce(quoted.status, 'none') not in ('DELETED', 'VOIDED')
),

final as (
    select
        'xero' as source,
        currency as from_currency,
        home_currency as to_currency,
        1 as rate,
        currency_rate as rate_divisor,
        rate_date
    from ranked
    where _rank = 1
)

{{ canonical_select('rates', 'final') }}
