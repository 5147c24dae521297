{{ activate_accounts('salesforce') }}
