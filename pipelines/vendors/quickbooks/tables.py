"""QuickBooks' raw tables: what is landed of its objects, and of what type. What is not declared here is not kept."""

from __future__ import annotations

from pipelines.landing import Table

_DOCUMENT = {
    "id": "text", "doc_number": "text", "txn_date": "date", "customer_id": "text", "currency": "text",
    "exchange_rate": "rate", "total": "money", "tax": "money", "balance": "money", "home_total": "money",
    "private_note": "text", "memo": "text", "terms_id": "text", "crm_deal_id": "text", "sync_token": "text", "url": "text",
    "modified_at": "timestamp",
}
_LINE = {
    "sync_token": "text", "line_number": "integer", "line_id": "text", "detail_type": "text", "description": "text",
    "item_id": "text", "item_name": "text", "quantity": "quantity", "unit_price": "money", "amount": "money",
    "service_date": "date",
}

_ENTRY = {
    "id": "text", "doc_number": "text", "txn_date": "date", "currency": "text", "exchange_rate": "rate", "private_note": "text",
    "sync_token": "text", "url": "text", "modified_at": "timestamp",
}
_ENTRY_LINE = {
    "sync_token": "text", "line_number": "integer", "amount": "money", "account_id": "text", "customer_id": "text",
}

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table("customers", {
            "id": "text", "display_name": "text", "company_name": "text", "fully_qualified_name": "text", "email": "text",
            "website": "text", "parent_id": "text", "is_job": "flag", "active": "flag", "currency": "text",
            "balance": "money", "terms_id": "text", "crm_id": "text", "url": "text", "modified_at": "timestamp",
        }),
        Table("invoices", {**_DOCUMENT, "due_date": "date", "email_status": "text", "deposit": "money", "less_cis": "money"}),
        Table("invoice_lines", {"invoice_id": "text", **_LINE}),
        Table("sales_receipts", {**_DOCUMENT, "email_status": "text", "less_cis": "money"}),
        Table("sales_receipt_lines", {"sales_receipt_id": "text", **_LINE}),
        Table("credit_memos", {**_DOCUMENT, "remaining_credit": "money"}),
        Table("credit_memo_lines", {"credit_memo_id": "text", **_LINE}),
        Table("payments", {
            "id": "text", "txn_date": "date", "customer_id": "text", "currency": "text", "exchange_rate": "rate",
            "total": "money", "unapplied": "money", "private_note": "text", "sync_token": "text", "url": "text",
            "modified_at": "timestamp",
        }),
        Table("payment_applications", {
            "payment_id": "text", "sync_token": "text", "line_number": "integer", "amount": "money", "txn_id": "text",
            "txn_type": "text", "side": "text",
        }),
        Table("refund_receipts", {
            "id": "text", "doc_number": "text", "txn_date": "date", "customer_id": "text", "currency": "text",
            "exchange_rate": "rate", "total": "money", "tax": "money", "private_note": "text", "sync_token": "text",
            "url": "text", "modified_at": "timestamp",
        }),
        # Of these only what stands on an account of receivables is kept: the rest is cost data.
        Table("accounts", {"id": "text", "name": "text", "active": "flag", "modified_at": "timestamp"}),
        Table("deposits", {**_ENTRY}),
        Table("deposit_lines", {"deposit_id": "text", **_ENTRY_LINE}),
        Table("purchases", {**_ENTRY, "payment_type": "text", "is_credit": "flag"}),
        Table("purchase_lines", {"purchase_id": "text", **_ENTRY_LINE}),
        Table("journal_entries", {**_ENTRY}),
        Table("journal_entry_lines", {"journal_entry_id": "text", **_ENTRY_LINE, "posting": "text"}),
        Table("terms", {"id": "text", "name": "text", "kind": "text", "due_days": "integer", "day_of_month": "integer",
            "next_month_days": "integer", "active": "flag", "modified_at": "timestamp"}),
        Table("preferences", {
            "id": "text", "company_name": "text", "home_currency": "text", "multicurrency": "flag", "book_close_date": "date",
        }),
        Table("exchange_rates", {
            "id": "text", "source_currency": "text", "target_currency": "text", "rate": "rate", "as_of": "date",
            "modified_at": "timestamp",
        }),
        Table("counts", {"entity": "text", "record_count": "integer", "given_count": "integer", "counted_on": "date"}),
        Table("aged_receivables", {
            "customer_id": "text", "customer_name": "text", "bucket_current": "money", "bucket_1_30": "money",
            "bucket_31_60": "money", "bucket_61_90": "money", "bucket_91_plus": "money", "total": "money",
            "report_date": "date",
        }),
    )
}
