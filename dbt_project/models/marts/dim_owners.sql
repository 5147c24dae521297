select
    owners.source,
    owners.owner_id,
    {{ text_or_null("coalesce(owners.first_name, '') || ' ' || coalesce(owners.last_name, '')") }} as name,
    owners.email,
    owners.url
from {{ ref('int_owners__unioned') }} as owners
