{{ union_vendors('merged_records') }}
