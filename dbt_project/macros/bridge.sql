{# The causes of the variance bridge in their order; fx, the first, is what rates make and stands apart. #}
{% macro bridge_causes() %}
{{ return(['tax_in_contract', 'duplicate_invoice', 'credit_note', 'discount', 'price_or_quantity', 'awaiting_review',
    'scheduled', 'not_invoiced', 'partly_invoiced', 'over_invoiced', 'rounding', 'unexplained']) }}
{% endmacro %}

{# Causes that say what is left, not why. #}
{% macro causes_of_the_rest() %}
{{ return(['unexplained', 'not_invoiced', 'partly_invoiced', 'over_invoiced']) }}
{% endmacro %}

{# Causes that somebody has to do something about. #}
{% macro causes_to_review() %}
{{ return(causes_of_the_rest() + ['duplicate_invoice', 'price_or_quantity', 'awaiting_review']) }}
{% endmacro %}

{# An amount without the tax that is in it: `net` of every `gross`, both above zero. #}
{% macro net_of(amount, net, gross) %}
case when {{ net }} = {{ gross }} then {{ amount }} else {{ times_rate(amount, net, gross) | trim }} end
{% endmacro %}

{# An amount of a document in another currency in that of its deal, by way of the base currency, at the rates of its day. #}
{% macro in_deal_currency(amount, document) %}
{{ times_rate(
    times_rate(amount, document ~ '.rate', document ~ '.rate_divisor') | trim,
    'coalesce(' ~ document ~ '.quote_divisor, 1)', document ~ '.quote_rate') | trim }}
{% endmacro %}

{# What a line of a deal sells: its code, else its name, else itself. #}
{% macro product_of(line) %}lower(coalesce({{ line }}.product_code, {{ line }}.name, {{ line }}.line_id)){% endmacro %}
