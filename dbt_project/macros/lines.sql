{#
  What a priced line of a document is, by one rule for every ledger: discount or item. A negative amount is a discount only
  where its price is what is negative, or there is no quantity that could be, and its product is not also sold on the same
  document. A negative quantity is a return, a negative price of a product that is sold beside it a correction: both are
  items, and the difference they make is one of price or quantity. `document` lists the columns that name the document.
  Contains a window: neither an aggregate nor a where clause may hold it.
#}
{% macro kind_of_line(amount, quantity, unit_price, product_code, document) %}
case
    when {{ amount }} < 0
        and ({{ quantity }} is null or {{ quantity }} = 0 or ({{ quantity }} > 0 and coalesce({{ unit_price }}, -1) < 0))
        and ({{ text_or_null(product_code) }} is null or not coalesce(max({{ amount }} > 0) over (
            partition by {{ document | join(', ') }}, {{ text_or_null(product_code) }}
        ), false))
        then 'discount'
    else 'item'
end
{% endmacro %}
