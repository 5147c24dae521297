-- The account that a merged one lives on in, through any number of merges: the deleted record names it in MasterRecordId
-- (https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_account.htm).
-- Opportunities cannot be merged.
with recursive alive as (
    {{ newest(source('raw_salesforce', 'accounts'), ['id']) }}
),

steps as (
    select distinct id as merged_id, master_id as record_id
    from {{ source('raw_salesforce', 'accounts') }}
    where _landed_at <= {{ known_at() }} and _deleted and master_id <> id
),

-- Union, not union all: ids that name each other end.
paths as (
    select merged_id, record_id from steps
    union
    select paths.merged_id, steps.record_id
    from paths
    inner join steps on paths.record_id = steps.merged_id
),

final as (
    select 'salesforce' as source, 'account' as object, paths.merged_id, min(alive.id) as record_id
    from paths
    inner join alive on paths.record_id = alive.id
    where paths.merged_id not in (select id from alive)
    group by 1, 2, 3
)

{{ canonical_select('merged_records', 'final') }}
