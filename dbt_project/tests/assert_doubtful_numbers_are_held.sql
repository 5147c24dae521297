-- Memo: an account behind a source that cannot be trusted tonight, or behind an uncertain match, is never written.
select statuses.account_id, statuses.sources, untrusted.source
from {{ ref('account_status') }} as statuses
inner join {{ ref('int_sources__assessed') }} as untrusted
    on untrusted.hold_reason is not null
    and (untrusted.source = statuses.source
        or ',' || statuses.sources || ',' like '%,' || untrusted.source || ',%')
where statuses.hold_reason is null
union all
select statuses.account_id, statuses.sources, questions.right_source
from {{ ref('account_status') }} as statuses
inner join {{ ref('rpt_match_review') }} as questions
    on questions.kind = 'match' and not questions.is_suggestion
    and statuses.source = questions.source and statuses.account_id = questions.left_id
where statuses.hold_reason is null
