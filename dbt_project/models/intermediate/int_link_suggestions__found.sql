-- Rung 4: invoices that no other rung links and that a won deal may have been billed with, for a person to look at: two or
-- three that add up to what is left of the contract, one that completes it, one that is near it. Of an account's invoices
-- only the twelve nearest to the close take part, so that the sets stay few.
with linked as (
    select * from {{ ref('int_documents__linked') }}
),

documents as (
    select * from {{ ref('int_documents__valued') }} where is_counted
),

billed as (
    select
        linked.deal_source, linked.deal_id,
        {{ total("case when documents.document_type = 'invoice' then documents.net else -documents.net end") }} as net
    from linked
    inner join documents
        on linked.source = documents.source and linked.document_type = documents.document_type
        and linked.document_id = documents.document_id
    where linked.outcome = 'linked'
    group by 1, 2
),

deals as (
    select
        won.source, won.deal_id, won.account_source, won.account_id, won.currency, won.close_date,
        won.contracted - coalesce(billed.net, 0) as missing,
        billed.deal_id is not null as is_billed_in_part
    from {{ ref('int_deals__contracted') }} as won
    left join billed on won.source = billed.deal_source and won.deal_id = billed.deal_id
    where won.is_won and won.account_id is not null and won.contracted - coalesce(billed.net, 0) > {{ var('tolerance') }}
),

refused as (
    select source, left_id, right_source, right_id
    from ({{ standing_decisions('link') }}) as decisions
    where verdict = 'different'
),

near as (
    select
        deals.source as deal_source, deals.deal_id, deals.missing, deals.is_billed_in_part, deals.currency,
        documents.source, documents.document_id, coalesce(documents.number, documents.document_id) as number, documents.net,
        row_number() over (
            partition by deals.source, deals.deal_id
            order by abs({{ days_between('deals.close_date', 'documents.issue_date') }}), documents.source, documents.document_id
        ) as place
    from deals
    inner join {{ ref('int_customers__matched') }} as matched
        on deals.account_source = matched.account_source and deals.account_id = matched.account_id
    inner join documents
        on matched.source = documents.source and matched.customer_id = documents.customer_id
        and documents.document_type = 'invoice' and deals.currency = documents.currency
        and documents.issue_date >= {{ add_days('deals.close_date', -30) }}
        and documents.issue_date <= {{ add_days('deals.close_date', 90) }}
        and documents.net > 0
    left join linked
        on documents.source = linked.source and documents.document_type = linked.document_type
        and documents.document_id = linked.document_id and deals.source = linked.deal_source
    left join refused
        on deals.source = refused.source and deals.deal_id = refused.left_id
        and documents.source = refused.right_source and documents.document_id = refused.right_id
    where linked.document_id is null and refused.left_id is null
        and documents.net <= deals.missing * 1.1
),

few as (
    select * from near where place <= 12
),

-- The places of the invoices in each set that makes the missing amount, to a hundredth per invoice.
sets as (
    select deal_source, deal_id, 1 as size, place as first_place, cast(null as bigint) as second_place,
        cast(null as bigint) as third_place
    from few
    where is_billed_in_part and {{ within('net', 'missing', var('tolerance')) }}
    union all
    select one.deal_source, one.deal_id, 2, one.place, two.place, null
    from few as one
    inner join few as two
        on one.deal_source = two.deal_source and one.deal_id = two.deal_id and one.place < two.place
    where {{ within('one.net + two.net', 'one.missing', '2 * ' ~ var('tolerance')) }}
    union all
    select one.deal_source, one.deal_id, 3, one.place, two.place, three.place
    from few as one
    inner join few as two
        on one.deal_source = two.deal_source and one.deal_id = two.deal_id and one.place < two.place
    inner join few as three
        on one.deal_source = three.deal_source and one.deal_id = three.deal_id and two.place < three.place
    where {{ within('one.net + two.net + three.net', 'one.missing', '3 * ' ~ var('tolerance')) }}
),

-- The fewest invoices, and of those the ones nearest to the close.
chosen as (
    select
        sets.*,
        row_number() over (
            partition by deal_source, deal_id
            order by size, first_place + coalesce(second_place, 0) + coalesce(third_place, 0), first_place, second_place
        ) as preference
    from sets
),

members as (
    select few.*, chosen.size
    from chosen
    inner join few
        on chosen.deal_source = few.deal_source and chosen.deal_id = few.deal_id
        and few.place in (chosen.first_place, chosen.second_place, chosen.third_place)
    where chosen.preference = 1
),

told as (
    select deal_source, deal_id, {{ list_of('number') }} as numbers from members group by 1, 2
),

suggested as (
    select
        members.source, members.document_id, members.deal_source, members.deal_id, 'amounts_add_up' as rule,
        case when members.size = 1 then 'completes what is linked already: ' else {{ dbt.concat(["'invoices '", 'told.numbers',
            "' add up to '"]) }} end
        || cast(cast(members.missing as decimal(28,2)) as varchar) || ' ' || members.currency as evidence,
        cast(1 as decimal(9,6)) as score
    from members
    inner join told on members.deal_source = told.deal_source and members.deal_id = told.deal_id
    union all
    select
        few.source, few.document_id, few.deal_source, few.deal_id, 'near_amount',
        cast(cast(few.net as decimal(28,2)) as varchar) || ' of ' || cast(cast(few.missing as decimal(28,2)) as varchar)
        || ' ' || few.currency,
        cast(1 - cast(abs(few.missing - few.net) as double) / cast(few.missing as double) as decimal(9,6))
    from few
    left join told on few.deal_source = told.deal_source and few.deal_id = told.deal_id
    where told.deal_id is null and not few.is_billed_in_part
        and few.net >= few.missing * 0.9
)

select source, 'invoice' as document_type, document_id, deal_source, deal_id, rule, evidence, score from suggested
