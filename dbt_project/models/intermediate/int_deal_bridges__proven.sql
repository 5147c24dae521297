-- What each cause proves of the difference between contracted and invoiced, in the deal's currency: the causes add up to
-- it exactly. Only deals with a difference have a row. A document in another currency counts in the deal's currency at
-- the rates of its day. DECISIONS.md, "The bridge", has the rules and an example of each.
{%- set tolerance = var('tolerance') %}
{%- set ordered_price = ratio('ordered.net + ordered.discount', 'ordered.quantity') %}
{%- set expected_price = ratio('expected.net + expected.discount', 'expected.quantity') %}
{%- set instalment = ratio('expected.net + expected.discount', 'expected.period_count') %}
{%- set zero = 'cast(0 as decimal(28,6))' %}
with deals as (
    select
        source, deal_id, currency, close_date, rate, rate_divisor, contracted, contracted_base, invoiced, invoiced_base, variance,
        in_other_currency, document_count, invoice_count, line_count, tax, duplicate_net, has_problem,
        {{ tolerance }} * greatest(document_count, 1) as margin
    from {{ ref('int_deals__compared') }}
    where contracted_base is not null and invoiced_base is not null
        and (variance is distinct from 0 or invoiced_base <> contracted_base)
),

-- Rates alone make a difference in base currency: such deals have nothing else to prove.
different as (
    select * from deals where variance is distinct from 0
),

-- The linked documents, and the drafts that name the deal.
documents as (
    select
        different.source as deal_source,
        different.deal_id,
        valued.source, valued.document_type, valued.document_id, valued.issue_date, valued.currency,
        {{ one_rate('valued.rate', 'valued.rate_divisor') | trim }} as rate,
        valued.net, valued.net_base, valued.tax, valued.problem, false as is_draft
    from different
    inner join {{ ref('int_documents__linked') }} as links
        on different.source = links.deal_source and different.deal_id = links.deal_id and links.outcome = 'linked'
    inner join {{ ref('int_documents__valued') }} as valued
        on links.source = valued.source and links.document_type = valued.document_type
        and links.document_id = valued.document_id

    union all

    select
        different.source, different.deal_id,
        valued.source, valued.document_type, valued.document_id, valued.issue_date, valued.currency,
        {{ one_rate('valued.rate', 'valued.rate_divisor') | trim }} as rate,
        valued.net, valued.net_base, valued.tax, valued.problem, true
    from {{ ref('int_documents__valued') }} as valued
    inner join different on valued.deal_reference = different.deal_id
    where valued.status in ('draft', 'pending_approval') and valued.document_type = 'invoice'
        and valued.net_base is not null
),

quotes as (
    select
        source,
        from_currency,
        {{ one_rate('rate', 'rate_divisor') | trim }} as rate,
        rate_date,
        lead(rate_date) over (partition by source, from_currency order by rate_date) as next_date
    from {{ ref('int_rates__unioned') }} as unioned
    where to_currency = '{{ var("base_currency") }}' and {{ is_rate('unioned') }} and rate_date is not null
),

-- Deal currency per document currency on the document's day, at the first rate that anybody has of it. Without one the
-- rate of the close stands in, so that nothing is called an effect of rates which is not one.
providers as (
    {{ rate_providers() }}
),

foreign_documents as (
    select
        documents.deal_source,
        documents.deal_id,
        documents.source,
        documents.document_type,
        documents.document_id,
        {{ ratio(
            'documents.rate',
            "case when different.currency = '" ~ var('base_currency')
            ~ "' then 1 else coalesce(quotes.rate, " ~ one_rate('different.rate', 'different.rate_divisor') ~ ") end") }} as factor,
        row_number() over (
            partition by documents.deal_source, documents.deal_id, documents.source, documents.document_type,
                documents.document_id
            order by case when quotes.rate is null then 1 else 0 end, providers.place) as choice
    from documents
    inner join different on documents.deal_source = different.source and documents.deal_id = different.deal_id
    left join providers on different.source = providers.source
    left join quotes
        on providers.provider = quotes.source and different.currency = quotes.from_currency
        and documents.issue_date >= quotes.rate_date
        and (documents.issue_date < quotes.next_date or quotes.next_date is null)
        and (providers.carried_days is null
            or {{ days_between('quotes.rate_date', 'documents.issue_date') }} <= providers.carried_days)
    where documents.currency <> different.currency
),

