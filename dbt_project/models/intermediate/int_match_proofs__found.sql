-- Rungs 4 and 5: what an e-mail or a domain proves once it is asked against the names. Two legal forms are two companies:
-- such a pair is not here at all, whatever else agrees. `shared_by` above 1 makes a question of what is no proof by itself: an
-- address or domain of several, or a name that another company bears as well or better.
with heads as (
    select * from {{ ref('int_customers__rooted') }} where is_root
),

accounts as (
    select
        source,
        account_id,
        {{ business_domain('domain') }} as domain,
        {{ normalised_name('name') }} as plain_name,
        {{ legal_form('name') }} as legal_form,
        {{ normalised_email('email') }} as email
    from {{ ref('int_accounts__unioned') }}
),

names as (
    select 'customer' as side, source, customer_id as id, plain_name as name from heads where plain_name is not null
    union
    select 'customer', source, customer_id, plain_legal_name from heads where plain_legal_name is not null
    union
    select 'account', source, account_id, plain_name from accounts where plain_name is not null
),

words as (
    {{ split_to_rows('names', ['side', 'source', 'id', 'name'], 'name', ' ') }}
),

sizes as (
    select side, source, greatest(5, count(distinct id) / 200) as most from names group by side, source
),

-- By this a word of both names tells something: few others have it, in either list.
uncommon as (
    select words.side, words.source, words.id, words.item
    from words
    inner join (
        select side, source, item, count(distinct id) as id_count from words group by side, source, item
    ) as counted on words.side = counted.side and words.source = counted.source and words.item = counted.item
    inner join sizes on words.side = sizes.side and words.source = sizes.source
    where counted.id_count <= sizes.most and length(words.item) >= 3 and words.item not in ('{{ common_words() | join("', '") }}')
),

shared_words as (
    select
        one.source, one.id as customer_id, other.source as account_source, other.id as account_id, min(one.item) as word
    from uncommon as one
    inner join uncommon as other on one.item = other.item and other.side = 'account'
    where one.side = 'customer'
    group by 1, 2, 3, 4
),

-- The same name and no other form, of records that are not at two different sites: 3 with the same form or both without
-- one, 2 with a form on one side only.
named as (
    select distinct
        heads.source, heads.customer_id, heads.legal_form as customer_form,
        accounts.source as account_source, accounts.account_id, accounts.legal_form as account_form, accounts.plain_name,
        case when heads.legal_form is not distinct from accounts.legal_form then 3 else 2 end as nearness,
        case when accounts.domain in (heads.domain, heads.email_domain) then accounts.domain end as domain
    from names
    inner join heads on names.source = heads.source and names.id = heads.customer_id
    inner join accounts on names.name = accounts.plain_name
    where names.side = 'customer' and coalesce(heads.legal_form = accounts.legal_form, true)
        and coalesce(accounts.domain in (heads.domain, heads.email_domain), heads.domain is null or accounts.domain is null)
),

emails_of_accounts as (
    select source, account_id, email
    from accounts
    where email is not null
    union
    select contacts.source, contacts.account_id, {{ normalised_email('contacts.email') }}
    from {{ ref('int_contacts__unioned') }} as contacts
    inner join accounts on contacts.source = accounts.source and contacts.account_id = accounts.account_id
    where {{ normalised_email('contacts.email') }} is not null
),

-- One company may be a customer of two ledgers and an account of two CRMs: what is shared is shared within one of them.
holders as (
    select 'customer' as side, source, email as shared, count(*) as holder_count
    from heads where email is not null group by source, email
    union all
    select 'account', source, email, count(*) from emails_of_accounts group by source, email
    union all
    select 'customer', source, domain, count(distinct customer_id)
    from (select source, customer_id, domain from heads union select source, customer_id, email_domain from heads) as sites
    where domain is not null group by source, domain
    union all
    select 'account', source, domain, count(*) from accounts where domain is not null group by source, domain
),

