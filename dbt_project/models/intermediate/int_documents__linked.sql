-- Which deal a document bills, in every CRM by itself. 'linked' rows are certain; 'question' rows are candidates for a
-- person.
with deals as (
    select * from {{ ref('int_deals__contracted') }}
),

documents as (
    select * from {{ ref('int_documents__valued') }} where is_counted
),

-- Invoices of the accounts that deals have: a customer may be an account in several CRMs.
invoices as (
    select
        matched.account_source, matched.account_id, documents.source, documents.document_type, documents.document_id,
        documents.number, documents.currency, documents.net, documents.issue_date
    from documents
    inner join {{ ref('int_customers__matched') }} as matched
        on documents.source = matched.source and documents.customer_id = matched.customer_id
        and matched.account_id is not null
    where documents.document_type = 'invoice'
),

decisions as (
    {{ standing_decisions('link') }}
),

refused as (
    select source, left_id, right_source, right_id from decisions where verdict = 'different'
),

explicit as (
    select
        documents.source, documents.document_type, documents.document_id,
        deals.source as deal_source, deals.deal_id, 1 as rung, 'decision' as rule,
        {{ dbt.concat(["'decided by '", "coalesce(decisions.decided_by, 'a person')", "': '",
            "coalesce(decisions.reason, 'no reason given')"]) }} as evidence,
        1 as invoice_count
    from decisions
    inner join documents
        on decisions.right_source = documents.source and decisions.right_id = documents.document_id
    inner join deals on decisions.source = deals.source and decisions.left_id = deals.deal_id
    where decisions.verdict = 'same'

    union all

    select
        source, document_type, document_id, deal_source, deal_id, 2, rule, evidence, candidate_count
    from ({{ explicit_references('documents', 'deals') }}) as named
),

-- One row per document and deal on the document's first rung that offers anything in the deal's CRM.
offered as (
    select
        source, document_type, document_id, deal_source, deal_id, rung, rule, evidence, invoice_count,
        count(*) over (partition by source, document_type, document_id, deal_source) as deal_count
    from (
        select
            allowed.*,
            min(rung) over (partition by source, document_type, document_id, deal_source) as first_rung,
            row_number() over (
                partition by source, document_type, document_id, deal_source, deal_id
                order by rung, invoice_count, rule
            ) as preference
        from (
            select explicit.*
            from explicit
            left join refused
                on explicit.source = refused.right_source and explicit.document_id = refused.right_id
                and explicit.deal_source = refused.source and explicit.deal_id = refused.left_id
            where explicit.rung = 1 or refused.left_id is null
        ) as allowed
    ) as ranked
    where rung = first_rung and preference = 1
),

certain as (
    select
        source, document_type, document_id, deal_source, deal_id, rung, rule, evidence,
        case
            when deal_count = 1 and invoice_count = 1 and rule <> 'deal_of_another_account' then 'linked'
            else 'question'
        end as outcome
    from offered
),

-- Rung 3: the only unlinked invoice and the only unlinked won deal of an account that fit each other.
fitting as (
    select
        invoices.source, invoices.document_type, invoices.document_id,
        deals.source as deal_source, deals.deal_id,
        count(*) over (partition by invoices.source, invoices.document_id, deals.source) as deal_count,
        count(*) over (partition by deals.source, deals.deal_id) as invoice_count
    from invoices
    inner join deals
        on invoices.account_source = deals.account_source and invoices.account_id = deals.account_id
        and invoices.currency = deals.currency
        and deals.is_won
        and {{ within('invoices.net', 'deals.contracted', var('tolerance')) }}
        and invoices.issue_date >= {{ add_days('deals.close_date', -30) }}
        and invoices.issue_date <= {{ add_days('deals.close_date', 90) }}
    left join certain as known_documents
        on invoices.source = known_documents.source
        and invoices.document_type = known_documents.document_type
        and invoices.document_id = known_documents.document_id
        and deals.source = known_documents.deal_source
    left join (
        select distinct deal_source, deal_id from certain where outcome = 'linked' and document_type = 'invoice'
    ) as known_deals on deals.source = known_deals.deal_source and deals.deal_id = known_deals.deal_id
    left join refused
        on invoices.source = refused.right_source and invoices.document_id = refused.right_id
        and deals.source = refused.source and deals.deal_id = refused.left_id
    where known_documents.document_id is null and known_deals.deal_id is null and refused.left_id is null
),

invoice_links as (
    select * from certain
    union all
    select
        source, document_type, document_id, deal_source, deal_id, 3, 'amount_and_date',
        'same account, currency and net amount, issued around the close',
        case when deal_count = 1 and invoice_count = 1 then 'linked' else 'question' end
    from fitting
),

-- A credit note without a reference of its own follows the invoices of its customer that it was applied to.
applied_notes as (
    select
        *,
        count(*) over (partition by source, document_id, deal_source) as deal_count
    from (
        select distinct
            notes.source, notes.document_type, notes.document_id, links.deal_source, links.deal_id
        from documents as notes
        inner join {{ ref('int_applications__dated') }} as applications
            on notes.source = applications.source and notes.document_id = applications.applied_id
            and applications.applied_type = 'credit_note' and applications.applied_date <= {{ as_of() }}
        inner join documents as invoices
            on applications.source = invoices.source and applications.document_id = invoices.document_id
            and applications.document_type = invoices.document_type and invoices.document_type = 'invoice'
            and notes.customer_id = invoices.customer_id
        inner join invoice_links as links
            on invoices.source = links.source and invoices.document_id = links.document_id
            and links.document_type = 'invoice' and links.outcome = 'linked'
        left join certain
            on notes.source = certain.source and notes.document_id = certain.document_id
            and certain.document_type = 'credit_note' and links.deal_source = certain.deal_source
        where notes.document_type = 'credit_note' and certain.document_id is null
    ) as followed
),

links as (
    select * from invoice_links
    union all
    select
        source, document_type, document_id, deal_source, deal_id, 2, 'applied_to_linked_invoice',
        'applied to an invoice of the deal',
        case when deal_count = 1 then 'linked' else 'question' end
    from applied_notes
)

select
    links.*,
    outcome = 'linked' and row_number() over (
        partition by source, document_type, document_id
        order by case when outcome = 'linked' then 1 else 2 end, {{ crm_rank('deal_source') }}, deal_id
    ) = 1 as is_first
from links
