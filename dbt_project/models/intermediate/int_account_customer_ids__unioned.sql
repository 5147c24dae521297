{{ union_vendors('account_customer_ids') }}
