-- Memo: a rate without its source and day cannot be checked by anybody, and an amount in base has a rate.
{%- for model, key, amount in [
    ('fct_deals', 'deal_id', 'contracted_base'), ('fct_invoices', 'document_id', 'gross_base'),
    ('fct_payments', 'payment_id', 'amount_base')] %}
select '{{ model }}' as model, source, {{ key }} as record_id, rate, rate_source
from {{ ref(model) }}
where (rate is null) <> (rate_source is null) or (rate is null and {{ amount }} is not null) or rate <= 0
    or (rate_source not in ('base', 'document', 'crm') and rate_date is null)
{{ 'union all' if not loop.last }}
{%- endfor %}
