{{ union_vendors('control_totals') }}
