{#
  What two names may share that makes them worth comparing: rows of side, crm, source, id, name and shared. Two names that one
  wrong, missing, extra or exchanged letter tells apart share a key (a text with one letter left out), and so do two that differ
  by the order of their words, by blanks, or by a word that one of them cuts short. Reads the CTEs names, roots, spellings
  and positions of int_match_suggestions__scored; texts of more than 30 letters have their other words to be found by.
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
