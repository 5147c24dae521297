{#-
  What each night knew of every document and payment, written down only when it differs from the night before. A night
  that runs again first takes back its own rows; those of other nights stay, and a full refresh leaves them alone.
-#}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    full_refresh=false,
    pre_hook="{% if is_incremental() %}delete from {{ this }} where known_at = {{ known_at() }}{% endif %}",
) }}
{%- set compared = ['status', 'dated_on', 'currency', 'rate', 'amount', 'amount_base', 'gross_base'] %}
with tonight as (
    select
        source, document_type, document_id, number, customer_id, status, issue_date as dated_on, currency,
        {{ one_rate('rate', 'rate_divisor') | trim }} as rate,
        cast(case when document_type = 'invoice' then net else -net end as decimal(28,6)) as amount,
        cast(case when document_type = 'invoice' then net_base else -net_base end as decimal(28,6)) as amount_base,
        cast(case when document_type = 'invoice' then gross_base else -gross_base end as decimal(28,6)) as gross_base
    from {{ ref('int_documents__valued') }}
    union all
    select
        source, payment_type, payment_id, null, customer_id, 'issued', payment_date, currency,
        {{ one_rate('rate', 'rate_divisor') | trim }},
        cast(case when payment_type = 'payment' then amount else -amount end as decimal(28,6)),
        cast(case when payment_type = 'payment' then amount_base else -amount_base end as decimal(28,6)),
        cast(case when payment_type = 'payment' then amount_base else -amount_base end as decimal(28,6))
    from {{ ref('int_payments__valued') }}
)
{%- if is_incremental() %},

before as (
    select *
    from (
        select
            history.*,
            row_number() over (partition by source, document_type, document_id order by known_at desc) as age
        from {{ this }} as history
        where known_at < {{ known_at() }}
    ) as versions
    where age = 1
)
{%- endif %}

select
    tonight.source,
    tonight.document_type,
    tonight.document_id,
    tonight.number,
    tonight.customer_id,
    {%- for column in compared %}
    tonight.{{ column }},
    {%- endfor %}
    {{ known_at() }} as known_at
from tonight
{%- if is_incremental() %}
left join before
    on tonight.source = before.source and tonight.document_type = before.document_type
    and tonight.document_id = before.document_id
where before.document_id is null
    {%- for column in compared %}
    or tonight.{{ column }} is distinct from before.{{ column }}
    {%- endfor %}

union all

-- What the night before knew and tonight does not is deleted; it is said once.
select
    before.source,
    before.document_type,
    before.document_id,
    before.number,
    before.customer_id,
    'deleted',
    before.dated_on,
    before.currency,
    before.rate,
    cast(0 as decimal(28,6)),
    cast(0 as decimal(28,6)),
    cast(0 as decimal(28,6)),
    {{ known_at() }}
from before
left join tonight
    on before.source = tonight.source and before.document_type = tonight.document_type
    and before.document_id = tonight.document_id
where tonight.document_id is null and before.status <> 'deleted'
{%- endif %}
