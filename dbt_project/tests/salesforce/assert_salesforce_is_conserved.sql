-- Memo: what Salesforce gave is modelled or deleted; nothing is lost on the way.
{{ conserved([
    record_check(source('raw_salesforce', 'accounts') | string, 'accounts', modelled_records('accounts', 'salesforce', 'account_id')),
    record_check(source('raw_salesforce', 'contacts') | string, 'contacts', modelled_records('contacts', 'salesforce', 'contact_id')),
    record_check(source('raw_salesforce', 'users') | string, 'users', modelled_records('owners', 'salesforce', 'owner_id')),
    record_check(source('raw_salesforce', 'opportunities') | string, 'opportunities', modelled_records('deals', 'salesforce', 'deal_id')),
    record_check(source('raw_salesforce', 'opportunity_lines') | string, 'opportunity_lines', modelled_records('deal_lines', 'salesforce', 'line_id')),
]) }}
