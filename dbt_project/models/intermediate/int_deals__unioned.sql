{{ union_vendors('deals') }}
