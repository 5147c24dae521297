-- What people should look at on accounts and deals: one row each.
{{ config(materialized='ephemeral') }}
with deals as (
    select * from {{ ref('int_deals__contracted') }}
),

matches as (
    select * from {{ ref('int_customers__matched') }}
),

documents as (
    select * from {{ ref('int_documents__valued') }}
),

named_invoices as (
    select
        named.source, named.deal_id, named.document_number, named.url,
        count(numbered.document_id) as invoice_count
    from {{ ref('int_deal_invoice_references__unioned') }} as named
    inner join deals on named.source = deals.source and named.deal_id = deals.deal_id
    left join (
        select
            owners.source as deal_source, owners.deal_id, documents.source, documents.document_id,
            {{ normalised_number('documents.number') | trim }} as number
        from documents
        inner join matches on documents.source = matches.source and documents.customer_id = matches.customer_id
        inner join deals as owners
            on matches.account_source = owners.account_source and matches.account_id = owners.account_id
        where documents.is_counted and documents.document_type = 'invoice'
        union
        -- Of the account's parent or child, or of a customer who is in no account yet.
        select
            links.deal_source, links.deal_id, documents.source, documents.document_id,
            {{ normalised_number('documents.number') | trim }}
        from {{ ref('int_documents__linked') }} as links
        inner join documents
            on links.source = documents.source and links.document_type = documents.document_type
            and links.document_id = documents.document_id
        where links.rule = 'invoice_number_on_deal'
    ) as numbered
        on {{ normalised_number('named.document_number') | trim }} = numbered.number
        and named.source = numbered.deal_source and named.deal_id = numbered.deal_id
    group by 1, 2, 3, 4
),

exceptions (kind, severity, source, object, record_id, related_id, message, amount_base, url) as (
    select
        'account_without_owner', 'info', source, 'account', account_id, null, 'the account has no owner', null, url
    from {{ ref('int_accounts__unioned') }}
    where owner_id is null
    union all
    select
        'deal_without_account', 'warning', source, 'deal', deal_id, stated_account_id,
        case when stated_account_id is null then 'the deal has no company'
            else 'the company of the deal does not exist' end,
        contracted_base, url
    from deals
    where account_id is null
    union all
    select
        'deal_without_lines', 'info', source, 'deal', deal_id, null,
        'the won deal has no line items; its header amount counts', contracted_base, url
    from deals
    where is_won and line_count = 0
    union all
    select
        'deal_without_amount', 'error', source, 'deal', deal_id, null,
        'the won deal has neither an amount nor lines', null, url
    from deals
    where is_won and contracted is null and not has_problem
    union all
    select
        'deal_without_close_date', 'warning', source, 'deal', deal_id, null,
        'the deal has no close date and is in no month', contracted_base, url
    from deals
    where close_date is null
    union all
    select
        'header_differs_from_lines', 'warning', source, 'deal', deal_id, null,
        {{ dbt.concat(["'header '", dbt.cast('header_amount', 'varchar'), "', lines '",
            dbt.cast('lines_amount', 'varchar')]) }},
        {{ times_rate('lines_amount - header_amount', 'rate', 'rate_divisor') }}, url
    from deals
    where is_won and line_count > 0 and header_amount is not null
        and not {{ within('lines_amount', 'header_amount', var('tolerance')) }}
    union all
    select
        case when invoice_count = 0 then 'reference_not_found' else 'reference_ambiguous' end,
        'warning', source, 'deal', deal_id, document_number,
        {{ dbt.concat(["'the deal names invoice '", 'document_number',
            "case when invoice_count = 0 then ', which its account does not have'"
            ~ " else ', which its account has more than once' end"]) }}, null, url
    from named_invoices
    where invoice_count <> 1
    union all
    select
        'deal_to_review', 'warning', source, 'deal', deal_id, main_cause,
        {{ dbt.concat(["'invoiced and contracted differ: '", 'main_cause']) }}, variance_base, url
    from {{ ref('fct_deal_reconciliation') }}
    where status = 'Review'
    union all
    select
        'link_ambiguous', 'warning', deal_source, 'deal', deal_id, document_type || ' ' || document_id,
        {{ dbt.concat(["'a document may bill this deal ('", 'rule', "'): a person has to decide'"]) }}, null, null
    from {{ ref('int_documents__linked') }}
    where outcome = 'question'
    union all
    select
        'open_deal_without_amount', 'warning', source, 'deal', deal_id, null,
        'the open deal has neither an amount nor lines; it is in no sum of the pipeline', null, url
    from deals
    where not is_closed and contracted is null and not has_problem
    union all
    select
        'term_assumed', 'info', source, 'deal', deal_id, line_id,
        {{ dbt.concat(["'the CRM states no term for '", "coalesce(name, product_code, line_id)", "': twelve months are counted'"]) }},
        null, url
    from {{ ref('int_deal_lines__unioned') }}
    where term_assumed
)

select * from exceptions
