{{ activate_deals('salesforce') }}
