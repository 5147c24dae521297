-- The account that a merged one lives on in, through any number of merges. Merging deletes the others and writes the survivor's
-- id into their MasterRecordId (SOAP API developer guide, merge()); where that one is merged later, it has one of its own.
with recursive accounts as (
    {{ newest(source('raw_salesforce', 'accounts'), ['id']) }}
),

-- An account that was restored and merged again went into the one that was named last.
steps as (
    select id as merged_id, merged_into as account_id
    from (
        select id, merged_into, row_number() over (partition by id order by _landed_at desc) as _age
        from {{ source('raw_salesforce', 'accounts') }}
        where _landed_at <= {{ known_at() }} and merged_into is not null
    ) as named
    where _age = 1
),

-- Union, not union all: ids that name each other end.
paths as (
    select merged_id, account_id from steps
    union
    select paths.merged_id, steps.account_id
    from paths
    inner join steps on paths.account_id = steps.merged_id
    where paths.account_id not in (select id from accounts)
),

final as (
    select 'salesforce' as source, paths.merged_id, min(accounts.id) as account_id
    from paths
    inner join accounts on paths.account_id = accounts.id
    where paths.merged_id not in (select id from accounts)
    group by 1, 2
)

{{ canonical_select('account_merges', 'final') }}
