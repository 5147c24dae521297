with writes as (
    select
        system,
        run_id,
        outcome,
        max(_landed_at) over (partition by system) as newest_landing,
        _landed_at
    from {{ source('raw_crossfoot', 'writes') }}
    where _landed_at <= {{ known_at() }} and not _deleted
),

-- The run that wrote last is the one whose rows landed last.
last_writes as (
    select
        system,
        max(run_id) as run_id,
        sum(case when outcome = 'written' then 1 else 0 end) as written,
        sum(case when outcome = 'skipped' then 1 else 0 end) as skipped,
        sum(case when outcome = 'rejected' then 1 else 0 end) as rejected,
        sum(case when outcome = 'unknown' then 1 else 0 end) as unknown
    from writes
    where _landed_at = newest_landing
    group by 1
)

select
    sources.source,
    sources.side,
    sources.last_load_at,
    sources.last_status,
    sources.last_message,
    cast(sources.calls as bigint) as calls,
    cast(sources.row_count as bigint) as row_count,
    sources.complete_at as last_complete_at,
    cast(sources.age_hours as bigint) as age_hours,
    case when sources.hold_reason is null then 'fresh' else 'held' end as status,
    sources.hold_reason,
    last_writes.run_id as last_write_run_id,
    cast(coalesce(last_writes.written, 0) as bigint) as fields_written,
    cast(coalesce(last_writes.skipped, 0) as bigint) as fields_skipped,
    cast(coalesce(last_writes.rejected, 0) as bigint) as fields_rejected,
    cast(coalesce(last_writes.unknown, 0) as bigint) as fields_unknown
from {{ ref('int_sources__assessed') }} as sources
left join last_writes on sources.source = last_writes.system
