{{ activate_deals('hubspot') }}
