with exceptions as (
    select kind, severity, source, object, record_id, related_id, message, amount_base, url
    from {{ ref('rpt_exceptions__records') }}
    union all
    select kind, severity, source, object, record_id, related_id, message, amount_base, url
    from {{ ref('rpt_exceptions__deals') }}
    union all
    select kind, severity, source, object, record_id, related_id, message, amount_base, url
    from {{ ref('rpt_exceptions__customers') }}
    union all
    select kind, severity, source, object, record_id, related_id, message, amount_base, url
    from {{ ref('rpt_exceptions__documents') }}
)

-- A record can be wrong in the same way twice, but a person needs to hear it once.
select distinct
    kind,
    severity,
    source,
    object,
    record_id,
    related_id,
    message,
    cast(amount_base as decimal(28,6)) as amount_base,
    url
from exceptions
