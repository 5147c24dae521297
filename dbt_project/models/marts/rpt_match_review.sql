with customers as (
    select rooted.*, matched.account_source, matched.outcome, matched.rung
    from {{ ref('int_customers__rooted') }} as rooted
    inner join {{ ref('int_customers__matched') }} as matched
        on rooted.source = matched.source and rooted.customer_id = matched.customer_id
),

unmatched as (
    select source, customer_id, account_source, plain_name
    from customers
    where outcome = 'unmatched' and is_root and plain_name is not null
),

accounts as (
    select
        source, account_id, name, url,
        {{ normalised_name('name') }} as plain_name
    from {{ ref('int_accounts__unioned') }}
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

refused as (
    select source, left_id, right_source, right_id
    from ({{ standing_decisions('match') }}) as decisions
    where verdict = 'different'
),

-- Rung 6 only suggests. Names are compared where their first three letters agree, which keeps the pairs few.
suggested as (
    select
        unmatched.source, unmatched.customer_id, accounts.source as account_source, accounts.account_id,
        case when unmatched.plain_name = accounts.plain_name then 'same_name' else 'similar_name' end as rule,
        {{ similarity('unmatched.plain_name', 'accounts.plain_name') }} as score
    from unmatched
    inner join accounts
        on unmatched.account_source = accounts.source
        and substring(unmatched.plain_name, 1, 3) = substring(accounts.plain_name, 1, 3)
    left join refused
        on accounts.source = refused.source and accounts.account_id = refused.left_id
        and unmatched.source = refused.right_source and unmatched.customer_id = refused.right_id
    where refused.left_id is null
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
    select
        source, customer_id, account_source, account_id, 6, rule,
        case when rule = 'same_name' then 'same name without its legal form' else 'similar name' end, score
    from suggested
    where score >= 0.9
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
    null,
    false,
    documents.net_base,
    deals.url,
    documents.url
from {{ ref('int_documents__linked') }} as links
inner join {{ ref('int_deals__contracted') }} as deals
    on links.deal_source = deals.source and links.deal_id = deals.deal_id
inner join documents
    on links.source = documents.source and links.document_type = documents.document_type
    and links.document_id = documents.document_id
where links.outcome = 'question'
