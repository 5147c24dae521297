{{ union_vendors('deal_lines') }}
