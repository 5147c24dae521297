"""Xero's raw tables. A record keeps what the vendor said: statuses as text, amounts with their sign, the rate as foreign units
for one unit of the base currency."""

from __future__ import annotations

from pipelines.landing import Table

_DOCUMENT = {
    "id": "text", "tenant_id": "text", "number": "text", "reference": "text", "contact_id": "text", "issue_date": "date",
    "status": "text", "line_amount_types": "text", "currency": "text", "currency_rate": "rate", "sub_total": "money",
    "total_tax": "money", "total": "money", "cis_deduction": "money", "sent": "flag", "version": "text", "url": "text",
    "modified_at": "timestamp",
}
_LINE = {
    "version": "text", "line_number": "integer", "line_id": "text", "item_code": "text", "description": "text",
    "quantity": "quantity", "unit_price": "money", "discount_rate": "quantity", "discount_amount": "money",
    "line_amount": "money", "tax_type": "text", "tax_amount": "money",
}
_CREDIT = {
    "id": "text", "tenant_id": "text", "contact_id": "text", "payment_date": "date", "status": "text", "currency": "text",
    "currency_rate": "rate", "total": "money", "total_tax": "money", "remaining_credit": "money", "version": "text",
    "url": "text", "modified_at": "timestamp",
}

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("organisations", {
            "tenant_id": "text", "name": "text", "base_currency": "text", "country": "text", "short_code": "text",
            "period_lock_date": "date", "end_of_year_lock_date": "date",
        }),
        Table("contacts", {
            "id": "text", "tenant_id": "text", "crm_id": "text", "name": "text",
            "email": "text", "website": "text", "status": "text", "merged_to_id": "text", "is_customer": "flag",
            "is_supplier": "flag", "currency": "text", "sales_terms_day": "integer", "sales_terms_type": "text", "url": "text",
            "modified_at": "timestamp",
        }),
        Table("contact_balances", {
            "contact_id": "text", "tenant_id": "text", "contact_name": "text", "outstanding": "money", "overdue": "money",
            "report_date": "date",
        }),
        Table("invoices", {**_DOCUMENT, "due_date": "date", "amount_due": "money", "amount_paid": "money",
                           "amount_credited": "money"}),
        Table("invoice_lines", {"invoice_id": "text", **_LINE}),
        Table("credit_notes", {**_DOCUMENT, "remaining_credit": "money"}),
        Table("credit_note_lines", {"credit_note_id": "text", **_LINE}),
        Table("allocations", {
            "source_type": "text", "source_id": "text", "version": "text", "line_number": "integer", "invoice_id": "text",
            "amount": "money", "allocated_on": "date", "is_deleted": "flag",
        }),
        Table("payments", {
            "id": "text", "tenant_id": "text", "payment_type": "text", "status": "text", "payment_date": "date",
            "amount": "money", "currency": "text", "currency_rate": "rate", "reference": "text", "contact_id": "text",
            "invoice_id": "text", "credit_note_id": "text", "overpayment_id": "text", "prepayment_id": "text",
            "modified_at": "timestamp",
        }),
        Table("overpayments", _CREDIT),
        Table("prepayments", _CREDIT),
        Table("currencies", {"tenant_id": "text", "code": "text", "description": "text"}),
        Table("trial_balance", {
            "tenant_id": "text", "account_id": "text", "account_name": "text", "balance": "money", "report_date": "date",
        }),
        Table("unread", {
            "tenant_id": "text", "listed": "text", "contact_id": "text", "posted_on": "date", "currency": "text", "amount": "money",
            "record_count": "integer", "reason": "text", "read_on": "date",
        }),
    )
}
