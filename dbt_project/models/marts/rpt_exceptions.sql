{#- One branch per kind; every branch lists the same columns in the same order. -#}
{%- set none_text = "cast(null as varchar)" -%}
{%- set none_money = "cast(null as decimal(28,6))" -%}
with problems as (
    select source, 'account' as object, account_id as record_id, {{ none_text }} as part_id, problem, url
    from {{ ref('int_accounts__unioned') }}
    union all
    select source, 'contact', contact_id, null, problem, url from {{ ref('int_contacts__unioned') }}
    union all
    select source, 'owner', owner_id, null, problem, url from {{ ref('int_owners__unioned') }}
    union all
    select source, 'deal', deal_id, null, problem, url from {{ ref('int_deals__unioned') }}
    union all
    select source, 'deal', deal_id, line_id, problem, url from {{ ref('int_deal_lines__unioned') }}
    union all
    select source, 'customer', customer_id, null, problem, url from {{ ref('int_customers__unioned') }}
    union all
    select source, document_type, document_id, null, problem, url from {{ ref('int_documents__unioned') }}
    union all
    select source, document_type, document_id, cast(line_number as varchar), problem, url
    from {{ ref('int_document_lines__unioned') }}
    union all
    select source, payment_type, payment_id, null, problem, url from {{ ref('int_payments__unioned') }}
    union all
    select source, applied_type, applied_id, document_id, problem, url from {{ ref('int_applications__unioned') }}
    union all
    select source, 'control_total', customer_id, null, problem, url from {{ ref('int_control_totals__unioned') }}
),

deals as (
    select * from {{ ref('int_deals__contracted') }}
),

matches as (
    select * from {{ ref('int_customers__matched') }}
),

-- Unmatched in the CRM that answered best is unmatched in all of them.
customers as (
    select
        unioned.*,
        coalesce(matches.outcome, 'unmatched') as outcome,
        rooted.is_root,
        rooted.root_customer_id,
        rooted.has_endless_parents
    from {{ ref('int_customers__unioned') }} as unioned
    inner join {{ ref('int_customers__rooted') }} as rooted
        on unioned.source = rooted.source and unioned.customer_id = rooted.customer_id
    left join matches
        on unioned.source = matches.source and unioned.customer_id = matches.customer_id and matches.is_first
),

documents as (
    select * from {{ ref('int_documents__valued') }}
),

invoiced_by_customer as (
    select
        source,
        customer_id,
        {{ total("case when document_type = 'invoice' then net_base else -net_base end") }} as net_base
    from documents
    where is_counted
    group by 1, 2
),

numbered as (
    select
        documents.*,
        count(*) over (
            partition by documents.source, customers.root_customer_id, {{ normalised_number('documents.number') | trim }}
        ) as number_count
    from documents
    inner join customers
        on documents.source = customers.source and documents.customer_id = customers.customer_id
    where documents.document_type = 'invoice' and documents.status <> 'void' and documents.number is not null
),

lines as (
    select source, document_type, document_id, sum(amount) as amount
    from {{ ref('int_document_lines__unioned') }}
    where line_kind in ('item', 'discount')
    group by 1, 2, 3
),

-- What was applied to a document, whenever it was: the ledger's open amount knows of all of it.
applied as (
    select source, document_type, document_id, sum(amount) as amount
    from (
        select source, document_type, document_id, amount from {{ ref('int_applications__unioned') }}
        union all
        select source, 'credit_note', applied_id, amount
        from {{ ref('int_applications__unioned') }}
        where applied_type = 'credit_note'
    ) as ends
    group by 1, 2, 3
),

spent as (
    select source, applied_id as payment_id, sum(amount) as amount
    from {{ ref('int_applications__unioned') }}
    where applied_type = 'payment'
    group by 1, 2
),

stored_ids as (
    select
        stored.*,
        matches.customer_id as known_id,
        matches.outcome,
        matches.account_id as matched_account_id
    from {{ ref('int_account_customer_ids__unioned') }} as stored
    left join matches
        on stored.ledger = matches.source and stored.customer_id = matches.customer_id
        and stored.source = matches.account_source
),

-- A customer that was merged into another is gone from its ledger, or is left there inactive, without its documents.
lost_decisions as (
    select
        decisions.*,
        accounts.account_id is null as has_no_account,
        customers.customer_id is null as has_no_customer,
        accounts.url
    from ({{ standing_decisions('match') }}) as decisions
    left join {{ ref('int_accounts__unioned') }} as accounts
        on decisions.source = accounts.source and decisions.left_id = accounts.account_id
    left join {{ ref('int_customers__unioned') }} as customers
        on decisions.right_source = customers.source and decisions.right_id = customers.customer_id
    left join (select distinct source, customer_id from documents) as billed
        on decisions.right_source = billed.source and decisions.right_id = billed.customer_id
    where decisions.verdict = 'same' and (accounts.account_id is null or customers.customer_id is null
        or (not customers.active and billed.customer_id is null))
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

exceptions as (
    select
        'data_problem' as kind, 'error' as severity, source, object, record_id, part_id as related_id,
        problem as message, {{ none_money }} as amount_base, url
    from problems
    where problem is not null

    union all
    select
        'stale_source', 'error', source, 'source', source, null, hold_reason, null, null
    from {{ ref('int_sources__assessed') }}
    where hold_reason is not null

    union all
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
        'missing_rate', 'error', source, 'deal', deal_id, null,
        {{ missing_rate_message('close_date') | trim }}, null, url
    from deals
    where rate is null and contracted is not null

    union all
    select
        'missing_rate', 'error', source, document_type, document_id, null,
        {{ missing_rate_message('issue_date') | trim }}, null, url
    from documents
    where is_counted and rate is null

    union all
    select
        'missing_rate', 'error', source, payment_type, payment_id, null,
        {{ missing_rate_message('payment_date') | trim }}, null, url
    from {{ ref('int_payments__valued') }}
    where is_counted and rate is null

    union all
    select
        'customer_only_in_accounting', 'warning', customers.source, 'customer', customers.customer_id, null,
        {{ dbt.concat(["coalesce(customers.name, customers.customer_id)",
            "' belongs to no account: new customers should start in the CRM'"]) }},
        invoiced_by_customer.net_base, customers.url
    from customers
    left join invoiced_by_customer
        on customers.source = invoiced_by_customer.source
        and customers.customer_id = invoiced_by_customer.customer_id
    where customers.outcome = 'unmatched' and customers.is_root

    union all
    select
        'customer_parents_endless', 'error', customers.source, 'customer', customers.customer_id, customers.parent_id,
        {{ dbt.concat(["'the parents of '", "coalesce(customers.name, customers.customer_id)",
            "' lead to no head of a family: correct its parent in the ledger'"]) }},
        invoiced_by_customer.net_base, customers.url
    from customers
    left join invoiced_by_customer
        on customers.source = invoiced_by_customer.source
        and customers.customer_id = invoiced_by_customer.customer_id
    where customers.has_endless_parents

    union all
    select
        case when matches.rung = 2 then 'customer_claimed_twice' else 'ambiguous_match' end, 'error',
        customers.source, 'customer', customers.customer_id, matches.account_source,
        {{ dbt.concat(["coalesce(customers.name, customers.customer_id)",
            "' cannot be matched for certain in '", 'matches.account_source', "': a person has to decide'"]) }},
        invoiced_by_customer.net_base, customers.url
    from customers
    inner join matches
        on customers.source = matches.source and customers.customer_id = matches.customer_id
        and matches.outcome = 'ambiguous'
    left join invoiced_by_customer
        on customers.source = invoiced_by_customer.source
        and customers.customer_id = invoiced_by_customer.customer_id
    where customers.is_root

    union all
    select
        'stored_customer_unknown', 'warning', source, 'account', account_id, customer_id,
        {{ dbt.concat(["'the account stores customer '", "coalesce(ledger, 'of no ledger')", "':'", 'customer_id',
            "', which does not exist'"]) }}, null, url
    from stored_ids
    where known_id is null

    union all
    select
        'stored_customer_elsewhere', 'warning', source, 'account', account_id, customer_id,
        {{ dbt.concat(["'the account stores customer '", 'ledger', "':'", 'customer_id',
            "', which belongs to '", "coalesce('account ' || matched_account_id, 'no account')"]) }}, null, url
    from stored_ids
    -- A customer that several accounts claim is listed once, as the question that it is.
    where known_id is not null and outcome <> 'ambiguous'
        and matched_account_id is distinct from account_id

    union all
    select
        'decision_lost', 'warning', source, 'account', left_id,
        {{ dbt.concat(['right_source', "':'", 'right_id']) }},
        {{ dbt.concat(["coalesce(decided_by, 'a person')", "' decided that account '", 'left_id', "' is customer '",
            'right_source', "':'", 'right_id', "', and '",
            "case when has_no_account then 'the account is gone' when has_no_customer then 'the customer is gone'"
            ~ " else 'the customer is inactive and has no documents' end",
            "' (merged or deleted): revoke the decision and decide about the one that is left'"]) }}, null, url
    from lost_decisions

    union all
    select
        'stored_account_unknown', 'warning', customers.source, 'customer', customers.customer_id,
        customers.crm_account_id,
        {{ dbt.concat(["'the customer stores account '", 'customers.crm_account_id', "', which does not exist'"]) }},
        null, customers.url
    from customers
    left join {{ ref('int_accounts__unioned') }} as accounts on customers.crm_account_id = accounts.account_id
    where customers.crm_account_id is not null and accounts.account_id is null

    union all
    select
        'document_without_customer', 'error', documents.source, documents.document_type, documents.document_id,
        documents.customer_id, 'the customer of the document does not exist', documents.open_base, documents.url
    from documents
    left join customers
        on documents.source = customers.source and documents.customer_id = customers.customer_id
    where customers.customer_id is null and documents.status <> 'void'

    union all
    select
        'payment_without_customer', 'error', payments.source, payments.payment_type, payments.payment_id,
        payments.customer_id, 'the customer of the payment does not exist', payments.amount_base, payments.url
    from {{ ref('int_payments__valued') }} as payments
    left join customers
        on payments.source = customers.source and payments.customer_id = customers.customer_id
    where customers.customer_id is null and payments.amount <> 0

    union all
    select
        'repeated_invoice_number', 'warning', source, document_type, document_id, number,
        {{ dbt.concat(["'invoice number '", 'number', "' is on '", dbt.cast('number_count', 'varchar'),
            "' invoices of the customer'"]) }}, gross_base, url
    from numbered
    where number_count > 1

    union all
    select
        'document_dated_ahead', 'info', source, document_type, document_id, null,
        'dated after the business date, not counted yet', gross_base, url
    from documents
    where status = 'issued' and issue_date > {{ as_of() }}

    union all
    select
        'document_lines_differ', 'warning', documents.source, documents.document_type, documents.document_id, null,
        {{ dbt.concat(["'lines and tax '", dbt.cast('lines.amount + documents.tax', 'varchar'), "', total '",
            dbt.cast('documents.gross', 'varchar')]) }},
        {{ times_rate('lines.amount + documents.tax - documents.gross', 'documents.rate', 'documents.rate_divisor') }}, documents.url
    from documents
    inner join lines
        on documents.source = lines.source and documents.document_type = lines.document_type
        and documents.document_id = lines.document_id
    where documents.status <> 'void' and lines.amount + documents.tax <> documents.gross

    union all
    select
        'document_open_differs', 'warning', documents.source, documents.document_type, documents.document_id, null,
        {{ dbt.concat(["'total less what was applied '",
            dbt.cast('documents.gross - documents.withheld - documents.refunded_amount - coalesce(applied.amount, 0)', 'varchar'),
            "', open in the ledger '", dbt.cast('unioned.open_amount', 'varchar')]) }},
        {{ times_rate('documents.gross - documents.withheld - documents.refunded_amount - coalesce(applied.amount, 0) - unioned.open_amount',
            'documents.rate', 'documents.rate_divisor') }}, documents.url
    from documents
    inner join {{ ref('int_documents__unioned') }} as unioned
        on documents.source = unioned.source and documents.document_type = unioned.document_type
        and documents.document_id = unioned.document_id
    left join applied
        on documents.source = applied.source and documents.document_type = applied.document_type
        and documents.document_id = applied.document_id
    -- What is not issued owes nothing, whatever it adds up to.
    where documents.status = 'issued'
        and documents.gross - documents.withheld - documents.refunded_amount - coalesce(applied.amount, 0) <> unioned.open_amount

    union all
    select
        'payment_applied_differs', 'warning', payments.source, payments.payment_type, payments.payment_id, null,
        {{ dbt.concat(["'applied and unapplied '",
            dbt.cast('coalesce(spent.amount, 0) + payments.unapplied_amount', 'varchar'), "', paid '",
            dbt.cast('payments.amount', 'varchar')]) }}, null, payments.url
    from {{ ref('int_payments__unioned') }} as payments
    left join spent on payments.source = spent.source and payments.payment_id = spent.payment_id
    where payments.payment_type = 'payment' and payments.amount <> 0
        and coalesce(spent.amount, 0) + payments.unapplied_amount <> payments.amount

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
    -- The ledger's own row repeats what its customers' rows say, but where nobody accounts for the difference.
    select
        'tie_out', 'error', source, level, coalesce(customer_id, source), kind,
        {{ dbt.concat(["'ours '", dbt.cast('ours_base', 'varchar'), "', the ledger says '",
            "coalesce(" ~ dbt.cast('theirs_base', 'varchar') ~ ", 'nothing that can be read')"]) }}, difference, url
    from {{ ref('rpt_tie_out') }}
    where not is_tied and kind <> 'customers'

    union all
    -- Said once for each ledger; nobody is held for it.
    select
        'tie_out_not_compared', 'warning', source, level, source, kind,
        case kind
            when 'not_compared' then 'its own report of the day could not be read, so nothing was compared with it'
            else 'it has no customer and owes nothing: there is nothing to compare'
        end, null, url
    from {{ ref('rpt_tie_out') }}
    where level = 'ledger' and is_tied is null

    union all
    select
        'tie_out_revalued', 'info', source, level, coalesce(customer_id, source), kind,
        'the ledger values it at the rate of the report; in its own currency it agrees', difference, url
    from {{ ref('rpt_tie_out') }}
    where level = 'customer' and kind = 'revaluation'

    union all
    select
        'tie_out_ageing', 'warning', source, level, coalesce(customer_id, source), kind,
        'the total agrees with the ledger, but not since when it is due', difference, url
    from {{ ref('rpt_tie_out') }}
    where is_tied and not is_ageing_tied and level = 'customer'
)

-- A record can be wrong in the same way twice, but a person needs to hear it once.
select distinct
    kind,
    severity,
    source,
    object,
    record_id,
    related_id,
    message,
    cast(amount_base as decimal(28,6)) as amount_base,
    url
from exceptions
