-- What the rates between a document and its settlement made or cost. It is neither invoiced nor collected: those are
-- what they were at the rates of their own days, and this is what lies between.
with documents as (
    select source, document_type, document_id, customer_id, account_source, account_id, issue_date, currency, rate, rate_divisor,
        url
    from {{ ref('int_documents__valued') }}
    where is_counted and currency <> '{{ var("base_currency") }}'
),

-- What can be applied: money, and credit notes.
funds as (
    select source, 'payment' as applied_type, payment_id as applied_id, payment_type, currency, rate, rate_divisor
    from {{ ref('int_payments__valued') }}
    where is_counted
    union all
    select source, 'credit_note', document_id, null, currency, rate, rate_divisor
    from documents
    where document_type = 'credit_note'
),

-- A payment may name a document more than once, and on several days.
applications as (
    select
        unioned.source, unioned.applied_type, unioned.applied_id, unioned.document_type, unioned.document_id,
        unioned.applied_date, sum(unioned.amount) as amount
    from {{ ref('int_applications__dated') }} as unioned
    inner join documents
        on unioned.source = documents.source and unioned.document_type = documents.document_type
        and unioned.document_id = documents.document_id
    where unioned.amount is not null and unioned.applied_date <= {{ as_of() }}
    group by 1, 2, 3, 4, 5, 6
),

valued as (
    select
        applications.source,
        applications.applied_type,
        applications.applied_id,
        applications.document_type,
        applications.document_id,
        applications.applied_date,
        documents.customer_id,
        documents.account_source,
        documents.account_id,
        documents.issue_date,
        documents.currency,
        applications.amount,
        documents.rate as invoice_rate,
        documents.rate_divisor as invoice_divisor,
        -- Money in another currency than the document says nothing about the document's.
        case when funds.currency = documents.currency then funds.rate end as payment_rate,
        case when funds.currency = documents.currency then funds.rate_divisor end as payment_divisor,
        documents.url
    from applications
    inner join documents
        on applications.source = documents.source and applications.document_type = documents.document_type
        and applications.document_id = documents.document_id
    inner join funds
        on applications.source = funds.source and applications.applied_type = funds.applied_type
        and applications.applied_id = funds.applied_id
),

converted as (
    select
        valued.*,
        {{ in_base('amount', 'invoice_rate', 'invoice_divisor') }} as amount_at_invoice_rate,
        {{ in_base('amount', 'payment_rate', 'payment_divisor') }} as amount_at_payment_rate
    from valued
)

select
    source,
    applied_type,
    applied_id,
    document_type,
    document_id,
    applied_date,
    customer_id,
    account_source,
    account_id,
    issue_date,
    currency,
    cast(amount as decimal(28,6)) as amount,
    {{ one_rate('invoice_rate', 'invoice_divisor') | trim }} as invoice_rate,
    {{ one_rate('payment_rate', 'payment_divisor') | trim }} as payment_rate,
    amount_at_invoice_rate,
    amount_at_payment_rate,
    -- Money that is paid back for a credit note goes out: a dearer currency is a loss then.
    cast(case
        when document_type = 'credit_note' then amount_at_invoice_rate - amount_at_payment_rate
        else amount_at_payment_rate - amount_at_invoice_rate
    end as decimal(28,6)) as gain_base,
    '{{ var("base_currency") }}' as base_currency,
    url
from converted
