-- Rung 6: accounts that an unmatched customer may be, for a person to look at. Nothing here matches anything by itself.
-- Two names are compared only where they share a key that few accounts have, so that the work grows with the number of
-- names and not with its square.
{%- set most_accounts = 50 %}
{%- set least_score = 0.8 %}
{%- set consonants = 'bcdfgjklmnpqrstvxz' %}
{%- set skeleton = namespace(of='') %}
{%- set skeleton.of = "substring(item, 1, 1) || " ~ without_pattern("substring(item, 2)", "[aeiouyhw]") %}
{%- for letter in consonants %}
    {%- set skeleton.of = "replace(" ~ skeleton.of ~ ", '" ~ letter * 2 ~ "', '" ~ letter ~ "')" %}
{%- endfor %}
with customers as (
    select
        rooted.source, rooted.customer_id, matched.account_source, rooted.plain_name, rooted.plain_legal_name,
        coalesce(rooted.domain, rooted.email_domain) as domain, rooted.email_domain
    from {{ ref('int_customers__rooted') }} as rooted
    inner join {{ ref('int_customers__matched') }} as matched
        on rooted.source = matched.source and rooted.customer_id = matched.customer_id
    where rooted.is_root and matched.outcome = 'unmatched'
),

accounts as (
    select
        source, account_id, {{ normalised_name('name') }} as plain_name,
        {{ business_domain('domain') }} as domain,
        {{ business_domain(domain_of_email('email')) }} as email_domain
    from {{ ref('int_accounts__unioned') }}
),

-- A name and what it belongs to: a customer may have two, and is asked about in every CRM that does not know it.
names as (
    select 'customer' as side, account_source as crm, source, customer_id as id, plain_name as name, domain, email_domain
    from customers where plain_name is not null
    union
    select 'customer', account_source, source, customer_id, plain_legal_name, domain, email_domain
    from customers where plain_legal_name is not null
    union
    select 'account', source, source, account_id, plain_name, domain, email_domain
    from accounts where plain_name is not null
),

words as (
    {{ split_to_rows('names', ['side', 'crm', 'source', 'id', 'name'], 'name', ' ') }}
),

-- The first letter and the consonants of a word: what most misspellings leave alone.
roots as (
    select side, crm, source, id, name, item, {{ skeleton.of }} as root from words
),

spellings as (
    select side, crm, source, id, name, replace(name, ' ', '') as compact, {{ list_of('item', ' ') }} as sorted_words
    from roots
    group by side, crm, source, id, name
),

keys as (
    select side, crm, source, id, name, 'root ' || root as shared from roots
    union
    select one.side, one.crm, one.source, one.id, one.name, 'roots ' || one.root || ' ' || other.root
    from roots as one
    inner join roots as other
        on one.side = other.side and one.crm = other.crm and one.source = other.source and one.id = other.id
        and one.name = other.name and one.root < other.root
    {%- for length in [5, 9] %}
    union
    select side, crm, source, id, name, 'begins {{ length }} ' || substring(compact, 1, {{ length }}) from spellings
    union
    select side, crm, source, id, name, 'ends {{ length }} ' || right(compact, {{ length }}) from spellings
    {%- endfor %}
    union
    select side, crm, source, id, name, 'site ' || replace(name, ' ', '') from names
    union
    select side, crm, source, id, name, 'site ' || {{ without_pattern('replace(domain, \'-\', \'\')', '[.].*$') }}
    from names where domain is not null
    union
    select side, crm, source, id, name, 'domain ' || domain from names where domain is not null
    union
    select side, crm, source, id, name, 'domain ' || email_domain from names where email_domain is not null
),

rare as (
    select crm, shared
    from keys
    group by crm, shared
    having count(case when side = 'account' then 1 end) between 1 and {{ most_accounts }}
        and count(case when side = 'customer' then 1 end) > 0
),

