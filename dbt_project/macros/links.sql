{#
  Rung 2 of the ladder from documents to deals: what names the other side. Each row is one document and one deal, with the
  rule and the evidence; `candidate_count` is how many invoices the number on the deal fits. `documents` and `deals` are
  CTEs of int_documents__valued and int_deals__contracted.

  Reference and account are asked against each other: a document of the deal's account, of its parent or of its child fits;
  a customer who is in no account yet contradicts nothing; a document of any other account that names the deal is
  deal_of_another_account. A number on the deal means an invoice of its own account before one of nobody's.
#}
{% macro explicit_references(documents, deals) %}
select
    source, document_type, document_id, deal_source, deal_id,
    case when nearness = 3 then 'deal_of_another_account' else rule end as rule,
    case when nearness = 3 then {{ dbt.concat(['evidence', "', which is of another account'"]) }} else evidence end as evidence,
    case when rule = 'deal_id_on_document' then 1 else candidate_count end as candidate_count
from (
    select
        placed.*,
        min(nearness) over (partition by deal_source, deal_id, number, rule) as nearest,
        count(*) over (partition by deal_source, deal_id, number, rule, nearness) as candidate_count
    from (
        select
            named.*,
            case
                when matched.account_id is null or named.deal_account_id is null then 2
                when kin.kin_id is not null then 1
                else 3
            end as nearness
        from (
            select
                documents.source, documents.document_type, documents.document_id, documents.customer_id,
                deals.source as deal_source, deals.deal_id, deals.account_id as deal_account_id,
                'deal_id_on_document' as rule, null as number,
                {{ dbt.concat(["'the document names deal '", 'deals.deal_id']) }} as evidence
            from {{ documents }} as documents
            inner join {{ deals }} as deals on documents.deal_reference = deals.deal_id
            union all
            select
                documents.source, documents.document_type, documents.document_id, documents.customer_id,
                deals.source, deals.deal_id, deals.account_id,
                'invoice_number_on_deal', stated.number,
                {{ dbt.concat(["'the deal names invoice '", 'documents.number']) }}
            from (
                select distinct source, deal_id, {{ normalised_number('document_number') }} as number
                from {{ ref('int_deal_invoice_references__unioned') }}
            ) as stated
            inner join {{ deals }} as deals
                on stated.source = deals.source and stated.deal_id = deals.deal_id and deals.account_id is not null
            inner join {{ documents }} as documents
                on stated.number = {{ normalised_number('documents.number') }} and documents.document_type = 'invoice'
        ) as named
        left join {{ ref('int_customers__matched') }} as matched
            on named.source = matched.source and named.customer_id = matched.customer_id
            and named.deal_source = matched.account_source
        left join (
            select source, account_id, account_id as kin_id from {{ deals }} where account_id is not null
            union
            select source, account_id, parent_id from {{ ref('int_accounts__unioned') }} where parent_id is not null
            union
            select source, parent_id, account_id from {{ ref('int_accounts__unioned') }} where parent_id is not null
        ) as kin
            on named.deal_source = kin.source and named.deal_account_id = kin.account_id
            and matched.account_id = kin.kin_id
    ) as placed
) as ranked
where rule = 'deal_id_on_document' or (nearness = nearest and nearness < 3)
{% endmacro %}
