{{ stored_customer_ids('hubspot', newest(source('raw_hubspot', 'companies'), ['id'])) }}