converted as (
    select
        documents.deal_source,
        documents.deal_id,
        documents.source,
        documents.document_type,
        documents.document_id,
        documents.issue_date,
        documents.is_draft,
        documents.problem,
        coalesce(foreign_documents.factor, 1) as factor,
        {{ times_rate('documents.net', 'coalesce(foreign_documents.factor, 1)') }} as net,
        {{ times_rate('documents.tax', 'coalesce(foreign_documents.factor, 1)') }} as tax
    from documents
    left join foreign_documents
        on documents.deal_source = foreign_documents.deal_source and documents.deal_id = foreign_documents.deal_id
        and documents.source = foreign_documents.source
        and documents.document_type = foreign_documents.document_type
        and documents.document_id = foreign_documents.document_id
        and foreign_documents.choice = 1
),

-- The lines of the deal by product, and what of each its schedule bills later.
deal_lines as (
    select
        lines.source as deal_source,
        lines.deal_id,
        lower(coalesce(lines.product_code, lines.name, lines.line_id)) as product,
        lower(lines.product_code) as product_code,
        lower(lines.name) as product_name,
        lines.quantity,
        lines.amount,
        coalesce(lines.discount, 0) as discount,
        coalesce(schedule.period_count, 1) as period_count,
        coalesce(schedule.later_amount, 0) as later_amount,
        coalesce(schedule.later_discount, 0) as later_discount,
        schedule.line_id is not null as is_scheduled,
        row_number() over (partition by lines.source, lines.deal_id order by lines.line_id) as position
    from different
    inner join {{ ref('int_deal_lines__unioned') }} as lines
        on different.source = lines.source and different.deal_id = lines.deal_id
    left join {{ ref('int_deal_lines__scheduled') }} as schedule
        on lines.source = schedule.source and lines.deal_id = schedule.deal_id and lines.line_id = schedule.line_id
),

document_lines as (
    select
        converted.deal_source,
        converted.deal_id,
        converted.source,
        converted.document_id,
        converted.is_draft,
        lines.line_kind,
        lower(lines.product_code) as product_code,
        lower(lines.description) as description,
        lines.quantity,
        {{ times_rate('lines.amount', 'converted.factor') }} as amount,
        row_number() over (
            partition by converted.deal_source, converted.deal_id, converted.source, converted.document_id,
                lines.line_kind
            order by lines.line_number) as position,
        count(*) over (
            partition by converted.deal_source, converted.deal_id, converted.source, converted.document_id,
                lines.line_kind) as line_count
    from converted
    inner join {{ ref('int_document_lines__unioned') }} as lines
        on converted.source = lines.source and converted.document_type = lines.document_type
        and converted.document_id = lines.document_id
    where converted.document_type = 'invoice' and lines.line_kind in ('item', 'discount')
),

-- A line of an invoice is the deal's product by its code, else by its text, else, when it has no code and the invoice
-- as many lines as the deal, by its place.
codes as (
    select deal_source, deal_id, word, min(product) as product
    from (
        select deal_source, deal_id, product_code as word, product from deal_lines where product_code is not null
        union all
        select deal_source, deal_id, product_name, product from deal_lines where product_name is not null
    ) as words
    group by 1, 2, 3
),

items as (
    select
        lines.*,
        coalesce(
            by_code.product,
            by_text.product,
            case when lines.product_code is null and lines.line_count = different.line_count then by_place.product end
        ) as product
    from document_lines as lines
    inner join different on lines.deal_source = different.source and lines.deal_id = different.deal_id
    left join codes as by_code
        on lines.deal_source = by_code.deal_source and lines.deal_id = by_code.deal_id
        and lines.product_code = by_code.word
    left join codes as by_text
        on lines.deal_source = by_text.deal_source and lines.deal_id = by_text.deal_id
        and lines.description = by_text.word
    left join deal_lines as by_place
        on lines.deal_source = by_place.deal_source and lines.deal_id = by_place.deal_id
        and lines.position = by_place.position
    where lines.line_kind = 'item'
),

