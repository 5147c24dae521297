-- Memo: the write-back sees each account and each won deal once, so that what it does not write is held, not lost.
{{ activation_covers('salesforce', 'sync_salesforce__accounts', 'sync_salesforce__opportunities') }}
