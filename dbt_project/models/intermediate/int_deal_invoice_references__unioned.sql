{{ union_vendors('deal_invoice_references') }}
