-- What bills the deals that differ from their invoices, in the deal's currency: the linked documents, and the drafts that
-- name the deal. A document in another currency counts at the rates of its day.
with deals as (
    select source, deal_id, currency, rate, rate_divisor
    from {{ ref('int_deals__compared') }}
    where contracted is not null and variance is distinct from 0
        and (variance is not null or (contracted_base is not null and invoiced_base is not null))
),

documents as (
    select
        deals.source as deal_source, deals.deal_id, deals.currency as deal_currency, deals.rate as deal_rate,
        deals.rate_divisor as deal_rate_divisor, false as is_draft,
        valued.source, valued.document_type, valued.document_id, valued.issue_date, valued.currency, valued.rate,
        valued.rate_divisor, valued.net, valued.tax, valued.problem
    from deals
    inner join {{ ref('int_documents__linked') }} as links
        on deals.source = links.deal_source and deals.deal_id = links.deal_id and links.outcome = 'linked'
    inner join {{ ref('int_documents__valued') }} as valued
        on links.source = valued.source and links.document_type = valued.document_type
        and links.document_id = valued.document_id

    union all

    select
        deals.source, deals.deal_id, deals.currency, deals.rate, deals.rate_divisor, true,
        valued.source, valued.document_type, valued.document_id, valued.issue_date, valued.currency, valued.rate,
        valued.rate_divisor, valued.net, valued.tax, valued.problem
    from {{ ref('int_documents__valued') }} as valued
    inner join deals on valued.deal_reference = deals.deal_id
    where valued.status in ('draft', 'pending_approval') and valued.document_type = 'invoice' and valued.net is not null
        and (valued.currency = deals.currency or valued.net_base is not null)
),

quotes as (
    select
        source,
        from_currency,
        rate,
        rate_divisor,
        rate_date,
        lead(rate_date) over (partition by source, from_currency order by rate_date) as next_date
    from {{ ref('int_rates__unioned') }} as unioned
    where to_currency = '{{ var("base_currency") }}' and {{ is_rate('unioned') }} and rate_date is not null
),

providers as (
    {{ rate_providers() }}
),

-- Base units per unit of the deal's currency on the document's day, at the first rate that anybody has of it. Without one
-- the rate of the close stands in, so that nothing is called an effect of rates which is not one.
foreign_documents as (
    select
        documents.*,
        case
            when documents.deal_currency = '{{ var("base_currency") }}' then 1
            when quotes.rate is null then documents.deal_rate
            else quotes.rate
        end as quote_rate,
        case
            when documents.deal_currency = '{{ var("base_currency") }}' then 1
            when quotes.rate is null then documents.deal_rate_divisor
            else quotes.rate_divisor
        end as quote_divisor,
        row_number() over (
            partition by documents.deal_source, documents.deal_id, documents.source, documents.document_type,
                documents.document_id
            order by case when quotes.rate is null then 1 else 0 end, providers.place) as choice
    from documents
    left join providers on documents.deal_source = providers.source
    left join quotes
        on providers.provider = quotes.source and documents.deal_currency = quotes.from_currency
        and documents.issue_date >= quotes.rate_date
        and (documents.issue_date < quotes.next_date or quotes.next_date is null)
        and (providers.carried_days is null
            or {{ days_between('quotes.rate_date', 'documents.issue_date') }} <= providers.carried_days)
    where documents.currency <> documents.deal_currency
)

select
    deal_source, deal_id, source, document_type, document_id, issue_date, is_draft, problem, false as is_foreign,
    null as rate, null as rate_divisor, null as quote_rate, null as quote_divisor, net, tax
from documents
where currency = deal_currency
union all
select
    deal_source, deal_id, source, document_type, document_id, issue_date, is_draft, problem, true,
    rate, rate_divisor, quote_rate, quote_divisor,
    {{ in_deal_currency('net', 'foreign_documents') }},
    {{ in_deal_currency('tax', 'foreign_documents') }}
from foreign_documents
where choice = 1
