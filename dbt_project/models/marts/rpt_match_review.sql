with customers as (
    select rooted.*, matched.account_source, matched.outcome, matched.rung
    from {{ ref('int_customers__rooted') }} as rooted
    inner join {{ ref('int_customers__matched') }} as matched
        on rooted.source = matched.source and rooted.customer_id = matched.customer_id
),

accounts as (
    select source, account_id, name, url from {{ ref('int_accounts__unioned') }}
),

documents as (
    select * from {{ ref('int_documents__valued') }}
),

owed as (
    select
        source,
        customer_id,
        {{ total("case when document_type = 'invoice' and is_open then open_base end") }} as open_base
    from documents
    group by 1, 2
),

questions as (
    select
        candidates.source, candidates.customer_id, candidates.account_source, candidates.account_id,
        candidates.rung, candidates.rule, candidates.evidence, cast(null as decimal(9,6)) as score
    from {{ ref('int_match_candidates__found') }} as candidates
    inner join customers
        on candidates.source = customers.source and candidates.customer_id = customers.customer_id
        and candidates.account_source = customers.account_source and candidates.rung = customers.rung
    where customers.outcome = 'ambiguous'
    union all
    select source, customer_id, account_source, account_id, 6, rule, evidence, score
    from {{ ref('int_match_suggestions__scored') }}
)

select
    'match' as kind,
    questions.account_source as source,
    questions.account_id as left_id,
    accounts.name as left_name,
    questions.source as right_source,
    questions.customer_id as right_id,
    customers.name as right_name,
    cast(questions.rung as bigint) as rung,
    questions.rule,
    questions.evidence,
    questions.score,
    questions.rung = 6 as is_suggestion,
    owed.open_base as amount_base,
    accounts.url as left_url,
    customers.url as right_url
from questions
inner join {{ ref('int_customers__rooted') }} as customers
    on questions.source = customers.source and questions.customer_id = customers.customer_id
inner join accounts on questions.account_source = accounts.source and questions.account_id = accounts.account_id
left join owed on questions.source = owed.source and questions.customer_id = owed.customer_id

union all

select
    'link',
    links.deal_source,
    links.deal_id,
    deals.name,
    links.source,
    links.document_id,
    documents.document_type || ' ' || coalesce(documents.number, documents.document_id),
    cast(links.rung as bigint),
    links.rule,
    links.evidence,
    links.score,
    links.is_suggestion,
    documents.net_base,
    deals.url,
    documents.url
from (
    select source, document_type, document_id, deal_source, deal_id, rung, rule, evidence,
        cast(null as decimal(9,6)) as score, false as is_suggestion
    from {{ ref('int_documents__linked') }}
    where outcome = 'question'
    union all
    select source, document_type, document_id, deal_source, deal_id, 4, rule, evidence, score, true
    from {{ ref('int_link_suggestions__found') }}
) as links
inner join {{ ref('int_deals__contracted') }} as deals
    on links.deal_source = deals.source and links.deal_id = deals.deal_id
inner join documents
    on links.source = documents.source and links.document_type = documents.document_type
    and links.document_id = documents.document_id