pairs as (
    select
        heads.source, heads.customer_id, accounts.source as account_source, accounts.account_id, 4 as rung,
        coalesce(named.nearness, 1) as nearness, heads.legal_form as customer_form, accounts.legal_form as account_form,
        heads.email as shared,
        -- Where the names prove nothing, the domain has to be the account's alone.
        case when shared_words.word is null and named.nearness is null then heads.email_domain end as own_domain,
        {{ dbt.concat(["'both use '", 'heads.email']) }} || case
            when named.nearness is not null then {{ dbt.concat(["', and both are '", 'named.plain_name']) }}
            when shared_words.word is not null then {{ dbt.concat(["', and both names have '", 'shared_words.word']) }}
            else ', at the domain of the account'
        end as evidence
    from heads
    inner join emails_of_accounts on heads.email = emails_of_accounts.email
    inner join accounts
        on emails_of_accounts.source = accounts.source and emails_of_accounts.account_id = accounts.account_id
    left join named
        on heads.source = named.source and heads.customer_id = named.customer_id
        and accounts.source = named.account_source and accounts.account_id = named.account_id
    left join shared_words
        on heads.source = shared_words.source and heads.customer_id = shared_words.customer_id
        and accounts.source = shared_words.account_source and accounts.account_id = shared_words.account_id
    where coalesce(heads.legal_form = accounts.legal_form, true)
        and (named.nearness is not null or shared_words.word is not null or heads.email_domain = accounts.domain)

    union all

    select
        source, customer_id, account_source, account_id, 5, nearness, customer_form, account_form, null, null,
        {{ dbt.concat(["'both are '", 'plain_name', "' at '", 'domain']) }}
    from named
    where domain is not null
    -- The one with the same form is it, and leaves no question about the one without.
    qualify nearness = max(nearness) over (partition by source, customer_id, account_source)
),

rivals as (
    select distinct pairs.source, pairs.customer_id, pairs.account_source, pairs.account_id, pairs.rung
    from pairs
    inner join named
        on pairs.account_source = named.account_source and pairs.source = named.source and pairs.customer_id = named.customer_id
        and pairs.account_id <> named.account_id
    where named.nearness > pairs.nearness
        or (pairs.nearness = 2 and named.nearness = 2 and named.account_form is distinct from pairs.account_form)
    union
    select distinct pairs.source, pairs.customer_id, pairs.account_source, pairs.account_id, pairs.rung
    from pairs
    inner join named
        on pairs.account_source = named.account_source and pairs.account_id = named.account_id
        and (pairs.source <> named.source or pairs.customer_id <> named.customer_id)
    where (named.nearness > pairs.nearness and pairs.source = named.source)
        or (pairs.nearness = 2 and named.nearness = 2 and named.customer_form is distinct from pairs.customer_form)
)

select
    pairs.source,
    pairs.customer_id,
    pairs.account_source,
    pairs.account_id,
    pairs.rung,
    case pairs.rung when 4 then 'email' else 'domain_and_name' end as rule,
    pairs.evidence || case
        when rivals.rung is not null then '; another company has this name too, or one that is nearer'
        when pairs.nearness = 2
            then {{ dbt.concat(["'; only one of the names has a legal form, '", 'coalesce(pairs.customer_form, pairs.account_form)']) }}
        else ''
    end as evidence,
    cast(greatest(
        case when rivals.rung is not null then 2 else 1 end,
        coalesce(max(holders.holder_count), 1)
    ) as bigint) as shared_by
from pairs
left join holders
    on holders.shared in (pairs.shared, pairs.own_domain)
    and ((holders.side = 'customer' and holders.source = pairs.source)
        or (holders.side = 'account' and holders.source = pairs.account_source))
left join rivals
    on pairs.source = rivals.source and pairs.customer_id = rivals.customer_id and pairs.rung = rivals.rung
    and pairs.account_source = rivals.account_source and pairs.account_id = rivals.account_id
group by pairs.source, pairs.customer_id, pairs.account_source, pairs.account_id, pairs.rung, pairs.evidence, pairs.nearness,
    pairs.customer_form, pairs.account_form, rivals.rung
