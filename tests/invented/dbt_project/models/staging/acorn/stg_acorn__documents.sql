with documents as (
    {%- for document_type, due_date, refunded_amount in [
        ('invoice', 'coalesce(due_date, ' ~ add_days('issue_date', 'terms_days') ~ ')', '0'),
        ('credit_note', 'null', 'refunded_amount')] %}
    select
        '{{ document_type }}' as document_type, id, number, customer_id, status, sent, issue_date,
        {{ due_date }} as due_date, currency, home_currency, rate, net, tax, total, open_amount,
        {{ refunded_amount }} as refunded_amount, deal_id, memo, url, modified_at, _problem
    from ({{ newest(source('raw_acorn', document_type ~ 's'), ['id'], ['modified_at', 'version']) }}) as {{ document_type }}s
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

final as (
    select
        'acorn' as source,
        document_type,
        id as document_id,
        number,
        customer_id,
        coalesce({{ enumerate('status', {'issued': 'issued', 'void': 'void'}) }}, 'unknown: none') as status,
        case when sent then 'sent' else 'not_sent' end as delivery,
        issue_date,
        due_date,
        currency,
        {{ rate_to_base('currency', 'home_currency', 'rate') }} as rate,
        null as rate_divisor,
        net,
        tax,
        total as gross,
        open_amount,
        refunded_amount,
        0 as withheld,
        deal_id as deal_reference,
        memo as reference_text,
        url,
        modified_at,
        _problem as problem
    from documents
)

{{ canonical_select('documents', 'final') }}
