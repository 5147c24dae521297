-- The record that a merged company or deal lives on in, through any number of merges. Merging makes a new record with both
-- former ids in hs_merged_object_ids (https://developers.hubspot.com/changelog/updated-merge-functionality-for-contacts-and-companies,
-- https://developers.hubspot.com/changelog/announcement-deals-now-support-merging); what was merged later has that record's id in
-- its own. A table, because five models ask it.
{{ config(materialized='table') }}
{%- set tables = {'account': 'companies', 'deal': 'deals'} %}
with recursive alive as (
    {%- for object, table in tables.items() %}
    select '{{ object }}' as object, id from ({{ newest(source('raw_hubspot', table), ['id']) }}) as {{ table }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

versions as (
    {%- for object, table in tables.items() %}
    select '{{ object }}' as object, id, merged_ids
    from {{ source('raw_hubspot', table) }}
    where _landed_at <= {{ known_at() }} and merged_ids is not null
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

steps as (
    select object, item as merged_id, id as record_id
    from ({{ split_to_rows('versions', ['object', 'id'], 'merged_ids', ';') }}) as items
    where item <> id
),

-- Union, not union all: ids that name each other end.
paths as (
    select object, merged_id, record_id from steps
    union
    select paths.object, paths.merged_id, steps.record_id
    from paths
    inner join steps on paths.object = steps.object and paths.record_id = steps.merged_id
),

final as (
    select 'hubspot' as source, paths.object, paths.merged_id, min(alive.id) as record_id
    from paths
    inner join alive on paths.object = alive.object and paths.record_id = alive.id
    left join alive as itself on paths.object = itself.object and paths.merged_id = itself.id
    where itself.id is null
    group by 1, 2, 3
)

{{ canonical_select('merged_records', 'final') }}
