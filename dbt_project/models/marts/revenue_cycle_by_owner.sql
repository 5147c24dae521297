-- Bookings stand with the owner of the deal. Recognised revenue stands with the owner of the deal that the document bills,
-- without one with the owner of the customer's account, and in the months in which it is recognised.
with bookings as (
    select
        source,
        owner_id,
        {{ month_of('close_date') }} as month,
        contracted_base as bookings,
        cast(0 as decimal(28,6)) as recognised
    from {{ ref('fct_deal_reconciliation') }}
    where close_date is not null and contracted_base is not null
),

recognised as (
    select
        case when deals.deal_id is not null then deals.source else accounts.source end as source,
        case when deals.deal_id is not null then deals.owner_id else accounts.owner_id end as owner_id,
        recognised.month,
        cast(0 as decimal(28,6)) as bookings,
        recognised.recognised_base as recognised
    from {{ ref('int_documents__recognised') }} as recognised
    inner join {{ ref('fct_invoices') }} as documents
        on recognised.source = documents.source and recognised.document_type = documents.document_type
        and recognised.document_id = documents.document_id
    left join {{ ref('fct_deals') }} as deals
        on documents.deal_source = deals.source and documents.deal_id = deals.deal_id
    left join {{ ref('dim_accounts') }} as accounts
        on documents.account_source = accounts.source and documents.account_id = accounts.account_id
)

select
    source,
    owner_id,
    month,
    {{ total('bookings') }} as bookings,
    {{ total('recognised') }} as recognised,
    '{{ var("base_currency") }}' as base_currency
from (
    select source, owner_id, month, bookings, recognised from bookings
    union all
    select source, owner_id, month, bookings, recognised from recognised
) as sides
group by 1, 2, 3
having sum(bookings) <> 0 or sum(recognised) <> 0
