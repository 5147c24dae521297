-- A write that was landed twice, or found out about later, counts once, as it ended.
with writes as (
    select
        system,
        run_id,
        outcome,
        recorded_at,
        row_number() over (
            partition by system, run_id, object, record_id, field order by recorded_at desc, _landed_at desc
        ) as age
    from {{ source('raw_crossfoot', 'writes') }}
    where _landed_at <= {{ known_at() }} and not _deleted
),

runs as (
    select
        system,
        run_id,
        row_number() over (partition by system order by max(recorded_at) desc, run_id desc) as recency,
        sum(case when outcome = 'written' then 1 else 0 end) as written,
        sum(case when outcome = 'skipped' then 1 else 0 end) as skipped,
        sum(case when outcome = 'rejected' then 1 else 0 end) as rejected,
        sum(case when outcome = 'unknown' then 1 else 0 end) as unknown
    from writes
    where age = 1
    group by system, run_id
),

last_writes as (
    select * from runs where recency = 1
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
