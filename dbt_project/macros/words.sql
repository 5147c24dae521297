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

{#
  The legal forms: how each is shown, how it is spelled once case, accents and punctuation are gone (a regular expression),
  and whether it is one wherever it stands in a name or at its end only ('Telia AB', but 'AB Motors'; 'SA Water'). The first
  that fits is the form, so compound ones come first. A form that is not here stays a word of the name: two names that
  differ by it are then never taken for the same. The spellings are common knowledge, held against no published list such as
  that of ISO 20275 (unverified).
#}
{% macro legal_forms() %}
{%- set forms = [] -%}
{%- for head, spelled in {'GmbH': '(gmbh|mbh)', 'AG': 'ag', 'SE': 'se', 'UG': 'ug( haftungsbeschrankt)?', 'Ltd': '(ltd|limited)'}.items() -%}
{%- for tail in ['KGaA', 'KG', 'OHG'] -%}
{%- do forms.append([head ~ ' & Co. ' ~ tail, spelled ~ ' (co|cie) ' ~ tail | lower, 'any']) -%}
{%- endfor -%}
{%- endfor -%}
{{ return(forms + [
    ['S. de R.L. de C.V.', 's ?de ?r ?l ?de ?c ?v', 'any'], ['S.A.P.I. de C.V.', 's ?a ?p ?i ?de ?c ?v', 'any'],
    ['S.A. de C.V.', 's ?a ?de ?c ?v', 'any'], ['Sp. z o.o.', '(sp|spolka) ?z ?(o ?o|ograniczona odpowiedzialnoscia)', 'any'],
    ['Sdn Bhd', 'sdn ?bhd', 'any'], ['Ltd. Şti.', '(ltd|limited) ?(sti|sirketi)', 'any'],
    ['Pty Ltd', '(pty|proprietary) ?(ltd|limited)|pty', 'any'], ['Pte Ltd', 'pte ?(ltd|limited)|pte', 'any'],
    ['Pvt Ltd', '(pvt|private) (ltd|limited)|pvt', 'any'], ['PLC', 'plc|public limited company', 'any'],
    ['PLLC', 'pllc|p l l c', 'any'], ['LLLP', 'lllp|l l l p', 'any'], ['LLP', 'llp|l l p|limited liability partnership', 'any'],
    ['LLC', 'llc|l l c|limited liability (company|co)', 'any'], ['Inc', '((company|co) )?(incorporated|inc)', 'any'],
    ['Ltd', '((company|co) )?(limited|ltd)', 'any'], ['Ltda', 'ltda|limitada', 'any'], ['Lda', 'lda', 'any'],
    ['Corp', 'corporation|corp', 'any'], ['gGmbH', 'ggmbh', 'any'],
    ['GmbH', 'gesmbh|gmbh|mbh|gesellschaft mit beschrankter haftung', 'any'], ['KGaA', 'kgaa', 'any'], ['OHG', 'ohg', 'any'],
    ['GbR', 'gbr', 'any'], ['UG', 'ug haftungsbeschrankt|unternehmergesellschaft', 'any'], ['AG', 'aktiengesellschaft', 'any'],
    ['S.à r.l.', 'sarl|s ?a ?r ?l|societe a responsabilite limitee', 'any'], ['SASU', 'sasu', 'any'], ['EURL', 'eurl', 'any'],
    ['S.r.l.s.', 'srls', 'any'], ['S.r.l.', 'srl|s r l|societa a responsabilita limitata', 'any'],
    ['s.r.o.', 'sro|s r o', 'any'], ['BVBA', 'bvba', 'any'], ['VOF', 'vof', 'any'],
    ['B.V.', 'besloten vennootschap', 'any'], ['N.V.', 'naamloze vennootschap', 'any'], ['ApS', 'aps|anpartsselskab', 'any'],
    ['Oyj', 'oyj', 'any'], ['ASA', 'asa', 'any'], ['d.o.o.', 'doo|d o o', 'any'], ['DOOEL', 'dooel', 'any'], ['EOOD', 'eood', 'any'],
    ['OOD', 'ood', 'any'], ['Kft', 'kft', 'any'], ['Zrt', 'zrt', 'any'], ['Nyrt', 'nyrt', 'any'], ['PJSC', 'pjsc', 'any'],
    ['JSC', 'jsc', 'any'], ['Tbk', 'tbk', 'any'], ['Bhd', 'bhd', 'any'], ['K.K.', 'kk|k k|株式会社|kabushiki kaisha', 'any'],
    ['有限会社', '有限会社', 'any'], ['股份有限公司', '股份有限公司', 'any'], ['有限公司', '有限公司', 'any'],
    ['ООО', 'ооо', 'any'], ['ОАО', 'оао', 'any'], ['ЗАО', 'зао', 'any'], ['ПАО', 'пао', 'any'], ['ТОВ', 'тов', 'any'],
    ['UAB', 'uab', 'any'],
    ['S.A.S.', 'sas|s a s|societe par actions simplifiee', 'end'], ['S.p.A.', 'spa|s p a|societa per azioni', 'end'],
    ['S.A.', 'sa|s a|sa ?nv|societe anonyme|sociedad anonima', 'end'], ['S.L.U.', 'slu|s l u', 'end'],
    ['S.L.', 'sl|s l|sociedad limitada', 'end'], ['AG', 'ag|a g', 'end'], ['KG', 'kg|k g|co kg', 'end'],
    ['B.V.', 'bv|b v', 'end'], ['N.V.', 'nv|n v', 'end'], ['A/S', 'as|a s|aktieselskab', 'end'], ['AB', 'ab|a b|aktiebolag', 'end'],
    ['Oy', 'oy( ab)?|o y|osakeyhtio', 'end'], ['OÜ', 'ou', 'end'], ['SE', 'se', 'end'], ['LP', 'lp|l p', 'end'], ['PC', 'pc|p c', 'end'],
    ['UG', 'ug', 'end'], ['e.K.', 'ek|e k', 'end'], ['A.E.', 'ae|a e', 'end'], ['d.d.', 'dd|d d', 'end'], ['AD', 'ad', 'end'],
    ['& Fils', 'et fils', 'end'], ['Cie', '(et )?cie|cia', 'end'], ['Co', 'company|co', 'end'],
]) }}
{% endmacro %}

{#
  Words that many companies have in their names: trades, places, and what every other firm calls itself. One of them in both
  names says nothing, however few of the accounts and customers at hand have it. To these come the words that more than
  five names, and more than one in 200 of them, have in either list (int_match_proofs__found). Chosen by hand (unverified).
#}
{% macro common_words() %}
{{ return(['group', 'groups', 'gruppe', 'groupe', 'grupo', 'gruppo', 'holding', 'holdings', 'international', 'global', 'world', 'worldwide',
    'national', 'general', 'united', 'first', 'new', 'best', 'premier', 'prime', 'royal', 'modern', 'classic', 'quality', 'service',
    'services', 'solution', 'solutions', 'system', 'systems', 'technology', 'technologies', 'technik', 'tech', 'digital', 'data', 'cloud',
    'software', 'web', 'online', 'network', 'networks', 'media', 'marketing', 'advertising', 'communications', 'design', 'designs', 'studio',
    'studios', 'creative', 'consulting', 'consultants', 'consultancy', 'advisors', 'advisory', 'partner', 'partners', 'associates',
    'management', 'capital', 'ventures', 'investment', 'investments', 'finance', 'financial', 'bank', 'insurance', 'accounting',
    'accountants', 'bookkeeping', 'legal', 'law', 'tax', 'trading', 'traders', 'trade', 'handel', 'import', 'export', 'commerce', 'sales',
    'supply', 'supplies', 'wholesale', 'retail', 'store', 'stores', 'shop', 'market', 'markets', 'industry', 'industries', 'industrial',
    'enterprise', 'enterprises', 'business', 'manufacturing', 'production', 'productions', 'products', 'works', 'engineering',
    'construction', 'builders', 'building', 'bau', 'contractors', 'contracting', 'electric', 'electrical', 'electronics', 'plumbing',
    'heating', 'roofing', 'painting', 'cleaning', 'repair', 'maintenance', 'machinery', 'machines', 'equipment', 'tools', 'hardware',
    'steel', 'metal', 'metals', 'plastics', 'glass', 'wood', 'timber', 'paper', 'packaging', 'printing', 'print', 'chemical', 'chemicals',
    'energy', 'power', 'solar', 'oil', 'gas', 'water', 'mining', 'transport', 'transportation', 'logistics', 'freight', 'shipping', 'marine',
    'aviation', 'auto', 'automotive', 'motor', 'motors', 'cars', 'tyres', 'travel', 'tours', 'tourism', 'hotel', 'hotels', 'hospitality',
    'restaurant', 'restaurants', 'cafe', 'coffee', 'catering', 'kitchen', 'food', 'foods', 'bakery', 'bakeries', 'backerei', 'boulangerie',
    'deli', 'dairy', 'meat', 'fish', 'seafood', 'farm', 'farms', 'agri', 'agriculture', 'garden', 'gardens', 'flowers', 'wine', 'wines',
    'beer', 'brewery', 'brewing', 'health', 'healthcare', 'medical', 'care', 'clinic', 'hospital', 'dental', 'dentist', 'pharma',
    'pharmacy', 'pharmaceuticals', 'optics', 'optical', 'fitness', 'sport', 'sports', 'beauty', 'salon', 'fashion', 'textile', 'textiles',
    'clothing', 'jewelry', 'furniture', 'interiors', 'ceramics', 'home', 'homes', 'house', 'property', 'properties', 'estate', 'estates',
    'realty', 'real', 'rental', 'rentals', 'leasing', 'security', 'safety', 'education', 'training', 'school', 'academy', 'institute',
    'university', 'college', 'research', 'science', 'sciences', 'labs', 'laboratory', 'laboratories', 'foundation', 'association', 'society',
    'club', 'center', 'centre', 'office', 'agency', 'brothers', 'bros', 'sons', 'sohne', 'family', 'fils', 'team', 'resources', 'robotics',
    'entertainment', 'events', 'music', 'film', 'films', 'books', 'publishing', 'press', 'news', 'games', 'toys', 'pet', 'pets', 'art',
    'arts', 'north', 'south', 'east', 'west', 'northern', 'southern', 'eastern', 'western', 'central', 'city', 'valley', 'river', 'lake',
    'mountain', 'coast', 'coastal', 'pacific', 'atlantic', 'america', 'american', 'usa', 'europe', 'european', 'euro', 'asia', 'asian',
    'africa', 'african', 'london', 'paris', 'berlin', 'york', 'texas', 'california', 'deutschland', 'germany', 'german', 'france', 'french',
    'italia', 'italy', 'espana', 'spain', 'england', 'british', 'britain', 'canada', 'australia', 'india', 'china', 'japan', 'swiss',
    'suisse', 'schweiz', 'nordic', 'company', 'corporation', 'limited', 'des', 'les', 'del', 'der', 'die', 'das', 'von', 'van', 'for',
    'customer', 'customers', 'client', 'account', 'test']) }}
{% endmacro %}

{# Letters that carry no accent to take off, as two companies would spell them in ASCII. #}
{% macro plain_letters(text) %}
{%- set ns = namespace(expression=text) -%}
{%- for letter, plain in {'ß': 'ss', 'ø': 'o', 'æ': 'ae', 'œ': 'oe', 'ł': 'l', 'đ': 'd', 'ð': 'd', 'þ': 'th', 'ı': 'i'}.items() -%}
{%- set ns.expression = "replace(" ~ ns.expression ~ ", '" ~ letter ~ "', '" ~ plain ~ "')" -%}
{%- endfor -%}
{{ ns.expression }}
{%- endmacro %}

{# A text as a person sees it: no characters without width or that only turn the direction, every blank one space. #}
{% macro visible_text(text) %}
trim({{ single_spaced(without_pattern(text, "[\\x{00ad}\\x{061c}\\x{180e}\\x{200b}-\\x{200f}\\x{202a}-\\x{202e}\\x{2060}-\\x{206f}\\x{feff}]")) }})
{% endmacro %}

{# A name in plain lower-case words, with a space before and after, its legal form among them. #}
{% macro plain_words(name) %}
{%- set plain = without_pattern(plain_letters(without_accents("lower(" ~ visible_text(name) | trim ~ ")")), "[^\\p{L}\\p{N}\\s]") -%}
{%- set words = without_pattern("concat(' ', " ~ plain ~ ", ' ')", "\\b(and|und)\\b|^\\s*the\\s") -%}
concat(' ', trim({{ single_spaced(words) }}), ' ')
{% endmacro %}

{#
  A company name for comparison: lower-case, no accents, no punctuation, no words of its legal form, no '&', 'and' or 'the'.
  'The Müller & Söhne GmbH' and 'muller sohne' are the same. Null when nothing is left.
#}
{% macro normalised_name(name) %}
{%- set at_end = legal_forms() | map(attribute=1) | join('|') -%}
{%- set anywhere = legal_forms() | selectattr(2, 'equalto', 'any') | map(attribute=1) | join('|') -%}
{%- set words = without_pattern(plain_words(name) | trim, "( (" ~ at_end ~ "))+ $") -%}
{%- set words = without_pattern("concat(" ~ words | trim ~ ", ' ')",
    "\\b(" ~ anywhere ~ ")\\b| (ооо|оао|зао|пао|тов) |株式会社|有限会社|股份有限公司|有限公司") -%}
nullif(trim({{ single_spaced(words) }}), '')
{% endmacro %}

{# The legal form in a company name as it is shown, of whichever spelling: 'Ltd' of 'Acme Limited'. Null when there is none. #}
{% macro legal_form(name) %}
{%- set words = plain_words(name) | trim -%}
case
    {%- for shown, spelled, where in legal_forms() %}
    when {{ has_pattern(words, " (" ~ spelled ~ ") $") }} then '{{ shown }}'
    {%- endfor %}
    {%- for shown, spelled, where in legal_forms() if where == 'any' %}
    when {{ has_pattern(words, " (" ~ spelled ~ ") ") }} then '{{ shown }}'
    {%- endfor %}
    {%- for shown in ['株式会社', '股份有限公司', '有限公司', '有限会社'] %}
    when {{ has_pattern(words, shown) }} then '{{ 'K.K.' if shown == '株式会社' else shown }}'
    {%- endfor %}
end
{% endmacro %}

{% macro single_spaced(expression) %}
{{ return(adapter.dispatch('single_spaced', 'crossfoot')(expression)) }}
{% endmacro %}
{% macro default__single_spaced(expression) %}regexp_replace({{ expression }}, '[\s\p{Z}]+', ' ', 'g'){% endmacro %}

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

{#
  The standing decisions about accounts and customers, each of an account that lives. That an account is a customer also
  holds for the account into which it was merged since, unless somebody decided about that one and the same customer.
#}
{% macro standing_matches() %}
select
    standing.source,
    coalesce(merges.account_id, standing.left_id) as left_id,
    standing.right_source,
    standing.right_id,
    standing.verdict,
    standing.decided_by,
    case when merges.account_id is null then standing.reason
        else {{ dbt.concat(["coalesce(standing.reason, 'no reason given')", "' (about account '", 'merges.merged_id',
            "', which was merged into this one)'"]) }} end as reason,
    standing.id
from ({{ standing_decisions('match') }}) as standing
left join {{ ref('int_account_merges__unioned') }} as merges
    on standing.source = merges.source and standing.left_id = merges.merged_id and standing.verdict = 'same'
qualify merges.account_id is null or row_number() over (
    partition by standing.source, coalesce(merges.account_id, standing.left_id), standing.right_source, standing.right_id
    order by case when merges.account_id is null then 0 else 1 end, standing.id
) = 1
{% endmacro %}
