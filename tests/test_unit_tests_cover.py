"""Every rung, cause, kind and edge of the definitions has a dbt unit test that expects it; what runs them is test_dbt_models."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[1] / "dbt_project"
Row = dict[str, Any]


@cache
def unit_tests() -> list[Row]:
    """All of them, those of staging models too."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in (PROJECT / "models").rglob("*.yml")]
    return [test for file in files for test in file.get("unit_tests", ())]


def of(model: str) -> list[Row]:
    return [test for test in unit_tests() if test["model"] == model]


def expected(model: str) -> list[Row]:
    return [row for test in of(model) for row in test["expect"]["rows"]]


def given(test: Row, model: str) -> list[Row]:
    return [row for one in test["given"] if one["input"] == f"ref('{model}')" for row in one["rows"]]


def documents() -> list[tuple[Row, Row, list[Row]]]:
    """Documents that a unit test values: as given, as expected, and what is applied to each."""
    found = []
    for test in of("int_documents__valued"):
        there = {row["document_id"]: row for row in test["expect"]["rows"]}
        uses = given(test, "int_applications__dated")
        found += [(row, there[row["document_id"]], [use for use in uses if use["document_id"] == row["document_id"]])
                  for row in given(test, "int_documents__unioned")]
    return found


def as_of(test: Row) -> date:
    return date.fromisoformat(test["overrides"]["vars"]["as_of"])


def kinds_of_the_tie_out() -> set[str]:
    """What the models can say, by their own text."""
    models = ("intermediate/int_receivables__explained.sql", "marts/rpt_tie_out.sql")
    return {kind for model in models
            for kind in re.findall(r"(?:then|else) '([a-z_]+)'", (PROJECT / "models" / model).read_text(encoding="utf-8"))}


def causes() -> list[str]:
    """The causes in their order, by the macro that lists them."""
    body = re.search(r"macro bridge_causes\(\) %}(.*?){% endmacro", (PROJECT / "macros/bridge.sql").read_text(encoding="utf-8"), re.DOTALL)
    return re.findall(r"'([a-z_]+)'", body[1])


@pytest.mark.parametrize("rung", range(1, 6))
def test_every_rung_of_customers(rung):
    assert rung in {row["rung"] for row in expected("int_match_candidates__found") if row["shared_by"] == 1}


@pytest.mark.parametrize("rung", range(1, 4))
def test_every_rung_of_deals(rung):
    assert rung in {row["rung"] for row in expected("int_documents__linked") if row["outcome"] == "linked"}


def test_the_rungs_that_only_suggest():
    assert {row["rule"] for row in expected("int_match_suggestions__scored")} >= {"same_name", "similar_name", "same_domain"}
    assert {row["rule"] for row in expected("int_link_suggestions__found")} >= {"amounts_add_up", "near_amount"}


def test_thirteen_causes():
    assert len({"fx", *causes()}) == 13


@pytest.mark.parametrize("cause", causes())
def test_every_cause_alone(cause):
    alone = [{name for name in causes() if row[name]} for row in expected("int_deal_bridges__proven")]
    assert {cause} in alone


def test_rates_alone():
    rows = expected("fct_deal_variance_bridge")
    assert "fx" in {row["cause"] for row in rows if [one["deal_id"] for one in rows].count(row["deal_id"]) == 1}


def test_every_kind_of_the_tie_out():
    said = {row["kind"] for model in ("int_receivables__explained", "rpt_tie_out") for row in expected(model)}
    assert said == {None, *kinds_of_the_tie_out()}
    assert said >= {"unapplied_payment", "credit", "journal", "closed_period", "currency", "deleted_since", "unknown", "ageing",
                    "revaluation", "moved_between_customers", "not_compared", "nothing_to_compare"}
    assert {row["level"] for row in expected("rpt_tie_out") if row["kind"] is None and row["is_tied"]} == {"customer", "ledger"}


