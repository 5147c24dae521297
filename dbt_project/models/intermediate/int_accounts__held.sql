-- Why an account's numbers may not be written tonight, and up to when they are known to be true.
with accounts as (
    select * from {{ ref('int_accounts__unioned') }}
),

sources as (
    select * from {{ ref('int_sources__assessed') }}
),

customers as (
    select * from {{ ref('int_customers__matched') }}
),

-- An account depends on its own CRM, on the ledgers of its customers, and on a ledger of which it stores a customer,
-- read or not. Without a customer it could have one in any ledger, so it depends on all of them.
ledgers_of_accounts as (
    select account_source, account_id, source as ledger
    from customers
    where account_id is not null
    union
    select stored.source, stored.account_id, stored.ledger
    from {{ ref('int_account_customer_ids__unioned') }} as stored
    inner join sources on stored.ledger = sources.source and sources.side = 'ledger'
    union
    select accounts.source, accounts.account_id, sources.source
    from accounts
    inner join sources on sources.side = 'ledger'
    left join customers on accounts.source = customers.account_source and accounts.account_id = customers.account_id
    where customers.customer_id is null
),

freshness as (
    select
        needed.account_source,
        needed.account_id,
        {{ list_of("case when sources.side = 'ledger' then sources.source end", ',') }} as ledgers,
        min(sources.hold_reason) as hold_reason,
        case when sum(case when sources.complete_at is null then 1 else 0 end) = 0
            then min(sources.complete_at) end as financials_as_of
    from (
        select account_source, account_id, ledger as needed_source from ledgers_of_accounts
        union all
        select source, account_id, source from accounts
    ) as needed
    inner join sources on needed.needed_source = sources.source
    group by 1, 2
),

doubted as (
    select distinct candidates.account_source, candidates.account_id
    from {{ ref('int_match_candidates__found') }} as candidates
    inner join customers
        on candidates.source = customers.source and candidates.customer_id = customers.customer_id
        and candidates.account_source = customers.account_source and candidates.rung = customers.rung
    where customers.outcome = 'ambiguous'
),

troubled_customers as (
    select source, customer_id from {{ ref('int_customers__unioned') }} where problem is not null
    union
    select source, customer_id from {{ ref('int_documents__valued') }} where problem is not null
    union
    select source, customer_id from {{ ref('int_payments__valued') }} where problem is not null
    union
    select documents.source, documents.customer_id
    from {{ ref('int_documents__unioned') }} as documents
    inner join {{ ref('int_document_lines__unioned') }} as lines
        on documents.source = lines.source and documents.document_type = lines.document_type
        and documents.document_id = lines.document_id
    where lines.problem is not null
    -- An application touches whom it settles, and whose money or credit it is.
    union
    select documents.source, documents.customer_id
    from {{ ref('int_documents__unioned') }} as documents
    inner join {{ ref('int_applications__unioned') }} as applications
        on documents.source = applications.source and (
            (documents.document_type = applications.document_type and documents.document_id = applications.document_id)
            or (documents.document_type = applications.applied_type and documents.document_id = applications.applied_id))
    where applications.problem is not null
    union
    select payments.source, payments.customer_id
    from {{ ref('int_payments__unioned') }} as payments
    inner join {{ ref('int_applications__unioned') }} as applications
        on payments.source = applications.source and applications.applied_type = 'payment'
        and payments.payment_id = applications.applied_id
    where applications.problem is not null
),

-- Where the ledger contradicts itself, or holds what is not read, what is collected and what is open is known to be wrong.
contradicted as (
    select account_source, account_id, {{ list_of('sentence', '; ') }} as sentence
    from (
        select
            customers.account_source,
            customers.account_id,
            {{ dbt.concat(["found.source", "' contradicts itself on '", "replace(found.object, '_', ' ')", "' '",
                "coalesce(found.number, found.record_id)", "': '", "found.message"]) }} as sentence
        from {{ ref('int_contradictions__found') }} as found
        inner join customers on found.source = customers.source and found.customer_id = customers.customer_id
        where customers.account_id is not null
        union all
        select
            customers.account_source,
            customers.account_id,
            {{ dbt.concat(["missing.source", "' has '", money_text('missing.amount'), "' '", "missing.currency",
                "' on receivables that is not counted ('", "missing.entity", "' '", "coalesce(missing.record_id, 'without an id')", "')'"]) }}
        from {{ ref('int_not_read__unioned') }} as missing
        inner join customers on missing.source = customers.source and missing.customer_id = customers.customer_id
        where customers.account_id is not null and missing.amount <> 0
    ) as differences
    group by 1, 2
),

