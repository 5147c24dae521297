-- Memo: the write-back sees each account and each won deal once, so that what it does not write is held, not lost.
{{ activation_covers('hubspot', 'sync_hubspot__companies', 'sync_hubspot__deals') }}
