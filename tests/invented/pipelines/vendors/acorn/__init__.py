"""Acorn Books: a ledger that does not exist, and the smallest example of a vendor."""

from pipelines.card import Card, Limit, Secret

CARD = Card(
    slug="acorn",
    name="Acorn Books",
    side="ledger",
    documentation="https://docs.acorn-books.example",
    base_url="https://api.acorn-books.example",
    secrets=(Secret("token", "ACORN_TOKEN", "an access token that may read", "sandbox-acorn-token"),),
    page_sizes={"list": 100},
    limits=(Limit("minute", 600, 60),),
    objects=(
        "customers", "invoices", "credit_notes", "document_lines", "payments", "applications", "rates", "balances",
    ),
)