document_totals as (
    select
        deal_source,
        deal_id,
        sum(case when is_draft then 0 when document_type = 'invoice' then net else -net end) as invoiced,
        sum(case when is_draft then 0 when document_type = 'invoice' then tax else -tax end) as tax,
        sum(case when not is_draft and document_type = 'invoice' then net else 0 end) as billed,
        sum(case when not is_draft and document_type = 'invoice' then tax else 0 end) as billed_tax,
        sum(case when not is_draft and document_type = 'credit_note' then net else 0 end) as credited,
        sum(case when is_draft then net else 0 end) as drafted,
        sum(case when problem is not null and not is_draft then 1 else 0 end) as problem_count
    from converted
    group by 1, 2
),

line_totals as (
    select
        deal_source,
        deal_id,
        sum(case when line_kind = 'discount' then amount else 0 end) as discount,
        sum(amount) as amount
    from document_lines
    where not is_draft
    group by 1, 2
),

totals as (
    select
        different.*,
        coalesce(documents.invoiced, 0) as invoiced_here,
        coalesce(documents.tax, 0) as tax_here,
        coalesce(documents.credited, 0) as credited,
        coalesce(documents.drafted, 0) as drafted,
        coalesce(documents.billed, 0) as billed,
        coalesce(lines.discount, 0) as line_discount,
        coalesce(lines.discount, 0) <> 0 as has_discount_line,
        different.has_problem or coalesce(documents.problem_count, 0) > 0 as is_doubtful,
        -- Line by line only where the lines are there on both sides and are all that there is.
        different.line_count > 0
            and {{ within('coalesce(lines.amount, 0)', 'coalesce(documents.billed, 0)', 'different.margin') }}
            as has_lines,
        case
            when documents.billed_tax > 0 and documents.billed > 0
                then {{ ratio('documents.billed_tax', 'documents.billed') }}
            else 0
        end as tax_share,
        coalesce(documents.billed_tax, 0) as billed_tax
    from different
    left join document_totals as documents
        on different.source = documents.deal_source and different.deal_id = documents.deal_id
    left join line_totals as lines
        on different.source = lines.deal_source and different.deal_id = lines.deal_id
),

-- Where the invoice shows a discount, its lines are at the price before it, and so the deal's are taken at theirs.
ordered as (
    select
        lines.deal_source,
        lines.deal_id,
        lines.product,
        sum(lines.quantity) as quantity,
        sum(lines.amount) as net,
        sum(case when totals.has_discount_line then lines.discount else 0 end) as discount,
        sum(lines.later_amount) as later_net,
        sum(case when totals.has_discount_line then lines.later_discount else 0 end) as later_discount,
        max(lines.period_count) as period_count,
        max(case when lines.is_scheduled then 1 else 0 end) = 1 as is_scheduled
    from deal_lines as lines
    inner join totals on lines.deal_source = totals.source and lines.deal_id = totals.deal_id
    group by 1, 2, 3
),

billed as (
    select
        deal_source,
        deal_id,
        product,
        sum(case when is_draft then 0 else amount end) as amount,
        sum(case when is_draft then amount else 0 end) as drafted,
        sum(case when is_draft then 0 else 1 end) as line_count,
        sum(case when quantity is null or quantity = 0 then 1 else 0 end) as without_quantity,
        min(case when not is_draft then {{ ratio('amount', 'quantity') }} end) as lowest_price,
        max(case when not is_draft then {{ ratio('amount', 'quantity') }} end) as highest_price,
        min(case when not is_draft then amount end) as lowest_amount,
        max(case when not is_draft then amount end) as highest_amount
    from items
    where product is not null
    group by 1, 2, 3
),

