-- Won deals with the main cause of their difference and their status, both read from the deal's bridge: what nobody has
-- explained comes before what is explained, the larger cause before the smaller one. A deal whose difference has no
-- number in its own currency says why instead.
{%- set rest = causes_of_the_rest() %}
{%- set proven = bridge_causes() | reject('in', rest + ['rounding']) | list %}
with judged as (
    select
        compared.*,
        case
            when compared.in_other_currency then 'other_currency'
            when compared.variance is null then 'unexplained'
            {%- for cause in rest %}
            when bridges.{{ cause }} <> 0 then '{{ cause }}'
            {%- endfor %}
            {%- for cause in proven %}
            when abs(bridges.{{ cause }}) > 0 and abs(bridges.{{ cause }}) = greatest(
                {{- "abs(bridges." ~ proven | join("), abs(bridges.") ~ ")" }}) then '{{ cause }}'
            {%- endfor %}
            when bridges.rounding <> 0 then 'rounding'
        end as main_cause,
        compared.variance is null
            {%- for cause in causes_to_review() %}
            or coalesce(bridges.{{ cause }}, 0) <> 0
            {%- endfor %} as to_review
    from {{ ref('int_deals__compared') }} as compared
    left join {{ ref('int_deal_bridges__proven') }} as bridges
        on compared.source = bridges.source and compared.deal_id = bridges.deal_id
)

select
    source,
    deal_id,
    name,
    account_id,
    owner_id,
    close_date,
    currency,
    cast(contracted as decimal(28,6)) as contracted_amount,
    cast(invoiced as decimal(28,6)) as invoiced_amount,
    cast(collected as decimal(28,6)) as collected_amount,
    cast(invoiced - contracted as decimal(28,6)) as variance_amount,
    cast(contracted_base as decimal(28,6)) as contracted_base,
    cast(invoiced_base as decimal(28,6)) as invoiced_base,
    cast(collected_base as decimal(28,6)) as collected_base,
    cast(invoiced_base - contracted_base as decimal(28,6)) as variance_base,
    case
        when main_cause is null or main_cause = 'rounding' then 'Matched'
        when to_review then 'Review'
        else 'Explained'
    end as status,
    main_cause,
    cast(document_count as bigint) as document_count,
    document_ids,
    first_invoice_date,
    url
from judged
