{%- set version = ['modified_at', id_as_number('sync_token')] -%}
-- What deposits, purchases and journal entries post on an account of receivables: one row per entry and customer, with what
-- it adds to what the customer owes (negative: takes away).
with entries as (
    {%- for entity, entries, lines, owner, sign in [
        ('deposit', 'deposits', 'deposit_lines', 'deposit_id', '-1'),
        ('purchase', 'purchases', 'purchase_lines', 'purchase_id',
            'case when coalesce(entries.is_credit, false) then -1 else 1 end'),
        ('journal', 'journal_entries', 'journal_entry_lines', 'journal_entry_id',
            "case lines.posting when 'Debit' then 1 when 'Credit' then -1 end")] %}
    select
        '{{ entity }}' as entity,
        entries.id as entry_id,
        lines.customer_id,
        entries.txn_date,
        entries.currency,
        entries.exchange_rate,
        entries.private_note,
        entries.url,
        entries.modified_at,
        sum(lines.amount * {{ sign }}) as amount,
        count(*) over (partition by entries.id) as customer_count,
        coalesce(max(entries._problem), max(lines._problem)) as problem
    from ({{ newest(source('raw_quickbooks', entries), ['id'], version) }}) as entries
    inner join ({{ newest(source('raw_quickbooks', lines), [owner, 'sync_token', 'line_number'], []) }}) as lines
        on entries.id = lines.{{ owner }} and entries.sync_token = lines.sync_token
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    entries.*,
    {{ dbt.concat(["entity", "'-'", 'entry_id', "case when customer_count > 1 then coalesce('-' || customer_id, '') else '' end"]) }}
        as row_id
from entries
