{{ stored_customer_ids('hubspot', source('raw_hubspot', 'companies')) }}
