"""The report's tables: which figures stand in which column, what the column means, what is said below. Page and mail show the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines.report.figures import MAX_ROWS, Bridge, Deal, Listing, Owner, Report, TieOut
from pipelines.report.formats import NONE, Format, one_line, words
from pipelines.vendors import VENDORS

# Columns of numbers, which stand to the right.
NUMBERS = ("money", "whole", "count", "days", "share")
NOBODY = "without owner"
BAD = ("Credit Hold", "error")
# Exceptions that the table of deals shows with their numbers.
_DEALS = "deal_to_review"


@dataclass(frozen=True)
class Column:
    """`kind`: text (a vendor's), word (ours), state (one that may be bad), money, count, days, share, day or month. `metric`: whose
    definition is behind it."""

    label: str
    kind: str = "text"
    metric: str = ""


@dataclass(frozen=True)
class Link:
    """A text, and the page of the record in its own system where that has one."""

    text: str
    url: str | None


@dataclass(frozen=True)
class Table:
    """`rows` and `foot` (totals) hold a value for each column; `note` is a sentence below, `command` shows more of it. The rows
    of one that `is_ordered` say something by their order and are not sorted otherwise."""

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    foot: tuple[Any, ...] = ()
    note: str = ""
    command: str = ""
    empty: str = "None."
    is_ordered: bool = False


def system(slug: str | None) -> str:
    """The name of a system as people know it."""
    return NONE if slug is None else VENDORS[slug].name if slug in VENDORS else slug


def shown(form: Format, kind: str, value: Any) -> str:
    """A cell as the company writes it."""
    if value is None:
        return NONE
    if isinstance(value, Link):
        return one_line(value.text)
    writers: dict[str, Callable[[Any], str]] = {
        "money": form.money, "whole": form.whole, "count": form.number, "share": form.share, "day": form.day, "month": form.month,
        "days": lambda days: form.number(days, 1 if isinstance(days, Decimal) else 0),
    }  # fmt: skip
    # A word in a column of numbers stays a word.
    return one_line(value) if isinstance(value, str) else writers[kind](value)


def _more(listing: Listing, what: str) -> str:
    return f"The first {len(listing.rows)} of {listing.count} {what}." if listing.count > len(listing.rows) else ""


def headlines(report: Report) -> Table:
    """The five numbers for where there is no room for cards."""
    form = _form(report)
    columns = (Column("Number"), Column("Now", "whole"), Column("Last month", "whole"), Column("Change", "share"),
               Column("A year ago", "whole"), Column("Change", "share"))
    rows = []
    for one in report.headlines:
        flows = f", {form.long_month(report.month)}" if one.last_month.first else ""
        then = (one.last_month.value, one.last_year.value)
        rows.append((f"{_label(report, one.metric)}{flows} ({_label(report, one.part_metric).lower()} {form.whole(one.part)})", one.value,
                     then[0], form.change(one.value, then[0]), then[1], form.change(one.value, then[1])))
    return Table("headlines", "Five numbers", columns, tuple(rows), note="Bookings, invoiced and collected are compared with the same days "
                 "of the other months, balances with what they were at the end of them.")


def _label(report: Report, metric: str) -> str:
    return report.metrics[metric].label if metric in report.metrics else words(metric)


def tie_out(report: Report) -> Table:
    columns = (Column("Ledger"), Column("Customer"), Column("State", "state"), Column("By documents", "money", "tie_out_ours"),
               Column("By the ledger's own report", "money", "tie_out_theirs"), Column("Difference", "money", "tie_out_difference"))
    rows = tuple((system(one.source), Link(one.customer_name or one.customer_id or "all", one.url), tied(one, report.base_currency),
                  one.ours, one.theirs, one.difference) for one in report.tie_out)
    return Table("tie-out", "Tie-out with each ledger's own report of the day", columns, rows, empty="No ledger is configured.")


def is_bad(word: object) -> bool:
    """Whether a state asks for somebody."""
    return str(word) in BAD or str(word).startswith("not ")


def tied(one: TieOut, currency: str) -> str:
    """A certificate in words."""
    if one.is_tied is None:
        return f"not compared: no report of the day in {currency}"
    return "tied" if one.is_tied else f"not tied: {words(one.kind)}"


def months(report: Report) -> Table:
    columns = (
        Column("Month", "month"), Column("Bookings", "money", "bookings"), Column("Invoiced", "money", "invoiced"),
        Column("Collected", "money", "collected"), Column("Collected, net of tax", "money", "collected_net"),
        Column("Recognised", "money", "recognised"), Column("Outstanding", "money", "outstanding"),
        Column("Overdue", "money", "overdue"), Column("Days to invoice", "days", "order_to_invoice_days"),
        Column("Invoices with a discrepancy", "share", "discrepancy_share"),
    )  # fmt: skip
    rows = tuple((one.month, one.bookings, one.invoiced, one.collected, one.collected_net, one.recognised, one.outstanding, one.overdue,
                  one.order_to_invoice_days, one.discrepancy_share) for one in report.months)
    form, gain = _form(report), sum((one.realised_fx for one in report.months), Decimal(0))
    rates = (f" What exchange rates {'made' if gain > 0 else 'cost'} between documents and their payments in these months is "
             f"{form.money(abs(gain))}, and no part of collected." if gain else "")
    until = f"{form.long_month(report.month)} is up to {form.day(report.as_of)}."
    return Table("months", "Numbers by month", columns, rows, note=until + rates)


def ahead(report: Report) -> Table:
    columns = (Column("Expected close"), Column("Deals", "count", "open_deals"), Column("Pipeline", "money", "pipeline"),
               Column("Weighted", "money", "weighted_pipeline"))
    names = {"before": "before this month", "later": "later", "undated": "no date"}
    rows = tuple((names.get(one.when) or _form(report).month(one.month), one.deals, one.pipeline, one.weighted)
                 for one in report.ahead if one.deals)
    deals, unknown = sum(one.deals for one in report.ahead), sum(one.unknown for one in report.ahead)
    known = [one for one in report.ahead if one.pipeline is not None and one.weighted is not None]
    nothing = deals and deals == unknown
    total = ("All open deals", deals, None if nothing else sum((one.pipeline for one in known), Decimal(0)),
             None if nothing else sum((one.weighted for one in known), Decimal(0)))
    left_out = f" {unknown} of {deals} open deals have no amount and are in no sum." if unknown else ""
    return Table("ahead", "Pipeline ahead", columns, rows, total, f"Months without an open deal are left out.{left_out}",
                 empty="No deal is open.")


def restated(report: Report) -> Table:
    columns = (Column("Month", "month"), Column("Number"), Column("Documents", "count", "restated_documents"),
               Column("As reported", "money", "restated_then"), Column("Now", "money", "restated_now"),
               Column("Change", "money", "restatement"))
    rows = tuple((one.month, one.measure, one.documents, one.amount_then, one.amount_now, one.difference) for one in report.restated)
    return Table("restated", "Months that changed after they were reported", columns, rows,
                 note="The amounts are those of the documents that changed.",
                 command=query("SELECT * FROM rpt_restatements ORDER BY month DESC"))


def funnel(report: Report) -> Table:
    columns = (Column("Step"), Column("Deals", "count", "deals_counted"), Column("Amount", "money", "funnel_amount"),
               Column("Of contracted", "share", "funnel_share"), Column("Days from the step before", "days", "funnel_days"))
    one = report.funnel
    if one is None or not one.deals:
        return Table("funnel", "From contract to cash", columns, (), empty="No deal was won in the last twelve months.")
    rows = (("Contracted", one.deals, one.contracted, None, None),
            ("Invoiced", one.invoiced_deals, one.invoiced, _share(one.invoiced, one.contracted), one.days_to_invoice),
            ("Collected", None, one.collected, _share(one.collected, one.contracted), one.days_to_collect))
    left_out = f" {one.without_amount} without an amount are left out." if one.without_amount else ""
    return Table("funnel", "From contract to cash", columns, rows,
                 note=f"The {one.deals} deals won since {_form(report).day(one.first)}, all net of tax.{left_out}", is_ordered=True)


def bridge(report: Report) -> Table:
    """The four spans beside each other; a line that none of them has is left out."""
    places = {line.line: line.place for one in report.bridges for line in one.lines}
    names = sorted(places.keys() - {"contracted", "invoiced"}, key=places.__getitem__)
    columns = (Column("Line"), *(Column(span(report, one), "money", "bridge_monthly") for one in report.bridges))
    amounts = [{line.line: line.amount for line in one.lines} for one in report.bridges]
    totals = {name: tuple(found.get(name, Decimal(0)) for found in amounts) for name in ("contracted", "invoiced")}
    causes = ((words(name).capitalize(), *(found.get(name) for found in amounts)) for name in names)
    return Table("bridge", "The bridge, line by line", columns, (("Contracted", *totals["contracted"]), *causes),
                 ("Invoiced for deals", *totals["invoiced"]), "Invoices of no deal are not in it.", is_ordered=True)


def span(report: Report, one: Bridge) -> str:
    """The name of a bridge's time: a month, or a fiscal quarter, to date where it is not over."""
    name = report.calendar.quarter_name(one.first) if one.span == "quarter" else _form(report).month(one.first)
    return name + (" to date" if one.last == report.month else "")


def bridges_shown(report: Report) -> tuple[Bridge, ...]:
    """The two that are drawn: this month and its quarter; in a quarter's first month, which is all of it, the last quarter."""
    if not report.bridges:
        return ()
    month, _, quarter, last_quarter = report.bridges
    return month, (last_quarter if quarter.first == month.first else quarter)


def deals(report: Report) -> Table:
    columns = (
        Column("Deal"), Column("Account"), Column("Owner"), Column("Contracted", "money", "contracted"),
        Column("Invoiced", "money", "deal_invoiced"), Column("Difference", "money", "variance"), Column("Cause", "word"),
        Column("Status", "word"), Column("Age, days", "days", "age_of_deal"),
    )  # fmt: skip
    rows = tuple((*_named(one), one.contracted, one.invoiced, one.difference, words(one.cause or "none"), one.status, one.age)
                 for one in report.deals.rows)
    sql = "SELECT * FROM fct_deal_reconciliation WHERE status = 'Review'"
    note = "Those to review, however old, then what explains itself in the quarter; the largest first."
    return Table("deals", "The deals behind it", columns, rows, note=f"{_more(report.deals, 'deals')} {note}".strip(), command=query(sql),
                 empty="Every deal matches its invoices.")


def not_invoiced(report: Report) -> Table:
    columns = (
        Column("Deal"), Column("Account"), Column("Owner"), Column("Closed", "day"), Column("Age, days", "days", "age_of_deal"),
        Column("Contracted", "money", "contracted"), Column("Not invoiced", "money", "not_invoiced_yet"), Column("Cause", "word"),
    )  # fmt: skip
    rows = tuple((*_named(one), one.close_date, one.age, one.contracted, -(one.difference or 0), words(one.cause or "none"))
                 for one in report.not_invoiced.rows)
    foot = ("All", "", "", "", "", "", -report.not_invoiced.total, "") if rows else ()
    sql = "SELECT * FROM fct_deal_variance_bridge WHERE cause IN ('not_invoiced', 'partly_invoiced', 'awaiting_review')"
    return Table("not-invoiced", "Not invoiced yet, oldest first", columns, rows, foot, _more(report.not_invoiced, "deals"), query(sql),
                 empty="Everything that was contracted is invoiced or scheduled.")


def reconciliation(report: Report) -> Table:
    """Won deals by the main cause of their difference, for the night's summary."""
    columns = (Column("Reconciliation", "word"), Column("Main cause", "word"), Column("Deals", "count", "deals_counted"),
               Column("Contracted", "money", "contracted"), Column("Invoiced", "money", "deal_invoiced"),
               Column("Difference", "money", "variance"))
    rows = tuple((one.status, words(one.cause), one.deals, one.contracted, one.invoiced, one.difference) for one in report.reconciliation)
    return Table("reconciliation", "Won deals by what explains their difference", columns, rows)


def _named(one: Deal) -> tuple[Any, ...]:
    return Link(one.name or one.deal_id, one.url), one.account or "without account", one.owner or NOBODY


def ageing(report: Report) -> Table:
    total = sum((one.amount for one in report.ageing), Decimal(0))
    columns = (Column("Past due"), Column("Invoices", "count", "invoices_open"), Column("Open", "money", "document_open"),
               Column("Share", "share", "ageing_share"))
    rows = tuple((words(one.bucket).capitalize(), one.invoices, one.amount, _share(one.amount, total)) for one in report.ageing)
    foot = ("Outstanding", sum(one.invoices for one in report.ageing), total, None)
    return Table("ageing", "Receivables by age", columns, rows, foot, "Before unapplied credit.", is_ordered=True)


def statuses(report: Report) -> Table:
    columns = (Column("Financial Status", "state", "financial_status"), Column("Accounts", "count", "accounts_counted"),
               Column("Outstanding", "money", "total_outstanding"), Column("Overdue after credit", "money", "overdue_amount"))
    rows = tuple((one.financial_status, one.accounts, one.outstanding, one.overdue) for one in report.statuses)
    return Table("statuses", "Accounts by Financial Status", columns, rows)


def overdue(report: Report) -> Table:
    columns = (
        Column("Account"), Column("Owner"), Column("Financial Status", "state", "financial_status"),
        Column("Days overdue", "days", "days_overdue"),
        Column("Overdue after credit", "money", "overdue_amount"), Column("Outstanding", "money", "total_outstanding"),
    )  # fmt: skip
    rows = tuple((Link(one.name or one.account_id, one.url), one.owner or NOBODY, one.financial_status, one.days_overdue, one.overdue,
                  one.outstanding) for one in report.overdue.rows)
    others = (f"Customers without an account owe another {_form(report).money(report.overdue_without_account)} that is overdue."
              if report.overdue_without_account else "")
    foot = ("All overdue accounts", "", "", "", report.overdue.total, "") if rows else ()
    return Table("overdue", "Overdue accounts and credit holds", columns, rows, foot,
                 f"{_more(report.overdue, 'accounts')} {others}".strip(),
                 query("SELECT * FROM account_status WHERE overdue_amount > 0 ORDER BY overdue_amount DESC"), "No account is overdue.")


def credits(report: Report) -> Table:
    columns = (Column("Customer"), Column("Owner"), Column("Unapplied credit", "money", "ageing_unapplied_credit"),
               Column("Outstanding", "money", "document_open"))
    rows = tuple((Link(one.name or one.customer_id, one.url), one.owner or NOBODY, one.credit, one.outstanding)
                 for one in report.credits.rows)
    foot = ("All", "", report.credits.total, "") if rows else ()
    return Table("credits", "Unapplied credit", columns, rows, foot, _more(report.credits, "customers"),
                 query("SELECT * FROM rpt_receivables_ageing WHERE unapplied_credit > 0"), "No customer has unapplied credit.")


def paid(report: Report) -> Table:
    columns = (Column("Month", "month"), Column("Invoices settled", "count", "invoices_settled"),
               Column("Amount", "money", "document_gross"), Column("Average days to pay", "days", "days_to_collect"))
    rows = tuple((one.month, one.invoices, one.amount, one.days) for one in report.paid if one.invoices)
    return Table("paid", "Average days to pay by month", columns, rows, empty="No invoice was settled in the last twelve months.")


def cash(report: Report) -> Table:
    columns = (Column("Week from"), Column("From open invoices", "money", "cash_from_invoices"),
               Column("From the weighted pipeline", "money", "cash_from_pipeline"), Column("Together", "money", "cash_expected"))
    names = {"later": "later", "passed": "usual day has passed"}
    rows = tuple((names.get(one.when) or _form(report).day(one.week), one.invoices, one.pipeline, one.invoices + one.pipeline)
                 for one in report.cash if one.invoices or one.pipeline)
    sums = [sum((row[place] for row in rows), Decimal(0)) for place in (1, 2, 3)]
    return Table("cash", "Cash expected by week", columns, rows, ("All", *sums),
                 "Invoices are gross, the pipeline is net of tax. What should have come already, or was expected to close before today, "
                 "is in no week; weeks without cash are left out.", empty="No cash is expected.")


def owners(report: Report) -> Table:
    columns = (
        Column("Owner"), Column("Bookings", "money", "owner_bookings"), Column("Recognised", "money", "owner_recognised"),
        Column("Discount", "money", "discount_difference"), Column("Price and quantity", "money", "price_difference"),
    )  # fmt: skip
    rows = tuple((owner_name(one), one.bookings, one.recognised, one.discount, one.price_or_quantity) for one in report.owners)
    sums = [sum((row[place] for row in rows), Decimal(0)) for place in (1, 2, 3, 4)]
    first, last = report.months_shown
    listed = Listing(rows[:MAX_ROWS], len(rows))
    return Table("owners", "Bookings and recognised revenue by owner", columns, listed.rows, ("All", *sums) if rows else (),
                 f"{_form(report).month(first)} to {_form(report).month(last)}. {_more(listed, 'owners')}".strip())


def owner_name(one: Owner) -> str:
    return one.name or one.owner_id or NOBODY


def questions(report: Report) -> Table:
    names = {("match", False): "Which account a customer is", ("match", True): "Which account a customer is, suggested",
             ("link", False): "Which deal a document bills", ("link", True): "Which deal a document bills, suggested"}
    columns = (Column("Question"), Column("Questions", "count", "questions"), Column("Candidates", "count", "candidates"),
               Column("At stake", "money", "review_amount"))
    rows = tuple((names[one.kind, one.is_suggestion], one.questions, one.candidates, one.amount) for one in report.questions)
    return Table("questions", "Matches to review", columns, rows, command="crossfoot review export", empty="No question is open.")


def writes(report: Report) -> Table:
    columns = (Column("CRM"), Column("Run"), Column("Written", "count", "fields_written"), Column("Conflicts", "count", "fields_skipped"),
               Column("Rejected", "count", "fields_rejected"), Column("Unknown", "count", "fields_unknown"))
    rows = tuple((system(one.source), one.run_id or NONE, one.written, one.skipped, one.rejected, one.unknown) for one in report.writes)
    return Table("writes", "Fields of the last run that wrote, up to this night", columns, rows, command="crossfoot status")


def held(report: Report) -> Table:
    columns = (Column("Reason"), Column("Accounts", "count", "accounts_held"))
    rows = tuple((one.reason, one.accounts) for one in report.held[:MAX_ROWS])
    note = _more(Listing(rows, len(report.held)), "reasons")
    return Table("held", "Accounts held back", columns, rows, note=note, command="crossfoot plan", empty="No account is held back.")


def problems(report: Report) -> Table:
    columns = (Column("Kind", "word"), Column("Severity", "state"), Column("Records", "count", "exceptions"),
               Column("Amount", "money", "exception_amount"))
    rows = tuple((words(one.kind), one.severity, one.records, one.amount) for one in report.problems)
    return Table("problems", "Data problems and other exceptions", columns, rows, empty="There is no exception.")


def exceptions(report: Report) -> Table:
    columns = (Column("Severity", "state"), Column("Kind", "word"), Column("Record"), Column("What"),
               Column("Amount", "money", "exception_amount"))
    rows = tuple((one.severity, words(one.kind), Link(f"{system(one.source)} {words(one.object)} {one.record_id or ''}".strip(), one.url),
                  one.message, one.amount_base) for one in report.exceptions.rows if one.kind != _DEALS)
    count = report.exceptions.count - sum(one.records for one in report.problems if one.kind == _DEALS)
    return Table("exceptions", "Each of them, the gravest first", columns, rows,
                 note=f"{_more(Listing(rows, count), 'exceptions')} Deals to review have a table of their own.".strip(),
                 command=query("SELECT * FROM rpt_exceptions"))


def query(sql: str) -> str:
    return f'crossfoot sql "{sql}"'


def _share(part: Decimal, whole: Decimal) -> Decimal | None:
    return part / whole if whole else None


def _form(report: Report) -> Format:
    return Format(report.base_currency, report.number_format, report.date_format)