-- The tax of the invoices is in the contract when it is the whole difference, when each price of the deal is the
-- invoice's price and its tax, or when with it the other facts make the difference to the cent.
price_signs as (
    select
        ordered.deal_source,
        ordered.deal_id,
        sum(case
            when {{ within(ordered_price, 'billed.lowest_price * (1 + totals.tax_share)', tolerance) }}
                and {{ within(ordered_price, 'billed.highest_price * (1 + totals.tax_share)', tolerance) }} then 0
            else 1
        end) as without_tax,
        sum(case when {{ within(ordered_price, 'billed.lowest_price', tolerance) }} then 0 else 1 end) as with_tax
    from ordered
    inner join totals
        on ordered.deal_source = totals.source and ordered.deal_id = totals.deal_id
        and totals.tax_share > 0 and totals.has_lines
    inner join billed
        on ordered.deal_source = billed.deal_source and ordered.deal_id = billed.deal_id
        and ordered.product = billed.product and billed.line_count > 0
    group by 1, 2
),

sold as (
    select
        deal_source,
        deal_id,
        sum(later_net) as later,
        sum(discount) - sum(later_discount) as due_discount
    from ordered
    group by 1, 2
),

assessed as (
    select
        totals.*,
        coalesce(sold.later, 0) as later,
        coalesce(sold.due_discount, 0) as due_discount,
        -- The rate that was meant: cents make 8.0011 % of 8 %.
        case
            when {{ within('totals.billed * round(totals.tax_share, 4)', 'totals.billed_tax',
                '0.005 * totals.invoice_count') }}
            then round(totals.tax_share, 4) else totals.tax_share end as tax_rate,
        -- Equal prices say that it is not: ten of twelve instalments are as much short as their tax of 20 %.
        {{ within('totals.invoiced_here - totals.contracted', '-totals.tax_here', 'totals.margin') }}
            and not coalesce(price_signs.with_tax = 0, false) as tax_is_all,
        coalesce(price_signs.with_tax > 0 and price_signs.without_tax = 0, false) as prices_have_tax
    from totals
    left join sold on totals.source = sold.deal_source and totals.deal_id = sold.deal_id
    left join price_signs on totals.source = price_signs.deal_source and totals.deal_id = price_signs.deal_id
),

hypotheses as (
    select
        assessed.*,
        case
            when {{ within('invoiced_here - contracted', '0', 'margin') }} then 1
            when tax_share = 0 then 1
            when tax_is_all then 1 + tax_share
            when {{ within(
                'invoiced_here - contracted', '-credited + line_discount + due_discount - later', 'margin') }} then 1
            when prices_have_tax then 1 + tax_rate
            when {{ within(
                'invoiced_here - ' ~ ratio('contracted - later', '1 + tax_rate'),
                '-credited + line_discount + ' ~ ratio('due_discount', '1 + tax_rate'), 'margin') }}
                and (credited <> 0 or line_discount <> 0 or later <> 0) then 1 + tax_rate
            else 1
        end as divisor
    from assessed
),

-- The deal's lines without the tax that is in them.
expected as (
    select
        ordered.deal_source,
        ordered.deal_id,
        ordered.product,
        ordered.quantity,
        ordered.period_count,
        ordered.is_scheduled,
        {{ net_of('ordered.net', 'hypotheses.divisor') }} as net,
        {{ net_of('ordered.discount', 'hypotheses.divisor') }} as discount,
        {{ net_of('ordered.later_net', 'hypotheses.divisor') }} as later_net,
        {{ net_of('ordered.later_discount', 'hypotheses.divisor') }} as later_discount
    from ordered
    inner join hypotheses
        on ordered.deal_source = hypotheses.source and ordered.deal_id = hypotheses.deal_id
),

expected_totals as (
    select
        deal_source,
        deal_id,
        sum(net) as net,
        sum(discount) - sum(later_discount) as due_discount
    from expected
    group by 1, 2
),

