-- Every configured source has a row, also one that was never read: its absence has to be seen.
with configured as (
    {%- for vendor in var('crms') + var('ledgers') + var('rates') %}
    {%- set side = 'crm' if vendor in var('crms') else 'ledger' if vendor in var('ledgers') else 'rates' %}
    select '{{ vendor }}' as source, '{{ side }}' as side
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

loads as (
    select
        source,
        known_at,
        status,
        message,
        calls,
        rows as row_count,
        -- A night that was run again counts as it ended: what was read completely stays read.
        row_number() over (
            partition by source
            order by known_at desc, _landed_at desc,
                case status when 'complete' then 0 when 'partial' then 1 else 2 end
        ) as recency
    from {{ source('raw_crossfoot', 'loads') }}
    where known_at <= {{ known_at() }} and _landed_at <= {{ known_at() }} and not _deleted
),

completed as (
    select source, max(known_at) as complete_at
    from loads
    where status = 'complete'
    group by source
),

joined as (
    select
        configured.source,
        configured.side,
        loads.known_at as last_load_at,
        coalesce(loads.status, 'never') as last_status,
        loads.message as last_message,
        loads.calls,
        loads.row_count,
        completed.complete_at,
        {{ hours_between('completed.complete_at', known_at()) }} as age_hours
    from configured
    left join loads on configured.source = loads.source and loads.recency = 1
    left join completed on configured.source = completed.source
)

select
    *,
    case when complete_at > {{ end_of_as_of() }} then {{ end_of_as_of() }} else complete_at end as true_until,
    case
        -- Its calls for the night were used up: what was read is kept, the rest follows, and until then nothing is sure.
        when last_status = 'partial' then {{ dbt.concat([
            'source', "' has not been read to its end: its calls for the night were used up'"]) }}
        when complete_at is null then {{ dbt.concat(['source', "' has never been read completely'"]) }}
        when last_status <> 'complete'
            then {{ dbt.concat(["'the last extract of '", 'source', "' failed'"]) }}
        when age_hours > {{ var('max_source_age_hours') }}
            then {{ dbt.concat([
                'source', "' was last read completely '", dbt.cast('age_hours', 'varchar'),
                "' hours ago, more than the " ~ var('max_source_age_hours') ~ " allowed'"]) }}
    end as hold_reason
from joined
