-- Memo: the head of a family is its own head, and every customer is there once. What is counted belongs to an account or
-- its customer's family head is in a listed exception: nothing falls out of everything without a word.
with rooted as (
    select * from {{ ref('int_customers__rooted') }}
),

explained as (
    select source, record_id
    from {{ ref('rpt_exceptions') }}
    where object = 'customer'
        and kind in ('customer_only_in_accounting', 'ambiguous_match', 'customer_claimed_twice', 'customer_parents_endless')
)

select rooted.source, rooted.customer_id as record_id, 'its head is no head' as what
from rooted
left join rooted as heads on rooted.source = heads.source and rooted.root_customer_id = heads.customer_id
where not coalesce(heads.is_root, false)
union all
select unioned.source, unioned.customer_id, 'not there'
from {{ ref('int_customers__unioned') }} as unioned
left join rooted on unioned.source = rooted.source and unioned.customer_id = rooted.customer_id
where rooted.customer_id is null
union all
select documents.source, documents.document_id, 'of no account and in no exception'
from {{ ref('fct_invoices') }} as documents
inner join rooted on documents.source = rooted.source and documents.customer_id = rooted.customer_id
left join explained
    on documents.source = explained.source and explained.record_id in (rooted.customer_id, rooted.root_customer_id)
where documents.is_counted and documents.account_id is null and explained.record_id is null
