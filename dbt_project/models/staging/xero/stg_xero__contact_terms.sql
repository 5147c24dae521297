-- A contact's own terms for sales, as a kind and a number: days after the bill, or a day of a month.
with contacts as (
    {{ newest(source('raw_xero', 'contacts'), ['id']) }}
)

select
    id as contact_id,
    sales_terms_day as terms_day,
    {{ enumerate('sales_terms_type', {
        'DAYSAFTERBILLDATE': 'days_after_bill', 'DAYSAFTERBILLMONTH': 'days_after_month',
        'OFCURRENTMONTH': 'day_of_month', 'OFFOLLOWINGMONTH': 'day_of_next_month'
    }) }} as terms_kind
from contacts
where sales_terms_day is not null
