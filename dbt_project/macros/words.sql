{# The host of a web address, lower-case and without www; null when there is none. #}
{% macro host_of(address) %}
nullif({{ without_pattern(
    without_pattern("lower(trim(" ~ address ~ "))", "^[a-z]+://"), "^www[.]|[/?#:].*$") }}, '')
{% endmacro %}

{# The domain of an e-mail address, lower-case. #}
{% macro domain_of_email(email) %}
case when {{ position_of("'@'", email) }} > 0
    then nullif({{ without_pattern("lower(trim(" ~ email ~ "))", "^.*@") }}, '') end
{% endmacro %}

{# A domain that says something about a business: not one of the free-mail providers. #}
{% macro business_domain(domain) %}
{%- set free_mail = var('free_mail_domains') + var('more_free_mail_domains') -%}
case when {{ domain }} not in ('{{ free_mail | join("', '") }}') then {{ domain }} end
{% endmacro %}

{% macro legal_words() %}
{{ return(['inc', 'incorporated', 'llc', 'llp', 'ltd', 'limited', 'gmbh', 'corp', 'corporation', 'co', 'company',
    'ag', 'kg', 'sa', 'sarl', 'srl', 'bv', 'plc', 'pty']) }}
{% endmacro %}

{#
  A company name for comparison: lower-case, no accents, no punctuation, no words of its legal form.
  'Müller & Söhne GmbH' and 'muller sohne' are the same. Null when nothing is left.
#}
{% macro normalised_name(name) %}
{%- set plain = without_pattern(without_accents("lower(" ~ name ~ ")"), "[^\\p{L}\\p{N}\\s]") -%}
{%- set words = without_pattern("concat(' ', " ~ plain ~ ", ' ')", "\\b(" ~ legal_words() | join('|') ~ ")\\b") -%}
nullif(trim({{ single_spaced(words) }}), '')
{% endmacro %}

{% macro single_spaced(expression) %}
{{ return(adapter.dispatch('single_spaced', 'crossfoot')(expression)) }}
{% endmacro %}
{% macro default__single_spaced(expression) %}regexp_replace({{ expression }}, '\s+', ' ', 'g'){% endmacro %}

{# One e-mail address for comparison. #}
{% macro normalised_email(email) %}nullif(lower(trim({{ email }})), ''){% endmacro %}

{#
  A person's decisions that stood at the cut-off: newest version of each, not revoked.
#}
{% macro standing_decisions(kind) %}
select source, left_id, right_source, right_id, verdict, decided_by, reason, id
from (
    select
        decisions.*,
        row_number() over (partition by id order by _landed_at desc, revoked_at desc nulls last) as _version
    from {{ source('raw_crossfoot', 'decisions') }} as decisions
    where _landed_at <= {{ known_at() }} and kind = '{{ kind }}'
) as ranked
where _version = 1 and not _deleted and (revoked_at is null or revoked_at > {{ known_at() }})
{% endmacro %}
