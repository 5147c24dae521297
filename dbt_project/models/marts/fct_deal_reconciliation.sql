{#- A tolerance per document, and at least one: what many roundings can add up to. -#}
{%- set margin -%} {{ var('tolerance') }} * greatest(document_count, 1) {%- endset -%}
with compared as (
    select * from {{ ref('int_deals__compared') }}
),

-- The first cause that proves the difference is the main one. The ladder is total.
judged as (
    select
        compared.*,
        case
            when in_other_currency then 'other_currency'
            when contracted is null or has_unread_document then 'unexplained'
            when variance = 0 then null
            when {{ within('variance', '0', margin) }} then 'rounding'
            when invoice_count = 0 and bills_later then 'scheduled'
            when invoice_count = 0 then 'not_invoiced'
            when not {{ within('tax', '0', var('tolerance')) }} and {{ within('variance', '-tax', margin) }}
                then 'tax_in_contract'
            when duplicate_net is not null then 'duplicate_invoice'
            when credited > 0 and {{ within('variance', '-credited', margin) }} then 'credit_note'
            when discount < 0 and {{ within('variance', 'discount', margin) }} then 'discount'
            -- An instalment is the same product in a smaller quantity: a schedule that fits to the cent comes first.
            when scheduled > 0 and {{ within('variance', '-scheduled', margin) }} then 'scheduled'
            when same_products_changed and {{ within('variance', 'product_difference', margin) }}
                then 'price_or_quantity'
            when variance < 0 then 'partly_invoiced'
            else 'over_invoiced'
        end as cause
    from compared
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
    -- Two rates of two days are between a deal and an invoice of another currency: their difference in base is no variance.
    cast(case when not in_other_currency then invoiced_base - contracted_base end as decimal(28,6)) as variance_base,
    case
        when cause is null or cause = 'rounding' then 'Matched'
        when cause in ('tax_in_contract', 'credit_note', 'discount', 'scheduled') then 'Explained'
        else 'Review'
    end as status,
    cause as main_cause,
    cast(document_count as bigint) as document_count,
    document_ids,
    first_invoice_date,
    url
from judged
