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
),

-- What no cause proves alone, several may prove together: then the largest of them is the main one. So it is where the
-- tax of the invoices comes to the difference by chance and the prices say that it is not in the contract.
together as (
    select
        proven.source,
        proven.deal_id,
        max(case when parts.place = 1 then parts.cause end) as cause,
        max(case
            when parts.cause in ('duplicate_invoice', 'price_or_quantity', 'awaiting_review') then 1 else 0
        end) = 1 as asks_a_person,
        max(case when parts.cause = 'tax_in_contract' then 1 else 0 end) = 1 as has_tax
    from {{ ref('int_deal_bridges__proven') }} as proven
    inner join (
        select
            largest.*,
            row_number() over (
                partition by source, deal_id order by greatest(amount, -amount) desc, place_of_cause) as place
        from (
            {%- for cause in bridge_causes()[:7] %}
            select source, deal_id, '{{ cause }}' as cause, {{ loop.index }} as place_of_cause, {{ cause }} as amount
            from {{ ref('int_deal_bridges__proven') }}
            where {{ cause }} <> 0
            {{- ' union all' if not loop.last }}
            {%- endfor %}
        ) as largest
    ) as parts on proven.source = parts.source and proven.deal_id = parts.deal_id
    where proven.not_invoiced = 0 and proven.partly_invoiced = 0 and proven.over_invoiced = 0
        and proven.unexplained = 0
    group by 1, 2
),

concluded as (
    select
        judged.*,
        coalesce(together.asks_a_person, false) as asks_a_person,
        coalesce(together.cause, judged.cause) as main_cause
    from judged
    left join together
        on judged.source = together.source and judged.deal_id = together.deal_id
        and (judged.cause in ('not_invoiced', 'partly_invoiced', 'over_invoiced')
            or (judged.cause = 'tax_in_contract' and not together.has_tax))
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
        when main_cause in ('tax_in_contract', 'credit_note', 'discount', 'scheduled') and not asks_a_person
            then 'Explained'
        else 'Review'
    end as status,
    main_cause,
    cast(document_count as bigint) as document_count,
    document_ids,
    first_invoice_date,
    url
from concluded
