{{ union_vendors('document_lines') }}
