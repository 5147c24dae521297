{{ stored_customer_ids('salesforce', newest(source('raw_salesforce', 'accounts'), ['id'])) }}