@pytest.mark.parametrize(("model", "column", "words"), [
    ("account_status", "financial_status", {"No Invoices", "Credit Hold", "Overdue", "Current"}),
    ("account_status", "credit_status", {"None", "Credit Note Open", "Refunded"}),
    ("int_documents__valued", "payment_status", {"Sent", "Viewed", "Partially Paid", "Paid", "Credited", "Overdue", "Voided"}),
    ("fct_deal_reconciliation", "status", {"Matched", "Explained", "Review"}),
])  # fmt: skip
def test_every_word_of_a_status(model, column, words):
    assert {row[column] for row in expected(model) if row.get(column)} == words


def due(days_ago: int) -> list[bool]:
    """Whether documents that fell due so many days ago are expected to be overdue."""
    return [row["is_overdue"] for test in of("int_documents__valued") for row in test["expect"]["rows"]
            if row.get("is_overdue") is not None and row["is_open"]
            and row["due_date"] == (as_of(test) - timedelta(days=days_ago)).isoformat()]


def open_at(amount: str) -> list[bool]:
    return [there["is_open"] for row, there, _ in documents() if "is_open" in there and Decimal(str(row["open_amount"])) == Decimal(amount)]


def status_at(days_overdue: int) -> list[str]:
    """The status expected of accounts that are so late and that no earlier hold keeps."""
    found = []
    for test in of("account_status"):
        there = {row["account_id"]: row["financial_status"] for row in test["expect"]["rows"]}
        kept = {row["account_id"] for row in given(test, "int_accounts__credit_hold")}
        found += [there[row["account_id"]] for row in given(test, "int_accounts__receivables")
                  if row["days_overdue"] == days_overdue and row["account_id"] not in kept]
    return found


def lateness_when_paid() -> set[tuple[int, int, bool]]:
    """Of accounts whose older invoice was paid: its lateness the day before, the other's on that day, and whether a hold is
    expected to last."""
    found = set()
    for test in of("int_accounts__credit_hold"):
        kept = {row["account_id"] for row in test["expect"]["rows"]}
        paid = {row["document_id"]: date.fromisoformat(row["applied_date"]) for row in given(test, "int_applications__dated")}
        rows = given(test, "int_documents__valued")
        for old in (row for row in rows if row["document_id"] in paid):
            (new,) = (row for row in rows if row["customer_id"] == old["customer_id"] and row["open_amount"])
            on = paid[old["document_id"]]
            late = (on - timedelta(days=1) - date.fromisoformat(old["due_date"])).days, (on - date.fromisoformat(new["due_date"])).days
            found.add((*late, old["customer_id"] in kept))
    return found


EDGES: dict[str, Callable[[], bool]] = {
    "due today": lambda: due(0) == [False] and True in due(1),
    "tolerance": lambda: set(open_at("0.01")) == {False} and set(open_at("0.02")) == {True},
    "hold entry": lambda: status_at(59) == ["Overdue"] and status_at(60) == ["Credit Hold"],
    "hold that began before": lambda: {(60, 30, True), (59, 30, False)} <= lateness_when_paid(),
    "hold exit": lambda: any(before >= 60 and after == 29 and not kept for before, after, kept in lateness_when_paid()),
    "credit covering overdue": lambda: any(
        row["unapplied_credit"] >= row["total_outstanding"] > 0 == row["overdue_amount"] and row["last_invoice_status"] == "Overdue"
        for row in expected("int_accounts__receivables")),
    "credit a cent short": lambda: "0.01" in {str(row["overdue_amount"]) for row in expected("int_accounts__receivables")},
    "paid by credit only": lambda: any(
        there["payment_status"] == "Credited" and {use["applied_type"] for use in uses} == {"credit_note"}
        for _, there, uses in documents()),
    "void": lambda: {there["payment_status"] for row, there, _ in documents() if row["status"] == "void"} == {"Voided"},
    "partly refunded": lambda: any(
        row["document_type"] == "credit_note" and there["open_base"] > 0 and {use["applied_type"] for use in uses} == {"refund"}
        for row, there, uses in documents()),
}  # fmt: skip


@pytest.mark.parametrize("edge", EDGES)
def test_every_edge_of_a_status(edge):
    assert EDGES[edge]()
