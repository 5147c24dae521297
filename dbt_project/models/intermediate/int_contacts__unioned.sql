{{ union_vendors('contacts') }}
