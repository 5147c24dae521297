{#
  CTEs, the last of which is pairs: the names of customers and accounts that are worth comparing, out of a CTE `names` (side,
  crm, source, id, name, domain, email_domain, email). Two names are compared only where they share a key that few accounts
  have, so that the work grows with the number of names and not with its square.
#}
{% macro names_worth_comparing() %}
{%- set consonants = 'bcdfgjklmnpqrstvxz' %}
{%- set skeleton = namespace(of='') %}
{%- set skeleton.of = "substring(item, 1, 1) || " ~ without_pattern("substring(item, 2)", "[aeiouyhw]") %}
{%- for letter in consonants %}
    {%- set skeleton.of = "replace(" ~ skeleton.of ~ ", '" ~ letter * 2 ~ "', '" ~ letter ~ "')" %}
{%- endfor %}
words as (
    {{ split_to_rows('names', ['side', 'crm', 'source', 'id', 'name'], 'name', ' ') }}
),

-- The first letter and the consonants of a word: what most misspellings leave alone.
roots as (
    select side, crm, source, id, name, item, {{ skeleton.of }} as root from words
),

spellings as (
    select
        side, crm, source, id, name, replace(name, ' ', '') as compact, {{ list_of('item', ' ') }} as sorted_words,
        replace({{ list_of('item', ' ') }}, ' ', '') as sorted_letters
    from roots
    group by side, crm, source, id, name
),

positions as (
    {{ numbers_to(30) }}
),

keys as (
    {{ keys_of_names() | trim }}
),

rare as (
    select crm, shared
    from keys
    group by crm, shared
    having count(case when side = 'account' then 1 end) between 1 and 50
        and count(case when side = 'customer' then 1 end) > 0
),

pairs as (
    select distinct
        left_keys.crm, left_keys.source, left_keys.id as customer_id, left_keys.name as customer_name,
        right_keys.id as account_id, right_keys.name as account_name
    from keys as left_keys
    inner join rare on left_keys.crm = rare.crm and left_keys.shared = rare.shared
    inner join keys as right_keys
        on left_keys.crm = right_keys.crm and left_keys.shared = right_keys.shared and right_keys.side = 'account'
    where left_keys.side = 'customer'
)
{% endmacro %}

{#
  What two names may share that makes them worth comparing: rows of side, crm, source, id, name and shared. Two names that one
  wrong, missing, extra or exchanged letter tells apart share a key (a text with one letter left out), and so do two that differ
  by the order of their words, by blanks, or by a word that one of them cuts short. Texts of more than 30
  letters have their other words to be found by.
#}
{% macro keys_of_names() %}
    select side, crm, source, id, name, 'root ' || root as shared from roots
    union
    select one.side, one.crm, one.source, one.id, one.name, 'roots ' || one.root || ' ' || other.root
    from roots as one
    inner join roots as other
        on one.side = other.side and one.crm = other.crm and one.source = other.source and one.id = other.id
        and one.name = other.name and one.root < other.root
    {%- for length in [5, 9] %}
    union
    select side, crm, source, id, name, 'begins {{ length }} ' || substring(compact, 1, {{ length }}) from spellings
    union
    select side, crm, source, id, name, 'ends {{ length }} ' || right(compact, {{ length }}) from spellings
    {%- endfor %}
    -- With one letter left out anywhere, two texts that one wrong, missing, extra or exchanged letter tells apart are equal.
    union
    select spellings.side, spellings.crm, spellings.source, spellings.id, spellings.name,
        'name but one ' || substring(compact, 1, n) || substring(compact, n + 2)
    from spellings
    inner join positions on positions.n <= length(spellings.compact)
    where length(compact) <= 30
    union
    select side, crm, source, id, name, 'letters ' || sorted_letters from spellings
    union
    select roots.side, roots.crm, roots.source, roots.id, roots.name,
        'word but one ' || substring(item, 1, n) || substring(item, n + 2)
    from roots
    inner join positions on positions.n <= length(roots.item)
    where length(item) between 4 and 30
    -- One word whole and another one cut short: an abbreviation of either.
    union
    select one.side, one.crm, one.source, one.id, one.name, 'cut ' || one.item || ' ' || substring(other.item, 1, 3)
    from roots as one
    inner join roots as other
        on one.side = other.side and one.crm = other.crm and one.source = other.source and one.id = other.id
        and one.name = other.name and one.item <> other.item and length(other.item) >= 3
    union
    select side, crm, source, id, name, 'mailbox ' || email from names where email is not null
    union
    select side, crm, source, id, name, 'site ' || replace(name, ' ', '') from names
    union
    select side, crm, source, id, name, 'site ' || {{ without_pattern('replace(domain, \'-\', \'\')', '[.].*$') }}
    from names where domain is not null
    union
    select side, crm, source, id, name, 'domain ' || domain from names where domain is not null
    union
    select side, crm, source, id, name, 'domain ' || email_domain from names where email_domain is not null
{% endmacro %}
