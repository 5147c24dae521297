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

{# Legal forms as they stand once accents and punctuation are gone, and joining words. Longer ones come first. #}
{% macro legal_words() %}
{{ return(['s de rl de cv', 'sapi de cv', 'sa de cv', 'sp z oo', 'sdn bhd', 'ltd sti', 'haftungsbeschrankt',
    'incorporated', 'inc', 'pllc', 'lllp', 'llc', 'llp', 'ltd', 'limited', 'ltda', 'lda', 'corporation', 'corp', 'company', 'co',
    'gesmbh', 'ggmbh', 'gmbh', 'mbh', 'kgaa', 'ohg', 'gbr', 'ag', 'kg', 'sarl', 'sasu', 'eurl', 'sa', 'srls', 'srl', 'sro',
    'bvba', 'bv', 'nv', 'vof', 'plc', 'pty', 'pte', 'pvt', 'private', 'aps', 'oyj', 'asa', 'doo', 'dooel', 'eood', 'ood', 'kft',
    'zrt', 'nyrt', 'spzoo', 'jsc', 'pjsc', 'tbk', 'bhd', 'kk', 'and', 'und']) }}
{% endmacro %}

{# Legal forms that are words or names elsewhere: taken off the end only ('Telia AB', not 'AB Motors'). #}
{% macro last_legal_words() %}
{{ return(['as', 'ab', 'oy', 'se', 'spa', 'sas', 'sl', 'slu', 'lp', 'pc', 'ug', 'ek', 'ae', 'dd', 'ad', 'et cie', 'et fils', 'cie', 'cia']) }}
{% endmacro %}

{# Letters that carry no accent to take off, as two companies would spell them in ASCII. #}
{% macro plain_letters(text) %}
{%- set ns = namespace(expression=text) -%}
{%- for letter, plain in {'ß': 'ss', 'ø': 'o', 'æ': 'ae', 'œ': 'oe', 'ł': 'l', 'đ': 'd', 'ð': 'd', 'þ': 'th', 'ı': 'i'}.items() -%}
{%- set ns.expression = "replace(" ~ ns.expression ~ ", '" ~ letter ~ "', '" ~ plain ~ "')" -%}
{%- endfor -%}
{{ ns.expression }}
{%- endmacro %}

{#
  A company name for comparison: lower-case, no accents, no punctuation, no words of its legal form, no '&' or 'and', no
  'The' in front. 'The Müller & Söhne GmbH' and 'muller sohne' are the same. Null when nothing is left.
#}
{% macro normalised_name(name) %}
{%- set plain = without_pattern(plain_letters(without_accents("lower(" ~ name ~ ")")), "[^\\p{L}\\p{N}\\s]") -%}
{%- set words = without_pattern("concat(' ', " ~ plain ~ ", ' ')", "\\b(" ~ legal_words() | join('|') ~ ")\\b") -%}
{%- set words = without_pattern(words, " (ооо|оао|зао|пао|тов) |株式会社|有限会社|股份有限公司|有限公司") -%}
{%- set words = without_pattern(words, "\\s(" ~ last_legal_words() | join('|') ~ ")\\s*$|^\\s*the\\s") -%}
nullif(trim({{ single_spaced(words) }}), '')
{% endmacro %}

{% macro single_spaced(expression) %}
{{ return(adapter.dispatch('single_spaced', 'crossfoot')(expression)) }}
{% endmacro %}
{% macro default__single_spaced(expression) %}regexp_replace({{ expression }}, '\s+', ' ', 'g'){% endmacro %}

{# One e-mail address for comparison. #}
{% macro normalised_email(email) %}nullif(lower(trim({{ email }})), ''){% endmacro %}

{#
  A person's decisions that stood at the cut-off: newest version of each, not revoked. What landed by then counts, not
  the moment in the row: a decision is made by the clock of people, a night may be heard by another (a replay, the sandbox).
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
where _version = 1 and not _deleted and revoked_at is null
{% endmacro %}