netted as (
    select
        hypotheses.*,
        cast(case when hypotheses.line_count > 0 then expected_totals.net
            else {{ net_of('hypotheses.contracted', 'hypotheses.divisor') }} end as decimal(28,6)) as contracted_net,
        cast(case when hypotheses.has_discount_line
            then hypotheses.line_discount + coalesce(expected_totals.due_discount, 0) else 0 end
            as decimal(28,6)) as discount_effect
    from hypotheses
    left join expected_totals
        on hypotheses.source = expected_totals.deal_source and hypotheses.deal_id = expected_totals.deal_id
),

-- The same invoice again: equal net and equal lines. The first stands for its copies.
signatures as (
    select
        converted.deal_source,
        converted.deal_id,
        converted.source,
        converted.document_id,
        converted.issue_date,
        converted.net,
        {{ list_of(
            "lines.line_kind || '|' || coalesce(lines.product_code, lines.description, '')"
            ~ " || '|' || cast(coalesce(lines.quantity, 0) as varchar)"
            ~ " || '|' || cast(coalesce(lines.amount, 0) as varchar)", ';') }} as signature
    from converted
    left join document_lines as lines
        on converted.deal_source = lines.deal_source and converted.deal_id = lines.deal_id
        and converted.source = lines.source and converted.document_id = lines.document_id
    where converted.document_type = 'invoice' and not converted.is_draft and converted.net > {{ tolerance }}
    group by 1, 2, 3, 4, 5, 6
),

copies as (
    select
        deal_source,
        deal_id,
        net,
        signature,
        min(source || ':' || document_id) as first_document,
        count(*) as copy_count,
        -- Instalments look alike too; what was sent again was sent soon after.
        sum(case when {{ days_between('last_issued', 'issue_date') }} <= 3 then 1 else 0 end) as soon_count
    from (
        select
            signatures.*,
            lag(issue_date) over (
                partition by deal_source, deal_id, net, signature order by issue_date, document_id) as last_issued
        from signatures
    ) as dated
    group by 1, 2, 3, 4
    having count(*) > 1
),

copied_products as (
    select
        copies.deal_source,
        copies.deal_id,
        copies.first_document,
        items.product,
        sum(items.amount) as amount
    from copies
    inner join items
        on copies.deal_source = items.deal_source and copies.deal_id = items.deal_id
        and copies.first_document = items.source || ':' || items.document_id
    group by 1, 2, 3, 4
),

-- How many copies the contract has no room for, by the product with the least too much.
room as (
    select
        lines.deal_source,
        lines.deal_id,
        lines.first_document,
        min(case
            when expected.product is null or lines.amount <= 0 then 0
            else floor({{ ratio(
                'billed.amount - (expected.net + expected.discount - expected.later_net - expected.later_discount) + '
                ~ tolerance, 'lines.amount') }})
        end) as too_many,
        max(case when expected.is_scheduled then 1 else 0 end) as is_scheduled
    from copied_products as lines
    left join expected
        on lines.deal_source = expected.deal_source and lines.deal_id = expected.deal_id
        and lines.product = expected.product
    left join billed
        on lines.deal_source = billed.deal_source and lines.deal_id = billed.deal_id
        and lines.product = billed.product
    group by 1, 2, 3
),

counted as (
    select
        copies.deal_source,
        copies.deal_id,
        copies.first_document,
        copies.net,
        cast(greatest(
            case when {{ within('netted.duplicate_net', 'copies.net', tolerance) }} then 1 else 0 end,
            least(
                case when room.is_scheduled = 1 then copies.soon_count else copies.copy_count - 1 end,
                case when netted.has_lines then room.too_many else floor({{ ratio(
                    'netted.invoiced_here - netted.contracted_net + netted.credited - netted.discount_effect + '
                    ~ 'netted.margin', 'copies.net') }}) end
            )
        ) as integer) as too_many
    from copies
    inner join netted on copies.deal_source = netted.source and copies.deal_id = netted.deal_id
    left join room
        on copies.deal_source = room.deal_source and copies.deal_id = room.deal_id
        and copies.first_document = room.first_document
),

