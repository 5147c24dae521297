"""Every figure of the report, from the published marts and from nothing else: one query for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines import landing
from pipelines.report.figures import (
    MAX_ROWS,
    Account,
    Ahead,
    Bridge,
    BridgeLine,
    Bucket,
    Calendar,
    Cash,
    Compared,
    Credit,
    Deal,
    ExceptionRow,
    Funnel,
    Headline,
    Held,
    Listing,
    Metric,
    Month,
    Owner,
    Paid,
    Problems,
    Questions,
    Reconciled,
    Report,
    Restated,
    Source,
    Status,
    TieOut,
    Writes,
    add_months,
)
from pipelines.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    import duckdb

MAX_EXCEPTIONS = 200
Kind = TypeVar("Kind")

# Days that the queries below ask for by name.
_MONTHS_BACK, _MONTHS_AHEAD, _CASH_WEEKS, _HABIT_DAYS = 12, 12, 13, 365
_NET = "CASE WHEN document_type = 'invoice' THEN net_base ELSE -net_base END"
_PAID = "CASE WHEN payment_type = 'payment' THEN {amount} ELSE -{amount} END"
_WEIGHTED = "CAST(contracted_base * coalesce(probability, 0) AS DECIMAL(28,6))"
# A mean of days over invoices, weighted by the money that was paid for them.
_WEIGHTED_DAYS = "round(sum({days} * paid_base) / nullif(sum(paid_base), 0), {places})"
_ACCOUNT_OF = """LEFT JOIN dim_accounts AS accounts ON accounts.source = {0}.source AND accounts.account_id = {0}.account_id"""
_OWNER_OF = """LEFT JOIN dim_owners AS owners ON owners.source = {0}.source AND owners.owner_id = {0}.owner_id"""

METRICS = "SELECT metric, label, definition, owner, unit, relation, column_name FROM metrics ORDER BY metric"
SOURCES = """
    SELECT source, side, status, hold_reason, last_complete_at, age_hours FROM sync_health
    ORDER BY CASE side WHEN 'crm' THEN 1 WHEN 'ledger' THEN 2 ELSE 3 END, source"""
# A ledger without a report of the day has no certificate, and that has to be seen.
TIE_OUT = f"""
    SELECT source, level, customer_id, customer_name, ours_base AS ours, theirs_base AS theirs, difference, is_tied, kind, url
    FROM rpt_tie_out WHERE level = 'ledger'
    UNION ALL
    SELECT source, 'ledger', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM sync_health
    WHERE side = 'ledger' AND source NOT IN (SELECT source FROM rpt_tie_out WHERE level = 'ledger')
    UNION ALL
    (SELECT source, level, customer_id, customer_name, ours_base, theirs_base, difference, is_tied, kind, url
     FROM rpt_tie_out WHERE level = 'customer' AND NOT is_tied
     ORDER BY abs(coalesce(difference, 0)) DESC, source, customer_id LIMIT {MAX_ROWS})
    ORDER BY source, level DESC, abs(coalesce(difference, 0)) DESC, customer_id"""
# What happened on some days; no row where the books begin later.
FLOWS = f"""
    SELECT
        (SELECT coalesce(sum(contracted_base), 0) FROM fct_deal_reconciliation WHERE close_date BETWEEN $first AND $last) AS bookings,
        (SELECT coalesce(sum({_NET}), 0) FROM fct_invoices WHERE is_counted AND issue_date BETWEEN $first AND $last) AS invoiced,
        (SELECT coalesce(sum({_PAID.format(amount='amount_base')}), 0) FROM fct_payments
         WHERE is_counted AND payment_date BETWEEN $first AND $last) AS collected,
        (SELECT coalesce(sum({_PAID.format(amount='net_base')}), 0) FROM fct_payments
         WHERE is_counted AND payment_date BETWEEN $first AND $last) AS collected_net,
        (SELECT count(*) FROM fct_deal_reconciliation WHERE close_date BETWEEN $first AND $last) AS won_deals,
        (SELECT count(*) FROM fct_invoices
         WHERE document_type = 'invoice' AND is_counted AND issue_date BETWEEN $first AND $last) AS invoices
    WHERE $first >= (SELECT min(month) FROM revenue_cycle_monthly)"""
OWED = "SELECT outstanding, overdue FROM revenue_cycle_monthly WHERE month = $month"
# The newest night of a month, the business date at the latest: what was open then is known from no other time.
PIPELINE = """
    SELECT as_of, pipeline_weighted, pipeline_amount FROM pipeline_history
    WHERE date_trunc('month', as_of) = $month AND as_of <= $as_of ORDER BY as_of DESC LIMIT 1"""
MONTHS = """
    SELECT month, bookings, won_deals, invoiced, collected, collected_net, recognised, outstanding, overdue, order_to_invoice_days,
           discrepancy_share, realised_fx
    FROM revenue_cycle_monthly WHERE month BETWEEN getvariable('since') AND getvariable('month') ORDER BY month"""
AHEAD = f"""
    SELECT CASE WHEN close_date IS NULL THEN 'undated' WHEN close_date < getvariable('month') THEN 'before'
                WHEN close_date >= getvariable('ahead') THEN 'later' ELSE 'month' END AS "when",
           CASE WHEN close_date >= getvariable('month') AND close_date < getvariable('ahead')
                THEN CAST(date_trunc('month', close_date) AS DATE) END AS month,
           count(*) AS deals, sum(contracted_base) AS pipeline, sum({_WEIGHTED}) AS weighted, count(*) - count(contracted_base) AS unknown
    FROM fct_deals WHERE NOT is_closed GROUP BY 1, 2"""
RESTATED = """
    SELECT month, measure, count(*) AS documents, sum(amount_then) AS amount_then, sum(amount_now) AS amount_now,
           sum(difference) AS difference
    FROM rpt_restatements WHERE month >= getvariable('since') GROUP BY 1, 2 ORDER BY 1 DESC, 2"""
FUNNEL = f"""
    WITH won AS (
        SELECT * FROM fct_deal_reconciliation
        WHERE close_date >= getvariable('year_ago') AND close_date < getvariable('next_month')
    ),
    billed AS (
        SELECT documents.* FROM fct_invoices AS documents
        INNER JOIN won ON documents.deal_source = won.source AND documents.deal_id = won.deal_id
        WHERE documents.document_type = 'invoice' AND documents.is_counted AND documents.paid_on IS NOT NULL
    )
    SELECT
        getvariable('year_ago') AS first,
        count(*) FILTER (WHERE contracted_base IS NOT NULL AND invoiced_base IS NOT NULL) AS deals,
        coalesce(sum(contracted_base) FILTER (WHERE invoiced_base IS NOT NULL), 0) AS contracted,
        coalesce(sum(invoiced_base) FILTER (WHERE contracted_base IS NOT NULL), 0) AS invoiced,
        coalesce(sum(collected_base) FILTER (WHERE contracted_base IS NOT NULL AND invoiced_base IS NOT NULL), 0) AS collected,
        count(first_invoice_date) AS invoiced_deals,
        CAST(round(avg(first_invoice_date - close_date), 1) AS DECIMAL(9,1)) AS days_to_invoice,
        (SELECT CAST({_WEIGHTED_DAYS.format(days='(paid_on - issue_date)', places=1)} AS DECIMAL(9,1)) FROM billed) AS days_to_collect,
        count(*) FILTER (WHERE contracted_base IS NULL OR invoiced_base IS NULL) AS without_amount
    FROM won"""
BRIDGE = """
    SELECT line, place, sum(amount_base) AS amount FROM rpt_bridge_monthly WHERE month BETWEEN $first AND $last
    GROUP BY line, place HAVING sum(amount_base) <> 0 ORDER BY place"""
_DEAL = f"""
    deals.source, deals.deal_id, deals.name, accounts.name AS account, owners.name AS owner, deals.close_date,
    deals.contracted_base AS contracted, deals.invoiced_base AS invoiced, deals.status,
    getvariable('as_of') - deals.close_date AS age, deals.url
    FROM fct_deal_reconciliation AS deals
    {_ACCOUNT_OF.format('deals')} {_OWNER_OF.format('deals')}"""
DEALS = f"""
    SELECT deals.variance_base AS difference, deals.main_cause AS cause, count(*) OVER () AS of_all,
           sum(deals.variance_base) OVER () AS of_total, {_DEAL}
    WHERE deals.status = 'Review' OR (deals.status = 'Explained' AND deals.close_date >= getvariable('quarter'))
    ORDER BY deals.status = 'Review' DESC, abs(deals.variance_base) DESC NULLS LAST, deals.source, deals.deal_id LIMIT {MAX_ROWS}"""
NOT_INVOICED = f"""
    SELECT missing.amount AS difference, missing.cause, count(*) OVER () AS of_all, sum(missing.amount) OVER () AS of_total, {_DEAL}
    INNER JOIN (
        SELECT source, deal_id, sum(amount_base) AS amount, string_agg(cause, ', ' ORDER BY cause) AS cause
        FROM fct_deal_variance_bridge
        WHERE cause IN ('awaiting_review', 'not_invoiced', 'partly_invoiced') GROUP BY 1, 2 HAVING sum(amount_base) < 0
    ) AS missing ON missing.source = deals.source AND missing.deal_id = deals.deal_id
    ORDER BY deals.close_date NULLS LAST, missing.amount, deals.source, deals.deal_id LIMIT {MAX_ROWS}"""
RECONCILIATION = """
    SELECT status, coalesce(main_cause, 'none') AS cause, count(*) AS deals, sum(contracted_base) AS contracted,
           sum(invoiced_base) AS invoiced, sum(variance_base) AS difference
    FROM fct_deal_reconciliation GROUP BY 1, 2 ORDER BY 1, 6, 2"""
AGEING = """
    SELECT bucket, count(document_id) AS invoices, coalesce(sum(open_base), 0) AS amount
    FROM (VALUES ('current', NULL, NULL), ('1_30', 1, 30), ('31_60', 31, 60), ('61_90', 61, 90), ('91_plus', 91, 1000000))
        AS buckets (bucket, lowest, highest)
    LEFT JOIN fct_invoices ON document_type = 'invoice' AND is_open
        AND (days_past_due BETWEEN lowest AND highest OR (lowest IS NULL AND days_past_due IS NULL))
    GROUP BY bucket, lowest ORDER BY lowest NULLS FIRST"""
STATUSES = """
    SELECT financial_status, count(*) AS accounts, sum(total_outstanding) AS outstanding, sum(overdue_amount) AS overdue
    FROM account_status GROUP BY 1 ORDER BY 4 DESC, 1"""
OVERDUE = f"""
    SELECT status.source, account_id, account_name AS name, owners.name AS owner, financial_status, days_overdue,
           overdue_amount AS overdue, total_outstanding AS outstanding, status.url,
           count(*) OVER () AS of_all, sum(overdue_amount) OVER () AS of_total
    FROM account_status AS status {_OWNER_OF.format('status')}
    WHERE overdue_amount > 0 ORDER BY overdue_amount DESC, status.source, account_id LIMIT {MAX_ROWS}"""
OVERDUE_WITHOUT_ACCOUNT = """
    SELECT coalesce(sum(open_base), 0) FROM fct_invoices WHERE document_type = 'invoice' AND is_overdue AND account_id IS NULL"""
CREDITS = f"""
    SELECT ageing.source, customer_id, customer_name AS name, owners.name AS owner, unapplied_credit AS credit,
           bucket_current + bucket_1_30 + bucket_31_60 + bucket_61_90 + bucket_91_plus AS outstanding, ageing.url,
           count(*) OVER () AS of_all, sum(unapplied_credit) OVER () AS of_total
    FROM rpt_receivables_ageing AS ageing
    LEFT JOIN dim_accounts AS accounts ON accounts.source = ageing.account_source AND accounts.account_id = ageing.account_id
    {_OWNER_OF.format('accounts')}
    WHERE unapplied_credit > 0 ORDER BY unapplied_credit DESC, ageing.source, customer_id LIMIT {MAX_ROWS}"""
PAID = f"""
    SELECT CAST(date_trunc('month', paid_on) AS DATE) AS month, count(*) AS invoices, sum(paid_base) AS amount,
           CAST({_WEIGHTED_DAYS.format(days='(paid_on - issue_date)', places=1)} AS DECIMAL(9,1)) AS days
    FROM fct_invoices WHERE document_type = 'invoice' AND is_counted AND paid_on >= getvariable('since')
    GROUP BY 1 ORDER BY 1"""
# An open invoice is expected as many days after its due date as its customer usually takes, a new customer's as all do
# together; an open deal as long after its expected close as deals take to their invoice and its account to pay.
CASH = f"""
    WITH settled AS (
        SELECT * FROM fct_invoices
        WHERE document_type = 'invoice' AND is_counted AND paid_on >= getvariable('habit') AND paid_base > 0
    ),
    habits AS (
        SELECT source, customer_id, CAST({_WEIGHTED_DAYS.format(days='(paid_on - due_date)', places=0)} AS INTEGER) AS late
        FROM settled GROUP BY 1, 2
    ),
    everybody AS (
        SELECT CAST({_WEIGHTED_DAYS.format(days='(paid_on - due_date)', places=0)} AS INTEGER) AS late,
               CAST({_WEIGHTED_DAYS.format(days='(paid_on - issue_date)', places=0)} AS INTEGER) AS to_pay
        FROM settled
    ),
    invoiced AS (
        SELECT CAST(round(avg(first_invoice_date - close_date)) AS INTEGER) AS after_close FROM fct_deal_reconciliation
        WHERE close_date >= getvariable('year_ago') AND close_date < getvariable('next_month')
    ),
    expected AS (
        SELECT due_date + coalesce(habits.late, everybody.late, 0) AS day, open_base AS invoices, 0 AS pipeline
        FROM fct_invoices AS documents CROSS JOIN everybody
        LEFT JOIN habits ON habits.source = documents.source AND habits.customer_id = documents.customer_id
        WHERE document_type = 'invoice' AND is_open
        UNION ALL
        SELECT CASE WHEN close_date >= getvariable('as_of') THEN close_date + coalesce(invoiced.after_close, 0)
                    + CAST(round(coalesce(status.average_days_to_pay, everybody.to_pay, 0)) AS INTEGER) END,
               0, {_WEIGHTED}
        FROM fct_deals AS deals CROSS JOIN everybody CROSS JOIN invoiced
        LEFT JOIN account_status AS status ON status.source = deals.source AND status.account_id = deals.account_id
        WHERE NOT is_closed
    )
    SELECT CASE WHEN day IS NULL OR day < getvariable('as_of') THEN 'passed' WHEN day >= getvariable('weeks_end') THEN 'later'
                ELSE 'week' END AS "when",
           CASE WHEN day >= getvariable('as_of') AND day < getvariable('weeks_end')
                THEN greatest(CAST(date_trunc('week', day) AS DATE), getvariable('as_of')) END AS week,
           coalesce(sum(invoices), 0) AS invoices, coalesce(sum(pipeline), 0) AS pipeline
    FROM expected GROUP BY 1, 2"""
OWNERS = f"""
    WITH sides AS (
        SELECT CASE WHEN owner_id IS NOT NULL THEN source END AS source, owner_id, bookings, recognised, 0 AS discount,
               0 AS price_or_quantity
        FROM revenue_cycle_by_owner
        WHERE month >= getvariable('year_ago') AND month < getvariable('next_month')
        UNION ALL
        SELECT CASE WHEN owner_id IS NOT NULL THEN deals.source END, owner_id, 0, 0,
               CASE WHEN cause = 'discount' THEN amount_base ELSE 0 END, CASE WHEN cause = 'price_or_quantity' THEN amount_base ELSE 0 END
        FROM fct_deal_variance_bridge AS bridge
        INNER JOIN fct_deal_reconciliation AS deals ON bridge.source = deals.source AND bridge.deal_id = deals.deal_id
        WHERE close_date >= getvariable('year_ago') AND close_date < getvariable('next_month')
            AND cause IN ('discount', 'price_or_quantity')
    )
    SELECT sides.source, sides.owner_id, owners.name, sum(bookings) AS bookings, sum(recognised) AS recognised,
           sum(discount) AS discount, sum(price_or_quantity) AS price_or_quantity
    FROM sides {_OWNER_OF.format('sides')}
    GROUP BY 1, 2, 3 ORDER BY 4 DESC, 5 DESC, 1, 2"""
QUESTIONS = """
    SELECT kind, is_suggestion, count(DISTINCT (source, right_source, right_id)) AS questions, count(*) AS candidates,
           (SELECT sum(amount) FROM (
               SELECT max(amount_base) AS amount FROM rpt_match_review AS one
               WHERE one.kind = review.kind AND one.is_suggestion = review.is_suggestion
               GROUP BY right_source, right_id) AS each) AS amount
    FROM rpt_match_review AS review GROUP BY 1, 2 ORDER BY 1 DESC, 2"""
WRITES = """
    SELECT source, last_write_run_id AS run_id, fields_written AS written, fields_skipped AS skipped, fields_rejected AS rejected,
           fields_unknown AS unknown
    FROM sync_health WHERE side = 'crm' ORDER BY source"""
HELD = """
    SELECT hold_reason AS reason, count(*) AS accounts FROM account_status WHERE hold_reason IS NOT NULL
    GROUP BY 1 ORDER BY 2 DESC, 1"""
PROBLEMS = """
    SELECT kind, severity, count(*) AS records, sum(amount_base) AS amount FROM rpt_exceptions GROUP BY 1, 2
    ORDER BY CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, 3 DESC, 1"""
EXCEPTIONS = f"""
    SELECT severity, kind, source, object, record_id, message, amount_base, url, count(*) OVER () AS of_all, 0 AS of_total
    FROM rpt_exceptions
    ORDER BY CASE severity WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, abs(coalesce(amount_base, 0)) DESC,
             kind, source, record_id LIMIT {MAX_EXCEPTIONS}"""


def collect(published: Path, settings: Settings) -> Report:
    """Reads every figure from the published file, as of its own night. Raises ConfigurationError where an earlier version made it."""
    import duckdb

    try:
        return _collected(published, settings)
    except duckdb.CatalogException as error:
        raise ConfigurationError([f"{published} was published by an earlier version ({str(error).splitlines()[0]}); "
                                  "run `crossfoot run`, which publishes it again"]) from error


def _collected(published: Path, settings: Settings) -> Report:
    with landing.connect(published, read_only=True) as connection:
        as_of, known_at = connection.execute("SELECT as_of, known_at FROM published_night").fetchone()
        calendar = Calendar(as_of, settings.get("company", "fiscal_year_start"))
        for name, day in _days(calendar).items():
            connection.execute(f"SET VARIABLE {name} = DATE '{day.isoformat()}'")
        return Report(
            company=settings.get("company", "name"), base_currency=settings.base_currency,
            number_format=settings.get("company", "number_format"), date_format=settings.get("company", "date_format"),
            calendar=calendar, known_at=known_at.astimezone(settings.zone),
            metrics={one.metric: one for one in _all(connection, Metric, METRICS)}, sources=_all(connection, Source, SOURCES),
            tie_out=_all(connection, TieOut, TIE_OUT), headlines=_headlines(connection, calendar),
            months=_all(connection, Month, MONTHS), ahead=_ahead(connection, calendar),
            restated=_all(connection, Restated, RESTATED), funnel=_all(connection, Funnel, FUNNEL)[0],
            bridges=_bridges(connection, calendar), reconciliation=_all(connection, Reconciled, RECONCILIATION),
            deals=_listing(connection, Deal, DEALS),
            not_invoiced=_listing(connection, Deal, NOT_INVOICED), ageing=_all(connection, Bucket, AGEING),
            statuses=_all(connection, Status, STATUSES), overdue=_listing(connection, Account, OVERDUE),
            overdue_without_account=connection.execute(OVERDUE_WITHOUT_ACCOUNT).fetchone()[0],
            credits=_listing(connection, Credit, CREDITS), paid=_paid(connection, calendar), cash=_cash(connection, calendar),
            owners=_all(connection, Owner, OWNERS), questions=_all(connection, Questions, QUESTIONS),
            writes=_all(connection, Writes, WRITES), held=_all(connection, Held, HELD), problems=_all(connection, Problems, PROBLEMS),
            exceptions=_listing(connection, ExceptionRow, EXCEPTIONS),
        )  # fmt: skip


def _days(calendar: Calendar) -> dict[str, date]:
    """The days that the queries name."""
    month, as_of = calendar.month, calendar.as_of
    return {
        "as_of": as_of, "month": month, "next_month": add_months(month, 1), "quarter": calendar.quarter,
        "since": add_months(month, -_MONTHS_BACK), "year_ago": add_months(month, 1 - _MONTHS_BACK),
        "ahead": add_months(month, _MONTHS_AHEAD), "habit": as_of - timedelta(days=_HABIT_DAYS), "weeks_end": _weeks(as_of)[-1],
    }  # fmt: skip


def _weeks(as_of: date) -> list[date]:
    """The first days of the weeks to come, the first of them cut short by `as_of`, and the day after the last."""
    monday = as_of - timedelta(days=as_of.weekday())
    return [as_of, *(monday + timedelta(weeks=count) for count in range(1, _CASH_WEEKS + 1))]


def _all(connection: duckdb.DuckDBPyConnection, kind: type[Kind], query: str, **values: Any) -> tuple[Kind, ...]:
    """Each row as a value of `kind`, whose fields are among the query's columns."""
    return tuple(_made(kind, row) for row in _rows(connection, query, values))


