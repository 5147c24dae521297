"""Every setting that is not a vendor's own: where it stands, what it accepts, its default and what it means."""

from __future__ import annotations

from decimal import Decimal

from pipelines.card import Setting

MAIL_PASSWORD_VARIABLE = "CROSSFOOT_MAIL_PASSWORD"

GENERAL: tuple[Setting, ...] = (
    Setting("company", "name", "text", "", "Shown as the title of the report."),
    Setting("company", "base_currency", "currency", "USD", "ISO 4217 code of the currency that reports add up in."),
    Setting("company", "time_zone", "zone", "UTC", "IANA name; decides which day a deal closed and when a night starts."),
    Setting("company", "month_close_days", "integer", 5,
            "A month counts as reported this many days after its end; what changes in it later is a restatement."),
    Setting("company", "first_plausible_year", "integer", 1990,
            "A record dated before this year is a problem to be corrected, and counts on no day."),
    Setting("company", "plausible_years_ahead", "integer", 10,
            "So is a record dated more than this many years after the business date."),
    Setting("company", "fiscal_year_start", "month", 1, "Number of the month in which the fiscal year starts: 1 is January."),
    Setting("company", "number_format", "choice:1,234.56|1.234,56|1 234,56|1'234.56", "1,234.56", "How the report writes numbers."),
    Setting("company", "date_format", "choice:2026-12-31|31.12.2026|31/12/2026|12/31/2026|31 Dec 2026", "2026-12-31",
            "How the report writes the last day of 2026."),
    Setting("schedule", "cron", "cron", "0 2 * * *", "When the nightly deployment starts, in the company's time zone."),
    Setting("vendors", "crms", "list", (), "CRMs to read and, when write-back is on, to write to."),
    Setting("vendors", "ledgers", "list", (), "Accounting systems to read. They are never written to."),
    Setting("vendors", "rates", "list", (), "Tables of reference rates, asked in this order where a CRM and the ledgers have no rate."),
    Setting("writeback", "mode", "choice:off|plan|apply", "plan", "off: no plan. plan: compute and show. apply: write."),
    Setting("writeback", "max_change_share", "share", Decimal("0.25"),
            "A plan that would change more than this share of the records is blocked until a person approves it."),
    Setting("writeback", "overdue_tasks", "flag", True, "Open a task for the account's owner when an account becomes overdue."),
    Setting("writeback", "field_policies", "table", {},
            "Per field: \"theirs\" (default: a person's edit is never overwritten) or \"ours\"."),
    Setting("writeback", "null_policies", "table", {},
            "Per field: \"clear\" (default: an empty value empties the field) or \"keep\"."),
    Setting("status", "tolerance", "decimal", Decimal("0.01"),
            "An invoice is open when its open amount exceeds this (in the currency's major unit)."),
    Setting("status", "credit_hold_days", "integer", 60, "Oldest overdue invoice at least this old: Credit Hold."),
    Setting("status", "credit_hold_release_days", "integer", 30,
            "Credit Hold ends when the oldest overdue invoice is younger than this."),
    Setting("guard", "floor_share", "share", Decimal("0.8"),
            "The night is blocked when a source holds fewer than this share of the records that it held before."),
    Setting("guard", "new_ledgers", "list", (), "Ledgers that are really new: nothing is blocked because they are empty."),
    Setting("guard", "max_source_age_hours", "integer", 36, "A source older than this is stale: its accounts are held back."),
    Setting("matching", "free_mail_domains", "list", (), "More domains that never prove that two records are one company."),
    Setting("network", "timeout_seconds", "count", 60, "How long one call may take."),
    Setting("network", "attempts", "count", 6, "How often a call that may be repeated is tried."),
    Setting("network", "retry_base_seconds", "decimal", Decimal("1"), "First wait before a repeated call; doubles each time."),
    Setting("journal", "url", "text", "", "SQLAlchemy URL of the journal. Empty: SQLite in the data folder."),
    Setting("mail", "to", "addresses", (), "Who gets the report after each night. Empty: nothing is sent."),
    Setting("mail", "from", "address", "", "Address that it comes from."),
    Setting("mail", "host", "text", "", "Mail server (SMTP)."),
    Setting("mail", "port", "count", 587, "Its port: mostly 587 for starttls, 465 for ssl."),
    Setting("mail", "security", "choice:starttls|ssl|none", "starttls", "How the connection is encrypted. none: not at all."),
    Setting("mail", "user", "text", "", f"User to sign in as; the password is {MAIL_PASSWORD_VARIABLE}. Empty: without signing in."),
    Setting("mail", "notification_block", "text", "",
            "Prefect notification block that is told of each night, such as \"slack-webhook/finance\". Empty: none."),
    Setting("publish", "keep", "integer", 7, "How many earlier published files are kept."),
    Setting("report", "address", "text", "",
            "Where people open the report, such as https://intranet.example/report.html. Empty: the file in data/reports."),
    Setting("report", "chromium", "text", "", "Path of the Chromium that prints the report as PDF. Empty: the one on the path."),
)
