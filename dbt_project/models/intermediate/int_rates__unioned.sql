{{ union_vendors('rates') }}