-- Two repeated invoices of the same products may each look too many: then only the larger is taken.
duplicates as (
    select deal_source, deal_id, first_document, too_many, net * too_many as amount
    from (
        select
            counted.*,
            row_number() over (
                partition by counted.deal_source, counted.deal_id order by net * too_many desc, first_document)
                as place,
            sum(net * too_many) over (partition by counted.deal_source, counted.deal_id) as amount_together,
            netted.billed - netted.contracted_net as too_much
        from counted
        inner join netted on counted.deal_source = netted.source and counted.deal_id = netted.deal_id
        where counted.too_many > 0
    ) as ranked
    where place = 1 or amount_together <= too_much + {{ tolerance }}
),

duplicate_totals as (
    select deal_source, deal_id, sum(amount) as amount
    from duplicates
    group by 1, 2
),

duplicate_products as (
    select lines.deal_source, lines.deal_id, lines.product, sum(lines.amount * duplicates.too_many) as amount
    from duplicates
    inner join copied_products as lines
        on duplicates.deal_source = lines.deal_source and duplicates.deal_id = lines.deal_id
        and duplicates.first_document = lines.first_document
    where lines.product is not null
    group by 1, 2, 3
),

products as (
    select
        expected.deal_source,
        expected.deal_id,
        coalesce(billed.line_count, 0) > 0 as is_billed,
        expected.is_scheduled,
        coalesce(billed.without_quantity, 0) = 0 and expected.quantity is not null as has_quantities,
        coalesce(billed.drafted, 0) as drafted,
        expected.net + expected.discount - expected.later_net - expected.later_discount as due,
        expected.later_net as later,
        coalesce(billed.amount, 0) - coalesce(duplicate_products.amount, 0)
            - (expected.net + expected.discount - expected.later_net - expected.later_discount) as difference,
        -- The price is the same when one unit costs the same, or one instalment.
        ({{ within('billed.lowest_price', expected_price, tolerance) }}
            and {{ within('billed.highest_price', expected_price, tolerance) }})
        or ({{ within('billed.lowest_amount', instalment, tolerance) }}
            and {{ within('billed.highest_amount', instalment, tolerance) }}) as same_price
    from expected
    left join billed
        on expected.deal_source = billed.deal_source and expected.deal_id = billed.deal_id
        and expected.product = billed.product
    left join duplicate_products
        on expected.deal_source = duplicate_products.deal_source and expected.deal_id = duplicate_products.deal_id
        and expected.product = duplicate_products.product
),

-- Of a scheduled product at its own price, too little is an instalment that is missing and too much one that came early.
product_totals as (
    select
        deal_source,
        deal_id,
        sum(case
            when not is_billed or not has_quantities or {{ within('difference', '0', tolerance) }} then 0
            when is_scheduled and coalesce(same_price, false) and difference < 0 then 0
            when is_scheduled and coalesce(same_price, false) then difference - least(difference, later)
            when difference < 0 then difference + least(-difference, drafted)
            else difference
        end) as price_effect,
        sum(case
            when is_billed and has_quantities and coalesce(same_price, false) and difference > 0
                then later - least(difference, later)
            else later
        end) as later,
        sum(case when is_billed then 0 else greatest(due - drafted, 0) end) as unbilled
    from products
    group by 1, 2
),

odd as (
    select deal_source, deal_id, sum(amount) as amount
    from items
    where product is null and not is_draft
    group by 1, 2
),

