"""Several ledgers or several CRMs in one night: what each holds stays its own, and one that fails leaves the others served."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sandbox_fixture import control
from test_pairs import LEDGERS, RECORD_ID, by_world_id, company, written

from pipelines.vendors.crm_types import ACCOUNT_FIELDS

FIRST, SECOND = LEDGERS[:2]
STATUS_SQL = ("SELECT account_id AS id, financial_status, round(total_outstanding, 2)::varchar AS total_outstanding, sources, hold_reason "
              "FROM marts.account_status WHERE source = ?")
TOTAL_SQL = ("SELECT source, count(*) AS documents, sum(gross_base) AS gross FROM marts.fct_invoices "
             "WHERE document_type = 'invoice' AND is_counted GROUP BY source")
NAMES = [field.name for field in ACCOUNT_FIELDS]


def plain(answers: dict, name: str) -> dict:
    return {one: answer[name] for one, answer in answers["accounts"].items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One CRM and two ledgers that share the company's customers, after a first night."""
    with company(tmp_path_factory.mktemp("shared"), ["hubspot"], [FIRST, SECOND]) as at:
        yield at, at.whole_night()


def test_a_company_in_two_ledgers_has_the_statuses_of_one(shared):
    at, told = shared
    key = at.world.answers()
    found = by_world_id(at, "hubspot", "account", at.rows(STATUS_SQL, "hubspot"))
    assert {one: row["financial_status"] for one, row in found.items()} == plain(key, "financial_status")
    assert {one: row["total_outstanding"] for one, row in found.items()} == plain(key, "total_outstanding")
    assert {row["sources"] for row in found.values()} >= {FIRST, SECOND, f"{FIRST},{SECOND}"}
    assert told.applied.rejected == 0 and told.applied.written > 500


def test_documents_keep_their_ledger_and_add_up_per_ledger_and_overall(shared):
    at, _ = shared
    counted = [one for one in at.world.invoices.values() if not (one.voided or one.deleted) and one.issued <= at.world.today]
    gross = {FIRST: Decimal(0), SECOND: Decimal(0)}
    for one in counted:
        gross[at.world.refer.ledger_of(one.customer_id)] += (one.gross * one.rate).quantize(Decimal("0.000001"))
    found = {row["source"]: row for row in at.rows(TOTAL_SQL)}
    assert {slug: abs(row["gross"] - gross[slug]) < Decimal("0.01") for slug, row in found.items()} == {FIRST: True, SECOND: True}
    assert sum(row["documents"] for row in found.values()) == len(counted)
    ((invoiced,),) = [row.values() for row in at.rows("SELECT sum(invoiced) AS total FROM marts.revenue_cycle_monthly")]
    ((net,),) = [row.values() for row in at.rows(
        "SELECT sum(CASE document_type WHEN 'invoice' THEN net_base ELSE -net_base END) AS total FROM marts.fct_invoices WHERE is_counted")]
    assert invoiced == net


def test_a_ledger_that_fails_leaves_the_accounts_of_the_other_served(shared):
    at, _ = shared
    at.advance()
    before = written(at, "hubspot")["account"]
    at.fault(SECOND, "503", times=999)
    told = at.whole_night(tests=False)
    at.forget()
    assert {receipt.source: receipt.status for receipt in told.receipts} == {
        "hubspot": "complete", FIRST: "complete", SECOND: "failed"}
    rows = by_world_id(at, "hubspot", "account", at.rows(STATUS_SQL, "hubspot"))
    held = {one for one, row in rows.items() if row["hold_reason"] and SECOND in row["hold_reason"]}
    served = {one for one, row in rows.items() if row["sources"] == FIRST}
    assert len(held) > 10 and len(served) > 10 and held & served == set()
    assert {one for one, row in rows.items() if SECOND in (row["sources"] or "")} <= held
    after = written(at, "hubspot")["account"]
    changed = {one for one, values in after.items() if values != before.get(one)}
    assert changed and changed & held == set(), "what moved in a day is written, and only where the books were read"
    at.forget()
    mended = at.whole_night(tests=False)
    assert all(receipt.status == "complete" for receipt in mended.receipts)
    rows = by_world_id(at, "hubspot", "account", at.rows(STATUS_SQL, "hubspot"))
    assert {one: row["financial_status"] for one, row in rows.items()} == plain(at.world.answers(), "financial_status")


def test_two_crms_that_hold_the_same_companies_both_show_their_status(tmp_path):
    with company(tmp_path, ["hubspot", "salesforce"], [FIRST]) as at:
        told = at.whole_night(tests=False)
        assert told.plan.guard_blocks == () and told.applied.rejected == 0
        key = at.world.answers()
        # Ids that the books store are those of the first CRM: where nothing else proves the match, the other has none.
        known_there = {answer["account_id"] for answer in key["matches"].values() if answer["rung"] == 3}
        for crm in ("hubspot", "salesforce"):
            found = by_world_id(at, crm, "account", at.rows(STATUS_SQL, crm))
            left_out = known_there if crm == "salesforce" else set()
            assert {one: row["financial_status"] for one, row in found.items() if one not in left_out} == {
                one: status for one, status in plain(key, "financial_status").items() if one not in left_out}
            values = written(at, crm)["account"]
            assert {one: value["financial_status"] for one, value in values.items() if value["financial_status"]} == {
                one: found[one]["financial_status"] for one in found if found[one]["hold_reason"] is None}
        invoices = {one for one, invoice in at.world.invoices.items() if not invoice.deleted}
        assert at.rows("SELECT count(*) AS found FROM marts.fct_invoices WHERE document_type = 'invoice'") == [{"found": len(invoices)}]
        assert {row["source"]: row["found"] for row in at.rows("SELECT source, count(*) AS found FROM marts.fct_deals GROUP BY 1")} == {
            crm: sum(not deal.archived for deal in at.world.deals.values()) for crm in ("hubspot", "salesforce")}


def test_the_sandbox_names_records_in_the_ids_of_the_first_systems(shared):
    at, _ = shared
    key, there = at.world.answers(), control(at.url, "GET", "answers")
    assert {RECORD_ID["hubspot"]("account", one) for one in key["accounts"]} == there["accounts"].keys()
    stored = {account.id: {at.world.refer("customer", one) for one in account.customer_ids} for account in at.world.accounts.values()}
    assert {name.partition(":")[0] for names in stored.values() for name in names} == {FIRST, SECOND}
