{#
  Conservation, exact and per record: what was extracted is modelled once, or deleted by the vendor, or dropped for a reason
  that is named. `checks` is a list of {name, extracted, deleted, modelled, dropped}: selects of `record_id` (dropped: a
  dict of reason to select; deleted and dropped may be absent). Yields the records that break it. The selects do not
  use what staging uses to choose a version, or this would compare staging with itself.
#}
{% macro conserved(checks) %}
with places as (
    {%- for check in checks %}
    {%- set selects = {'extracted': check.extracted, 'modelled': check.modelled} %}
    {%- if check.deleted %}{% do selects.update({'deleted': check.deleted}) %}{% endif %}
    {%- for reason, dropped in (check.dropped or {}).items() %}
        {%- do selects.update({'dropped: ' ~ reason: dropped}) %}
    {%- endfor %}
    {%- for place, records in selects.items() %}
    select '{{ check.name }}' as extracted_as, record_id, '{{ place }}' as place from ({{ records }}) as records
    union all
    {%- endfor %}
    {%- endfor %}
    select null, null, null where false
)

select extracted_as, record_id, {{ list_of('place') }} as places
from places
group by 1, 2
having sum(case when place = 'extracted' then 1 else 0 end) <> 1
    or sum(case when place <> 'extracted' then 1 else 0 end) <> 1
{% endmacro %}

{# Every record of an append-only raw table that was known at the cut-off. #}
{% macro extracted_records(relation, id) %}
select distinct {{ id }} as record_id from {{ relation }} where _landed_at <= {{ known_at() }}
{% endmacro %}

{# Those of which the vendor's last word was a deletion. #}
{% macro deleted_records(relation, id) %}
select {{ id }} as record_id
from {{ relation }}
where _landed_at <= {{ known_at() }}
group by 1
having max(case when _deleted then _landed_at end)
    >= coalesce(max(case when not _deleted then _landed_at end), max(_landed_at))
{% endmacro %}

{# Those that were there, not deleted, at a time. #}
{% macro alive_records(relation, id, at) %}
select {{ id }} as record_id
from {{ relation }}
where _landed_at <= {{ at }}
group by 1
having max(case when not _deleted then _landed_at end)
    > coalesce(max(case when _deleted then _landed_at end), cast('0001-01-01' as timestamp with time zone))
{% endmacro %}

{# The check of a raw table whose records are one row each of a canonical object. #}
{% macro record_check(relation, name, modelled, dropped=none, id='id') %}
{{ return({
    'name': name, 'extracted': extracted_records(relation, id), 'deleted': deleted_records(relation, id),
    'modelled': modelled, 'dropped': dropped,
}) }}
{% endmacro %}

{#
  The check of the lines of a document's versions: only those of its newest version are modelled. `parents` has id,
  version, gone (whether nothing of it is modelled); a line is known by document, version and number.
#}
{% macro line_check(relation, name, parents, parent_id, version, modelled) %}
{%- set id -%}
{{ dbt.concat([parent_id, "'#'", version, "'#'", dbt.cast('line_number', 'varchar')]) }}
{%- endset -%}
{%- set lines -%}
(select distinct {{ parent_id }} as parent_id, {{ version }} as version, {{ id }} as record_id
    from {{ relation }} where _landed_at <= {{ known_at() }} and not _deleted) as lines
    left join ({{ parents }}) as parents on lines.parent_id = parents.id
{%- endset -%}
{{ return({
    'name': name, 'extracted': extracted_records(relation, id), 'deleted': none,
    'modelled': "select document_id || '#' || parents.version || '#' || cast(line_number as varchar) as record_id from ("
        ~ modelled ~ ") as modelled left join (" ~ parents ~ ") as parents on modelled.document_id = parents.id",
    'dropped': {
        'its document was never read': "select record_id from " ~ lines ~ " where parents.id is null",
        'its document is deleted': "select record_id from " ~ lines ~ " where parents.gone",
        'of an earlier version': "select record_id from " ~ lines
            ~ " where not parents.gone and coalesce(lines.version <> parents.version, true)",
    },
}) }}
{% endmacro %}

{# The newest version of every document of a raw table with lines, for line_check. #}
{% macro newest_versions(relation, version, gone='false', tie_breakers=['modified_at']) %}
select id, {{ version }} as version, _deleted or {{ gone }} as gone
from ({{ newest_with_deletions(relation, ['id'], tie_breakers) }}) as newest_versions
{% endmacro %}

{# The records of a vendor in the union of a canonical object. #}
{% macro modelled_records(object, slug, id) %}
select {{ id }} as record_id from {{ ref('int_' ~ object ~ '__unioned') }} where source = '{{ slug }}'
{% endmacro %}

{# The records of which the newest version has one of these statuses. #}
{% macro records_with_status(relation, statuses) %}
select id as record_id
from ({{ newest(relation, ['id']) }}) as newest_versions
where status in ('{{ statuses | join("', '") }}')
{% endmacro %}