-- What the first causes take; `shortage` is what the contract has and the invoices have not, for drafts and schedules.
first_causes as (
    select
        netted.*,
        cast(contracted_net - contracted as decimal(28,6)) as tax_in_contract,
        cast(case when tax_is_enough then 0 else coalesce(duplicate_totals.amount, 0) end as decimal(28,6))
            as duplicate_invoice,
        cast(case when tax_is_enough then 0 else -credited end as decimal(28,6)) as credit_note,
        cast(case when tax_is_enough then 0 else discount_effect end as decimal(28,6)) as discount,
        cast(case when has_lines and not tax_is_enough then coalesce(product_totals.price_effect, 0) else 0 end
            as decimal(28,6)) as price_or_quantity,
        case when tax_is_enough then 0 else coalesce(product_totals.later, 0) end as later_now,
        case when has_lines and not tax_is_enough
            then greatest(coalesce(odd.amount, 0) - coalesce(product_totals.unbilled, 0), 0) else 0 end as beyond
    from (
        select netted.*, {{ within('invoiced_here - contracted_net', '0', 'margin') }} as tax_is_enough
        from netted
    ) as netted
    left join duplicate_totals
        on netted.source = duplicate_totals.deal_source and netted.deal_id = duplicate_totals.deal_id
    left join product_totals
        on netted.source = product_totals.deal_source and netted.deal_id = product_totals.deal_id
    left join odd on netted.source = odd.deal_source and netted.deal_id = odd.deal_id
    where not {{ within('invoiced_here - contracted', '0', 'margin') }}
),

short as (
    select
        first_causes.*,
        greatest(beyond - (
            invoiced_here - contracted_net - duplicate_invoice - credit_note - discount - price_or_quantity
        ), 0) as shortage
    from first_causes
),

drafts as (
    select short.*, cast(-least(drafted, shortage) as decimal(28,6)) as awaiting_review
    from short
),

schedules as (
    select
        drafts.*,
        cast(-greatest(least(later_now, shortage + awaiting_review), 0) as decimal(28,6)) as scheduled
    from drafts
),

remains as (
    select
        source, deal_id, is_doubtful, tax_in_contract, duplicate_invoice, credit_note, discount, price_or_quantity,
        awaiting_review, scheduled,
        cast(invoiced_here - contracted_net - duplicate_invoice - credit_note - discount - price_or_quantity
            - awaiting_review - scheduled as decimal(28,6)) as remaining
    from schedules
)

select
    deals.source,
    deals.deal_id,
    deals.currency,
    deals.close_date,
    deals.rate,
    deals.rate_divisor,
    deals.contracted,
    deals.contracted_base,
    deals.invoiced_base,
    deals.in_other_currency,
    cast(coalesce(totals.invoiced_here, deals.invoiced) as decimal(28,6)) as invoiced,
    {%- for cause in ['tax_in_contract', 'duplicate_invoice', 'credit_note', 'discount', 'price_or_quantity',
        'awaiting_review', 'scheduled'] %}
    coalesce(remains.{{ cause }}, {{ zero }}) as {{ cause }},
    {%- endfor %}
    case when residue.kind = 'not_invoiced' then residue.amount else {{ zero }} end as not_invoiced,
    case when residue.kind = 'partly_invoiced' then residue.amount else {{ zero }} end as partly_invoiced,
    case when residue.kind = 'over_invoiced' then residue.amount else {{ zero }} end as over_invoiced,
    case when residue.kind = 'rounding' then residue.amount else {{ zero }} end as rounding,
    case when residue.kind = 'unexplained' then residue.amount else {{ zero }} end as unexplained
from deals
left join totals on deals.source = totals.source and deals.deal_id = totals.deal_id
left join remains on deals.source = remains.source and deals.deal_id = remains.deal_id
left join (
    select
        totals.source,
        totals.deal_id,
        coalesce(remains.remaining, cast(totals.invoiced_here - totals.contracted as decimal(28,6))) as amount,
        case
            when {{ within('coalesce(remains.remaining, totals.invoiced_here - totals.contracted)', '0',
                'totals.margin') }} then 'rounding'
            when totals.is_doubtful then 'unexplained'
            when totals.invoice_count = 0 and remains.remaining < 0 then 'not_invoiced'
            when remains.remaining < 0 then 'partly_invoiced'
            else 'over_invoiced'
        end as kind
    from totals
    left join remains on totals.source = remains.source and totals.deal_id = remains.deal_id
) as residue on deals.source = residue.source and deals.deal_id = residue.deal_id
