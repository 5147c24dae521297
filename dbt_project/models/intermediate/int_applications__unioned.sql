{{ union_vendors('applications') }}