pairs as (
    select distinct
        left_keys.crm, left_keys.source, left_keys.id as customer_id, left_keys.name as customer_name,
        right_keys.id as account_id, right_keys.name as account_name
    from keys as left_keys
    inner join rare on left_keys.crm = rare.crm and left_keys.shared = rare.shared
    inner join keys as right_keys
        on left_keys.crm = right_keys.crm and left_keys.shared = right_keys.shared and right_keys.side = 'account'
    where left_keys.side = 'customer'
),

refused as (
    select source, left_id, right_source, right_id
    from ({{ standing_decisions('match') }}) as decisions
    where verdict = 'different'
),

compared as (
    select
        pairs.crm, pairs.source, pairs.customer_id, pairs.account_id, pairs.customer_name, pairs.account_name,
        greatest(
            {{ edit_similarity('customer_spelling.compact', 'account_spelling.compact') }},
            {{ edit_similarity('customer_spelling.sorted_words', 'account_spelling.sorted_words') }},
            -- A name that the other one goes on from: 'Acme Tools' and 'Acme Tools Europe'.
            case
                when length(customer_spelling.compact) >= 5
                    and account_spelling.name like customer_spelling.name || ' %'
                    then {{ similarity('customer_spelling.compact', 'account_spelling.compact') }}
                when length(account_spelling.compact) >= 5
                    and customer_spelling.name like account_spelling.name || ' %'
                    then {{ similarity('customer_spelling.compact', 'account_spelling.compact') }}
                else 0
            end
        ) as likeness,
        case
            when customers.domain in (accounts.domain, accounts.email_domain) then customers.domain
            when customers.email_domain in (accounts.domain, accounts.email_domain) then customers.email_domain
        end as shared_domain
    from pairs
    inner join spellings as customer_spelling
        on customer_spelling.side = 'customer' and pairs.crm = customer_spelling.crm
        and pairs.source = customer_spelling.source and pairs.customer_id = customer_spelling.id
        and pairs.customer_name = customer_spelling.name
    inner join spellings as account_spelling
        on account_spelling.side = 'account' and pairs.crm = account_spelling.crm and pairs.account_id = account_spelling.id
    inner join customers
        on pairs.crm = customers.account_source and pairs.source = customers.source
        and pairs.customer_id = customers.customer_id
    inner join accounts on pairs.crm = accounts.source and pairs.account_id = accounts.account_id
),

-- A domain of their own halves what the names leave to doubt, and is worth a look whatever the names say.
scored as (
    select
        compared.*,
        cast(case
            when shared_domain is null then likeness
            else greatest({{ least_score }}, (1 + likeness) / 2)
        end as decimal(9,6)) as score
    from compared
),

best as (
    select
        scored.*,
        row_number() over (
            partition by scored.crm, scored.source, scored.customer_id, scored.account_id
            order by scored.score desc, scored.customer_name
        ) as spelling_rank
    from scored
    left join refused
        on scored.crm = refused.source and scored.account_id = refused.left_id
        and scored.source = refused.right_source and scored.customer_id = refused.right_id
    where refused.left_id is null and scored.score >= {{ least_score }}
),

ranked as (
    select
        best.*,
        row_number() over (partition by crm, source, customer_id order by score desc, account_id) as place,
        max(score) over (partition by crm, source, customer_id) as best_score
    from best
    where spelling_rank = 1
)

select
    source,
    customer_id,
    crm as account_source,
    account_id,
    case when likeness = 1 then 'same_name' when shared_domain is not null and likeness < {{ least_score }} then 'same_domain'
        else 'similar_name' end as rule,
    score,
    case
        when likeness = 1 then {{ dbt.concat(["'both are called '", 'account_name']) }}
        else {{ dbt.concat(["'called '", 'customer_name', "' and '", 'account_name']) }}
    end || coalesce({{ dbt.concat(["', both at '", 'shared_domain']) }}, '') as evidence,
    place
from ranked
where place <= 3 and score >= best_score - 0.1
