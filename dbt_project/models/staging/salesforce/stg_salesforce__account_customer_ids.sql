{{ stored_customer_ids('salesforce', source('raw_salesforce', 'accounts')) }}
