-- What is wrong with a record, a source or a control: one row each.
{{ config(materialized='ephemeral') }}
with problems as (
    select source, 'account' as object, account_id as record_id, cast(null as varchar) as part_id, problem, url
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

documents as (
    select * from {{ ref('int_documents__valued') }}
),

exceptions (kind, severity, source, object, record_id, related_id, message, amount_base, url) as (
    select
        'data_problem', 'error', source, object, record_id, part_id, problem, null, url
    from problems
    where problem is not null
    union all
    select
        'stale_source', 'error', source, 'source', source, null, hold_reason, null, null
    from {{ ref('int_sources__assessed') }}
    where hold_reason is not null
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
    union all
    select
        kind, 'error', source, object, record_id, null, message,
        case when currency = '{{ var("base_currency") }}' then difference end, url
    from {{ ref('int_contradictions__found') }}
    union all
    -- What moves receivables and is not counted, with what it adds to them; fewer than none: the ledger has them no more. Where
    -- the ledger does not say how many it has, nothing was compared.
    select
        case when record_count is null then 'not_compared' else 'not_read' end, case when amount <> 0 then 'error' else 'warning' end, source, entity, coalesce(record_id, entity), customer_id,
        case
            when record_count > 0 then {{ dbt.concat(["coalesce(" ~ money_text('amount') ~ " || ' ' || coalesce(currency, ''), "
                "'an unknown amount')", "' in '", dbt.cast('record_count', 'varchar'), "' '", "entity", "' is not counted: '", 'reason']) }}
            when record_count < 0 then {{ dbt.concat(["'an unknown amount in '", dbt.cast('-record_count', 'varchar'), "' '", "entity",
                "' is counted and not in the ledger: '", 'reason']) }}
            else {{ dbt.concat(['entity', "': '", 'reason']) }}
        end,
        case when currency = '{{ var("base_currency") }}' then amount end, url
    from {{ ref('int_not_read__unioned') }}
)

select * from exceptions