def _listing(connection: duckdb.DuckDBPyConnection, kind: type[Any], query: str) -> Listing:
    rows = _rows(connection, query, {})
    if not rows:
        return Listing()
    return Listing(tuple(_made(kind, row) for row in rows), rows[0]["of_all"], rows[0]["of_total"] or Decimal(0))


def _made(kind: type[Kind], row: Mapping[str, Any]) -> Kind:
    return kind(**{field.name: row[field.name] for field in fields(kind)})


def _rows(connection: duckdb.DuckDBPyConnection, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    result = connection.execute(query, values) if values else connection.execute(query)
    columns = [column[0] for column in result.description]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]


def _headlines(connection: duckdb.DuckDBPyConnection, calendar: Calendar) -> tuple[Headline, ...]:
    """The five numbers. Flows are compared with the same days of the other month, balances with the end of it."""
    last_day = add_months(calendar.month, 1) - timedelta(days=1)
    spans = [(calendar.month, last_day), calendar.same_days(-1), calendar.same_days(-12)]
    flows = [next(iter(_rows(connection, FLOWS, {"first": first, "last": last})), {}) for first, last in spans]
    months = [first for first, _ in spans]
    owed = [next(iter(_rows(connection, OWED, {"month": month})), {}) for month in months]
    open_deals = [next(iter(_rows(connection, PIPELINE, {"month": month, "as_of": calendar.as_of})), {}) for month in months]

    def flow(metric: str, part: str) -> Headline:
        then = [Compared(last, found.get(metric), first) for (first, last), found in zip(spans, flows, strict=True)]
        return Headline(metric, flows[0].get(metric, Decimal(0)), then[1], then[2], part, Decimal(flows[0].get(part, 0)))

    def balance(metric: str, name: str, part: str, part_name: str, found: list[dict[str, Any]]) -> Headline:
        ends = [add_months(month, 1) - timedelta(days=1) for month in months[1:]]
        last_month, last_year = (Compared(one.get("as_of", end), one.get(name)) for end, one in zip(ends, found[1:], strict=True))
        return Headline(metric, found[0].get(name, Decimal(0)), last_month, last_year, part, found[0].get(part_name, Decimal(0)))

    return (
        balance("pipeline_weighted_tonight", "pipeline_weighted", "pipeline_tonight", "pipeline_amount", open_deals),
        flow("bookings", "won_deals"), flow("invoiced", "invoices"), flow("collected", "collected_net"),
        balance("outstanding", "outstanding", "overdue", "overdue", owed),
    )  # fmt: skip


