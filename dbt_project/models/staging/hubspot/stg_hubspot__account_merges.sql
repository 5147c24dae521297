-- The record that a merged company lives on in, through any number of merges. Merging makes a new record with both former
-- ids in hs_merged_object_ids (https://developers.hubspot.com/changelog/updated-merge-functionality-for-contacts-and-companies);
-- what was merged later has that record's id in its own.
with recursive companies as (
    {{ newest(source('raw_hubspot', 'companies'), ['id']) }}
),

versions as (
    select id, merged_ids
    from {{ source('raw_hubspot', 'companies') }}
    where _landed_at <= {{ known_at() }} and merged_ids is not null
),

steps as (
    select item as merged_id, id as company_id
    from ({{ split_to_rows('versions', ['id'], 'merged_ids', ';') }}) as items
    where item <> id
),

-- Union, not union all: ids that name each other end.
paths as (
    select merged_id, company_id from steps
    union
    select paths.merged_id, steps.company_id
    from paths
    inner join steps on paths.company_id = steps.merged_id
),

final as (
    select 'hubspot' as source, paths.merged_id, min(companies.id) as account_id
    from paths
    inner join companies on paths.company_id = companies.id
    where paths.merged_id not in (select id from companies)
    group by 1, 2
)

{{ canonical_select('account_merges', 'final') }}
