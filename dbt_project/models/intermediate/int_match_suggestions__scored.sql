-- Rung 6: accounts that an unmatched customer may be, for a person to look at. Nothing here matches anything by itself.
{%- set least_score = 0.8 %}
{%- set least_of_a_long_name = 0.84 %}
{%- set short_name = 8 %}
{%- set most_of_a_likeness = 0.94 %}
with customers as (
    select
        rooted.source, rooted.customer_id, matched.account_source, rooted.plain_name, rooted.plain_legal_name, rooted.name,
        rooted.legal_name, rooted.legal_form, rooted.email, coalesce(rooted.domain, rooted.email_domain) as domain, rooted.email_domain
    from {{ ref('int_customers__rooted') }} as rooted
    inner join {{ ref('int_customers__matched') }} as matched
        on rooted.source = matched.source and rooted.customer_id = matched.customer_id
    where rooted.is_root and matched.outcome = 'unmatched'
),

accounts as (
    select
        source, account_id, name, {{ normalised_name('name') }} as plain_name, {{ legal_form('name') }} as legal_form,
        {{ normalised_email('email') }} as email,
        {{ business_domain('domain') }} as domain,
        {{ business_domain(domain_of_email('email')) }} as email_domain
    from {{ ref('int_accounts__unioned') }}
),

emails_of_accounts as (
    select source, account_id, email from accounts where email is not null
    union
    select source, account_id, {{ normalised_email('email') }} from {{ ref('int_contacts__unioned') }}
),

same_mailbox as (
    select customers.account_source as crm, customers.source, customers.customer_id, held.account_id, customers.email
    from customers
    inner join emails_of_accounts as held on customers.account_source = held.source and customers.email = held.email
),

-- A name and what it belongs to: a customer may have two, and is asked about in every CRM that does not know it.
names as (
    select 'customer' as side, account_source as crm, source, customer_id as id, plain_name as name, trim(name) as written,
        domain, email_domain, email
    from customers where plain_name is not null
    union
    select 'customer', account_source, source, customer_id, plain_legal_name, trim(legal_name), domain, email_domain, email
    from customers where plain_legal_name is not null
    union
    select 'account', accounts.source, accounts.source, accounts.account_id, accounts.plain_name, trim(accounts.name), accounts.domain,
        accounts.email_domain, held.email
    from accounts
    left join emails_of_accounts as held on accounts.source = held.source and accounts.account_id = held.account_id
    where accounts.plain_name is not null
),

{{ names_worth_comparing() }},

refused as (
    select source, left_id, right_source, right_id
    from ({{ standing_matches() }}) as decisions
    where verdict = 'different'
),

compared as (
    select
        pairs.crm, pairs.source, pairs.customer_id, pairs.account_id, pairs.customer_name, pairs.account_name,
        trim(accounts.name) as account_written,
        case when trim(customers.legal_name) = trim(accounts.name) then trim(customers.legal_name) else trim(customers.name) end
            as customer_written,
        customers.legal_form as customer_form, accounts.legal_form as account_form, same_mailbox.email as shared_email,
        greatest(
            {{ edit_similarity('customer_spelling.compact', 'account_spelling.compact') }},
            {{ edit_similarity('customer_spelling.sorted_words', 'account_spelling.sorted_words') }},
            -- 'Walden' and 'Wablen': a letter that moved past a wrong one is two edits, and a third of so short a name.
            case when length(customer_spelling.compact) between 5 and {{ short_name }}
                and length(account_spelling.compact) between 5 and {{ short_name }}
                then 0.88 * {{ similarity('customer_spelling.compact', 'account_spelling.compact') }} else 0 end,
            -- Few pairs begin alike, and only of those is every word compared.
            case when substring(customer_spelling.name, 1, 1) = substring(account_spelling.name, 1, 1) then
                case when {{ abbreviates('customer_spelling.name', 'account_spelling.name') }} then 0.9 else 0 end
            else 0 end,
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
    left join same_mailbox
        on pairs.crm = same_mailbox.crm and pairs.source = same_mailbox.source
        and pairs.customer_id = same_mailbox.customer_id and pairs.account_id = same_mailbox.account_id
),

-- The name as it is written goes before the same name with the same form, that before a form on one side only, that before
-- another form, and all of them before a name that is only similar. A shared domain or mailbox halves what the names leave to
-- doubt, and is worth a look whatever they say.
scored as (
    select
        compared.*,
        cast(case
            when customer_written = account_written then 1
            when likeness = 1 then case
                when customer_form is not distinct from account_form then 0.99
                when customer_form is null or account_form is null then 0.98
                else 0.96
            end - case when customer_name = account_name then 0 else 0.015 end
            when shared_domain is null and shared_email is null then least(likeness, {{ most_of_a_likeness }})
            else least(greatest({{ least_score }}, (1 + likeness) / 2), {{ most_of_a_likeness }})
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
        -- One wrong letter leaves a short name about 0.8 alike; in a longer one that takes several.
        and (scored.score >= {{ least_of_a_long_name }} or length(scored.customer_name) <= {{ short_name }}
            or coalesce(scored.shared_domain, scored.shared_email) is not null)
),

ranked as (
    select
        best.*,
        row_number() over (
            partition by crm, source, customer_id
            order by
                score desc,
                case when shared_domain is null and shared_email is null then 1 else 0 end,
                case when customer_form is not distinct from account_form then 0
                    when customer_form is null or account_form is null then 1 else 2 end,
                account_id
        ) as place,
        max(score) over (partition by crm, source, customer_id) as best_score
    from best
    where spelling_rank = 1
)

select
    source,
    customer_id,
    crm as account_source,
    account_id,
    case
        when likeness = 1 then 'same_name'
        when likeness >= {{ least_score }} then 'similar_name'
        when shared_domain is not null then 'same_domain'
        else 'same_email'
    end as rule,
    score,
    case
        when customer_written = account_written then {{ dbt.concat(["'both are called '", 'account_written']) }}
        when likeness = 1 and customer_form <> account_form
            then {{ dbt.concat(["'same name, other legal form: '", 'customer_form', "' and '", 'account_form']) }}
        when likeness = 1 and customer_form is distinct from account_form
            then {{ dbt.concat(["'same name, only one with a legal form: '", 'coalesce(customer_form, account_form)']) }}
        when likeness = 1 then {{ dbt.concat(["'same name, written '", 'customer_written', "' and '", 'account_written']) }}
        else {{ dbt.concat(["'called '", 'customer_name', "' and '", 'account_name']) }}
            || coalesce({{ dbt.concat(["', other legal form: '", "case when customer_form <> account_form then customer_form end",
                "' and '", 'account_form']) }}, '')
    end || coalesce({{ dbt.concat(["', both at '", 'shared_domain']) }}, '')
    || coalesce({{ dbt.concat(["', same mailbox '", 'shared_email']) }}
        || case when likeness < {{ least_score }} and coalesce(customer_form = account_form, true)
            then ', names share no uncommon word' else '' end, '') as evidence,
    place
from ranked
where place <= 3 and score >= best_score - 0.1
