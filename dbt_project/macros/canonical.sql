{#
  The staging contract, declared once per object: side (who provides it; all: tables of rates too) and columns in order,
  as [name, type].
  Staging models end with canonical_select, unions list the columns from here, and the YAML contract of each union
  is compared with this declaration by tests/test_dbt_models.py.
#}
{% macro canonical_objects() %}
{% set text, money, rate, share = 'varchar', 'decimal(28,6)', 'decimal(28,12)', 'decimal(9,6)' %}
{% set moment, integer = 'timestamp with time zone', 'bigint' %}
{{ return({
  'accounts': {'side': 'crm', 'columns': [
    ['source', text], ['account_id', text], ['name', text], ['domain', text], ['email', text], ['street', text],
    ['city', text], ['region', text], ['postal_code', text], ['country', text], ['owner_id', text],
    ['parent_id', text], ['url', text], ['modified_at', moment], ['problem', text]]},
  'account_customer_ids': {'side': 'crm', 'columns': [
    ['source', text], ['account_id', text], ['ledger', text], ['customer_id', text], ['stored_on', text], ['url', text]]},
  'account_merges': {'side': 'crm', 'columns': [
    ['source', text], ['merged_id', text], ['account_id', text]]},
  'contacts': {'side': 'crm', 'columns': [
    ['source', text], ['contact_id', text], ['account_id', text], ['email', text], ['first_name', text],
    ['last_name', text], ['url', text], ['problem', text]]},
  'owners': {'side': 'crm', 'columns': [
    ['source', text], ['owner_id', text], ['email', text], ['first_name', text], ['last_name', text], ['url', text],
    ['problem', text]]},
  'deals': {'side': 'crm', 'enumerated': ['stage'], 'columns': [
    ['source', text], ['deal_id', text], ['name', text], ['account_id', text], ['owner_id', text],
    ['pipeline', text], ['stage', text], ['amount', money], ['currency', text], ['rate', rate],
    ['rate_divisor', rate], ['close_date', 'date'], ['probability', share], ['is_won', 'boolean'], ['is_closed', 'boolean'],
    ['deal_type', text], ['payment_terms', text], ['contract_start', 'date'], ['contract_end', 'date'],
    ['url', text], ['modified_at', moment], ['problem', text]]},
  'deal_lines': {'side': 'crm', 'enumerated': ['billing_frequency'], 'columns': [
    ['source', text], ['deal_id', text], ['line_id', text], ['product_code', text], ['name', text],
    ['quantity', money], ['unit_price', money], ['discount', money], ['amount', money], ['currency', text],
    ['billing_frequency', text], ['billing_start', 'date'], ['billing_periods', integer], ['term_assumed', 'boolean'],
    ['url', text],
    ['problem', text]]},
  'deal_invoice_references': {'side': 'crm', 'columns': [
    ['source', text], ['deal_id', text], ['document_number', text], ['url', text]]},
  'customers': {'side': 'ledger', 'columns': [
    ['source', text], ['customer_id', text], ['name', text], ['legal_name', text], ['email', text],
    ['domain', text], ['parent_id', text], ['currency', text], ['crm_account_id', text], ['active', 'boolean'],
    ['terms_days', integer], ['url', text], ['modified_at', moment], ['problem', text]]},
  'documents': {'side': 'ledger', 'enumerated': ['status', 'delivery'], 'columns': [
    ['source', text], ['document_type', text], ['document_id', text], ['number', text], ['customer_id', text],
    ['status', text], ['delivery', text], ['issue_date', 'date'], ['due_date', 'date'], ['currency', text],
    ['rate', rate], ['rate_divisor', rate], ['net', money], ['tax', money], ['gross', money], ['open_amount', money],
    ['refunded_amount', money], ['withheld', money], ['deal_reference', text], ['reference_text', text], ['url', text],
    ['modified_at', moment], ['problem', text]]},
  'document_lines': {'side': 'ledger', 'enumerated': ['line_kind'], 'columns': [
    ['source', text], ['document_type', text], ['document_id', text], ['line_number', integer],
    ['line_kind', text], ['product_code', text], ['description', text], ['quantity', money],
    ['unit_price', money], ['amount', money], ['service_date', 'date'], ['url', text], ['problem', text]]},
  'payments': {'side': 'ledger', 'enumerated': ['payment_type'], 'columns': [
    ['source', text], ['payment_id', text], ['payment_type', text], ['customer_id', text],
    ['payment_date', 'date'], ['currency', text], ['rate', rate], ['rate_divisor', rate], ['amount', money],
    ['unapplied_amount', money], ['reference_text', text], ['url', text], ['modified_at', moment],
    ['problem', text]]},
  'applications': {'side': 'ledger', 'enumerated': ['document_type'], 'columns': [
    ['source', text], ['applied_type', text], ['applied_id', text], ['document_type', text],
    ['document_id', text], ['amount', money], ['applied_date', 'date'], ['url', text], ['problem', text]]},
  'control_totals': {'side': 'ledger', 'columns': [
    ['source', text], ['customer_id', text], ['customer_name', text], ['report_date', 'date'],
    ['currency', text], ['bucket_current', money], ['bucket_1_30', money], ['bucket_31_60', money],
    ['bucket_61_90', money], ['bucket_91_plus', money], ['total', money], ['own_currency', text],
    ['own_total', money], ['url', text], ['problem', text]]},
  'closing_dates': {'side': 'ledger', 'columns': [
    ['source', text], ['closing_date', 'date'], ['first_known_at', moment]]},
  'not_read': {'side': 'ledger', 'columns': [
    ['source', text], ['entity', text], ['record_id', text], ['customer_id', text], ['posted_on', 'date'],
    ['currency', text], ['amount', money], ['record_count', integer], ['reason', text], ['url', text]]},
  'rates': {'side': 'all', 'columns': [
    ['source', text], ['from_currency', text], ['to_currency', text], ['rate', rate], ['rate_divisor', rate],
    ['rate_date', 'date']]},
}) }}
{% endmacro %}

{% macro canonical_object(object) %}
{% set objects = canonical_objects() %}
{% if object not in objects %}
  {{ exceptions.raise_compiler_error(
    "no canonical object '" ~ object ~ "'; declared are " ~ objects.keys() | join(', ')) }}
{% endif %}
{{ return(objects[object]) }}
{% endmacro %}

{#
  The last statement of every staging model: exactly the declared columns, cast to the declared types. A rate that does not
  fit its type is none, so that the record is held for want of a rate and the rest of the night goes on.
#}
{% macro canonical_select(object, relation) %}
select
  {%- for column in canonical_object(object)['columns'] %}
    {{ 'try_cast' if column[0] in ['rate', 'rate_divisor'] else 'cast' }}({{ column[0] }} as {{ column[1] }}) as {{ column[0] }}
    {{- ',' if not loop.last }}
  {%- endfor %}
from {{ relation }}
{% endmacro %}

{# The slugs that provide an object. #}
{% macro vendors_of(object) %}
{% set side = canonical_object(object)['side'] %}
{{ return((var('crms') if side != 'ledger' else []) + (var('ledgers') if side != 'crm' else [])
    + (var('rates') if side == 'all' else [])) }}
{% endmacro %}

{#
  All vendors of an object under each other; the columns are listed, so a vendor that lacks one fails with its name. What no
  record can mean is a problem of that record here, for every vendor and object alike: a value or a currency that nobody
  enumerated, and a day outside the plausible window, which is then unknown.
#}
{% macro union_vendors(object) %}
{%- set columns = canonical_object(object)['columns'] -%}
{%- set vendors = vendors_of(object) -%}
{%- for vendor in vendors %}
select
  {%- for column in columns %}
    {%- if column[1] == 'date' %}
    case when {{ is_plausible(column[0]) }} then {{ column[0] }} end as {{ column[0] }}
    {%- elif column[0] == 'problem' %}
    {{ problems_of(object) }} as problem
    {%- else %}
    {{ column[0] }}
    {%- endif %}
    {{- ',' if not loop.last }}
  {%- endfor %}
from {{ ref('stg_' ~ vendor ~ '__' ~ object) }}
{{ 'union all' if not loop.last }}
{%- else %}
select
  {%- for column in columns %}
    cast(null as {{ column[1] }}) as {{ column[0] }}{{ ',' if not loop.last }}
  {%- endfor %}
where false
{%- endfor %}
{% endmacro %}

{# Whether a day can be the day of a business record: no typing error makes a month of the year 24 or an invoice due in 2926. #}
{% macro is_plausible(day) %}
{{ day }} between cast('{{ var("first_plausible_year") }}-01-01' as date)
    and {{ add_months(as_of(), 12 * (var('plausible_years_ahead') | int)) }}
{%- endmacro %}

{# What staging could not read, and what cannot be meant: one text, null where nothing is wrong. #}
{% macro problems_of(object) %}
{%- set declared = canonical_object(object) -%}
{%- set found = ['problem'] -%}
{%- for column in declared['columns'] -%}
    {%- if column[1] == 'date' -%}
        {%- set words = dbt.concat(["'" ~ column[0] ~ ": '", dbt.cast(column[0], 'varchar'), "' is no plausible day'"]) -%}
        {%- do found.append("case when not (" ~ is_plausible(column[0]) ~ ") then " ~ words ~ " end") -%}
    {%- elif column[0] == 'currency' -%}
        {%- set known = "currency in (select code from " ~ ref('iso_currencies') ~ ")" -%}
        {%- do found.append("case when not (" ~ known ~ ") then " ~ dbt.concat(["'currency: '", 'currency', "' is no ISO 4217 code'"])
            ~ " end") -%}
    {%- elif column[0] in declared.get('enumerated', []) -%}
        {%- set words = dbt.concat(["'" ~ column[0] ~ ": nobody enumerated '", 'substr(' ~ column[0] ~ ', 10)']) -%}
        {%- do found.append("case when " ~ column[0] ~ " like 'unknown: %' then " ~ words ~ " end") -%}
    {%- endif -%}
{%- endfor -%}
{{ joined_texts(found) }}
{%- endmacro %}
