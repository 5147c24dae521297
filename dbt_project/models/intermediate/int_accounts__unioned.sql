{{ union_vendors('accounts') }}
