{{ activate_accounts('hubspot') }}
