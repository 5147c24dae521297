{{ union_vendors('payments') }}
