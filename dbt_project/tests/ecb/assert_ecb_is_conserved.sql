-- Memo: what the ECB quoted is a rate to the base currency, or dropped for one of these reasons. The euro's own rate is
-- made of the others and is no row of the table.
{%- set raw = source('raw_ecb', 'reference_rates') | string %}
{%- set base = "'" ~ var('base_currency') ~ "'" %}
{%- set newest_quotes -%}
(select id as record_id, currency, rate_date, coalesce(rate, 0) > 0 and rate_date is not null as is_rate
    from (select raw.*, rank() over (partition by id order by _landed_at desc) as recency
        from {{ raw }} as raw where _landed_at <= {{ known_at() }}) as versions
    where recency = 1) as quotes
{%- endset %}
{{ conserved([{
    'name': 'reference_rates', 'extracted': extracted_records(raw, 'id'),
    'modelled': modelled_records('rates', 'ecb', "cast(rate_date as varchar) || ' ' || from_currency")
        ~ " and from_currency <> 'EUR'",
    'dropped': {
        'it is no rate': "select record_id from " ~ newest_quotes ~ " where not is_rate",
        'it is of the base currency': "select record_id from " ~ newest_quotes ~ " where is_rate and currency = " ~ base,
        'the base currency was not quoted that day': "select record_id from " ~ newest_quotes
            ~ " where is_rate and currency <> " ~ base ~ " and " ~ base ~ " <> 'EUR' and rate_date not in (select rate_date from "
            ~ newest_quotes ~ " where is_rate and currency = " ~ base ~ ")",
    },
}]) }}
