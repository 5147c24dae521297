{{ union_vendors('documents') }}
