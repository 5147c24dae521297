-- Memo: a document, a payment and a deal is in exactly one bucket of the reconciliation, and the buckets together hold
-- what staging holds. Each bucket is a condition of its own, so that two may claim a row and none may.
with documents as (
    select
        documents.source, documents.document_type as object, documents.document_id as record_id,
        unioned.status in ('draft', 'pending_approval') as is_draft,
        unioned.status = 'void' as is_void,
        unioned.status like 'unknown: %' as is_of_unknown_status,
        unioned.status = 'issued' and not documents.is_counted as is_dated_ahead,
        documents.is_counted and documents.deal_id is not null as is_linked,
        documents.is_counted and documents.deal_id is null and documents.account_id is not null as is_unlinked,
        documents.is_counted and documents.deal_id is null and documents.account_id is null as is_without_account
    from {{ ref('int_documents__unioned') }} as unioned
    full outer join {{ ref('fct_invoices') }} as documents
        on unioned.source = documents.source and unioned.document_type = documents.document_type
        and unioned.document_id = documents.document_id
),

payments as (
    select
        payments.source, payments.payment_type as object, payments.payment_id as record_id,
        unioned.payment_type like 'unknown: %' as is_of_unknown_kind,
        unioned.payment_type not like 'unknown: %' and (unioned.payment_date > {{ as_of() }} or unioned.payment_date is null)
            as is_dated_ahead,
        payments.is_counted and payments.account_id is not null as is_of_an_account,
        payments.is_counted and payments.account_id is null as is_without_account
    from {{ ref('int_payments__unioned') }} as unioned
    full outer join {{ ref('fct_payments') }} as payments
        on unioned.source = payments.source and unioned.payment_id = payments.payment_id
),

deals as (
    select
        deals.source, 'deal' as object, deals.deal_id as record_id,
        not unioned.is_closed and not unioned.is_won and reconciled.deal_id is null as is_open,
        unioned.is_closed and not unioned.is_won and reconciled.deal_id is null as is_lost,
        unioned.is_won and coalesce(reconciled.status = 'Matched', false) as is_matched,
        unioned.is_won and coalesce(reconciled.status = 'Explained', false) as is_explained,
        unioned.is_won and coalesce(reconciled.status = 'Review', false) as is_to_review
    from {{ ref('int_deals__unioned') }} as unioned
    full outer join {{ ref('fct_deals') }} as deals
        on unioned.source = deals.source and unioned.deal_id = deals.deal_id
    full outer join {{ ref('fct_deal_reconciliation') }} as reconciled
        on unioned.source = reconciled.source and unioned.deal_id = reconciled.deal_id
),

placed as (
    {%- for objects, buckets in {
        'documents': ['is_draft', 'is_void', 'is_of_unknown_status', 'is_dated_ahead', 'is_linked', 'is_unlinked', 'is_without_account'],
        'payments': ['is_of_unknown_kind', 'is_dated_ahead', 'is_of_an_account', 'is_without_account'],
        'deals': ['is_open', 'is_lost', 'is_matched', 'is_explained', 'is_to_review'],
    }.items() %}
    select
        source, object, record_id,
        {%- for bucket in buckets %}
        case when {{ bucket }} then 1 else 0 end{{ ' +' if not loop.last }}
        {%- endfor %} as places
    from {{ objects }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select source, object, record_id, max(places) as places, count(*) as row_count
from placed
group by 1, 2, 3
having max(places) <> 1 or min(places) <> 1 or count(*) <> 1
