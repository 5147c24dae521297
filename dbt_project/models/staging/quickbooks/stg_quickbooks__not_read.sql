-- What stands on receivables and is no document and no money: journal entries, and deposits and purchases the other way
-- round. `amount` is what of it the links of payments have not settled: that alone is missing from what we count. And what
-- the vendor counts and we do not have, or the other way round.
with links as (
    select other_id, sum(case side when 'credit' then amount else -amount end) as settled, count(*) as link_count
    from {{ ref('stg_quickbooks__payment_links') }}
    group by 1
),

linked_only as (
    select
        other_id, entity, min(txn_id) as txn_id, min(txn_type) as txn_type, min(customer_id) as customer_id,
        min(txn_date) as txn_date, min(currency) as currency,
        sum(case side when 'credit' then amount else -amount end) as settled
    from {{ ref('stg_quickbooks__payment_links') }}
    where not is_read and (entity = 'journal' or (entity = 'purchase' and side = 'credit') or entity = 'charge')
    group by 1, 2
),

final as (
    select
        'quickbooks' as source,
        case entries.entity when 'journal' then 'JournalEntry' when 'deposit' then 'Deposit' else 'Purchase' end as entity,
        entries.row_id as record_id,
        entries.customer_id,
        entries.txn_date as posted_on,
        coalesce({{ text_or_null('entries.currency') }}, home.home_currency) as currency,
        entries.amount + coalesce(links.settled, 0) as amount,
        1 as record_count,
        {{ dbt.concat(["'it posts '", dbt.cast('cast(entries.amount as decimal(28,2))', 'varchar'),
            "' on receivables, of which payments use '", dbt.cast('cast(coalesce(-links.settled, 0) as decimal(28,2))', 'varchar')]) }}
            as reason,
        entries.url
    from {{ ref('stg_quickbooks__entries') }} as entries
    cross join {{ ref('stg_quickbooks__company') }} as home
    left join links on entries.row_id = links.other_id
    where entries.entity = 'journal' or (entries.entity = 'deposit' and entries.amount >= 0)
        or (entries.entity = 'purchase' and entries.amount <= 0)
    union all
    select
        'quickbooks', txn_type, other_id, customer_id, txn_date, coalesce(currency, home.home_currency), 0, 1,
        {{ dbt.concat(["'payments link it, with '", dbt.cast('cast(settled as decimal(28,2))', 'varchar'),
            "', and it was not read itself'"]) }},
        null
    from linked_only
    cross join {{ ref('stg_quickbooks__company') }} as home
    union all
    select
        'quickbooks', entity, null, null, null, null, null, vendor_count - held_count,
        coalesce({{ dbt.concat(["'it could not be counted: '", "problem"]) }}, {{ dbt.concat([
            "'QuickBooks counts '", dbt.cast('vendor_count', 'varchar'),
            "case when is_of_changes then ' that changed since the last night, and gave ' else ', and here are ' end",
            dbt.cast('held_count', 'varchar')]) }}),
        null
    from {{ ref('stg_quickbooks__counts') }}
    where problem is not null or vendor_count <> held_count
)

{{ canonical_select('not_read', 'final') }}