def _ahead(connection: duckdb.DuckDBPyConnection, calendar: Calendar) -> tuple[Ahead, ...]:
    """Every month ahead, those without a deal too; before and after them what is expected at no time among them."""
    found = {(one.when, one.month): one for one in _all(connection, Ahead, AHEAD)}
    months = [("month", add_months(calendar.month, count)) for count in range(_MONTHS_AHEAD)]
    rest = [key for key in (("before", None), ("later", None), ("undated", None)) if key in found]
    return tuple(found.get(key, Ahead(*key, 0, Decimal(0), Decimal(0), 0)) for key in [*months, *rest])


def _bridges(connection: duckdb.DuckDBPyConnection, calendar: Calendar) -> tuple[Bridge, ...]:
    """This month, last month, this fiscal quarter so far, last fiscal quarter."""
    month, quarter = calendar.month, calendar.quarter
    spans = (("month", month, month), ("month", add_months(month, -1), add_months(month, -1)), ("quarter", quarter, month),
             ("quarter", add_months(quarter, -3), add_months(quarter, -1)))
    return tuple(Bridge(span, first, last, _all(connection, BridgeLine, BRIDGE, first=first, last=last)) for span, first, last in spans)


def _paid(connection: duckdb.DuckDBPyConnection, calendar: Calendar) -> tuple[Paid, ...]:
    found = {one.month: one for one in _all(connection, Paid, PAID)}
    months = [add_months(calendar.month, count - _MONTHS_BACK) for count in range(_MONTHS_BACK + 1)]
    return tuple(found.get(month, Paid(month, 0, Decimal(0), None)) for month in months)


def _cash(connection: duckdb.DuckDBPyConnection, calendar: Calendar) -> tuple[Cash, ...]:
    """Every week, those without cash too; then what is later, and what should have come already."""
    found = {(one.when, one.week): one for one in _all(connection, Cash, CASH)}
    keys = [("week", week) for week in _weeks(calendar.as_of)[:-1]] + [("later", None), ("passed", None)]
    return tuple(found.get(key, Cash(*key, Decimal(0), Decimal(0))) for key in keys)
