-- Memo: what HubSpot gave is modelled, deleted, or dropped for one of these reasons; nothing is lost on the way.
{%- set raw = {} %}
{%- for table in ['companies', 'contacts', 'owners', 'deals', 'deal_line_items', 'line_items'] %}
    {%- do raw.update({table: source('raw_hubspot', table) | string}) %}
{%- endfor %}
{#- The list of a deal's lines is landed as a whole; its newest landing is the one that counts. -#}
{%- set listed -%}
(select links.deal_id || '#' || links.line_item_id as record_id, links.line_item_id,
        max(case when links._landed_at = lists.landed_at and not links._deleted then 1 else 0 end) = 1 as stands
    from {{ raw.deal_line_items }} as links
    inner join (select deal_id, max(_landed_at) as landed_at from {{ raw.deal_line_items }}
        where _landed_at <= {{ known_at() }} group by 1) as lists on links.deal_id = lists.deal_id
    where links.line_item_id is not null and links._landed_at <= {{ known_at() }}
    group by 1, 2) as listed
    left join ({{ deleted_records(raw.line_items, 'id') }}) as gone on listed.line_item_id = gone.record_id
{%- endset %}
{{ conserved([
    record_check(raw.companies, 'companies', modelled_records('accounts', 'hubspot', 'account_id')),
    record_check(raw.contacts, 'contacts', modelled_records('contacts', 'hubspot', 'contact_id')),
    record_check(raw.owners, 'owners', modelled_records('owners', 'hubspot', 'owner_id')),
    record_check(raw.deals, 'deals', modelled_records('deals', 'hubspot', 'deal_id')),
    {'name': 'deal_line_items', 'extracted': "select distinct listed.record_id from " ~ listed,
        'modelled': modelled_records('deal_lines', 'hubspot', "deal_id || '#' || line_id"),
        'dropped': {
            'no longer on the deal': "select listed.record_id from " ~ listed ~ " where not listed.stands",
            'the line item is deleted': "select listed.record_id from " ~ listed
                ~ " where listed.stands and gone.record_id is not null"}},
]) }}
