{{ union_vendors('closing_dates') }}
