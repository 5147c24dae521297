{{ union_vendors('not_read') }}
