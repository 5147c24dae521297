{{ union_vendors('account_merges') }}
