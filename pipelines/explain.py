"""Every number of one account, down to the documents, payments, links and the rule that matched each customer."""

from __future__ import annotations

from typing import Any

from pipelines import landing
from pipelines.settings import Settings

# Customers of the account in its own CRM: a document shows the account of the first CRM alone.
_OWN = """(SELECT source, customer_id FROM marts.dim_customer_matches
            WHERE account_source = $source AND account_id = $account_id)"""

_SECTIONS = {
    "Customers in accounting, and how they were matched": """
        SELECT matched.source, matched.customer_id, customers.name, matched.rule, matched.evidence
        FROM intermediate.int_customers__matched AS matched
        INNER JOIN intermediate.int_customers__unioned AS customers
            ON customers.source = matched.source AND customers.customer_id = matched.customer_id
        WHERE matched.account_source = $source AND matched.account_id = $account_id ORDER BY 1, 2""",
    "Open questions about its customers": """
        SELECT right_source AS source, right_id AS customer_id, right_name AS name, rule, evidence
        FROM marts.rpt_match_review WHERE source = $source AND left_id = $account_id ORDER BY 1, 2""",
    "Invoices and credit notes": f"""
        SELECT documents.source, documents.document_type, documents.number, documents.document_id, documents.issue_date,
               documents.due_date, documents.payment_status, documents.currency, documents.gross_amount, documents.open_amount,
               documents.rate, documents.rate_source, documents.rate_date, documents.open_base, documents.is_counted,
               documents.is_overdue, links.deal_id, links.rule AS link_rule
        FROM marts.fct_invoices AS documents
        LEFT JOIN intermediate.int_documents__linked AS links
            ON links.source = documents.source AND links.document_type = documents.document_type
            AND links.document_id = documents.document_id AND links.deal_source = $source AND links.outcome = 'linked'
        WHERE (documents.source, documents.customer_id) IN {_OWN} ORDER BY documents.issue_date, documents.document_id""",
    "Payments and refunds": f"""
        SELECT source, payment_type, payment_id, payment_date, currency, amount, unapplied_amount, amount_base, is_counted
        FROM marts.fct_payments WHERE (source, customer_id) IN {_OWN} ORDER BY payment_date, payment_id""",
    "What was applied to which document": f"""
        SELECT applied.applied_type, applied.applied_id, applied.document_type, applied.document_id, applied.applied_date,
               documents.currency, applied.amount
        FROM intermediate.int_applications__dated AS applied
        INNER JOIN marts.fct_invoices AS documents
            ON documents.source = applied.source AND documents.document_type = applied.document_type
            AND documents.document_id = applied.document_id
        WHERE (documents.source, documents.customer_id) IN {_OWN}
        ORDER BY applied.applied_date, applied.document_id, applied.applied_id""",
    "Realised gain or loss on exchange rates (no part of what was collected)": f"""
        SELECT applied_date, applied_type, applied_id, document_type, document_id, currency, amount, invoice_rate, payment_rate,
               gain_base
        FROM marts.fct_realised_fx WHERE (source, customer_id) IN {_OWN} ORDER BY 1, 2, 3, 5""",
    "Won deals": """
        SELECT deal_id, name, close_date, currency, contracted_amount, invoiced_amount, collected_amount, variance_amount, status,
               main_cause, document_ids
        FROM marts.fct_deal_reconciliation WHERE source = $source AND account_id = $account_id ORDER BY close_date, deal_id""",
    "Exceptions": f"""
        SELECT severity, kind, object, record_id, message FROM marts.rpt_exceptions
        WHERE (source = $source AND object = 'account' AND record_id = $account_id)
           OR (source = $source AND object = 'deal' AND record_id IN
               (SELECT deal_id FROM marts.fct_deals WHERE source = $source AND account_id = $account_id))
           OR (object IN ('invoice', 'credit_note') AND (source, record_id) IN
               (SELECT source, document_id FROM marts.fct_invoices WHERE (source, customer_id) IN {_OWN}))
        ORDER BY 1, 2, 4""",
}


class UnknownAccount(Exception):
    """No account, or more than one, has the name; the message says what to give instead."""


def explain(settings: Settings, account: str) -> dict[str, Any]:
    """The account (its CRM id or its exact name) as {"account", "status", "sections"}; rows are dicts of column to value.

    Raises UnknownAccount.
    """
    if not settings.warehouse.exists():
        raise UnknownAccount(f"{settings.warehouse} does not exist; run `crossfoot run` first")
    with landing.connect(settings.warehouse) as connection:
        if not _rows(connection, "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'marts' AND table_name = 'account_status'", {}):
            raise UnknownAccount(f"{settings.warehouse} holds no models yet; run `crossfoot build` first")
        found = _rows(connection, "SELECT source, account_id, name, url FROM marts.dim_accounts "
                                  "WHERE account_id = $account OR name = $account ORDER BY 1, 2", {"account": account})
        if len(found) != 1:
            raise UnknownAccount(_which(account, found))
        names = {"source": found[0]["source"], "account_id": found[0]["account_id"]}
        (status,) = _rows(connection, "SELECT * EXCLUDE (source, account_id, account_name, url) FROM marts.account_status "
                                      "WHERE source = $source AND account_id = $account_id", names)
        sections = {title: _rows(connection, query, names) for title, query in _SECTIONS.items()}
    return {"account": found[0], "status": status, "sections": sections}


def _which(account: str, found: list[dict[str, Any]]) -> str:
    if not found:
        return f"no account has the id or the exact name {account!r}; `crossfoot plan` lists ids beside names"
    return f"{len(found)} accounts are called {account!r}; give one of the ids {', '.join(row['account_id'] for row in found)}"


def _rows(connection: Any, query: str, names: dict[str, str]) -> list[dict[str, Any]]:
    result = connection.execute(query, names)
    columns = [column[0] for column in result.description]
    return [dict(zip(columns, row, strict=True)) for row in result.fetchall()]
