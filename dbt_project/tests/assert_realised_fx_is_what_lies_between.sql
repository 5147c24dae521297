-- Memo: what a payment in a foreign currency brought is what it settled at its own rate and what is left of it, so that
-- the gain or loss is no part of what was collected; each application may round once. Money that also went into a thing
-- that is no document of ours cannot be followed.
with settled as (
    select
        source, applied_id, count(*) as applications,
        sum(amount) as amount, sum(amount_at_payment_rate) as amount_base
    from {{ ref('fct_realised_fx') }}
    where applied_type = 'payment'
    group by 1, 2
)

select
    payments.source, payments.payment_id, payments.amount_base, payments.unapplied_base,
    settled.amount_base as settled_base
from {{ ref('fct_payments') }} as payments
inner join settled on payments.source = settled.source and payments.payment_id = settled.applied_id
where payments.amount = settled.amount + payments.unapplied_amount
    and not {{ within('payments.amount_base - payments.unapplied_base', 'settled.amount_base',
        base_unit() / 1000000 ~ ' * (2 + settled.applications)') }}
