-- QuickBooks leaves the home currency out of documents that are in it.
select coalesce(max(home_currency), '{{ var("base_currency") }}') as home_currency
from ({{ newest_snapshot(source('raw_quickbooks', 'preferences')) }}) as preferences
