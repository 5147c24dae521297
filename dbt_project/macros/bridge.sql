{# The causes of the variance bridge in their order; fx, the first, is what rates make and stands apart. #}
{% macro bridge_causes() %}
{{ return(['tax_in_contract', 'duplicate_invoice', 'credit_note', 'discount', 'price_or_quantity', 'awaiting_review',
    'scheduled', 'not_invoiced', 'partly_invoiced', 'over_invoiced', 'rounding', 'unexplained']) }}
{% endmacro %}

{# An amount without the tax that is in it; a divisor of 1 leaves it to the last decimal. #}
{% macro net_of(amount, divisor) %}{{ times_rate(amount, 1, divisor) }}{% endmacro %}
