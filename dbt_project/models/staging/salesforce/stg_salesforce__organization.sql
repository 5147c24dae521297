-- An org with one currency has no list of currencies and names none on its records; one with several names its
-- corporate currency, against which it quotes all others.
with organization as (
    select max(currency) as currency, max(recurring_total) as recurring_total
    from ({{ newest_snapshot(source('raw_salesforce', 'organization')) }}) as snapshot
),

corporate as (
    select max(iso_code) as currency
    from ({{ newest_snapshot(source('raw_salesforce', 'currency_types')) }}) as snapshot
    where is_corporate
)

select
    coalesce({{ text_or_null('corporate.currency') }}, {{ text_or_null('organization.currency') }},
        '{{ var("base_currency") }}') as home_currency,
    coalesce(organization.recurring_total = 'period', false) as total_is_of_one_period
from organization
cross join corporate
