{{ union_vendors('customers') }}