-- An amount that cannot be converted is missing from every sum of its account.
unconverted as (
    select customers.account_source, customers.account_id
    from (
        select source, customer_id from {{ ref('int_documents__valued') }}
        where is_counted and (rate is null or gross <> 0 and gross_base is null)
        union
        select source, customer_id from {{ ref('int_payments__valued') }}
        where is_counted and (rate is null or amount <> 0 and amount_base is null)
    ) as amounts
    inner join customers on amounts.source = customers.source and amounts.customer_id = customers.customer_id
    where customers.account_id is not null
    group by 1, 2
),

-- Where the ledger's own report of the day says something else, nobody knows which of the two is true. Only the
-- accounts of these customers are left as they were; a difference of the ledger's total alone names nobody.
untied as (
    select account_source, account_id, {{ list_of('sentence', '; ') }} as sentence
    from (
        select
            customers.account_source,
            customers.account_id,
            {{ dbt.concat(["tied.source", "' does not tie out: its own report of " ~ time_of_night('as_of', '1970-01-01') ~ " has '",
                "coalesce(" ~ dbt.cast("cast(tied.stated_total as decimal(28,2))", "varchar") ~ ", 'no readable amount')",
                "' " ~ var('base_currency') ~ " for '",
                "coalesce(tied.customer_name, named.name, tied.customer_id)", "', its documents add up to '",
                dbt.cast("cast(tied.net_outstanding as decimal(28,2))", "varchar"),
                "coalesce(', a difference of ' || " ~ dbt.cast("cast(tied.difference as decimal(28,2))", "varchar")
                    ~ ", '')"]) }} as sentence
        from {{ ref('int_receivables__tied') }} as tied
        inner join customers on tied.source = customers.source and tied.customer_id = customers.customer_id
        left join {{ ref('int_customers__unioned') }} as named
            on tied.source = named.source and tied.customer_id = named.customer_id
        where not tied.total_ties and not tied.is_revalued and customers.account_id is not null
    ) as differences
    group by 1, 2
),

troubled as (
    select source as account_source, account_id from accounts where problem is not null
    union
    -- Nobody knows when a deal was won that has no day that can be meant, nor whether it was in a stage that nobody enumerated.
    select source, account_id
    from {{ ref('int_deals__unioned') }}
    where problem is not null and account_id is not null and ((is_won and close_date is null) or stage like 'unknown: %')
    union
    select customers.account_source, customers.account_id
    from troubled_customers
    inner join customers
        on troubled_customers.source = customers.source
        and troubled_customers.customer_id = customers.customer_id
    where customers.account_id is not null
)

select
    accounts.source,
    accounts.account_id,
    case
        when freshness.hold_reason is not null then freshness.hold_reason
        when doubted.account_id is not null then 'customer match is not certain'
        when troubled.account_id is not null then 'a record behind these numbers has a data problem'
        when unconverted.account_id is not null then 'an amount in another currency has no rate'
        when contradicted.account_id is not null then contradicted.sentence
        when untied.account_id is not null then untied.sentence
    end as hold_reason,
    freshness.ledgers as sources,
    freshness.financials_as_of
from accounts
left join freshness
    on accounts.source = freshness.account_source and accounts.account_id = freshness.account_id
left join doubted on accounts.source = doubted.account_source and accounts.account_id = doubted.account_id
left join troubled on accounts.source = troubled.account_source and accounts.account_id = troubled.account_id
left join unconverted
    on accounts.source = unconverted.account_source and accounts.account_id = unconverted.account_id
left join contradicted
    on accounts.source = contradicted.account_source and accounts.account_id = contradicted.account_id
left join untied on accounts.source = untied.account_source and accounts.account_id = untied.account_id
