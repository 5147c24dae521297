-- What is said about the difference of each customer for whom a ledger's own report of the business date could be compared:
-- the kind of it, where its records prove one.
with customers as (
    select * from {{ ref('int_receivables__tied') }} where is_comparable
),

-- Few customers differ, and only for those is anything looked up.
differing as (
    select source, customer_id, difference, minor_units
    from customers
    where not (total_ties and coalesce(ageing_ties, true)) and not coalesce(is_revalued, false)
),

-- One payment or credit of the customer that is exactly what the ledger's report did not take off.
single_payments as (
    select differing.source, differing.customer_id
    from differing
    inner join {{ ref('int_payments__valued') }} as payments
        on differing.source = payments.source and differing.customer_id = payments.customer_id
    where payments.is_counted and payments.payment_type = 'payment' and payments.unapplied_amount <> 0
        and {{ round_money('payments.unapplied_base', 'differing.minor_units') }} = -differing.difference
    group by 1, 2
),

document_proofs as (
    select
        differing.source,
        differing.customer_id,
        sum(case when documents.is_counted and documents.document_type = 'credit_note'
            and {{ round_money('documents.open_base', 'differing.minor_units') }} = -differing.difference then 1 else 0 end) as credit_count,
        -- What was voided after the report was made still stands in it.
        sum(case when documents.status = 'void' and documents.gross <> 0
            and {{ round_money('documents.gross_base', 'differing.minor_units') }} = case documents.document_type when 'invoice' then -1 else 1 end
                * differing.difference then 1 else 0 end) as voided_count
    from differing
    inner join {{ ref('int_documents__valued') }} as documents
        on differing.source = documents.source and differing.customer_id = documents.customer_id
    group by 1, 2
),

-- What each record of theirs added to what they owe, as each night knew it, beside what it had added before.
versions as (
    select
        owed.*,
        lag(amount) over (partition by source, customer_id, record_type, record_id order by known_at) as amount_before,
        least(dated_on, lag(dated_on) over (
            partition by source, customer_id, record_type, record_id order by known_at)) as earliest_date
    from (
        select
            history.source,
            history.customer_id,
            history.document_type as record_type,
            history.document_id as record_id,
            history.status,
            history.dated_on,
            history.known_at,
            case when history.status <> 'issued' then 0
                else case when history.document_type in ('payment', 'refund') then -1 else 1 end
                    * {{ round_money('history.gross_base', 'differing.minor_units') }}
            end as amount
        from differing
        inner join {{ ref('int_documents__history') }} as history
            on differing.source = history.source and differing.customer_id = history.customer_id
        where history.known_at <= {{ known_at() }}
    ) as owed
),

-- A report that still has what is gone.
gone as (
    select versions.source, versions.customer_id
    from versions
    inner join differing
        on versions.source = differing.source and versions.customer_id = differing.customer_id
    where versions.status in ('void', 'deleted') and versions.amount_before <> 0
        and -versions.amount_before = differing.difference
    group by 1, 2
),

-- What came into a period, or out of it, after the books had been closed. A receipt for money that was paid back is a
-- credit note and a refund of one id, which together change nothing.
closed_changes as (
    select versions.source, versions.customer_id, versions.record_id,
        sum(versions.amount - coalesce(versions.amount_before, 0)) as amount
    from versions
    where exists (
        select 1
        from {{ ref('int_closing_dates__unioned') }} as closings
        where versions.source = closings.source and closings.first_known_at < versions.known_at
            and closings.closing_date >= coalesce(versions.earliest_date, versions.dated_on)
    )
    group by 1, 2, 3
),

closed_proofs as (
    select
        closed_changes.source,
        closed_changes.customer_id,
        sum(closed_changes.amount) = max(differing.difference) or max(case
            when closed_changes.amount = differing.difference then 1 else 0 end) = 1 as fits
    from closed_changes
    inner join differing
        on closed_changes.source = differing.source and closed_changes.customer_id = differing.customer_id
    where differing.difference <> 0
    group by 1, 2
),

proofs as (
    select
        customers.source,
        customers.customer_id,
        single_payments.customer_id is not null
            or (customers.unapplied_payments <> 0 and customers.difference = -customers.unapplied_payments)
            as payment_fits,
        coalesce(document_proofs.credit_count, 0) > 0
            or (customers.open_credit <> 0 and customers.difference = -customers.open_credit) as credit_fits,
        coalesce(document_proofs.voided_count, 0) > 0 or gone.customer_id is not null as gone_fits,
        coalesce(closed_proofs.fits, false) as closed_fits,
        customers.converted_count > 0 and revalued.unquoted_count = 0
            and {{ within('revalued.amount', 'customers.ledger_total', 'customers.margin') }} as revalued_fits
    from customers
    inner join differing
        on customers.source = differing.source and customers.customer_id = differing.customer_id
    left join single_payments
        on customers.source = single_payments.source and customers.customer_id = single_payments.customer_id
    left join document_proofs
        on customers.source = document_proofs.source and customers.customer_id = document_proofs.customer_id
    left join gone on customers.source = gone.source and customers.customer_id = gone.customer_id
    left join closed_proofs
        on customers.source = closed_proofs.source and customers.customer_id = closed_proofs.customer_id
    left join {{ ref('int_receivables__revalued') }} as revalued
        on customers.source = revalued.source and customers.customer_id = revalued.customer_id
),

-- What one customer has too much and one other too little has moved from one to the other; where more than one of either
-- fits, nobody knows which.
moved as (
    select source, max(difference) as amount
    from differing
    where difference <> 0
    group by source, abs(difference)
    having count(*) = 2 and sum(difference) = 0
),

judged as (
    select
        customers.*,
        case
            when customers.is_revalued then 'revaluation'
            when customers.total_ties and coalesce(customers.ageing_ties, true) then null
            when customers.total_ties then 'ageing'
            when customers.ledger_total is null then 'unreadable'
            when customers.unconverted_count > 0 then 'currency'
            -- Says more than that something is gone, not applied or a credit: the ledger's report will not follow.
            when proofs.closed_fits then 'closed_period'
            when proofs.gone_fits then 'deleted_since'
            when moved.amount is not null then 'moved_between_customers'
            when customers.item_count = 0 then 'journal'
            -- Where a payment and a credit are equal, neither of them is proven.
            when proofs.payment_fits and not proofs.credit_fits then 'unapplied_payment'
            when proofs.credit_fits and not proofs.payment_fits then 'credit'
            when proofs.revalued_fits then 'currency'
            else 'unknown'
        end as kind
    from customers
    left join proofs on customers.source = proofs.source and customers.customer_id = proofs.customer_id
    left join moved on customers.source = moved.source and abs(customers.difference) = moved.amount
)

select * from judged
