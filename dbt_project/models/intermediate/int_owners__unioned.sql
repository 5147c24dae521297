{{ union_vendors('owners') }}
